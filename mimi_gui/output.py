"""Who carries out the player's plans: the playing process, or a silent clock where there is no sound.

Both take a ``Plan`` and tell what is heard. ``SoundProcess`` hands plans to its child and reads the shared
status; ``SilentClock`` drives the same mixer by the time that has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from mimi_gui.mixer import Mixer, Plan
from mimi_gui.sound_child import SoundChild
from mimi_gui.sound_process import STATUS_BYTES, Status

SILENT_RATE = 48000
LATENCY_STEP_S = 0.005  # finer would flicker


class Sound(Protocol):
    """Who carries out plans: the silent clock or the playing process."""

    sample_rate: int

    def publish(self, plan: Plan) -> None: ...
    def heard(self) -> tuple[float, int]: ...
    def close(self) -> None: ...
    @property
    def latency_s(self) -> float: ...
    @property
    def ended_serial(self) -> int: ...
    @property
    def is_waiting(self) -> bool: ...
    @property
    def underruns(self) -> int: ...


class SilentClock:
    """The mixer driven by the time that has passed, whenever somebody asks."""

    latency_s = 0.0
    underruns = 0
    longest_gap_s = 0.0

    def __init__(self, sample_rate: int = SILENT_RATE, clock: Callable[[], float] = time.monotonic) -> None:
        self.sample_rate = sample_rate
        self.mixer = Mixer(sample_rate, 1)
        self._clock = clock
        self._last = clock()
        self._scrap = np.empty((4096, 1), np.float32)

    def _catch_up(self) -> None:
        now = self._clock()
        due = int((now - self._last) * self.sample_rate)
        self._last += due / self.sample_rate
        while due > 0:
            n = min(due, len(self._scrap))
            self.mixer.render(self._scrap[:n])
            due -= n
            if not self.mixer.is_sounding and not self.mixer.plan.playing:
                break

    def publish(self, plan: Plan) -> None:
        self._catch_up()
        self.mixer.plan = plan
        if not self.mixer.is_sounding:
            self.mixer.render(self._scrap[:0])

    def heard(self) -> tuple[float, int]:
        self._catch_up()
        return float(self.mixer.position), self.mixer.seek_serial

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def ended_serial(self) -> int:
        self._catch_up()
        return self.mixer.ended_serial

    @property
    def is_waiting(self) -> bool:
        return self.mixer.is_waiting


class SoundProcess(SoundChild):
    """The playing process seen from the window. What it says is pulled from ``answers``."""

    def __init__(self, wish: dict) -> None:
        super().__init__("--play", STATUS_BYTES)
        self._status = Status(self.memory.map)
        self._kept: list[Plan] = []  # clips the process may still be about to attach
        self.sample_rate = SILENT_RATE
        self.asked_latency_s = 0.0
        self.send({"open": wish})

    @property
    def latency_s(self) -> float:
        """As measured while it runs, as the device promised before: Bluetooth shows only in the former."""
        measured = max(self._status.lead_s, self.asked_latency_s)
        return round(measured / LATENCY_STEP_S) * LATENCY_STEP_S

    def publish(self, plan: Plan) -> None:
        self._kept = [*self._kept[-15:], plan]
        tickets = {side: clip.ticket() if clip is not None else None for side, clip in (("a", plan.a), ("b", plan.b))}
        self.send({"plan": {**plan._asdict(), **tickets}})

    def heard(self) -> tuple[float, int]:
        return self._status.heard(time.monotonic())

    def close(self, patience_s: float = 0.5, *, waits: bool = True) -> None:
        super().close(patience_s, waits=waits)  # nothing is lost by killing it, and the window waits

    @property
    def ended_serial(self) -> int:
        return self._status.ended_serial

    @property
    def is_waiting(self) -> bool:
        return self._status.is_waiting

    @property
    def underruns(self) -> int:
        return self._status.underruns

    @property
    def longest_gap_s(self) -> float:
        return self._status.longest_gap_s
