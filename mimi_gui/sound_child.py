"""SoundChild: a process that owns a sound device for the window, and what can be asked of the devices there
are.

The child runs ``sound_process``; commands and answers are JSON lines on its stdin and stdout. Whoever starts
one pulls its answers when convenient; a daemon thread only moves them into a queue.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimi_gui.clip import SharedMemory
from mimi_gui.errors import PlaybackUnavailable

OPEN_WAIT_S = 15.0
LIST_WAIT_S = 30.0


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


class InputDevice(OutputDevice):
    """A microphone or another input, in the same words."""


def list_devices() -> list[OutputDevice]:
    """Return the outputs there are now, without disturbing a running stream. Any thread; takes half a second.

    Raises:
        PlaybackUnavailable: PortAudio is missing, or there is no output at all.
    """
    rows = _ask_for_devices()["output"]
    if not rows:
        raise PlaybackUnavailable(sentence("none", ""))
    return [OutputDevice(**row) for row in rows]


def list_inputs() -> list[InputDevice]:
    """Return the inputs there are now; see ``list_devices``.

    Raises:
        PlaybackUnavailable: PortAudio is missing, or there is no input at all.
    """
    rows = _ask_for_devices()["input"]
    if not rows:
        raise PlaybackUnavailable(sentence("none", "", "input"))
    return [InputDevice(**row) for row in rows]


def list_all() -> tuple[list[OutputDevice], list[InputDevice]]:
    """Return outputs and inputs there are now, perhaps none; see ``list_devices``.

    Raises:
        PlaybackUnavailable: PortAudio is missing, or does not answer.
    """
    answer = _ask_for_devices()
    return [OutputDevice(**row) for row in answer["output"]], [InputDevice(**row) for row in answer["input"]]


def rescan() -> list[OutputDevice]:
    """Return the outputs there are now. PortAudio freezes its list at start: each look is a fresh process."""
    return list_devices()


def _ask_for_devices() -> dict:
    try:
        child = subprocess.run(
            command("--list"), capture_output=True, text=True, timeout=LIST_WAIT_S, check=False, **spawn_options()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlaybackUnavailable(sentence("crashed", str(error))) from error
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise PlaybackUnavailable(sentence("crashed", child.stderr.strip()[-300:])) from None
    if "failed" in answer:
        raise PlaybackUnavailable(sentence(answer["failed"], answer["detail"]))
    return answer


class SoundChild:
    """A running ``sound_process``. ``mode`` is one of its verbs; ``status_bytes`` of shared memory go with
    it.

    Raises:
        PlaybackUnavailable: no process can be started at all.
    """

    def __init__(self, mode: str, status_bytes: int) -> None:
        self.memory = SharedMemory(status_bytes)
        self.answers: queue.SimpleQueue[dict] = queue.SimpleQueue()
        try:
            self._child = subprocess.Popen(
                command(mode, self.memory.name), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, encoding="utf-8", **spawn_options(),
            )  # fmt: skip
        except OSError as error:
            raise PlaybackUnavailable(sentence("crashed", str(error))) from error
        threading.Thread(target=self._listen, daemon=True, name="sound answers").start()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        with contextlib.suppress(ValueError):  # closed under our feet by close()
            for line in self._child.stdout:
                self.answers.put(json.loads(line))
        self.answers.put({"lost": "its process ended"})

    def send(self, message: dict) -> None:
        """Hand over a command; a child that is gone shows in ``answers``."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(message) + "\n")
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            self.answers.put({"lost": "its process ended"})

    def wait_for_answer(self, timeout_s: float = OPEN_WAIT_S) -> dict:
        """Return the next answer; a child that says nothing has crashed."""
        try:
            return self.answers.get(timeout=timeout_s)
        except queue.Empty:
            return {"failed": "crashed", "detail": "no answer"}

    def close(self, patience_s: float = 2.0, *, waits: bool = True) -> None:
        """End the child: it closes its device and its files when its stdin ends. ``waits=False`` returns at once."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        if waits:
            self._bury(patience_s)
        else:
            threading.Thread(target=self._bury, args=(patience_s,), daemon=True, name="sound process ends").start()

    def _bury(self, patience_s: float) -> None:
        try:
            self._child.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()


def command(*arguments: str) -> list[str]:
    """Return the command line of a sound process: this interpreter, this very package."""
    root = str(Path(__file__).resolve().parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from mimi_gui.sound_process import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *arguments]


def spawn_options() -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.setdefault("PULSE_PROP", "application.name='Mimi GUI' media.role=production")
    options: dict[str, Any] = {"env": environment}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.HIGH_PRIORITY_CLASS
    return options


def sentence(kind: str, detail: str, direction: str = "output") -> str:
    """Return what came, what was expected and what to do, for each kind of silence."""
    if kind == "missing":
        return (
            "There is no sound because the PortAudio library is missing: install it (Debian, Ubuntu: "
            "sudo apt install libportaudio2; Fedora: sudo dnf install portaudio; "
            "macOS: brew install portaudio), then rescan."
        )
    if kind == "none":
        what = "There is no sound" if direction == "output" else "Nothing can be recorded"
        return f"{what} because no {direction} device was found: connect or enable one, then rescan."
    if kind == "gone":
        return f"The {direction} {detail!r} is not there any more: choose another, or connect it and rescan."
    if kind == "refused":
        return f"The {direction} cannot be opened ({detail}): close what else uses it, or choose another one."
    if kind == "lost":
        what = {"output": "sound", "live": "live session"}.get(direction, "recording")
        return f"The {what} stopped ({detail}): connect the device and rescan, or choose another one."
    return f"The sound process did not start ({detail or 'no message'}): rescan, or start again."
