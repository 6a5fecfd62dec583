"""SoundWatch: which devices there are, which of them the system prefers, and when either changes.

PortAudio freezes its list at start and tells of no change, so each look is a fresh process. Where a PulseAudio or
PipeWire server runs, its own ``pactl subscribe`` says when a look is due. Elsewhere (macOS, Windows) nobody does:
there the watch looks every few seconds while ``is_polling`` is set, and whenever it is asked to.

A plain class with threads of its own; ``told`` is called from one of them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.sound_child import InputDevice, OutputDevice, list_all

log = logging.getLogger(__name__)

SETTLE_S = 0.4  # a headset that is plugged in makes a dozen events
POLL_S = 8.0
RETRY_S = 5.0  # until the sound server is looked for again
_PATIENCE_S = 5.0
_CLOSE_S = 1.0  # the window waits for it


@dataclass(frozen=True)
class SoundDevices:
    """One look. ``default_output`` and ``default_input`` are what the system's default means just now, in the
    words that people see ("Built-in Audio Analog Stereo"); "" where nobody knows.

    Attributes:
        follows: a stream on the default goes where the default goes by itself (PulseAudio, PipeWire).
        error: why there is nothing, one sentence, or "".
    """

    outputs: tuple[OutputDevice, ...] = ()
    inputs: tuple[InputDevice, ...] = ()
    default_output: str = ""
    default_input: str = ""
    follows: bool = False
    error: str = ""


def look() -> SoundDevices:
    """Return the devices there are now. Any thread; takes about half a second, most of it in another process."""
    try:
        outputs, inputs = list_all()
    except PlaybackUnavailable as error:
        found = SoundDevices(error=error.message)
    else:
        found = SoundDevices(
            tuple(outputs), tuple(inputs),
            next((device.name for device in outputs if device.is_default), ""),
            next((device.name for device in inputs if device.is_default), ""),
        )  # fmt: skip
    named = _server_defaults()
    return found if named is None else replace(found, default_output=named[0], default_input=named[1], follows=True)


def _server_defaults() -> tuple[str, str] | None:
    """What the sound server's default output and input are called; None without a server."""
    info = _pactl("info")
    if not isinstance(info, dict):
        return None
    names = []
    for kind in ("sink", "source"):
        chosen = info.get(f"default_{kind}_name", "")
        rows = _pactl("list", f"{kind}s")
        words = next((row.get("description", "") for row in rows or () if row.get("name") == chosen), "")
        names.append(str(words or chosen or "").removesuffix(" Audio/Sink"))
    return names[0], names[1]


def _pactl(*arguments: str) -> Any:
    if sys.platform in ("win32", "darwin") or shutil.which("pactl") is None:
        return None
    with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["pactl", "--format=json", *arguments], capture_output=True, text=True, check=False,
            timeout=_PATIENCE_S, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else None
    return None


class SoundWatch:
    """Tells of each change, and answers each ``look_soon``, by calling ``told`` from its own thread."""

    def __init__(self, told: Callable[[SoundDevices], None]) -> None:
        self.is_polling = False
        self._told = told
        self._due = threading.Event()
        self._is_asked = False
        self._is_closed = False
        self._last: SoundDevices | None = None
        self._server: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True, name="sound watch")

    def start(self) -> None:
        """Begin with a look."""
        self._is_asked = True
        self._due.set()
        self._thread.start()

    def look_soon(self) -> None:
        """Look, and tell even if nothing has changed. Any thread; returns at once."""
        self._is_asked = True
        self._due.set()

    def close(self) -> None:
        """End the watch; nothing is told afterwards. A look that is under way ends by itself."""
        self._is_closed = True
        self._due.set()
        with self._lock:
            if self._server is not None:
                self._server.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=_CLOSE_S)

    def _run(self) -> None:
        listener = threading.Thread(target=self._listen, daemon=True, name="sound server")
        if sys.platform not in ("win32", "darwin") and shutil.which("pactl"):
            listener.start()
        while not self._is_closed:
            woken = self._due.wait(POLL_S)
            if self._is_closed:
                break
            if not woken and (self._server is not None or not self.is_polling):
                continue
            if not self._is_asked:
                time.sleep(SETTLE_S)
            asked, self._is_asked = self._is_asked, False
            self._due.clear()
            found = look()
            if (asked or found != self._last) and not self._is_closed:
                self._last = found
                self._told(found)
        if listener.is_alive():
            listener.join(timeout=_PATIENCE_S)

    def _listen(self) -> None:
        """Read what the sound server says; look for it again where it went."""
        while not self._is_closed:
            with self._lock:
                if self._is_closed:
                    return
                self._server = subprocess.Popen(
                    ["pactl", "subscribe"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                    stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
                )  # fmt: skip
            assert self._server.stdout is not None
            for line in self._server.stdout:
                if is_about_devices(line):
                    self._due.set()
            self._server.wait()
            self._server.stdout.close()
            with self._lock:
                self._server = None
            self._due.set()  # it went: what is there now?
            for _ in range(round(RETRY_S / 0.1)):
                if self._is_closed:
                    return
                time.sleep(0.1)


def is_about_devices(line: str) -> bool:
    """Whether a line of ``pactl subscribe`` may change what there is to choose: not volumes, not streams."""
    words = line.split()
    if len(words) < 4 or words[0] != "Event":
        return False
    what, on = words[1].strip("'"), words[3]
    return (on in ("sink", "source", "card") and what in ("new", "remove")) or on == "server"
