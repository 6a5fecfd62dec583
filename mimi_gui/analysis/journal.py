"""The record of a listening test: entries that carry the hash of all before them.

The chain shows that a log was not edited by accident or by half; it holds no secret, so it cannot stop
someone who computes it anew. Pure; any thread.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import mimi_gui

FORMAT = "mimi-gui listening test"
FORMAT_VERSION = 1
_PACKAGES = ("numpy", "scipy", "soxr", "sounddevice", "torch", "transformers")


def write(
    kind: str,
    setup: Mapping[str, object],
    trials: Sequence[Mapping[str, object]],
    result: Mapping[str, object],
    **header: object,
) -> dict[str, Any]:
    """A JSON-able log: header (kind, setup, versions and what ``header`` adds), trials and result, each
    hashed.

    Raises:
        TypeError, ValueError: something in it is not JSON.
    """
    head: dict[str, Any] = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "kind": kind,
        "versions": _versions(),
        "setup": dict(setup),
        **header,
    }
    # Through JSON and back, so that what is hashed is what a reader will find (tuples, keys that are
    # numbers).
    head, entries, outcome = json.loads(json.dumps([head, list(trials), result], allow_nan=False))
    chain = _hash("", head)
    log: dict[str, Any] = {**head, "hash": chain, "trials": []}
    for trial in entries:
        chain = _hash(chain, trial)
        log["trials"].append({**trial, "hash": chain})
    log["result"] = {**outcome, "hash": _hash(chain, outcome)}
    return log


def broken_links(log: Mapping[str, Any]) -> list[str]:
    """Where the chain does not hold, in words; empty when it does."""
    problems = []
    if log.get("format") != FORMAT:
        return [f"this is not a listening test log: format {log.get('format')!r}, expected {FORMAT!r}"]
    if log.get("version") != FORMAT_VERSION:
        return [f"log version {log.get('version')!r}, expected {FORMAT_VERSION}: read it with a newer mimi-gui"]
    trials, result = log.get("trials"), log.get("result")
    if not isinstance(trials, list) or not isinstance(result, dict):
        return ["the log lacks its trials or its result"]
    head = {k: v for k, v in log.items() if k not in ("hash", "trials", "result")}
    chain = _hash("", head)
    if log.get("hash") != chain:
        problems.append("the header was changed after the test")
    chain = str(log.get("hash"))
    for i, entry in enumerate([*trials, result]):
        name = "the result" if i == len(trials) else f"entry {i + 1}"
        if not isinstance(entry, dict):
            return [*problems, f"{name} is not a record"]
        if entry.get("hash") != _hash(chain, {k: v for k, v in entry.items() if k != "hash"}):
            problems.append(f"{name} was changed after the test, or one before it was taken out")
        chain = str(entry.get("hash"))
    return problems


@dataclass(frozen=True)
class ListeningSetup:
    """What a log must say about the sounds and how they were played; ``as_dict()`` is a session's ``setup``.

    Attributes:
        signals: one record each (name, sha256 of what was played, num_codebooks, gain_db, lag_samples,
            lag_corrected ...), the reference first: :meth:`mimi_gui.analysis.stimuli.Stimulus.as_dict`.
        sample_rate: of what was played, in Hz.
        loop_s: (start, end) in the recording.
        level_matched: whether all were played equally loud; False is "as decoded".
        source, source_sha256: the file on disk; "" where there is none.
        listener, notes: in the listener's own words, may be empty.
        restarts: each press began at the loop's start, instead of going on at the same place.
    """

    signals: tuple[Mapping[str, object], ...]
    sample_rate: int
    loop_s: tuple[float, float]
    level_matched: bool
    device: str
    latency_ms: float
    volume: float = 1.0
    restarts: bool = False
    source: str = ""
    source_sha256: str = ""
    checkpoint: str = ""
    listener: str = ""
    notes: str = ""

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return {name: value for name, value in asdict(self).items() if value != ""}


def sha256_of(samples: np.ndarray) -> str:
    """``"sha256:<hex>"`` of float32 samples as they are played (little endian, time first)."""
    data = np.ascontiguousarray(samples, dtype="<f4")
    return f"sha256:{hashlib.sha256(data.tobytes()).hexdigest()}"


def iso_time(seconds: float) -> str:
    """Unix seconds as UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _hash(previous: str, entry: Mapping[str, object]) -> str:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"mimi-gui": mimi_gui.__version__, "python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
