"""The menu entries of the optional views: which are shown, what they show, and that they are remembered.

What a view needs of scipy is imported on the analysis thread before it is built. GUI thread only.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from mimi_gui.ui.analysis_jobs import Errors
from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes
from mimi_gui.ui.comparison import Comparison
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Desk, Job, WorkerThread


@dataclass(frozen=True)
class ImportViews(Job):
    """Import what the views need of scipy, away from the window. Result: None."""

    def run(self, desk: Desk) -> None:
        # Not the views' own modules: they import Qt, and that is the GUI thread's.
        for name in ("spectrogram", "error_strip"):
            import_module(f"mimi_gui.analysis.{name}")


class LaneSwitches(QObject):
    """Feeds the optional lanes from the comparison and shows those that the person switched on.

    Those that were shown at the end of the last run come back when the first recording is opened.
    """

    def __init__(
        self,
        lanes: AnalysisLanes,
        comparison: Comparison,
        session: Session,
        transport: Transport,
        settings: SettingsStore,
        measuring: WorkerThread,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._lanes, self._comparison = lanes, comparison
        self._session, self._settings, self._measuring = session, settings, measuring
        self._import: int | None = None
        self._is_ready = False  # what the views need is imported
        self._asked_for = ""  # the view that was switched on last, by hand and not by the settings
        self.actions = {kind.key: QAction(kind.name, self) for kind in LANE_KINDS}
        for place, (key, action) in enumerate(self.actions.items()):
            keys = f"Alt+{place + 1}" if place < 9 else ""
            action.setCheckable(True)
            action.setShortcut(keys)
            action.setToolTip(f"Show or hide this view on the wall{f' ({keys})' if keys else ''}")
            action.setObjectName(f"lane_{key}")
            action.setData(key)
            action.setChecked(key in settings.value.lanes)
            action.toggled.connect(self._toggled)
        comparison.sounds_changed.connect(lanes.set_sounds)
        comparison.difference_changed.connect(lanes.set_difference)
        comparison.errors_changed.connect(self._errors_changed)
        lanes.missing.connect(self._missing)
        lanes.moment_requested.connect(transport.play_loop)
        session.source_changed.connect(self._begin)
        measuring.finished.connect(self._imported)
        self._at_start = self._wanted
        if not self._wanted:
            lanes.restore_heights(settings.value.lane_heights)

    def fill_menu(self, menu: QMenu, window: QWidget) -> None:
        """Add an entry per view; their keys work in ``window``."""
        for action in self.actions.values():
            menu.addAction(action)
            window.addAction(action)

    def remember_heights(self) -> None:
        """Write down how high the views are; the window closes."""
        if self._is_ready or not self._wanted:  # else those that the heights are about have not been shown yet
            self._settings.update(lane_heights=self._lanes.heights)

    @property
    def _wanted(self) -> tuple[str, ...]:
        return tuple(key for key, action in self.actions.items() if action.isChecked())

    @Slot()
    def _begin(self) -> None:
        if self._wanted and not self._is_ready and self._import is None:
            self._import = self._measuring.submit(ImportViews())

    @Slot(bool)
    def _toggled(self, on: bool) -> None:
        self._settings.update(lanes=self._wanted)
        self._asked_for = next((key for key, action in self.actions.items() if action is self.sender() and on), "")
        if self._is_ready:
            self._show()
        elif self._session.document.entry is not None:
            self._begin()

    @Slot(object, object)
    def _imported(self, number: int, result: object) -> None:
        if number == self._import:
            self._import, self._is_ready = None, True
            self._show()
            if self._wanted == self._at_start:  # else they were of other views
                self._lanes.restore_heights(self._settings.value.lane_heights)

    def _show(self) -> None:
        for key, action in self.actions.items():
            self._lanes.show(key, action.isChecked())
        self._lanes.bring_into_sight(self._asked_for)

    @Slot(object)
    def _errors_changed(self, errors: Errors | None) -> None:
        strip, moments = (errors.strip, errors.moments) if errors is not None else (None, ())
        self._lanes.set_error_strip(strip, moments)

    @Slot(str)
    def _missing(self, key: str) -> None:
        self._comparison.want("errors" if key == "error" else "difference")
