"""What a listening test plays: the same span of several signals at the card's rate, in step and equally loud.

Level, delay and resampling are done once, before the first trial, on all signals alike; while the test runs
nothing is computed, so that nothing can give a cue. Pure functions; any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from mimi_gui.analysis import loudness
from mimi_gui.analysis.alignment import Delay, measure_delay
from mimi_gui.analysis.journal import sha256_of
from mimi_gui.analysis.ratings import ANCHOR, anchor
from mimi_gui.errors import Cancelled

MIN_SPAN_S = 0.5
_MARGIN_S = 0.1  # so that the resampler knows what comes before and after
_DELAY_WINDOW_S = 30.0  # to each side of the span's middle
_DELAY_RATE = 24000


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal: ``samples`` float32 [T] or [T, C] at ``sample_rate``; 0 codebooks where it has none.

    ``offset`` is where in the recording ``samples`` begins, in samples: what comes before was not decoded.
    """

    name: str
    samples: np.ndarray
    sample_rate: int
    num_codebooks: int = 0
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Stimulus:
    """The span of one signal as it is played.

    Attributes:
        samples: float32 [N, C] at the card's rate, with ``gain_db`` in it.
        loudness: LUFS before the gain, -inf for silence; ``true_peak_db`` dBTP before the gain.
        delay: measured against the reference at 24 kHz; ``is_corrected`` whether it was taken out.
        sha256: of ``samples``.
    """

    name: str
    samples: np.ndarray
    num_codebooks: int
    gain_db: float
    loudness: float
    true_peak_db: float
    delay: Delay
    is_corrected: bool
    sha256: str

    def as_dict(self) -> dict[str, object]:
        """For the log, JSON-able."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "num_codebooks": self.num_codebooks,
            "channels": self.samples.shape[1],
            "gain_db": round(self.gain_db, 3),
            "loudness_lufs": None if math.isinf(self.loudness) else round(self.loudness, 3),
            "lag_samples": self.delay.lag_samples,
            "lag_corrected": self.is_corrected,
        }


@dataclass(frozen=True, eq=False)
class Stimuli:
    """All that a test plays; the first is the reference. ``reason`` says why levels could not be matched."""

    all: tuple[Stimulus, ...]
    sample_rate: int
    span_s: tuple[float, float]
    is_matched: bool
    reason: str = ""

    @property
    def num_samples(self) -> int:
        """Length of each, at the card's rate."""
        return len(self.all[0].samples)

    @property
    def largest_difference_lu(self) -> float:
        """Between the loudest and the quietest as played, without the anchor; 0 where any is silent."""
        levels = [one.loudness + one.gain_db for one in self.all if one.name != ANCHOR]
        return 0.0 if any(map(math.isinf, levels)) else max(levels) - min(levels)


def prepare(
    signals: Sequence[Signal],
    span_s: tuple[float, float],
    sample_rate: int,
    *,
    match: bool = True,
    with_anchor: bool = False,
    is_mono: bool = False,
    cancel: Callable[[], bool] | None = None,
) -> Stimuli:
    """Cut, align, resample and level ``signals`` (the first is the reference) for a card of ``sample_rate`` Hz.

    Args:
        span_s: start and end in seconds of the reference, at least 0.5 s apart.
        match: play all equally loud (BS.1770 over the span), only by attenuating, peaks at most -1 dBTP.
        with_anchor: add the 3.5 kHz anchor, made from the reference and at its level, as the last one.
        is_mono: the device has one channel, which gets the mean of two; so it is that which is levelled and hashed.
        cancel: polled between signals.

    Raises:
        ValueError: no signal, or a span that is too short or begins before 0.
        Cancelled: ``cancel()`` was true.
    """
    start_s, end_s = span_s
    if not signals or start_s < 0 or end_s - start_s < MIN_SPAN_S - 1e-9:
        raise ValueError(f"{len(signals)} signals over {start_s:.3f} to {end_s:.3f} s: expected one or more, 0.5 s")
    num_samples = round((end_s - start_s) * sample_rate)
    reference = _for_delay(signals[0], span_s)
    cuts, delays = [], []
    for i, signal in enumerate(signals):
        if cancel is not None and cancel():
            raise Cancelled
        delay = Delay(0, 0.0) if i == 0 else measure_delay(reference, _for_delay(signal, span_s), _DELAY_RATE)
        shift_s = delay.lag_samples / _DELAY_RATE if delay.is_correctable else 0.0
        piece = cut(signal, start_s, num_samples, sample_rate, shift_s)
        cuts.append(piece.mean(axis=1, keepdims=True) if is_mono else piece)
        delays.append(delay)
    names = [signal.name for signal in signals]
    counts = [signal.num_codebooks for signal in signals]
    levels, peaks = _measured(cuts, sample_rate)
    gains, reason = level_gains(levels, peaks, names) if match else ([0.0] * len(cuts), "")
    if with_anchor:
        cuts.append(np.stack([anchor(column, sample_rate) for column in cuts[0].T], axis=1))
        more_levels, more_peaks = _measured(cuts, sample_rate, only_last=True)
        levels, peaks, gains = [*levels, *more_levels], [*peaks, *more_peaks], [*gains, gains[0]]
        names, counts, delays = [*names, ANCHOR], [*counts, 0], [*delays, Delay(0, 0.0)]
    found = []
    for i, samples in enumerate(cuts):
        played = np.ascontiguousarray(samples * np.float32(10 ** (gains[i] / 20)), dtype=np.float32)
        corrected = delays[i].is_correctable and delays[i].lag_samples != 0
        found.append(
            Stimulus(
                names[i], played, counts[i], gains[i], levels[i], peaks[i], delays[i], corrected, sha256_of(played)
            )
        )
    return Stimuli(tuple(found), sample_rate, (start_s, end_s), match and not reason, reason)


def level_gains(levels: Sequence[float], peaks: Sequence[float], names: Sequence[str]) -> tuple[list[float], str]:
    """Gains in dB (never positive) after which all are as loud as the quietest and peak at -1 dBTP at most.

    Args:
        levels: LUFS, -inf for silence. peaks: dBTP.

    Returns:
        The gains, and why they are 0 if they must be ("" otherwise).
    """
    silent = [name for name, level in zip(names, levels, strict=True) if math.isinf(level)]
    if silent:
        verb = "is" if len(silent) == 1 else "are"
        return [0.0] * len(levels), f"{' and '.join(silent)} {verb} silent here: there is no loudness to match"
    quietest = min(levels)
    gains = [quietest - level for level in levels]
    excess = max(0.0, *(p + g - loudness.CEILING_DBTP for p, g in zip(peaks, gains, strict=True)))
    return [gain - excess for gain in gains], ""


def cut(signal: Signal, start_s: float, num_samples: int, sample_rate: int, shift_s: float = 0.0) -> np.ndarray:
    """``num_samples`` of ``signal`` from ``start_s + shift_s`` on, resampled to ``sample_rate``: float32 [N, C].

    On the same grid as the whole signal resampled would be: the piece begins where a sample of both rates
    coincides. Zeros where the signal has ended, or has not begun.
    """
    columns = signal.samples if signal.samples.ndim == 2 else signal.samples[:, None]
    if columns.shape[1] > 2:
        columns = columns.mean(axis=1, dtype=np.float32)[:, None]
    rate = signal.sample_rate
    period = rate // math.gcd(rate, sample_rate)
    # Where the shift is whole samples at the signal's own rate it is exact there; else at the card's, to half a one.
    shift, late = round(shift_s * rate), 0
    if abs(shift - shift_s * rate) > 1e-6:
        shift, late = 0, round(shift_s * sample_rate)
    first = math.floor((start_s - _MARGIN_S) * rate / period) * period  # of this signal, before the shift
    last = math.ceil((start_s + num_samples / sample_rate + _MARGIN_S) * rate)
    piece = np.zeros((last - first, columns.shape[1]), np.float32)
    low, high = max(first + shift, signal.offset), min(last + shift, signal.offset + len(columns))
    if high > low:
        piece[low - first - shift : high - first - shift] = columns[low - signal.offset : high - signal.offset]
    if rate != sample_rate:
        piece = soxr.resample(piece, rate, sample_rate, quality="HQ")
    begin = round(start_s * sample_rate) - first // period * (sample_rate * period // rate)
    return piece[begin + late : begin + late + num_samples]


def _measured(
    cuts: Sequence[np.ndarray], sample_rate: int, *, only_last: bool = False
) -> tuple[list[float], list[float]]:
    """(LUFS, dBTP) of each; one channel beside two is measured as it is heard: from both loudspeakers."""
    widest = max(one.shape[1] for one in cuts)
    chosen = cuts[-1:] if only_last else cuts
    wide = [np.repeat(one, widest, axis=1) if one.shape[1] < widest else one for one in chosen]
    levels = [loudness.integrated_loudness(one, sample_rate) for one in wide]
    return levels, [loudness.true_peak_db(one, sample_rate) for one in chosen]


def _for_delay(signal: Signal, span_s: tuple[float, float]) -> np.ndarray:
    """Up to a minute around the span, mono at 24 kHz: what the delay is measured on."""
    middle = sum(span_s) / 2
    start_s = max(0.0, math.floor(middle - _DELAY_WINDOW_S))
    length = (signal.offset + signal.samples.shape[0]) / signal.sample_rate
    end_s = min(length, middle + _DELAY_WINDOW_S)
    num_samples = max(round((end_s - start_s) * _DELAY_RATE), 0)
    return cut(signal, start_s, num_samples, _DELAY_RATE).mean(axis=1)
