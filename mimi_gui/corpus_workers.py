"""Several processes of one machine, each with a codec of its own, for a corpus job.

The caller hands out files a few at a time and collects what became of them. A worker that dies (killed for memory, or
by a file that crashes a decoder) loses nothing: its files are given out again, each alone, so that a file on which a
second worker dies is known for certain and becomes one line of the manifest.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from mimi_gui.corpus_job import DIED, Job, Outcome, Task
from mimi_gui.errors import Cancelled, MimiGuiError
from mimi_gui.threads import wait_briefly_then_sleep

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess

_POLL_S = 0.2
_MOST_IDLE_DEATHS = 3


@dataclass
class _Worker:
    """A process, and the tasks it was given that have no outcome yet.

    Attributes:
        tasks_pipe: tasks go there and outcomes come back; the process ends when it is closed.
        stop_pipe: closed to have the process give up what it computes.
        slot: from 0 to the number of workers, which GPU it takes.
        most_tasks: at once, 0 until the codec is loaded.
    """

    process: SpawnProcess | ForkServerProcess
    tasks_pipe: Connection
    stop_pipe: Connection
    slot: int
    tasks: dict[int, Task] = field(default_factory=dict)
    most_tasks: int = 0


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """``num_workers`` processes with ``num_threads`` each (None: the cores divided among them)."""

    def __init__(
        self, num_workers: int, num_threads: int | None, num_readers: int, cancel: Callable[[], bool] | None
    ) -> None:
        self._num_workers, self._num_readers, self._cancel = num_workers, num_readers, cancel
        self._num_threads = num_threads or max(1, num_cores() // num_workers)
        self._workers: list[_Worker] = []
        self._suspects: deque[Task] = deque()  # were in a worker's hands when it died
        self._died_once: set[int] = set()

    def run(self, job: Job, tasks: Iterator[Task]) -> Iterator[Outcome]:
        """Do all tasks; the outcomes in the order in which they are known.

        Raises:
            MimiGuiError: a worker cannot begin, or the run cannot go on.
            Cancelled: ``cancel`` returned True.
        """
        waiting = deque(islice(tasks, self._num_workers))
        num_workers = len(waiting)  # no more than there is work for
        if not waiting:
            return
        idle_deaths = 0

        def next_task() -> Task | None:
            return waiting.popleft() if waiting else next(tasks, None)

        try:
            for slot in range(num_workers):
                self._start(job, slot)
            while True:
                ended = self._hand_out(next_task)
                if ended and not any(worker.tasks for worker in self._workers):
                    return
                if self._cancel is not None and self._cancel():
                    raise Cancelled
                pipes = {worker.tasks_pipe: worker for worker in self._workers}
                for pipe in wait(list(pipes), _POLL_S):
                    worker = pipes[pipe]  # pyright: ignore[reportArgumentType]
                    try:
                        message = worker.tasks_pipe.recv()
                    except (EOFError, OSError):
                        idle_deaths += not worker.tasks
                        if not worker.most_tasks or idle_deaths > _MOST_IDLE_DEATHS:
                            raise self._stillborn(worker) from None
                        yield from self._bury(worker)
                        self._start(job, worker.slot)
                        continue
                    if isinstance(message, Exception):
                        raise message
                    if isinstance(message, int):
                        worker.most_tasks = message
                        yield Outcome(0, "ready")
                        continue
                    worker.tasks.pop(message.number, None)
                    yield replace(message, worker=f"process {worker.process.pid}")
        finally:
            self._end()

    def _start(self, job: Job, slot: int) -> None:
        context = _context()
        tasks_pipe, tasks_end = context.Pipe()
        stop_end, stop_pipe = context.Pipe(duplex=False)
        arguments = (tasks_end, stop_end, job, slot, self._num_threads, self._num_readers)
        process = context.Process(target=_work, args=arguments, daemon=True, name=f"corpus-worker-{slot}")
        process.start()
        tasks_end.close()
        stop_end.close()
        self._workers.append(_Worker(process, tasks_pipe, stop_pipe, slot))

    def _hand_out(self, next_task: Callable[[], Task | None]) -> bool:
        """Keep every worker supplied; gives whether nothing is left to hand out."""
        ended = False
        for worker in self._workers:
            if self._suspects and worker.most_tasks and not worker.tasks:
                self._give(worker, self._suspects.popleft())
            alone = any(number in self._died_once for number in worker.tasks)
            while not alone and not ended and len(worker.tasks) < worker.most_tasks:
                task = next_task()
                ended = task is None
                if task is not None:
                    self._give(worker, task)
        return ended and not self._suspects

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.tasks[task.number] = task
        with suppress(OSError):  # it has died, which is heard of soon enough
            worker.tasks_pipe.send(task)

    def _bury(self, worker: _Worker) -> Iterator[Outcome]:
        self._workers.remove(worker)
        worker.process.join()
        worker.tasks_pipe.close()
        worker.stop_pipe.close()
        for number, task in worker.tasks.items():
            if number in self._died_once:
                yield Outcome(number, "failed", {"error": f"{task.source}: {DIED}"})
            else:
                self._died_once.add(number)
                self._suspects.append(task)

    def _stillborn(self, worker: _Worker) -> MimiGuiError:
        worker.process.join()
        return MimiGuiError(
            f"A worker process ended with code {worker.process.exitcode} before it could work: try fewer --workers, for"
            " each needs memory for a codec.",
            hint="A worker cannot begin",
        )

    def _end(self) -> None:
        for worker in self._workers:
            worker.stop_pipe.close()
            worker.tasks_pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=30)  # it finishes or gives up the piece it computes
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _context() -> SpawnContext | ForkServerContext:
    """How processes begin: by a server that has loaded torch once, where there is one, for that costs seconds each."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.models.mimi.modeling_mimi", "mimi_gui.corpus_workers"])
    return context


def _work(tasks: Connection, stop: Connection, job: Job, slot: int, num_threads: int, num_readers: int) -> None:
    """The worker's process: load the codec, then do what comes until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: who asked says when to stop
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    wait_briefly_then_sleep()
    try:
        begin(job, slot, num_threads, num_readers, _Piped(tasks), stop.poll, tasks.send)
    except (Cancelled, EOFError, OSError):
        return  # whoever asked has gone
    except MimiGuiError as error:
        with suppress(OSError):
            tasks.send(error)


def begin(
    job: Job,
    slot: int,
    num_threads: int,
    num_readers: int,
    feed: _Piped,
    cancel: Callable[[], bool],
    send: Callable[[Outcome | int], None],
) -> None:
    """Load the codec, say how many tasks may wait here, and send the outcomes of what is fed."""
    import torch

    from mimi_gui.codec import tune_process
    from mimi_gui.corpus_stream import work_through
    from mimi_gui.corpus_work import work_for

    torch.set_num_threads(num_threads)
    tune_process()
    with job.open(own_gpu(job.device, slot), cancel=cancel) as codec:
        work = work_for(job, codec, cancel)
        send(2 * work.most_files + num_readers)
        for outcome in work_through(work, feed, num_readers, cancel):
            send(outcome)


def own_gpu(device: str | None, slot: int) -> str | None:
    """One GPU for each worker in turn, where the caller did not choose one."""
    import torch

    count = torch.cuda.device_count() if device in (None, "auto", "cuda") and torch.cuda.is_available() else 0
    return f"cuda:{slot % count}" if count else device


class _Piped:
    """Tasks that come through a pipe, until it is closed."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def take(self, wait: bool) -> Task | None:
        try:
            return self._pipe.recv() if wait or self._pipe.poll() else None
        except (EOFError, ConnectionResetError):
            return None
