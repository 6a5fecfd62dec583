"""MUSHRA-style rounds: the same takes rated again and again in a new order, and what the ratings say.

The intervals tell how steadily this listener rates this clip, not what listeners at large would say. One thread
(the window's) uses a session.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimi_gui.analysis import journal
from mimi_gui.analysis.blind import BlindSession, Draw, broken_state
from mimi_gui.analysis.ratings import REFERENCE, SCREEN_SCORE, RatingPage, is_screened_out, mean_interval

MIN_ROUNDS, MAX_ROUNDS = 1, 10
DEFAULT_ROUNDS = 3


@dataclass(frozen=True)
class Rated:
    """One stimulus: its scores round by round, their mean and the 95 % interval within 0..100 (NaN after one
    round).
    """

    name: str
    scores: tuple[int, ...]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class RatingResult:
    """All stimuli, best first."""

    rows: tuple[Rated, ...]
    rounds: int
    planned: int

    @property
    def text(self) -> str:
        """What the listener reads."""
        if not self.rounds:
            return "No round was finished, so nothing can be said."
        parts = []
        for row in self.rows:
            span = "" if math.isnan(row.low) else f" ({row.low:.0f} to {row.high:.0f})"
            parts.append(f"{row.name} {row.mean:.0f}{span}")
        return f"{self.rounds} round{'s' if self.rounds > 1 else ''}: {'; '.join(parts)}.{self.remarks}"

    @property
    def remarks(self) -> str:
        """What is to be known beside the figures; begins with a space where there is something."""
        words = " Intervals (95 %) are over your rounds, not over listeners." if self.rounds > 1 else ""
        if self.rounds < self.planned:
            words += f" Stopped early: {self.planned} rounds were planned."
        reference = next(row for row in self.rows if row.name == REFERENCE)
        if is_screened_out(reference.scores):
            low = sum(score < SCREEN_SCORE for score in reference.scores)
            words += (
                f" You rated the hidden reference below {SCREEN_SCORE} in {low} of {self.rounds} rounds: BS.1534-3"
                " would leave these ratings out."
            )
        return words


def result_of(scores: Mapping[str, Sequence[int]], planned: int) -> RatingResult:
    """The result of ``scores``, name -> score of each round."""
    rows = []
    for name, given in scores.items():
        if given:
            mean, low, high = mean_interval(given)
            rows.append(Rated(name, tuple(given), mean, *(min(max(edge, 0.0), 100.0) for edge in (low, high))))
    rows.sort(key=lambda row: -row.mean)
    return RatingResult(tuple(rows), max((len(given) for given in scores.values()), default=0), planned)


class RatingSession(BlindSession):
    """``num_rounds`` pages of ratings, fixed beforehand; :attr:`page` is the one in front of the listener.

    Raises:
        ValueError: not 1 to 10 rounds, or takes that :class:`RatingPage` refuses.
    """

    kind = "mushra"

    def __init__(
        self,
        setup: Mapping[str, object],
        takes: Sequence[str],
        num_rounds: int = DEFAULT_ROUNDS,
        *,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not MIN_ROUNDS <= num_rounds <= MAX_ROUNDS:
            raise ValueError(f"{num_rounds} rounds; expected {MIN_ROUNDS} to {MAX_ROUNDS}")
        super().__init__(setup, num_rounds, draw, clock)
        self.takes = tuple(takes)
        self._rounds = 0
        self._scores: dict[str, list[int]] = {}
        self._begin()

    @property
    def num_answered(self) -> int:
        return self._rounds

    @property
    def may_answer(self) -> bool:
        """Each stimulus of this round was heard and rated."""
        return not self.is_finished and self.page.is_complete

    def note_pause(self, seconds: float) -> None:
        """Part of this round was a pause."""
        self._paused_s += seconds

    def note_gap(self, button: int, underruns: int) -> None:
        """The sound had gaps while ``button`` played (-1: the open reference): its rating is withdrawn."""
        self._underruns += underruns
        if button >= 0:
            self.page.withdraw(button)

    def next_round(self) -> None:
        """Take in this round's ratings and draw the next one's order.

        Raises:
            ValueError: not all stimuli are rated, or the session is finished.
        """
        self._check_running()
        scores, now = self.page.scores(), self._clock()
        self._rounds += 1
        for entry in self.page.entries():
            self._records.append(
                {
                    "round": self._rounds,
                    **entry,
                    "underruns": self._underruns,
                    "started": journal.iso_time(self._since_s),
                    "seconds": round(now - self._since_s, 3),
                    "paused_seconds": round(self._paused_s, 3),
                    "void": "",
                }
            )
        for name, score in scores.items():
            self._scores.setdefault(name, []).append(score)
        self._begin()

    def result(self) -> RatingResult:
        """The ratings.

        Raises:
            ValueError: the session still runs.
        """
        if not self.is_finished:
            raise ValueError("the scores are hidden until the last round")
        return result_of(self._scores, self.num_trials)

    def _outcome(self) -> dict[str, object]:
        found = result_of(self._scores, self.num_trials)
        spans = {row.name: None if math.isnan(row.low) else [row.low, row.high] for row in found.rows}
        return {
            "scores": self._scores,
            "means": {row.name: row.mean for row in found.rows},
            "intervals": spans,
            "text": found.text,
        }

    def _header(self) -> dict[str, object]:
        return {"takes": list(self.takes)}

    def _begin(self) -> None:
        self.page = RatingPage(self.setup, self.takes, draw=self._draw)
        self._since_s = self._clock()
        self._paused_s = 0.0
        self._underruns = 0


def broken_rules(log: Mapping[str, Any]) -> list[str]:
    """What is wrong with a MUSHRA log beside its hashes, in words; logs of a single page are known too.

    Raises:
        KeyError, TypeError, ValueError: not such a log.
    """
    found, entries = log["result"], log["trials"]
    if "planned_trials" not in log:
        same = found["scores"] == {entry["name"]: entry["score"] for entry in entries}
        return [] if same else ["the scores do not follow from the ratings"]
    problems: list[str] = []
    scores: dict[str, list[int]] = {}
    for i, entry in enumerate(entries, 1):
        scores.setdefault(entry["name"], []).append(entry["score"])
        if not entry["plays"]:
            problems.append(f"entry {i} was rated without being heard")
        if not 0 <= entry["score"] <= 100:
            problems.append(f"entry {i} has the score {entry['score']}, expected 0 to 100")
    expected = result_of(scores, int(log["planned_trials"]))
    if found["scores"] != scores or found["means"] != {row.name: row.mean for row in expected.rows}:
        problems.append("the scores do not follow from the ratings")
    if len({len(given) for given in scores.values()}) > 1:
        problems.append("not all were rated in each round")
    return problems + broken_state(log, expected.rounds)
