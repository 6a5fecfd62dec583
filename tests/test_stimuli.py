"""Oracles: the whole file resampled by soxr, pyloudnorm, and shifts that are put in by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pyloudnorm
import pytest
import soxr

from mimi_gui.analysis.ratings import ANCHOR
from mimi_gui.analysis.stimuli import Signal, cut, level_gains, prepare
from mimi_gui.errors import Cancelled

rng = np.random.default_rng(3)


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Band-limited noise that survives a change of rate, float32 [T] or [T, C]."""
    white = rng.normal(0, 0.1, (round(seconds * rate), channels))
    smooth = (white[2:] + 2 * white[1:-1] + white[:-2]) / 4
    return (smooth[:, 0] if channels == 1 else smooth).astype(np.float32)


@pytest.mark.parametrize(("rate", "target"), [(24000, 48000), (22050, 48000), (44100, 48000), (24000, 44100)])
@pytest.mark.parametrize("start_s", [0.0, 0.731, 1.9])
def test_a_cut_is_a_piece_of_the_whole_resampled(rate: int, target: int, start_s: float) -> None:
    x = noise(3.0, rate)
    whole = soxr.resample(x, rate, target, quality="HQ")
    begin, n = round(start_s * target), round(0.6 * target)
    piece = cut(Signal("x", x, rate), start_s, n, target)
    assert piece.shape == (n, 1)
    edge = 0 if start_s else 16  # soxr treats the beginning of a file unlike the silence before it
    np.testing.assert_allclose(piece[edge:, 0], whole[begin + edge : begin + n], atol=1e-4)


def test_a_cut_at_its_own_rate_is_bit_exact_and_zero_beyond() -> None:
    x = noise(1.0, 48000, 2)
    piece = cut(Signal("x", x, 48000), 0.9, 48000, 48000)
    np.testing.assert_array_equal(piece[: len(x) - 43200], x[43200:])
    assert not piece[len(x) - 43200 :].any()


def test_all_are_equally_loud_and_none_is_louder_than_before() -> None:
    rate = 48000
    x = np.clip(noise(4.0, rate), -1, 1)
    signals = [Signal("a", x, rate), Signal("b", 2.5 * x, rate), Signal("c", 0.3 * noise(4.0, rate), rate)]
    found = prepare(signals, (0.5, 3.5), rate)
    meter = pyloudnorm.Meter(rate)
    levels = [meter.integrated_loudness(one.samples.astype(float)) for one in found.all]
    assert max(levels) - min(levels) < 0.1
    assert found.largest_difference_lu == pytest.approx(0, abs=1e-6)
    assert all(one.gain_db <= 0 for one in found.all)
    assert found.all[2].gain_db == pytest.approx(0, abs=1e-9)
    for one in found.all:
        digest = hashlib.sha256(one.samples.astype("<f4").tobytes()).hexdigest()
        assert one.sha256 == f"sha256:{digest}"
    loud = prepare([Signal("a", x, rate), Signal("b", 2.5 * x, rate)], (0.5, 3.5), rate, match=False)
    assert [one.gain_db for one in loud.all] == [0, 0]
    assert not loud.is_matched
    np.testing.assert_array_equal(loud.all[1].samples[:, 0], (2.5 * x)[24000:168000])


def test_gains_never_lift_and_keep_the_peak_under_the_ceiling() -> None:
    gains, reason = level_gains([-20.0, -23.0], [2.0, -3.0], ["a", "b"])
    assert not reason
    assert gains[0] - gains[1] == pytest.approx(-3.0)
    assert max(gains) <= 0
    assert max(2.0 + gains[0], -3.0 + gains[1]) <= -1.0 + 1e-9
    gains, reason = level_gains([-20.0, float("-inf")], [0.0, float("-inf")], ["a", "b"])
    assert gains == [0, 0]
    assert reason.startswith("b is silent")


@pytest.mark.parametrize("lag", [0, 7, -31, 400])
def test_the_delay_is_told_and_a_small_one_taken_out(lag: int) -> None:
    x = noise(6.0, 24000)
    late = np.roll(x, lag)
    found = prepare([Signal("a", x, 24000), Signal("b", late, 24000)], (2.0, 3.0), 48000)
    b = found.all[1]
    assert b.delay.lag_samples == lag
    assert b.is_corrected == (0 < abs(lag) <= 48)
    same = np.allclose(found.all[0].samples, b.samples, atol=1e-5)
    assert same == (abs(lag) <= 48)


def test_the_original_in_stereo_beside_what_mimi_heard() -> None:
    native = noise(5.0, 44100, 2)
    heard = soxr.resample(native.mean(axis=1), 44100, 24000, quality="HQ")
    found = prepare([Signal("file", native, 44100), Signal("heard", heard, 24000)], (1.0, 3.0), 48000)
    assert [one.samples.shape for one in found.all] == [(96000, 2), (96000, 1)]
    assert found.all[1].delay.lag_samples == 0
    levels = [
        pyloudnorm.Meter(48000).integrated_loudness(np.broadcast_to(one.samples, (96000, 2)).astype(float))
        for one in found.all
    ]
    assert abs(levels[0] - levels[1]) < 0.1


def test_one_loudspeaker_is_levelled_as_it_sounds() -> None:
    """A device with one channel gets the mean of two: that is cut, levelled and hashed."""
    native = noise(5.0, 44100, 2)  # its channels are not alike: together they lose 3 dB
    heard = soxr.resample(native[:, 0], 44100, 24000, quality="HQ")
    found = prepare([Signal("file", native, 44100), Signal("heard", heard, 24000)], (1.0, 3.0), 16000, is_mono=True)
    assert [one.samples.shape for one in found.all] == [(32000, 1), (32000, 1)]
    mean = soxr.resample(native.mean(axis=1), 44100, 16000, quality="HQ")[16000:48000]
    gain = np.float32(10 ** (found.all[0].gain_db / 20))
    np.testing.assert_allclose(found.all[0].samples[:, 0], mean * gain, atol=1e-4)
    meter = pyloudnorm.Meter(16000)
    levels = [meter.integrated_loudness(one.samples.astype(float)) for one in found.all]
    assert levels[0] == pytest.approx(levels[1], abs=0.1)


def test_the_anchor_has_nothing_above_and_the_reference_s_level() -> None:
    x = noise(3.0, 48000)
    found = prepare([Signal("a", x, 48000), Signal("b", 0.5 * x, 48000)], (0.0, 2.0), 48000, with_anchor=True)
    low = found.all[-1]
    assert low.name == ANCHOR
    assert low.gain_db == found.all[0].gain_db
    power = np.abs(np.fft.rfft(low.samples[:, 0] * np.hanning(96000))) ** 2
    hz = np.fft.rfftfreq(96000, 1 / 48000)
    assert power[hz > 4500].sum() < 1e-4 * power.sum()
    assert found.largest_difference_lu == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_prepared() -> None:
    x = Signal("a", noise(2.0, 24000), 24000)
    for bad in ([], [x]):
        with pytest.raises(ValueError, match="expected"):
            prepare(bad, (0.0, 0.4) if bad else (0.0, 1.0), 48000)
    with pytest.raises(Cancelled):
        prepare([x, x], (0.0, 1.0), 48000, cancel=lambda: True)


def test_a_part_of_a_signal_stands_where_it_belongs() -> None:
    x = noise(6.0, 24000)
    whole, part = Signal("a", x, 24000), Signal("b", x[30000:], 24000, 8, 30000)
    found = prepare([whole, part], (2.0, 3.0), 48000)
    assert found.all[1].delay.lag_samples == 0
    np.testing.assert_allclose(found.all[0].samples, found.all[1].samples, atol=1e-5)
