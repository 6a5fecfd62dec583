"""The smallest number of codebooks that one cannot tell from the reference, by an adaptive test.

Each trial is a blind ABX at one level (number of codebooks). The next level is the one that the answers so
far leave most in doubt, as in QUEST: the chance of a right answer falls from certain to a guess as the level
rises,

    P(right | K) = 0.5 + 0.5 (1 - lapse) / (1 + (K / threshold) ** slope),

and Bayes' rule keeps the odds of each threshold and slope. One thread uses a staircase.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mimi_gui.analysis.blind import GAPS, BlindTrial, Draw, XSession, broken_state, broken_trial

DEFAULT_LEVELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
DEFAULT_TRIALS = 40
MIN_TRIALS, MAX_TRIALS = 20, 100
_LAPSE = 0.04  # even the obvious is answered wrong now and then
_SLOPES = np.array([2.0, 4.0, 8.0])


@dataclass(frozen=True)
class StaircaseResult:
    """``threshold``: levels at which right answers are half-way between guessing and certain, with a 95 %
    interval.

    ``smallest_not_told`` is the smallest level tested above the threshold, None when even the largest was
    told. ``interval`` is in levels too and is cut at half the smallest and twice the largest level.
    """

    threshold: float
    interval: tuple[float, float]
    smallest_not_told: int | None
    num_trials: int

    @property
    def text(self) -> str:
        """A sentence for the listener."""
        low, high = self.interval
        span = f"95 % interval {low:.1f} to {high:.1f}, {self.num_trials} trials"
        if self.smallest_not_told is None:
            return f"You told even the largest number of codebooks from the reference ({span})."
        plural = "s" if self.smallest_not_told > 1 else ""
        told = f"From {self.smallest_not_told} codebook{plural} on you were not shown to tell it from the reference"
        return f"{told} ({span})."


class Staircase:
    """The odds, and the choice of the next level. ``levels`` rise; the first is the easiest to hear.

    Raises:
        ValueError: fewer than two levels, or not rising from 1 or more.
    """

    def __init__(self, levels: Sequence[int] = DEFAULT_LEVELS) -> None:
        if len(levels) < 2 or list(levels) != sorted(set(levels)) or levels[0] < 1:
            raise ValueError(f"levels {list(levels)}; expected at least two, rising, from 1 on")
        self.levels = tuple(levels)
        self._thresholds = np.geomspace(levels[0] / 2, levels[-1] * 2, 160)  # [N]
        odds = np.ones((len(self._thresholds), len(_SLOPES)))
        self._odds = odds / odds.sum()  # [N, slopes]
        self.num_trials = 0

    def _hit_rates(self, level: float) -> np.ndarray:
        ratio = (level / self._thresholds[:, None]) ** _SLOPES
        return 0.5 + 0.5 * (1 - _LAPSE) / (1 + ratio)

    def next_level(self) -> int:
        """The level whose answer is expected to leave the least doubt (smallest mean entropy)."""

        def doubt(level: int) -> float:
            hit = self._hit_rates(level)
            total = 0.0
            for likelihood in (hit, 1 - hit):
                joint = self._odds * likelihood
                weight = float(joint.sum())
                share = joint.sum(axis=1) / weight
                total -= weight * float(np.sum(share * np.log(np.maximum(share, 1e-300))))
            return total

        return min(self.levels, key=doubt)

    def record(self, level: int, correct: bool) -> None:
        """Learn from one answer.

        Raises:
            ValueError: not a level of this staircase.
        """
        if level not in self.levels:
            raise ValueError(f"level {level} is not one of {list(self.levels)}")
        hit = self._hit_rates(level)
        odds = self._odds * (hit if correct else 1 - hit)
        self._odds = odds / odds.sum()
        self.num_trials += 1

    def result(self) -> StaircaseResult:
        """The threshold so far, with its interval. Shown at the end only."""
        share = self._odds.sum(axis=1)
        cumulative = np.cumsum(share)
        low, middle, high = (
            float(self._thresholds[min(int(np.searchsorted(cumulative, q)), len(share) - 1)])
            for q in (0.025, 0.5, 0.975)
        )
        above = [level for level in self.levels if level >= middle]
        return StaircaseResult(middle, (low, high), above[0] if above else None, self.num_trials)


class StaircaseSession(XSession):
    """Blind trials along a staircase; signal 0 is the reference, 1 the take with :attr:`level` codebooks.

    Args: as :class:`~mimi_gui.analysis.abx.ABXSession`; ``num_trials`` is fixed beforehand (20 to 100).
    """

    kind = "staircase"

    def __init__(
        self,
        setup: Mapping[str, object],
        levels: Sequence[int] = DEFAULT_LEVELS,
        num_trials: int = DEFAULT_TRIALS,
        *,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not MIN_TRIALS <= num_trials <= MAX_TRIALS:
            raise ValueError(f"{num_trials} trials; expected {MIN_TRIALS} to {MAX_TRIALS}")
        super().__init__(setup, num_trials, draw, clock)
        self.staircase = Staircase(levels)
        self._begin()

    @property
    def num_answered(self) -> int:
        return self.staircase.num_trials

    def answer(self, choice: Literal["A", "B"], underruns: int = 0) -> None:
        """X is ``choice``; with underruns the trial is void and repeated at the same level.

        Raises:
            ValueError: not all of A, B and X were played, or the session is finished.
        """
        self._check_answer(choice)
        self._close_trial(choice, void=GAPS if underruns else "", underruns=underruns)

    def result(self) -> StaircaseResult:
        """The outcome.

        Raises:
            ValueError: the session still runs.
        """
        if not self.is_finished:
            raise ValueError("the result is hidden until the last trial")
        return self.staircase.result()

    def _outcome(self) -> dict[str, object]:
        found = self.staircase.result()
        return {
            "threshold": found.threshold,
            "interval_low": found.interval[0],
            "interval_high": found.interval[1],
            "smallest_not_told": found.smallest_not_told,
            "answered": found.num_trials,
            "text": found.text,
        }

    def _header(self) -> dict[str, object]:
        return {"levels": list(self.staircase.levels)}

    def _close_trial(self, answer: str | None, *, void: str = "", underruns: int = 0) -> None:
        now = self._clock()
        number = self.num_answered + 1
        self._records.append(
            self._trial.record(answer, now, void=void, trial=number, level=self.level, underruns=underruns)
        )
        if void:
            self._trial = BlindTrial.drawn(self._draw, now)
        else:
            self.staircase.record(self.level, self._trial.is_correct("A" if answer == "A" else "B"))
            self._begin()

    def _begin(self) -> None:
        self.level = self.staircase.next_level()
        self._trial = BlindTrial.drawn(self._draw, self._clock())


def replay(log: Mapping[str, Any]) -> StaircaseResult:
    """The result anew from the answers in a staircase log: what verifying compares with.

    Raises:
        KeyError, TypeError, ValueError: not a staircase log.
    """
    staircase = Staircase(log["levels"])
    for entry in log["trials"]:
        if not entry["void"]:
            trial = BlindTrial(entry["signal_at_a"], entry["signal_at_x"], math.nan)
            staircase.record(entry["level"], trial.is_correct(entry["answer"]))
    return staircase.result()


def broken_rules(log: Mapping[str, Any]) -> list[str]:
    """What is wrong with a staircase log beside its hashes, in words.

    Raises:
        KeyError, TypeError, ValueError: not a staircase log.
    """
    problems, answered = [], 0
    for i, entry in enumerate(log["trials"], 1):
        problems += broken_trial(i, entry)
        answered += not entry["void"]
    found, result = replay(log), log["result"]
    if abs(found.threshold - result["threshold"]) > 1e-9:
        problems.append("the threshold does not follow from the answers")
    if found.smallest_not_told != result["smallest_not_told"] or result["answered"] != answered:
        problems.append("the smallest number of codebooks does not follow from the answers")
    return problems + broken_state(log, answered)
