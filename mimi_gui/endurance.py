"""Ten thousand frames, one at a time, as a live session does: does memory grow, does a frame take longer at the end?

``mimi-gui bench --endurance``. The frames are computed in another process (``bench_player``), some at a time, so that
the one who waits hears how far it is, can stop it, and keeps what was measured until then.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

FRAMES = 10_000
_TURN = 100  # frames that are asked for at once: 4 s, so that nobody waits long for a stop
_TOLD_EVERY = 500  # frames
# The smallest array that a frame could leave behind has 700 bytes: 6.3 MB in the 9,000 frames that are compared.
_FLAT_MB = 5.0
_STEADY = 1.25  # times the first thousand's p95: what else a machine does makes 1.1


def measure(
    ask: Callable[[int], dict[str, Any]], say: Callable[[str], None], num_frames: int = FRAMES
) -> dict[str, Any]:
    """Compute ``num_frames``; blocking, minutes. KeyboardInterrupt ends it early with what there is.

    Args:
        ask: computes so many frames more and gives ``{"frame_ms": [...], "rss_mb": ..., "vram_mb": ...}``, the memory
            after the last of them; or ``{"error": ...}``.
        say: told every few hundred frames how far it is.

    Returns:
        What :func:`verdict` gives, with ``asked`` (frames) and, where it was interrupted, ``stopped``; or ``error``.
    """
    times: list[float] = []
    memory: list[tuple[int, float, float]] = []  # after so many frames: the process's, the GPU's, in MB
    begun, stopped = time.monotonic(), False
    try:
        while len(times) < num_frames:
            answer = ask(min(_TURN, num_frames - len(times)))
            if not answer.get("frame_ms"):
                return {"error": answer.get("error") or "its process died"}
            before = len(times)
            times += answer["frame_ms"]
            memory.append((len(times), answer["rss_mb"], answer["vram_mb"]))
            if len(times) // _TOLD_EVERY > before // _TOLD_EVERY:
                left_s = (time.monotonic() - begun) / len(times) * (num_frames - len(times))
                middle_ms = statistics.median(times[-_TOLD_EVERY:])
                say(
                    f"frame {len(times):,} of {num_frames:,}: {middle_ms:.1f} ms each, {memory[-1][1]:.0f} MB,"
                    f" {math.ceil(left_s / 60)} min left"
                )
    except KeyboardInterrupt:
        stopped = True
        say(f"stopped at frame {len(times):,} of {num_frames:,}")
    figures: dict[str, Any] = {"asked": num_frames, **verdict(times, memory, num_frames // 10)}
    return {**figures, "stopped": True} if stopped else figures


def verdict(times_ms: Sequence[float], memory_mb: Sequence[tuple[int, float, float]], tenth: int) -> dict[str, Any]:
    """Compare the beginning with the end.

    Args:
        times_ms: of each frame.
        memory_mb: (frames so far, the process's memory, the GPU's), in that order.
        tenth: frames at either end that are compared; memory is compared from there to the end. By the 125th frame
            all states have their full size.

    Returns:
        ``frames``; with at least two tenths also ``first`` and ``last`` (``{"median_ms", "p95_ms"}`` of the tenths at
        both ends), ``p95_ms`` of all, ``early_mb``, ``end_mb``, ``growth_mb``, ``gpu_growth_mb``, and the verdicts
        ``flat`` (memory) and ``steady`` (time).
    """
    early = next((entry for entry in memory_mb if entry[0] >= tenth), None)
    if len(times_ms) < 2 * tenth or early is None:
        return {"frames": len(times_ms)}
    first, last = _summary(times_ms[:tenth]), _summary(times_ms[-tenth:])
    _, end_mb, end_gpu_mb = memory_mb[-1]
    growth_mb, gpu_growth_mb = end_mb - early[1], end_gpu_mb - early[2]
    return {
        "frames": len(times_ms),
        "first": first,
        "last": last,
        "p95_ms": _summary(times_ms)["p95_ms"],
        "early_mb": early[1],
        "end_mb": end_mb,
        "growth_mb": growth_mb,
        "gpu_growth_mb": gpu_growth_mb,
        "flat": max(growth_mb, gpu_growth_mb) < _FLAT_MB,
        "steady": last["p95_ms"] <= _STEADY * first["p95_ms"],
    }


def sentence(figures: dict[str, Any]) -> str:
    """What :func:`measure` found, for a person."""
    if "error" in figures:
        return f"The long run ended early: {figures['error']}"
    ended = f"stopped at {figures['frames']:,} of {figures['asked']:,} frames" if figures.get("stopped") else ""
    if "first" not in figures:
        return f"The long run was {ended or 'too short'}: too few to compare."
    tenth = figures["asked"] // 10
    gpu = f" (the GPU's by {figures['gpu_growth_mb']:+.1f} MB)" if figures["gpu_growth_mb"] else ""
    return (
        f"{figures['frames']:,} frames one at a time{f' ({ended})' if ended else ''}: memory"
        f" {'stayed flat' if figures['flat'] else 'GREW'}, {figures['early_mb']:.1f} MB after {tenth:,} frames and"
        f" {figures['end_mb']:.1f} MB after the last{gpu}; a frame"
        f" {'took no longer at the end' if figures['steady'] else 'TOOK LONGER at the end'}, p95"
        f" {figures['first']['p95_ms']:.1f} ms in the first {tenth:,} and {figures['last']['p95_ms']:.1f} ms in the"
        f" last (of all: {figures['p95_ms']:.1f} ms)."
    )


def _summary(times_ms: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times_ms)
    return {"median_ms": statistics.median(ordered), "p95_ms": ordered[int(0.95 * (len(ordered) - 1))]}
