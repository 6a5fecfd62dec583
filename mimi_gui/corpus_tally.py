"""The books of a corpus run: what is there already, what became of each file, how fast it goes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimi_gui.corpus_items import Item, Manifest
from mimi_gui.corpus_job import Job, Outcome, Task, guess_length_s
from mimi_gui.corpus_work import targets, whole_facts
from mimi_gui.errors import MimiGuiError

_PARTIAL = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{8}\.part(?P<suffix>\.\w+)")
_CHANNEL = re.compile(r"\.ch\d+$")


@dataclass(frozen=True)
class Progress:
    """Where a run is, after each file.

    Attributes:
        done, skipped, failed: files so far; skipped ones were whole before.
        total: files of this shard.
        audio_s: of the files that were done in this run.
        elapsed_s: since the first file was begun.
        left_s: by what is still to be done, None where it is too early to tell.
        record: the manifest's line of the file that was just finished.
        worker: who did it: ``machine:process``, or "" where there is only one.
    """

    done: int
    skipped: int
    failed: int
    total: int
    audio_s: float
    elapsed_s: float
    left_s: float | None
    record: Mapping[str, Any]
    worker: str = ""

    @property
    def hours_per_s(self) -> float:
        """Hours of audio per second of the clock."""
        return self.audio_s / 3600 / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class Report:
    """How a run ended. ``failures`` are the manifest's lines of this run; the totals as in :class:`Progress`.

    ``workers``: how many files each made, where there were several.
    """

    manifest: Path
    done: int
    skipped: int
    failed: int
    audio_s: float
    elapsed_s: float
    failures: tuple[Mapping[str, Any], ...]
    workers: Mapping[str, int]


class Tally:
    """Counts, the manifest and the reports of a run. On the calling thread only."""

    def __init__(
        self, job: Job, items: list[Item], manifest: Manifest, progress: Callable[[Progress], None] | None
    ) -> None:
        self._job, self._items, self._manifest, self._progress = job, items, manifest, progress
        self._sizes = {item.path: _size(item.path) for item in items}
        self._lengths = {item.path: guess_length_s(item, self._sizes[item.path]) for item in items}
        self._left_s, self._worked_s = sum(self._lengths.values()), 0.0  # of audio, as guessed
        self._waiting: dict[int, tuple[Item, Path]] = {}
        self._seen: set[Path] = set()
        self._done = self._skipped = self._failed = 0
        self._audio_s = 0.0
        self._failures: list[Mapping[str, Any]] = []
        self._workers: dict[str, int] = {}
        self._start = time.monotonic()

    def tasks(self, retry_failed: bool, longest_first: bool) -> Iterator[Task]:
        """What is to be done; what is whole, or failed before and is not tried again, is told on the way.

        Raises:
            CodesMismatch: something else made a file that is in the way.
        """
        items = sorted(self._items, key=lambda item: -self._lengths[item.path]) if longest_first else self._items
        number = 0
        for item in items:
            try:
                wanted = targets(self._job, item)
            except MimiGuiError as error:
                target = self._job.folder / f"{item.name}{self._job.suffix}"
                before = self._manifest.records.get(self._place(target), {})
                if before.get("status") == "failed" and not retry_failed:
                    self._failed_before(item, before)
                else:
                    self._failure(item, target, {"error": error.message}, "")
                continue
            for target, channel in wanted:
                before = self._manifest.records.get(self._place(target), {})
                if before.get("status") == "failed" and not retry_failed:
                    self._failed_before(item, before)
                    continue
                size = self._sizes[item.path]
                changed = before.get("status") == "ok" and before.get("source_bytes", size) != size
                facts = None if changed else whole_facts(self._job, target, str(before.get("made", "")))
                if facts is not None:
                    self._whole(item, target, facts)
                    continue
                number += 1
                self._waiting[number] = (item, target)
                yield Task(number, item.path, target, channel, self._lengths[item.path], changed)

    def add(self, outcome: Outcome) -> None:
        """Write down what became of a task; a second outcome of the same one is of no interest."""
        if outcome.status == "ready" and not self._done:
            self._start = time.monotonic()  # what came before was loading
        item, target = self._waiting.pop(outcome.number, (None, None))
        if item is None or target is None:
            return
        if outcome.status == "failed":
            self._failure(item, target, outcome.facts, outcome.worker)
            return
        record = self._record(item, target, "ok", outcome.facts)
        self._manifest.add(record)
        self._done += 1
        self._audio_s += float(outcome.facts.get("duration", 0.0))
        if outcome.worker:
            self._workers[outcome.worker] = self._workers.get(outcome.worker, 0) + 1
        self._tell(item, record, self._lengths[item.path], outcome.worker)

    def report(self) -> Report:
        """How it ended."""
        elapsed_s = time.monotonic() - self._start
        counts = (self._done, self._skipped, len(self._failures))
        failures = tuple(self._failures)
        return Report(self._manifest.path, *counts, self._audio_s, elapsed_s, failures, dict(self._workers))

    def _whole(self, item: Item, target: Path, facts: dict[str, Any]) -> None:
        record = self._manifest.records.get(self._place(target), {})
        if record.get("status") != "ok" or any(record.get(key) != value for key, value in facts.items()):
            # Saved, but the run died before its line.
            record = self._record(item, target, "ok", facts)
            self._manifest.add(record)
        self._skipped += 1
        self._tell(item, record, 0.0, "")

    def _failed_before(self, item: Item, record: Mapping[str, Any]) -> None:
        self._skipped += 1
        self._failures.append(record)
        self._tell(item, record, 0.0, "")

    def _failure(self, item: Item, target: Path, facts: Mapping[str, Any], worker: str) -> None:
        record = self._record(item, target, "failed", facts)
        self._manifest.add(record)
        self._failures.append(record)
        self._failed += 1
        self._tell(item, record, self._lengths[item.path], worker)

    def _record(self, item: Item, target: Path, status: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        base = {"path": self._place(target), "status": status, "source": os.path.abspath(item.path)}
        return {**item.about, **base, "source_bytes": self._sizes[item.path], **facts}

    def _place(self, target: Path) -> str:
        return target.relative_to(self._manifest.folder).as_posix()

    def _tell(self, item: Item, record: Mapping[str, Any], worked_s: float, worker: str) -> None:
        if item.path not in self._seen:
            self._seen.add(item.path)
            self._left_s -= self._lengths[item.path]
            self._worked_s += worked_s
        if self._progress is None:
            return
        elapsed_s = time.monotonic() - self._start
        left_s = max(0.0, self._left_s) / self._worked_s * elapsed_s if self._worked_s else None
        if len(self._seen) == len(self._items):
            left_s = 0.0 if left_s is not None else None
        total = max(len(self._items), self._done + self._skipped + self._failed)
        self._progress(
            Progress(self._done, self._skipped, self._failed, total, self._audio_s, elapsed_s, left_s, record, worker)
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def remove_leftovers(job: Job, items: list[Item]) -> None:
    """Delete the halves of this run's files that a killed run left behind; those of other shards stay."""
    names = {item.name for item in items}
    for path in job.folder.rglob(".*.part.*"):
        match = _PARTIAL.fullmatch(path.name)
        if match is None or match["suffix"] != job.suffix:
            continue
        name = path.relative_to(job.folder).with_name(match["stem"]).as_posix()
        if name in names or _CHANNEL.sub("", name) in names:
            with suppress(OSError):
                path.unlink()
