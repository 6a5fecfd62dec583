"""Token surgery: swap, copy, paste, shift, drop, shuffle and replace tokens of the selection. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QSize, Qt, Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDockWidget,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from mimi_gui import surgery
from mimi_gui.codes import CodecInfo
from mimi_gui.surgery import Selection, edits
from mimi_gui.ui.buttons import push_button
from mimi_gui.ui.editing import Editing, edit_words
from mimi_gui.ui.number_field import NumberField
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_SAME_PLACE = -1


def selection_words(selection: Selection | None, info: CodecInfo, *, is_loop: bool) -> str:
    """What an edit would change."""
    if selection is None:
        return "Open a recording or a token file first."
    first, last = selection.rows[0], selection.rows[-1]
    start, stop = selection.start, selection.stop
    times = " – ".join(format_time(info.frame_to_s(frame), 0.01) for frame in (start, stop))
    rows = f"codebook {first}" if first == last else f"codebooks {first} to {last}"
    frames = f"frame {start}" if stop - start == 1 else f"frames {start} to {stop - 1}"
    count = len(selection.rows) * selection.num_frames
    whole = "" if is_loop else " (all: drag on the views for less)"
    return f"{frames}{whole}, {times}; {rows}: {count:,} token{'' if count == 1 else 's'}"


class SurgeryPanel(QScrollArea):
    """A form around :class:`Editing`: it shows its state and passes wishes on."""

    def __init__(self, editing: Editing, perform: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._editing, self._perform = editing, perform
        self._rng = np.random.default_rng()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._words = _label("What is selected")
        self._first = NumberField("First codebook", "The first codebook of the selection, from 0", 0, 31, narrow=True)
        self._last = NumberField("Last codebook", "The last codebook of the selection", 0, 31, narrow=True)
        self._start = NumberField("First frame", "The first frame of the selection, from 0", 0, 0, narrow=True)
        self._stop = NumberField("Last frame", "The last frame of the selection", 0, 0, narrow=True)
        self._donor = _label("The other tokens")
        tip = "The frame of the other tokens to begin at"
        self._donor_start = NumberField("Starting frame", tip, _SAME_PLACE, 10**7, narrow=True)
        self._donor_start.setSpecialValueText("same place")
        self._donor_start.setValue(_SAME_PLACE)
        self._by = NumberField("Frames", "Frames of 80 ms; below zero: earlier", -(10**6), 10**6, narrow=True)
        self._by.setValue(1)
        self._percent = NumberField("Per cent", "Share of the selected frames that gets lost", 0, 100, narrow=True)
        self._percent.setValue(10)
        self._percent.setSuffix(" %")
        self._fill = QComboBox()
        self._fill.setAccessibleName("Instead of a lost frame")
        self._fill.setToolTip("Mimi has no token for nothing: what stands in for a lost frame")
        self._fill.addItem("last one", "repeat")
        self._fill.addItem("random", "random")
        self._together = QComboBox()
        self._together.setAccessibleName("What is shuffled")
        self._together.setToolTip("Whole frames change places, or each codebook is shuffled by itself")
        self._together.addItem("whole frames", True)
        self._together.addItem("each row", False)
        self._old = NumberField("Old code", "The code to look for", 0, 2047, narrow=True)
        self._new = NumberField("New code", "The code to put there", 0, 2047, narrow=True)
        self._log = _label("Edits so far")
        self._log.setProperty("dim", True)
        self._hears = QCheckBox("A is the sound &before the edits")
        self._hears.setToolTip("Compare the edited tokens (B) with the untouched ones (A); off: with the original")
        self._plays = QCheckBox("&Hear each edit at once")
        self._plays.setToolTip("Play the selection after each edit")
        self._plays.setChecked(editing.plays_edits)
        self._buttons: dict[str, QPushButton] = {}
        self._lay_out()
        self._first.valueChanged.connect(self._rows_typed)
        self._last.valueChanged.connect(self._rows_typed)
        self._start.valueChanged.connect(self._frames_typed)
        self._stop.valueChanged.connect(self._frames_typed)
        self._hears.toggled.connect(editing.hear_untouched)
        self._plays.toggled.connect(self._plays_toggled)

    def sizeHint(self) -> QSize:
        return QSize(300, 560)

    # --- layout ------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.setSpacing(7)
        layout.addWidget(_heading("Selection"))
        layout.addWidget(self._words)
        bounds = QGridLayout()
        bounds.setColumnStretch(1, 1)
        bounds.setColumnStretch(3, 1)
        for line, (words, first, last) in enumerate(
            (("F&rames", self._start, self._stop), ("Code&books", self._first, self._last))
        ):
            label = QLabel(words)
            label.setBuddy(first)
            for column, widget in enumerate((label, first, QLabel("to"), last)):
                bounds.addWidget(widget, line, column)
        layout.addLayout(bounds)
        layout.addLayout(
            self._row(
                ("Semantic", "Select what is said: the first codebook", partial(self._choose, "semantic")),
                ("Acoustic", "Select how it sounds: all codebooks but the first", partial(self._choose, "acoustic")),
                ("All", "Select all codebooks", partial(self._choose, "all")),
            )
        )
        layout.addWidget(_heading("Rows of other tokens"))
        layout.addWidget(self._donor)
        start = QGridLayout()
        words = QLabel("from fra&me")
        words.setBuddy(self._donor_start)
        tip = "Choose the token file that rows are taken from"
        choose = self._button("File …", tip, partial(self._perform, "donor"))
        start.addWidget(choose, 0, 0, 1, 2)
        start.addWidget(words, 1, 0)
        start.addWidget(self._donor_start, 1, 1)
        start.setColumnStretch(1, 1)
        layout.addLayout(start)
        layout.addLayout(
            self._row(
                ("Words", "Swap the semantic row: another text in this voice", partial(self._swap, "semantic")),
                ("Voice", "Swap the acoustic rows: this text in another voice", partial(self._swap, "acoustic")),
                ("Selected", "Swap the selected codebooks", partial(self._swap, "selected")),
            )
        )
        layout.addWidget(_heading("Change"))
        grid = QGridLayout()
        grid.setSpacing(6)
        copy = self._button("Copy", "Copy the selected tokens (Shift+C)", self._editing.copy)
        paste = self._button(
            "Paste", "Put the copied tokens there, from the selection's start on (Shift+V)", self._editing.paste
        )
        lines = (
            (self._button("Shift", "Move the selected tokens in time; what leaves comes in at the other end",
                          self._shift), self._by, None),
            (self._button("Drop", "Lose frames, as a network would", self._drop), self._percent, self._fill),
            (self._button("Shuffle", "Put the selected frames into a random order", self._shuffle), self._together,
             None),
            (self._button("Replace", "Say another code wherever the selection says this one", self._replace),
             self._old, self._new),
        )  # fmt: skip
        grid.addWidget(copy, 0, 0)
        grid.addWidget(paste, 0, 1)
        for line, (button, first, second) in enumerate(lines, start=1):
            grid.addWidget(button, line, 0)
            grid.addWidget(first, line, 1, 1, 1 if second is not None else 2)
            if second is not None:
                grid.addWidget(second, line, 2)
        for column in range(3):
            grid.setColumnStretch(column, 1)
        layout.addLayout(grid)
        layout.addWidget(_heading("Edits"))
        layout.addLayout(
            self._row(
                ("Undo", "Take the last edit back (Ctrl+Z)", self._editing.undo),
                ("Redo", "Bring back what was undone (Ctrl+Shift+Z)", self._editing.redo),
                ("Save …", "Save the edited tokens as a new file that tells the edits",
                 partial(self._perform, "save_edits")),
            )
        )  # fmt: skip
        layout.addWidget(self._plays)
        layout.addWidget(self._hears)
        layout.addWidget(self._log)
        layout.addStretch(1)
        self.setWidget(body)

    def _button(self, words: str, tip: str, action: Callable[[], object]) -> QPushButton:
        button = push_button(words, tip)
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.setMinimumWidth(64)
        button.clicked.connect(lambda: action())
        self._buttons[words] = button
        return button

    def _row(self, *buttons: tuple[str, str, Callable[[], object]]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        for words, tip, action in buttons:
            row.addWidget(self._button(words, tip, action), 1)
        return row

    # --- facts -------------------------------------------------------------------------------------------

    def show_state(self, info: CodecInfo, *, is_loop: bool, hears_untouched: bool) -> None:
        """Show what is selected, what can be done, and what was done."""
        editing = self._editing
        codes, selection = editing.codes, editing.selection
        self._words.setText(selection_words(selection, info, is_loop=is_loop))
        most_row, most_frame = (31, 0) if codes is None else (codes.num_codebooks - 1, codes.num_frames - 1)
        start, stop = (0, 1) if selection is None else (selection.start, selection.stop)
        for spin, value, most in (
            (self._first, editing.rows[0], most_row), (self._last, editing.rows[1], most_row),
            (self._start, start, most_frame), (self._stop, stop - 1, most_frame),
        ):  # fmt: skip
            spin.blockSignals(True)
            spin.setMaximum(max(most, 0))
            spin.setValue(value)
            spin.blockSignals(False)
        for spin in (self._old, self._new):
            spin.setMaximum(info.cardinality - 1)
        donor = editing.donor
        self._donor.setText(
            "None yet: choose a token file." if donor is None else
            f"{donor.name}: {donor.codes.num_codebooks} codebooks, {donor.codes.num_frames:,} frames"
        )  # fmt: skip
        for words in ("Words", "Voice", "Selected"):
            self._buttons[words].setEnabled(codes is not None and donor is not None)
        for words in ("Copy", "Shift", "Drop", "Shuffle", "Replace"):
            self._buttons[words].setEnabled(codes is not None)
        self._buttons["Paste"].setEnabled(codes is not None and editing.block is not None)
        self._buttons["Undo"].setEnabled(editing.can_undo)
        self._buttons["Redo"].setEnabled(editing.can_redo)
        told = edits(codes) if codes is not None else ()
        self._buttons["Save …"].setEnabled(bool(told))
        self._log.setText(_log_words([edit_words(dict(entry)) for entry in told]))
        self._hears.blockSignals(True)
        self._hears.setEnabled(editing.untouched is not None)
        self._hears.setChecked(hears_untouched)
        self._hears.blockSignals(False)

    def offer_code(self, code: int) -> None:
        """Put the code that was clicked into the field of what is replaced."""
        self._old.setValue(code)

    # --- wishes ------------------------------------------------------------------------------------------

    def _rows_typed(self) -> None:
        self._editing.set_rows(self._first.value(), self._last.value())

    def _frames_typed(self) -> None:
        start, last = self._start.value(), self._stop.value()
        self._editing.set_frames(min(start, last), max(start, last) + 1)

    def _choose(self, kind: str) -> None:
        codes = self._editing.codes
        if codes is None:
            return
        semantic, most = codes.info.num_semantic_codebooks, codes.num_codebooks - 1
        first, last = {"semantic": (0, semantic - 1), "acoustic": (semantic, most)}.get(kind, (0, most))
        self._editing.set_rows(min(first, most), min(last, most))

    def _swap(self, kind: str) -> None:
        start = self._donor_start.value()
        self._editing.swap(kind, None if start == _SAME_PLACE else start)

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))

    def _shift(self) -> None:
        self._editing.do(lambda codes, selection: surgery.shift(codes, selection, self._by.value()))

    def _drop(self) -> None:
        percent, fill, seed = self._percent.value(), self._fill.currentData(), self._seed()
        self._editing.do(lambda codes, selection: surgery.drop(codes, selection, percent, fill=fill, seed=seed))

    def _shuffle(self) -> None:
        together, seed = self._together.currentData(), self._seed()
        self._editing.do(lambda codes, selection: surgery.shuffle(codes, selection, together=together, seed=seed))

    def _replace(self) -> None:
        old, new = self._old.value(), self._new.value()
        self._editing.do(lambda codes, selection: surgery.replace_code(codes, selection, old, new))

    def _plays_toggled(self, on: bool) -> None:
        self._editing.plays_edits = on


def _log_words(lines: Sequence[str]) -> str:
    if not lines:
        return "No edits yet."
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))


def _heading(words: str) -> QLabel:
    label = QLabel(words)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def _label(name: str) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setAccessibleName(name)
    return label


class _Binding(QObject):
    """The panel's ties to what changes what it shows."""

    def __init__(self, panel: SurgeryPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context = panel, context
        context.editing.changed.connect(self._show)
        context.transport.changed.connect(self._show)
        context.transport.take_changed.connect(self._show)
        context.marks.code_changed.connect(self._offer_code)
        dock = context.window.findChild(QDockWidget, "surgery")  # behind another's tab the panel itself is "visible"
        if dock is not None:
            dock.visibilityChanged.connect(context.editing.show_selection)
        context.editing.show_selection(dock is None or dock.isVisible())
        self._show()

    @Slot()
    def _show(self) -> None:
        self._panel.show_state(
            self._context.session.document.info,
            is_loop=self._context.transport.loop is not None,
            hears_untouched=self._context.editing.hears_untouched,
        )

    @Slot()
    def _offer_code(self) -> None:
        code = self._context.marks.code
        if code is not None:
            self._panel.offer_code(code[1])


def build(context: PanelContext) -> SurgeryPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = SurgeryPanel(context.editing, context.perform)
    _Binding(panel, context)
    return panel
