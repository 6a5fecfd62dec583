"""Many files: ``encode_corpus`` and ``decode_corpus`` on one machine, resumable, one bad file never stopping the run.

Threads: the caller's thread computes; reader threads load and resample ahead; one writer thread saves tokens and
keeps the manifest. A file's tokens do not depend on shard, order, resume point or the other files: every file is a
stream of its own, in the same pieces that ``encode_audio`` takes.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimi_gui.audio import check_format
from mimi_gui.codes import Codes, load_codes
from mimi_gui.corpus_items import AUDIO_SUFFIXES, Item, Manifest, find_items
from mimi_gui.corpus_work import Decoding, Encoding, Work
from mimi_gui.decoder import open_codec_for
from mimi_gui.encoder import DEFAULT_MODEL, named
from mimi_gui.errors import Cancelled, CodesFileError, CodesMismatch, DeviceError, MimiGuiError, OutputError

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

_FATAL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a run is, after each file.

    Attributes:
        done, skipped, failed: files so far; skipped ones were whole before.
        total: files of this shard.
        audio_s: of the files that were done in this run.
        elapsed_s: since the first file was begun.
        left_s: by the bytes that are still to be read, None where it is too early to tell.
        record: the manifest's line of the file that was just finished.
    """

    done: int
    skipped: int
    failed: int
    total: int
    audio_s: float
    elapsed_s: float
    left_s: float | None
    record: Mapping[str, Any]

    @property
    def hours_per_s(self) -> float:
        """Hours of audio per second of the clock."""
        return self.audio_s / 3600 / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class Report:
    """How a run ended. ``failures`` are the manifest's lines of this run; the totals as in :class:`Progress`."""

    manifest: Path
    done: int
    skipped: int
    failed: int
    audio_s: float
    elapsed_s: float
    failures: tuple[Mapping[str, Any], ...]


def encode_corpus(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model_name: str = DEFAULT_MODEL,
    device: str | None = None,
    *,
    num_codebooks: int | None = None,
    channels: str = "mix",
    shard: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    num_readers: int = 2,
    progress: Callable[[Progress], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Report:
    """Encode all recordings of ``source`` into a mirrored tree of token files. Blocking.

    Args:
        source: a folder, a pattern, a file or a ``.jsonl`` manifest of ``{"path", ...}``.
        target: a folder; made if it is not there. What is whole in it is not done again.
        channels: ``"mix"`` for the mean, ``"split"`` for a token file per channel (``talk.ch0.npz`` ...).
        shard: (i, n): only every n-th file, from the i-th on, 0 <= i < n.
        retry_failed: try again what failed before.
        progress: called after each file, on the calling thread.
        cancel: polled before each file.
        codec: one that is loaded already; it stays open.

    Raises:
        MimiGuiError: nothing to do, or the target holds tokens of another checkpoint or number of codebooks.
        OutputError: the target cannot be written, or the disk is full.
        ModelUnavailable, DeviceError: the codec cannot be loaded or has no memory left.
        Cancelled: ``cancel`` returned True. What was done stays and is not done again.
    """
    if channels not in ("mix", "split"):
        raise ValueError(f"channels is {channels!r}, expected mix or split")
    items = _shard(find_items(source, AUDIO_SUFFIXES), shard)
    manifest = Manifest(Path(target), shard)
    opened = codec
    try:
        if opened is None:
            from mimi_gui.codec import MimiCodec

            opened = MimiCodec.from_pretrained(named(model_name), device, progress=load_progress, cancel=cancel)
        most = opened.info.num_codebooks
        if num_codebooks is not None and not 1 <= num_codebooks <= most:
            raise CodesMismatch(f"{num_codebooks} codebooks were asked for, {opened.checkpoint.label} has 1 to {most}.")
        work = Encoding(opened, Path(target), num_codebooks or most, channels == "split", cancel)
        return _run(work, items, manifest, retry_failed, num_readers, progress, cancel)
    finally:
        manifest.close()
        if opened is not None and codec is None:
            opened.close()


def decode_corpus(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model_name: str | None = None,
    device: str | None = None,
    *,
    num_codebooks: int | None = None,
    suffix: str = ".flac",
    subtype: str | None = None,
    shard: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    num_readers: int = 2,
    progress: Callable[[Progress], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Report:
    """Decode all token files of ``source`` into a mirrored tree of recordings; otherwise as :func:`encode_corpus`.

    Args:
        model_name: None = the checkpoint that the first readable file names. Tokens of another one fail.
        suffix, subtype: of the recordings, see ``AudioWriter``.
    """
    check_format(f"x{suffix}", subtype)
    items = _shard(find_items(source, (".npz",)), shard)
    manifest = Manifest(Path(target), shard)
    opened = codec
    try:
        if opened is None:
            opened = open_codec_for(_first_readable(items), model_name, device, progress=load_progress, cancel=cancel)
        work = Decoding(opened, Path(target), num_codebooks, suffix, subtype, cancel)
        return _run(work, items, manifest, retry_failed, num_readers, progress, cancel)
    finally:
        manifest.close()
        if opened is not None and codec is None:
            opened.close()


def _shard(items: list[Item], shard: tuple[int, int]) -> list[Item]:
    number, count = shard
    if not 0 <= number < count:
        raise MimiGuiError(f"The shard {number}/{count} does not exist: count from 0/{count} to {count - 1}/{count}.")
    return items[number::count]


def _first_readable(items: list[Item]) -> Codes:
    for item in items:
        try:
            return load_codes(item.path)
        except CodesFileError:
            continue  # it will be recorded when its turn comes
    raise MimiGuiError(f"None of the {len(items)} token files can be read, the first is {items[0].path}.")


def _run(
    work: Work,
    items: list[Item],
    manifest: Manifest,
    retry_failed: bool,
    num_readers: int,
    progress: Callable[[Progress], None] | None,
    cancel: Callable[[], bool] | None,
) -> Report:
    run = _Tally(items, manifest, progress)
    jobs = _jobs(work, items, manifest, retry_failed)
    with ThreadPoolExecutor(num_readers, "corpus-read") as readers, ThreadPoolExecutor(1, "corpus-write") as writer:
        ahead: deque[tuple[Item, Path, int | None, Future[Any]]] = deque()
        saving: deque[tuple[Item, Path, Future[dict[str, Any]]]] = deque()

        def settle(keep: int) -> None:
            while len(saving) > keep:
                item, target, future = saving.popleft()
                with _recorded(run, item, target):
                    run.finished(item, target, future.result())

        try:
            while True:
                while len(ahead) <= num_readers:
                    job = next(jobs, None)
                    if job is None:
                        break
                    item, target, channel, known = job
                    if known is not None:
                        run.skipped_file(item, target, known)
                    elif isinstance(channel, Exception):
                        run.failed_file(item, target, channel)
                    else:
                        future = readers.submit(work.load, item, channel)
                        ahead.append((item, target, channel, future))
                if not ahead:
                    break
                if cancel is not None and cancel():
                    raise Cancelled
                item, target, channel, future = ahead.popleft()
                with _recorded(run, item, target):
                    result = work.compute(item, channel, future.result(), target)
                    saving.append((item, target, writer.submit(work.save, item, result, target)))
                settle(keep=2)
            settle(keep=0)
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise
    return run.report()


def _jobs(
    work: Work, items: list[Item], manifest: Manifest, retry_failed: bool
) -> Iterator[tuple[Item, Path, Any, dict[str, Any] | None]]:
    """What is to be done: (item, target, channel or what went wrong, the record of one that is whole already)."""
    for item in items:
        try:
            targets = work.targets(item)
        except MimiGuiError as error:
            before = manifest.records.get(f"{item.name}.npz", {})
            failed_before = before.get("status") == "failed" and not retry_failed
            yield item, manifest.folder / f"{item.name}.npz", error, before if failed_before else None
            continue
        for target, channel in targets:
            before = manifest.records.get(_place(target, manifest.folder), {})
            if before.get("status") == "failed" and not retry_failed:
                yield item, target, channel, before
            else:
                yield item, target, channel, work.is_whole(target)


class _recorded:  # noqa: N801 - used like a keyword
    """What goes wrong inside is the file's own fault and goes into the manifest, unless the run cannot go on."""

    def __init__(self, run: _Tally, item: Item, target: Path) -> None:
        self._run, self._item, self._target = run, item, target

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, Cancelled | DeviceError):
            return False
        if isinstance(error, OutputError):
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FATAL_ERRNOS:
                return False
        if not isinstance(error, MimiGuiError):
            _log.error("%s", self._item.path, exc_info=error)
        self._run.failed_file(self._item, self._target, error)
        return True


class _Tally:
    """Counts, the manifest and the reports of a run. On the calling thread only."""

    def __init__(self, items: list[Item], manifest: Manifest, progress: Callable[[Progress], None] | None) -> None:
        self._manifest, self._progress, self._total = manifest, progress, len(items)
        self._sizes = {item.path: item.path.stat().st_size if item.path.exists() else 0 for item in items}
        self._left_bytes, self._done_bytes = sum(self._sizes.values()), 0
        self._seen: set[Path] = set()
        self._done = self._skipped = self._failed = 0
        self._audio_s = 0.0
        self._failures: list[Mapping[str, Any]] = []
        self._start = time.monotonic()

    def finished(self, item: Item, target: Path, facts: dict[str, Any]) -> None:
        record = self._record(item, target, "ok", facts)
        self._manifest.add(record)
        self._done += 1
        self._audio_s += float(facts.get("duration", 0.0))
        self._tell(item, record, self._sizes[item.path])

    def skipped_file(self, item: Item, target: Path, facts: dict[str, Any]) -> None:
        place = _place(target, self._manifest.folder)
        record = self._manifest.records.get(place)
        if record is None:  # saved, but the run died before its line
            record = self._record(item, target, "ok", facts)
            self._manifest.add(record)
        self._skipped += 1
        if record.get("status") == "failed":
            self._failures.append(record)
        self._tell(item, record, 0)

    def failed_file(self, item: Item, target: Path, error: Exception) -> None:
        words = error.message if isinstance(error, MimiGuiError) else f"{type(error).__name__}: {error}"
        record = self._record(item, target, "failed", {"error": words})
        self._manifest.add(record)
        self._failures.append(record)
        self._failed += 1
        self._tell(item, record, self._sizes[item.path])

    def _record(self, item: Item, target: Path, status: str, facts: dict[str, Any]) -> dict[str, Any]:
        place = _place(target, self._manifest.folder)
        return {**item.about, "path": place, "status": status, "source": str(item.path), **facts}

    def _tell(self, item: Item, record: Mapping[str, Any], worked_bytes: int) -> None:
        if item.path not in self._seen:
            self._seen.add(item.path)
            self._left_bytes -= self._sizes[item.path]
            self._done_bytes += worked_bytes
        if self._progress is None:
            return
        elapsed_s = time.monotonic() - self._start
        left_s = self._left_bytes / self._done_bytes * elapsed_s if self._done_bytes else None
        counts = (self._done, self._skipped, self._failed, max(self._total, self._done + self._skipped + self._failed))
        self._progress(Progress(*counts, self._audio_s, elapsed_s, left_s, record))

    def report(self) -> Report:
        elapsed_s = time.monotonic() - self._start
        counts = (self._done, self._skipped, len(self._failures))
        return Report(self._manifest.path, *counts, self._audio_s, elapsed_s, tuple(self._failures))


def _place(target: Path, folder: Path) -> str:
    return target.relative_to(folder).as_posix()
