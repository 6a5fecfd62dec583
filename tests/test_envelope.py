"""The outline against brute force over the samples."""

from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.analysis.envelope import BLOCK_SAMPLES, Envelope, EnvelopeBuilder

RATE = 24_000


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32) * 0.2


@pytest.mark.parametrize("columns", [7, 300, 1300])
@pytest.mark.parametrize("span", [(0.0, 10.0), (1.23, 1.9), (3.0, 3.2), (9.5, 11.0), (-1.0, 2.0)])
def test_columns_bound_their_samples(columns: int, span: tuple[float, float]) -> None:
    samples = noise(10 * RATE + 17)
    start, end = span
    t, lo, hi = Envelope.from_samples(samples, RATE).visible(start, end, columns)
    step = (end - start) / columns
    slack = max(1, int(step * RATE / 2))  # a straddling block belongs to both sides: at most half a column
    assert len(t) > 0
    for time, low, high in zip(t, lo, hi, strict=True):
        first = max(int(np.floor(time * RATE + 1e-6)), 0)
        last = min(max(int(np.floor((time + step) * RATE + 1e-6)), first + 1), len(samples))
        inside = samples[first:last]
        around = samples[max(first - slack, 0) : last + slack + 1]
        assert low <= inside.min()
        assert high >= inside.max()
        assert low >= around.min()
        assert high <= around.max()


def test_a_single_click_survives_every_zoom() -> None:
    samples = np.zeros(RATE * 600, np.float32)
    samples[7_654_321] = 0.9
    envelope = Envelope.from_samples(samples, RATE)
    for columns in (10, 100, 1000, 4000):
        assert envelope.visible(0, 600, columns)[2].max() == np.float32(0.9)


def test_sample_zoom_returns_the_samples_themselves() -> None:
    samples = noise(RATE)
    t, lo, hi = Envelope.from_samples(samples, RATE).visible(0.5, 0.501, 1300)
    assert lo is hi
    np.testing.assert_array_equal(lo, samples[12_000:12_025])
    np.testing.assert_allclose(t, np.arange(12_000, 12_025) / RATE)


def test_neighbouring_columns_touch() -> None:
    """A steep ramp drawn at two samples per column has no gap between one column and the next."""
    samples = np.linspace(-1, 1, 2000, dtype=np.float32)
    _, lo, hi = Envelope.from_samples(samples, RATE).visible(0, 2000 / RATE, 1000)
    assert np.all(hi[:-1] >= lo[1:])


def test_nothing_to_see_is_empty() -> None:
    envelope = Envelope.from_samples(noise(RATE), RATE)
    for span in ((2.0, 3.0), (-3.0, -2.0), (0.5, 0.5)):
        assert all(len(part) == 0 for part in envelope.visible(*span, 100))
    assert all(len(part) == 0 for part in EnvelopeBuilder(RATE).envelope.visible(0, 1, 100))


@pytest.mark.parametrize("length", [1, BLOCK_SAMPLES - 1, BLOCK_SAMPLES, BLOCK_SAMPLES * 4 + 1, 100_003])
@pytest.mark.parametrize("piece", [29, 63, 1920, 50_000])
def test_growing_equals_whole(length: int, piece: int) -> None:
    samples = noise(length)
    builder = EnvelopeBuilder(RATE)
    for start in range(0, length, piece):
        builder.append(samples[start : start + piece])
        seen = builder.envelope.visible(0, length / RATE, 3)
        assert seen[2].max() >= samples[: start + piece].max()
    whole = Envelope.from_samples(samples, RATE)
    assert builder.envelope.num_samples == length
    assert builder.envelope.peak == whole.peak == np.abs(samples).max()
    for columns in (1, 50, 1000):
        for grown, at_once in zip(
            builder.envelope.visible(0, length / RATE, columns),
            whole.visible(0, length / RATE, columns),
            strict=True,
        ):
            np.testing.assert_array_equal(grown, at_once)


def test_following_a_given_array_copies_nothing() -> None:
    store = np.zeros(RATE, np.float32)
    builder = EnvelopeBuilder(RATE, samples=store)
    store[:1000] = noise(1000)
    builder.advance(1000)
    assert np.shares_memory(builder.envelope.visible(0, 10 / RATE, 100)[1], store)
    with pytest.raises(ValueError, match="advance"):
        builder.append(noise(10))


def test_the_value_under_the_pointer() -> None:
    samples = noise(RATE)
    envelope = Envelope.from_samples(samples, RATE)
    assert envelope.sample_at(0.25) == samples[6000]
    assert envelope.sample_at(1.5) is None
    assert envelope.sample_at(-0.1) is None
