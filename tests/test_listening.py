"""Oracles: scipy.stats, the pass marks of the literature, and simulated listeners."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from mimi_gui.analysis import listening
from mimi_gui.analysis.listening import SequentialTest


@pytest.mark.parametrize("trials", [1, 10, 16, 25, 100])
def test_p_is_scipys(trials: int) -> None:
    for correct in range(trials + 1):
        expected = scipy.stats.binomtest(correct, trials, 0.5, "greater").pvalue
        assert listening.binomial_p(correct, trials) == pytest.approx(expected, rel=1e-12)


# Golden: the table every ABX program prints.
@pytest.mark.parametrize(
    ("trials", "alpha", "mark", "p"),
    [
        (10, 0.05, 9, 0.0107),
        (12, 0.05, 10, 0.0193),
        (16, 0.05, 12, 0.0384),
        (16, 0.01, 14, 0.0021),
        (20, 0.05, 15, 0.0207),
        (25, 0.05, 18, 0.0216),
    ],
)
def test_pass_marks(trials: int, alpha: float, mark: int, p: float) -> None:
    assert listening.pass_mark(trials, alpha) == mark
    assert listening.binomial_p(mark, trials) == pytest.approx(p, abs=5e-5)
    assert listening.binomial_p(mark - 1, trials) > alpha


def test_too_few_trials_cannot_be_passed() -> None:
    assert listening.pass_mark(4) == 5
    assert listening.power(4, 1.0) == 0


@pytest.mark.parametrize(("rate", "expected"), [(0.7, 0.45), (0.8, 0.80), (0.9, 0.98)])
def test_power_at_16(rate: float, expected: float) -> None:
    assert listening.power(16, rate) == pytest.approx(expected, abs=0.005)


def test_interval_is_scipys() -> None:
    for trials in (0, 1, 10, 16, 25):
        for correct in range(trials + 1):
            low, high = listening.clopper_pearson(correct, trials)
            if trials == 0:
                assert (low, high) == (0, 1)
                continue
            expected = scipy.stats.binomtest(correct, trials).proportion_ci(0.95, "exact")
            assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_sign_test_is_scipys() -> None:
    assert listening.sign_test(0, 0) == 1
    for first in range(12):
        for second in range(12):
            if first + second:
                expected = scipy.stats.binomtest(first, first + second).pvalue
                assert listening.sign_test(first, second) == pytest.approx(expected, rel=1e-9)


def test_impossible_scores_are_refused() -> None:
    for function in (listening.binomial_p, listening.clopper_pearson, SequentialTest().verdict):
        with pytest.raises(ValueError, match="not possible"):
            function(5, 4)


def test_walds_bounds_keep_their_promise() -> None:
    """4000 guessers and 4000 who hear 80 %: false alarms at most 5 %, misses at most 10 % (and some slack)."""
    test, rng = SequentialTest(), np.random.default_rng(8)

    def run(rate: float) -> float:
        heard = 0
        for answers in rng.random((4000, 400)) < rate:
            correct = 0
            for n, answer in enumerate(answers, 1):
                correct += int(answer)
                verdict = test.verdict(correct, n)
                if verdict != "go on":
                    heard += verdict == "heard"
                    break
            else:
                raise AssertionError("400 trials decide nothing")
        return heard / 4000

    assert run(0.5) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert 1 - run(0.8) <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / 4000)


def test_walds_bounds_are_the_likelihood_ratio() -> None:
    """Independent: log likelihood ratio against log((1-b)/a) and log(b/(1-a))."""
    test = SequentialTest()
    for n in range(1, 60):
        for c in range(n + 1):
            ratio = c * np.log(0.8 / 0.5) + (n - c) * np.log(0.2 / 0.5)
            expected = "heard" if ratio >= np.log(18) else "not heard" if ratio <= np.log(0.1 / 0.95) else "go on"
            assert test.verdict(c, n) == expected


def test_wording() -> None:
    assert "You heard a difference" in listening.summary(12, 16)
    miss = listening.summary(11, 16)
    assert "Not shown to be audible to you on this clip" in miss
    assert "transparent" not in miss
    assert "Stopped early" in listening.summary(5, 5, stopped_early=True)
    assert "You heard" not in listening.summary(5, 5, stopped_early=True)
    assert "nothing can be said" in listening.summary(0, 0)
