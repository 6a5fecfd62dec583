"""What each codebook buys: the numbers for K = 1 .. most, and the knee after which more buys little.

Pure but for the ``decode`` that the caller brings; any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mimi_gui.analysis.distances import Cancel, check_cancel
from mimi_gui.analysis.metrics import MetricResult, measure

DEFAULT_METRICS = ("si_sdr", "log_mel", "stft_convergence", "stft_log", "lsd", "stoi", "estoi", "pesq_wb")
_LEAST_BEND = 0.05  # of the curve's height: under it a line has no knee


@dataclass(frozen=True)
class Rung:
    """The numbers with ``num_codebooks`` codebooks, at ``kbps`` kilobits per second."""

    num_codebooks: int
    kbps: float
    results: tuple[MetricResult, ...]

    def value(self, key: str) -> float | None:
        """The value of a metric, None where it has none."""
        return next((result.value for result in self.results if result.metric.key == key), None)


@dataclass(frozen=True)
class Ladder:
    """Rungs in rising order; grows by :meth:`with_rung` while it is computed."""

    rungs: tuple[Rung, ...] = ()

    def with_rung(self, rung: Rung) -> Ladder:
        """A ladder that has ``rung`` too (in place of one with as many codebooks)."""
        others = [old for old in self.rungs if old.num_codebooks != rung.num_codebooks]
        return Ladder(tuple(sorted([*others, rung], key=lambda r: r.num_codebooks)))

    def curve(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(num_codebooks int64, kbit/s float64, values float64), each ``[n]``: the rungs that have a value."""
        known = [(r.num_codebooks, r.kbps, v) for r in self.rungs if (v := r.value(key)) is not None]
        ks, kbps, values = zip(*known, strict=True) if known else ((), (), ())
        return np.array(ks, np.int64), np.array(kbps, np.float64), np.array(values, np.float64)

    def knee(self, key: str) -> int | None:
        """The number of codebooks after which the curve flattens, None where it does not bend."""
        ks, _, values = self.curve(key)
        index = knee_index(ks, values)
        return None if index is None else int(ks[index])


def knee_index(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> int | None:
    """The point farthest above the chord from first to last, both axes scaled to 0 .. 1 (Kneedle, Satopaa 2011).

    Works for rising and for falling curves. None for fewer than three points, for a curve that ends where it began,
    and for one that bends less than a twentieth of its height.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < 3 or y[-1] == y[0]:
        return None
    gain = (y - y[0]) / (y[-1] - y[0])
    above = gain - (x - x[0]) / (x[-1] - x[0])
    index = int(np.argmax(above))
    return index if above[index] >= _LEAST_BEND else None


def halving_order(levels: Iterable[int]) -> list[int]:
    """``levels`` so that the whole curve is seen early: both ends, the middle, the quarters ..."""
    rest = sorted(set(levels))
    if len(rest) < 3:
        return rest
    order, gaps = [rest[0], rest[-1]], [(0, len(rest) - 1)]
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            order.append(rest[middle])
            gaps += [(low, middle), (middle, high)]
    return order


def climb(
    reference: np.ndarray,
    sample_rate: int,
    decode: Callable[[int], np.ndarray],
    bitrate_kbps: Callable[[int], float],
    levels: Iterable[int],
    *,
    which: Iterable[str] = DEFAULT_METRICS,
    on_rung: Callable[[Ladder], None] | None = None,
    cancel: Cancel = None,
) -> Ladder:
    """Decode and measure each level of codebooks.

    Args:
        reference: float32 ``[T]``, what the codec heard.
        decode: ``decode(num_codebooks)`` -> float32 ``[T]``.
        bitrate_kbps: of so many codebooks, e.g. ``CodecInfo.bitrate_kbps``.
        levels: numbers of codebooks; computed ends first.
        on_rung: told after each, with the ladder so far.
        cancel: polled in between and while measuring.

    Raises:
        Cancelled: ``cancel()`` said so.
    """
    which = tuple(which)
    ladder = Ladder()
    for k in halving_order(levels):
        check_cancel(cancel)
        results = measure(reference, decode(k), sample_rate, None, which, cancel)
        ladder = ladder.with_rung(Rung(k, bitrate_kbps(k), tuple(results)))
        if on_rung is not None:
            on_rung(ladder)
    return ladder
