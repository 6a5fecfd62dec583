"""Who carries out the player's plans: the playing process, or a silent clock where there is no sound.

Both take a ``Plan`` and tell what is heard. ``SoundProcess`` starts ``sound_process`` in a child and talks to
it by JSON lines and shared memory; ``SilentClock`` drives the same mixer by the time that has passed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimi_gui.clip import SharedMemory
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.mixer import Mixer, Plan
from mimi_gui.sound_process import STATUS_BYTES, Status

SILENT_RATE = 48000


@dataclass(frozen=True)
class OutputDevice:
    """An output as PortAudio names it. ``latency_s`` is what the device itself needs at least."""

    name: str
    host_api: str
    index: int
    sample_rate: int
    num_channels: int
    latency_s: float
    is_default: bool = False


def list_devices() -> list[OutputDevice]:
    """Return the outputs there are now, without disturbing a running stream. Any thread; takes about half a
    second.

    Raises:
        PlaybackUnavailable: PortAudio is missing, or there is no output at all.
    """
    child = subprocess.run(
        _command("--list"), capture_output=True, text=True, timeout=30, check=False, **_spawn_options()
    )
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise PlaybackUnavailable(sentence("crashed", child.stderr.strip()[-300:])) from None
    if "failed" in answer:
        raise PlaybackUnavailable(sentence(answer["failed"], answer["detail"]))
    if not answer["devices"]:
        raise PlaybackUnavailable(sentence("none", ""))
    return [OutputDevice(**row) for row in answer["devices"]]


def rescan() -> list[OutputDevice]:
    """Return the outputs there are now. PortAudio freezes its list at start, so each look is a fresh
    process.
    """
    return list_devices()


class Sound(Protocol):
    """Who carries out plans: the silent clock or the playing process."""

    sample_rate: int
    latency_s: float

    def publish(self, plan: Plan) -> None: ...
    def heard(self) -> tuple[float, int]: ...
    def close(self) -> None: ...
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


class SoundProcess:
    """The playing process seen from the window. What it says is pulled from ``answers``."""

    def __init__(self, wish: dict) -> None:
        self._memory = SharedMemory(STATUS_BYTES)
        self._status = Status(self._memory.map)
        self._kept: list[Plan] = []  # clips the process may still be about to attach
        self.sample_rate = SILENT_RATE
        self.latency_s = 0.0
        self.answers: queue.SimpleQueue[dict] = queue.SimpleQueue()
        try:
            self._child = subprocess.Popen(
                _command("--status", self._memory.name), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, encoding="utf-8", **_spawn_options(),
            )  # fmt: skip
        except OSError as error:
            raise PlaybackUnavailable(sentence("crashed", str(error))) from error
        threading.Thread(target=self._listen, daemon=True, name="sound answers").start()
        self._send({"open": wish})

    def _listen(self) -> None:
        assert self._child.stdout is not None
        with contextlib.suppress(ValueError):  # closed under our feet by close()
            for line in self._child.stdout:
                self.answers.put(json.loads(line))
        self.answers.put({"lost": "the playing process ended"})

    def _send(self, message: dict) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message) + "\n")
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            self.answers.put({"lost": "the playing process ended"})

    def publish(self, plan: Plan) -> None:
        self._kept = [*self._kept[-15:], plan]
        tickets = {
            side: clip.ticket() if clip is not None else None for side, clip in (("a", plan.a), ("b", plan.b))
        }
        self._send({"plan": {**plan._asdict(), **tickets}})

    def heard(self) -> tuple[float, int]:
        return self._status.heard(time.monotonic())

    def close(self) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()

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


def _command(*arguments: str) -> list[str]:
    """Return the command line of the playing process: this interpreter, this very package."""
    root = str(Path(__file__).resolve().parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {root!r}); "
        "from mimi_gui.sound_process import main; main(sys.argv[1:])"
    )
    return [sys.executable, "-c", code, *arguments]


def _spawn_options() -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.setdefault("PULSE_PROP", "application.name='Mimi GUI' media.role=production")
    options: dict[str, Any] = {"env": environment}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.HIGH_PRIORITY_CLASS
    return options


def sentence(kind: str, detail: str) -> str:
    """Return what came, what was expected and what to do, for each kind of silence."""
    if kind == "missing":
        return (
            "There is no sound because the PortAudio library is missing: install it (Debian, Ubuntu: "
            "sudo apt install libportaudio2; Fedora: sudo dnf install portaudio; "
            "macOS: brew install portaudio), then rescan."
        )
    if kind == "none":
        return "There is no sound because no output device was found: connect or enable one, then rescan."
    if kind == "gone":
        return f"The output {detail!r} is not there any more: choose another one, or connect it and rescan."
    if kind == "refused":
        return f"The output cannot be opened ({detail}): close what else uses it, or choose another one."
    if kind == "lost":
        return f"The sound stopped ({detail}): connect the device again and rescan, or choose another one."
    return f"The playing process did not start ({detail or 'no message'}): rescan, or start again."
