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
from importlib.util import find_spec

import numpy as np
import soxr

from mimi_gui.analysis import scorer
from mimi_gui.analysis.distances import Cancel, NoValue, check_cancel

STOI_RATE = 10_000
PESQ_RATE = 16_000
VISQOL_RATE = 16_000

_STOI_FRAMES = 30  # pystoi's shortest segment, in columns of 256 samples every 128
_STOI_PIECE_S = 60.0
_PESQ_PIECE_S = 30.0
_VISQOL_PIECE_S = 60.0
_PIECES_PER_CHILD = 10
_SILENT_PIECE = 1e-3  # of the recording's peak: 60 dB under it


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
            value = float(pystoi.stoi(x.astype(np.float64), y.astype(np.float64), STOI_RATE, extended=extended))
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


def pesq_wb(reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, *, cancel: Cancel = None) -> float:
    """PESQ wide band (P.862.2), MOS-LQO about 1 to 4.64.

    Raises:
        NoValue: the package is missing, no utterance found, shorter than 0.25 s.
    """
    _need("pesq", "pesq", " (it is built with a C compiler)")
    a, b = resample_pair(reference, reconstruction, sample_rate, PESQ_RATE)
    return _mean_in_child("pesq", a, b, PESQ_RATE, _PESQ_PIECE_S, cancel)


def visqol_speech(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, *, cancel: Cancel = None
) -> float:
    """ViSQOL in speech mode at 16 kHz, MOS-LQO 1 to 5.

    Raises:
        NoValue: the package is missing, or the recording is too short or silent.
    """
    _need("visqol", "visqol-python[lattice]")
    # Without its lattice the package falls back to a mapping that reads one to two MOS too high on bad speech.
    _need("ai_edge_litert", "visqol-python[lattice]")
    a, b = resample_pair(reference, reconstruction, sample_rate, VISQOL_RATE)
    if len(a) < VISQOL_RATE:
        raise NoValue("too short: ViSQOL needs at least 1 s")
    return _mean_in_child("visqol", a, b, VISQOL_RATE, _VISQOL_PIECE_S, cancel)


def _need(module: str, install: str, remark: str = "") -> None:
    if find_spec(module) is None:
        raise NoValue(f'not installed: pip install "{install}"{remark}')


def _mean_in_child(
    model: scorer.Model, a: np.ndarray, b: np.ndarray, rate: int, piece_s: float, cancel: Cancel
) -> float:
    """As :func:`_mean_over_pieces`, a few pieces at a time in a process of their own."""
    if not np.any(a) or not np.any(b):
        raise NoValue("one of the two is silent")
    spans = list(_loud_pieces(a, int(piece_s * rate)))
    total, weight, reason = 0.0, 0, ""
    for first in range(0, len(spans), _PIECES_PER_CHILD):
        check_cancel(cancel)
        batch = [(i, j) for i, j in spans[first : first + _PIECES_PER_CHILD] if np.any(b[i:j])]
        answers = scorer.scores(model, rate, [(a[i:j], b[i:j]) for i, j in batch], cancel) if batch else []
        for (i, j), answer in zip(batch, answers, strict=True):
            if isinstance(answer, str):
                reason = answer
                continue
            total += answer * (j - i)
            weight += j - i
    if weight == 0:
        raise NoValue(reason or "one of the two is silent")
    return total / weight


def _pieces(total: int, longest: int) -> Iterator[tuple[int, int]]:
    """Cut ``total`` samples into equal pieces of at most ``longest``."""
    count = max(1, -(-total // longest))
    for i in range(count):
        yield total * i // count, total * (i + 1) // count


def _loud_pieces(samples: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """The pieces that are not silence: a model would scale up the resampler's last breath and score that."""
    floor = float(np.abs(samples).max(initial=0.0)) * _SILENT_PIECE
    for start, stop in _pieces(len(samples), longest):
        if float(np.abs(samples[start:stop]).max(initial=0.0)) >= floor:
            yield start, stop


def _mean_over_pieces(
    a: np.ndarray,
    b: np.ndarray,
    longest: int,
    score: Callable[[np.ndarray, np.ndarray], float],
    cancel: Cancel,
) -> float:
    """Mean of ``score`` over the pieces that have one, weighted by length; the last reason when none has."""
    total, weight, reason = 0.0, 0, "the recording is empty"
    for start, stop in _loud_pieces(a, longest):
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
