"""Loudness against the standard's own test signals, and gains against a fresh measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from scipy import signal

from mimi_gui.analysis import loudness
from mimi_gui.analysis.loudness import (
    CEILING_DBTP,
    TOLERANCE_LU,
    columns,
    integrated_loudness,
    matching_gains,
    true_peak_db,
)
from mimi_gui.errors import Cancelled

rng = np.random.default_rng(5)


def tone(seconds: float, rate: int, dbfs: float, hz: float = 997.0) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)


@pytest.mark.parametrize("rate", [24000, 44100, 48000])
def test_ebu_tech_3341(rate: int) -> None:
    """A stereo 1 kHz tone at -23 dBFS per channel reads -23 LUFS; one channel alone 3 dB less."""
    x = tone(20, rate, -23.0, 1000.0)
    assert integrated_loudness(np.stack([x, x], 1), rate) == pytest.approx(-23.0, abs=0.1)
    assert integrated_loudness(x, rate) == pytest.approx(-26.0, abs=0.1)


def test_the_gates() -> None:
    """EBU Tech 3341 case 3: quiet ends do not count; nor does digital silence."""
    rate = 48000
    middle, ends = tone(60, rate, -23.0, 1000.0), tone(10, rate, -36.0, 1000.0)
    stereo = np.repeat(np.concatenate([ends, middle, ends])[:, None], 2, axis=1)
    assert integrated_loudness(stereo, rate) == pytest.approx(-23.0, abs=0.1)
    padded = np.concatenate([np.zeros(5 * rate), tone(5, rate, -20.0), np.zeros(5 * rate)])
    assert integrated_loudness(padded, rate) == pytest.approx(integrated_loudness(tone(5, rate, -20.0), rate), abs=0.4)


@pytest.mark.parametrize("rate", [22050, 24000, 48000])
def test_another_meter_agrees(rate: int, noisy_speech: Path) -> None:
    x, _ = soundfile.read(noisy_speech)  # the rate is a label here: any signal will do
    for y in (x, columns(x)[:, 0], columns(x)[: 3 * rate]):
        expected = pyloudnorm.Meter(rate).integrated_loudness(y)
        assert integrated_loudness(y, rate) == pytest.approx(expected, abs=0.02)


def test_short_spans_are_ungated() -> None:
    rate = 24000
    long, short = tone(5, rate, -20.0), tone(0.3, rate, -20.0)
    assert integrated_loudness(short, rate) == pytest.approx(integrated_loudness(long, rate), abs=0.3)
    assert np.isfinite(integrated_loudness(tone(0.4, rate, -20.0), rate))
    assert np.isfinite(integrated_loudness(np.array([0.5]), rate))


@pytest.mark.parametrize("level", [0.0, 1e-9, 1e-6])
def test_silence_has_no_loudness(level: float) -> None:
    assert integrated_loudness(np.full(48000, level) * rng.choice([-1, 1], 48000), 48000) == float("-inf")
    assert integrated_loudness(np.zeros(0), 48000) == float("-inf")


def test_true_peak_sees_between_the_samples() -> None:
    """A quarter-rate sine sampled at 45 degrees: samples at -3 dB, the wave itself at 0 dBTP."""
    for rate in (24000, 44100, 48000):
        x = np.sin(np.pi / 2 * np.arange(rate) + np.pi / 4)
        x *= np.minimum(1, np.arange(rate) / 2000) * np.minimum(1, np.arange(rate)[::-1] / 2000)
        assert 20 * np.log10(np.abs(x).max()) == pytest.approx(-3.01, abs=0.01)
        assert true_peak_db(x, rate) == pytest.approx(0.0, abs=0.2)
    assert true_peak_db(np.zeros(100), 48000) == float("-inf")


def test_true_peak_in_blocks_is_the_whole_s() -> None:
    for shape in (np.linspace(0.01, 1, 200_000), np.linspace(1, 0.01, 200_000), np.ones(200_000)):
        x = rng.standard_normal(200_000) * shape
        x[12_345:12_365] = 3.2 * (-1.0) ** (np.arange(20) // 2)  # rises far above its samples
        whole = 20 * np.log10(np.abs(signal.resample_poly(x, 4, 1)).max())
        assert true_peak_db(x, 48000) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(("a_db", "b_db"), [(0.0, -7.3), (-7.3, 0.0), (0.0, 0.0), (-30.0, -12.0)])
def test_gains_match_speech(a_db: float, b_db: float, speech: Path) -> None:
    x, rate = soundfile.read(speech)
    x = x / np.abs(x).max()
    a, b = x * 10 ** (a_db / 20), (x + 0.01 * rng.standard_normal(len(x))) * 10 ** (b_db / 20)
    match = matching_gains(a, b, rate)
    gain_a, gain_b = match[:2]
    assert max(gain_a, gain_b) <= 0
    a, b = a * 10 ** (gain_a / 20), b * 10 ** (gain_b / 20)
    meter = pyloudnorm.Meter(rate)
    assert abs(meter.integrated_loudness(a) - meter.integrated_loudness(b)) <= TOLERANCE_LU
    assert max(true_peak_db(a, rate), true_peak_db(b, rate)) <= CEILING_DBTP + 1e-6
    assert match.reason == ""
    quiet = max(true_peak_db(a / 10 ** (gain_a / 20), rate), true_peak_db(b / 10 ** (gain_b / 20), rate)) < -1
    if quiet:
        assert max(gain_a, gain_b) == 0  # nothing is attenuated without need


def test_silent_takes_are_left_alone_with_a_reason() -> None:
    x = tone(1, 24000, -10.0)
    match = matching_gains(x, np.zeros(24000), 24000)
    assert match[:2] == (0.0, 0.0)
    assert "B is silent" in match.reason
    assert "A and B are silent" in matching_gains(np.zeros(10), np.zeros(0), 24000).reason


def test_one_channel_beside_two_is_heard_from_both() -> None:
    x = tone(2, 48000, -20.0)
    match = matching_gains(np.stack([x, x], 1), x, 48000)
    assert match[:2] == (0.0, 0.0)


def test_one_loudspeaker_gets_the_mean_of_two_channels() -> None:
    """What the two channels do not share is heard of a device with one channel only in part."""
    rate = 48000
    left, right = 0.3 * rng.standard_normal((2, 2 * rate))
    a, b = np.stack([left, right], 1), 0.2 * rng.standard_normal(2 * rate)
    match = matching_gains(a, b, rate, num_channels=1)
    meter = pyloudnorm.Meter(rate)
    heard_a, heard_b = (left + right) / 2 * 10 ** (match.gain_a_db / 20), b * 10 ** (match.gain_b_db / 20)
    assert meter.integrated_loudness(heard_a) == pytest.approx(meter.integrated_loudness(heard_b), abs=TOLERANCE_LU)
    assert max(true_peak_db(heard_a, rate), true_peak_db(heard_b, rate)) == pytest.approx(CEILING_DBTP, abs=1e-6)
    opposite = matching_gains(np.stack([left, -left], 1), b, rate, num_channels=1)
    assert "A is silent" in opposite.reason


@pytest.mark.parametrize("calls", [0, 1, 3, 6, 12])
def test_measuring_can_be_given_up(calls: int) -> None:
    x = rng.standard_normal(400_000)
    polled = 0

    def cancel() -> bool:
        nonlocal polled
        polled += 1
        return polled > calls

    with pytest.raises(Cancelled):
        matching_gains(x, x, 48000, cancel=cancel)
    assert polled == calls + 1


@pytest.mark.parametrize("rate", [11_025, 24_000])
def test_blocks_of_filtering_do_not_show(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).standard_normal(rate * 7) * np.linspace(0.001, 0.3, rate * 7)
    whole = loudness.integrated_loudness(samples, rate)
    monkeypatch.setattr(loudness, "_FILTER_BLOCK", 997)
    assert loudness.integrated_loudness(samples, rate) == pytest.approx(whole, abs=1e-9)
