"""One process of a corpus job: read ahead, compute, save, each overlapping the others.

Threads: the caller's computes; reader threads load and resample ahead; one writer thread saves.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from mimi_gui.corpus_job import Outcome, Task, failure
from mimi_gui.corpus_work import Whole, Work
from mimi_gui.errors import Cancelled, DeviceError, OutputError

_FATAL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_AHEAD_S = 1800.0  # of audio that waits in memory, 170 MB


class Feed(Protocol):
    """Where tasks come from."""

    def take(self, wait: bool) -> Task | None:
        """The next task; None where there is none left or, without ``wait``, none at the moment."""
        ...


class Listed:
    """A feed of tasks that are known."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)

    def take(self, wait: bool) -> Task | None:
        return next(self._tasks, None)


def ends_the_run(error: Exception) -> bool:
    """Whether no other file could fare better: a full disk, a device that is gone, a wish to stop."""
    if isinstance(error, OutputError):
        cause = error.__cause__
        return isinstance(cause, OSError) and cause.errno in _FATAL_ERRNOS
    return isinstance(error, Cancelled | DeviceError)


def work_through(
    work: Work, feed: Feed, num_readers: int = 2, cancel: Callable[[], bool] | None = None
) -> Iterator[Outcome]:
    """Do all tasks of ``feed`` in turn; the outcomes come as the files are saved, a little behind.

    Raises:
        OutputError, DeviceError: the run cannot go on. What was begun is not saved.
        Cancelled: ``cancel``, polled before each file, returned True.
    """
    with ThreadPoolExecutor(num_readers, "corpus-read") as readers, ThreadPoolExecutor(1, "corpus-write") as writer:
        ahead: deque[tuple[Task, Future[Any]]] = deque()
        saving: deque[tuple[Task, Future[dict[str, Any]]]] = deque()
        most_ahead = num_readers + work.most_files
        ended = False
        try:
            while True:
                while not ended and len(ahead) < most_ahead and _ahead_s(ahead) < _AHEAD_S:
                    wait = not ahead and not saving
                    task = feed.take(wait)
                    if task is None:
                        ended = wait
                        break
                    ahead.append((task, readers.submit(work.load, task)))
                if cancel is not None and cancel():
                    raise Cancelled
                if ahead:
                    yield from _compute(work, ahead, saving, writer)
                    yield from _settle(saving, keep=2 * work.most_files)
                elif saving:
                    yield from _settle(saving, keep=0)
                elif ended:
                    return
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            writer.shutdown(wait=False, cancel_futures=True)
            raise


def _ahead_s(ahead: deque[tuple[Task, Future[Any]]]) -> float:
    return sum(task.length_s for task, _ in ahead)


def _compute(
    work: Work,
    ahead: deque[tuple[Task, Future[Any]]],
    saving: deque[tuple[Task, Future[dict[str, Any]]]],
    writer: ThreadPoolExecutor,
) -> Iterator[Outcome]:
    """Take as many files as go together and compute them; what needs or allows no computing is told at once."""
    batch: list[tuple[Task, Any]] = []
    while ahead and len(batch) < work.most_files:
        task, future = ahead[0]
        try:
            loaded = future.result()
        except Exception as error:  # noqa: BLE001 - a file that cannot be read is that file's line
            ahead.popleft()
            yield _blamed(task, error)
            continue
        if isinstance(loaded, Whole):
            ahead.popleft()
            yield Outcome(task.number, "whole", loaded.facts)
            continue
        if batch and work.is_long(loaded):
            break
        ahead.popleft()
        batch.append((task, loaded))
        if work.is_long(loaded):
            break
    results: list[Any] = []
    if len(batch) > 1:
        try:
            results = work.compute(batch)
        except Exception as error:
            if ends_the_run(error):
                raise
    for number, (task, loaded) in enumerate(batch):
        try:
            result = results[number] if results else work.compute([(task, loaded)])[0]
        except Exception as error:  # noqa: BLE001
            yield _blamed(task, error)
        else:
            saving.append((task, writer.submit(work.save, task, result)))


def _settle(saving: deque[tuple[Task, Future[dict[str, Any]]]], keep: int) -> Iterator[Outcome]:
    while len(saving) > keep:
        task, future = saving.popleft()
        try:
            outcome = Outcome(task.number, "ok", future.result())
        except Exception as error:  # noqa: BLE001
            outcome = _blamed(task, error)
        yield outcome


def _blamed(task: Task, error: Exception) -> Outcome:
    if ends_the_run(error):
        raise error
    return failure(task, error)
