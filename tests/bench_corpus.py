"""How many times real time a corpus is encoded, by workers and threads, on one machine or on Ray; a table and JSON.

    python -m tests.bench_corpus --model FOLDER                      # the curve from one to four workers on Ray
    python -m tests.bench_corpus --model FOLDER --rounds 3 1x1 1x2 2x1 4x1

``2x1`` is two workers of one thread each; ``ray:`` before it means Ray, on a cluster of two nodes that is started on
this machine and ended with the run, or on that of ``--address``. The rounds are interleaved. No test: speed depends on
what else the machine does.

Two figures for each, from the times at which the token files were saved. ``steady``: what was saved while all workers
were at work, from the moment when each had saved its first file to that when the first of them had saved its last; so
neither the start nor the end counts, which a corpus does not feel. ``whole``: all audio over the whole run, from the
call to its return, with the start of the workers, their loading and the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import soundfile

from mimi_gui.bench import cpu_name
from mimi_gui.corpus import Progress, encode_corpus
from mimi_gui.corpus_workers import num_cores
from mimi_gui.resources import resource_path

CURVE = ["ray:1x1", "ray:2x1", "ray:3x1", "ray:4x1"]


def make_corpus(folder: Path, num_files: int, seconds: float) -> None:
    """Pieces of the bundled speech, of half to one and a half times ``seconds``."""
    speech, rate = soundfile.read(resource_path("samples", "speech.wav"), dtype="float32")
    rng = np.random.default_rng(0)
    for number in range(num_files):
        length = int(rate * seconds * rng.uniform(0.5, 1.5))
        start = int(rng.integers(len(speech)))
        soundfile.write(folder / f"{number:04}.wav", np.resize(np.roll(speech, -start), length), rate)


def measure(
    source: Path, model: str, device: str, codebooks: int, setting: str, address: str | None
) -> dict[str, float | None]:
    """One run into an empty folder: ``steady`` and ``whole`` in times real time, and the seconds of each part."""
    engine, _, counts = setting.rpartition(":")
    workers, threads = (int(count) for count in counts.split("x"))
    if not engine and workers == 1:
        import torch

        torch.set_num_threads(threads)
    saved: dict[str, list[tuple[float, float]]] = {}  # by worker: when, how many seconds of audio
    with tempfile.TemporaryDirectory() as target:

        def note(at: Progress) -> None:
            if at.record["status"] == "ok":
                when = (Path(target) / at.record["path"]).stat().st_mtime
                saved.setdefault(at.worker, []).append((when, float(at.record["duration"])))

        begun = time.time()
        report = encode_corpus(
            source, target, model, device, num_codebooks=codebooks, engine=engine or "local", num_workers=workers,
            num_threads=threads, address=address if engine else None, progress=note,
        )  # fmt: skip
        whole_s = time.time() - begun
    if report.failed:
        raise SystemExit(f"{setting}: {report.failed} files failed, the first: {report.failures[0]['error']}")
    start = max(min(times)[0] for times in saved.values())
    stop = min(max(times)[0] for times in saved.values())
    audio_s = sum(duration_s for times in saved.values() for when, duration_s in times if start < when <= stop)
    together = len(saved) == workers and stop > start
    return {
        "steady": audio_s / (stop - start) if together else None,
        "whole": report.audio_s / whole_s,
        "steady_s": max(0.0, stop - start),
        "start_s": start - begun,
        "whole_s": whole_s,
        "audio_s": report.audio_s,
    }


def table(found: dict[str, list[dict[str, float | None]]]) -> str:
    """A line for each setting: medians, spread, and both against the first setting's."""

    def middle(setting: str, what: str) -> float | None:
        values = [value for run in found[setting] if (value := run[what]) is not None]
        return statistics.median(values) if values else None

    first = next(iter(found))
    lines = [f"{'':10} {'steady':>9} {'spread':>15} {'of first':>9} {'whole':>9} {'of first':>9} {'start':>8}"]
    for setting, runs in found.items():
        cells = []
        for what in ("steady", "whole"):
            mine, base = middle(setting, what), middle(first, what)
            steady = [value for run in runs if (value := run[what]) is not None]
            cells.append(f"{'-' if mine is None else f'{mine:.1f}x':>9}")
            if what == "steady":
                cells.append(f"{f'{min(steady):.1f} to {max(steady):.1f}' if steady else '-':>15}")
            cells.append(f"{f'{mine / base:.2f}' if mine and base else '-':>9}")
        start_s = middle(setting, "start_s")
        lines.append(f"{setting:10} {' '.join(cells)} {start_s:6.1f} s")
    return "\n".join(lines)


def main() -> int:
    """Run the settings in turn; the table on stdout, or on stderr and JSON on stdout with ``--json``."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", default=CURVE, help=f"1x2, ray:2x1 ...; {' '.join(CURVE)} if none")
    parser.add_argument("--model", default="mimi-tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--files", type=int, default=72)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--address", help="of a Ray cluster that is there")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    from mimi_gui.codec import tune_process

    tune_process()
    source = Path(tempfile.mkdtemp())
    found: dict[str, list[dict[str, float | None]]] = {setting: [] for setting in chosen.settings}
    wanted = [setting.removeprefix("ray:").split("x") for setting in chosen.settings if setting.startswith("ray:")]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, source)
        make_corpus(source, chosen.files, chosen.seconds)
        address = chosen.address
        if wanted and address is None:
            from tests.ray_cluster import two_nodes

            most = max(-(-int(workers) // 2) * int(threads) for workers, threads in wanted)
            address = stack.enter_context(two_nodes(most))  # as many cores as are asked for, not as there are
        with contextlib.suppress(KeyboardInterrupt):  # what was measured until then is shown
            for setting in chosen.settings * chosen.rounds:
                run = measure(source, chosen.model, chosen.device, chosen.codebooks, setting, address)
                found[setting].append(run)
                words = ", ".join(f"{name} {value:.1f}" for name, value in run.items() if value is not None)
                print(f"  {setting}: {words}", file=sys.stderr, flush=True)
    found = {setting: runs for setting, runs in found.items() if runs}
    if not found:
        return 130
    about = {"cpu": cpu_name(), "cores": num_cores(), "python": platform.python_version(), "date": time.strftime("%F")}
    print(f"{about['cpu']}, {about['cores']} cores, {about['date']}", table(found), sep="\n",
          file=sys.stderr if chosen.json else sys.stdout)  # fmt: skip
    if chosen.json:
        print(json.dumps({"machine": about, "command": sys.argv[1:], "runs": found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
