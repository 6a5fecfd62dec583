from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mimi_gui.analysis.abx import ABXSession, BlindTrial, verify_log

SETUP = {
    "reference": {"name": "a.wav", "sha256": "sha256:00"},
    "num_codebooks": 8,
    "gains_db": (0.0, -0.5),
    "loop_s": [1, 2],
}


def listen(session: ABXSession, rng: np.random.Generator, hit_rate: float) -> None:
    """Answer one trial as a listener who is right with ``hit_rate``: through the public door only."""
    signals = {button: session.play(button) for button in ("A", "B", "X")}  # type: ignore[arg-type]
    right = "A" if signals["A"] == signals["X"] else "B"
    wrong = "B" if right == "A" else "A"
    session.answer(right if rng.random() < hit_rate else wrong)  # type: ignore[arg-type]


def run(hit_rate: float, seed: int = 0, trials: int = 16, **options: Any) -> ABXSession:
    session, rng = ABXSession(SETUP, trials, **options), np.random.default_rng(seed)
    while not session.is_finished:
        listen(session, rng, hit_rate)
    return session


def log_of(session: ABXSession) -> dict[str, Any]:
    return json.loads(json.dumps(session.log()))


def test_two_hundred_listeners_get_the_promised_errors() -> None:
    """200 who guess and 200 who hear 80 %: p <= .05 as often as the binomial law says (within 3 sigma)."""
    for hit_rate in (0.5, 0.8):
        passed = sum(run(hit_rate, seed).result().p <= 0.05 for seed in range(200))
        expected = scipy.stats.binom.sf(11, 16, hit_rate)  # 12 or more
        assert abs(passed - 200 * expected) <= 3 * np.sqrt(200 * expected * (1 - expected))
    assert expected == pytest.approx(0.80, abs=0.005)


def test_intervals_cover_the_truth() -> None:
    covered = 0
    for seed in range(200):
        low, high = run(0.8, seed).result().interval
        covered += low <= 0.8 <= high
    assert covered >= 0.95 * 200 - 3 * np.sqrt(200 * 0.95 * 0.05)


def test_the_score_is_hidden_until_done() -> None:
    session, rng = ABXSession(SETUP), np.random.default_rng(0)
    for _ in range(15):
        listen(session, rng, 1.0)
        for secret in (session.result, session.log):
            with pytest.raises(ValueError, match="hidden"):
                secret()
    listen(session, rng, 1.0)
    assert session.result().correct == 16
    for late in (lambda: session.play("A"), lambda: session.answer("A"), lambda: session.void("x")):
        with pytest.raises(ValueError, match="finished"):
            late()


@pytest.mark.parametrize("played", ["", "A", "B", "X", "AB", "AX", "BX"])
def test_answer_only_after_all_three(played: str) -> None:
    session = ABXSession(SETUP)
    for button in played:
        session.play(button)  # type: ignore[arg-type]
    assert not session.may_answer
    with pytest.raises(ValueError, match="before answering"):
        session.answer("A")
    assert session.num_answered == 0


def test_all_four_draws_occur_evenly() -> None:
    """X and the side of A are drawn independently (chi-square, p > 1e-6 so that it fails once in a million)."""
    seen: Counter[tuple[int, int]] = Counter()
    for _ in range(100):
        for entry in run(0.5, trials=25).log()["trials"]:
            seen[entry["signal_at_a"], entry["signal_at_x"]] += 1
    assert len(seen) == 4
    assert scipy.stats.chisquare(list(seen.values())).pvalue > 1e-6


def test_a_blind_trial_plays_what_it_says() -> None:
    for a in (0, 1):
        for x in (0, 1):
            trial = BlindTrial(a, x, 0.0)
            assert (trial.play("A"), trial.play("B"), trial.play("X")) == (a, 1 - a, x)
            assert trial.is_correct("A") == (a == x)
            assert trial.is_correct("B") == (a != x)


def test_an_underrun_voids_and_repeats() -> None:
    draws = iter([0, 0, 1, 1] + [0] * 100)
    session = ABXSession(SETUP, draw=lambda n: next(draws))
    for button in "ABX":
        session.play(button)  # type: ignore[arg-type]
    assert session.answer("A", underruns=2) is None
    assert (session.num_answered, session.num_void) == (0, 1)
    assert not session.may_answer
    assert session.play("X") == 1  # a new draw
    session.void("device unplugged")
    rng = np.random.default_rng(0)
    while not session.is_finished:
        listen(session, rng, 1.0)
    result, log = session.result(), log_of(session)
    assert (result.answered, result.correct, len(log["trials"])) == (16, 16, 18)
    assert [entry["void"] for entry in log["trials"][:3]] == ["the sound had gaps", "device unplugged", ""]
    assert [entry["trial"] for entry in log["trials"][:4]] == [1, 1, 1, 2]
    assert verify_log(log) == []


def test_stopping_early_is_marked() -> None:
    session, rng = ABXSession(SETUP), np.random.default_rng(0)
    for _ in range(5):
        listen(session, rng, 1.0)
    session.stop()
    result = session.result()
    assert result.stopped_early
    assert (result.answered, result.planned) == (5, 16)
    assert "Stopped early" in result.text
    assert verify_log(log_of(session)) == []
    done = run(1.0)
    done.stop()
    assert not done.result().stopped_early


def test_training_tells_and_never_scores() -> None:
    session = ABXSession(SETUP, training=True, draw=lambda n: 0)
    for button in "ABX":
        session.play(button)  # type: ignore[arg-type]
    assert session.answer("A") is True
    for button in "ABX":
        session.play(button)  # type: ignore[arg-type]
    assert session.answer("B") is False
    session.stop()
    assert session.result().text.startswith("Training")
    assert session.log()["training"] is True
    real = ABXSession(SETUP, draw=lambda n: 0)
    for button in "ABX":
        real.play(button)  # type: ignore[arg-type]
    assert real.answer("A") is None


@pytest.mark.parametrize("trials", [0, 9, 26, 100])
def test_the_number_of_trials_is_bounded(trials: int) -> None:
    with pytest.raises(ValueError, match="expected 10 to 25"):
        ABXSession(SETUP, trials)


def test_the_log_tells_all() -> None:
    clock = iter(float(i) for i in range(1000))
    log = log_of(run(0.8, clock=lambda: next(clock)))
    assert log["setup"]["num_codebooks"] == 8
    assert {"mimi-gui", "python", "numpy"} <= set(log["versions"])
    assert log["planned_trials"] == 16
    assert log["started"] == "1970-01-01T00:00:00.000+00:00"
    entry = log["trials"][3]
    assert entry["plays"] == {"A": 1, "B": 1, "X": 1}
    assert entry["seconds"] == 1.0
    assert {"signal_at_a", "signal_at_x", "answer", "correct", "underruns", "void", "trial", "hash"} <= set(entry)
    assert verify_log(log) == []


def flip(log: dict[str, Any]) -> None:
    log["trials"][2]["correct"] = not log["trials"][2]["correct"]


def drop(log: dict[str, Any]) -> None:
    del log["trials"][4]


def better(log: dict[str, Any]) -> None:
    log["result"]["p"] = 0.001


def louder(log: dict[str, Any]) -> None:
    log["setup"]["gains_db"] = [0.0, 0.0]


def unheard(log: dict[str, Any]) -> None:
    log["trials"][0]["plays"]["X"] = 0


@pytest.mark.parametrize("forge", [flip, drop, better, louder, unheard])
def test_edits_are_found(forge) -> None:
    log = log_of(run(0.8))
    forge(log)
    assert verify_log(log)


def test_a_forged_chain_must_still_add_up() -> None:
    """Whoever computes the hashes anew is caught by the rules unless he invents a whole test."""
    from mimi_gui.analysis import journal

    log = run(0.5, seed=3).log()
    trials = [{k: v for k, v in entry.items() if k != "hash"} for entry in log["trials"]]
    result = {k: v for k, v in log["result"].items() if k != "hash"} | {"correct": 16, "p": 2**-16}
    forged = journal.write("abx", SETUP, trials, result, training=False, planned_trials=16, started=log["started"])
    assert journal.broken_links(forged) == []
    assert any("correct" in problem for problem in verify_log(forged))


def test_rules_are_checked_beside_the_hashes() -> None:
    """Logs with a perfect chain and a true score whose trials broke the rules."""
    from mimi_gui.analysis import journal

    log = run(1.0).log()
    plain = [{k: v for k, v in entry.items() if k != "hash"} for entry in log["trials"]]
    result = {k: v for k, v in log["result"].items() if k != "hash"}

    def problems(trials: list[dict[str, Any]], planned: int = 16, **more: Any) -> str:
        forged = journal.write("abx", SETUP, trials, result | more, training=False, planned_trials=planned)
        assert journal.broken_links(forged) == []
        return "; ".join(verify_log(forged))

    assert problems(plain) == ""
    assert "sound had gaps" in problems([plain[0] | {"underruns": 2}, *plain[1:]])
    assert "before A, B and X" in problems([plain[0] | {"plays": {"A": 1, "B": 1, "X": 0}}, *plain[1:]])
    assert "without an answer" in problems([plain[0] | {"answer": None}, *plain[1:]])
    assert "disagree" in problems([plain[0] | {"correct": False}, *plain[1:]])
    assert "void and has a score" in problems([plain[0] | {"void": "x"}, *plain])
    assert "only 15 were planned" in problems(plain, planned=15)
    assert "expected 10 to 25" in problems(plain, planned=5)


@pytest.mark.parametrize("log", [{}, {"format": "x"}, {"trials": 3}, {"kind": "abx", "trials": [1], "result": {}}])
def test_rubbish_is_told_not_raised(log: dict[str, Any]) -> None:
    assert verify_log(log)
    assert verify_log({"format": "mimi-gui listening test", "version": 1, **log})
