"""Logs of listening tests on disk: save one, read one back, print and verify it (``mimi-gui abx-report``).

Several logs are summed up; ratings are put together over listeners.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimi_gui.analysis import abx, journal, rating_session, ratings, staircase
from mimi_gui.errors import MimiGuiError
from mimi_gui.target import writing

_MAX_BYTES = 64 * 2**20


def save_log(path: str | os.PathLike[str], log: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write a log as JSON, whole or not at all.

    Raises:
        OutputError: it cannot be written or exists already.
    """
    with writing(path, overwrite=overwrite) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())  # a running test's log: neither a crash nor a power cut takes what is in it
    return Path(path)


def load_log(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a log; says nothing about its truth.

    Raises:
        MimiGuiError: missing, not JSON, or not a log.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MimiGuiError(f"{path} has more than 64 MiB; expected the log of a listening test.")
        log = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MimiGuiError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise MimiGuiError(f"{path} is not JSON; expected the log of a listening test.") from error
    if not isinstance(log, dict) or log.get("format") != journal.FORMAT:
        raise MimiGuiError(f"{path} is not the log of a listening test.")
    return log


def verify_log(log: Mapping[str, Any]) -> list[str]:
    """What is wrong with a log of any kind, in words; empty when all holds."""
    if log.get("kind") == "abx":
        return abx.verify_log(log)
    problems = journal.broken_links(log)
    rules = {
        "staircase": staircase.broken_rules,
        "preference": ratings.broken_preference,
        "mushra": rating_session.broken_rules,
    }.get(str(log.get("kind")))
    if rules is None:
        return [*problems, f"this log is of the unknown kind {log.get('kind')!r}"]
    try:
        problems += rules(log)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problems.append(f"the log lacks a field or has one of another type: {error}")
    return problems


def report_lines(log: Mapping[str, Any]) -> list[str]:
    """The log for a person: setup, trials, result and whether it verifies. Never raises on a loaded log."""
    lines = [f"{str(log.get('kind', '?')).upper()} on {log.get('started', 'an unknown day')}"]
    setup, versions = log.get("setup"), log.get("versions")
    for name, value in (setup if isinstance(setup, dict) else {}).items():
        if name == "signals" and isinstance(value, list):
            lines += [f"  {'reference' if i == 0 else 'take'}: {_signal_words(one)}" for i, one in enumerate(value)]
            continue
        lines.append(f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if isinstance(versions, dict):
        lines.append("  versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    trials = log.get("trials")
    for entry in trials if isinstance(trials, list) else []:
        lines.append("  " + _trial_line(entry) if isinstance(entry, dict) else "  (not a record)")
    result = log.get("result")
    if isinstance(result, dict):
        if result.get("state") == "running":
            lines.append("INTERRUPTED: the program ended while the test ran; this is what was answered until then.")
        lines.append(str(result.get("text") or json.dumps({k: v for k, v in result.items() if k != "hash"})))
    problems = verify_log(log)
    lines += [f"NOT VERIFIED: {problem}." for problem in problems]
    if not problems:
        lines.append("Verified: the hashes hold and the result follows from the trials.")
    return lines


def summary_lines(logs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Several logs, (name, log) each: a line per log, then the ratings of all listeners together.

    As BS.1534-3 has it: one score per listener and take (the mean of the listener's rounds), listeners who rate the
    hidden reference below 90 in more than 15 % of their rounds left out, Student's interval over the others. ABX
    runs are not pooled: one listener's hits say nothing of another's ears. Logs that do not verify are left out.
    """
    lines, sound = [], []
    for name, log in logs:
        problems = verify_log(log)
        setup, result = log.get("setup"), log.get("result")
        listener = str(setup.get("listener", "")) if isinstance(setup, dict) else ""
        words = str(result.get("text", "")) if isinstance(result, dict) else ""
        lines.append(f"{name}: {str(log.get('kind', '?')).upper()}{f', {listener}' if listener else ''}. {words}")
        lines += [f"  NOT VERIFIED: {problem}." for problem in problems]
        if not problems and log.get("kind") == "mushra" and "planned_trials" in log and log["trials"]:
            sound.append((listener or name, log))
    return [*lines, *_pooled_ratings(sound)] if len(sound) > 1 else lines


def _pooled_ratings(logs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    scores: dict[str, dict[str, list[int]]] = {}  # take -> listener -> scores
    references: dict[str, list[int]] = {}
    for listener, log in logs:
        for entry in log["trials"]:
            if entry["name"] == ratings.REFERENCE:
                references.setdefault(listener, []).append(entry["score"])
            scores.setdefault(entry["name"], {}).setdefault(listener, []).append(entry["score"])
    out = sorted(name for name, given in references.items() if ratings.is_screened_out(given))
    lines = [f"MUSHRA over {len(references) - len(out)} of {len(references)} listeners:"]
    if out:
        lines[0] = f"{lines[0][:-1]} (left out by BS.1534-3: {', '.join(out)}):"
    rows = []
    for name, by_listener in scores.items():
        means = [sum(given) / len(given) for who, given in by_listener.items() if who not in out]
        if means:
            mean, low, high = ratings.mean_interval(means)
            span = f", 95 % {low:.1f} to {high:.1f}" if len(means) > 1 else ""
            rows.append((-mean, f"  {name}: {mean:.1f}{span}, {len(means)} listener{'s' if len(means) > 1 else ''}"))
    return [*lines, *(words for _, words in sorted(rows))]


def _signal_words(signal: object) -> str:
    if not isinstance(signal, dict):
        return "(not a record)"
    facts = {k: v for k, v in signal.items() if k != "name"}
    parts = [f"{v}" if str(v).startswith(f"{k}:") else f"{k} {v if isinstance(v, str) else json.dumps(v)}"
             for k, v in facts.items()]  # fmt: skip
    return ", ".join([str(signal.get("name", "?")), *parts])


def _trial_line(entry: Mapping[str, Any]) -> str:
    if "score" in entry:
        number = f"round {entry['round']}, " if "round" in entry else ""
        return f"{number}{entry.get('name')}: {entry['score']} ({entry.get('plays')} plays)"
    parts = [f"trial {entry['trial']}" if "trial" in entry else "trial"]
    if "level" in entry:
        parts.append(f"{entry['level']} codebooks")
    if "signal_at_x" in entry:
        parts.append(f"X was {'AB'[entry.get('signal_at_a') != entry.get('signal_at_x')]}")
    parts.append(f"answer {entry.get('answer')}")
    if entry.get("void"):
        parts.append(f"void: {entry['void']}")
    elif entry.get("correct") is not None:
        parts.append("right" if entry["correct"] else "wrong")
    plays = entry.get("plays")
    if isinstance(plays, dict):
        parts.append("plays " + " ".join(f"{k} {v}" for k, v in plays.items()))
    parts.append(f"{entry.get('seconds')} s")
    return ", ".join(parts)
