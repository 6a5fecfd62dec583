"""Hours for the ear: does the sound stay whole while the codec works? ``python -m tests.bench_sound
play|live``.

``play`` loops a noise through the null sink, switching sides every second, while a full-size codec encodes in
this very process; the recording is compared sample by sample. ``live`` speaks noise into the microphone and
counts frames, skips, latency and memory. Both use a full-size random checkpoint; ``--tiny`` the small one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.live import LiveLoop
from mimi_gui.output import SoundProcess
from mimi_gui.playback import ABPlayer
from tests.random_checkpoints import save_full_checkpoint, save_tiny_checkpoint
from tests.sound_card import SoundCard

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other where cores are shared
RATE = 48000


def make_codec(tiny: bool, folder: Path):
    import torch

    from mimi_gui.codec import MimiCodec

    torch.set_num_threads(os.cpu_count() or 1)
    (save_tiny_checkpoint if tiny else save_full_checkpoint)(folder)
    return MimiCodec.from_pretrained(str(folder), device="cpu")


def keep_encoding(codec, stop: threading.Event, done: list[int]) -> None:
    stream = codec.stream_encoder()
    block = 0.1 * np.random.default_rng(1).standard_normal(48000).astype(np.float32)
    while not stop.is_set():
        done[0] += stream.push(block).shape[1]


def play(card: SoundCard, codec, seconds: float) -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, 20 * RATE).astype(np.float32)
    player = ABPlayer()
    player.open()
    player.set_clips(Clip.from_samples(x, RATE, RATE), Clip.from_samples(x, RATE, RATE))
    player.set_loop(0, 20)
    stop, frames = threading.Event(), [0]
    encoder = threading.Thread(target=keep_encoding, args=(codec, stop, frames), daemon=True)
    encoder.start()
    with card.recording() as recording:
        player.play()
        for second in range(round(seconds)):
            time.sleep(1)
            player.set_side("BA"[second % 2])
    stop.set()
    encoder.join()
    heard = recording.samples[:, 0]
    heard = heard[np.nonzero(heard)[0][0] :]
    heard = heard[: np.nonzero(heard)[0][-1] - RATE // 2]
    phase = np.arange(len(heard)) % len(x)
    inside = (phase >= 240) & (phase < len(x) - 240)  # the loop's seam fades
    wrong = np.nonzero(inside & (heard != x[phase]))[0]
    assert isinstance(player._sound, SoundProcess)
    print(
        f"{len(heard) / RATE:.0f} s heard, {len(wrong)} samples differ, {player.underruns} underruns"
        f" counted, longest gap between callbacks {1000 * player._sound.longest_gap_s:.0f} ms,"
        f" latency {1000 * player.latency_s:.0f} ms, {frames[0] * 0.08:.0f} s of audio encoded meanwhile,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    player.close()


def live(card: SoundCard, codec, seconds: float) -> None:
    loop = LiveLoop(codec)
    loop.open()
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop.is_set,))
    spoken = np.repeat(np.random.default_rng(2).uniform(-0.3, 0.3, (60 * RATE, 1)), 2, axis=1)
    latencies, computes, memory = [], [], []
    thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with card.speaking(spoken) as child:
            while child.poll() is None and time.monotonic() < end:
                time.sleep(1)
                figures = loop.figures
                if figures.latency_s is not None:
                    latencies.append(figures.latency_s)
                    computes.append(figures.compute_s)
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    stop.set()
    thread.join()
    loop.close()
    figures = loop.figures
    fifth = max(1, len(latencies) // 5)
    print(
        f"{figures.num_frames} frames, {figures.num_skipped} skipped"
        f" ({100 * figures.num_skipped / max(1, figures.num_frames):.2f} %), late {figures.num_late} times;"
        f" latency median {1000 * statistics.median(latencies):.0f} ms (first fifth"
        f" {1000 * statistics.median(latencies[:fifth]):.0f}, last {1000 * statistics.median(latencies[-fifth:]):.0f},"
        f" most {1000 * max(latencies):.0f}), compute {1000 * statistics.median(computes):.0f} ms a frame;"
        f" memory {memory[0] >> 20} -> {memory[-1] >> 20} MiB,"
        f" load {os.getloadavg()[0]:.1f}, {loop.error or 'no error'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["play", "live"])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    card = SoundCard()
    os.environ.update(card.environment)
    try:
        with tempfile.TemporaryDirectory() as folder:
            codec = make_codec(arguments.tiny, Path(folder))
            {"play": play, "live": live}[arguments.what](card, codec, 60 * arguments.minutes)
    finally:
        card.close()


if __name__ == "__main__":
    main()
