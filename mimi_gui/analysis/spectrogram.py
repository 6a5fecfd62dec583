"""Spectrograms in tiles: a view asks for the tiles it shows, and each costs the same however long the
recording.

A tile is uint8 ``[F, N]``: F rows from low to high frequency, N columns. Level 0 has one column per hop;
level L one per ``2**L`` hops, so that an hour fits a screen. 0 dB is a full-scale sine. Pure functions; any
thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy.fft
import scipy.signal

from mimi_gui.analysis.distances import hz_to_mel, mel_to_hz

Scale = Literal["linear", "log", "mel"]

TILE_COLUMNS = 256
WINDOWS = ("hann", "hamming", "blackmanharris", "boxcar")
_LOOKS_PER_COLUMN = 4  # STFT columns looked at for one column of a coarse level
_CHUNK_SAMPLES = 1 << 16  # transformed at once
_SILENCE = 1e-15  # power: -150 dB
_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class SpectrogramSettings:
    """How to draw. Edges are clamped rather than refused, so no setting can crash a view.

    Attributes:
        window_samples: FFT and window length, a power of two from 64 to 16384.
        hop_samples: between columns of level 0.
        window: one of :data:`WINDOWS`.
        scale: of the frequency axis.
        num_rows: rows of the log and mel scales; the linear one has a row per bin.
        min_hz: lower edge of the log scale.
        floor_db, ceiling_db: the dB that become 0 and 255.
    """

    window_samples: int = 1024
    hop_samples: int = 240
    window: str = "hann"
    scale: Scale = "mel"
    num_rows: int = 256
    min_hz: float = 40.0
    floor_db: float = -100.0
    ceiling_db: float = -10.0

    def __post_init__(self) -> None:
        size = 2 ** int(np.clip(round(np.log2(max(self.window_samples, 1))), 6, 14))
        floor = float(np.clip(self.floor_db, -150, 20))
        clean = {
            "window_samples": size,
            "hop_samples": int(np.clip(self.hop_samples, 1, size)),
            "window": self.window if self.window in WINDOWS else "hann",
            "scale": self.scale if self.scale in ("linear", "log", "mel") else "mel",
            "num_rows": int(np.clip(self.num_rows, 16, 4096)),
            "min_hz": float(np.clip(self.min_hz, 1, 1000)),
            "floor_db": floor,
            "ceiling_db": max(float(np.clip(self.ceiling_db, -150, 60)), floor + 1),
        }
        for name, value in clean.items():
            object.__setattr__(self, name, value)


def num_columns(num_samples: int, settings: SpectrogramSettings, level: int = 0) -> int:
    """Columns of a recording at ``level``; column c begins at sample ``c * hop * 2**level``."""
    return -(-num_samples // (settings.hop_samples << level))


def num_tiles(num_samples: int, settings: SpectrogramSettings, level: int = 0) -> int:
    """Tiles of :data:`TILE_COLUMNS` columns; the last may be narrower."""
    return -(-num_columns(num_samples, settings, level) // TILE_COLUMNS)


def tile_span_s(sample_rate: int, settings: SpectrogramSettings, index: int, level: int = 0) -> tuple[float, float]:
    """(start, end) in seconds of a whole tile: where the view puts its left and right edge.

    At level 0 a column is centred on its sample, so its picture begins half a hop earlier.
    """
    step = settings.hop_samples << level
    lead = settings.hop_samples / 2
    return (
        (index * TILE_COLUMNS * step - lead) / sample_rate,
        ((index + 1) * TILE_COLUMNS * step - lead) / sample_rate,
    )


def row_edges(sample_rate: int, settings: SpectrogramSettings) -> np.ndarray:
    """Frequencies of the F + 1 edges of the rows, float64 Hz ``[F + 1]``, rising."""
    half = sample_rate / 2
    if settings.scale == "linear":
        bins = settings.window_samples // 2 + 1
        return (np.arange(bins + 1) - 0.5) * sample_rate / settings.window_samples
    if settings.scale == "log":
        return np.geomspace(min(settings.min_hz, half / 2), half, settings.num_rows + 1)
    return mel_to_hz(np.linspace(0, hz_to_mel(half), settings.num_rows + 1))


def row_of(hz: float, sample_rate: int, settings: SpectrogramSettings) -> float:
    """The position of a frequency in rows (0 = lower edge of the lowest); the inverse of :func:`hz_of`."""
    edges = row_edges(sample_rate, settings)
    return float(np.interp(hz, edges, np.arange(len(edges))))


def hz_of(row: float, sample_rate: int, settings: SpectrogramSettings) -> float:
    """The frequency at a position in rows."""
    edges = row_edges(sample_rate, settings)
    return float(np.interp(row, np.arange(len(edges)), edges))


def power_columns(samples: np.ndarray, starts: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    """Power at columns centred on the samples ``starts``: float32 ``[bins, N]``, 1.0 for a full-scale sine.

    Outside the recording there is silence.
    """
    return _loudest_power(samples, np.asarray(starts)[:, None], settings)


def _loudest_power(samples: np.ndarray, looks: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    """The loudest of the looks centred on the samples ``looks``, integer [N, looks], as :func:`power_columns`.

    A few at a time: what is worked on stays in the processor's cache, and a window that draws gets its turn.
    """
    size = settings.window_samples
    window = _window(settings.window, size)
    power = np.zeros((size // 2 + 1, len(looks)), np.float32)
    num = max(_CHUNK_SAMPLES // (size * max(looks.shape[1], 1)), 1)
    for begin in range(0, len(looks), num):
        some = looks[begin : begin + num]
        stretches = _stretches(samples, some.ravel() - size // 2, size)
        stretches *= window
        spectrum = np.asarray(scipy.fft.rfft(stretches, axis=1, overwrite_x=True))
        squares = np.square(np.real(spectrum)) + np.square(np.imag(spectrum))
        squares = squares.reshape(*some.shape, -1)
        loudest = squares[:, 0]
        for look in range(1, some.shape[1]):
            loudest = np.maximum(loudest, squares[:, look])
        power[:, begin : begin + num] = loudest.T
    return power


def _stretches(samples: np.ndarray, firsts: np.ndarray, size: int) -> np.ndarray:
    """``size`` samples from each of ``firsts`` on, float32 [N, size]; silence outside of the recording."""
    inside = (firsts >= 0) & (firsts + size <= len(samples))
    if inside.all() and samples.dtype == np.float32:
        return np.lib.stride_tricks.sliding_window_view(samples, size)[firsts]
    return np.stack([_padded(samples, int(first), int(first) + size) for first in firsts])


def tile_db(
    samples: np.ndarray, sample_rate: int, settings: SpectrogramSettings, index: int, level: int = 0
) -> np.ndarray:
    """One tile in dB, float32 ``[F, N]``; columns past the end are not there.

    A row wider than an FFT bin shows its loudest bin; a narrower one is interpolated. At coarse levels a
    column shows the loudest of four looks spread over its time.

    Raises:
        IndexError: no such tile.
    """
    if not 0 <= index < num_tiles(len(samples), settings, level):
        raise IndexError(f"tile {index} of {num_tiles(len(samples), settings, level)} at level {level}")
    first = index * TILE_COLUMNS
    columns = np.arange(first, min(first + TILE_COLUMNS, num_columns(len(samples), settings, level)))
    looks = min(_LOOKS_PER_COLUMN, 1 << level)
    step = settings.hop_samples << level
    power = _loudest_power(samples, columns[:, None] * step + np.arange(looks) * (step // looks), settings)
    if settings.scale != "linear":
        power = _rows(power, sample_rate, settings)
    return 10 * np.log10(np.maximum(power, _SILENCE))


def columns(samples: np.ndarray, starts: np.ndarray, sample_rate: int, settings: SpectrogramSettings) -> np.ndarray:
    """Columns centred on the samples ``starts`` (rising), as a tile's: uint8 ``[F, N]``."""
    power = power_columns(samples, starts, settings)
    if settings.scale != "linear":
        power = _rows(power, sample_rate, settings)
    return _levels(10 * np.log10(np.maximum(power, _SILENCE)), settings)


def tile(
    samples: np.ndarray, sample_rate: int, settings: SpectrogramSettings, index: int, level: int = 0
) -> np.ndarray:
    """One tile as uint8 ``[F, N]``: ``floor_db`` is 0, ``ceiling_db`` is 255. Raises as :func:`tile_db`."""
    return _levels(tile_db(samples, sample_rate, settings, index, level), settings)


def _levels(db: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    span = settings.ceiling_db - settings.floor_db
    return np.rint(np.clip((db - settings.floor_db) * (255 / span), 0, 255)).astype(np.uint8)


def difference_tile(
    reference: np.ndarray,
    reconstruction: np.ndarray,
    sample_rate: int,
    settings: SpectrogramSettings,
    index: int,
    level: int = 0,
    *,
    range_db: float = 30.0,
) -> np.ndarray:
    """Reconstruction minus reference in dB as uint8 ``[F, N]``: 128 equal, 1 = ``-range_db``, 255 =
    ``+range_db``.

    Both are floored at ``floor_db`` first, so what neither shows differs by nothing. Raises as
    :func:`tile_db`.
    """
    a = np.maximum(tile_db(reference, sample_rate, settings, index, level), settings.floor_db)
    b = np.maximum(tile_db(reconstruction, sample_rate, settings, index, level), settings.floor_db)
    return np.rint(128 + np.clip((b - a) * (127 / max(range_db, 1.0)), -127, 127)).astype(np.uint8)


def level_for(seconds_per_pixel: float, sample_rate: int, settings: SpectrogramSettings) -> int:
    """The coarsest level that still gives each pixel a column."""
    columns = seconds_per_pixel * sample_rate / settings.hop_samples
    return max(0, int(np.floor(np.log2(columns)))) if columns > 1 else 0


def read_db(
    samples: np.ndarray, sample_rate: int, settings: SpectrogramSettings, time_s: float, frequency_hz: float
) -> float:
    """The level in dB at a time and a frequency, for the read-out under the pointer: the nearest FFT bin."""
    power = power_columns(samples, np.array([round(time_s * sample_rate)]), settings)
    row = int(np.clip(round(frequency_hz * settings.window_samples / sample_rate), 0, len(power) - 1))
    return 10 * float(np.log10(max(float(power[row, 0]), _SILENCE)))


def note_name(frequency_hz: float) -> str:
    """The nearest note of equal temperament (A4 = 440 Hz) and the cents off it: ``"A4"``, ``"C#5 -12
    cents"``.
    """
    if not np.isfinite(frequency_hz) or frequency_hz < 8:
        return ""
    midi = 69 + 12 * np.log2(frequency_hz / 440)
    nearest = round(midi)
    cents = round(100 * (midi - nearest))
    name = f"{_NOTES[nearest % 12]}{nearest // 12 - 1}"
    return name if cents == 0 else f"{name} {cents:+d} cents"


@lru_cache(maxsize=16)
def _window(name: str, size: int) -> np.ndarray:
    window = np.asarray(scipy.signal.get_window(name, size))
    return (window * (2 / window.sum())).astype(np.float32)


def _padded(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    inside = np.asarray(samples[max(first, 0) : max(min(last, len(samples)), 0)], dtype=np.float32)
    left = min(max(-first, 0), last - first)
    return np.pad(inside, (left, last - first - left - len(inside)))


@lru_cache(maxsize=16)
def _row_plan(sample_rate: int, settings: SpectrogramSettings) -> tuple[np.ndarray, ...]:
    """Where each row looks: (bin under its centre, weight of the bin above, first bin, bins inside)."""
    edges = row_edges(sample_rate, settings) * settings.window_samples / sample_rate  # in bins
    top = settings.window_samples // 2
    centre = np.clip((edges[:-1] + edges[1:]) / 2, 0, top)
    under = np.minimum(centre.astype(np.int64), top - 1)
    weight = (centre - under).astype(np.float32)[:, None]
    first = np.clip(np.ceil(edges[:-1]), 0, top).astype(np.int64)
    inside = np.clip(np.ceil(edges[1:]), 0, top + 1).astype(np.int64) - first
    return under, weight, first, inside


def _rows(power: np.ndarray, sample_rate: int, settings: SpectrogramSettings) -> np.ndarray:
    under, weight, first, inside = _row_plan(sample_rate, settings)
    rows = power[under] * (1 - weight) + power[under + 1] * weight
    some = inside >= 1
    rows[some] = np.maximum(rows, np.maximum.reduceat(power, first, axis=0))[some]
    return rows
