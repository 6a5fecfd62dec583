"""Loudness after ITU-R BS.1770-4, true peak, and the gains that make two takes equally loud.

Pure functions on float arrays [T] or [T, C]. The gains only attenuate: the louder take comes down to the
quieter one, then both come down together until neither can clip in a converter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyloudnorm
from scipy import signal

from mimi_gui.analysis.distances import check_cancel

TOLERANCE_LU = 0.1
CEILING_DBTP = -1.0
BLOCK_S = 0.4  # BS.1770's gating block: anything shorter has no gated loudness
_ABSOLUTE_GATE_LUFS = -70.0
_SILENT = 1e-7
_PEAK_BLOCK = 1 << 10
_PEAK_BATCH = 64
_PEAK_CONTEXT = 64
_MOST_OVERSHOOT = 2.25  # what resample_poly's default filter makes of the largest sample at most: the sum of |h|, 2.242
_FILTER_BLOCK = 1 << 20


class LoudnessMatch(NamedTuple):
    """Gains in dB (never positive) and what they were found from; ``reason`` says why they are 0 if they must
    be.
    """

    gain_a_db: float
    gain_b_db: float
    loudness_a: float  # LUFS; -inf for silence
    loudness_b: float
    true_peak_a_db: float  # dBTP; -inf for silence
    true_peak_b_db: float
    reason: str = ""


def columns(samples: np.ndarray) -> np.ndarray:
    """Return ``samples`` as float64 [T, C]."""
    array = np.asarray(samples, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def integrated_loudness(
    samples: np.ndarray,
    sample_rate: int,
    cancel: Callable[[], bool] | None = None,
    *,
    num_channels: int | None = None,
) -> float:
    """Return the gated loudness in LUFS, ungated K-weighted level below 0.4 s, -inf for silence.

    Args:
        samples: float [T] or [T, C], C <= 5.
        sample_rate: in Hz.
        num_channels: by how many loudspeakers it is heard, where that is not C: one channel comes from all of them,
            two become their mean on one.
    """
    x = _as_columns(samples)
    if _peaks(x, num_channels, cancel).max(initial=0.0) < _SILENT:
        return float("-inf")
    size, step = round(BLOCK_S * sample_rate), max(1, round(BLOCK_S * sample_rate / 4))
    if len(x) < size:
        return _lufs(float(np.concatenate(list(_k_weighted_power(x, sample_rate, num_channels))).mean()))
    found, rest = [], np.zeros(0)
    for power in _k_weighted_power(x, sample_rate, num_channels):
        check_cancel(cancel)
        rest = np.concatenate([rest, power])
        if len(rest) < size:
            continue
        total = np.concatenate([[0.0], np.cumsum(rest)])
        starts = np.arange(0, len(rest) - size + 1, step)
        found.append((total[starts + size] - total[starts]) / size)
        rest = rest[starts[-1] + step :]
    blocks = np.concatenate(found)  # [N], 75 % overlapping
    blocks = blocks[blocks > _power(_ABSOLUTE_GATE_LUFS)]
    if not len(blocks):
        return float("-inf")
    relative_gate = blocks.mean() / 10  # 10 LU below what the absolute gate leaves
    return _lufs(float(blocks[blocks > relative_gate].mean()))


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else float("-inf")


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def _as_columns(samples: np.ndarray) -> np.ndarray:
    """``samples`` as [T, C] in their own type: an hour as float64 would not fit beside what else is open."""
    array = np.asarray(samples)
    return array[:, None] if array.ndim == 1 else array


def _peaks(x: np.ndarray, num_channels: int | None, cancel: Callable[[], bool] | None) -> np.ndarray:
    """The largest magnitude of every ``_PEAK_BLOCK`` samples, [N]."""
    found = [np.zeros(0)]
    for start in range(0, len(x), _FILTER_BLOCK):
        check_cancel(cancel)
        loud = np.abs(_heard(x[start : start + _FILTER_BLOCK], num_channels)).max(axis=1)
        found.append(np.maximum.reduceat(loud, np.arange(0, len(loud), _PEAK_BLOCK)))
    return np.concatenate(found)


def _heard(block: np.ndarray, num_channels: int | None) -> np.ndarray:
    """``block`` [n, C] as float64, as the mixer gives it to one loudspeaker; to two it goes as it is."""
    block = np.asarray(block, np.float64)
    return block.mean(axis=1, keepdims=True) if num_channels == 1 and block.shape[1] == 2 else block


def _k_weighted_power(x: np.ndarray, sample_rate: int, num_channels: int | None) -> Iterator[np.ndarray]:
    """Power [n] block by block after the standard's two filters, which pyloudnorm designs for any rate."""
    stages = pyloudnorm.Meter(sample_rate)._filters.values()
    sections = np.array([[*(stage.passband_gain * stage.b), *stage.a] for stage in stages])
    width = _heard(x[:0], num_channels).shape[1]
    copies = num_channels if num_channels is not None and width == 1 else 1
    state = np.zeros((len(sections), width, 2))
    for start in range(0, len(x), _FILTER_BLOCK):
        y = np.ascontiguousarray(_heard(x[start : start + _FILTER_BLOCK], num_channels).T)  # twice as fast so
        y, state = signal.sosfilt(sections, y, axis=1, zi=state)
        yield copies * (y**2).sum(axis=0)


def true_peak_db(
    samples: np.ndarray,
    sample_rate: int,
    cancel: Callable[[], bool] | None = None,
    *,
    num_channels: int | None = None,
) -> float:
    """Return the largest magnitude between the samples too, in dBTP (oversampled to 176 kHz or more).

    ``num_channels`` as in :func:`integrated_loudness`.
    """
    x = _as_columns(samples)
    factor = 4 if sample_rate >= 44100 else 8
    peaks = _peaks(x, num_channels, cancel)
    peak = float(peaks.max(initial=0.0))
    around = np.maximum(peaks, np.maximum(np.append(peaks[1:], 0.0), np.append(0.0, peaks[:-1])))
    order = np.argsort(-around)
    for first in range(0, len(order), _PEAK_BATCH):
        check_cancel(cancel)
        batch = order[first : first + _PEAK_BATCH]
        batch = batch[around[batch] * _MOST_OVERSHOOT > peak]
        if not len(batch):
            break  # none that follows can reach beyond what was found
        pieces = np.stack([_heard(_surrounded(x, i * _PEAK_BLOCK), num_channels) for i in batch.tolist()])
        inner = slice(factor * _PEAK_CONTEXT, factor * (_PEAK_CONTEXT + _PEAK_BLOCK))  # the cut itself overshoots
        peak = max(peak, float(np.abs(signal.resample_poly(pieces, factor, 1, axis=1)[:, inner]).max()))
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")


def _surrounded(x: np.ndarray, start: int) -> np.ndarray:
    """A block of ``x`` from ``start`` on, with what the interpolator sees on both sides; zeros beyond the ends."""
    first, last = start - _PEAK_CONTEXT, start + _PEAK_BLOCK + _PEAK_CONTEXT
    piece = x[max(first, 0) : last]
    before = max(-first, 0)
    return np.pad(piece, ((before, last - first - before - len(piece)), (0, 0)))


def matching_gains(
    a: np.ndarray,
    b: np.ndarray,
    sample_rate: int,
    *,
    num_channels: int | None = None,
    cancel: Callable[[], bool] | None = None,
) -> LoudnessMatch:
    """Return gains after which A and B differ by at most 0.1 LU and peak at -1 dBTP at most.

    One channel beside two is measured as it is heard: from both loudspeakers.

    Args:
        a, b: float [T] or [T, C], the spans that will be listened to. Long ones are read in blocks.
        sample_rate: of both, in Hz.
        num_channels: 1 where there is one loudspeaker only; otherwise as many as the wider of them has.
        cancel: polled every block: hours take minutes.

    Raises:
        Cancelled: ``cancel()`` said so.
    """
    a, b = _as_columns(a), _as_columns(b)
    wide = num_channels if num_channels is not None else max(a.shape[1], b.shape[1])
    loudness_a, loudness_b = (integrated_loudness(x, sample_rate, cancel, num_channels=wide) for x in (a, b))
    peak_a, peak_b = (true_peak_db(x, sample_rate, cancel, num_channels=wide) for x in (a, b))
    measured = (loudness_a, loudness_b, peak_a, peak_b)
    silent = [name for name, value in (("A", loudness_a), ("B", loudness_b)) if value == float("-inf")]
    if silent:
        who = " and ".join(silent)
        verb = "is" if len(silent) == 1 else "are"
        return LoudnessMatch(0.0, 0.0, *measured, f"{who} {verb} silent: there is no loudness to match")
    difference = loudness_a - loudness_b
    gain_a, gain_b = min(0.0, -difference), min(0.0, difference)
    excess = max(0.0, peak_a + gain_a - CEILING_DBTP, peak_b + gain_b - CEILING_DBTP)
    return LoudnessMatch(gain_a - excess, gain_b - excess, *measured)
