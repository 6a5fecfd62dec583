"""The docks around the wall and the optional views on it: built when first shown, bound to the comparison.

What a panel needs of scipy is imported on the analysis thread first, so that opening a panel does not hold the window
up. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QFileDialog, QLabel, QMainWindow, QMenu, QWidget

from mimi_gui.ui.analysis_jobs import Errors, Numbers, SaveText
from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes
from mimi_gui.ui.comparison import Comparison
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Desk, Job, WorkerThread
from mimi_gui.ui.workspace import Workspace

if TYPE_CHECKING:
    from mimi_gui.ui.ladder_panel import LadderPanel
    from mimi_gui.ui.mixer_panel import MixerPanel
    from mimi_gui.ui.moments_panel import MomentsPanel
    from mimi_gui.ui.numbers_panel import NumbersPanel

_RIGHT, _BOTTOM = Qt.DockWidgetArea.RightDockWidgetArea, Qt.DockWidgetArea.BottomDockWidgetArea


@dataclass(frozen=True)
class Kind:
    """One dock: its key and title, and the key that shows it."""

    key: str
    title: str
    shortcut: str
    area: Qt.DockWidgetArea = _RIGHT


KINDS = (
    Kind("numbers", "Numbers", "Ctrl+1"),
    Kind("moments", "Worst Moments", "Ctrl+2"),
    Kind("ladder", "K-Ladder", "Ctrl+3"),
    Kind("mixer", "Mixer", "Ctrl+4", _BOTTOM),
    Kind("spectrogram", "Spectrogram Settings", "Ctrl+5"),
)


@dataclass(frozen=True)
class ImportAnalysis(Job):
    """Import what panels and views need of scipy, away from the window. Result: None."""

    def run(self, desk: Desk) -> None:
        # Not the panels' own modules: they import Qt, and that is the GUI thread's.
        for name in ("spectrogram", "ladder", "error_strip"):
            import_module(f"mimi_gui.analysis.{name}")


class Panels(QObject):
    """See the module's docstring; a panel is None until it is first shown.

    Signals:
        noticed(object): as the session's.
    """

    noticed = Signal(object)

    def __init__(
        self,
        window: QMainWindow,
        session: Session,
        transport: Transport,
        workspace: Workspace,
        settings: SettingsStore,
        codec: WorkerThread,
        measuring: WorkerThread,
    ) -> None:
        super().__init__(window)
        self._window, self._session, self._transport = window, session, transport
        self._settings, self._measuring = settings, measuring
        self._theme = workspace.wall.theme
        self.comparison = Comparison(session, codec, measuring, self)
        self.lanes = AnalysisLanes(workspace.wall, self)
        self.docks: dict[str, QDockWidget] = {}
        self._built: dict[str, QWidget] = {}
        self._imports: dict[int, str] = {}
        self._errors: Errors | None = None
        self._numbers: Numbers | None = None
        self.numbers: NumbersPanel | None = None
        self.moments: MomentsPanel | None = None
        self.ladder: LadderPanel | None = None
        self.mixer: MixerPanel | None = None
        for kind in KINDS:
            self.docks[kind.key] = self._shell(kind)
        side = [self.docks[kind.key] for kind in KINDS if kind.area == _RIGHT]
        for first, second in pairwise(side):
            window.tabifyDockWidget(first, second)
        comparison, lanes = self.comparison, self.lanes
        comparison.noticed.connect(self.noticed)
        comparison.sounds_changed.connect(lanes.set_sounds)
        comparison.difference_changed.connect(lanes.set_difference)
        comparison.errors_changed.connect(self._errors_changed)
        comparison.numbers_changed.connect(self._numbers_changed)
        comparison.measuring_changed.connect(self._measuring_changed)
        comparison.ladder_changed.connect(self._ladder_changed)
        lanes.missing.connect(self._lane_missing)
        lanes.moment_requested.connect(transport.play_loop)
        session.num_codebooks_changed.connect(self._num_codebooks_changed)
        session.codes_changed.connect(self._show_strips)
        measuring.finished.connect(self._imported)

    def _shell(self, kind: Kind) -> QDockWidget:
        dock = QDockWidget(kind.title, self._window)
        dock.setObjectName(kind.key)
        waiting = QLabel("…")
        waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        dock.setWidget(waiting)
        self._window.addDockWidget(kind.area, dock)
        dock.hide()
        dock.visibilityChanged.connect(self._visibility_changed)
        return dock

    def fill_menu(self, menu: QMenu) -> None:
        """Add an entry per dock and per optional view, with keys and tooltips."""
        for kind in KINDS:
            action = self.docks[kind.key].toggleViewAction()
            action.setShortcut(kind.shortcut)
            action.setToolTip(f"Show or hide the panel ({kind.shortcut})")
            action.triggered.connect(self.docks[kind.key].raise_)  # from behind its neighbours' tabs
            self._window.addAction(action)
            menu.addAction(action)
        menu.addSeparator()
        for i, lane in enumerate(LANE_KINDS):
            action = QAction(lane.name, self)
            action.setCheckable(True)
            action.setShortcut(f"Shift+F{i + 5}")
            action.setToolTip(f"Show or hide this view on the wall (Shift+F{i + 5})")
            action.setObjectName(f"lane_{lane.key}")
            action.setData(lane.key)
            action.toggled.connect(self._lane_toggled)
            menu.addAction(action)
            self._window.addAction(action)

    # Building

    @Slot(bool)
    def _visibility_changed(self, visible: bool) -> None:
        dock = self.sender()
        if not visible or not isinstance(dock, QDockWidget):
            return
        key = dock.objectName()
        if key not in self._built and key not in self._imports.values():
            self._imports[self._measuring.submit(ImportAnalysis())] = key

    @Slot(object, object)
    def _imported(self, number: int, result: object) -> None:
        key = self._imports.pop(number, None)
        if key is None:
            return
        if key.startswith("lane:"):
            self.lanes.show(key.removeprefix("lane:"), True)
            return
        build: Callable[[], QWidget] = getattr(self, f"_build_{key}")
        widget = self._built[key] = build()
        self.docks[key].setWidget(widget)

    def _build_numbers(self) -> NumbersPanel:
        from mimi_gui.ui.numbers_panel import NumbersPanel

        panel = self.numbers = NumbersPanel(self._theme)
        panel.measure_requested.connect(self._measure)
        panel.cancel_requested.connect(self.comparison.cancel_measuring)
        panel.save_requested.connect(self._save_numbers)
        return panel

    def _build_moments(self) -> MomentsPanel:
        from mimi_gui.ui.moments_panel import MomentsPanel

        panel = self.moments = MomentsPanel()
        panel.moment_requested.connect(self._transport.play_loop)
        panel.metric_requested.connect(self.comparison.set_metric)
        if self._errors is not None:
            panel.set_moments(self._errors.strip, self._errors.moments)
        self.comparison.want("errors")
        return panel

    def _build_ladder(self) -> LadderPanel:
        from mimi_gui.ui.ladder_panel import LadderPanel

        panel = self.ladder = LadderPanel(self._theme)
        panel.num_codebooks_requested.connect(self._session.set_num_codebooks)
        panel.start_requested.connect(self.comparison.climb)
        panel.cancel_requested.connect(self.comparison.cancel_climbing)
        panel.set_num_codebooks(self._session.num_codebooks)
        return panel

    def _build_mixer(self) -> MixerPanel:
        from mimi_gui.ui.mixer_panel import MixerPanel

        panel = self.mixer = MixerPanel(self._theme)
        panel.mix_changed.connect(self._session.set_mix)
        panel.pin_requested.connect(self._transport.pin)
        self._show_strips()
        return panel

    def _build_spectrogram(self) -> QWidget:
        from mimi_gui.ui.spectrogram_panel import SpectrogramPanel

        panel = SpectrogramPanel()
        panel.changed.connect(self.lanes.set_settings)
        return panel

    # Facts

    @Slot(object)
    def _errors_changed(self, errors: Errors | None) -> None:
        self._errors = errors
        strip, moments = (errors.strip, errors.moments) if errors is not None else (None, ())
        self.lanes.set_error_strip(strip, moments)
        if self.moments is not None:
            self.moments.set_moments(strip, moments)

    @Slot(object)
    def _numbers_changed(self, numbers: Numbers | None) -> None:
        self._numbers = numbers
        if self.numbers is not None:
            found = numbers or Numbers(())
            self.numbers.set_results(found.whole, found.selection, found.span)

    @Slot(object)
    def _measuring_changed(self, running: bool) -> None:
        if self.numbers is not None:
            self.numbers.set_running(running)

    @Slot(object, object, object)
    def _ladder_changed(self, ladder: object, done: int, total: int) -> None:
        if self.ladder is not None:
            from mimi_gui.analysis.ladder import Ladder

            shown = ladder if isinstance(ladder, Ladder) else Ladder()
            self.ladder.set_ladder(shown, done, total)

    @Slot()
    def _show_strips(self) -> None:
        if self.mixer is not None:
            info = self._session.document.info
            self.mixer.set_num_codebooks(self._session.max_codebooks, info.num_semantic_codebooks)
            self.mixer.set_active(self._session.wanted)

    @Slot(object)
    def _num_codebooks_changed(self, num_codebooks: int) -> None:
        if self.mixer is not None:
            self.mixer.set_active(self._session.wanted)
        if self.ladder is not None:
            self.ladder.set_num_codebooks(num_codebooks)

    # Wishes

    @Slot(bool)
    def _lane_toggled(self, on: bool) -> None:
        action = self.sender()
        if not isinstance(action, QAction):
            return
        if on:
            self._imports[self._measuring.submit(ImportAnalysis())] = f"lane:{action.data()}"
        else:
            self.lanes.show(action.data(), False)

    @Slot(str)
    def _lane_missing(self, key: str) -> None:
        self.comparison.want("errors" if key == "error" else "difference")

    @Slot()
    def _measure(self) -> None:
        self.comparison.measure(self._transport.loop if self._transport.loops else None)

    @Slot()
    def _save_numbers(self) -> None:
        if self._numbers is None:
            return
        import json

        from mimi_gui.analysis.number_table import csv_table

        folder = Path(self._settings.value.save_folder or ".")
        text, _ = QFileDialog.getSaveFileName(
            self._window, "Save the numbers", str(folder / "numbers.csv"), "CSV (*.csv);;JSON (*.json)"
        )
        if not text:
            return
        rows = [result.as_dict() for result in self._numbers.whole]
        table = json.dumps(rows, indent=1) if text.endswith(".json") else csv_table(self._numbers.whole)
        self._measuring.submit(SaveText(Path(text), table, overwrite=True))

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        for panel in (self.numbers, self.ladder, self.mixer):
            if panel is not None:
                panel.set_theme(theme)

    def close(self) -> None:
        """End what makes pictures."""
        self.lanes.close()
