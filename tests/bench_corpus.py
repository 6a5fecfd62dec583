"""A corpus at work: how many times real time it is encoded, by workers and threads, on one machine or on Ray.

    python -m tests.bench_corpus --model mimi-tiny --files 40 1x2 2x1 1x1 ray:1x1 ray:2x1

``2x1`` is two workers of one thread each; ``ray:`` before it means Ray on this machine. The rounds are interleaved. The
clock starts when the first codec is loaded, which a corpus does not feel; Ray's includes its beginning, so give it many
files. No test: speed depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import soundfile

from mimi_gui.corpus import encode_corpus
from mimi_gui.resources import resource_path


def make_corpus(folder: Path, num_files: int, seconds: float) -> None:
    """Pieces of the bundled speech, of half to one and a half times ``seconds``."""
    speech, rate = soundfile.read(resource_path("samples", "speech.wav"), dtype="float32")
    rng = np.random.default_rng(0)
    for number in range(num_files):
        length = int(rate * seconds * rng.uniform(0.5, 1.5))
        start = int(rng.integers(len(speech)))
        soundfile.write(folder / f"{number:04}.wav", np.resize(np.roll(speech, -start), length), rate)


def measure(source: Path, model: str, device: str, codebooks: int, setting: str) -> dict[str, float]:
    """One run into an empty folder: times real time, without and with the loading."""
    engine, _, counts = setting.rpartition(":")
    workers, threads = (int(count) for count in counts.split("x"))
    if not engine and workers == 1:
        import torch

        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as target:
        begun = time.monotonic()
        report = encode_corpus(
            source, target, model, device, num_codebooks=codebooks, engine=engine or "local", num_workers=workers,
            num_threads=threads,
        )  # fmt: skip
        whole_s = time.monotonic() - begun
    return {"steady": report.audio_s / report.elapsed_s, "whole": report.audio_s / whole_s}


def main() -> int:
    """Run the settings in turn and print a line for each, and JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="+", help="1x2, ray:2x1 ...")
    parser.add_argument("--model", default="mimi-tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    from mimi_gui.codec import tune_process

    tune_process()
    source = Path(tempfile.mkdtemp())
    found: dict[str, list[dict[str, float]]] = {setting: [] for setting in chosen.settings}
    try:
        make_corpus(source, chosen.files, chosen.seconds)
        for _ in range(chosen.rounds):
            for setting in chosen.settings:
                found[setting].append(measure(source, chosen.model, chosen.device, chosen.codebooks, setting))
                if not chosen.json:
                    print(f"  {setting}: {found[setting][-1]['steady']:.1f}x", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(source)
    if chosen.json:
        print(json.dumps(found, indent=2))
        return 0
    base = statistics.median(run["steady"] for run in found[chosen.settings[0]])
    for setting, runs in found.items():
        steady = [run["steady"] for run in runs]
        middle = statistics.median(steady)
        spread = f"{min(steady):.1f} to {max(steady):.1f}"
        print(f"{setting:12} {middle:7.1f}x real time ({spread}), {middle / base:.2f} of {chosen.settings[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
