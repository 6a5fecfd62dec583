"""How loud A and B are beside each other: measured on the analysis thread, on the very clips that are played.

A file keeps its own rate and channels until it is made ready for the device; what the loudspeakers get is what has to
be equally loud, so nothing else is measured. Lives in the GUI thread. Whoever owns the clips looks at ``is_wanted``,
says what to measure once both are whole, and sets the gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from mimi_gui.clip import Clip
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.worker import Desk, Job, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.analysis.loudness import LoudnessMatch

_SETTLE_MS = 300  # a loop edge that is being dragged


@dataclass(frozen=True)
class MatchLoudness(Job):
    """Measure both sides over what is listened to. Result: LoudnessMatch."""

    a: Clip  # both finished, at one rate
    b: Clip
    span: tuple[int, int]  # samples of the clips; either may end before
    is_mono: bool  # there is one loudspeaker

    def run(self, desk: Desk) -> LoudnessMatch:
        from mimi_gui.analysis.loudness import matching_gains  # scipy: half a second that the start does not have

        a, b = (clip.samples[self.span[0] : min(self.span[1], clip.length)] for clip in (self.a, self.b))
        channels = 1 if self.is_mono else None
        match = matching_gains(a, b, self.a.sample_rate, num_channels=channels, cancel=desk.is_cancelled)
        for clip in (self.a, self.b):
            clip.memory.let_go(0, clip.memory.num_bytes)
        return match


class LevelMatch(QObject):
    """See the module's docstring.

    Attributes:
        result: what the last measurement found, or None while unknown.
        is_wanted: what is heard has changed: :meth:`measure` it when it is whole.

    Signals:
        wanted(): ``is_wanted`` is true now.
        changed(): the gains are others.
    """

    wanted = Signal()
    changed = Signal()

    def __init__(self, measuring: WorkerThread, settings: SettingsStore, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._measuring, self._settings = measuring, settings
        self.result: LoudnessMatch | None = None
        self.is_wanted = False
        self._job: int | None = None
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLE_MS)
        self._settling.timeout.connect(self.ask)
        measuring.finished.connect(self._finished)

    @property
    def gains_db(self) -> tuple[float, float]:
        """For A and B, in dB: as measured, or none where that is unknown or not wanted."""
        if self.result is None or not self._settings.value.level_match:
            return 0.0, 0.0
        return self.result.gain_a_db, self.result.gain_b_db

    def forget(self) -> None:
        """What was measured is heard no more; what is being measured neither."""
        self._settling.stop()
        self._measuring.cancel(self._job)
        self._job = self.result = None
        self.is_wanted = False

    def put_off(self) -> None:
        """Let others have the thread: what is being measured is measured later, from the start."""
        if self._job is not None:
            self._measuring.cancel(self._job)
            self._job, self.is_wanted = None, True

    def wait(self) -> None:
        """Something moves that will have to be measured: it is wanted when it has stood still for a moment."""
        self._settling.start()

    @Slot()
    def ask(self) -> None:
        """It is wanted now."""
        self.is_wanted = True
        self.wanted.emit()

    def measure(self, a: Clip, b: Clip, span: tuple[int, int], *, is_mono: bool) -> None:
        """Measure ``span`` (in samples) of two finished clips; ``changed`` follows.

        ``is_mono``: the device has one channel, which gets the mean of two.
        """
        self.is_wanted = False
        self._measuring.cancel(self._job)
        self._job = self._measuring.submit(MatchLoudness(a, b, span, is_mono))

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
            self._job = None
            self.result = cast("LoudnessMatch", result)
            self.changed.emit()


def match_words(match: LoudnessMatch | None, on: bool, *, both: bool) -> tuple[str, str]:
    """What the window's switch says, and its tooltip.

    Args:
        match: what was measured, None while it is not known.
        both: whether there are two sides to measure.
    """
    if not on:
        return "As decoded", "Both play as decoded: the louder one tends to win by that alone.\nM: equally loud."
    if match is None:
        when = "They are being measured, or will be once both are whole." if both else "There is one side only so far."
        return "Level match", f"Both will play equally loud (BS.1770; key: M). {when}\nOff: as decoded."
    if match.reason:
        return "No match", f"{match.reason[0].upper()}{match.reason[1:]} (BS.1770; key: M)."
    # What is done, not what would be equivalent: the louder one is turned down, never the other up.
    lead_db = match.gain_b_db - match.gain_a_db
    side, gain_db = ("A", -lead_db) if lead_db > 0 else ("B", lead_db)
    tip = (
        f"Both play equally loud (BS.1770; key: M). A {match.loudness_a:.1f} LUFS, turned by {match.gain_a_db:+.1f} dB;"
        f" B {match.loudness_b:.1f} LUFS, turned by {match.gain_b_db:+.1f} dB.\nOff: as decoded."
    )
    words = f"{side} {gain_db:+.1f} dB" if abs(gain_db) >= 0.05 else "Level match"
    return words.replace("-", "−"), tip.replace(" -", " −")
