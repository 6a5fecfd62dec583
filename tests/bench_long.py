"""Memory of the window with hours open: after loading, decoding, playing through, measuring, scrolling, mixing.

    python -m tests.bench_long [--hours 3] [--checkpoint PATH]

Opens a recording of noise with tokens that fit to it, so that nothing needs to be encoded. Memory is what the
process holds and nobody can take back: anonymous and shared pages; pages of files count apart.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

RATE, FRAME = 24_000, 1920


def memory_mb() -> dict[str, int]:
    """MB of this process now, by kind."""
    text = Path("/proc/self/status").read_text()
    return {
        name: int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) // 1024  # type: ignore[index]
        for name in ("VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem")
    }


def main() -> None:
    """Print a line per stage."""
    parser = argparse.ArgumentParser(description="Memory of the window with hours open.")
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--checkpoint", default="")
    options = parser.parse_args()
    import soundfile
    from PySide6.QtWidgets import QApplication

    from mimi_gui.codes import Codes, save_codes
    from mimi_gui.ui.main_window import MainWindow
    from mimi_gui.ui.settings import SettingsStore
    from mimi_gui.ui.theme import ThemeKeeper

    folder = Path(tempfile.mkdtemp(prefix="bench-long-"))
    checkpoint = options.checkpoint
    if not checkpoint:
        from tests.random_checkpoints import save_tiny_checkpoint

        checkpoint = str(folder / "tiny")
        Path(checkpoint).mkdir()
        save_tiny_checkpoint(Path(checkpoint))
    frames = int(options.hours * 45_000)
    rng = np.random.default_rng(0)
    path = folder / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(0, frames, 750):
            file.write(0.1 * rng.standard_normal(750 * FRAME))
    from mimi_gui.codec import MimiCodec

    with MimiCodec.from_pretrained(checkpoint, device="cpu") as codec:
        info = codec.info
    codes = rng.integers(0, 2048, (32, frames), dtype=np.int16)
    save_codes(path.with_suffix(".npz"), Codes(codes, frames * FRAME, info, {"source": {"name": "long.wav"}}))
    del codes
    app = QApplication([])
    settings = SettingsStore(folder / "settings.ini")
    settings.update(model_name=checkpoint, device="cpu")
    window = MainWindow(settings, ThemeKeeper(app, "dark"))
    window.show()
    begun = time.monotonic()

    def until(done: object, limit_s: float = 1200.0) -> None:
        end = time.monotonic() + limit_s
        while not done():  # type: ignore[operator]
            app.processEvents()
            time.sleep(0.002)
            if time.monotonic() > end:
                raise RuntimeError("the window did not get there")

    def tell(stage: str) -> None:
        figures = "  ".join(f"{name} {value}" for name, value in memory_mb().items())
        print(f"{stage:28s} {time.monotonic() - begun:6.0f} s   {figures}", flush=True)

    def rest(seconds: float) -> None:
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() > end)

    window.session.start_model()
    until(lambda: window.session.model_state == "ready")
    tell("window and model")
    session, moves = window.session, window.transport
    session.open([path, path.with_suffix(".npz")])
    until(lambda: session.document.sound is not None)
    tell("read")
    until(lambda: session.document.is_complete)
    tell("decoded")
    until(lambda: all(feed is None or feed.is_finished for feed in (moves.sides.a, moves.sides.b)))
    until(lambda: moves.levels.result is not None and not window.measure_thread.is_busy)
    tell("ready to play, levels known")
    for key in ("difference", "error", "spectrogram_a"):
        window.panels.lanes.show(key)
    rest(2.0)
    until(lambda: not window.measure_thread.is_busy)
    tell("difference, error, spectrogram")
    axis = window.workspace.wall.axis
    for i in range(60):
        axis.set_range(i * 100.0, i * 100.0 + 30.0)
        rest(0.05)
    tell("scrolled")
    session.set_num_codebooks(8)
    until(lambda: session.document.sounding == 8 and session.document.is_complete)
    until(lambda: moves.sides.b is not None and moves.sides.b.is_finished)
    tell("decoded with 8 codebooks")
    for _ in range(3):
        session.make_again()
        until(lambda: session.document.is_complete)
    tell("three times again")
    window.close()
    until(lambda: not any(thread.is_running for thread in window.threads))


if __name__ == "__main__":
    main()
