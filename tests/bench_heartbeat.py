"""How long the window's thread is kept from its work, while the model loads, while it encodes, while it plays.

``python tests/bench_heartbeat.py [--model NAME] [--seconds 60]`` opens the real window (offscreen
unless QT_QPA_PLATFORM says otherwise), beats every 5 ms in its event loop, and prints the longest and the 99th
percentile gap per phase. The idle phase, with nothing going on, tells what the machine itself adds; ``--limit MS``
makes a longer gap a failure.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import soundfile
from PySide6.QtCore import QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QApplication

from mimi_gui.ui.app import QuietCollector
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import ThemeKeeper

BEAT_MS = 5


class Heart(QObject):
    """Beats in the window's event loop and writes down when."""

    def __init__(self) -> None:
        super().__init__()
        self.beats: list[float] = []
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.beat)
        self._timer.start(BEAT_MS)

    @Slot()
    def beat(self) -> None:
        self.beats.append(time.perf_counter())


def run_until(app: QApplication, condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.perf_counter() + timeout_s
    while not condition():
        if time.perf_counter() > deadline:
            raise SystemExit("waited in vain")
        app.processEvents()
        time.sleep(0.001)


def report(name: str, heart: Heart, first: int) -> float:
    gaps = 1000 * np.diff(heart.beats[first:])
    print(
        f"{name:28s} {gaps.sum() / 1000:6.1f} s   longest {gaps.max():6.1f} ms   p99 {np.percentile(gaps, 99):6.1f} ms"
        f"   over 100 ms: {np.count_nonzero(gaps > 100)}",
        flush=True,
    )
    return float(gaps.max())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="mimi-tiny")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--limit", type=float, default=0.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-heartbeat-"))
    t = np.arange(int(options.seconds * 44_100)) / 44_100
    rng = np.random.default_rng(0)
    sound = 0.2 * np.sin(2 * np.pi * 220 * t) * np.sin(2 * np.pi * 2 * t) + 0.02 * rng.standard_normal(len(t))
    soundfile.write(folder / "long.wav", np.stack([sound, sound], 1), 44_100)
    app = QApplication([])
    settings = SettingsStore(folder / "settings.ini")
    window = MainWindow(settings, ThemeKeeper(app, "dark"))
    QuietCollector(window)
    window.session.start_with(options.model, "cpu")
    window.show()
    heart = Heart()
    begun = time.perf_counter()
    run_until(app, lambda: time.perf_counter() > begun + 3, 10)
    worst = []
    report("idle", heart, 0)
    first = len(heart.beats)
    window.start([])
    run_until(app, lambda: window.session.model_state == "ready", 300)
    worst.append(report("loading the model", heart, first))
    first = len(heart.beats)
    window.session.open([folder / "long.wav"])
    run_until(app, lambda: window.session.document.is_complete, 3600)
    worst.append(report("reading, encoding, decoding", heart, first))
    first = len(heart.beats)
    window.transport.toggle_play()
    window.session.set_num_codebooks(8)
    begun = time.perf_counter()
    run_until(app, lambda: window.session.document.is_complete and time.perf_counter() > begun + 3, 600)
    worst.append(report("playing, decoding again", heart, first))
    first = len(heart.beats)
    for _ in range(40):
        window.workspace.wall.zoom(1.3)
        count = len(heart.beats)
        run_until(app, lambda count=count: len(heart.beats) > count + 5, 5)
    worst.append(report("zooming while playing", heart, first))
    window.close()
    run_until(app, lambda: not any(thread.is_running for thread in window.threads), 30)
    return 1 if options.limit and max(worst) > options.limit else 0


if __name__ == "__main__":
    sys.exit(main())
