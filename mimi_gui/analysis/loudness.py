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
_PEAK_BLOCK = 1 << 16
_PEAK_CONTEXT = 64
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
    samples: np.ndarray, sample_rate: int, cancel: Callable[[], bool] | None = None
) -> float:
    """Return the gated loudness in LUFS, ungated K-weighted level below 0.4 s, -inf for silence.

    Args:
        samples: float [T] or [T, C], C <= 5.
        sample_rate: in Hz.
    """
    x = _as_columns(samples)
    if _peak(x) < _SILENT:
        return float("-inf")
    size, step = round(BLOCK_S * sample_rate), max(1, round(BLOCK_S * sample_rate / 4))
    if len(x) < size:
        return _lufs(float(np.concatenate(list(_k_weighted_power(x, sample_rate))).mean()))
    found, rest = [], np.zeros(0)
    for power in _k_weighted_power(x, sample_rate):
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


def _peak(x: np.ndarray) -> float:
    blocks = (x[start : start + _PEAK_BLOCK] for start in range(0, len(x), _PEAK_BLOCK))
    return max((float(np.abs(block).max(initial=0.0)) for block in blocks), default=0.0)


def _k_weighted_power(x: np.ndarray, sample_rate: int) -> Iterator[np.ndarray]:
    """Power [n] block by block after the standard's two filters, which pyloudnorm designs for any rate."""
    stages = list(pyloudnorm.Meter(sample_rate)._filters.values())
    states = [np.zeros((max(len(stage.a), len(stage.b)) - 1, x.shape[1])) for stage in stages]
    for start in range(0, len(x), _FILTER_BLOCK):
        y = np.asarray(x[start : start + _FILTER_BLOCK], dtype=np.float64)
        for i, stage in enumerate(stages):
            y, states[i] = signal.lfilter(stage.b, stage.a, y, axis=0, zi=states[i])
            y = stage.passband_gain * y
        yield (y**2).sum(axis=1)


def true_peak_db(samples: np.ndarray, sample_rate: int, cancel: Callable[[], bool] | None = None) -> float:
    """Return the largest magnitude between the samples too, in dBTP (oversampled to 176 kHz or more)."""
    x = _as_columns(samples)
    factor = 4 if sample_rate >= 44100 else 8
    peak = _peak(x)
    for start in range(0, len(x), _PEAK_BLOCK):
        check_cancel(cancel)
        block = np.asarray(x[max(0, start - _PEAK_CONTEXT) : start + _PEAK_BLOCK + _PEAK_CONTEXT], np.float64)
        if np.abs(block).max() * 4 > peak:  # the interpolator's gain stays below 4
            peak = max(peak, float(np.abs(signal.resample_poly(block, factor, 1, axis=0)).max()))
    return 20 * float(np.log10(peak)) if peak > 0 else float("-inf")


def matching_gains(
    a: np.ndarray, b: np.ndarray, sample_rate: int, *, cancel: Callable[[], bool] | None = None
) -> LoudnessMatch:
    """Return gains after which A and B differ by at most 0.1 LU and peak at -1 dBTP at most.

    One channel beside two is measured as it is heard: from both loudspeakers.

    Args:
        a, b: float [T] or [T, C], the spans that will be listened to.
        sample_rate: of both, in Hz.
        cancel: polled every block: hours take minutes.

    Raises:
        Cancelled: ``cancel()`` said so.
    """
    a, b = _as_columns(a), _as_columns(b)
    if a.shape[1] != b.shape[1]:
        a, b = (np.repeat(x, 2, axis=1) if x.shape[1] == 1 else x for x in (a, b))
    loudness_a, loudness_b = (integrated_loudness(x, sample_rate, cancel) for x in (a, b))
    peak_a, peak_b = (true_peak_db(x, sample_rate, cancel) for x in (a, b))
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
