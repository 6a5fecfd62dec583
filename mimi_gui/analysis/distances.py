"""How far apart two waveforms are: the distances that numpy alone can measure.

Everything works in blocks of columns, so an hour of audio needs a few megabytes and a cancel is heard within
a fraction of a second. All inputs are float32 ``[T]`` of equal length; all functions are pure and may run on
any thread. A distance that has no value raises :class:`NoValue` with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import scipy.fft

from mimi_gui.errors import Cancelled

Cancel = Callable[[], bool] | None

LOG_MEL_FFT = 1024
LOG_MEL_HOP = 256
LOG_MEL_BANDS = 80
LOG_MEL_FLOOR = 1e-5  # -100 dB full scale: under the noise of 16 bits
MULTI_RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # n_fft, hop, window in samples
LSD_FFT = 2048
LSD_HOP = 512
LSD_RANGE_DB = 80.0
LSD_MASK_DB = 60.0

_BLOCK_SAMPLES = 1 << 20  # of windowed columns held at a time


class NoValue(Exception):
    """A number that cannot be had; ``str()`` is the reason, for a person."""


def check_cancel(cancel: Cancel) -> None:
    """Raise :class:`~mimi_gui.errors.Cancelled` when ``cancel()`` says so."""
    if cancel is not None and cancel():
        raise Cancelled


@lru_cache(maxsize=32)
def hann(length: int, padded: int | None = None) -> np.ndarray:
    """A periodic Hann window, float32 ``[padded]``, centred in zeros where ``padded`` is longer than
    ``length``.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    spare = (padded or length) - length
    out = np.pad(window, (spare // 2, spare - spare // 2)).astype(np.float32)
    out.flags.writeable = False
    return out


@lru_cache(maxsize=16)
def mel_filters(sample_rate: int, n_fft: int, num_bands: int) -> np.ndarray:
    """Triangles of height 1 on the Slaney mel scale from 0 to half the sample rate, float32 ``[B, n_fft//2 +
    1]``.
    """
    edges = mel_to_hz(np.linspace(0.0, hz_to_mel(sample_rate / 2), num_bands + 2))
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters.flags.writeable = False
    return filters


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's scale: linear to 1 kHz (15 mel), 27 steps per factor 6.4 above."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """The inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def magnitudes(
    samples: np.ndarray, n_fft: int, hop: int, window: np.ndarray, cancel: Cancel = None
) -> Iterator[np.ndarray]:
    """Yield blocks of STFT magnitudes, float32 ``[columns, n_fft//2 + 1]``.

    Column ``i`` is centred at sample ``i * hop``; there are ``1 + T // hop``; the ends are mirrored
    (``center=True`` of librosa and torch).
    """
    half = n_fft // 2
    num_columns = 1 + len(samples) // hop
    per_block = max(1, _BLOCK_SAMPLES // n_fft)
    for first in range(0, num_columns, per_block):
        check_cancel(cancel)
        last = min(first + per_block, num_columns)
        stretch = _mirrored(samples, first * hop - half, (last - 1) * hop + half)
        columns = np.lib.stride_tricks.sliding_window_view(stretch, n_fft)[::hop] * window
        yield np.abs(np.asarray(scipy.fft.rfft(columns, axis=1)))


def _mirrored(samples: np.ndarray, start: int, stop: int) -> np.ndarray:
    """``samples[start:stop]`` as float32, mirrored (without doubling the edge) where it reaches outside."""
    total = len(samples)
    if start >= 0 and stop <= total:
        return np.asarray(samples[start:stop], dtype=np.float32)
    if total == 1:
        return np.full(stop - start, samples[0], dtype=np.float32)
    period = 2 * (total - 1)
    index = np.abs(np.arange(start, stop)) % period
    return np.asarray(samples[np.minimum(index, period - index)], dtype=np.float32)


def si_sdr(reference: np.ndarray, reconstruction: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB: ``10 log10(|as|^2 / |as-e|^2)``, ``a = <e,s>/|s|^2``.

    Raises:
        NoValue: a silent signal, or a reconstruction that is the reference up to a gain (infinite).
    """
    energy = common = power = 0.0
    blocks = range(0, len(reference), _BLOCK_SAMPLES)
    for i in blocks:
        source, estimate = _float64(reference, i), _float64(reconstruction, i)
        energy += float(source @ source)
        common += float(source @ estimate)
        power += float(estimate @ estimate)
    if energy == 0:
        raise NoValue("the reference is silent")
    if power == 0:
        raise NoValue("the reconstruction is silent")
    gain = common / energy
    wanted = gain**2 * energy
    # Summed anew rather than as power - wanted, which loses its digits when the two are much alike.
    unwanted = sum(float(np.sum((gain * _float64(reference, i) - _float64(reconstruction, i)) ** 2)) for i in blocks)
    if unwanted <= 1e-14 * wanted:
        raise NoValue("the two are identical up to a gain: the ratio is infinite")
    if wanted <= 1e-14 * unwanted:
        raise NoValue("the two have nothing in common: the ratio is minus infinity")
    return 10 * float(np.log10(wanted / unwanted))


def _float64(samples: np.ndarray, start: int) -> np.ndarray:
    return np.asarray(samples[start : start + _BLOCK_SAMPLES], dtype=np.float64)


def log_mel_columns(
    samples: np.ndarray, sample_rate: int, hop: int = LOG_MEL_HOP, cancel: Cancel = None
) -> Iterator[np.ndarray]:
    """Yield blocks of mel band amplitudes, float32 ``[columns, 80]``; a full-scale sine is about 1."""
    filters = mel_filters(sample_rate, LOG_MEL_FFT, LOG_MEL_BANDS).T * (2 / LOG_MEL_FFT)  # Hann sums to n/2
    for block in magnitudes(samples, LOG_MEL_FFT, hop, hann(LOG_MEL_FFT), cancel):
        yield 2 * block @ filters


def log_mel_distance(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, cancel: Cancel = None
) -> float:
    """Mean absolute difference of natural logarithms of mel amplitudes, in nepers (1 Np = 8.69 dB)."""
    total, count = 0.0, 0
    pairs = zip(
        log_mel_columns(reference, sample_rate, cancel=cancel),
        log_mel_columns(reconstruction, sample_rate, cancel=cancel),
        strict=True,
    )
    for a, b in pairs:
        difference = np.log(np.maximum(a, LOG_MEL_FLOOR)) - np.log(np.maximum(b, LOG_MEL_FLOOR))
        total += float(np.abs(difference).sum(dtype=np.float64))
        count += difference.size
    return total / count


def multi_resolution_stft(
    reference: np.ndarray, reconstruction: np.ndarray, cancel: Cancel = None
) -> tuple[float, float]:
    """Return (spectral convergence, log-magnitude distance in nepers), each the mean over three resolutions.

    Settings, floor (1e-4 of amplitude) and formula are those of auraloss 0.4 and Parallel WaveGAN.

    Raises:
        NoValue: a silent reference, for which the convergence is not defined.
    """
    if not np.any(reference):
        raise NoValue("the reference is silent")
    convergences, distances = [], []
    for n_fft, hop, length in MULTI_RESOLUTIONS:
        window = hann(length, n_fft)
        error, energy, logs, count = 0.0, 0.0, 0.0, 0
        pairs = zip(
            magnitudes(reference, n_fft, hop, window, cancel),
            magnitudes(reconstruction, n_fft, hop, window, cancel),
            strict=True,
        )
        for a, b in pairs:
            a, b = np.maximum(a, 1e-4), np.maximum(b, 1e-4)
            error += float(np.sum((a - b) ** 2, dtype=np.float64))
            energy += float(np.sum(a**2, dtype=np.float64))
            logs += float(np.sum(np.abs(np.log(a / b)), dtype=np.float64))
            count += a.size
        convergences.append((error / energy) ** 0.5)
        distances.append(logs / count)
    return sum(convergences) / len(convergences), sum(distances) / len(distances)


def log_spectral_distance(
    reference: np.ndarray, reconstruction: np.ndarray, cancel: Cancel = None
) -> tuple[float, float]:
    """Return (log-spectral distance in dB, the share of columns it rests on).

    ``mean_t sqrt(mean_f (20 log10 |S|/|E|)^2)`` with both floored 80 dB under the loudest bin of the
    reference; columns of the reference more than 60 dB under its loudest column are left out, since silence
    would dominate.

    Raises:
        NoValue: a silent reference.
    """
    window = hann(LSD_FFT)
    peak, loudest = 0.0, 0.0
    for block in magnitudes(reference, LSD_FFT, LSD_HOP, window, cancel):
        peak = max(peak, float(block.max()))
        loudest = max(loudest, float((block**2).sum(axis=1).max()))
    if peak == 0:
        raise NoValue("the reference is silent")
    floor = peak * 10 ** (-LSD_RANGE_DB / 20)
    threshold = loudest * 10 ** (-LSD_MASK_DB / 10)
    total, kept, seen = 0.0, 0, 0
    pairs = zip(
        magnitudes(reference, LSD_FFT, LSD_HOP, window, cancel),
        magnitudes(reconstruction, LSD_FFT, LSD_HOP, window, cancel),
        strict=True,
    )
    for a, b in pairs:
        loud = (a**2).sum(axis=1) >= threshold
        ratio = 20 * np.log10(np.maximum(a[loud], floor) / np.maximum(b[loud], floor))
        total += float(np.sqrt(np.mean(ratio.astype(np.float64) ** 2, axis=1)).sum())
        kept += int(loud.sum())
        seen += len(loud)
    return total / kept, kept / seen
