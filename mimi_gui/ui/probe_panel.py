"""The stability probe: do the tokens stay when the recording is disturbed in a way that nobody hears? GUI thread
only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.analysis_jobs import SaveText
from mimi_gui.ui.probe_chart import ProbeChart
from mimi_gui.ui.probe_study import ProbeStudy
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimi_gui.analysis.probe import Steadiness
    from mimi_gui.ui.panel_context import PanelContext

_MEANING = (
    "A model that learns from tokens takes each change for another text. Tokens that move with a shift of a few samples"
    " or with one decibel say less about the sound than about how it was cut and levelled; train on several of them."
)


class ProbePanel(QWidget):
    """The chart with its button and its words.

    Signals:
        start_requested(): probe the loop, or the recording's beginning. cancel_requested(): stop that.
        copy_requested(): put the table on the clipboard. save_requested(): save it.
    """

    start_requested = Signal()
    cancel_requested = Signal()
    copy_requested = Signal()
    save_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chart = ProbeChart(theme)
        self._running = False
        self._summary = ""
        self._button = _button("Probe", "Encode a part of the recording again, shifted, louder, noisier, cut; compare")
        self._button.clicked.connect(self._pressed)
        self._copy = _button("Copy", "Copy the shares of all codebooks as a table (CSV)")
        self._copy.clicked.connect(self.copy_requested)
        self._save = _button("Save …", "Save the shares of all codebooks as CSV")
        self._save.clicked.connect(self.save_requested)
        self._progress = QProgressBar()
        self._progress.setAccessibleName("Disturbances tried")
        self._progress.hide()
        self._words = QLabel()
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setMinimumHeight(3 * self._words.fontMetrics().height())
        self._words.setAlignment(Qt.AlignmentFlag.AlignTop)
        meaning = QLabel(_MEANING)
        meaning.setProperty("faint", True)
        meaning.setWordWrap(True)
        top = QHBoxLayout()
        for widget in (self._button, self._copy, self._save):
            top.addWidget(widget)
        top.addStretch(1)
        layout = QVBoxLayout()
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addLayout(top)
        layout.addWidget(self._progress)
        layout.addWidget(self.chart, 1)
        layout.addWidget(self._words)
        layout.addWidget(meaning)
        inner = QWidget()
        inner.setLayout(layout)
        area = QScrollArea()  # words and chart need more height than a small window has beside the mixer
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.chart.pointed.connect(self._point)
        self.set_results(())

    def set_results(
        self,
        results: Sequence[Steadiness],
        done: int = 0,
        total: int = 0,
        *,
        num_semantic: int = 1,
        span_s: tuple[float, float] | None = None,
    ) -> None:
        """Show what was found so far; ``done`` of ``total`` while it goes on, 0 of 0 at the end."""
        self._running = done < total
        self._button.setText("Cancel" if self._running else "Probe again" if results else "Probe")
        self._progress.setVisible(self._running)
        self._progress.setRange(0, max(total, 1))
        self._progress.setValue(done)
        for button in (self._copy, self._save):
            button.setEnabled(bool(results))
        self.chart.set_results(results, num_semantic)
        self._summary = summary(results, num_semantic, span_s)
        self._point("")

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.chart.theme = theme
        self.chart.update()

    def _pressed(self) -> None:
        (self.cancel_requested if self._running else self.start_requested).emit()

    def _point(self, words: str) -> None:
        self._words.setText(words or self._summary)


def summary(results: Sequence[Steadiness], num_semantic: int, span_s: tuple[float, float] | None) -> str:
    """Say what the results mean, in a sentence or two."""
    found = [result for result in results if result.num_frames]
    if not found:
        return "Probes the loop, or the first 12 s, with shifts of 1 to 1919 samples, gains, noise and less context."
    parts = []
    for kind, words in (("shift", "shifts"), ("gain", "gains"), ("noise", "noise")):
        shares = [result.share for result in found if result.disturbance.kind == kind]
        if shares:
            semantic = sum(float(share[:num_semantic].mean()) for share in shares) / len(shares)
            acoustic = sum(float(share[num_semantic:].mean()) for share in shares) / len(shares)
            parts.append(f"{words} {semantic:.0%} semantic, {acoustic:.0%} acoustic")
    where = "" if span_s is None else f" ({format_time(span_s[0], 0.1)} to {format_time(span_s[1], 0.1)})"
    text = f"Tokens that stay the same{where}, on average: {'; '.join(parts)}." if parts else ""
    enough = [r for r in found if r.disturbance.kind == "context" and float(r.share.mean()) >= 0.99]
    if enough:
        frames = min(result.disturbance.amount for result in enough)
        text += f" With {frames:g} frames of context ({frames * 0.08:.2g} s) at least 99 % are those of the whole."
    return text.strip()


def _button(words: str, tip: str) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tip)
    button.setAccessibleName(words.removesuffix(" …"))
    return button


class _Binding(QObject):
    """The panel's ties to the study that it shows."""

    def __init__(self, panel: ProbePanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context = panel, context
        self._study = ProbeStudy(context.session, context.codec, self)
        self._study.changed.connect(self._show)
        self._study.noticed.connect(context.tell)
        panel.start_requested.connect(self._start)
        panel.cancel_requested.connect(self._study.cancel)
        panel.copy_requested.connect(self._copy)
        panel.save_requested.connect(self._save)

    @Slot()
    def _start(self) -> None:
        from mimi_gui.analysis.probe import DEFAULT_DISTURBANCES

        transport = self._context.transport
        self._study.start(transport.loop if transport.loops else None, DEFAULT_DISTURBANCES)

    @Slot(object, object, object)
    def _show(self, results: tuple[Steadiness, ...], done: int, total: int) -> None:
        semantic = self._context.session.document.info.num_semantic_codebooks
        self._panel.set_results(results, done, total, num_semantic=semantic, span_s=self._study.span_s)

    @Slot()
    def _copy(self) -> None:
        from mimi_gui.analysis.probe import csv_table

        QGuiApplication.clipboard().setText(csv_table(self._study.results))

    @Slot()
    def _save(self) -> None:
        from mimi_gui.analysis.probe import csv_table

        folder = Path(self._context.settings.value.save_folder or ".")
        text, _ = QFileDialog.getSaveFileName(
            self._panel, "Save the stability probe", str(folder / "stability.csv"), "CSV (*.csv)"
        )
        if not text:
            return
        path = Path(text)
        asked = bool(path.suffix)  # the dialog asked about this very name
        path = path if asked else path.with_suffix(".csv")
        self._context.measuring.submit(SaveText(path, csv_table(self._study.results), overwrite=asked))


def build(context: PanelContext) -> ProbePanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = ProbePanel(context.theme)
    _Binding(panel, context)
    return panel
