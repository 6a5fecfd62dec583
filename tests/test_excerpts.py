"""Spans in a row against a loop that plays them one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.analysis.excerpts import Excerpts


def slowly(samples: np.ndarray, spans: list[tuple[int, int]], gap: int) -> tuple[np.ndarray, list[int], list[int]]:
    """The row without fades; for each of its samples where it comes from, and out of which span."""
    row, source, place = [], [], []
    for i, (start, stop) in enumerate(spans):
        row += list(samples[start:stop])
        source += list(range(start, stop))
        place += [i] * (stop - start)
        if i < len(spans) - 1:
            row += [0.0] * gap
            source += [stop] * gap
            place += [i] * gap
    return np.array(row, np.float32), source, place


def test_a_row_is_its_spans_with_silence_between() -> None:
    samples = np.random.default_rng(0).normal(size=500).astype(np.float32)
    spans = [(10, 60), (300, 333), (300, 301), (460, 500)]
    excerpts = Excerpts(tuple(spans), gap_samples=7)
    row, source, place = slowly(samples, spans, 7)
    np.testing.assert_array_equal(excerpts.joined(samples), row)
    assert excerpts.num_samples == len(row)
    assert [excerpts.source_sample(i) for i in range(len(row))] == source
    assert [excerpts.place(i) for i in range(len(row))] == place
    assert excerpts.source_sample(10**6) == 500
    assert excerpts.place(-1) == 0


def test_every_span_fades_so_that_nothing_clicks() -> None:
    excerpts = Excerpts(((0, 100), (200, 206)), gap_samples=10, fade_samples=20)
    row = excerpts.joined(np.ones(300, np.float32))
    first, second = row[:100], row[110:116]
    np.testing.assert_array_equal(row[100:110], 0)
    for part, fade in ((first, 20), (second, 3)):
        assert part[0] < 0.02
        np.testing.assert_allclose(part, part[::-1], atol=1e-6)
        assert (np.diff(part[:fade]) > 0).all()
    np.testing.assert_array_equal(first[20:80], 1)


def test_the_same_spans_at_another_rate_stay_in_step() -> None:
    """No rounding adds up: every part begins where it begins in the row at the first rate, to a sample."""
    rng, scale = np.random.default_rng(2), 44_100 / 24_000
    starts = np.sort(rng.integers(0, 90_000, 40))
    spans = tuple((int(start), int(start) + int(rng.integers(500, 900))) for start in starts)
    excerpts = Excerpts(spans, gap_samples=301, fade_samples=12)
    t = np.arange(200_000)
    other = excerpts.joined(np.stack([np.cos(t / 900), np.ones(200_000)], axis=1), scale)
    assert other.shape == (round(excerpts.num_samples * scale), 2)
    row = excerpts.joined(np.ones(100_000, np.float32))
    slow = np.interp(np.arange(len(row)) * scale, np.arange(len(other)), other[:, 1])
    assert np.mean(np.abs(slow - row)) < 0.002  # of 40 parts, each with two slopes
    middle = [excerpts._starts[i] + 250 for i in range(40)]
    for at, (start, _) in zip(middle, spans, strict=True):
        assert other[round(at * scale), 0] == pytest.approx(np.cos((start + 250) * scale / 900), abs=2 / 900)


def test_context_stops_at_the_ends_and_the_row_at_its_longest() -> None:
    grid = {"frame_size": 10, "num_samples": 995, "sample_rate": 100}
    excerpts = Excerpts.of_frames([(0, 1), (50, 53), (98, 100)], context_frames=2, **grid)
    assert excerpts.spans == ((0, 30), (480, 550), (960, 995))
    assert Excerpts.of_frames([(i, i + 1) for i in range(100)], most_s=1.0, **grid).spans == tuple(
        (10 * i, 10 * i + 10)
        for i in range(4)  # each takes 0.1 s and a gap of 0.15 s
    )
    assert len(Excerpts.of_frames([(0, 90), (95, 96)], most_s=1.0, **grid).spans) == 1
    assert Excerpts.of_frames([], **grid).num_samples == 0
    assert len(Excerpts.of_frames([], **grid).joined(np.zeros(5, np.float32))) == 0


def test_what_is_not_there_is_silence() -> None:
    excerpts = Excerpts(((0, 4), (8, 12)))
    np.testing.assert_array_equal(excerpts.joined(np.ones(10, np.float32)), [1, 1, 1, 1, 1, 1, 0, 0])


@pytest.mark.parametrize("seed", range(5))
def test_every_sample_of_the_row_knows_its_source(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 900, 6)
    spans = tuple((int(start), int(start) + int(rng.integers(1, 80))) for start in starts)
    samples = np.arange(1000, dtype=np.float32)
    excerpts = Excerpts(spans, gap_samples=5)
    row = excerpts.joined(samples)
    _, source, _ = slowly(samples, list(spans), 5)
    heard = row != 0
    np.testing.assert_array_equal(row[heard], np.array(source, np.float32)[heard])
