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
from mimi_gui.analysis.abx import Draw

MAX_TAKES = 8
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

    @property
    def text(self) -> str:
        """A sentence for the listener."""
        votes = f"{self.first} for the first, {self.second} for the second, {self.ties} ties"
        if self.p > listening.ALPHA:
            return f"{votes}, p = {self.p:.4f}. No preference was shown."
        return f"{votes}, p = {self.p:.4f}. You preferred the {'first' if self.first > self.second else 'second'}."


class PreferenceSession:
    """Which sounds better, A or B, or neither? Sides are drawn anew each trial; their number is fixed.

    Raises:
        ValueError: not 5 to 25 trials.
    """

    def __init__(
        self,
        setup: Mapping[str, object],
        num_trials: int = 10,
        *,
        draw: Draw = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 5 <= num_trials <= listening.MAX_TRIALS:
            raise ValueError(f"{num_trials} trials; expected 5 to {listening.MAX_TRIALS}")
        self.setup, self.num_trials = dict(setup), num_trials
        self._draw, self._clock = draw, clock
        self._records: list[dict[str, object]] = []
        self._votes = [0, 0, 0]  # first, second, tie
        self._started_s = clock()
        self._begin()

    @property
    def num_answered(self) -> int:
        """Trials that count so far."""
        return sum(self._votes)

    @property
    def is_finished(self) -> bool:
        """All planned trials are answered."""
        return self.num_answered == self.num_trials

    @property
    def may_answer(self) -> bool:
        """Both were played in this trial."""
        return not self.is_finished and all(self._plays.values())

    def play(self, button: Literal["A", "B"]) -> int:
        """Count a press and return the take (0 or 1) to play."""
        self._plays[button] += 1
        return self._at_a if button == "A" else 1 - self._at_a

    def answer(self, vote: Vote, underruns: int = 0) -> None:
        """Record a vote; with underruns the trial is void and repeated.

        Raises:
            ValueError: A and B were not both played, or the session is finished.
        """
        if not self.may_answer or vote not in ("A", "B", "tie"):
            raise ValueError("play A and B, then answer A, B or tie")
        now = self._clock()
        take = None if vote == "tie" else self._at_a if vote == "A" else 1 - self._at_a
        self._records.append(
            {
                "take_at_a": self._at_a,
                "answer": vote,
                "preferred": take,
                "plays": dict(self._plays),
                "seconds": round(now - self._since_s, 3),
                "underruns": underruns,
                "void": "the sound had gaps" if underruns else "",
            }
        )
        if not underruns:
            self._votes[2 if take is None else take] += 1
        self._begin()

    def result(self) -> PreferenceResult:
        """The votes.

        Raises:
            ValueError: the session still runs.
        """
        if not self.is_finished:
            raise ValueError("the votes are hidden until the last trial")
        first, second, ties = self._votes
        return PreferenceResult(first, second, ties, listening.sign_test(first, second))

    def log(self) -> dict[str, Any]:
        """Everything, as a JSON-able journal. Raises as :meth:`result`."""
        found = self.result()
        outcome = {
            "first": found.first,
            "second": found.second,
            "ties": found.ties,
            "p": found.p,
            "text": found.text,
        }
        return journal.write(
            "preference",
            self.setup,
            self._records,
            outcome,
            planned_trials=self.num_trials,
            started=journal.iso_time(self._started_s),
        )

    def _begin(self) -> None:
        self._at_a = self._draw(2)
        self._plays = {"A": 0, "B": 0}
        self._since_s = self._clock()


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

    def log(self) -> dict[str, Any]:
        """Everything, as a JSON-able journal. Raises as :meth:`scores`."""
        scores = self.scores()
        entries = [
            {"button": i, "name": name, "score": scores[name], "plays": self._plays[i]}
            for i, name in enumerate(self._order)
        ]
        return journal.write("mushra", self.setup, entries, {"scores": scores})


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
