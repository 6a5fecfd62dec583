"""Golden values come from other people's code, run once on `pair()` (float32, seed 1920):

SI-SDR: torchmetrics 1.9.0 scale_invariant_signal_distortion_ratio in float64. STFT: auraloss 0.4.0 STFTLoss
with its default settings, one resolution at a time. Log-mel: librosa 0.11.0 melspectrogram(power=1,
norm=None) / 512.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from mimi_gui.analysis.distances import (
    NoValue,
    hz_to_mel,
    log_mel_distance,
    log_spectral_distance,
    mel_to_hz,
    multi_resolution_stft,
    si_sdr,
)
from mimi_gui.errors import Cancelled


def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1920)
    t = np.arange(72_000) / 24_000
    s = 0.3 * np.sin(2 * np.pi * (110 * t + 300 * t**2)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    s += 0.05 * rng.standard_normal(len(t))
    e = 0.8 * np.tanh(1.5 * s) + 0.02 * rng.standard_normal(len(t))
    return s.astype(np.float32), e.astype(np.float32)


def test_si_sdr_is_torchmetrics() -> None:
    assert si_sdr(*pair()) == pytest.approx(18.52898569523071, abs=1e-9)


def test_si_sdr_ignores_gain() -> None:
    s, e = pair()
    assert si_sdr(s, e * 0.25) == pytest.approx(si_sdr(s, e), abs=1e-9)


def test_si_sdr_of_a_known_mixture() -> None:
    t = np.arange(2400) / 24_000
    s, n = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 200 * t)  # orthogonal over whole periods
    assert si_sdr(s, s + 0.1 * n) == pytest.approx(20.0, abs=1e-6)


@pytest.mark.parametrize(
    ("reference", "reconstruction", "word"),
    [
        (np.zeros(100), np.ones(100), "reference is silent"),
        (np.ones(100), np.zeros(100), "reconstruction is silent"),
        (np.ones(100), np.full(100, 0.5), "identical"),
        (np.tile([1.0, 1.0], 50), np.tile([1.0, -1.0], 50), "nothing in common"),
    ],
)
def test_si_sdr_says_why_not(reference: np.ndarray, reconstruction: np.ndarray, word: str) -> None:
    with pytest.raises(NoValue, match=word):
        si_sdr(reference.astype(np.float32), reconstruction.astype(np.float32))


def test_multi_resolution_stft_is_auraloss() -> None:
    convergence, log_magnitude = multi_resolution_stft(*pair())
    assert convergence == pytest.approx(0.18318934241930643, abs=2e-6)
    assert log_magnitude == pytest.approx(0.33876823385556537, abs=2e-6)


def test_log_mel_is_librosa() -> None:
    assert log_mel_distance(*pair(), 24_000) == pytest.approx(0.2153568, abs=1e-6)


def test_log_mel_of_a_gain_is_the_gain() -> None:
    s, _ = pair()
    assert log_mel_distance(s, s * 0.5, 24_000) == pytest.approx(np.log(2), abs=1e-5)


def test_mel_scale_goes_there_and_back() -> None:
    hz = np.array([0.0, 440, 1000, 6400, 12_000])
    np.testing.assert_allclose(hz_to_mel(hz)[2:4], [15, 42], atol=1e-12)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-9)


def test_lsd_against_scipy() -> None:
    s, e = pair()
    s[30_000:50_000] = 0  # silence must be left out

    def spectrum(x: np.ndarray) -> np.ndarray:
        x = np.pad(x.astype(np.float64), 1024, mode="reflect")
        window = scipy.signal.get_window("hann", 2048)
        return np.abs(scipy.signal.stft(x, window=window, nperseg=2048, noverlap=1536, boundary=None, padded=False)[2])

    a, b = spectrum(s), spectrum(e)
    floor = a.max() * 1e-4
    energy = (a**2).sum(axis=0)
    loud = energy >= energy.max() * 1e-6
    ratio = 20 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))[:, loud]
    value, share = log_spectral_distance(s, e)
    assert value == pytest.approx(np.mean(np.sqrt(np.mean(ratio**2, axis=0))), abs=1e-3)
    assert share == pytest.approx(loud.mean())
    assert share < 0.8


def test_identical_signals_are_no_distance_apart() -> None:
    s, _ = pair()
    assert log_mel_distance(s, s, 24_000) == 0
    assert multi_resolution_stft(s, s) == (0, 0)
    assert log_spectral_distance(s, s)[0] == 0


def test_a_silent_reference_has_no_spectral_convergence() -> None:
    zeros = np.zeros(5000, dtype=np.float32)
    for distance in (multi_resolution_stft, log_spectral_distance):
        with pytest.raises(NoValue, match="silent"):
            distance(zeros, zeros + 0.1)


@pytest.mark.parametrize("length", [1, 2, 100, 1025])
def test_very_short_recordings_have_numbers(length: int) -> None:
    s, e = (x[:length] for x in pair())
    assert np.isfinite(log_mel_distance(s, e, 24_000))
    assert np.isfinite(multi_resolution_stft(s, e)).all()
    assert np.isfinite(log_spectral_distance(s, e)[0])


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    s, e = pair()
    whole = multi_resolution_stft(s, e), log_mel_distance(s, e, 24_000)
    monkeypatch.setattr("mimi_gui.analysis.distances._BLOCK_SAMPLES", 5000)
    np.testing.assert_allclose(multi_resolution_stft(s, e), whole[0], rtol=1e-6)
    assert log_mel_distance(s, e, 24_000) == pytest.approx(whole[1], rel=1e-6)


def test_cancel_is_heard() -> None:
    s, e = pair()
    with pytest.raises(Cancelled):
        log_mel_distance(s, e, 24_000, cancel=lambda: True)
