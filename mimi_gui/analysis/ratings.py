"""Opinions rather than detection: preference of one take over another, and a MUSHRA-style page of ratings.

Both hide which take is which; the order is drawn by ``secrets``. One thread (the window's) uses a session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy.signal
import scipy.stats

from mimi_gui.analysis import journal, listening
from mimi_gui.analysis.blind import GAPS, BlindSession, Draw, broken_state

MAX_TAKES = 8
MIN_VOTES = 5
ANCHOR_HZ = 3500.0
REFERENCE = "hidden reference"
ANCHOR = "3.5 kHz anchor"
SCREEN_SCORE = 90
SCREEN_SHARE = 0.15

Vote = Literal["A", "B", "tie"]


@dataclass(frozen=True)
class PreferenceResult:
    """Votes for the first and the second take, ties kept and reported; ``p`` is the two-sided sign test
    without ties.
    """

    first: int
    second: int
    ties: int
    p: float
    stopped_early: bool = False

    @property
    def text(self) -> str:
        """A sentence for the listener."""
        votes = f"{self.first} for the first, {self.second} for the second, {self.ties} ties"
        if self.stopped_early:
            words = "Stopped early: the p does not count, since the end was not fixed beforehand."
            return f"{votes}, p = {self.p:.4f}. {words}"
        if self.p > listening.ALPHA:
            return f"{votes}, p = {self.p:.4f}. No preference was shown."
        return f"{votes}, p = {self.p:.4f}. You preferred the {'first' if self.first > self.second else 'second'}."


class PreferenceSession(BlindSession):
    """Which sounds better, A or B, or neither? Sides are drawn anew each trial; their number is fixed.

    Raises:
        ValueError: not 5 to 25 trials.
    """

    kind = "preference"

    def __init__(
        self,
        setup: Mapping[str, object],
        num_trials: int = 10,
        *,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not MIN_VOTES <= num_trials <= listening.MAX_TRIALS:
            raise ValueError(f"{num_trials} trials; expected {MIN_VOTES} to {listening.MAX_TRIALS}")
        super().__init__(setup, num_trials, draw, clock)
        self._votes = [0, 0, 0]  # first, second, tie
        self._begin()

    @property
    def num_answered(self) -> int:
        return sum(self._votes)

    @property
    def may_answer(self) -> bool:
        """Both were played in this trial."""
        return not self.is_finished and all(self._plays.values())

    @property
    def plays(self) -> Mapping[str, int]:
        """How often each button was pressed in this trial."""
        return dict(self._plays)

    def play(self, button: Literal["A", "B"]) -> int:
        """Count a press and return the take (0 or 1) to play."""
        self._check_running()
        self._plays[button] += 1
        return self._at_a if button == "A" else 1 - self._at_a

    def note_pause(self, seconds: float) -> None:
        """Part of this trial was a pause."""
        self._paused_s += seconds

    def answer(self, vote: Vote, underruns: int = 0) -> None:
        """Record a vote; with underruns the trial is void and repeated.

        Raises:
            ValueError: A and B were not both played, or the session is finished.
        """
        if not self.may_answer or vote not in ("A", "B", "tie"):
            raise ValueError("play A and B, then answer A, B or tie")
        take = None if vote == "tie" else self._at_a if vote == "A" else 1 - self._at_a
        self._close_trial(vote, take, GAPS if underruns else "", underruns)
        if not underruns:
            self._votes[2 if take is None else take] += 1

    def void(self, reason: str, underruns: int = 0) -> None:
        """Repeat the trial with a new draw, e.g. because the device was unplugged or the sound had gaps.

        Raises:
            ValueError: no reason, or the session is finished.
        """
        self._check_running()
        if not reason:
            raise ValueError("a void trial needs its reason")
        self._close_trial(None, None, reason, underruns)

    def result(self) -> PreferenceResult:
        """The votes.

        Raises:
            ValueError: the session still runs.
        """
        if not self.is_finished:
            raise ValueError("the votes are hidden until the last trial")
        return self._result()

    def _result(self) -> PreferenceResult:
        first, second, ties = self._votes
        p = listening.sign_test(first, second)
        return PreferenceResult(first, second, ties, p, self.num_answered < self.num_trials)

    def _outcome(self) -> dict[str, object]:
        found = self._result()
        return {"first": found.first, "second": found.second, "ties": found.ties, "p": found.p, "text": found.text}

    def _close_trial(self, vote: str | None, take: int | None, void: str, underruns: int) -> None:
        now = self._clock()
        self._records.append(
            {
                "take_at_a": self._at_a,
                "answer": vote,
                "preferred": take,
                "plays": dict(self._plays),
                "started": journal.iso_time(self._since_s),
                "seconds": round(now - self._since_s, 3),
                "paused_seconds": round(self._paused_s, 3),
                "underruns": underruns,
                "void": void,
            }
        )
        self._begin()

    def _begin(self) -> None:
        self._at_a = self._draw(2)
        self._plays = {"A": 0, "B": 0}
        self._since_s = self._clock()
        self._paused_s = 0.0


def broken_preference(log: Mapping[str, Any]) -> list[str]:
    """What is wrong with a preference log beside its hashes, in words.

    Raises:
        KeyError, TypeError, ValueError: not a preference log.
    """
    problems, votes = [], [0, 0, 0]
    for i, entry in enumerate(log["trials"], 1):
        if entry["void"]:
            continue
        side, at_a = entry["answer"], entry["take_at_a"]
        take = None if side == "tie" else at_a if side == "A" else 1 - at_a
        if side not in ("A", "B", "tie"):
            problems.append(f"entry {i} counts without an answer")
        elif take != entry["preferred"]:
            problems.append(f"entry {i} prefers another take than its answer says")
        if not all(entry["plays"].values()):
            problems.append(f"entry {i} was answered before A and B were played")
        if entry["underruns"]:
            problems.append(f"entry {i} counts although {GAPS}")
        votes[2 if take is None else take] += 1
    found = log["result"]
    if [found["first"], found["second"], found["ties"]] != votes:
        problems.append("the votes do not follow from the answers")
    elif abs(found["p"] - listening.sign_test(votes[0], votes[1])) > 1e-9:
        problems.append("the p does not follow from the votes")
    return problems + broken_state(log, sum(votes))


class RatingPage:
    """A MUSHRA-style page: up to 8 takes, the hidden reference and the 3.5 kHz anchor, in drawn order, 0 to
    100.

    The window numbers the buttons 0 to ``len(page) - 1`` and plays ``stimulus(button)``; the open reference
    stands beside them and is not rated.

    Raises:
        ValueError: no take, more than 8, two of the same name, or a name that is reserved.
    """

    def __init__(self, setup: Mapping[str, object], takes: Sequence[str], *, draw: Draw = secrets.randbelow) -> None:
        if not 1 <= len(takes) <= MAX_TAKES:
            raise ValueError(f"{len(takes)} takes; expected 1 to {MAX_TAKES}")
        if len({*takes, REFERENCE, ANCHOR}) != len(takes) + 2:
            raise ValueError("each take needs a name of its own")
        order = [REFERENCE, ANCHOR, *takes]
        for i in range(len(order) - 1, 0, -1):  # Fisher and Yates
            j = draw(i + 1)
            order[i], order[j] = order[j], order[i]
        self.setup = dict(setup)
        self._order = order
        self._scores: list[int | None] = [None] * len(order)
        self._plays = [0] * len(order)

    def __len__(self) -> int:
        return len(self._order)

    def play(self, button: int) -> str:
        """Count a press and return the name of the stimulus behind ``button``: the only way to learn it."""
        self._plays[button] += 1
        return self._order[button]

    def rate(self, button: int, score: int) -> None:
        """Give 0 (bad) to 100 (as the reference).

        Raises:
            ValueError: outside 0 to 100, or the stimulus was not played yet.
        """
        if not 0 <= score <= 100:
            raise ValueError(f"the score {score} is not 0 to 100")
        if not self._plays[button]:
            raise ValueError("listen before rating")
        self._scores[button] = int(score)

    def withdraw(self, button: int) -> None:
        """The sound had a gap: what was said of it does not count, it is to be heard and rated again."""
        self._scores[button] = None
        self._plays[button] = 0

    @property
    def plays(self) -> tuple[int, ...]:
        """How often each stimulus was played."""
        return tuple(self._plays)

    @property
    def given(self) -> tuple[int | None, ...]:
        """The score of each button so far, None where it has none; says nothing of what is behind it."""
        return tuple(self._scores)

    @property
    def is_complete(self) -> bool:
        """Each stimulus was rated."""
        return None not in self._scores

    def scores(self) -> dict[str, int]:
        """Score by name.

        Raises:
            ValueError: not all are rated.
        """
        found = {name: score for name, score in zip(self._order, self._scores, strict=True) if score is not None}
        if len(found) < len(self._order):
            raise ValueError("the scores are hidden until each is rated")
        return found

    def entries(self) -> list[dict[str, object]]:
        """One log entry per button. Raises as :meth:`scores`."""
        scores = self.scores()
        return [
            {"button": i, "name": name, "score": scores[name], "plays": self._plays[i]}
            for i, name in enumerate(self._order)
        ]

    def log(self) -> dict[str, Any]:
        """Everything, as a JSON-able journal. Raises as :meth:`scores`."""
        return journal.write("mushra", self.setup, self.entries(), {"scores": self.scores()})


def is_screened_out(reference_scores: Sequence[int]) -> bool:
    """BS.1534-3: a listener who rates the hidden reference under 90 in more than 15 % of the items is left
    out.
    """
    if not reference_scores:
        return False
    return sum(score < SCREEN_SCORE for score in reference_scores) / len(reference_scores) > SCREEN_SHARE


def mean_interval(scores: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) by Student's t over listeners or items; low and high are NaN for a single score."""
    values = np.asarray(scores, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    reach = float(scipy.stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * scipy.stats.sem(values))
    return mean, mean - reach, mean + reach


def anchor(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The low anchor: ``samples`` float ``[T]`` without what lies above 3.5 kHz, float32 ``[T]``, not
    delayed.

    Within BS.1534's mask: 0.1 dB ripple up to 3.5 kHz, 25 dB down at 4 kHz, 50 dB from 4.5 kHz on.

    Raises:
        ValueError: the rate is too low to have anything above 4.5 kHz.
    """
    if sample_rate < 9200:
        raise ValueError(f"{sample_rate} Hz has nothing above the anchor's 3.5 kHz")
    taps = _anchor_taps(sample_rate)
    full = scipy.signal.fftconvolve(np.asarray(samples, dtype=np.float64), taps)
    lead = len(taps) // 2
    return full[lead : lead + len(samples)].astype(np.float32)


@lru_cache(maxsize=8)
def _anchor_taps(sample_rate: int) -> np.ndarray:
    length, beta = scipy.signal.kaiserord(60.0, 450 / (sample_rate / 2))
    boxcar = np.asarray(scipy.signal.firwin(length | 1, ANCHOR_HZ + 275, window="boxcar", fs=sample_rate))
    taps = boxcar * np.kaiser(length | 1, beta)
    return taps / taps.sum()
