"""ABX: is X the one behind A or the one behind B?

``ABXSession`` holds the secret and the rules; it plays nothing and draws nothing on the screen. A window asks
it which of the two signals a button plays, tells it what was played and answered, and shows no score before
the end. Signal 0 is the reference, signal 1 the take under test. One thread (the window's) uses a session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mimi_gui.analysis import journal, listening

Button = Literal["A", "B", "X"]
Draw = Callable[[int], int]


@dataclass
class BlindTrial:
    """One presentation: which signal each button plays is drawn anew, so no button is ever "the original"."""

    signal_at_a: int
    signal_at_x: int
    started_s: float
    plays: dict[str, int] = field(default_factory=lambda: {"A": 0, "B": 0, "X": 0})

    @classmethod
    def drawn(cls, draw: Draw, now_s: float) -> BlindTrial:
        """A trial with both sides from ``draw(2)``."""
        return cls(draw(2), draw(2), now_s)

    def signal_of(self, button: Button) -> int:
        """0 or 1: the signal that ``button`` plays."""
        if button == "X":
            return self.signal_at_x
        return self.signal_at_a if button == "A" else 1 - self.signal_at_a

    def play(self, button: Button) -> int:
        """Count a press of ``button`` and return the signal to play."""
        signal = self.signal_of(button)
        self.plays[button] += 1
        return signal

    @property
    def may_answer(self) -> bool:
        """A, B and X were each played at least once."""
        return all(self.plays.values())

    def is_correct(self, answer: Literal["A", "B"]) -> bool:
        """Whether ``answer`` plays what X plays."""
        return self.signal_of(answer) == self.signal_at_x

    def record(self, answer: str | None, now_s: float, *, void: str = "", **more: object) -> dict[str, object]:
        """The trial as a log entry. ``void`` is the reason why it does not count."""
        correct = None if answer is None or void else self.is_correct("A" if answer == "A" else "B")
        return {
            "signal_at_a": self.signal_at_a,
            "signal_at_x": self.signal_at_x,
            "answer": answer,
            "correct": correct,
            "plays": dict(self.plays),
            "started": journal.iso_time(self.started_s),
            "seconds": round(now_s - self.started_s, 3),
            "void": void,
            **more,
        }


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


class ABXSession:
    """A run of ``num_trials`` trials, fixed beforehand.

    Args:
        setup: what is compared and how it is played; JSON-able, goes into the log. The window puts here:
            names and hashes of both signals, num_codebooks, gains_db, lag_samples, loop_s, device,
            latency_ms.
        num_trials: 10 to 25.
        training: answers are told at once and the run is never scored.
        draw: ``draw(2)`` gives 0 or 1; ``secrets.randbelow``, replaced only in tests.
        clock: Unix seconds.

    Raises:
        ValueError: fewer than 10 trials, which have no power, or more than 25, which tire.
    """

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
        self.setup = dict(setup)
        self.num_trials = num_trials
        self.training = training
        self._draw = draw
        self._clock = clock
        self._records: list[dict[str, object]] = []
        self._correct = 0
        self._answered = 0
        self._stopped_early = False
        self._started_s = clock()
        self._trial = BlindTrial.drawn(draw, self._started_s)

    @property
    def num_answered(self) -> int:
        """Trials that count so far: all that may be shown while the session runs."""
        return self._answered

    @property
    def num_void(self) -> int:
        """Trials that were voided and repeated."""
        return sum(1 for record in self._records if record["void"])

    @property
    def is_finished(self) -> bool:
        """All planned trials are answered, or the listener stopped."""
        return self._answered == self.num_trials or self._stopped_early

    @property
    def may_answer(self) -> bool:
        """The session runs and A, B and X were each played in this trial."""
        return not self.is_finished and self._trial.may_answer

    @property
    def plays(self) -> Mapping[str, int]:
        """How often each button was pressed in this trial."""
        return dict(self._trial.plays)

    def play(self, button: Button) -> int:
        """Count a press and return the signal (0 or 1) to play: the only way to learn it.

        Raises:
            ValueError: the session is finished.
        """
        self._check_running()
        return self._trial.play(button)

    def answer(self, choice: Literal["A", "B"], underruns: int = 0) -> bool | None:
        """X is ``choice``. Returns whether that was right in training, else None.

        Args:
            underruns: gaps in the sound since the trial began. With any the trial is void and repeated.

        Raises:
            ValueError: not all of A, B and X were played, or the session is finished.
        """
        self._check_running()
        if choice not in ("A", "B"):
            raise ValueError(f"the answer {choice!r} is not A or B")
        if not self._trial.may_answer:
            missing = [button for button, count in self._trial.plays.items() if not count]
            raise ValueError(f"play {' and '.join(missing)} before answering")
        if underruns:
            self._close_trial(choice, void="the sound had gaps", underruns=underruns)
            return None
        correct = self._trial.is_correct(choice)
        self._correct += correct
        self._answered += 1
        self._close_trial(choice)
        return correct if self.training else None

    def void(self, reason: str) -> None:
        """Repeat the trial with a new draw, e.g. because the device was unplugged.

        Raises:
            ValueError: no reason, or the session is finished.
        """
        self._check_running()
        if not reason:
            raise ValueError("a void trial needs its reason")
        self._close_trial(None, void=reason)

    def stop(self) -> None:
        """Give up: the result is shown and marked "stopped early". No effect on a finished session."""
        self._stopped_early = self._stopped_early or self._answered < self.num_trials

    def result(self) -> ABXResult:
        """The score.

        Raises:
            ValueError: the session still runs; its score is hidden.
        """
        if not self.is_finished:
            raise ValueError("the score is hidden until the last trial")
        return ABXResult(
            self._correct,
            self._answered,
            self.num_trials,
            listening.binomial_p(self._correct, self._answered),
            listening.clopper_pearson(self._correct, self._answered),
            self._stopped_early,
            self.training,
        )

    def log(self) -> dict[str, Any]:
        """Everything, as a JSON-able journal. Raises as :meth:`result`."""
        result = self.result()
        return journal.write(
            "abx",
            self.setup,
            self._records,
            result.as_dict(),
            training=self.training,
            planned_trials=self.num_trials,
            started=journal.iso_time(self._started_s),
        )

    def _close_trial(self, answer: str | None, *, void: str = "", underruns: int = 0) -> None:
        now = self._clock()
        number = self._answered if not void else self._answered + 1
        self._records.append(self._trial.record(answer, now, void=void, trial=number, underruns=underruns))
        self._trial = BlindTrial.drawn(self._draw, now)

    def _check_running(self) -> None:
        if self.is_finished:
            raise ValueError("the session is finished")


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
        problems.append(f"{planned} trials were planned, expected {listening.MIN_TRIALS} to"
                        f" {listening.MAX_TRIALS}")
    correct = answered = 0
    for i, entry in enumerate(log["trials"], 1):
        if entry["void"]:
            if entry["correct"] is not None:
                problems.append(f"entry {i} is void and has a score")
            continue
        trial = BlindTrial(entry["signal_at_a"], entry["signal_at_x"], 0.0, dict(entry["plays"]))
        if entry["answer"] not in ("A", "B"):
            problems.append(f"entry {i} counts without an answer")
            continue
        if set(trial.plays) != {"A", "B", "X"} or not trial.may_answer:
            problems.append(f"entry {i} was answered before A, B and X were played")
        if entry["underruns"]:
            problems.append(f"entry {i} counts although the sound had gaps")
        if bool(entry["correct"]) != trial.is_correct(entry["answer"]):
            problems.append(f"entry {i} says {'right' if entry['correct'] else 'wrong'}; truth and answer"
                            f" disagree")
        answered += 1
        correct += trial.is_correct(entry["answer"])
    stopped = answered < planned
    expected = ABXResult(
        correct,
        answered,
        planned,
        listening.binomial_p(correct, answered),
        listening.clopper_pearson(correct, answered),
        stopped,
        bool(log["training"]),
    ).as_dict()
    for key, value in expected.items():
        found = result.get(key)
        same = abs(found - value) < 1e-9 if isinstance(value, float) else found == value
        if not same:
            problems.append(f"the result says {key} {found!r}, the trials say {value!r}")
    if answered > planned:
        problems.append(f"{answered} trials count, only {planned} were planned")
    return problems
