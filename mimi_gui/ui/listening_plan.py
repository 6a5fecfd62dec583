"""What a listening test can be, and what was chosen for one: kinds, their words and numbers, the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimi_gui.analysis import listening, rating_session, ratings, staircase
from mimi_gui.ui.listening_jobs import Source


@dataclass(frozen=True)
class Kind:
    """One kind of test: its words, and how many trials it may have."""

    key: str
    title: str
    question: str
    least: int
    most: int
    usual: int
    unit: str = "Trials"


KINDS = {
    kind.key: kind
    for kind in (
        Kind(
            "abx", "ABX",
            "Can you hear a difference at all? Each trial plays A, B and X; X is one of the two, drawn at random, and"
            " you say which.",
            listening.MIN_TRIALS, listening.MAX_TRIALS, listening.DEFAULT_TRIALS,
        ),
        Kind(
            "staircase", "Staircase",
            "From how many codebooks on can you not tell it from the reference? Trials as in ABX; the number of"
            " codebooks follows your answers.",
            staircase.MIN_TRIALS, staircase.MAX_TRIALS, staircase.DEFAULT_TRIALS,
        ),
        Kind(
            "preference", "Preference",
            "Which of two takes sounds better to you? Sides are drawn at random each time, and having no preference is"
            " an answer too.",
            ratings.MIN_VOTES, listening.MAX_TRIALS, 10,
        ),
        Kind(
            "mushra", "MUSHRA",
            "How close do up to eight takes come to the reference? Rate them from 0 to 100, beside a hidden reference"
            " and a 3.5 kHz anchor.",
            rating_session.MIN_ROUNDS, rating_session.MAX_ROUNDS, rating_session.DEFAULT_ROUNDS, "Rounds",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What was chosen. ``sources``: the reference first (preference: the first take first)."""

    kind: str
    sources: tuple[Source, ...]
    span_s: tuple[float, float]
    num_trials: int
    match: bool
    restarts: bool
    listener: str
    notes: str
    folder: Path


def outlook(kind: str, num_trials: int) -> str:
    """What so many trials of a kind promise, in a sentence or two."""
    if kind == "abx":
        return (
            f"{listening.pass_mark(num_trials)} of {num_trials} right are needed (p ≤ {listening.ALPHA}). Who truly"
            f" hears it 8 times in 10 gets there in {100 * listening.power(num_trials, 0.8):.0f} % of all runs. The"
            " score stays hidden until the last trial."
        )
    if kind == "staircase":
        return "Each trial asks at the number of codebooks that is most in doubt. The result is an interval."
    if kind == "preference":
        return f"Two-sided sign test over the trials that are no ties. All {num_trials} are asked, whatever the votes."
    return "Each round is the same sounds in a new order: the more rounds, the narrower the intervals."
