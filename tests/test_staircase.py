"""Simulated listeners with a known threshold: does the staircase find it, and does its interval cover it?"""

from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.analysis.staircase import DEFAULT_LEVELS, Staircase, StaircaseSession, replay


def hit_rate(level: float, threshold: float, slope: float = 4.0) -> float:
    return 0.5 + 0.5 * 0.97 / (1 + (level / threshold) ** slope)


def run(threshold: float, seed: int, trials: int = 40) -> Staircase:
    staircase, rng = Staircase(), np.random.default_rng(seed)
    for _ in range(trials):
        level = staircase.next_level()
        staircase.record(level, bool(rng.random() < hit_rate(level, threshold)))
    return staircase


@pytest.mark.parametrize("threshold", [2.5, 7.0, 14.0])
def test_the_interval_covers_the_threshold(threshold: float) -> None:
    results = [run(threshold, seed).result() for seed in range(60)]
    covered = sum(r.interval[0] <= threshold <= r.interval[1] for r in results)
    assert covered >= 51  # 57 expected; 3 sigma below
    middle = np.median([r.threshold for r in results])
    assert middle == pytest.approx(threshold, rel=0.25)


def test_the_answer_is_a_level() -> None:
    found = [run(7.0, seed, 60).result().smallest_not_told for seed in range(30)]
    assert all(level in DEFAULT_LEVELS for level in found)
    assert np.median([level for level in found if level is not None]) in (6, 8)


def test_who_hears_everything_and_who_hears_nothing() -> None:
    sharp, deaf = Staircase(), Staircase()
    rng = np.random.default_rng(1)
    for _ in range(40):
        sharp.record(sharp.next_level(), True)
        deaf.record(deaf.next_level(), bool(rng.random() < 0.5))
    assert sharp.result().smallest_not_told is None
    assert "even the largest" in sharp.result().text
    assert deaf.result().smallest_not_told in (1, 2)
    assert "not shown" in deaf.result().text


def test_levels_near_the_threshold_are_asked() -> None:
    staircase, rng = Staircase(), np.random.default_rng(5)
    asked = []
    for _ in range(60):
        level = staircase.next_level()
        asked.append(level)
        staircase.record(level, bool(rng.random() < hit_rate(level, 7.0)))
    assert np.median(asked[20:]) in (4, 6, 8)


@pytest.mark.parametrize("levels", [(), (8,), (8, 4), (0, 1), (2, 2)])
def test_bad_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        Staircase(levels)
    with pytest.raises(ValueError, match="is not one of"):
        Staircase((1, 2)).record(3, True)


def test_a_session_end_to_end() -> None:
    session, rng = StaircaseSession({"file": "a.wav"}, num_trials=30), np.random.default_rng(2)
    first = session.level
    for button in "ABX":
        session.play(button)  # type: ignore[arg-type]
    session.answer("A", underruns=1)
    assert session.num_answered == 0
    assert session.level == first
    with pytest.raises(ValueError, match="play A, B and X"):
        session.answer("A")
    while not session.is_finished:
        with pytest.raises(ValueError, match="hidden"):
            session.result()
        signals = {button: session.play(button) for button in ("A", "B", "X")}
        right = "A" if signals["A"] == signals["X"] else "B"
        wrong = "B" if right == "A" else "A"
        session.answer(right if rng.random() < hit_rate(session.level, 7.0) else wrong)
    log = session.log()
    assert len(log["trials"]) == 31
    assert replay(log) == session.result()
    with pytest.raises(ValueError, match="finished"):
        session.play("A")


def test_stopping_early() -> None:
    session = StaircaseSession({})
    session.stop()
    assert session.result().num_trials == 0
    assert session.log()["result"]["stopped_early"] is True
    with pytest.raises(ValueError, match="20 to 100"):
        StaircaseSession({}, num_trials=5)
