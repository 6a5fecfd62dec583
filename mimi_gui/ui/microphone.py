"""The recording page's side of a Recorder: which microphone, the countdown, the take that runs, and how it ends.

Lives in the GUI thread and never waits: the Recorder's process answers when it can, a timer looks 30 times a second
while the microphone is open. Signals tell facts; the page draws from the attributes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from mimi_gui.analysis.envelope import Envelope, EnvelopeBuilder
from mimi_gui.clip import Clip
from mimi_gui.codes import CodecInfo
from mimi_gui.errors import MimiGuiError
from mimi_gui.recording import Level, RecordedTake, Recorder
from mimi_gui.takes import new_take, takes_folder
from mimi_gui.ui.settings import SettingsStore

log = logging.getLogger(__name__)

_TICK_MS = 33
_PATIENCE_S = 15.0  # until a microphone that does not open is given up

CLOSED, OPENING, READY, COUNTDOWN, RECORDING, PAUSED, STOPPING, FAILED = (
    "closed", "opening", "ready", "countdown", "recording", "paused", "stopping", "failed",
)  # fmt: skip


class Microphone(QObject):
    """See the module's docstring.

    Attributes:
        state: one of the names above.
        problem: why ``state`` is "failed", or why the last take ended early; one sentence or "".

    Signals:
        changed(): state, problem or device.
        ticked(): level, duration, waveform; about 30 times a second.
        taken(object): a RecordedTake has ended, whole and on disk under its unfinished name.
    """

    changed = Signal()
    ticked = Signal()
    taken = Signal(object)

    def __init__(
        self,
        settings: SettingsStore,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._settings, self._clock = settings, clock
        self._recorder = recorder if recorder is not None else Recorder(CodecInfo().sample_rate)
        self.state = CLOSED
        self.problem = ""
        self._opening_since = 0.0
        self._begins_at = 0.0
        self._outline: EnvelopeBuilder | None = None
        self._clip: Clip | None = None
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)

    # Wishes

    def open(self) -> None:
        """Listen to the chosen microphone, for its level; nothing is kept. A take that runs goes on."""
        if self.is_taking:
            return
        name = self._settings.value.input_device or None
        self.problem = ""
        self._opening_since = self._clock()
        try:
            self._recorder.open(name, wait_s=0)
        except MimiGuiError as error:
            self._fail(error.message)
            return
        self._set_state(OPENING)
        self._timer.start()

    def use_device(self, name: str) -> None:
        """Listen to this input from now on ("" = the system's default); it is remembered by name."""
        self._settings.update(input_device=name)
        self.open()

    def close(self) -> None:
        """Let the microphone go, unless a take runs."""
        if self.is_taking:
            return
        self._timer.stop()
        self._recorder.close(waits=False)
        self._set_state(CLOSED)

    def record(self) -> None:
        """Begin: countdown, then the take; or go on after a pause, or pause."""
        if self.state == READY:
            seconds = self._settings.value.countdown_s
            self._begins_at = self._clock() + seconds
            self._set_state(COUNTDOWN)
            if seconds == 0:
                self._begin()
        elif self.state == RECORDING:
            self._recorder.set_paused(True)
            self._set_state(PAUSED)
        elif self.state == PAUSED:
            self._recorder.set_paused(False)
            self._set_state(RECORDING)
        elif self.state == COUNTDOWN:
            self._set_state(READY)

    def stop(self) -> None:
        """End the take (``taken`` follows), or the countdown."""
        if self.state == COUNTDOWN:
            self._set_state(READY)
        elif self.state in (RECORDING, PAUSED):
            self._recorder.stop_soon()
            self._set_state(STOPPING)

    def finish_now(self) -> RecordedTake | None:
        """The window closes: end the take and wait for the disk. Returns it, None where none was running."""
        self._timer.stop()
        take = None
        if self.is_taking:
            try:
                take = self._recorder.stop(wait_s=3.0)
            except MimiGuiError as error:
                log.warning("closing: %s", error.message)
        self._recorder.close(waits=self.is_taking)
        self.state = CLOSED
        return take

    def _begin(self) -> None:
        try:
            path = new_take(takes_folder(self._settings.value.takes_folder))  # a few stats: too quick to wait for
            clip = self._recorder.start(path, wait_s=0)
        except MimiGuiError as error:
            self.problem = error.message
            self._set_state(READY if self._recorder.is_open else FAILED)
            return
        self._clip = clip
        self._outline = EnvelopeBuilder(clip.sample_rate, samples=clip.samples[:, 0])
        self.problem = ""
        self._set_state(RECORDING)

    # Facts

    @property
    def is_taking(self) -> bool:
        """Whether a take is being recorded, paused or ended."""
        return self.state in (RECORDING, PAUSED, STOPPING)

    @property
    def level(self) -> Level:
        """Of the last tenth of a second."""
        return self._recorder.level if self._recorder.is_open else Level(-math.inf, -math.inf, -math.inf, 0)

    @property
    def is_dead(self) -> bool:
        """Whether nothing but digital silence comes: the system keeps the microphone from us, or it is muted."""
        return self._recorder.is_dead

    @property
    def duration_s(self) -> float:
        """How much of the running take is on disk."""
        return self._recorder.duration_s

    @property
    def countdown_s(self) -> float:
        """Seconds until the take begins; 0 when none is counted down to."""
        return max(self._begins_at - self._clock(), 0.0) if self.state == COUNTDOWN else 0.0

    @property
    def outline(self) -> Envelope | None:
        """The running take's waveform at the codec's rate, None before the first."""
        return self._outline.envelope if self._outline is not None else None

    @property
    def facts(self) -> str:
        """What is listened to, e.g. "Yeti, 48 kHz"; "" while closed."""
        device = self._recorder.device
        return f"{device.name}, {self._recorder.sample_rate / 1000:g} kHz" if device is not None else ""

    # Inside

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.changed.emit()

    def _fail(self, words: str) -> None:
        self.problem = words
        self.state = FAILED
        self.changed.emit()

    @Slot()
    def _tick(self) -> None:
        recorder = self._recorder
        if self.state == OPENING:
            self._watch_opening()
        elif self.state == COUNTDOWN and self.countdown_s == 0:
            self._begin()
        if self._outline is not None and self._clip is not None:
            self._outline.advance(self._clip.ready)
        take = recorder.pop_finished()
        if take is not None:
            self._take_ended(take)
        elif self.is_taking and not recorder.is_recording:  # the disk refused it at once
            self.problem = recorder.error or "The recording did not begin."
            self._clip = self._outline = None
            self._set_state(READY if recorder.is_open else FAILED)
        elif self.state in (READY, COUNTDOWN) and not recorder.is_open:
            self._fail(recorder.error or "The microphone is gone: choose another one.")
        self.ticked.emit()
        if self.state == FAILED:
            self._timer.stop()

    def _watch_opening(self) -> None:
        if self._recorder.is_open:
            self._set_state(READY)
        elif not self._recorder.is_opening:
            self._fail(self._recorder.error or "The microphone did not open: choose another one.")
        elif self._clock() - self._opening_since > _PATIENCE_S:
            self._recorder.close(waits=False)
            self._fail("The microphone does not answer: choose another one, or look again.")

    def _take_ended(self, take: RecordedTake) -> None:
        self._clip = None
        if take.ended_early:
            kept = f"what was recorded until then ({take.duration_s:.1f} s) is kept."
            self.problem = f"{(self._recorder.error or 'The recording stopped.').rstrip('.')}; {kept}"
        self.state = READY if self._recorder.is_open else FAILED
        self.changed.emit()
        self.taken.emit(take)

    def folder(self) -> Path:
        """Where takes are kept."""
        return takes_folder(self._settings.value.takes_folder)
