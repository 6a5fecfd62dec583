"""Models of what a listener would say: STOI and ESTOI, and PESQ-WB and ViSQOL where they are installed.

Both signals are resampled by the same resampler (soxr HQ) to the rate that a model was made for. Long
recordings are scored in pieces, each weighted by its length, so that memory stays flat and a cancel is heard
between pieces. Inputs are float32 ``[T]`` of equal length. Every function raises
:class:`~mimi_gui.analysis.distances.NoValue` where the model gives no number, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import soxr

from mimi_gui.analysis.distances import Cancel, NoValue, check_cancel

STOI_RATE = 10_000
PESQ_RATE = 16_000
VISQOL_RATE = 16_000

_STOI_FRAMES = 30  # pystoi's shortest segment, in columns of 256 samples every 128
_STOI_PIECE_S = 60.0
_PESQ_PIECE_S = 30.0
_VISQOL_PIECE_S = 60.0


def resample_pair(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both at ``rate`` through one resampler with the same settings, float32."""
    if sample_rate == rate:
        return reference, reconstruction
    return (
        np.asarray(soxr.resample(reference, sample_rate, rate, quality="HQ"), dtype=np.float32),
        np.asarray(soxr.resample(reconstruction, sample_rate, rate, quality="HQ"), dtype=np.float32),
    )


def stoi(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, *, extended: bool = False,
    cancel: Cancel = None,
) -> float:  # fmt: skip
    """Short-time objective intelligibility, 0 to 1; ``extended`` is ESTOI.

    Raises:
        NoValue: silence, or less than about 0.4 s that is not silence (pystoi would say 1e-5).
    """
    pystoi = import_module("pystoi")
    a, b = resample_pair(reference, reconstruction, sample_rate, STOI_RATE)

    def score(x: np.ndarray, y: np.ndarray) -> float:
        if _active_columns(x) < _STOI_FRAMES:
            raise NoValue("too short: STOI needs about 0.4 s that are not silence")
        if not y.any():
            raise NoValue("the reconstruction is silent")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = float(
                pystoi.stoi(x.astype(np.float64), y.astype(np.float64), STOI_RATE, extended=extended)
            )
        if any("Not enough STFT frames" in str(w.message) for w in caught):
            raise NoValue("too short: STOI needs about 0.4 s that are not silence")
        return value

    return _mean_over_pieces(a, b, int(_STOI_PIECE_S * STOI_RATE), score, cancel)


def _active_columns(samples: np.ndarray) -> int:
    """Columns that pystoi keeps: within 40 dB of the loudest."""
    if len(samples) < 256 + 128:
        return 0
    columns = np.lib.stride_tricks.sliding_window_view(samples, 256)[::128]
    energies = np.sqrt(np.einsum("ij,ij->i", columns, columns, dtype=np.float64))
    if energies.max() == 0:
        raise NoValue("the reference is silent")
    return int(np.sum(energies > energies.max() * 0.01)) - 1  # overlap-add and cutting again lose one


def pesq_wb(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, *, cancel: Cancel = None
) -> float:
    """PESQ wide band (P.862.2), MOS-LQO about 1 to 4.64.

    Raises:
        NoValue: the package is missing, no utterance found, shorter than 0.25 s.
    """
    package = _extra("pesq", "pesq", "it is built with a C compiler")
    a, b = resample_pair(reference, reconstruction, sample_rate, PESQ_RATE)
    if not np.any(a) or not np.any(b):
        raise NoValue("one of the two is silent")

    def score(x: np.ndarray, y: np.ndarray) -> float:
        if not x.any() or not y.any():
            raise NoValue("one of the two is silent")
        try:
            return float(package.pesq(PESQ_RATE, x, y, "wb"))
        except package.NoUtterancesError:
            raise NoValue("PESQ found no utterance: it is made for speech") from None
        except package.BufferTooShortError:
            raise NoValue("too short: PESQ needs at least 0.25 s") from None
        except package.PesqError as error:
            raise NoValue(f"PESQ could not score this: {error}") from None

    return _mean_over_pieces(a, b, int(_PESQ_PIECE_S * PESQ_RATE), score, cancel)


def visqol_speech(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, *, cancel: Cancel = None
) -> float:
    """ViSQOL in speech mode at 16 kHz, MOS-LQO 1 to 5.

    Raises:
        NoValue: the package is missing, or the recording is too short or silent.
    """
    package = _extra("visqol", "visqol-python[lattice]")
    a, b = resample_pair(reference, reconstruction, sample_rate, VISQOL_RATE)
    if not np.any(a) or not np.any(b):
        raise NoValue("one of the two is silent")
    # Without its lattice the package falls back to a mapping that reads one to two MOS too high on bad
    # speech.
    try:
        import_module("ai_edge_litert")
    except ImportError:
        raise NoValue(
            'ViSQOL lacks its speech model: install it with pip install "visqol-python[lattice]"'
        ) from None
    api = package.VisqolApi()
    api.create(mode="speech")

    def score(x: np.ndarray, y: np.ndarray) -> float:
        if len(x) < VISQOL_RATE:
            raise NoValue("too short: ViSQOL needs at least 1 s")
        try:
            result = api.measure_from_arrays(x.astype(np.float64), y.astype(np.float64), VISQOL_RATE)
        except (ValueError, RuntimeError) as error:
            raise NoValue(f"ViSQOL could not score this: {error}") from None
        return float(result.moslqo)

    return _mean_over_pieces(a, b, int(_VISQOL_PIECE_S * VISQOL_RATE), score, cancel)


def _extra(module: str, install: str, remark: str = "") -> Any:
    try:
        return import_module(module)
    except ImportError:
        tail = f" ({remark})" if remark else ""
        raise NoValue(f'not installed: pip install "{install}"{tail}') from None


def _pieces(total: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut ``total`` samples into equal pieces of at most ``longest``."""
    count = max(1, -(-total // longest))
    for i in range(count):
        yield total * i // count, total * (i + 1) // count


def _mean_over_pieces(
    a: np.ndarray,
    b: np.ndarray,
    longest: int,
    score: Callable[[np.ndarray, np.ndarray], float],
    cancel: Cancel,
) -> float:
    """Mean of ``score`` over the pieces that have one, weighted by length; the last reason when none has."""
    total, weight, reason = 0.0, 0, "the recording is empty"
    for start, stop in _pieces(len(a), longest):
        check_cancel(cancel)
        try:
            value = score(np.ascontiguousarray(a[start:stop]), np.ascontiguousarray(b[start:stop]))
        except NoValue as why:
            reason = str(why)
            continue
        total += value * (stop - start)
        weight += stop - start
    if weight == 0:
        raise NoValue(reason)
    return total / weight
