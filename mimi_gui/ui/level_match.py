"""How loud A and B are beside each other: measured on the analysis thread, a moment after the last change.

Lives in the GUI thread. Whoever owns the sound says what to measure when ``due`` comes, and sets the gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from mimi_gui.ui.analysis_jobs import MatchLoudness
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.worker import WorkerThread

if TYPE_CHECKING:
    from mimi_gui.analysis.loudness import LoudnessMatch

_SETTLE_MS = 300  # a loop edge that is being dragged


class LevelMatch(QObject):
    """See the module's docstring.

    Attributes:
        result: what the last measurement found, or None while unknown.

    Signals:
        due(): it is time to call :meth:`measure`.
        changed(): the gains are others.
    """

    due = Signal()
    changed = Signal()

    def __init__(self, measuring: WorkerThread, settings: SettingsStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._measuring, self._settings = measuring, settings
        self.result: LoudnessMatch | None = None
        self._job: int | None = None
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLE_MS)
        self._settling.timeout.connect(self.due)
        measuring.finished.connect(self._finished)

    @property
    def gains_db(self) -> tuple[float, float]:
        """For A and B, in dB: as measured, or none where that is unknown or not wanted."""
        if self.result is None or not self._settings.value.level_match:
            return 0.0, 0.0
        return self.result.gain_a_db, self.result.gain_b_db

    def wait(self) -> None:
        """Something moves that will have to be measured: ``due`` comes when it has stood still for a moment."""
        self._settling.start()

    def measure(self, a: np.ndarray, b: np.ndarray, rate_a: int, rate_b: int) -> None:
        """Measure what is heard of both, float32 [T] (A also [T, 2]) at their rates in Hz; ``changed`` follows."""
        self._measuring.cancel(self._job)
        self._job = self._measuring.submit(MatchLoudness(a, b, rate_a, rate_b))

    def set_on(self, on: bool) -> None:
        """Play both equally loud, or as decoded."""
        self._settings.update(level_match=on)
        self.changed.emit()

    def close(self) -> None:
        """Nothing is measured any more."""
        self._settling.stop()

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._job:
            self.result = cast("LoudnessMatch", result)
            self.changed.emit()
