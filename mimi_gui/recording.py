"""Recorder: a microphone, its level, and takes that are on disk while they are being recorded.

A plain class without Qt. The sound is taken by a process of its own (``capture``), so neither a busy codec
nor a crash of the window costs a sample. All methods belong to one thread; ``open``, ``start`` and ``stop``
wait for the process's answer (well under a second) unless told not to, everything else returns at once.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from mimi_gui.capture import METER_BYTES, Meter
from mimi_gui.clip import Clip
from mimi_gui.errors import OutputError, PlaybackUnavailable
from mimi_gui.sound_child import OPEN_WAIT_S, InputDevice, SoundChild, list_inputs, sentence
from mimi_gui.target import check_target

__all__ = ["InputDevice", "Level", "RecordedTake", "Recorder", "list_inputs"]

DEAD_S = 0.5  # so much exact silence means that no microphone is behind it
HINT = "Nothing is recorded"
LONGEST_TAKE_S = 3 * 3600


@dataclass(frozen=True)
class Level:
    """The last tenth of a second, in dB below full scale (-inf for digital silence)."""

    peak_db: float
    rms_db: float
    held_peak_db: float  # since the take began
    num_clipped: int  # samples at full scale since the take began


@dataclass(frozen=True)
class RecordedTake:
    """A finished take: ``path`` is float32 WAV at the card's own rate and channels.

    ``clip`` is the same as mono at the codec's rate (float32 [T, 1]), what ``Waveform`` wants.
    ``ended_early`` says why the take stopped before it was asked to, "" if it did not.
    """

    path: Path
    clip: Clip
    sample_rate: int
    num_channels: int
    num_samples: int
    num_clipped: int
    num_lost: int
    ended_early: str = ""

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate


class Recorder:
    """Opens a microphone for its level; records takes from it."""

    def __init__(self, codec_rate: int) -> None:
        """``codec_rate`` in Hz is the rate of the mono copy that grows while recording."""
        self._codec_rate = codec_rate
        self._child: SoundChild | None = None
        self._meter: Meter | None = None
        self._facts: dict = {}
        self._path: Path | None = None
        self._clip: Clip | None = None
        self._is_started = False  # the process has said that it records
        self._is_paused = False
        self._ended_early = ""
        self._error: str | None = None
        self._finished: RecordedTake | None = None

    def open(
        self,
        device_name: str | None = None,
        *,
        host_api: str | None = None,
        sample_rate: int | None = None,
        num_channels: int | None = None,
        wait_s: float = OPEN_WAIT_S,
    ) -> None:
        """Open an input by name (None = the system's default); the level shows, nothing is kept.

        With ``wait_s=0`` it returns at once: ``is_opening`` until either ``is_open`` or ``error`` tells the rest.

        Raises:
            PlaybackUnavailable: there is none, or it refuses.
        """
        self.close(waits=wait_s > 0)
        self._error = None
        self._child = SoundChild("--record", METER_BYTES)
        self._meter = Meter(self._child.memory.map)
        self._child.send(
            {"open": {"name": device_name, "host_api": host_api,
                      "sample_rate": sample_rate, "num_channels": num_channels}}
        )  # fmt: skip
        if wait_s > 0:
            self._take(self._child.wait_for_answer(wait_s))
            if self._error is not None:
                raise PlaybackUnavailable(self._error, hint=HINT)

    def start(self, path: str | Path, *, longest_s: float = LONGEST_TAKE_S, wait_s: float = OPEN_WAIT_S) -> Clip:
        """Begin a take in ``path`` (a new .wav); return the mono clip that grows with it.

        With ``wait_s=0`` it returns at once: a disk that refuses shows in ``error``.

        Raises:
            PlaybackUnavailable: no input is open.
            OutputError: the file exists already or cannot be written.
        """
        if not self.is_open or self._child is None:
            raise PlaybackUnavailable("No microphone is open: choose one first.", hint=HINT)
        if self._path is not None:
            self.stop()
        target = check_target(path)
        clip = Clip.for_duration(longest_s, self._codec_rate, self._codec_rate)
        self._path, self._clip, self._ended_early, self._finished = target, clip, "", None
        self._is_started = self._is_paused = False
        self._error = None
        self._child.send({"record": {"path": str(target), "ticket": clip.ticket()}})
        if wait_s > 0:
            self._take(self._child.wait_for_answer(wait_s))
            if self._error is not None:
                raise OutputError(self._error)
        return clip

    def set_paused(self, on: bool) -> None:
        """Leave out what is said from now on, or go on with the take; nothing while none is recorded."""
        if self._child is not None and self._path is not None:
            self._is_paused = bool(on)
            self._child.send({"pause": self._is_paused})

    def stop(self, *, wait_s: float = OPEN_WAIT_S) -> RecordedTake:
        """End the take; the microphone stays open.

        Raises:
            PlaybackUnavailable: nothing is being recorded.
        """
        self._pull()
        if self._path is not None:
            self.stop_soon()
            deadline = time.monotonic() + wait_s
            while self._path is not None and self._child is not None and (left := deadline - time.monotonic()) > 0:
                self._take(self._child.wait_for_answer(max(0.01, left)))
            if self._path is not None:  # it does not answer: what is on the disk is the take
                self._finished = self._take_over()
        take = self.pop_finished()
        if take is None:
            raise PlaybackUnavailable("Nothing is being recorded.", hint=HINT)
        return take

    def stop_soon(self) -> None:
        """Ask for the take's end; ``pop_finished`` has it when it is whole."""
        if self._child is not None and self._path is not None:
            self._child.send({"finish": True})

    def pop_finished(self) -> RecordedTake | None:
        """Return the take that has ended since the last call, by ``stop_soon`` or by itself, else None."""
        self._pull()
        take, self._finished = self._finished, None
        return take

    def _take_over(self) -> RecordedTake:
        path, clip, meter = self._path, self._clip, self._meter
        assert path is not None
        assert clip is not None
        assert meter is not None
        clip.seal()
        self._path = self._clip = None
        return RecordedTake(
            path, clip, self._facts["sample_rate"], self._facts["num_channels"],
            meter.num_written, meter.num_clipped, meter.num_lost + meter.num_overflows, self._ended_early,
        )  # fmt: skip

    def close(self, *, waits: bool = True) -> None:
        """Let the microphone go; a running take is ended and stays on disk. ``waits=False`` returns at once."""
        if self._child is not None:
            self._child.close(waits=waits)
            self._child = None
        self._path = self._clip = None
        self._facts = {}

    def _pull(self) -> None:
        while self._child is not None and not self._child.answers.empty():
            self._take(self._child.answers.get_nowait())

    def _take(self, answer: dict) -> None:
        if "opened" in answer:
            self._facts = answer["opened"]
        elif "recording" in answer:
            self._is_started = True
        elif "finished" in answer:
            if self._path is not None:
                self._finished = self._take_over()
        elif answer.get("failed") == "disk" or ("failed" in answer and self._path is not None):
            self._error = f"Could not record to {self._path}: {answer.get('detail') or 'no answer'}."
            self._path = self._clip = None
        elif "failed" in answer:
            self._error = sentence(answer["failed"], answer.get("detail", ""), "input")
            self.close()
        else:
            self._end_early(answer)

    def _end_early(self, answer: dict) -> None:
        """The take ended by itself ("ended"), or the device or its process is gone ("lost")."""
        reason = answer.get("ended") or answer.get("lost") or "no reason given"
        self._error = sentence("lost", reason.strip().splitlines()[-1], "input")
        self._ended_early = reason
        if self._path is not None and self._facts:
            self._finished = self._take_over()
        if "lost" in answer:
            self.close()

    @property
    def is_opening(self) -> bool:
        self._pull()
        return self._child is not None and not self._facts

    @property
    def is_open(self) -> bool:
        self._pull()
        return self._child is not None and bool(self._facts)

    @property
    def is_recording(self) -> bool:
        """From ``start`` until the take has ended, paused or not."""
        self._pull()
        return self._path is not None

    @property
    def is_paused(self) -> bool:
        return self.is_recording and self._is_paused

    @property
    def error(self) -> str | None:
        """Why the microphone or the take ended by itself: one sentence, or None."""
        self._pull()
        return self._error

    @property
    def device(self) -> InputDevice | None:
        return InputDevice(**self._facts["device"]) if self.is_open else None

    @property
    def sample_rate(self) -> int:
        """The card's own rate in Hz; 0 while closed."""
        return self._facts["sample_rate"] if self.is_open else 0

    @property
    def duration_s(self) -> float:
        """How much of the take is on disk, in seconds."""
        if self._meter is None or not self.is_recording or not self._is_started:
            return 0.0
        return self._meter.num_written / self._facts["sample_rate"]

    @property
    def level(self) -> Level:
        meter = self._meter
        if meter is None:
            return Level(-math.inf, -math.inf, -math.inf, 0)
        return Level(decibels(meter.peak), decibels(meter.level), decibels(meter.held_peak), meter.num_clipped)

    @property
    def is_dead(self) -> bool:
        """True after half a second of exact zeros: macOS and Windows send them instead of asking for
        permission.
        """
        meter = self._meter
        return meter is not None and self.is_open and meter.num_zeros >= DEAD_S * self._facts["sample_rate"]


def decibels(magnitude: float) -> float:
    """Return ``magnitude`` (1 = full scale) in dB."""
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
