from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.spatial
import scipy.stats

from mimi_gui.analysis import codebooks as cb


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).zipf(1.6, (4, 500)).clip(1, 64).astype(np.int16) - 1  # [K, T]


def test_entropy_is_scipys(codes: np.ndarray) -> None:
    use = cb.codebook_use(codes, 64)
    for k, row in enumerate(codes):
        counts = np.unique(row, return_counts=True)[1]
        assert use.used[k] == len(counts)
        assert use.unused[k] == 64 - len(counts)
        assert use.used_share[k] == len(counts) / 64
        assert use.entropy_bits[k] == pytest.approx(scipy.stats.entropy(counts, base=2))
        assert use.perplexity[k] == pytest.approx(np.exp(scipy.stats.entropy(counts)))
    assert use.num_frames == 500


def test_miller_madow_is_nearer_to_the_truth() -> None:
    """Uniform over 256 codes has 8 bits; 512 draws plug in to about 7.6, corrected to about 8."""
    codes = np.random.default_rng(1).integers(0, 256, (32, 512))
    use = cb.codebook_use(codes, 256)
    assert use.entropy_bits.mean() < 7.7
    assert abs(use.entropy_corrected_bits.mean() - 8) < 0.15
    assert (use.entropy_corrected_bits <= 8).all()


def test_miller_madow_is_its_formula() -> None:
    use = cb.codebook_use(np.array([[0, 0, 1, 1, 2, 2, 3, 3]]), 64)
    assert use.entropy_bits[0] == 2
    assert use.entropy_corrected_bits[0] == pytest.approx(2 + 3 / (2 * 8 * np.log(2)))


def test_one_code_only() -> None:
    use = cb.codebook_use(np.zeros((2, 10), np.int16))
    np.testing.assert_array_equal(use.entropy_bits, 0)
    np.testing.assert_array_equal(use.perplexity, 1)
    np.testing.assert_array_equal(use.unused, 2047)


def test_histograms_add_up(codes: np.ndarray) -> None:
    parts = cb.histogram(codes[:, :123], 64) + cb.histogram(codes[:, 123:], 64)
    np.testing.assert_array_equal(parts, cb.histogram(codes, 64))
    np.testing.assert_allclose(cb.use_of(parts).entropy_bits, cb.codebook_use(codes, 64).entropy_bits)


def test_refusals(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no frames"):
        cb.codebook_use(codes[:, :0], 64)
    with pytest.raises(ValueError, match="expected 0 to 7"):
        cb.histogram(codes, 8)
    with pytest.raises(ValueError, match="expected integers"):
        cb.histogram(codes.astype(float), 64)
    with pytest.raises(ValueError, match="no frame in common"):
        cb.agreement(codes, codes[:, :0])
    with pytest.raises(ValueError, match="two frames"):
        cb.mutual_information(codes[:, :1], 0, 1)


def test_agreement(codes: np.ndarray) -> None:
    other = codes.copy()
    other[1, 40] += 1
    other[1, 50] += 1
    other[3, 7] += 1
    found = cb.agreement(codes, other)
    np.testing.assert_array_equal(found.first_difference, [-1, 40, -1, 7])
    np.testing.assert_allclose(found.share, [1, 498 / 500, 1, 499 / 500])
    assert found.first_differing_frame == 7
    assert np.argwhere(~found.mask).tolist() == [[1, 40], [1, 50], [3, 7]]
    assert not found.is_equal


def test_agreement_of_unlike_shapes(codes: np.ndarray) -> None:
    found = cb.agreement(codes, codes[:2, :100])
    assert (found.extra_codebooks, found.extra_frames) == (2, 400)
    assert found.mask.shape == (2, 100)
    assert found.mask.all()
    assert found.first_differing_frame == -1
    assert not found.is_equal
    assert cb.agreement(codes, codes).is_equal


def test_occurrences_and_runs() -> None:
    codes = np.array([[5, 5, 1, 5, 2, 2, 5]])
    frames = cb.occurrences(codes, 0, 5)
    assert frames.tolist() == [0, 1, 3, 6]
    assert cb.runs(frames) == [(0, 2), (3, 4), (6, 7)]
    assert cb.runs(cb.occurrences(codes, 0, 99)) == []


def test_neighbours_are_the_kd_trees() -> None:
    centroids = np.random.default_rng(4).standard_normal((200, 16)).astype(np.float32)
    near, distances = cb.neighbours(centroids, 17, 8)
    expected_distances, expected = scipy.spatial.KDTree(centroids).query(centroids[17], 9)
    np.testing.assert_array_equal(near, expected[1:])
    np.testing.assert_allclose(distances, expected_distances[1:], rtol=1e-5)
    assert len(cb.neighbours(centroids[:3], 0, 8)[0]) == 2


def test_mutual_information() -> None:
    rng = np.random.default_rng(6)
    a = rng.integers(0, 16, 20_000)
    noisy = np.where(rng.random(20_000) < 0.5, a, rng.integers(0, 16, 20_000))
    codes = np.stack([a, noisy, rng.integers(0, 16, 20_000), np.roll(a, 1)])
    joint = np.histogram2d(a, noisy, bins=16)[0]
    expected = (
        scipy.stats.entropy(joint.sum(0), base=2)
        + scipy.stats.entropy(joint.sum(1), base=2)
        - scipy.stats.entropy(joint.ravel(), base=2)
    )
    assert cb.mutual_information(codes, 0, 1) == pytest.approx(expected, abs=0.01)
    assert cb.mutual_information(codes, 0, 2) < 0.005  # independent
    assert cb.mutual_information(codes, 0, 0) == pytest.approx(4, abs=0.01)
    assert cb.mutual_information(codes, 0, 3, lag_frames=1) == pytest.approx(4, abs=0.01)


def test_repeats() -> None:
    np.testing.assert_allclose(cb.repeat_share(np.array([[1, 1, 2, 2, 2], [1, 2, 3, 4, 5]])), [0.75, 0])
    np.testing.assert_array_equal(cb.repeat_share(np.array([[1]])), [0])


@pytest.mark.parametrize("seed", range(3))
def test_the_facts_of_a_code_are_those_of_a_counter(seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 12, (3, 60))
    for code in (0, 5, 11, 40):
        counts = Counter(codes[1].tolist())
        facts = cb.code_facts(codes, 1, code)
        assert facts.count == counts[code]
        assert facts.share == pytest.approx(counts[code] / 60)
        assert (facts.num_frames, facts.num_used) == (60, len(counts))
        better = [other for other in counts if counts[other] > counts[code]]
        assert facts.rank == (len(better) + 1 if counts[code] else None)
