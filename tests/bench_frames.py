"""Frame times of the wall on an hour of audio and its 45,000 x 32 tokens, with real wheel and drag events.

    python -m tests.bench_frames [--hours 1] [--size 1600x1000] [--scale 1] [--lanes three]

Starts its own Xvfb, shows the wall with all its lanes (or the three it begins with), moves it with xdotool and reports
the time from the first input event of each frame until that frame was with the X server. Needs Xvfb and xdotool.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from mimi_gui.ui.timeline import Wall

RATE, FRAMES_PER_HOUR = 24_000, 45_000


def measure(hours: float, size: tuple[int, int], lanes: str = "all") -> dict[str, dict[str, float]]:
    """Run every gesture on the X display of this process. Milliseconds per frame: p50, p95, worst, and how
    many."""
    import numpy as np
    from PySide6.QtCore import QEvent, QEventLoop, QObject, QTimer
    from PySide6.QtWidgets import QApplication

    from mimi_gui.analysis.envelope import Envelope
    from mimi_gui.codes import CodecInfo
    from mimi_gui.ui import lane
    from mimi_gui.ui.theme import DARK, apply_theme
    from mimi_gui.ui.timeline import Wall

    app = QApplication([])
    sys.setswitchinterval(0.0005)  # both as the window does, see QuietCollector
    gc.disable()
    apply_theme(app, DARK)
    rng = np.random.default_rng(0)
    num_samples = int(3600 * hours * RATE)
    samples = rng.standard_normal(num_samples, dtype=np.float32)
    loudness = np.repeat(rng.random(num_samples // 4800 + 1, dtype=np.float32) ** 2 * 0.2, 4800)
    samples *= loudness[:num_samples]
    del loudness
    codes = rng.integers(0, 2048, (32, int(FRAMES_PER_HOUR * hours)), dtype=np.int16)
    wall = Wall(DARK)
    envelope = Envelope.from_samples(samples, RATE)
    wall.set_duration(envelope.duration_s)
    wall.set_source(envelope, "Original — an hour")
    wall.set_reconstruction(envelope, "Reconstruction — the same hour")
    wall.set_codes(codes, CodecInfo())
    if lanes == "all":
        show_all_lanes(wall, samples, rng)
    wall.resize(*size)
    wall.move(0, 0)
    wall.show()

    frames: list[tuple[float, float]] = []

    class Clock(QObject):
        """From the first input event after a frame until that frame is on the screen."""

        began: tuple[float, float] | None = None
        ending = False

        def begin(self) -> None:
            if self.began is None:
                self.began = (time.perf_counter(), time.thread_time())

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() in (QEvent.Type.Wheel, QEvent.Type.MouseMove):
                self.begin()
            return False

        def painted(self) -> None:
            # A zero timer fires after the update request, so the copy to the X server counts too.
            if self.began is not None and not self.ending:
                self.ending = True
                QTimer.singleShot(0, self.end)

        def end(self) -> None:
            self.ending = False
            if self.began is not None:
                frames.append((time.perf_counter() - self.began[0], time.thread_time() - self.began[1]))
                self.began = None

    clock = Clock()
    app.installEventFilter(clock)
    original_paint = lane.Lane.paintEvent

    def counted_paint(self: lane.Lane, event: object) -> None:
        original_paint(self, event)  # type: ignore[arg-type]
        clock.painted()

    lane.Lane.paintEvent = counted_paint  # type: ignore[method-assign]

    def run(seconds: float) -> None:
        loop = QEventLoop()  # app.quit() would close the window
        QTimer.singleShot(int(seconds * 1000), loop.quit)
        loop.exec()

    def gesture(*commands: str) -> dict[str, float]:
        frames.clear()
        process = subprocess.Popen(["xdotool", *" ".join(commands).split()])
        while process.poll() is None:
            run(0.1)
        run(0.2)
        wall_ms = np.array([frame[0] for frame in frames]) * 1000
        cpu_ms = np.array([frame[1] for frame in frames]) * 1000
        return {
            "frames": len(frames),
            "p50_ms": round(float(np.percentile(wall_ms, 50)), 2),
            "p95_ms": round(float(np.percentile(wall_ms, 95)), 2),
            "max_ms": round(float(wall_ms.max()), 2),
            "cpu_p95_ms": round(float(np.percentile(cpu_ms, 95)), 2),
        }

    run(1.0)
    width, height = size
    middle_x, middle_y = width // 2, height // 3
    steps = " ".join("mousemove_relative -- -9 2 sleep 0.012" for _ in range(60))
    back = " ".join("mousemove_relative -- 9 -2 sleep 0.012" for _ in range(60))
    drag = f"keydown shift mousedown 1 {steps} {back} mouseup 1 keyup shift"
    results = {}
    place = f"mousemove {middle_x} {middle_y}"
    results["wheel zoom in, hour to minute"] = gesture(place, "click --repeat 18 --delay 16 4")
    results["drag pan at a minute"] = gesture(place, drag)
    results["wheel zoom out"] = gesture(place, "click --repeat 30 --delay 16 5")
    for name, span_s in (("half an hour", 1800.0), ("ten minutes", 600.0), ("a second", 1.0)):
        wall.axis.set_range(1000.0, 1000.0 + span_s)
        results[f"drag pan at {name}"] = gesture(place, drag)
    wall.axis.fit()
    results["wheel in and out, hour to samples"] = gesture(
        place, "click --repeat 66 --delay 12 4 click --repeat 66 --delay 12 5"
    )
    wall.axis.set_range(1000.0, 1060.0)
    ticks = QTimer()
    position = [1000.0]

    def tick() -> None:
        clock.begin()
        position[0] += 0.1
        wall.set_position(position[0])

    ticks.timeout.connect(tick)
    ticks.start(16)
    results["playhead"] = gesture("sleep 2")
    ticks.stop()
    # Not getrusage, which a forked child inherits from a larger parent.
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    results["memory"] = {"peak_rss_mb": round(peak), "samples_mb": round(samples.nbytes / 2**20)}
    wall.close()
    return results


def show_all_lanes(wall: Wall, samples: np.ndarray, rng: np.random.Generator) -> None:
    """Three spectrograms, the difference and the errors too, with the settings they begin with."""
    import numpy as np

    from mimi_gui.analysis.envelope import Envelope
    from mimi_gui.analysis.error_strip import STRIP_METRICS, ErrorStrip, Moment
    from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes

    other = samples * np.float32(0.8)
    other[1:] += np.float32(0.1) * samples[:-1]
    lanes = AnalysisLanes(wall)
    lanes.set_sounds(samples, other, RATE)
    lanes.set_difference(Envelope.from_samples(other - samples, RATE))
    values = rng.random(-(-len(samples) // 1920), dtype=np.float32)
    worst = np.argsort(values)[-10:]
    moments = [Moment(frame * 0.08 - 0.2, frame * 0.08 + 0.28, int(frame), float(values[frame])) for frame in worst]
    lanes.set_error_strip(ErrorStrip("log_mel", *STRIP_METRICS["log_mel"], values, 0.08), moments)
    for kind in LANE_KINDS:
        lanes.show(kind.key)


def run_in_xvfb(hours: float, size: tuple[int, int], scale: float, lanes: str = "all") -> dict[str, dict[str, float]]:
    """Start an X server of our own and measure in a child process on it."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed")
    reader, writer = os.pipe()
    screen = f"{round(size[0] * scale)}x{round(size[1] * scale)}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", screen, "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            display = f":{pipe.readline().strip()}"
        environment = dict(os.environ, DISPLAY=display, QT_QPA_PLATFORM="xcb", QT_SCALE_FACTOR=str(scale))
        shape = f"{size[0]}x{size[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench_frames", "--inside", "--hours", str(hours), "--size", shape,
             "--lanes", lanes],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the benchmark ended with {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Print one line per gesture."""
    parser = argparse.ArgumentParser(description="Frame times of the wall on an hour of audio.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--size", default="1600x1000")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--lanes", choices=("three", "all"), default="all")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    width, height = (int(part) for part in options.size.split("x"))
    if options.inside:
        print(json.dumps(measure(options.hours, (width, height), options.lanes)))
        return
    for name, figures in run_in_xvfb(options.hours, (width, height), options.scale, options.lanes).items():
        print(f"{name:36s}" + "  ".join(f"{key} {value:g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
