"""ABX: is X the one behind A or the one behind B?

``ABXSession`` holds the secret and the rules; see :mod:`mimi_gui.analysis.blind`. Signal 0 is the reference,
signal 1 the take under test. One thread (the window's) uses a session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mimi_gui.analysis import journal, listening
from mimi_gui.analysis.blind import GAPS, BlindTrial, Button, Draw, XSession, broken_state, broken_trial

__all__ = ["ABXResult", "ABXSession", "BlindTrial", "Button", "Draw", "verify_log"]


@dataclass(frozen=True)
class ABXResult:
    """The score of a finished session. ``text`` is what the listener reads."""

    correct: int
    answered: int
    planned: int
    p: float
    interval: tuple[float, float]
    stopped_early: bool
    training: bool

    @property
    def text(self) -> str:
        """One or two sentences that never claim transparency."""
        words = listening.summary(self.correct, self.answered, stopped_early=self.stopped_early)
        return f"Training, not a test. {self.correct} of {self.answered} right." if self.training else words

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return {
            "correct": self.correct,
            "answered": self.answered,
            "planned": self.planned,
            "p": self.p,
            "interval_low": self.interval[0],
            "interval_high": self.interval[1],
            "stopped_early": self.stopped_early,
            "training": self.training,
            "text": self.text,
        }


class ABXSession(XSession):
    """A run of ``num_trials`` trials, fixed beforehand.

    Args: as :class:`~mimi_gui.analysis.blind.BlindSession`, and
        num_trials: 10 to 25.
        training: answers are told at once and the run is never scored.

    Raises:
        ValueError: fewer than 10 trials, which have no power, or more than 25, which tire.
    """

    kind = "abx"

    def __init__(
        self,
        setup: Mapping[str, object],
        num_trials: int = listening.DEFAULT_TRIALS,
        *,
        training: bool = False,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not listening.MIN_TRIALS <= num_trials <= listening.MAX_TRIALS:
            raise ValueError(
                f"{num_trials} trials; expected {listening.MIN_TRIALS} to {listening.MAX_TRIALS}: fewer prove"
                " nothing, more tire"
            )
        super().__init__(setup, num_trials, draw, clock)
        self.training = training
        self._correct = 0
        self._answered = 0
        self._trial = BlindTrial.drawn(draw, self._started_s)

    @property
    def num_answered(self) -> int:
        return self._answered

    def answer(self, choice: Literal["A", "B"], underruns: int = 0) -> bool | None:
        """X is ``choice``. Returns whether that was right in training, else None.

        Args:
            underruns: gaps in the sound since the trial began. With any the trial is void and repeated.

        Raises:
            ValueError: not all of A, B and X were played, or the session is finished.
        """
        self._check_answer(choice)
        if underruns:
            self._close_trial(choice, void=GAPS, underruns=underruns)
            return None
        correct = self._trial.is_correct(choice)
        self._correct += correct
        self._answered += 1
        self._close_trial(choice)
        return correct if self.training else None

    def result(self) -> ABXResult:
        """The score.

        Raises:
            ValueError: the session still runs; its score is hidden.
        """
        if not self.is_finished:
            raise ValueError("the score is hidden until the last trial")
        return self._result()

    def _result(self) -> ABXResult:
        return ABXResult(
            self._correct,
            self._answered,
            self.num_trials,
            listening.binomial_p(self._correct, self._answered),
            listening.clopper_pearson(self._correct, self._answered),
            self._answered < self.num_trials,
            self.training,
        )

    def _outcome(self) -> dict[str, object]:
        return self._result().as_dict()

    def _header(self) -> dict[str, object]:
        return {"training": self.training}

    def _close_trial(self, answer: str | None, *, void: str = "", underruns: int = 0) -> None:
        now = self._clock()
        number = self._answered if not void else self._answered + 1
        self._records.append(self._trial.record(answer, now, void=void, trial=number, underruns=underruns))
        self._trial = BlindTrial.drawn(self._draw, now)


def verify_log(log: Mapping[str, Any]) -> list[str]:
    """What is wrong with an ABX log, in words; empty when hashes, rules and statistics all hold.

    Recomputes right and wrong from truth and answer, the score, p and interval, and checks that each counted
    trial kept the rules. Any thread; never raises on what a JSON file may hold.
    """
    problems = journal.broken_links(log)
    if problems and not isinstance(log.get("trials"), list):
        return problems
    if log.get("kind") != "abx":
        return [*problems, f"this log is of the kind {log.get('kind')!r}, expected 'abx'"]
    try:
        return problems + _broken_rules(log)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [*problems, f"the log lacks a field or has one of another type: {error}"]


def _broken_rules(log: Mapping[str, Any]) -> list[str]:
    problems = []
    planned, result = int(log["planned_trials"]), log["result"]
    if not listening.MIN_TRIALS <= planned <= listening.MAX_TRIALS:
        problems.append(f"{planned} trials were planned, expected {listening.MIN_TRIALS} to {listening.MAX_TRIALS}")
    correct = answered = 0
    for i, entry in enumerate(log["trials"], 1):
        problems += broken_trial(i, entry)
        if not entry["void"] and entry["answer"] in ("A", "B"):
            answered += 1
            correct += BlindTrial(entry["signal_at_a"], entry["signal_at_x"], 0.0).is_correct(entry["answer"])
    expected = ABXResult(
        correct,
        answered,
        planned,
        listening.binomial_p(correct, answered),
        listening.clopper_pearson(correct, answered),
        answered < planned,
        bool(log["training"]),
    ).as_dict()
    for key, value in expected.items():
        found = result.get(key)
        same = abs(found - value) < 1e-9 if isinstance(value, float) else found == value
        if not same:
            problems.append(f"the result says {key} {found!r}, the trials say {value!r}")
    return problems + broken_state(log, answered)
