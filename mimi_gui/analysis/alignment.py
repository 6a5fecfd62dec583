"""The delay between two takes, by GCC-PHAT: how far B lags behind A, and how sure that is.

Mimi itself has none: a lag that is not zero means the takes were cut or resampled unlike each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import next_fast_len

MAX_LAG = 1920
SPAN_S = 10.0
CORRECTABLE_LAG = 48
CORRECTABLE_RATIO = 2.0
_NEIGHBOURHOOD = 12  # samples around the peak that belong to it (the signals are band-limited)


class Delay(NamedTuple):
    """``lag_samples`` > 0: B is late. ``peak_ratio``: highest over second-highest correlation peak."""

    lag_samples: int
    peak_ratio: float

    @property
    def is_correctable(self) -> bool:
        """Small and certain enough to be corrected without harm. The lag is to be shown in any case."""
        return abs(self.lag_samples) <= CORRECTABLE_LAG and self.peak_ratio >= CORRECTABLE_RATIO


def measure_delay(a: np.ndarray, b: np.ndarray, sample_rate: int, max_lag: int = MAX_LAG) -> Delay:
    """Return B's delay behind A within +-``max_lag`` samples, measured on the loudest 10 s of A.

    Args:
        a, b: float [T], mono, same rate; lengths may differ.
        sample_rate: in Hz.
        max_lag: in samples.

    A silent or tiny take gives lag 0 with ratio 0: nothing could be measured.
    """
    n = min(len(a), len(b))
    span = min(n, round(SPAN_S * sample_rate))
    if span < 64:
        return Delay(0, 0.0)
    start = _loudest(np.asarray(a[:n]), span)
    x = np.asarray(a[start : start + span], np.float64)
    y = np.asarray(b[start : start + span], np.float64)
    if not x.any() or not y.any():
        return Delay(0, 0.0)
    window = np.hanning(span)
    size = next_fast_len(2 * span, real=True)
    cross = np.conj(np.fft.rfft(x * window, size)) * np.fft.rfft(y * window, size)
    magnitude = np.abs(cross)
    # Whitening lifts bins that hold nothing but rounding noise, above the takes' own bandwidth: leave those
    # out.
    cross = np.where(magnitude > 1e-8 * magnitude.max(), cross / np.maximum(magnitude, 1e-300), 0.0)
    correlation = np.fft.irfft(cross, size)
    reach = min(max_lag, span - 1)
    lags = np.arange(-reach, reach + 1)
    near = correlation[lags]  # negative lags sit at the end of the circle
    best = int(np.argmax(near))
    others = np.abs(np.delete(near, np.s_[max(0, best - _NEIGHBOURHOOD) : best + _NEIGHBOURHOOD + 1]))
    second = float(others.max(initial=0.0))
    return Delay(int(lags[best]), float(near[best]) / second if second > 0 else float("inf"))


def _loudest(x: np.ndarray, span: int) -> int:
    """Return where the ``span`` samples with the most energy start, to a thousandth of a span."""
    step = max(1, span // 1000)
    block = step * max(1, (1 << 20) // step)
    energy = [np.zeros(1)]  # per step, in blocks: an hour of squares would not fit beside what else is open
    for start in range(0, len(x), block):
        squares = np.square(x[start : start + block], dtype=np.float64)
        energy.append(np.add.reduceat(squares, np.arange(0, len(squares), step)))
    total = np.cumsum(np.concatenate(energy))
    width = span // step
    return min(int(np.argmax(total[width:] - total[:-width])) * step, len(x) - span)
