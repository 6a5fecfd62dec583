"""Where it hurts: one error per frame (80 ms), and the moments that are worst.

Pure functions over float32 ``[T]`` mono signals of equal length; any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimi_gui.analysis.distances import Cancel, check_cancel, hann, log_mel_columns, magnitudes

STRIP_METRICS = {
    "log_mel": ("Log-mel distance", "Np"),
    "lsd": ("Log-spectral distance", "dB"),
    "noise": ("Noise to signal", "dB"),
}
_COLUMNS_PER_FRAME = 8
_RANGE_DB = 60.0  # what lies further under the loudest is silence to this strip
_LSD_FFT = 1024


@dataclass(frozen=True)
class ErrorStrip:
    """``values`` float32 ``[T]`` in ``unit``, one per frame of ``frame_s`` seconds; larger is worse."""

    metric: str
    name: str
    unit: str
    values: np.ndarray
    frame_s: float


@dataclass(frozen=True)
class Moment:
    """A span worth hearing: ``start_s`` to ``end_s`` around ``frame``, whose error is ``value``."""

    start_s: float
    end_s: float
    frame: int
    value: float


def error_strip(
    reference: np.ndarray,
    reconstruction: np.ndarray,
    sample_rate: int,
    frame_size: int,
    metric: str = "log_mel",
    cancel: Cancel = None,
) -> ErrorStrip:
    """One error per frame of ``frame_size`` samples; the last may be a part of a frame.

    Amplitudes are floored 60 dB under the loudest of the reference, so that noise in a pause does not drown
    what is wrong in speech. ``metric`` is a key of :data:`STRIP_METRICS`: ``log_mel`` (mean |ln| over mel
    bands), ``lsd`` (root mean square of the dB over bins) or ``noise`` (energy of the difference over that of
    the reference).

    Raises:
        ValueError: unequal lengths or an unknown metric.
        Cancelled: ``cancel()`` said so.
    """
    if reference.shape != reconstruction.shape or reference.ndim != 1:
        raise ValueError(f"shapes {reference.shape} and {reconstruction.shape}, expected two equal [T]")
    if metric not in STRIP_METRICS:
        raise ValueError(f"{metric!r} is not an error strip; expected one of {', '.join(STRIP_METRICS)}")
    num_frames = -(-len(reference) // frame_size)
    if num_frames == 0:
        values = np.zeros(0, dtype=np.float32)
    elif metric == "noise":
        values = _noise(reference, reconstruction, frame_size, num_frames, cancel)
    else:
        values = _spectral(reference, reconstruction, sample_rate, frame_size, num_frames, metric, cancel)
    values.flags.writeable = False
    return ErrorStrip(metric, *STRIP_METRICS[metric], values, frame_size / sample_rate)


def _spectral(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, frame_size: int, num_frames: int,
    metric: str, cancel: Cancel,
) -> np.ndarray:  # fmt: skip
    hop = frame_size // _COLUMNS_PER_FRAME

    def blocks(samples: np.ndarray):
        if metric == "log_mel":
            return log_mel_columns(samples, sample_rate, hop, cancel)
        return magnitudes(samples, _LSD_FFT, hop, hann(_LSD_FFT), cancel)

    loudest = max(float(block.max()) for block in blocks(reference))
    floor = max(loudest * 10 ** (-_RANGE_DB / 20), 1e-5)
    columns = []
    for a, b in zip(blocks(reference), blocks(reconstruction), strict=True):
        ratio = np.log(np.maximum(a, floor) / np.maximum(b, floor))
        if metric == "log_mel":
            columns.append(np.abs(ratio).mean(axis=1))
        else:
            columns.append(20 / np.log(10) * np.sqrt(np.mean(ratio**2, axis=1)))
    per_column = np.concatenate(columns)
    # Column i is centred at i * hop, so a frame's columns are those that begin in it.
    starts = np.arange(num_frames) * _COLUMNS_PER_FRAME
    per_column = per_column[: num_frames * _COLUMNS_PER_FRAME]
    counts = np.diff(np.append(starts, len(per_column)))
    return (np.add.reduceat(per_column, starts) / counts).astype(np.float32)


def _noise(
    reference: np.ndarray, reconstruction: np.ndarray, frame_size: int, num_frames: int, cancel: Cancel
) -> np.ndarray:
    check_cancel(cancel)
    starts = np.arange(num_frames) * frame_size
    signal = np.add.reduceat(np.square(reference, dtype=np.float64), starts)
    error = np.add.reduceat(np.square(reference.astype(np.float64) - reconstruction), starts)
    floor = max(float(signal.max()) * 10 ** (-_RANGE_DB / 10), 1e-12)
    return (10 * np.log10(np.maximum(error, floor) / np.maximum(signal, floor))).astype(np.float32)


def worst_moments(strip: ErrorStrip, n: int = 10, *, span_s: float = 0.64) -> list[Moment]:
    """The ``n`` worst spans of ``span_s`` seconds, worst first, none overlapping another.

    The peak frame lies in the middle of its span; spans are cut at the ends of the recording. Spans are long
    enough to be looped (0.5 s and more) wherever the recording is.
    """
    values = strip.values.astype(np.float64)
    width = max(1, round(span_s / strip.frame_s))
    free = np.ones(len(values), dtype=bool)
    moments: list[Moment] = []
    for frame in np.argsort(-values, kind="stable"):
        if len(moments) == n:
            break
        first = int(np.clip(frame - width // 2, 0, max(0, len(values) - width)))
        last = min(first + width, len(values))
        if not free[first:last].all():
            continue
        free[first:last] = False
        moments.append(Moment(first * strip.frame_s, last * strip.frame_s, int(frame), float(values[frame])))
    return moments
