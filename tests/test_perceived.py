"""Oracles: pystoi and pesq called directly on the resampled signals."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mimi_gui.analysis import perceived, scorer
from mimi_gui.analysis.distances import NoValue
from mimi_gui.errors import Cancelled


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    from mimi_gui.resources import resource_path

    path: Path = resource_path("samples", "speech.wav")
    samples, rate = soundfile.read(path, dtype="float32")
    s = np.asarray(soxr.resample(samples[: 5 * rate], rate, 24_000), dtype=np.float32)
    noise = np.random.default_rng(7).standard_normal(len(s)).astype(np.float32)
    return s, s + 0.01 * noise


def test_stoi_and_estoi_are_pystoi(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from pystoi import stoi

    a, b = (soxr.resample(x, 24_000, 10_000, quality="HQ").astype(np.float64) for x in pair)
    assert perceived.stoi(*pair, 24_000) == pytest.approx(stoi(a, b, 10_000), abs=1e-6)
    assert perceived.stoi(*pair, 24_000, extended=True) == pytest.approx(stoi(a, b, 10_000, extended=True), abs=1e-6)
    assert perceived.stoi(pair[0], pair[0], 24_000) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 0.3, 0.39])
def test_short_speech_is_not_1e_5(pair: tuple[np.ndarray, np.ndarray], seconds: float) -> None:
    n = round(seconds * 24_000)
    a, b = (x[24_000 : 24_000 + n] for x in pair)
    with pytest.raises(NoValue, match=r"too short|empty"):
        perceived.stoi(a, b, 24_000)


def test_a_word_in_long_silence_is_too_short() -> None:
    s = np.zeros(72_000, dtype=np.float32)
    s[30_000:33_000] = np.sin(np.arange(3000) * 0.1)
    with pytest.raises(NoValue, match="too short"):
        perceived.stoi(s, s, 24_000)


def test_silence_has_no_score(pair: tuple[np.ndarray, np.ndarray]) -> None:
    zeros = np.zeros(48_000, dtype=np.float32)
    with pytest.raises(NoValue, match="silent"):
        perceived.stoi(zeros, zeros, 24_000)
    with pytest.raises(NoValue, match="silent"):
        perceived.stoi(pair[0], np.zeros_like(pair[0]), 24_000)


def test_long_recordings_are_scored_in_pieces(
    pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 24_000
    parts = [perceived.stoi(pair[0][i : i + n], pair[1][i : i + n], 24_000) for i in (n, 2 * n)]
    monkeypatch.setattr(perceived, "_STOI_PIECE_S", 1.0)
    both = perceived.stoi(pair[0][n : 3 * n], pair[1][n : 3 * n], 24_000)
    assert both == pytest.approx(np.mean(parts), abs=0.01)  # but for the resampler's edges
    with pytest.raises(Cancelled):
        perceived.stoi(*pair, 24_000, cancel=lambda: True)


def test_silence_has_no_pesq() -> None:
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    zeros = np.zeros(48_000, dtype=np.float32)
    with pytest.raises(NoValue, match="silent"):
        perceived.pesq_wb(zeros, zeros, 24_000)


def test_pesq_is_pesq(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pesq = pytest.importorskip("pesq", reason="optional: pip install pesq")
    a, b = (soxr.resample(x, 24_000, 16_000, quality="HQ") for x in pair)
    assert perceived.pesq_wb(*pair, 24_000) == pytest.approx(pesq.pesq(16_000, a, b, "wb"), abs=1e-6)
    # The ceiling of P.862.2's mapping: 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224)).
    ceiling = 0.999 + 4 / (1 + np.exp(-1.3669 * 4.5 + 3.8224))
    assert perceived.pesq_wb(pair[0], pair[0], 24_000) == pytest.approx(ceiling, abs=1e-3)


def test_pesq_leaves_the_lock_alone(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """In this process PESQ would hold Python's lock, and with it the window, for as long as it takes."""
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    long = [np.tile(x, 5) for x in pair]
    worker = threading.Thread(target=perceived.pesq_wb, args=(*long, 24_000))
    worker.start()
    worst, last = 0.0, time.perf_counter()
    while worker.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    assert worst < 1.0  # in process: 2 s


def test_pesq_is_cancelled_within_a_piece(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    began = time.perf_counter()
    with pytest.raises(Cancelled):
        perceived.pesq_wb(*pair, 24_000, cancel=lambda: time.perf_counter() > began + 0.05)


def test_a_crash_of_the_child_is_a_reason(pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    monkeypatch.setattr(scorer.sys, "executable", shutil.which("false"))
    with pytest.raises(NoValue, match="crashed"):
        perceived.pesq_wb(*pair, 24_000)


def test_pieces_that_are_silent_are_left_out(
    pair: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    alone = perceived.pesq_wb(*pair, 24_000)
    padded = [np.concatenate([x, np.zeros(5 * 24_000, np.float32)]) for x in pair]
    monkeypatch.setattr(perceived, "_PESQ_PIECE_S", 5.0)
    assert perceived.pesq_wb(*padded, 24_000) == pytest.approx(alone, abs=0.01)
    monkeypatch.setattr(perceived, "_STOI_PIECE_S", 5.0)
    assert perceived.stoi(*padded, 24_000) == pytest.approx(perceived.stoi(*pair, 24_000), abs=0.001)


def test_pesq_too_short(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("pesq", reason="optional: pip install pesq")
    with pytest.raises(NoValue, match="too short"):
        perceived.pesq_wb(pair[0][:4000], pair[1][:4000], 24_000)


@pytest.mark.parametrize(("module", "score"), [("pesq", perceived.pesq_wb), ("visqol", perceived.visqol_speech)])
def test_missing_extras_say_how_to_get_them(module, score, pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NoValue, match="pip install"):
        score(*pair, 24_000)
