from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.analysis.ladder import Ladder, Rung, climb, halving_order, knee_index
from mimi_gui.analysis.metrics import METRICS, MetricResult
from mimi_gui.codes import CodecInfo
from mimi_gui.errors import Cancelled

RATE = 24_000


@pytest.fixture
def source() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def noisy(source: np.ndarray):
    noise = np.random.default_rng(1).standard_normal(len(source)).astype(np.float32) * 0.1
    return lambda k: source + noise * np.float32(10 ** (-k / 20))  # each codebook takes one decibel of noise


def test_climb_measures_each_level(source: np.ndarray) -> None:
    seen: list[Ladder] = []
    levels = [1, 2, 4, 8]
    ladder = climb(source, RATE, noisy(source), CodecInfo().bitrate_kbps, levels, which=["si_sdr"], on_rung=seen.append)
    ks, kbps, values = ladder.curve("si_sdr")
    np.testing.assert_array_equal(ks, levels)
    np.testing.assert_allclose(kbps, [0.1375, 0.275, 0.55, 1.1])
    np.testing.assert_allclose(values, levels, atol=0.2)
    assert [len(ladder.rungs) for ladder in seen] == [1, 2, 3, 4]
    assert seen[-1] == ladder
    assert ladder.knee("si_sdr") is None  # a straight line
    assert ladder.curve("stoi")[0].size == 0


def test_reasons_are_kept(source: np.ndarray) -> None:
    ladder = climb(source[:1000], RATE, lambda k: source[:1000], lambda k: 1.0, [1, 2], which=["stoi", "si_sdr"])
    assert ladder.rungs[0].value("stoi") is None
    assert "too short" in ladder.rungs[0].results[1].reason or "too short" in ladder.rungs[0].results[0].reason
    assert ladder.knee("stoi") is None


def test_cancel(source: np.ndarray) -> None:
    asked: list[int] = []

    def decode(k: int) -> np.ndarray:
        asked.append(k)
        return source

    with pytest.raises(Cancelled):
        climb(source, RATE, decode, lambda k: 1.0, range(1, 33), cancel=lambda: len(asked) >= 1)
    assert len(asked) == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_knee_of_known_curves(sign: int) -> None:
    """1 - exp(-x/4) on 1..32 is farthest from its chord where the slopes are equal."""
    x = np.arange(1, 33)
    y = sign * (1 - np.exp(-x / 4))
    slope = (y[-1] - y[0]) / 31
    expected = -4 * np.log(4 * sign * slope)  # where the derivative equals the chord's slope
    found = knee_index(x, y)
    assert found is not None
    assert x[found] == pytest.approx(expected, abs=0.51)
    corner = np.minimum(x, 8).astype(float)
    assert x[knee_index(x, corner)] == 8


@pytest.mark.parametrize("y", [[1, 2, 3, 4], [1, 1, 1, 1], [1, 5, 5, 1], [4, 3, 2, 1]])
def test_no_knee(y: list[float]) -> None:
    assert knee_index([1, 2, 3, 4], y) is None
    assert knee_index([1, 2], [1, 9]) is None


def test_halving_order_shows_the_ends_first() -> None:
    order = halving_order(range(1, 33))
    assert order[:5] == [1, 32, 16, 8, 24]
    assert sorted(order) == list(range(1, 33))
    assert halving_order([3]) == [3]
    assert halving_order([]) == []


def test_a_rung_replaces_its_like() -> None:
    result = MetricResult(METRICS["si_sdr"], 1.0)
    better = MetricResult(METRICS["si_sdr"], 2.0)
    ladder = Ladder().with_rung(Rung(8, 1.1, (result,))).with_rung(Rung(4, 0.55, (result,)))
    ladder = ladder.with_rung(Rung(8, 1.1, (better,)))
    assert [(r.num_codebooks, r.value("si_sdr")) for r in ladder.rungs] == [(4, 1.0), (8, 2.0)]


def test_a_real_codec_climbs(tiny_codec) -> None:
    """Encoded once, decoded with fewer codebooks: the numbers are those of the prefix of the tokens."""
    from mimi_gui.analysis.metrics import measure

    source = (0.1 * np.random.default_rng(3).standard_normal(RATE * 2)).astype(np.float32)
    codes = tiny_codec.encode(source)
    ladder = climb(source, RATE, lambda k: tiny_codec.decode(codes, codebooks=k), codes.info.bitrate_kbps, [1, 8, 32])
    ks, kbps, values = ladder.curve("log_mel")
    np.testing.assert_array_equal(ks, [1, 8, 32])
    np.testing.assert_allclose(kbps, [0.1375, 1.1, 4.4])
    eight = measure(source, tiny_codec.decode(codes.first(8)), RATE, which=["log_mel"])[0].value
    assert values[1] == pytest.approx(eight, rel=1e-5)
