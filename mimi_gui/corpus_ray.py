"""A corpus job on a Ray cluster: Ray Data with one codec actor per GPU or group of cores.

Only names and manifest lines travel; audio and tokens go between each worker and the files, which every machine sees
under the same paths. The one who asks hands out files in bundles and keeps the books. Ray Data gives a bundle whose
actor died to the actor's successor, for ever; so a ledger counts how often each file was begun. What was saved is
found whole and not written again, what was begun is tried again alone, and a file on which workers keep dying
costs one line of the manifest and not the run.

Ray is imported where it is used.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from mimi_gui import __version__
from mimi_gui.corpus_job import DIED, JOB_NAME, Job, Outcome, Task
from mimi_gui.errors import Cancelled, MimiGuiError
from mimi_gui.threads import wait_briefly_then_sleep

if TYPE_CHECKING:
    from mimi_gui.corpus_work import Work

_ROUND_TASKS = 100_000  # described in memory at once
_BUNDLE_S, _BUNDLE_FILES = 600.0, 64  # of audio, by guess: enough to read ahead, little to do again
_DEFAULT_THREADS = 1  # two workers of one thread do 1.2 times what one of two does
_MOST_BEGINNINGS = 3  # of a file: the last two alone


class Cluster:
    """``num_workers`` actors (None: as many as fit) with ``num_threads`` cores each, or a GPU where there are any."""

    def __init__(
        self,
        address: str | None,
        num_workers: int | None,
        num_threads: int | None,
        num_readers: int,
        cancel: Callable[[], bool] | None,
    ) -> None:
        """Raises MimiGuiError where Ray is not installed."""
        self._address, self._num_workers, self._num_readers = address, num_workers, num_readers
        self._num_threads = num_threads or _DEFAULT_THREADS
        self._cancel = cancel
        self._ray = _ray()

    def run(self, job: Job, tasks: Iterator[Task]) -> Iterator[Outcome]:
        """Do all tasks; the outcomes in the order in which they are known.

        Raises:
            MimiGuiError: no cluster there, it is too small, a worker cannot begin, or the run cannot go on.
            Cancelled: ``cancel`` returned True.
        """
        first = list(islice(tasks, _ROUND_TASKS))
        if not first:
            return
        ours = self._connect()
        # On another machine a relative path would be another one.
        job = replace(job, folder=job.folder.absolute())
        try:
            while first:
                yield from self._round(job, first)
                first = list(islice(tasks, _ROUND_TASKS))
        finally:
            if ours:
                self._ray.shutdown()

    def _connect(self) -> bool:
        """Join the cluster, or start one on this machine; gives whether it is ours to leave."""
        if self._ray.is_initialized():
            return False
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None and not os.environ.get("RAY_ADDRESS"):
            quiet["include_dashboard"] = False
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours tells nobody
        named = self._address or os.environ.get("RAY_ADDRESS")
        if named and _is_here(named):
            _take_token()
        try:
            self._ray.init(address=self._address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, OSError, self._ray.exceptions.RayError) as error:
            if _wants_token(error):
                raise MimiGuiError(
                    f"The Ray cluster at {self._where} takes only those who know its token: copy the file"
                    " ~/.ray/auth_token from the machine where it was started, and set RAY_AUTH_MODE=token.",
                    hint="A Ray cluster asks for a token",
                ) from error
            reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
            raise MimiGuiError(
                f"The Ray cluster at {self._where} cannot be joined ({reason}): start it with ray start, or give"
                " another --address.",
                hint="A Ray cluster cannot be used",
            ) from error
        return True

    @property
    def _where(self) -> str:
        return self._address or os.environ.get("RAY_ADDRESS") or "this machine"

    def _round(self, job: Job, tasks: list[Task]) -> Iterator[Outcome]:
        import ray.data

        tasks = [replace(task, source=task.source.absolute(), target=task.target.absolute()) for task in tasks]
        size, resources = self._size()
        bundles = list(_bundles(tasks, max(1, min(_BUNDLE_FILES, len(tasks) // (4 * size)))))
        rows = [{"bundle": pickle.dumps(bundle)} for bundle in bundles]
        ledger = self._ray.remote(num_cpus=0)(Ledger).remote()
        actor: Any = CodecActor
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        bars, context.enable_progress_bars = context.enable_progress_bars, False
        try:
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                actor,
                fn_constructor_args=(pickle.dumps(job), self._num_threads, self._num_readers, __version__, ledger),
                compute=ray.data.ActorPoolStrategy(size=min(size, len(rows))),
                **resources,
            )
            for row in done.iter_rows():
                found = pickle.loads(row["outcomes"])  # our own actors made it
                if isinstance(found, Exception):
                    raise found
                yield from found
                if self._cancel is not None and self._cancel():
                    raise Cancelled
        finally:
            context.enable_progress_bars = bars

    def _size(self) -> tuple[int, dict[str, Any]]:
        """How many actors, and what each takes."""
        there = self._ray.cluster_resources()
        gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 0))
        if gpus:
            return min(self._num_workers or gpus, gpus), {"num_gpus": 1, "num_cpus": 1}
        fits = cores // self._num_threads
        if fits < (self._num_workers or 1):
            raise MimiGuiError(
                f"The Ray cluster has {cores} cores, {self._num_workers or 1} workers of {self._num_threads} threads"
                f" need {(self._num_workers or 1) * self._num_threads}: ask for fewer --workers or --threads.",
                hint="A Ray cluster cannot be used",
            )
        return self._num_workers or fits, {"num_cpus": self._num_threads}


class Ledger:
    """An actor that outlives the workers: how often each task was begun."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begin(self, number: int) -> None:
        """Count one more."""
        self._begun[number] = self._begun.get(number, 0) + 1

    def begun(self, numbers: list[int]) -> list[int]:
        """The counts of some tasks."""
        return [self._begun.get(number, 0) for number in numbers]


class CodecActor:
    """A codec that stays loaded, on one machine of the cluster. Ray Data makes it and calls it with bundles."""

    def __init__(self, job: bytes, num_threads: int, num_readers: int, version: str, ledger: Any) -> None:
        """What goes wrong here is told at the first call: an actor that cannot be made would be tried for ever."""
        self._job: Job = pickle.loads(job)
        self._num_readers, self._ledger = num_readers, ledger
        self._work: Any = None
        self._error: MimiGuiError | None = None
        try:
            self._begin(num_threads, version)
        except MimiGuiError as error:
            self._error = type(error)(f"{self._place()}: {error.message}", error.hint)

    def _begin(self, num_threads: int, version: str) -> None:
        if version != __version__:
            raise MimiGuiError(
                f"runs mimi-gui {__version__}, the run was begun with {version}: install the same everywhere.",
                hint="A worker cannot begin",
            )
        if not (self._job.folder / JOB_NAME).exists():
            raise MimiGuiError(
                f"does not see {self._job.folder}: give all machines the same folder under the same path.",
                hint="A worker cannot begin",
            )
        wait_briefly_then_sleep()
        import torch

        from mimi_gui.codec import tune_process
        from mimi_gui.corpus_work import work_for

        torch.set_num_threads(num_threads)
        tune_process()
        self._work = _Noted(work_for(self._job, self._job.open(), None), self._ledger)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """``bundle``, pickled tasks -> ``outcomes``, a pickled list of them or the error that ends the run."""
        found: list[Outcome] | Exception
        if self._error is not None:
            found = self._error
        else:
            try:
                found = self._outcomes(pickle.loads(row["bundle"]))
            except MimiGuiError as error:
                found = type(error)(f"{self._place()}: {error.message}", error.hint)
        return {"outcomes": pickle.dumps(found)}

    def _outcomes(self, tasks: list[Task]) -> list[Outcome]:
        """Together what nobody has begun, alone what another worker may have died on."""
        import ray

        from mimi_gui.corpus_stream import Listed, work_through

        worker = self._place()
        counts = ray.get(self._ledger.begun.remote([task.number for task in tasks]))
        fresh = [task for task, count in zip(tasks, counts, strict=True) if count == 0]
        found: list[Outcome] = []
        for task, count in zip(tasks, counts, strict=True):
            if count >= _MOST_BEGINNINGS:
                found.append(Outcome(task.number, "failed", {"error": f"{task.source}: {DIED}"}))
            elif count:
                found += work_through(self._work, Listed([task]), 1)
        found += work_through(self._work, Listed(fresh), self._num_readers)
        return [replace(outcome, worker=worker) for outcome in found]

    def _place(self) -> str:
        import ray

        node = ray.get_runtime_context().get_node_id()[:8]
        return f"{socket.gethostname()}/{node}/{os.getpid()}"


class _Noted:
    """Work whose files are in the ledger before they are touched."""

    def __init__(self, work: Work, ledger: Any) -> None:
        self._work, self._ledger = work, ledger
        self.most_files = work.most_files
        self.is_long, self.compute, self.save = work.is_long, work.compute, work.save

    def load(self, task: Task) -> Any:
        import ray

        ray.get(self._ledger.begin.remote(task.number))
        return self._work.load(task)


def _bundles(tasks: list[Task], most: int) -> Iterator[list[Task]]:
    """Neighbours together, up to a number of files and a length."""
    bundle: list[Task] = []
    length_s = 0.0
    for task in tasks:
        if bundle and (len(bundle) == most or length_s + task.length_s > _BUNDLE_S):
            yield bundle
            bundle, length_s = [], 0.0
        bundle.append(task)
        length_s += task.length_s
    if bundle:
        yield bundle


def _wants_token(error: BaseException | None) -> bool:
    """Whether a cluster sent us away because we showed it no token, or another one. Ray says it somewhere inside."""
    while error is not None:
        words = str(error).lower()
        if "authentication token" in words or "invalidauthtoken" in words:
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_here(address: str) -> bool:
    """Whether ``host:port``, ``ray://host:port`` or ``auto`` is on this machine."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(place)  # only an address of our own can be bound
    except OSError:
        return False
    return True


def _take_token() -> None:
    """From now on show clusters the user's own token, if there is one and the user has not said how to do.

    ``ray start`` makes a cluster ask for the token of ~/.ray where there is one. Ray shows it by itself to a cluster
    that it has found (``auto``) but not to one that is named, and is then sent away; one that asks for none takes it.
    """
    if "RAY_AUTH_MODE" in os.environ:
        return
    with suppress(ImportError):  # an older Ray, which does not do this for ``auto`` either
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MimiGuiError(
            "--engine ray needs Ray, which is not installed: pip install 'ray[data]'.",
            hint="A Ray cluster cannot be used",
        ) from error
    return ray
