from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mimi_gui import cli
from mimi_gui.analysis import journal, ratings
from mimi_gui.analysis.abx import ABXSession
from mimi_gui.analysis.journal import ListeningSetup, sha256_of
from mimi_gui.analysis.rating_session import RatingSession
from mimi_gui.analysis.ratings import PreferenceSession, RatingPage
from mimi_gui.analysis.staircase import StaircaseSession
from mimi_gui.errors import MimiGuiError, OutputError
from mimi_gui.listening_log import load_log, report_lines, save_log, verify_log


def abx_log() -> dict[str, Any]:
    session = ABXSession({"reference": "a.wav", "gains_db": [0, -1.5]}, 10)
    while not session.is_finished:
        for button in ("A", "B", "X"):
            session.play(button)
        session.answer("A", underruns=int(session.num_void == 0))
    return session.log()


def staircase_log() -> dict[str, Any]:
    session = StaircaseSession({}, num_trials=20)
    while not session.is_finished:
        for button in ("A", "B", "X"):
            session.play(button)
        session.answer("B")
    return session.log()


def preference_log() -> dict[str, Any]:
    session = PreferenceSession({}, 5)
    while not session.is_finished:
        session.play("A")
        session.play("B")
        session.answer("tie" if session.num_answered < 2 else "A")
    return session.log()


def mushra_log() -> dict[str, Any]:
    page = RatingPage({}, ["K=8"])
    for button in range(3):
        page.play(button)
        page.rate(button, 10 * button)
    return page.log()


def rounds_log() -> dict[str, Any]:
    session = RatingSession({}, ["K=8"], 2)
    while not session.is_finished:
        for button in range(3):
            session.page.play(button)
            session.page.rate(button, 30 * button)
        session.next_round()
    return session.log()


KINDS = [abx_log, staircase_log, preference_log, mushra_log, rounds_log]


@pytest.mark.parametrize("make", KINDS)
def test_there_and_back(make, tmp_path: Path) -> None:
    log = make()
    path = save_log(tmp_path / "test.json", log)
    back = load_log(path)
    assert back == json.loads(json.dumps(log))
    assert verify_log(back) == []
    lines = report_lines(back)
    assert lines[-1].startswith("Verified")
    assert len(lines) >= len(log["trials"]) + 2
    with pytest.raises(OutputError):
        save_log(path, log)


@pytest.mark.parametrize("make", KINDS)
def test_one_changed_number_anywhere_is_found(make) -> None:
    """Each number and word of the log in turn."""
    log = json.loads(json.dumps(make()))

    def places(value: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if isinstance(value, dict):
            return [p for k, v in value.items() for p in places(v, (*path, k))]
        if isinstance(value, list):
            return [p for i, v in enumerate(value) for p in places(v, (*path, i))]
        return [path]

    for path in places(log, ()):
        forged = json.loads(json.dumps(log))
        holder = forged
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = old + 1 if isinstance(old, int | float) and not isinstance(old, bool) else f"{old}!"
        assert verify_log(forged), path
        assert any(line.startswith("NOT VERIFIED") for line in report_lines(forged))


def test_what_is_no_log(tmp_path: Path) -> None:
    for name, text in (("a", "not json"), ("b", "[1]"), ("c", "{}"), ("d", "[" * 100_000)):
        (tmp_path / name).write_text(text)
        with pytest.raises(MimiGuiError):
            load_log(tmp_path / name)
    with pytest.raises(MimiGuiError, match="cannot be read"):
        load_log(tmp_path / "missing.json")


@pytest.mark.parametrize("kind", ["abx", "staircase", "preference", "mushra", "other"])
@pytest.mark.parametrize("trials", [None, [], [1], [{}], [{"void": ""}]])
@pytest.mark.parametrize("result", [None, {}, {"text": 3}])
def test_rubbish_is_reported_not_raised(kind: str, trials: Any, result: Any) -> None:
    log = {"format": "mimi-gui listening test", "version": 1, "kind": kind, "trials": trials, "result": result}
    assert any(line.startswith("NOT VERIFIED") for line in report_lines(log))


def test_a_setup_tells_what_was_played(tmp_path: Path) -> None:
    samples = np.array([0.5, -0.25], np.float64)
    digest = f"sha256:{hashlib.sha256(struct.pack('<2f', 0.5, -0.25)).hexdigest()}"
    assert sha256_of(samples) == digest
    signals = ({"name": "a.wav", "sha256": digest}, {"name": "8 codebooks", "sha256": digest, "gain_db": -0.4})
    setup = ListeningSetup(signals, 48_000, (1.0, 2.5), True, "Headphones", 21.3)
    session = ABXSession(setup.as_dict(), 10)
    session.stop()
    log = load_log(save_log(tmp_path / "log.json", session.log()))
    assert log["setup"]["loop_s"] == [1.0, 2.5]
    assert verify_log(log) == []
    assert any("Headphones" in line for line in report_lines(log))


def forged(log: dict[str, Any], **trial: Any) -> dict[str, Any]:
    """``log`` with its first trial changed and every hash computed anew."""

    def plain(entry: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in entry.items() if k != "hash"}

    entries = [plain(entry) for entry in log["trials"]]
    entries[0] |= trial
    known = ("format", "version", "kind", "setup", "versions", "trials", "result", "hash")
    header = {k: v for k, v in log.items() if k not in known}
    return journal.write(log["kind"], log["setup"], entries, plain(log["result"]), **header)


@pytest.mark.parametrize(
    ("make", "trial", "words"),
    [
        (staircase_log, {"plays": {"A": 1, "B": 1, "X": 0}}, "before A, B and X were played"),
        (staircase_log, {"underruns": 1}, "counts although the sound had gaps"),
        (staircase_log, {"void": "lost", "correct": None}, "smallest number"),
        (preference_log, {"plays": {"A": 1, "B": 0}}, "before A and B were played"),
        (preference_log, {"answer": "B"}, "another take"),
        (preference_log, {"void": "lost"}, "stopped_early"),
        (rounds_log, {"plays": 0}, "without being heard"),
        (rounds_log, {"score": 77}, "do not follow"),
    ],
)
def test_rules_are_checked_behind_perfect_hashes(make, trial: dict[str, Any], words: str) -> None:
    """As for ABX in test_abx.py: a chain computed anew does not help."""
    assert verify_log(forged(make())) == []
    log = forged(make(), **trial)
    assert journal.broken_links(log) == []
    assert any(words in problem for problem in verify_log(log)), verify_log(log)


def test_ratings_of_several_listeners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One score per listener and take; who does not hear the hidden reference is left out; ABX is never pooled."""
    given = {"Ada": (70, 100), "Bob": (80, 95), "Cy": (60, 98), "Deaf": (10, 20)}
    paths = []
    for listener, (take, reference) in given.items():
        session = RatingSession({"listener": listener}, ["K=8"], 2)
        for turn in (-2, 2):
            for button in range(3):
                name = session.page.play(button)
                session.page.rate(button, {"K=8": take + turn, ratings.REFERENCE: reference}.get(name, 5))
            session.next_round()
        paths.append(save_log(tmp_path / f"{listener}.json", session.log()))
    paths.append(save_log(tmp_path / "abx.json", abx_log()))
    assert cli.main(["abx-report", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    low, high = scipy.stats.t.interval(0.95, 2, loc=70, scale=scipy.stats.sem([70, 80, 60]))
    assert f"K=8: 70.0, 95 % {low:.1f} to {high:.1f}, 3 listeners" in printed
    assert "3 of 4 listeners (left out by BS.1534-3: Deaf)" in printed
    assert "abx.json: ABX" in printed
    log = load_log(paths[0])
    log["trials"][0]["score"] += 1
    save_log(paths[0], log, overwrite=True)
    assert cli.main(["abx-report", *map(str, paths)]) == 1
    printed = capsys.readouterr().out
    assert "NOT VERIFIED" in printed
    assert "2 of 3 listeners" in printed
    assert cli.main(["abx-report", "--json", *map(str, paths)]) == 1
    found = [json.loads(line)["verified"] for line in capsys.readouterr().out.splitlines()]
    assert found == [False, True, True, True, True]
