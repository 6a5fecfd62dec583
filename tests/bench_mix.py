"""How long after a mute another mix is heard, in the real window, with a full-size checkpoint on the CPU.

    python -m tests.bench_mix [--checkpoint PATH] [--seconds 10] [--toggles 20] [--latency 0.04]

Opens a recording, plays all of it as a loop, turns codebooks off and on at odd moments, and looks at what was
rendered for the first sample that is not the old mix's. The silent clock stands for the sound card, with the
latency of one. Without ``--checkpoint`` a random one of full size is made (speed does not depend on the weights).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np


def measure(checkpoint: str, seconds: float, toggles: int, latency_s: float) -> dict[str, list[float]]:
    """Milliseconds from the wish to the ear, per toggle, and until the whole of the loop was exact."""
    import soundfile
    from PySide6.QtWidgets import QApplication

    from mimi_gui.output import SilentClock
    from mimi_gui.ui.main_window import MainWindow
    from mimi_gui.ui.settings import SettingsStore
    from mimi_gui.ui.theme import ThemeKeeper

    app = QApplication([])
    heard: list[tuple[float, int, np.ndarray]] = []

    class Tapped(SilentClock):
        """Keeps what was rendered: when the block's end was heard, the position of that end, its samples."""

        def _catch_up(self) -> None:
            now = self._clock()
            due = int((now - self._last) * self.sample_rate)
            self._last += due / self.sample_rate
            if due > 0:
                out = np.zeros((due, 1), np.float32)
                self.mixer.render(out)
                heard.append((self._last, self.mixer.position, out[:, 0]))

    Tapped.latency_s = latency_s
    folder = Path(tempfile.mkdtemp(prefix="bench-mix-"))
    rng = np.random.default_rng(0)
    path = folder / "loop.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * 24_000)), 24_000)
    settings = SettingsStore(folder / "settings.ini")
    settings.update(model_name=checkpoint, device="cpu", level_match=False)
    themes = ThemeKeeper(app, "dark")
    window = MainWindow(settings, themes)
    window.show()
    window.session.start_model()
    player = window.transport.player
    player._sound = Tapped()
    window.session.open([path])

    def until(done: object, limit_s: float = 120.0) -> None:
        end = time.monotonic() + limit_s
        while not done():  # type: ignore[operator]
            app.processEvents()
            time.sleep(0.0005)
            if time.monotonic() > end:
                raise RuntimeError("the window did not get there")

    session, moves = window.session, window.transport
    until(lambda: session.document.is_complete)
    until(lambda: moves.sides.b is not None and moves.sides.b.is_finished)
    window.panels.show("mixer")  # where one mutes; it warms the codec up
    until(lambda: "mixer" in window.panels.widgets and not window.codec_thread.is_busy)
    moves.set_side("B")
    moves.play_loop((0.0, seconds))
    until(lambda: session.ear.is_playing)
    feed = moves.sides.b
    assert feed is not None
    clip_rate = moves.player.sample_rate
    everything = tuple(range(session.max_codebooks))
    result: dict[str, list[float]] = {"heard_ms": [], "exact_ms": []}
    for i in range(toggles):
        pause_end = time.monotonic() + float(rng.uniform(0.15, 0.6))
        until(lambda end=pause_end: time.monotonic() > end)
        if i % 2 == 0:  # every other one comes while the last is still being decoded
            until(lambda: session.document.is_complete and feed.is_finished)
        old = feed.clip.samples[:, 0].copy()
        heard.clear()
        begun = time.monotonic()
        without = {int(k) for k in rng.integers(0, len(everything), 6)}
        session.set_mix(tuple(k for k in everything if k not in without))
        found: list[float] = []

        def look(old: np.ndarray = old, found: list[float] = found, begun: float = begun) -> bool:
            for end_s, position, samples in heard:
                first = position - len(samples)
                if first < 0 or end_s < begun:
                    continue  # the loop's seam
                changed = np.flatnonzero(np.abs(samples - old[first:position]) > 1e-4)
                if len(changed) > 8 and first > 600:
                    found.append(end_s - (len(samples) - int(changed[0])) / clip_rate - begun)
                    return True
            heard.clear()
            return False

        until(look)
        result["heard_ms"].append(1000 * found[0])
        if i % 2 == 1:
            until(lambda: session.document.is_complete and feed.is_finished)
            result["exact_ms"].append(1000 * (time.monotonic() - begun))
    window.close()
    until(lambda: not any(thread.is_running for thread in window.threads))
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="From a mute to the ear.")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--toggles", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.04)
    options = parser.parse_args()
    checkpoint = options.checkpoint
    if not checkpoint:
        from tests.random_checkpoints import save_full_checkpoint

        made = Path(tempfile.gettempdir()) / "bench-mix-checkpoint"
        if not (made / "config.json").exists():
            made.mkdir(exist_ok=True)
            save_full_checkpoint(made)
        checkpoint = str(made)
    for name, values in measure(checkpoint, options.seconds, options.toggles, options.latency).items():
        low, middle, high = np.percentile(values, [0, 50, 95])
        print(f"{name}: min {low:.0f}  median {middle:.0f}  p95 {high:.0f}  max {max(values):.0f}  n {len(values)}")


if __name__ == "__main__":
    main()
