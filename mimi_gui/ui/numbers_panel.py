"""The numbers of a comparison, for the whole recording and for the selection, as a table. GUI thread only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QFont, QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.metrics import GROUPS, MetricResult
from mimi_gui.analysis.number_table import csv_table
from mimi_gui.ui.analysis_jobs import Numbers, SaveText
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_AT_ONCE_S = 60.0  # recordings up to this are measured without being asked
_WAYS = {"higher": "higher is closer", "lower": "lower is closer", "neither": ""}


class NumbersPanel(QWidget):
    """Metrics in groups; every row's tooltip says what the number means and what it does not.

    Signals:
        measure_requested(): measure the whole recording, and the selection if there is one.
        cancel_requested(): stop that.
        save_requested(): save as CSV or JSON.
    """

    measure_requested = Signal()
    cancel_requested = Signal()
    save_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._whole: tuple[MetricResult, ...] = ()
        self._selection: tuple[MetricResult, ...] = ()
        self._span: tuple[float, float] | None = None
        self._running = False
        self._table = QTreeWidget()
        self._table.setColumnCount(3)
        self._table.setRootIsDecorated(False)
        self._table.setIndentation(0)
        self._table.setUniformRowHeights(True)
        self._table.setSelectionMode(QTreeWidget.SelectionMode.ExtendedSelection)
        self._table.setAccessibleName("Numbers of the comparison")
        header = self._table.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._measure = QPushButton("Measure")
        self._measure.setToolTip("Compare the reconstruction with what Mimi heard, in the background")
        self._copy = QPushButton("Copy")
        self._copy.setToolTip("Copy the table, to paste it into a spreadsheet or a message")
        self._save = QPushButton("Save …")
        self._save.setToolTip("Save the numbers as CSV or JSON")
        for button in (self._measure, self._copy, self._save):
            button.setAccessibleName(button.toolTip())
        self._measure.clicked.connect(self._pressed)
        self._copy.clicked.connect(self.copy)
        self._save.clicked.connect(self.save_requested)
        self._progress = QProgressBar()
        self._progress.setAccessibleName("Measuring")
        self._progress.hide()
        self._note = QLabel("Measured on what Mimi heard against the reconstruction, at the codec's rate.")
        self._note.setProperty("dim", True)
        self._note.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self._measure)
        buttons.addStretch(1)
        buttons.addWidget(self._copy)
        buttons.addWidget(self._save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addLayout(buttons)
        layout.addWidget(self._progress)
        layout.addWidget(self._table, 1)
        layout.addWidget(self._note)
        self._fill()

    def set_results(
        self,
        whole: Sequence[MetricResult],
        selection: Sequence[MetricResult] = (),
        span: tuple[float, float] | None = None,
    ) -> None:
        """Show the results for the whole and, over ``span`` in seconds, for the selection; empty for none."""
        self._whole, self._selection, self._span = tuple(whole), tuple(selection), span
        self._fill()

    def set_running(self, running: bool, done: int = 0, total: int = 0) -> None:
        """Show that numbers are being measured; 0 of 0 where no one knows how far."""
        self._running = running
        self._measure.setText("Cancel" if running else "Measure")
        self._progress.setVisible(running)
        self._progress.setRange(0, total)
        self._progress.setValue(done)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = theme
        self._fill()

    def as_text(self) -> str:
        """The table as tab-separated lines with a heading."""
        lines = ["\t".join(["metric", "unit", "whole", *(["selection"] if self._selection else [])])]
        for result in self._whole or self._selection:
            cells = [result.metric.name, result.metric.unit]
            for found in (self._find(self._whole, result), self._find(self._selection, result)):
                cells.append("" if found is None else found.text if found.value is None else f"{found.value:.6g}")
            lines.append("\t".join(cells if self._selection else cells[:3]))
        return "\n".join(lines)

    def copy(self) -> None:
        """Put the table on the clipboard."""
        QGuiApplication.clipboard().setText(self.as_text())

    def _pressed(self) -> None:
        (self.cancel_requested if self._running else self.measure_requested).emit()

    @staticmethod
    def _find(results: Sequence[MetricResult], like: MetricResult) -> MetricResult | None:
        return next((result for result in results if result.metric.key == like.metric.key), None)

    def _fill(self) -> None:
        table = self._table
        table.clear()
        span = "Selection" if self._span is None else " – ".join(format_time(edge, 0.01) for edge in self._span)
        table.setHeaderLabels(["Metric", "Whole", span])
        for column in (1, 2):
            table.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        table.setColumnHidden(2, not self._selection)
        rows = self._whole or self._selection
        has_rows = bool(rows)
        self._copy.setEnabled(has_rows)
        self._save.setEnabled(has_rows)
        bold = QFont(self.font())
        bold.setBold(True)
        for group, title in GROUPS.items():
            members = [result for result in rows if result.metric.group == group]
            if not members:
                continue
            heading = QTreeWidgetItem(table, [title])
            heading.setFirstColumnSpanned(True)
            heading.setFont(0, bold)
            heading.setForeground(0, self._theme.color("text_dim"))
            heading.setFlags(Qt.ItemFlag.ItemIsEnabled)
            for result in members:
                self._add_row(result)

    def _add_row(self, result: MetricResult) -> None:
        row = QTreeWidgetItem(self._table, [result.metric.name])
        row.setToolTip(0, result.metric.tooltip)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column, results in ((1, self._whole), (2, self._selection)):
            found = self._find(results, result)
            if found is None:
                continue
            row.setText(column, found.text if found.value is not None else "n/a")
            row.setTextAlignment(column, right)
            row.setFont(column, figures_font(self.font()))
            notes = [found.reason or found.note, _WAYS.get(found.metric.better, "")]
            row.setToolTip(column, "\n".join(note for note in notes if note))
            if found.value is None:
                row.setForeground(column, self._theme.color("text_faint"))


class _Binding(QObject):
    """The panel's ties to the comparison that it shows."""

    def __init__(self, panel: NumbersPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context = panel, context
        comparison = context.comparison
        panel.measure_requested.connect(self._measure)
        panel.cancel_requested.connect(comparison.cancel_measuring)
        panel.save_requested.connect(self._save)
        comparison.numbers_changed.connect(self._show)
        comparison.measuring_changed.connect(panel.set_running)
        self._show(comparison.numbers)
        context.session.finished.connect(self._finished)
        if comparison.numbers is None and self._is_short:
            self._measure()  # it was opened to see numbers

    @Slot(object)
    def _show(self, numbers: Numbers | None) -> None:
        found = numbers or Numbers(())
        self._panel.set_results(found.whole, found.selection, found.span)

    @property
    def _is_short(self) -> bool:
        return self._context.session.document.duration_s <= _AT_ONCE_S

    @Slot()
    def _finished(self) -> None:
        if self._is_short and self._panel.isVisible():
            self._measure()

    @Slot()
    def _measure(self) -> None:
        transport = self._context.transport
        self._context.comparison.measure(transport.loop if transport.loops else None)

    @Slot()
    def _save(self) -> None:
        numbers = self._context.comparison.numbers
        if numbers is None:
            return
        folder = Path(self._context.settings.value.save_folder or ".")
        text, _ = QFileDialog.getSaveFileName(
            self._panel, "Save the numbers", str(folder / "numbers.csv"), "CSV (*.csv);;JSON (*.json)"
        )
        if not text:
            return
        rows = [result.as_dict() for result in numbers.whole]
        table = json.dumps(rows, indent=1) if text.endswith(".json") else csv_table(numbers.whole)
        self._context.measuring.submit(SaveText(Path(text), table, overwrite=True))  # the dialog has asked


def build(context: PanelContext) -> NumbersPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = NumbersPanel(context.theme)
    _Binding(panel, context)
    return panel
