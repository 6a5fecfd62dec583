"""The worst moments as a list: choose one to loop it in A/B, or step through them by key. GUI thread only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.error_strip import STRIP_METRICS, ErrorStrip, Moment
from mimi_gui.ui.analysis_jobs import Errors
from mimi_gui.ui.theme import figures_font
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext


class MomentsPanel(QWidget):
    """Worst first; Enter or a double click loops one.

    Signals:
        moment_requested(object): loop ``(start_s, end_s)``.
        moment_chosen(int): this place of the list is chosen.
        step_requested(int): go to the next (1) or previous (-1) one.
        metric_requested(str): judge by another metric, a key of ``STRIP_METRICS``.
    """

    moment_requested = Signal(object)
    moment_chosen = Signal(int)
    step_requested = Signal(int)
    metric_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._moments: tuple[Moment, ...] = ()
        self._metric = QComboBox()
        self._metric.setAccessibleName("What counts as bad")
        self._metric.setToolTip("What counts as bad: the measure that the error strip shows")
        for key, (name, unit) in STRIP_METRICS.items():
            self._metric.addItem(f"{name}, {unit}", key)
        self._metric.activated.connect(self._metric_chosen)
        self._list = QTreeWidget()
        self._list.setRootIsDecorated(False)
        self._list.setUniformRowHeights(True)
        self._list.setAccessibleName("Worst moments")
        self._list.setToolTip("Enter or double click: loop this moment in A/B")
        self._list.setHeaderLabels(["", "From", "To", "Error"])
        self._list.header().setStretchLastSection(True)
        self._list.header().setMinimumSectionSize(20)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for column in range(3):
            self._list.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._list.itemActivated.connect(self._activated)
        self._words = QLabel()
        self._words.setProperty("dim", True)
        self._words.setWordWrap(True)
        previous, following = QPushButton("Previous"), QPushButton("Next")
        previous.setToolTip("Loop the moment before in this list (key: Shift+W)")
        following.setToolTip("Loop the next moment in this list (key: W)")
        previous.clicked.connect(self.previous)
        following.clicked.connect(self.next)
        buttons = QHBoxLayout()
        for button in (previous, following):
            button.setAccessibleName(button.toolTip())
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self._metric)
        layout.addWidget(self._list, 1)
        layout.addLayout(buttons)
        layout.addWidget(self._words)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column in range(4):
            self._list.headerItem().setTextAlignment(column, right)
        self.set_moments(None, ())

    def set_moments(self, strip: ErrorStrip | None, moments: Sequence[Moment]) -> None:
        """List these moments of this strip; the one chosen before is chosen no more."""
        self._moments = tuple(moments)
        self._list.clear()
        if strip is not None:
            self._metric.setCurrentIndex(max(self._metric.findData(strip.metric), 0))
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for place, moment in enumerate(self._moments):
            unit = "" if strip is None else f" {strip.unit}"
            cells = [format_time(moment.start_s, 0.01), format_time(moment.end_s, 0.01), f"{moment.value:.2f}{unit}"]
            row = QTreeWidgetItem(self._list, [str(place + 1), *cells])
            for column in range(4):
                row.setFont(column, figures_font(self.font()))
                row.setTextAlignment(column, right)
        self._words.setText("" if moments else "The worst moments appear here once the reconstruction is complete.")

    def next(self) -> None:
        """Loop the moment below the chosen one, from the last on the first."""
        self.step_requested.emit(1)

    def previous(self) -> None:
        """Loop the moment above the chosen one, from the first on the last."""
        self.step_requested.emit(-1)

    def choose(self, place: int) -> None:
        """Mark this line."""
        item = self._list.topLevelItem(place)
        if item is not None:
            self._list.setCurrentItem(item)

    def _activated(self, item: QTreeWidgetItem) -> None:
        self._loop(self._list.indexOfTopLevelItem(item))

    def _loop(self, place: int) -> None:
        moment = self._moments[place]
        self.moment_chosen.emit(place)
        self.moment_requested.emit((moment.start_s, moment.end_s))

    def _metric_chosen(self) -> None:
        self.metric_requested.emit(self._metric.currentData())


class _Binding(QObject):
    """The panel's ties to the comparison whose errors it lists."""

    def __init__(self, panel: MomentsPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel = panel
        comparison = context.comparison
        self._comparison = comparison
        panel.moment_requested.connect(context.transport.play_loop)
        panel.moment_chosen.connect(self._chosen)
        panel.step_requested.connect(comparison.step_moment)
        comparison.moment_stepped.connect(panel.choose)
        panel.metric_requested.connect(comparison.set_metric)
        comparison.errors_changed.connect(self._show)
        self._show(comparison.errors)
        comparison.want("errors")

    @Slot(int)
    def _chosen(self, place: int) -> None:
        self._comparison.moment = place  # the next step goes on from here

    @Slot(object)
    def _show(self, errors: Errors | None) -> None:
        if errors is None:
            self._panel.set_moments(None, ())
        else:
            self._panel.set_moments(errors.strip, errors.moments)


def build(context: PanelContext) -> MomentsPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = MomentsPanel()
    _Binding(panel, context)
    return panel
