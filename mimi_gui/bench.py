"""How fast, how exact, how much memory: this engine beside transformers, moshi and rustymimi with the same weights.

``run(model_name, ...)`` returns a plain dict (JSON-able); ``print_table(result)`` draws it. The verb
``mimi-gui bench [--model M] [--seconds S] [--repeats N] [--json]`` calls ``run(model_name=..., duration_s=...,
repeats=..., progress=print_line)`` and prints ``json.dumps(result)`` or ``print_table(result)``.

Every contestant runs in a process of its own, with the settings a user of it would have, and waits for its turn: the
repeats are interleaved (A B C A B C ...), so that a busy moment of the machine hits all of them. Only ratios within one
run mean anything.
"""

from __future__ import annotations

import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mimi_gui.corpus_workers import num_cores
from mimi_gui.endurance import FRAMES, measure, sentence
from mimi_gui.errors import MimiGuiError

CONTESTANTS = (
    "mimi_gui",
    "mimi_gui_frames",
    "openvino",
    "openvino_frames",
    "transformers",
    "transformers_chunked",
    "moshi",
    "rustymimi",
)
LABELS = {
    "mimi_gui": "Mimi GUI",
    "mimi_gui_frames": "Mimi GUI, one frame at a time",
    "openvino": "Mimi GUI on OpenVINO",
    "openvino_frames": "Mimi GUI on OpenVINO, one frame at a time",
    "transformers": "transformers, whole clip",
    "transformers_chunked": "transformers, 4 s chunks (encode only is exact)",
    "moshi": "moshi, whole clip",
    "rustymimi": "rustymimi, whole clip",
}

_CPU_ONLY = ("openvino", "openvino_frames", "rustymimi")


def run(
    model_name: str = "kyutai/mimi",
    *,
    duration_s: float = 10.0,
    repeats: int = 5,
    contestants: tuple[str, ...] | None = None,
    device: str = "cpu",
    endurance: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure. Takes a minute or more and all cores; blocking.

    Args:
        model_name: as everywhere; all contestants get these weights.
        duration_s: length of the synthetic clip.
        repeats: interleaved rounds after one warm-up.
        contestants: of :data:`CONTESTANTS`; None for all that are installed.
        device: ``cpu`` or ``cuda:0``; OpenVINO and rustymimi are for the CPU only.
        endurance: also run 10,000 single frames through ``mimi_gui_frames`` (6 to 10 minutes): ``endurance`` in its
            figures has what ``endurance.measure`` gives. KeyboardInterrupt ends that part early, and what was measured
            is returned; at any other time it is raised.
        progress: told in a few words what is going on.

    Returns:
        ``{"machine", "model", "device", "duration_s", "repeats", "ceiling_gflops", "gflop_per_s", "contestants":
        {name: {...}}}``; ``gflop_per_s`` is [encoding, decoding], of a second of audio.
        Per contestant: ``encode_x`` and ``decode_x`` (median times real time) with ``_spread`` (min, max),
        ``encode_ceiling`` and ``decode_ceiling`` (share of the ceiling reached, 0 to 1),
        ``frame_ms`` (encode + decode of one frame, median and p95) where it streams, ``peak_rss_mb``, ``peak_vram_mb``,
        ``tokens_equal`` (share equal to transformers, whole clip) and ``decode_error`` (of the peak); or ``error``.

    Raises:
        ModelUnavailable: the checkpoint cannot be had.
    """
    from mimi_gui.checkpoints import fetch_checkpoint

    say = progress or (lambda _words: None)
    checkpoint = fetch_checkpoint(model_name)
    chosen = [c for c in (contestants or CONTESTANTS) if _installed(c) and (c not in _CPU_ONLY or device == "cpu")]
    result: dict[str, Any] = {
        "machine": {"cpu": cpu_name(), "cores": num_cores(), "python": platform.python_version()},
        "model": {"name": checkpoint.name, "digest": checkpoint.digest},
        "device": device,
        "duration_s": duration_s,
        "repeats": repeats,
        "contestants": {},
    }
    with tempfile.TemporaryDirectory(prefix="mimi-gui-bench-") as folder:
        say("writing the weights for all")
        job = {"model": str(checkpoint.path), "device": device, "duration_s": duration_s, "folder": folder}
        if any(c in ("moshi", "rustymimi") for c in chosen):
            job["moshi_file"] = _moshi_file(checkpoint, Path(folder))
        players = {name: _Player(name, job) for name in chosen}
        try:
            for player in players.values():
                player.send("load")  # all at once: half of it is imports, on one core each
            for name, player in players.items():
                say(f"loading {LABELS[name]}")
                player.receive()
            for turn in range(repeats + 1):
                say(f"round {turn} of {repeats}" if turn else "warming up")
                for player in players.values():
                    player.ask("round", warm_up=turn == 0)
            say("measuring the ceiling")
            result["ceiling_gflops"] = next(iter(players.values())).ask("ceiling").get("gflops") if players else None
            for name, player in players.items():
                result["contestants"][name] = _summary(name, player)
            _compare_with_ceiling(result, players)
            if endurance and "mimi_gui_frames" in players:
                for name, player in players.items():
                    if name != "mimi_gui_frames":
                        player.close()  # nobody else's memory is needed any more
                say(f"{FRAMES:,} frames one at a time, some minutes; Ctrl-C stops it and keeps the rest")
                alone = players["mimi_gui_frames"]
                result["contestants"]["mimi_gui_frames"]["endurance"] = measure(
                    lambda count: alone.ask("frames", count=count), say
                )
        finally:
            for player in players.values():
                player.hang_up()
            for player in players.values():
                player.close()
        _compare(result, Path(folder))
    from mimi_gui.compiled import description  # imports torch, which the contestants should not have had to share with

    result["machine"]["kernels"] = description()
    return result


def print_table(result: dict[str, Any]) -> None:
    """Draw what :func:`run` returned on the terminal."""
    from rich.console import Console
    from rich.table import Table

    base = result["contestants"].get("transformers", {})
    table = Table(title=f"{result['model']['name']}, {result['duration_s']:g} s, {result['machine']['cpu']}")
    for heading in ("", "encode", "decode", "frame, median / p95", "memory", "tokens equal", "sound differs"):
        table.add_column(heading, justify="right" if heading else "left", min_width=0 if heading else 24)
    for name, figures in result["contestants"].items():
        if "error" in figures:
            table.add_row(LABELS[name], figures["error"], *[""] * 5)
            continue
        cells = [LABELS[name]]
        for way in ("encode", "decode"):
            speed = figures.get(f"{way}_x")
            ratio = f" ({speed / base[f'{way}_x']:.2f}x)" if speed and base.get(f"{way}_x") else ""
            share = f", {100 * figures[f'{way}_ceiling']:.0f} %" if f"{way}_ceiling" in figures else ""
            cells.append(f"{speed:.1f}x{ratio}{share}" if speed else "")
        frame = figures.get("frame_ms")
        cells.append(f"{frame['median']:.1f} / {frame['p95']:.1f} ms" if frame else "")
        vram = f" + {figures['peak_vram_mb']:.0f} MB GPU" if figures.get("peak_vram_mb") else ""
        cells.append(f"{figures['peak_rss_mb']:.0f} MB{vram}")
        equal, error = figures.get("tokens_equal"), figures.get("decode_error")
        cells.append(f"{100 * equal:.3f} %" if equal is not None else "")
        cells.append(f"{error:.1e}" if error is not None else "")
        table.add_row(*cells)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a file has room; rich would take 80 columns and break the names
    console.print(table)
    if long := result["contestants"].get("mimi_gui_frames", {}).get("endurance"):
        console.print(sentence(long))
    if result.get("ceiling_gflops"):
        console.print(
            f"Matrix products reach {result['ceiling_gflops']:.0f} GFLOP/s here (float32). Speeds are times real time;"
            " in brackets: against transformers in this run; then the share of what the matrix products reach, counting"
            " the model's products as it has them (ours do with fewer)."
        )
    if kernels := result["machine"].get("kernels"):
        console.print(f"Kernels on the CPU: {kernels}.")


class _Player:
    """A contestant in its own process, answering one line of JSON with another."""

    def __init__(self, name: str, job: dict[str, Any]) -> None:
        self.answers: list[dict[str, Any]] = []
        self.error = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mimi_gui.bench_player", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._job = job

    def ask(self, what: str, *, warm_up: bool = False, **details: Any) -> dict[str, Any]:
        self.send(what, **details)
        answer = self.receive()
        if what == "round" and not warm_up and "error" not in answer:
            self.answers.append(answer)
        return answer

    def send(self, what: str, **details: Any) -> None:
        """Let it begin; ``receive`` waits for the answer."""
        if self.error:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **self._job, **details}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            self.error = str(error)

    def receive(self) -> dict[str, Any]:
        """What it answers; ``{"error": ...}`` now and for ever once something went wrong."""
        if self.error:
            return {"error": self.error}
        assert self._process.stdout is not None
        try:
            answer = json.loads(self._process.stdout.readline() or '{"error": "its process died"}')
        except (OSError, ValueError) as error:
            answer = {"error": str(error)}
        self.error = answer.get("error", "")
        return answer

    def hang_up(self) -> None:
        """It ends by itself; ``close`` waits until it has."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has died with something unread
                self._process.stdin.close()

    def close(self) -> None:
        self.hang_up()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _summary(name: str, player: _Player) -> dict[str, Any]:
    memory = player.ask("memory")
    if player.error:
        return {"error": player.error}
    figures: dict[str, Any] = {"label": LABELS[name], **memory}
    for way in ("encode_x", "decode_x"):
        speeds = [a[way] for a in player.answers if a.get(way)]
        if speeds:
            figures[way] = statistics.median(speeds)
            figures[f"{way}_spread"] = [min(speeds), max(speeds)]
    times = sorted(t for a in player.answers for t in a.get("frame_ms", []))
    if times:
        figures["frame_ms"] = {"median": statistics.median(times), "p95": times[int(0.95 * (len(times) - 1))]}
    return figures


def _compare_with_ceiling(result: dict[str, Any], players: dict[str, _Player]) -> None:
    """How much of what the machine can do each contestant does; the work is counted on our own engine."""
    ours = players.get("mimi_gui") or players.get("mimi_gui_frames")
    work = ours.ask("work").get("gflop_per_s") if ours is not None else None
    result["gflop_per_s"] = work
    if not work or not result["ceiling_gflops"]:
        return
    for figures in result["contestants"].values():
        for way, amount in zip(("encode", "decode"), work, strict=True):
            if figures.get(f"{way}_x"):
                figures[f"{way}_ceiling"] = figures[f"{way}_x"] * amount / result["ceiling_gflops"]


def _compare(result: dict[str, Any], folder: Path) -> None:
    import numpy as np

    def outcome(name: str) -> tuple[Any, Any] | None:
        path = folder / f"{name}.npz"
        if not path.exists():
            return None
        with np.load(path) as data:
            return data["codes"], data["sound"]

    reference = outcome("transformers")
    if reference is None:
        return
    for name, figures in result["contestants"].items():
        mine = outcome(name)
        if mine is None or "error" in figures:
            continue
        length = min(mine[0].shape[1], reference[0].shape[1])
        figures["tokens_equal"] = float((mine[0][:, :length] == reference[0][:, :length]).mean())
        if mine[1].size:
            num_samples = min(len(mine[1]), len(reference[1]))
            gap = np.abs(mine[1][:num_samples] - reference[1][:num_samples]).max()
            figures["decode_error"] = float(gap / max(np.abs(reference[1]).max(), 1e-12))


def _moshi_file(checkpoint: Any, folder: Path) -> str:
    """The same weights as moshi and rustymimi read them; '' where the checkpoint's sizes are not theirs."""
    if checkpoint.layout == "moshi":
        return str(checkpoint.path)
    from mimi_gui.convert import convert_checkpoint

    target = folder / "weights.safetensors"
    try:
        convert_checkpoint(str(checkpoint.path), target)
    except MimiGuiError:
        return ""
    return str(target)


def _installed(contestant: str) -> bool:
    package = contestant.removesuffix("_chunked").removesuffix("_frames")
    return find_spec(package) is not None


def cpu_name() -> str:
    """What the system calls this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
