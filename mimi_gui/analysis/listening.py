"""The statistics of listening tests: what a score proves, and what it cannot.

Everything is exact (binomial), nothing is approximated by a normal distribution. Pure functions; any thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import scipy.stats

MIN_TRIALS = 10
MAX_TRIALS = 25
DEFAULT_TRIALS = 16
ALPHA = 0.05


def binomial_p(correct: int, trials: int) -> float:
    """Chance that a guesser gets ``correct`` or more of ``trials`` right.

    Raises:
        ValueError: not 0 <= correct <= trials.
    """
    _check(correct, trials)
    return sum(math.comb(trials, k) for k in range(correct, trials + 1)) / 2**trials


def clopper_pearson(correct: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of the true hit rate; (0, 1) when there were no trials.

    Raises:
        ValueError: not 0 <= correct <= trials.
    """
    _check(correct, trials)
    tail = (1 - confidence) / 2
    low = float(scipy.stats.beta.ppf(tail, correct, trials - correct + 1)) if correct else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, correct + 1, trials - correct)) if correct < trials else 1.0
    return low, high


def pass_mark(trials: int, alpha: float = ALPHA) -> int:
    """The fewest right answers of ``trials`` with p <= ``alpha``; ``trials + 1`` when not even all suffice."""
    return next((c for c in range(trials + 1) if binomial_p(c, trials) <= alpha), trials + 1)


def power(trials: int, hit_rate: float, alpha: float = ALPHA) -> float:
    """Chance that a listener who is right with ``hit_rate`` reaches the pass mark."""
    return float(scipy.stats.binom.sf(pass_mark(trials, alpha) - 1, trials, hit_rate))


def sign_test(first: int, second: int) -> float:
    """Two-sided p of a preference of ``first`` against ``second`` votes; ties are left out; 1.0 without
    votes.
    """
    return min(1.0, 2 * binomial_p(max(first, second), first + second))


Verdict = Literal["heard", "not heard", "go on"]


@dataclass(frozen=True)
class SequentialTest:
    """Wald's test for a mode that shows the running score: looking on is part of the plan.

    Stopping at the first running p <= .05 would give a guesser 8.8 % by 16 trials and 20 % by 100.

    Attributes:
        p0, p1: hit rates of a guesser and of one who hears it.
        alpha, beta: the promised rates of false alarms and of misses.
    """

    p0: float = 0.5
    p1: float = 0.8
    alpha: float = 0.05
    beta: float = 0.1

    def bounds(self, trials: int) -> tuple[float, float]:
        """(not heard at or below, heard at or above) in right answers after ``trials``."""
        d = math.log(self.p1 / self.p0) - math.log((1 - self.p1) / (1 - self.p0))
        drift = trials * math.log((1 - self.p1) / (1 - self.p0))
        lower = (math.log(self.beta / (1 - self.alpha)) - drift) / d
        upper = (math.log((1 - self.beta) / self.alpha) - drift) / d
        return lower, upper

    def verdict(self, correct: int, trials: int) -> Verdict:
        """What may be said after ``trials``; the test ends at the first that is not "go on"."""
        _check(correct, trials)
        lower, upper = self.bounds(trials)
        if correct >= upper:
            return "heard"
        return "not heard" if correct <= lower else "go on"


def summary(correct: int, trials: int, *, stopped_early: bool = False) -> str:
    """One or two sentences for the listener. A miss is never called transparent: absence is not proven."""
    if trials == 0:
        return "No trial was answered, so nothing can be said."
    p, (low, high) = binomial_p(correct, trials), clopper_pearson(correct, trials)
    rate = f"hit rate between {100 * low:.0f} and {100 * high:.0f} % (95 %)"
    score = f"{correct} of {trials} right, p = {p:.4f}; {rate}."
    if stopped_early:
        return f"{score} Stopped early: the p does not count, since the end was not fixed beforehand."
    if p <= ALPHA:
        return f"{score} You heard a difference on this clip."
    return f"{score} Not shown to be audible to you on this clip."


def _check(correct: int, trials: int) -> None:
    if not 0 <= correct <= trials:
        raise ValueError(f"{correct} right of {trials} trials is not possible")
