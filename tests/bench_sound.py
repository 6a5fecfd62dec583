"""Hours for the ear: does the sound stay whole while the codec works? Each ends in a line that says PASS or FAIL.

``python -m tests.bench_sound play`` (30 minutes) loops a noise through the null sink, switching sides every second,
while a full-size codec encodes in this very process; the recording is compared sample by sample.
``python -m tests.bench_sound live`` (60 minutes) speaks into the microphone of the real window (offscreen, everything
drawn), through a full-size codec, into the loudspeaker, and counts frames, skips, drift and memory.
``python -m tests.bench_sound latency`` (1 minute) records both ends of the live loop and compares the measured delay
with the one that the screen tells.

``--minutes`` shortens; ``--model`` takes another checkpoint than one of random weights, ``--tiny`` a small one of them.
Exit code 1 says FAIL.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.live import LiveFigures
from mimi_gui.output import SoundProcess
from mimi_gui.playback import ABPlayer
from mimi_gui.threads import wait_briefly_then_sleep
from tests.sound_card import SoundCard

wait_briefly_then_sleep()
RATE = 48000
MOST_SKIPPED = 0.001  # of the frames
SETTLING_S = 15  # sound that lay unused is trimmed in steps
MOST_DRIFT_S = 0.020  # that the latency grows by, from then on: from the first fifth to the last
MOST_GROWTH_MIB = 32.0  # an hour, after the first minute
MOST_ERROR_S = 0.010  # between what the screen tells and what was measured
STOPS = """
import time
last = time.monotonic()
while True:
    time.sleep(0.5)
    now = time.monotonic()
    if now - last > 3:
        print(last, now, flush=True)
    last = now
"""
MINUTES = {"play": 30.0, "live": 60.0, "latency": 1.0}


@dataclass
class Verdict:
    """What was asked for and what came; ``told`` in words, one line."""

    told: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def check(self, words: str, passed: bool) -> None:
        """Take one figure, with its limit in the words."""
        self.told.append(words)
        if not passed:
            self.failed.append(words)

    def line(self) -> str:
        if self.failed:
            return f"FAIL: {'; '.join(self.failed)} (load {os.getloadavg()[0]:.1f})"
        return f"PASS: {'; '.join(self.told)} (load {os.getloadavg()[0]:.1f})"


def make_checkpoint(tiny: bool, folder: Path) -> str:
    """A random one. In a process of its own: what made it would leave threads and memory behind."""
    save = "save_tiny_checkpoint" if tiny else "save_full_checkpoint"
    code = f"import sys; from tests.random_checkpoints import {save}; {save}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    return str(folder)


def keep_encoding(model: str, stop: threading.Event, done: list[int]) -> None:
    """Load and encode in one thread, as the window does."""
    from mimi_gui.codec import MimiCodec, tune_process

    tune_process()
    stream = MimiCodec.from_pretrained(model, device="cpu").stream_encoder()
    block = 0.1 * np.random.default_rng(1).standard_normal(48000).astype(np.float32)
    while not stop.is_set():
        done[0] += stream.push(block).shape[1]


class Stops:
    """Notices when the machine stops every program of ours for a while (others measure, a container is frozen): a child
    that does nothing else is stopped with them."""

    def __init__(self) -> None:
        self._child = subprocess.Popen([sys.executable, "-c", STOPS], stdout=subprocess.PIPE, text=True)

    def end(self) -> list[tuple[float, float]]:
        """From when to when, on the monotonic clock."""
        self._child.terminate()
        lines = self._child.communicate()[0].splitlines()
        return [(begun, ended) for begun, ended in (map(float, line.split()) for line in lines)]


def memory_mib() -> float:
    """What this process alone holds and cannot be given back: not files, not what is shared."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+)", status)[0]) / 1024


def gaps(heard: np.ndarray, x: np.ndarray) -> list[float]:
    """Seconds at which ``heard`` (float32 [T]) stops to be the loop ``x``, whose seam fades for 5 ms on both sides; it
    is picked up again where it goes on."""
    found: list[float] = []
    start, offset = 0, 0  # heard[t] should be x[(t + offset) % len(x)] from start on
    while start < len(heard):
        phase = (np.arange(start, len(heard)) + offset) % len(x)
        inside = (phase >= 240) & (phase < len(x) - 240)
        wrong = np.flatnonzero(inside & (heard[start:] != x[phase]))
        if len(wrong) == 0:
            break
        found.append((start + int(wrong[0])) / RATE)
        for again in range(start + int(wrong[0]) + 480, len(heard) - 480, 480):
            places = np.flatnonzero(x == heard[again])  # samples are random: hardly two are equal
            if len(places) == 1 and np.array_equal(x[places[0] : places[0] + 100], heard[again : again + 100]):
                start, offset = again, int(places[0]) - again
                break
        else:
            break
    return found


def play(card: SoundCard, model: str, seconds: float) -> Verdict:
    x = np.random.default_rng(0).uniform(0.1, 0.9, 20 * RATE).astype(np.float32)
    player = ABPlayer()
    player.open()
    player.set_clips(Clip.from_samples(x, RATE, RATE), Clip.from_samples(x, RATE, RATE))
    player.set_loop(0, 20)
    stop, frames = threading.Event(), [0]
    encoder = threading.Thread(target=keep_encoding, args=(model, stop, frames), daemon=True)
    encoder.start()
    while not frames[0]:
        assert encoder.is_alive(), "the codec did not start"
        time.sleep(0.1)
    before, stops = frames[0], Stops()
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
    broken, stopped = gaps(heard, x), stops.end()
    assert isinstance(player._sound, SoundProcess)
    print(
        f"{len(heard) / RATE:.0f} s heard, interrupted {len(broken)} times"
        f"{' (at ' + ', '.join(f'{at:.1f}' for at in broken[:10]) + ' s)' if broken else ''},"
        f" {player.underruns} underruns counted, longest gap between callbacks"
        f" {1000 * player._sound.longest_gap_s:.0f} ms, latency {1000 * player.latency_s:.0f} ms,"
        f" {(frames[0] - before) * 0.08:.0f} s of audio encoded meanwhile; stopped from outside {len(stopped)} times"
    )
    verdict = Verdict()
    verdict.check(f"{len(heard) / RATE:.0f} of {seconds:.0f} s heard", len(heard) / RATE > seconds - 5)
    excused = f", stopped from outside {len(stopped)} times" if stopped else ""
    verdict.check(f"interrupted {len(broken)} times (0{excused})", len(broken) <= len(stopped))
    verdict.check(f"{player.underruns} underruns (0{excused})", player.underruns <= len(stopped))
    player.close()
    return verdict


class Observer:
    """What the window showed, once a second."""

    def __init__(self) -> None:
        self.figures: list[LiveFigures] = []
        self.memory: list[float] = []
        self._skipped: list[tuple[float, int]] = []  # when, how many by then
        self._begun = time.monotonic()
        self._stops = Stops()

    def look(self, figures: LiveFigures) -> None:
        if figures.latency_s is not None:
            self.figures.append(figures)
        self.memory.append(memory_mib())
        if self._skipped and figures.num_skipped > self._skipped[-1][1]:
            at = (time.monotonic() - self._begun) / 60
            print(f"{at:.1f} min: {figures.num_skipped} skipped, late {figures.num_late} times", flush=True)
        self._skipped.append((time.monotonic(), figures.num_skipped))

    def stops(self) -> tuple[float, int]:
        """Seconds for which the machine had stopped all of this, and frames skipped for it; call it at the end."""
        stopped_s, frames = 0.0, 0
        for begun, ended in self._stops.end():
            before = max((n for at, n in self._skipped if at < begun), default=0)
            after = min((n for at, n in self._skipped if at > ended + 3), default=self._skipped[-1][1])
            stopped_s, frames = stopped_s + ended - begun, frames + after - before
        return stopped_s, frames

    def latency_s(self, part: slice) -> float:
        return statistics.median(f.latency_s for f in self.figures[part] if f.latency_s is not None)


def live(card: SoundCard, model: str, seconds: float) -> Verdict:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from tests.live_window import LiveWindow

    spoken = np.repeat(np.random.default_rng(2).uniform(-0.3, 0.3, (60 * RATE, 1)), 2, axis=1)
    seen = Observer()
    window = LiveWindow(model)
    window.begin()
    end = time.monotonic() + seconds
    while time.monotonic() < end and window.is_running:
        with card.speaking(spoken) as child:
            while child.poll() is None and time.monotonic() < end:
                window.pass_time(1.0)
                seen.look(window.figures)
    problem = window.end()
    figures, fifth = window.figures, max(1, len(seen.figures) // 5)
    first, last = seen.latency_s(slice(SETTLING_S, SETTLING_S + fifth)), seen.latency_s(slice(-fifth, None))
    settled = seen.memory[min(60, len(seen.memory) // 4)]
    growth = (seen.memory[-1] - settled) * 3600 / seconds
    computes, busy = (sorted(times) for times in zip(*((f.compute_s, f.busy_s) for f in seen.figures), strict=True))
    print(
        f"{figures.num_frames} frames in {seconds / 60:.1f} min, {figures.num_skipped} skipped, late"
        f" {figures.num_late} times; latency median {1000 * seen.latency_s(slice(None)):.0f} ms, first fifth"
        f" {1000 * first:.0f}, last {1000 * last:.0f}, most"
        f" {1000 * max(f.latency_s or 0 for f in seen.figures):.0f}; compute median"
        f" {1000 * statistics.median(computes):.0f} ms a frame, most {1000 * computes[-1]:.0f}, its"
        f" busiest thread {1000 * statistics.median(busy):.0f} and {1000 * busy[-1]:.0f};"
        f" memory {settled:.0f} -> {seen.memory[-1]:.0f} MiB; {problem or 'no error'}"
    )
    verdict = Verdict()
    stopped_s, not_ours = seen.stops()
    if not_ours:
        print(f"stopped from outside for {stopped_s:.0f} s, {not_ours} frames: not counted below")
    frames, skipped = figures.num_frames - not_ours, figures.num_skipped - not_ours
    verdict.check(
        f"{100 * skipped / frames:.3f} % of {frames} frames dropped ({100 * MOST_SKIPPED} %)",
        skipped / frames <= MOST_SKIPPED,
    )
    due = (seconds - stopped_s) / figures.frame_s
    verdict.check(f"{frames} of {due:.0f} frames came", abs(frames - due) < 0.02 * due + 40)
    verdict.check(f"latency grows by {1000 * (last - first):+.0f} ms (20)", last - first <= MOST_DRIFT_S)
    verdict.check(f"memory grows by {growth:+.0f} MiB an hour ({MOST_GROWTH_MIB:.0f})", growth <= MOST_GROWTH_MIB)
    verdict.check(problem or "no error", not problem)
    return verdict


def latency(card: SoundCard, model: str, seconds: float) -> Verdict:
    """The codec is an echo here, or there would be nothing to find the delay by."""
    from tests.test_live import measure_latency

    errors = []
    end = time.monotonic() + seconds
    for work_s in (0.005, 0.020, 0.040, 0.020, 0.005, 0.040) * 100:
        if time.monotonic() > end:
            break
        measured, told, figures = measure_latency(card, work_s)
        print(f"compute {1000 * work_s:.0f} ms: measured {1000 * measured:.1f} ms, told {1000 * told:.1f} ms,"
              f" {figures.num_skipped} skipped, late {figures.num_late} times")  # fmt: skip
        errors.append(measured - told)
    worst = max(errors, key=abs)
    verdict = Verdict()
    verdict.check(f"the screen is off by {1000 * worst:+.1f} ms at most (10) in {len(errors)} sessions",
                  abs(worst) <= MOST_ERROR_S)  # fmt: skip
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MINUTES))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--model", help="a folder, or mimi-tiny")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    minutes = MINUTES[arguments.what] if arguments.minutes is None else arguments.minutes
    card = SoundCard()
    os.environ.update(card.environment)
    try:
        with tempfile.TemporaryDirectory() as folder:
            model = arguments.model or ""
            if not model and arguments.what != "latency":
                model = make_checkpoint(arguments.tiny, Path(folder))
            run = {"play": play, "live": live, "latency": latency}[arguments.what]
            verdict = run(card, model, 60 * minutes)
    finally:
        card.close()
    print(verdict.line())
    return 1 if verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
