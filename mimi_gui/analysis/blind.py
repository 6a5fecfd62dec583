"""What every blind test shares: the secret of a trial, the rules of a run, and its log at any moment.

A session plays nothing and draws nothing on the screen. A window asks it which signal a button plays, tells it
what was played and answered, and shows no score before the end. One thread (the window's) uses a session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mimi_gui.analysis import journal

Button = Literal["A", "B", "X"]
Draw = Callable[[int], int]
GAPS = "the sound had gaps"


@dataclass
class BlindTrial:
    """One presentation: which signal each button plays is drawn anew, so no button is ever "the original"."""

    signal_at_a: int
    signal_at_x: int
    started_s: float
    plays: dict[str, int] = field(default_factory=lambda: {"A": 0, "B": 0, "X": 0})
    paused_s: float = 0.0

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
            "paused_seconds": round(self.paused_s, 3),
            "void": void,
            **more,
        }


class BlindSession:
    """A run of ``num_trials`` trials, fixed beforehand; subclasses know what an answer means.

    Args:
        setup: what is compared and how it is played; JSON-able, goes into the log. See
            :class:`~mimi_gui.analysis.journal.ListeningSetup`.
        draw: ``draw(n)`` gives 0 .. n - 1; ``secrets.randbelow``, replaced only in tests.
        clock: Unix seconds.
    """

    kind = ""

    def __init__(
        self,
        setup: Mapping[str, object],
        num_trials: int,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.setup = dict(setup)
        self.num_trials = num_trials
        self._draw, self._clock = draw, clock
        self._records: list[dict[str, object]] = []
        self._stopped_early = False
        self._started_s = clock()

    @property
    def num_answered(self) -> int:
        """Trials that count so far: all that may be shown while the session runs."""
        raise NotImplementedError

    @property
    def num_void(self) -> int:
        """Trials that were voided and repeated."""
        return sum(1 for record in self._records if record["void"])

    @property
    def is_finished(self) -> bool:
        """All planned trials are answered, or the listener stopped."""
        return self.num_answered == self.num_trials or self._stopped_early

    def stop(self) -> None:
        """Give up: the result is shown and marked "stopped early". No effect on a finished session."""
        self._stopped_early = self._stopped_early or self.num_answered < self.num_trials

    def log(self) -> dict[str, Any]:
        """Everything, as a JSON-able journal.

        Raises:
            ValueError: the session still runs; its score is hidden.
        """
        if not self.is_finished:
            raise ValueError("the score is hidden until the last trial")
        return self.log_so_far()

    def log_so_far(self) -> dict[str, Any]:
        """The journal at this moment, for the disk and never for the screen: it verifies like a finished one.

        Its result says "running" until the end, and "stopped_early": what a crash leaves behind is told.
        """
        state = "aborted" if self._stopped_early else "complete" if self.is_finished else "running"
        return journal.write(
            self.kind,
            self.setup,
            self._records,
            {**self._outcome(), "stopped_early": self.num_answered < self.num_trials, "state": state},
            planned_trials=self.num_trials,
            started=journal.iso_time(self._started_s),
            **self._header(),
        )

    def _header(self) -> dict[str, object]:
        return {}

    def _outcome(self) -> dict[str, object]:
        raise NotImplementedError

    def _check_running(self) -> None:
        if self.is_finished:
            raise ValueError("the session is finished")


class XSession(BlindSession):
    """Trials with A, B and X."""

    _trial: BlindTrial

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

    def note_pause(self, seconds: float) -> None:
        """Part of this trial was a pause."""
        self._trial.paused_s += seconds

    def void(self, reason: str, underruns: int = 0) -> None:
        """Repeat the trial with a new draw, e.g. because the device was unplugged or the sound had gaps.

        Raises:
            ValueError: no reason, or the session is finished.
        """
        self._check_running()
        if not reason:
            raise ValueError("a void trial needs its reason")
        self._close_trial(None, void=reason, underruns=underruns)

    def _close_trial(self, answer: str | None, *, void: str = "", underruns: int = 0) -> None:
        raise NotImplementedError

    def _check_answer(self, choice: str) -> None:
        self._check_running()
        if choice not in ("A", "B"):
            raise ValueError(f"the answer {choice!r} is not A or B")
        if not self._trial.may_answer:
            *others, last = [button for button, count in self._trial.plays.items() if not count]
            missing = f"{', '.join(others)} and {last}" if others else last
            raise ValueError(f"play {missing} before answering")


def broken_trial(i: int, entry: Mapping[str, Any]) -> list[str]:
    """Which rules entry ``i`` of a log with A, B and X broke, in words; empty for one that kept them.

    Raises:
        KeyError, TypeError, ValueError: not such an entry.
    """
    if entry["void"]:
        return [f"entry {i} is void and has a score"] if entry["correct"] is not None else []
    trial = BlindTrial(entry["signal_at_a"], entry["signal_at_x"], 0.0, dict(entry["plays"]))
    if entry["answer"] not in ("A", "B"):
        return [f"entry {i} counts without an answer"]
    problems = []
    if set(trial.plays) != {"A", "B", "X"} or not trial.may_answer:
        problems.append(f"entry {i} was answered before A, B and X were played")
    if entry["underruns"]:
        problems.append(f"entry {i} counts although {GAPS}")
    if bool(entry["correct"]) != trial.is_correct(entry["answer"]):
        problems.append(f"entry {i} says {'right' if entry['correct'] else 'wrong'}; truth and answer disagree")
    return problems


def broken_state(log: Mapping[str, Any], answered: int) -> list[str]:
    """What is wrong with the end that a log claims; older logs claim none."""
    result, planned = log["result"], int(log["planned_trials"])
    problems = []
    if answered > planned:
        problems.append(f"{answered} trials count, only {planned} were planned")
    if bool(result["stopped_early"]) != (answered < planned):
        problems.append(f"the result says stopped_early {result['stopped_early']!r}, the trials say otherwise")
    if (result.get("state", "complete") == "complete") != (answered >= planned) and "state" in result:
        problems.append(f"the result says {result['state']!r} after {answered} of {planned} trials")
    return problems
