"""ABPlayer: two clips, one cursor, a switch that does not click. A plain class: no Qt, no signals, pull only.

The sound is mixed in a process of its own (``sound_process``), because a busy codec holds Python's lock for
longer than a sound card waits. With no PortAudio, no device, or before ``open``, the same mixer runs on a
silent clock: everything but sound works.

All methods belong to one thread (the window's); none waits for the sound but ``open(wait_s > 0)`` and
``list_devices``. A ``Plan`` is the whole state: each wish makes a new one and hands it over.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable
from typing import Any

from mimi_gui.clip import Clip
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.mixer import MIN_LOOP_S, Plan
from mimi_gui.output import SilentClock, Sound, SoundProcess
from mimi_gui.sound_child import OPEN_WAIT_S, OutputDevice, list_devices, rescan, sentence

__all__ = ["ABPlayer", "Clip", "OutputDevice", "list_devices", "rescan"]

_SIDES = ("A", "B")


class ABPlayer:
    """Plays clip A or clip B from one cursor."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._plan = Plan()
        self._sound: Sound = SilentClock(clock=clock)
        self._process: SoundProcess | None = None  # being opened, or open
        self._device: OutputDevice | None = None
        self._error: str | None = None
        self._resume = False  # it was playing when the device was changed

    # The device

    def open(
        self,
        device_name: str | None = None,
        *,
        host_api: str | None = None,
        sample_rate: int | None = None,
        latency_s: float | None = None,
        rest_s: float | None = None,
        wait_s: float = OPEN_WAIT_S,
    ) -> None:
        """Open an output by name (None = the system's default); what plays goes on there.

        With ``wait_s=0`` it returns at once: ``is_opening`` until either ``is_open`` or ``error`` tells the
        rest. The clips in use must have ``sample_rate`` afterwards; if the new device has another rate they
        are dropped.

        Raises:
            PlaybackUnavailable: it cannot be opened; the player then runs on the silent clock.
        """
        self._resume = self.is_playing
        self.close()
        self._error = None
        wish = {
            "name": device_name, "host_api": host_api, "sample_rate": sample_rate,
            "latency_s": latency_s, "rest_s": rest_s,
        }  # fmt: skip
        self._process = SoundProcess(wish)
        if wait_s > 0:
            self._take(self._process.wait_for_answer(wait_s))
            if self._error is not None:
                raise PlaybackUnavailable(self._error)

    def close(self) -> None:
        """Let the device go; the silent clock takes over, paused."""
        self._pull()
        if self._process is not None:
            self._to_silence()

    def _pull(self) -> None:
        """Take what the playing process has answered meanwhile."""
        while self._process is not None:
            try:
                answer = self._process.answers.get_nowait()
            except queue.Empty:
                return
            self._take(answer)

    def _take(self, answer: dict) -> None:
        process = self._process
        assert process is not None
        if "opened" in answer:
            facts = answer["opened"]
            process.sample_rate = facts["sample_rate"]
            process.asked_latency_s = facts["latency_s"]
            position_s = self.position_s
            self._device = OutputDevice(**facts["device"])
            self._sound = process
            self._carry_over(position_s)
            if self._resume:
                self.play()
        else:
            kind = answer.get("failed", "lost")
            self._error = sentence(kind, answer.get("detail") or answer.get("lost", ""))
            self._to_silence()

    def _to_silence(self) -> None:
        process, self._process, self._device = self._process, None, None
        assert process is not None
        if self._sound is process:
            position_s = self._position_s()
            self._sound = SilentClock(process.sample_rate, self._clock)
            self._plan = self._plan._replace(playing=False)
            self._carry_over(position_s)
        process.close()

    def _carry_over(self, position_s: float) -> None:
        a, b = (c if c is not None and c.sample_rate == self._sound.sample_rate else None
                for c in (self._plan.a, self._plan.b))  # fmt: skip
        loop, serial = self._plan.loop, self._plan.seek_serial + 1
        if (a, b) != (self._plan.a, self._plan.b):
            loop = None
        self._publish(a=a, b=b, loop=loop, seek_serial=serial, seek_to=round(position_s * self.sample_rate))

    @property
    def is_open(self) -> bool:
        self._pull()
        return self._sound is self._process

    @property
    def is_opening(self) -> bool:
        self._pull()
        return self._process is not None and self._sound is not self._process

    @property
    def is_silent(self) -> bool:
        return not self.is_open

    @property
    def device(self) -> OutputDevice | None:
        self._pull()
        return self._device

    @property
    def error(self) -> str | None:
        """Why there is no sound: one sentence; None if there is some or nobody has asked for it."""
        self._pull()
        return self._error

    @property
    def sample_rate(self) -> int:
        """The rate clips must have, in Hz."""
        self._pull()
        return self._sound.sample_rate

    @property
    def latency_s(self) -> float:
        """From the mixer to the loudspeaker, as the device tells it: what a press takes to be heard."""
        self._pull()
        return self._sound.latency_s

    @property
    def underruns(self) -> int:
        """Times the sound card ran dry since ``open``."""
        return self._sound.underruns

    # The wishes

    def _publish(self, **changes: Any) -> None:
        self._plan = self._plan._replace(**changes)
        self._sound.publish(self._plan)

    def set_clips(self, a: Clip | None, b: Clip | None) -> None:
        """Play these from now on, at the same position.

        Raises:
            ValueError: a clip has another rate than ``sample_rate``.
        """
        self._pull()
        for clip in (a, b):
            if clip is not None and clip.sample_rate != self.sample_rate:
                raise ValueError(f"the clip has {clip.sample_rate} Hz, the device {self.sample_rate} Hz")
        self._publish(a=a, b=b)

    def set_side(self, side: str) -> None:
        """Cross-fade to "A" or "B" (with ``set_gap_switch(True)``: at the next ``press``), or to "D", A minus B."""
        if side == "D":
            self._publish(difference=True)
        else:
            self._publish(side=_SIDES.index(side), difference=False)

    @property
    def side(self) -> str:
        return "D" if self._plan.difference else _SIDES[self._plan.side]

    def set_gap_switch(self, on: bool) -> None:
        """Change sides through 5 ms out and 5 ms in instead of a cross-fade, and only by ``press``."""
        self._publish(gap_switch=bool(on))

    def press(self, side: str, *, restart: bool = False) -> None:
        """Bring "A" or "B" to the ear the same way whatever was heard before (A after A fades too)."""
        self._publish(side=_SIDES.index(side), press_serial=self._plan.press_serial + 1, difference=False)
        if restart:
            self._seek_samples(self._plan.loop[0] if self._plan.loop else 0)

    def play(self) -> None:
        """Play from the cursor; after the end, from the loop's start or the beginning."""
        self._pull()
        if self.is_playing:
            return
        if self.ended:
            self._seek_samples(self._plan.loop[0] if self._plan.loop else 0)
        self._publish(playing=True, play_serial=self._plan.play_serial + 1)

    def pause(self) -> None:
        self._publish(playing=False)

    def stop(self) -> None:
        """Pause and go to the loop's start or the beginning."""
        self._publish(playing=False)
        self._seek_samples(self._plan.loop[0] if self._plan.loop else 0)

    def seek(self, position_s: float) -> None:
        self._pull()
        self._seek_samples(round(position_s * self.sample_rate))

    def _seek_samples(self, position: int) -> None:
        position = max(0, min(position, self._plan.num_samples))
        changes: dict[str, int] = {"seek_serial": self._plan.seek_serial + 1, "seek_to": position}
        if self.is_playing:  # perhaps already mixed to the end, though not heard: go on from there
            changes["play_serial"] = self._plan.play_serial + 1
        else:
            changes["playing"] = False
        self._publish(**changes)

    def set_loop(self, start_s: float, end_s: float) -> None:
        """Repeat [start_s, end_s), at least 0.5 s of it; may be called while playing, edge by edge."""
        self._pull()
        total, least = self._plan.num_samples, round(MIN_LOOP_S * self.sample_rate)
        start, end = sorted((round(start_s * self.sample_rate), round(end_s * self.sample_rate)))
        start = max(0, min(start, total - least))
        end = min(max(end, start + least), max(total, 1))
        self._publish(loop=(start, end))

    def clear_loop(self) -> None:
        self._publish(loop=None)

    @property
    def loop_s(self) -> tuple[float, float] | None:
        if self._plan.loop is None:
            return None
        return self._plan.loop[0] / self.sample_rate, self._plan.loop[1] / self.sample_rate

    def set_volume(self, volume: float) -> None:
        """0 is silence, 1 leaves the samples as they are; gliding, not stepping."""
        self._publish(volume=min(1.0, max(0.0, float(volume))))

    @property
    def volume(self) -> float:
        return self._plan.volume

    def set_gains_db(self, gain_a_db: float, gain_b_db: float) -> None:
        """Gains for loudness matching, in dB (0 = as decoded)."""
        self._publish(gain_a=10 ** (gain_a_db / 20), gain_b=10 ** (gain_b_db / 20))

    def set_difference_gain_db(self, gain_db: float) -> None:
        """How much louder than it is the difference is played, in dB; the sides' gains never touch it."""
        self._publish(gain_difference=10 ** (gain_db / 20))

    @property
    def gains_db(self) -> tuple[float, float]:
        return 20 * math.log10(self._plan.gain_a), 20 * math.log10(self._plan.gain_b)

    # The facts

    @property
    def is_playing(self) -> bool:
        """True from ``play`` to ``pause`` or the heard end, also while waiting for a clip that still
        grows.
        """
        self._pull()
        return self._plan.playing and not self._has_run_out()

    @property
    def ended(self) -> bool:
        """The clips were heard to their end and nobody has moved the cursor since."""
        self._pull()
        return self._plan.playing and self._has_run_out()

    def _has_run_out(self) -> bool:
        if self._sound.ended_serial != self._plan.play_serial:
            return False
        return self._sound.heard()[0] >= self._plan.num_samples - 1

    @property
    def is_waiting(self) -> bool:
        """The cursor stands at the end of what is decoded and waits for more."""
        self._pull()
        return self._plan.playing and self._sound.is_waiting

    @property
    def position_s(self) -> float:
        """What is heard now, in seconds. A seek shows its target until the sound is there."""
        self._pull()
        return self._position_s()

    def _position_s(self) -> float:
        position, serial = self._sound.heard()
        if serial != self._plan.seek_serial:
            position = self._plan.seek_to
        return position / self._sound.sample_rate

    @property
    def duration_s(self) -> float:
        return self._plan.num_samples / self.sample_rate
