"""One code: how common it is, what lies near it in its codebook, and every place where it occurs. GUI thread only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.codebooks import CodeFacts, runs
from mimi_gui.ui.buttons import push_button
from mimi_gui.ui.number_field import NumberField
from mimi_gui.ui.theme import figures_font
from mimi_gui.ui.time_axis import format_time
from mimi_gui.ui.token_jobs import FindNeighbours, Neighbours
from mimi_gui.ui.worker import Failure

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_Index = QModelIndex | QPersistentModelIndex
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_AROUND = 2  # tokens shown before and after an occurrence
_HINT = "Click a token on the heatmap, or type a code here: all its occurrences light up."


def facts_words(facts: CodeFacts) -> str:
    """What a count means, with the number of frames that it rests on."""
    frames = f"{facts.num_frames:,} frame{'' if facts.num_frames == 1 else 's'}"
    if facts.rank is None:
        return f"Never in {frames}; {facts.num_used:,} other codes of this codebook occur."
    return (
        f"{facts.count:,} of {frames}, {facts.share:.2%}. Rank {facts.rank:,} among the {facts.num_used:,} codes of"
        " this codebook that occur."
    )


class _Occurrences(QAbstractTableModel):
    """A line per occurrence; frames that follow each other are one. Costs nothing until a line is seen."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._codes = np.zeros((1, 0), np.int16)
        self._row, self._frame_s = 0, 0.08
        self.spans: list[tuple[int, int]] = []
        self.starts = np.zeros(0, np.int64)

    def fill(self, codes: np.ndarray, row: int, frames: np.ndarray, frame_s: float) -> None:
        self.beginResetModel()
        self._codes, self._row, self._frame_s, self.spans = codes, row, frame_s, runs(frames)
        self.starts = np.array([first for first, _ in self.spans], np.int64)
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self.spans)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 4

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return ("Time", "Before", "×", "After")[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return ("Where", "The two tokens before", "Frames in a row that have it", "The two tokens after")[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft if section == 3 else _RIGHT)
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        first, last = self.spans[index.row()]
        column = index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter if column == 3 else _RIGHT)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"Frame {first}. Click or Enter: go there."
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        row = self._codes[self._row]
        if column == 0:
            return format_time(first * self._frame_s, 0.01)
        if column == 2:
            return str(last - first) if last - first > 1 else ""
        part = row[max(first - _AROUND, 0) : first] if column == 1 else row[last : last + _AROUND]
        return " ".join(str(int(code)) for code in part)


class TokensPanel(QWidget):
    """See the module's docstring.

    Signals:
        code_requested(int, int): light up this code of this codebook.
        frame_requested(int): go to this frame.
        play_requested(int, int): play the occurrences in a row from this one on, with so many frames of context.
        step_requested(int): go to the next (1) or previous (-1) occurrence.
        clear_requested(): light up none.
    """

    code_requested = Signal(int, int)
    frame_requested = Signal(int)
    play_requested = Signal(int, int)
    step_requested = Signal(int)
    clear_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._codebook = NumberField("Codebook", "Codebook, from 0; 0 is the semantic one", 0, 31)
        self._code = NumberField("Code", "Code of this codebook", 0, 2047)
        for spin in (self._codebook, self._code):
            spin.valueChanged.connect(self._typed)
        self._facts = QLabel(_HINT)
        self._facts.setWordWrap(True)
        self._facts.setAccessibleName("How common the code is")
        self._near = QTreeWidget()
        self._near.setAccessibleName("Nearest neighbours")
        self._near.setToolTip(
            "The codes whose centroids lie nearest to this one's (Euclidean distance), and how often they occur here.\n"
            "Click or Enter: look at that code."
        )
        self._near.setRootIsDecorated(False)
        self._near.setUniformRowHeights(True)
        self._near.setHeaderLabels(["Near code", "Distance", "Here"])
        self._near.setMinimumHeight(64)
        self._near.itemClicked.connect(self._neighbour_chosen)
        self._near.itemActivated.connect(self._neighbour_chosen)
        self._near.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column in range(3):
            self._near.headerItem().setTextAlignment(column, _RIGHT)
        for column in range(2):
            self._near.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._near_words = QLabel()
        self._near_words.setProperty("dim", True)
        self._near_words.setWordWrap(True)
        self._places = _Occurrences(self)
        self._list = QTableView()
        self._list.setModel(self._places)
        self._list.setAccessibleName("Occurrences")
        self._list.setToolTip(
            "Every occurrence with the tokens around it in the same codebook. Click or Enter: go there."
        )
        self._list.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self._list.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        self._list.setTabKeyNavigation(False)
        self._list.setShowGrid(False)
        self._list.verticalHeader().hide()
        self._list.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self._list.verticalHeader().setDefaultSectionSize(self._list.fontMetrics().height() + 8)
        self._list.setFont(figures_font(self.font()))
        self._list.setMinimumHeight(84)
        header = self._list.horizontalHeader()
        header.setHighlightSections(False)
        for column in range(4):
            mode = QHeaderView.ResizeMode.Stretch if column % 2 else QHeaderView.ResizeMode.ResizeToContents
            header.setSectionResizeMode(column, mode)
        self._list.clicked.connect(self._place_chosen)
        self._list.activated.connect(self._place_chosen)
        tip = "Frames of 80 ms that are played before and after each occurrence"
        self._context = NumberField("Context", tip, 0, 25)
        self._context.setValue(3)
        self._context.setSuffix(" frames")
        self._play = push_button(
            "Play in a row", "Play every occurrence, one after the other, on the side that is heard"
        )
        self._previous = push_button("◀", "Go to the previous occurrence (Shift+N)")
        self._next = push_button("▶", "Go to the next occurrence (N)")
        self._clear = push_button("Clear", "Light up no code (Esc)")
        self._play.clicked.connect(self._play_pressed)
        self._previous.clicked.connect(self._previous_pressed)
        self._next.clicked.connect(self._next_pressed)
        self._clear.clicked.connect(self.clear_requested)
        self._lay_out()
        self._show_enabled(False)

    def _lay_out(self) -> None:
        top = QGridLayout()
        top.setHorizontalSpacing(8)
        for column, (words, spin) in enumerate((("Code&book", self._codebook), ("Cod&e", self._code))):
            label = QLabel(words)
            label.setBuddy(spin)
            top.addWidget(label, 0, column)
            top.addWidget(spin, 1, column)
            top.setColumnStretch(column, 1)
        top.addWidget(self._clear, 1, 2)
        steps = QHBoxLayout()
        steps.addWidget(self._previous)
        steps.addWidget(self._next)
        steps.addStretch(1)
        steps.addWidget(self._play)
        context = QHBoxLayout()
        words = QLabel("Con&text")
        words.setBuddy(self._context)
        context.addWidget(words)
        context.addWidget(self._context)
        context.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addLayout(top)
        layout.addWidget(self._facts)
        layout.addWidget(self._near, 2)
        layout.addWidget(self._near_words)
        layout.addWidget(self._list, 3)
        layout.addLayout(context)
        layout.addLayout(steps)

    def set_range(self, num_codebooks: int, cardinality: int) -> None:
        """What can be typed: the codebooks of the open tokens, and their codes."""
        for spin, most in ((self._codebook, num_codebooks - 1), (self._code, cardinality - 1)):
            spin.blockSignals(True)
            spin.setMaximum(most)
            spin.blockSignals(False)

    def set_code(self, facts: CodeFacts | None, codes: np.ndarray, frames: np.ndarray, frame_s: float) -> None:
        """Show a code of ``codes``, integer [K, T], that occurs at ``frames``, int64 [n]; None: no code."""
        self._facts.setText(_HINT if facts is None else facts_words(facts))
        self._near.clear()
        self._near_words.clear()
        self._places.fill(codes, 0 if facts is None else facts.codebook, frames, frame_s)
        if facts is not None:
            for spin, value in ((self._codebook, facts.codebook), (self._code, facts.code)):
                spin.blockSignals(True)
                spin.setValue(value)
                spin.blockSignals(False)
        self._show_enabled(facts is not None, len(frames) > 0)

    def set_neighbours(self, found: Neighbours | None, counts: np.ndarray, words: str = "") -> None:
        """Show these neighbours; ``counts`` int64 [n] says how often each occurs. Without: ``words`` say why."""
        self._near.clear()
        self._near_words.setText(words)
        self._near_words.setVisible(bool(words))
        if found is None:
            return
        for code, distance, count in zip(found.codes, found.distances, counts, strict=True):
            row = QTreeWidgetItem(self._near, [str(int(code)), f"{distance:.3g}", f"{int(count):,}"])
            row.setData(0, Qt.ItemDataRole.UserRole, int(code))
            for column in range(3):
                row.setTextAlignment(column, _RIGHT)
                row.setFont(column, figures_font(self.font()))

    def set_position(self, frame: int) -> None:
        """Mark the occurrence at or before this frame in the list, without going there."""
        place = int(np.searchsorted(self._places.starts, frame, side="right")) - 1
        if place >= 0 and self._list.currentIndex().row() != place:
            self._list.setCurrentIndex(self._places.index(place, 0))

    def _show_enabled(self, has_code: bool, occurs: bool = False) -> None:
        self._clear.setEnabled(has_code)
        for button in (self._play, self._previous, self._next):
            button.setEnabled(occurs)

    def _typed(self) -> None:
        self.code_requested.emit(self._codebook.value(), self._code.value())

    def _neighbour_chosen(self, item: QTreeWidgetItem) -> None:
        self.code_requested.emit(self._codebook.value(), item.data(0, Qt.ItemDataRole.UserRole))

    def _place_chosen(self, index: QModelIndex) -> None:
        self.frame_requested.emit(self._places.spans[index.row()][0])

    def _play_pressed(self) -> None:
        self.play_requested.emit(max(self._list.currentIndex().row(), 0), self._context.value())

    def _previous_pressed(self) -> None:
        self.step_requested.emit(-1)

    def _next_pressed(self) -> None:
        self.step_requested.emit(1)


class _Binding(QObject):
    """The panel's ties to the marks on the heatmap, and to the codec that knows the neighbours."""

    def __init__(self, panel: TokensPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context, self._marks = panel, context, context.marks
        self._asked: int | None = None
        marks = self._marks
        panel.code_requested.connect(marks.select)
        panel.frame_requested.connect(marks.go_to)
        panel.step_requested.connect(self._step)
        panel.play_requested.connect(self._play)
        panel.clear_requested.connect(marks.clear)
        marks.code_changed.connect(self._show)
        context.session.model_changed.connect(self._ask)
        context.transport.position_changed.connect(self._follow)
        context.codec.finished.connect(self._found)
        context.codec.failed.connect(self._failed)
        self._show()

    @Slot()
    def _show(self) -> None:
        document, marks = self._context.session.document, self._marks
        codes = document.codes_array
        if codes is None:
            codes = np.zeros((self._context.session.max_codebooks, 0), np.int16)
        self._panel.set_range(codes.shape[0], document.info.cardinality)
        ready = codes[:, : document.num_frames]
        self._panel.set_code(marks.facts, ready, marks.frames, document.info.frame_to_s(1))
        self._ask()

    @Slot()
    def _ask(self) -> None:
        session, codec = self._context.session, self._context.codec
        codec.cancel(self._asked)
        self._asked = None
        if self._marks.code is None:
            return
        nothing = np.zeros(0, np.int64)
        if session.model_state != "ready":
            self._panel.set_neighbours(None, nothing, "The neighbours appear here once the model is loaded.")
            return
        self._panel.set_neighbours(None, nothing, "Looking for neighbours …")
        self._asked = codec.submit(FindNeighbours(session.choice, session.document.info, *self._marks.code))

    @Slot(object, object)
    def _found(self, number: int, result: object) -> None:
        if number == self._asked and isinstance(result, Neighbours):
            self._asked = None
            codes = self._context.session.document.codes_array
            counts = np.zeros(0, np.int64)
            if codes is not None:
                row = codes[result.codebook, : self._context.session.document.num_frames]
                counts = np.array([np.count_nonzero(row == code) for code in result.codes], np.int64)
            self._panel.set_neighbours(result, counts)

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._asked:
            self._asked = None
            self._panel.set_neighbours(None, np.zeros(0, np.int64), failure.message)

    @Slot(int, int)
    def _play(self, first: int, context_frames: int) -> None:
        self._marks.play_all(context_frames, first)

    @Slot(int)
    def _step(self, by: int) -> None:
        self._marks.step(by)
        self._panel.set_position(self._context.session.document.info.s_to_frame(self._context.transport.position_s))

    @Slot(object, object)
    def _follow(self, seconds: float, playing: bool) -> None:
        if self._context.transport.plays_row:
            self._panel.set_position(self._context.session.document.info.s_to_frame(seconds))


def build(context: PanelContext) -> TokensPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = TokensPanel()
    _Binding(panel, context)
    return panel
