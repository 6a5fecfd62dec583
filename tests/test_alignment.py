"""The delay of one take behind another, against delays put in by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mimi_gui.analysis.alignment import measure_delay

rng = np.random.default_rng(9)


@pytest.fixture(scope="module")
def voice(speech: Path) -> np.ndarray:
    x, rate = soundfile.read(speech, dtype="float32")
    return soxr.resample(x, rate, 24000, "HQ")


@pytest.mark.parametrize("lag", [0, 1, -1, 48, -48, 500, -1919])
def test_a_known_delay_is_found(lag: int, voice: np.ndarray) -> None:
    late = np.roll(voice, lag) * 0.7 + 0.002 * rng.standard_normal(len(voice))
    delay = measure_delay(voice, late, 24000)
    assert delay.lag_samples == lag
    assert delay.peak_ratio >= 2
    assert delay.is_correctable == (abs(lag) <= 48)


def test_a_band_limited_copy(voice: np.ndarray) -> None:
    narrow = soxr.resample(soxr.resample(voice, 24000, 8000, "HQ"), 8000, 24000, "HQ")
    assert measure_delay(voice, narrow, 24000).lag_samples == 0


def test_unrelated_takes_are_not_to_be_corrected(voice: np.ndarray) -> None:
    delay = measure_delay(voice, rng.standard_normal(len(voice)), 24000)
    assert not delay.is_correctable


@pytest.mark.parametrize("num_samples", [0, 1, 63, 64, 1000])
def test_short_and_silent_takes_measure_nothing(num_samples: int) -> None:
    delay = measure_delay(np.zeros(num_samples), np.zeros(num_samples), 24000)
    assert delay == (0, 0.0)
    noise = rng.standard_normal(num_samples)
    assert measure_delay(noise, noise, 24000).lag_samples == 0


def test_unlike_lengths(voice: np.ndarray) -> None:
    assert measure_delay(voice, voice[:-5000], 24000).lag_samples == 0
