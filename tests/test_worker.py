"""The worker threads: every job ends in exactly one way, off the GUI thread, and the thread ends when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from PySide6.QtCore import QObject, Slot
from pytestqt.qtbot import QtBot

from mimi_gui.errors import AudioFileError, Cancelled
from mimi_gui.ui.worker import Desk, Failure, Job, Progress, WorkerThread


@dataclass(frozen=True)
class Do(Job):
    what: Callable[[Desk], object]

    def run(self, desk: Desk) -> object:
        return self.what(desk)


class Ear(QObject):
    """Writes down what a thread says; its slots run in the GUI thread."""

    def __init__(self, thread: WorkerThread) -> None:
        super().__init__()
        self.heard: list[tuple[object, ...]] = []
        self.threads: set[int] = set()
        thread.started.connect(self.started)
        thread.progressed.connect(self.progressed)
        thread.delivered.connect(self.delivered)
        thread.finished.connect(self.finished)
        thread.failed.connect(self.failed)
        thread.cancelled.connect(self.cancelled)

    def _note(self, *what: object) -> None:
        self.heard.append(what)
        self.threads.add(threading.get_ident())

    @Slot(object)
    def started(self, number: int) -> None:
        self._note("started", number)

    @Slot(object, object)
    def progressed(self, number: int, progress: Progress) -> None:
        self._note("progressed", number, progress)

    @Slot(object, object)
    def delivered(self, number: int, part: object) -> None:
        self._note("delivered", number, part)

    @Slot(object, object)
    def finished(self, number: int, result: object) -> None:
        self._note("finished", number, result)

    @Slot(object, object)
    def failed(self, number: int, failure: Failure) -> None:
        self._note("failed", number, failure)

    @Slot(object)
    def cancelled(self, number: int) -> None:
        self._note("cancelled", number)

    def ends(self, number: int) -> list[object]:
        return [what[0] for what in self.heard if what[1] == number and what[0] in ("finished", "failed", "cancelled")]


@pytest.fixture
def worker(qtbot: QtBot) -> Iterator[WorkerThread]:
    thread = WorkerThread("test")
    yield thread
    thread.close()
    assert thread.wait(10_000)


@pytest.fixture
def ear(worker: WorkerThread) -> Ear:
    return Ear(worker)


def fail_known(desk: Desk) -> object:
    raise AudioFileError("broken")


def fail_unknown(desk: Desk) -> object:
    return {}["missing"]


def cancel_itself(desk: Desk) -> object:
    raise Cancelled


@pytest.mark.parametrize(
    ("what", "end"),
    [(lambda desk: 7, "finished"), (fail_known, "failed"), (fail_unknown, "failed"), (cancel_itself, "cancelled")],
)
def test_a_job_ends_once(
    qtbot: QtBot, worker: WorkerThread, ear: Ear, what: Callable[[Desk], object], end: str
) -> None:
    number = worker.submit(Do(what))
    after = worker.submit(Do(lambda desk: "after"))
    qtbot.waitUntil(lambda: bool(ear.ends(after)))
    assert ear.ends(number) == [end]
    assert ear.ends(after) == ["finished"]
    assert not worker.is_busy


def test_known_failures_are_a_sentence_and_unknown_ones_have_details(
    qtbot: QtBot, worker: WorkerThread, ear: Ear
) -> None:
    worker.submit(Do(fail_known))
    worker.submit(Do(fail_unknown))
    qtbot.waitUntil(lambda: len([what for what in ear.heard if what[0] == "failed"]) == 2)
    known, unknown = (what[2] for what in ear.heard if what[0] == "failed")
    assert isinstance(known, Failure)
    assert isinstance(unknown, Failure)
    assert known.message == "broken"
    assert known.hint == "A recording cannot be opened"
    assert not known.details
    assert "KeyError" in unknown.details


def test_jobs_run_one_after_the_other_off_the_gui_thread(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    seen: list[tuple[int, int]] = []

    def note(desk: Desk) -> None:
        seen.append((threading.get_ident(), len(seen)))
        time.sleep(0.02)

    numbers = [worker.submit(Do(note)) for _ in range(4)]
    qtbot.waitUntil(lambda: bool(ear.ends(numbers[-1])))
    assert len({ident for ident, _ in seen}) == 1
    assert seen[0][0] != threading.get_ident()
    assert ear.threads == {threading.get_ident()}
    order = [(what[0], what[1]) for what in ear.heard]
    assert order == [(word, number) for number in numbers for word in ("started", "finished")]


def test_parts_arrive_in_order_before_the_end(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    def parts(desk: Desk) -> str:
        for i in range(200):
            desk.deliver(i)
        return "end"

    number = worker.submit(Do(parts))
    qtbot.waitUntil(lambda: bool(ear.ends(number)))
    assert [what[2] for what in ear.heard if what[0] == "delivered"] == list(range(200))
    assert ear.heard[-1] == ("finished", number, "end")


def test_counts_beyond_32_bit_cross(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    worker.submit(Do(lambda desk: desk.report("Reading", 2**40, 2**41, "bytes")))
    qtbot.waitUntil(lambda: any(what[0] == "finished" for what in ear.heard))
    progress = next(what[2] for what in ear.heard if what[0] == "progressed")
    assert isinstance(progress, Progress)
    assert (progress.done, progress.total) == (2**40, 2**41)


def test_reports_are_thinned_but_the_last_gets_through(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    def report(desk: Desk) -> None:
        for i in range(1, 5001):
            desk.report("Encoding", i, 5000, "frames")

    number = worker.submit(Do(report))
    qtbot.waitUntil(lambda: bool(ear.ends(number)))
    told = [what[2].done for what in ear.heard if isinstance(what[-1], Progress)]  # type: ignore[attr-defined]
    assert told[-1] == 5000
    assert len(told) < 100


def test_a_running_and_a_waiting_job_can_be_cancelled(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    ran: list[str] = []

    def forever(desk: Desk) -> None:
        while True:
            desk.check_cancelled()
            time.sleep(0.002)

    running = worker.submit(Do(forever))
    waiting = worker.submit(Do(lambda desk: ran.append("waiting")))
    after = worker.submit(Do(lambda desk: ran.append("after")))
    worker.cancel(waiting)
    worker.cancel(running)
    worker.cancel(None)
    worker.cancel(10**12)
    qtbot.waitUntil(lambda: bool(ear.ends(after)))
    assert ear.ends(running) == ear.ends(waiting) == ["cancelled"]
    assert ran == ["after"]


def test_what_is_held_is_built_once_and_closed_in_its_own_thread(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    story: list[tuple[str, int]] = []

    def hold(name: str) -> Callable[[Desk], object]:
        def run(desk: Desk) -> object:
            def build() -> str:
                story.append((f"build {name}", threading.get_ident()))
                return name

            return desk.hold(name, build, lambda thing: story.append((f"close {thing}", threading.get_ident())))

        return run

    for name in ("x", "x", "y"):
        worker.submit(Do(hold(name)))
    with qtbot.waitSignal(worker.closed):
        worker.close()
    # close() cancels what has not begun, so at most the first may have run; run them again on a second thread
    assert not worker.is_running
    other = WorkerThread("other")
    ear2 = Ear(other)
    story.clear()
    numbers = [other.submit(Do(hold(name))) for name in ("x", "x", "y")]
    qtbot.waitUntil(lambda: bool(ear2.ends(numbers[-1])))
    with qtbot.waitSignal(other.closed):
        other.close()
    assert [word for word, _ in story] == ["build x", "close x", "build y", "close y"]
    assert len({ident for _, ident in story}) == 1


def test_closing_while_busy_ends_the_thread(qtbot: QtBot, worker: WorkerThread, ear: Ear) -> None:
    def forever(desk: Desk) -> None:
        while True:
            desk.check_cancelled()
            time.sleep(0.002)

    number = worker.submit(Do(forever))
    qtbot.waitUntil(lambda: ("started", number) in ear.heard)
    with qtbot.waitSignal(worker.closed, timeout=5000):
        worker.close()
    assert not worker.is_running
    assert worker.submit(Do(lambda desk: None)) > number  # harmless, and never run
