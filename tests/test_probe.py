"""Oracle: encoders whose answer to each disturbance is known."""

from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.analysis.probe import DEFAULT_DISTURBANCES, Disturbance, probe
from mimi_gui.errors import Cancelled

FRAME = 1920


@pytest.fixture
def samples() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(FRAME * 60 + 700)).astype(np.float32)


def frames_of(samples: np.ndarray) -> np.ndarray:
    total = -(-len(samples) // FRAME)
    return np.pad(samples, (0, total * FRAME - len(samples))).reshape(total, FRAME)


def loud(samples: np.ndarray) -> np.ndarray:
    """Row 0: whether a frame is louder than 0.1 rms; row 1: always 7; row 2: the energy in fine steps."""
    rms = np.sqrt((frames_of(samples) ** 2).mean(axis=1))
    return np.stack([rms > 0.1, np.full(len(rms), 7), np.minimum(rms * 1e5, 2047)]).astype(np.int16)


def memory(samples: np.ndarray) -> np.ndarray:
    """Each token depends on its frame and the 4 before it."""
    hashed = (np.abs(frames_of(samples)).sum(axis=1) * 1000).astype(np.int64) % 2048
    padded = np.concatenate([np.full(4, -1), hashed])
    return np.lib.stride_tricks.sliding_window_view(padded, 5).sum(axis=1)[None] % 2048


def test_nothing_done_nothing_changed(samples: np.ndarray) -> None:
    for result in probe(samples, FRAME, loud, [Disturbance("shift", 0), Disturbance("gain", 0)]):
        np.testing.assert_array_equal(result.share, 1)
    assert result.num_frames == 60


def test_gain_moves_what_depends_on_level(samples: np.ndarray) -> None:
    (result,) = probe(samples, FRAME, loud, [Disturbance("gain", -40)])
    rms = np.sqrt((frames_of(samples)[:60] ** 2).mean(axis=1))
    assert result.share[0] == pytest.approx(np.mean(rms <= 0.1))
    assert result.share[1] == 1
    assert result.share[2] == 0


def test_noise_is_as_loud_as_it_says(samples: np.ndarray) -> None:
    heard: list[np.ndarray] = []

    def encode(x: np.ndarray) -> np.ndarray:
        heard.append(x)
        return loud(x)

    for _ in range(2):
        probe(samples, FRAME, encode, [Disturbance("noise", 20)])
    noise = heard[1] - heard[0]
    ratio = 10 * np.log10(np.mean(heard[0] ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(20, abs=0.1)
    np.testing.assert_array_equal(heard[1], heard[3])  # the same noise each time


@pytest.mark.parametrize("shift", [1, 500, 959, 960, 1919])
def test_a_shift_compares_the_frames_that_overlap_most(samples: np.ndarray, shift: int) -> None:
    """An encoder that answers which original frame holds the middle of its frame agrees at any shift."""
    ramp = np.arange(FRAME * 20, dtype=np.float32)

    def middle(x: np.ndarray) -> np.ndarray:
        return (frames_of(x)[:, FRAME // 2].astype(np.int64) // FRAME)[None]

    (result,) = probe(ramp, FRAME, middle, [Disturbance("shift", shift)])
    assert result.num_frames == 19
    assert result.share[0] == 1


def test_context_shows_how_far_an_encoder_looks_back(samples: np.ndarray) -> None:
    amounts = [0, 1, 3, 4, 10]
    results = probe(samples, FRAME, memory, [Disturbance("context", c) for c in amounts])
    shares = [float(r.share[0]) for r in results]
    expected = [1 - max(0, 4 - c) / 12 for c in amounts]  # the first 4 - c frames lack something
    np.testing.assert_allclose(shares, expected, atol=0.021)
    assert results[0].num_frames == 48


def test_too_little_to_compare(samples: np.ndarray) -> None:
    (result,) = probe(samples[: FRAME * 5], FRAME, loud, [Disturbance("context", 4)])
    assert result.num_frames == 0
    assert "too short" in result.reason
    (shifted,) = probe(samples[:FRAME], FRAME, loud, [Disturbance("shift", 5)])
    assert shifted.reason
    with pytest.raises(ValueError, match="at least one frame"):
        probe(samples[:100], FRAME, loud)
    with pytest.raises(ValueError, match="a shift of"):
        probe(samples, FRAME, loud, [Disturbance("shift", FRAME)])


def test_results_come_as_they_are_found_and_a_cancel_is_heard(samples: np.ndarray) -> None:
    seen: list[str] = []
    results = probe(samples, FRAME, loud, on_result=lambda r: seen.append(r.disturbance.label))
    assert len(results) == len(DEFAULT_DISTURBANCES) == len(seen)
    assert seen[0] == "shifted by 1 samples"
    assert len(set(seen)) == len(seen)
    with pytest.raises(Cancelled):
        probe(samples, FRAME, loud, cancel=lambda: True)


def test_a_real_codec(tiny_codec, samples: np.ndarray) -> None:
    """Mimi is causal: with all of its context the tokens are the same; a gain moves some."""
    chosen = [Disturbance("shift", 0), Disturbance("gain", 6), Disturbance("context", 0)]
    same, louder, cut = probe(samples, FRAME, lambda x: tiny_codec.encode(x).array, chosen)
    np.testing.assert_array_equal(same.share, 1)
    assert louder.share.mean() < 1
    assert cut.share.shape == (32,)
