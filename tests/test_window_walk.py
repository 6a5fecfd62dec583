"""The whole walk on the real window: mouse and keys by xdotool under Xvfb, the sound from a PulseAudio null sink.

Drop a recording, see its tokens, hear A, press B, hear B at the same position; save, drop the tokens, hear them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile
import soxr

from mimi_gui.codec import MimiCodec
from mimi_gui.codes import load_codes
from tests.sound_card import SoundCard

pytestmark = [pytest.mark.display, pytest.mark.sound]

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
RATE = 48_000
FADE = RATE // 100  # the cross-fade between A and B: 10 ms


class Screen:
    """An X server of its own, and somebody at the keyboard."""

    def __init__(self) -> None:
        read, write = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-nolisten", "tcp"],
            pass_fds=[write], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as pipe:
            self.display = f":{pipe.readline().strip()}"
        self.environment = {
            **os.environ, "DISPLAY": self.display, "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORMTHEME": "",
        }  # fmt: skip
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, *arguments], env=self.environment, cwd=ROOT)
        self.children.append(child)
        return child

    def do(self, *arguments: object) -> str:
        words = [str(argument) for argument in arguments]
        done = subprocess.run(
            ["xdotool", *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.strip()

    def window(self, name: str) -> str:
        """The id of the visible window whose title matches, waiting for it."""
        return wait_for(lambda: self.do("search", "--onlyvisible", "--name", name).split("\n")[-1], f"window {name}")

    def title(self, window: str) -> str:
        return self.do("getwindowname", window)

    def wait_title(self, window: str, title: str) -> None:
        deadline = time.monotonic() + 60
        while (found := self.title(window)) != title:
            if time.monotonic() > deadline:
                self.picture(Path(tempfile.gettempdir()) / "walk-failed.png")
                pytest.fail(f"the title is {found!r}, expected {title!r}; see walk-failed.png")
            time.sleep(0.1)

    def drop(self, window: str, *paths: Path) -> None:
        """Drag files out of another program's window into the middle of this one."""
        child = self.start("-m", "tests.desktop", "source", *map(str, paths))
        self.window("drag source")
        time.sleep(0.5)
        self.do("mousemove", 1340, 50, "mousedown", 1)
        for x, y in ((1338, 60), (1300, 120), (1100, 300), (700, 400), (640, 410), (640, 412), (640, 414)):
            self.do("mousemove", x, y)
            time.sleep(0.12)
        time.sleep(0.3)
        self.do("mouseup", 1)
        assert child.wait(timeout=20) == 0

    def picture(self, target: Path) -> np.ndarray:
        """What is on the screen, uint8 [height, width, 3]."""
        from PySide6.QtGui import QImage

        assert self.start("-m", "tests.desktop", "picture", str(target)).wait(timeout=60) == 0
        image = QImage(str(target)).convertToFormat(QImage.Format.Format_RGB888)
        rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()

    def settled(self, target: Path) -> np.ndarray:
        """What is on the screen once it has come to rest: what was still being made is there then."""
        before = self.picture(target)
        for _ in range(30):
            now = self.picture(target)
            if np.array_equal(now, before):
                return now
            before = now
        pytest.fail(f"the screen does not come to rest; see {target}")

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
        self.server.terminate()
        self.server.wait(timeout=10)


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 90.0) -> T:
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.fixture
def screen(sound_card: SoundCard) -> Iterator[Screen]:
    missing = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    if missing:
        reason = f"no {' and '.join(missing)}: install xvfb and xdotool"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    made = Screen()
    yield made
    made.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Six seconds of a rising tone with a beat, 24 kHz: no two places are alike, and no step is large."""
    t = np.arange(6 * 24_000) / 24_000
    samples = 0.25 * np.sin(2 * np.pi * (150 * t + 60 * t**2)) * (0.7 + 0.3 * np.sin(2 * np.pi * 3.3 * t))
    path = tmp_path / "walk.wav"
    soundfile.write(path, samples, 24_000, subtype="FLOAT")
    return path


def at_card_rate(samples: np.ndarray) -> np.ndarray:
    return soxr.resample(samples.astype(np.float32), 24_000, RATE, quality="HQ")


def place_of(heard: np.ndarray, whole: np.ndarray) -> int:
    """Where in ``whole`` the piece ``heard`` was taken from."""
    from scipy.signal import correlate

    return int(np.argmax(correlate(whole, heard, mode="valid")))


def test_drop_see_hear_switch_save_and_open_again(
    screen: Screen, sound_card: SoundCard, recording: Path, tmp_path: Path, tiny_checkpoint: Path, tiny_codec: MimiCodec
) -> None:
    app = screen.start("-m", "mimi_gui.ui.app", "--model", str(tiny_checkpoint), "--device", "cpu")
    window = screen.window("Mimi GUI")
    screen.do("windowsize", window, 1280, 820, "windowmove", window, 0, 0)
    time.sleep(1.0)
    screen.drop(window, recording)
    screen.wait_title(window, "walk.wav* — Mimi GUI")
    screen.do("windowfocus", "--sync", window)

    # The heatmap: 75 frames of 32 tokens, many colours where the tokens are.
    picture = screen.settled(tmp_path / "walk.png")
    colours = np.unique(picture[500:660, 100:1200].reshape(-1, 3), axis=0)
    assert len(colours) > 50

    # Hear A, then B at the same place.
    screen.do("key", "m")  # as decoded: what the card gets can be compared with the samples
    time.sleep(0.5)
    with sound_card.recording() as take:
        screen.do("key", "space")
        time.sleep(1.6)
        screen.do("key", "b")
        time.sleep(1.6)
        screen.do("key", "space")
        time.sleep(0.5)
    heard = take.samples[:, 0].copy()

    # Save by the dialog, and take the saved file's word for what B is.
    target = tmp_path / "saved by hand.npz"
    screen.do("key", "ctrl+s")
    dialog = screen.window("^Save tokens$")
    screen.do("windowfocus", "--sync", dialog)
    time.sleep(0.5)
    screen.do("key", "ctrl+a")
    screen.do("type", "--delay", 15, str(target))
    screen.do("key", "Return")
    wait_for(target.exists, "the saved tokens")
    screen.wait_title(window, "walk.wav — Mimi GUI")
    codes = load_codes(target)
    assert codes.num_codebooks == 32
    source, _ = soundfile.read(recording, dtype="float32")
    b = at_card_rate(tiny_codec.decode(codes))
    check_switch(heard, at_card_rate(source), b)

    # The tokens alone, from another folder, are dropped and heard.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(target, elsewhere / "alone.npz")
    screen.drop(window, elsewhere / "alone.npz")
    screen.wait_title(window, "alone.npz — Mimi GUI")
    screen.do("windowfocus", "--sync", window)
    time.sleep(1.0)
    with sound_card.recording() as take:
        screen.do("key", "Home")
        screen.do("key", "space")
        time.sleep(1.5)
        screen.do("key", "space")
        time.sleep(0.3)
    heard = take.samples[:, 0]
    sounding = np.flatnonzero(heard)
    piece = heard[sounding[0] + RATE // 4 : sounding[0] + RATE]
    place = place_of(piece, b)
    np.testing.assert_allclose(piece, b[place : place + len(piece)], atol=1e-4)

    screen.do("key", "ctrl+q")
    assert app.wait(timeout=30) == 0


def check_switch(heard: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """``heard`` is A, then B from the same position on, without a click and without a missing sample."""
    sounding = np.flatnonzero(heard)
    first, last = int(sounding[0]), int(sounding[-1])
    assert last - first > 2.5 * RATE
    start = first + RATE // 10  # behind the fade-in
    offset = place_of(heard[start : start + RATE], a) - start  # heard[i] is sample i + offset of A or B
    place = np.arange(start, last - RATE // 10)
    from_a = np.isclose(heard[place], a[place + offset], atol=1e-4)
    from_b = np.isclose(heard[place], b[place + offset], atol=1e-4)
    switch = int(np.flatnonzero(~from_a)[0])
    assert switch > RATE  # a good second of A ...
    assert from_a[:switch].all()
    assert from_b[switch + FADE :].all()  # ... then B, every sample of it, from the same place on
    assert len(place) - switch > RATE
    around = slice(switch - FADE, switch + 2 * FADE)
    i = place[around] + offset
    step = np.abs(np.diff(heard[place[around]])).max()
    # A cross-fade adds at most the difference of both, over its length, to either signal's own steps.
    own = max(np.abs(np.diff(a[i])).max(), np.abs(np.diff(b[i])).max())
    assert step <= own * 1.01 + np.abs(a[i] - b[i]).max() * np.pi / 2 / FADE
