from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mimi_gui.analysis.error_strip import STRIP_METRICS, ErrorStrip, error_strip, worst_moments

FRAME = 1920


@pytest.fixture
def source() -> np.ndarray:
    return (0.1 * np.random.default_rng(5).standard_normal(FRAME * 50 + 700)).astype(np.float32)


@pytest.mark.parametrize("metric", STRIP_METRICS)
def test_the_damaged_frame_is_found(source: np.ndarray, metric: str) -> None:
    damaged = source.copy()
    damaged[FRAME * 20 : FRAME * 21] *= -0.1
    strip = error_strip(source, damaged, 24_000, FRAME, metric)
    assert strip.values.shape == (51,)
    assert strip.values.argmax() == 20
    assert strip.frame_s == 0.08
    quiet = np.delete(strip.values, [19, 20, 21])
    assert quiet.max() <= (0 if metric != "noise" else -50)


def test_a_gain_is_measured_exactly(source: np.ndarray) -> None:
    """Halving is ln 2 nepers in each band and 6.02 dB in each bin; the difference is a quarter of the energy."""
    half = source * 0.5
    np.testing.assert_allclose(error_strip(source, half, 24_000, FRAME).values, np.log(2), atol=1e-4)
    np.testing.assert_allclose(error_strip(source, half, 24_000, FRAME, "lsd").values, 6.0206, atol=0.05)
    np.testing.assert_allclose(error_strip(source, half, 24_000, FRAME, "noise").values, -6.0206, atol=1e-4)


def test_noise_in_a_pause_does_not_drown_speech(source: np.ndarray) -> None:
    source = source.copy()
    source[FRAME * 30 : FRAME * 40] = 0  # the noise is 63 dB under the rest
    noisy = source + 7e-5 * np.random.default_rng(1).standard_normal(len(source)).astype(np.float32)
    assert error_strip(source, noisy, 24_000, FRAME).values.max() < 0.05


@pytest.mark.parametrize("length", [0, 1, 1919, 1920, 1921])
@pytest.mark.parametrize("metric", STRIP_METRICS)
def test_lengths(source: np.ndarray, length: int, metric: str) -> None:
    strip = error_strip(source[:length], source[:length], 24_000, FRAME, metric)
    assert len(strip.values) == -(-length // FRAME)
    assert np.isfinite(strip.values).all()


def test_refusals(source: np.ndarray) -> None:
    with pytest.raises(ValueError, match="equal"):
        error_strip(source, source[:-1], 24_000, FRAME)
    with pytest.raises(ValueError, match="not an error strip"):
        error_strip(source, source, 24_000, FRAME, "beauty")


def strip_of(values: list[float]) -> ErrorStrip:
    return ErrorStrip("log_mel", "", "Np", np.array(values, dtype=np.float32), 0.08)


def test_worst_moments_do_not_overlap() -> None:
    values = np.random.default_rng(2).random(500)
    values[100:104] = [5, 9, 8, 7]
    moments = worst_moments(strip_of(list(values)), 10)
    assert moments[0].frame == 101
    assert [m.value for m in moments] == sorted((m.value for m in moments), reverse=True)
    assert len(moments) == 10
    spans = sorted((m.start_s, m.end_s) for m in moments)
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))
    assert all(m.end_s - m.start_s == pytest.approx(0.64) for m in moments)
    assert all(m.start_s <= m.frame * 0.08 < m.end_s for m in moments)


def test_worst_moments_at_the_ends_and_on_short_strips() -> None:
    assert worst_moments(strip_of([])) == []
    only = worst_moments(strip_of([1.0, 3.0, 2.0]))
    assert len(only) == 1
    assert (only[0].frame, only[0].start_s) == (1, 0)
    first = worst_moments(strip_of([9.0] + [0.0] * 30), 1)[0]
    assert first.start_s == 0
    last = worst_moments(strip_of([0.0] * 30 + [9.0]), 1)[0]
    assert last.end_s == pytest.approx(31 * 0.08)
