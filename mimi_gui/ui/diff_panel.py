"""Two sets of tokens compared cell by cell: how much differs by codebook, where first, and why. GUI thread only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.codebooks import Agreement
from mimi_gui.ui.buttons import push_button
from mimi_gui.ui.theme import figures_font
from mimi_gui.ui.time_axis import format_time
from mimi_gui.ui.token_jobs import Explain

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_HINT = (
    "Compare the open tokens with another token file, or with the ones that a take was decoded from (P keeps one):"
    " what differs lights up on the heatmap."
)


def agreement_words(found: Agreement, names: tuple[str, str], frame_s: float) -> str:
    """Say how two token arrays agree, and what only one of them has."""
    frames = found.mask.shape[1]
    different = int(found.mask.size - np.count_nonzero(found.mask))
    if different == 0:
        words = f"All {found.mask.size:,} tokens are the same in {names[0]} and {names[1]}."
    else:
        first = found.first_differing_frame
        num_frames = int(np.count_nonzero(~found.mask.all(axis=0)))
        words = (
            f"{different:,} of {found.mask.size:,} tokens differ between {names[0]} and {names[1]}"
            f" ({different / found.mask.size:.2%}), in {num_frames:,} of {frames:,} frames, first in frame"
            f" {first:,} ({format_time(first * frame_s, 0.01)})."
        )
    for extra, unit in ((found.extra_codebooks, "codebook"), (found.extra_frames, "frame")):
        if extra:
            more = names[0] if extra > 0 else names[1]
            words += f" {more} has {abs(extra):,} {unit}{'' if abs(extra) == 1 else 's'} more, not compared."
    return words


class DiffPanel(QWidget):
    """See the module's docstring.

    Signals:
        file_requested(): compare with a token file.
        take_requested(): compare with the take.
        stop_requested(): compare no more.
        frame_requested(int): go to this frame.
        step_requested(int): go to the next (1) or previous (-1) frame that differs.
    """

    file_requested = Signal()
    take_requested = Signal()
    stop_requested = Signal()
    frame_requested = Signal(int)
    step_requested = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._file = push_button("With a file …", "Compare with another token file (Ctrl+D)")
        self._take = push_button(
            "With the take", "Compare with the tokens that the take was decoded from (P keeps one)"
        )
        self._stop = push_button("Stop", "Compare no more (Esc)")
        self._previous = push_button("◀", "Go to the frame before that differs (Shift+N)")
        self._next = push_button("▶", "Go to the next frame that differs (N)")
        self._file.clicked.connect(self.file_requested)
        self._take.clicked.connect(self.take_requested)
        self._stop.clicked.connect(self.stop_requested)
        self._previous.clicked.connect(self._previous_pressed)
        self._next.clicked.connect(self._next_pressed)
        self._words = QLabel(_HINT)
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setAccessibleName("What differs")
        self._reasons = QLabel()
        self._reasons.setProperty("dim", True)
        self._reasons.setWordWrap(True)
        self._reasons.setTextFormat(Qt.TextFormat.PlainText)
        self._reasons.setAccessibleName("Why it differs")
        self._table = QTreeWidget()
        self._table.setAccessibleName("Differences by codebook")
        self._table.setToolTip("What differs in each codebook. Click or Enter: go to the first frame that does.")
        self._table.setRootIsDecorated(False)
        self._table.setUniformRowHeights(True)
        self._table.setHeaderLabels(["Codebook", "Differ", "First at"])
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column in range(3):
            self._table.headerItem().setTextAlignment(column, _RIGHT)
        for column in range(2):
            self._table.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._table.itemClicked.connect(self._chosen)
        self._table.itemActivated.connect(self._chosen)
        buttons = QHBoxLayout()
        buttons.addWidget(self._file)
        buttons.addWidget(self._take)
        steps = QHBoxLayout()
        steps.addWidget(self._previous)
        steps.addWidget(self._next)
        steps.addStretch(1)
        steps.addWidget(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addLayout(buttons)
        layout.addWidget(self._words)
        layout.addWidget(self._reasons)
        layout.addWidget(self._table, 1)
        layout.addLayout(steps)
        self.set_agreement(None, ("", ""), 0.08)

    def set_available(self, *, has_tokens: bool, has_take: bool) -> None:
        """Whether there are complete tokens, and a take that knows the tokens it was decoded from."""
        self._file.setEnabled(has_tokens)
        self._take.setEnabled(has_tokens and has_take)

    def set_agreement(self, found: Agreement | None, names: tuple[str, str], frame_s: float) -> None:
        """Show how two token arrays agree; None: nothing is compared."""
        self._words.setText(_HINT if found is None else agreement_words(found, names, frame_s))
        self.set_reasons(())
        self._table.clear()
        differs = found is not None and not found.mask.all()
        self._stop.setEnabled(found is not None)
        for button in (self._previous, self._next):
            button.setEnabled(differs)
        if found is None:
            return
        for codebook, (share, first) in enumerate(zip(found.share, found.first_difference, strict=True)):
            at = format_time(first * frame_s, 0.01) if first >= 0 else "–"
            row = QTreeWidgetItem(self._table, [str(codebook), f"{1 - share:.2%}", at])
            row.setData(0, Qt.ItemDataRole.UserRole, int(first))
            for column in range(3):
                row.setTextAlignment(column, _RIGHT)
                row.setFont(column, figures_font(self.font()))

    def set_reasons(self, reasons: Sequence[str]) -> None:
        """Say what the two records tell about why they differ."""
        self._reasons.setText("\n".join(f"Why: {reason}" for reason in reasons))
        self._reasons.setVisible(bool(reasons))

    def _chosen(self, item: QTreeWidgetItem) -> None:
        frame = item.data(0, Qt.ItemDataRole.UserRole)
        if frame >= 0:
            self.frame_requested.emit(frame)

    def _previous_pressed(self) -> None:
        self.step_requested.emit(-1)

    def _next_pressed(self) -> None:
        self.step_requested.emit(1)


class _Binding(QObject):
    """The panel's ties to the marks on the heatmap and to the take."""

    def __init__(self, panel: DiffPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context, self._marks = panel, context, context.marks
        self._explaining: int | None = None
        session = context.session
        panel.file_requested.connect(self._ask_file)
        panel.take_requested.connect(self._marks.compare_take)
        panel.stop_requested.connect(self._marks.stop_comparing)
        panel.frame_requested.connect(self._marks.go_to)
        panel.step_requested.connect(self._marks.step)
        self._marks.comparison_changed.connect(self._show)
        for signal in (session.source_changed, session.finished, context.transport.take_changed):
            signal.connect(self._show_available)
        context.files.finished.connect(self._finished)
        self._show()
        self._show_available()

    @Slot()
    def _show_available(self) -> None:
        take = self._context.transport.take
        self._panel.set_available(
            has_tokens=self._context.session.document.codes is not None,
            has_take=take is not None and take.codes is not None,
        )

    @Slot()
    def _show(self) -> None:
        document, other = self._context.session.document, self._marks.other
        names = (document.title, other.name if other is not None else "")
        self._panel.set_agreement(self._marks.agreement, names, document.info.frame_to_s(1))
        self._explaining = None
        if other is not None and document.codes is not None and self._marks.agreement is not None:
            self._explaining = self._context.files.submit(Explain(document.codes, other.codes))

    @Slot()
    def _ask_file(self) -> None:
        self._context.perform("compare_tokens")

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._explaining:
            self._explaining = None
            self._panel.set_reasons(result)  # pyright: ignore[reportArgumentType] - sentences, by the job's contract


def build(context: PanelContext) -> DiffPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = DiffPanel()
    _Binding(panel, context)
    return panel
