"""One thread, one queue, one job at a time: where everything that takes longer than a frame is done.

Three of these run in the window. The *codec* thread builds and alone holds the MimiCodec (and with it torch and
all CUDA); the *files* thread reads and writes; the *analysis* thread measures. No tensor, widget or setting crosses.

Threads: :class:`WorkerThread` lives in the GUI thread and is the only thing the window talks to. :class:`Worker`
lives in the thread it starts. A job ends in exactly one of finished, failed, cancelled. Job numbers cross as
``object``, because ``Signal(int)`` is 32 bit. Connect only bound methods of QObjects to the signals: a lambda would
be run on the worker's thread.
"""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt, QThread, Signal, Slot

from mimi_gui.errors import Cancelled, MimiGuiError

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

log = logging.getLogger(__name__)

_numbers = itertools.count(1)
_MIN_REPORT_GAP_S = 0.05


@dataclass(frozen=True)
class Progress:
    """How far a job is; ``total`` is 0 where nobody knows; ``unit`` is "frames", "bytes", "samples" or ""."""

    text: str
    done: int = 0
    total: int = 0
    unit: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a job ended badly. ``details`` is a traceback when the failure was not foreseen, else empty."""

    message: str
    hint: str = ""
    details: str = ""
    error: MimiGuiError | None = None


@dataclass(frozen=True)
class Job:
    """Something to do on a worker's thread; subclasses carry all they need and return a frozen payload."""

    def run(self, desk: Desk) -> object:
        """Do it. Raises MimiGuiError for what a person can mend, Cancelled when asked to stop."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Ticket:
    number: int
    job: Job
    cancel: threading.Event


class Desk:
    """What a running job sees of its worker. Lives on the worker's thread for the length of one job."""

    def __init__(self, worker: Worker, ticket: _Ticket) -> None:
        self._worker = worker
        self._ticket = ticket
        self._started = time.monotonic()
        self._last_report = 0.0

    def is_cancelled(self) -> bool:
        """Asked between chunks, from any thread."""
        return self._ticket.cancel.is_set()

    def check_cancelled(self) -> None:
        """Raises Cancelled when the window no longer wants this job."""
        if self._ticket.cancel.is_set():
            raise Cancelled

    def report(self, text: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """Tell how far the job is: 20 times a second at most, but always the first and the last time."""
        now = time.monotonic()
        if done and done != total and now - self._last_report < _MIN_REPORT_GAP_S:
            return
        self._last_report = now
        progress = Progress(text, done, total, unit, now - self._started)
        self._worker.progressed.emit(self._ticket.number, progress)

    def deliver(self, part: object) -> None:
        """Hand a part of the result to the window while the job goes on: a frozen payload."""
        self._worker.delivered.emit(self._ticket.number, part)

    def hold(self, name: str, build: Callable[[], Any], close: Callable[[Any], None]) -> Any:
        """Keep one long-lived thing on this thread; a thing of another name is closed first."""
        return self._worker.hold(name, build, close)

    def held(self) -> MimiCodec | None:
        """What :meth:`hold` keeps at the moment."""
        return self._worker.held()


class Worker(QObject):
    """Runs tickets in the thread it was moved to; see the module's docstring."""

    started = Signal(object)
    progressed = Signal(object, object)
    delivered = Signal(object, object)
    finished = Signal(object, object)
    failed = Signal(object, object)
    cancelled = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[str, Any, Callable[[Any], None]] | None = None

    @Slot(object)
    def run(self, ticket: _Ticket) -> None:
        """Run one job to exactly one of its three ends: one of the two places that catch everything."""
        number = ticket.number
        if ticket.cancel.is_set():
            self.cancelled.emit(number)
            return
        self.started.emit(number)
        try:
            result = ticket.job.run(Desk(self, ticket))
        except Cancelled:
            self.cancelled.emit(number)
        except MimiGuiError as error:
            log.warning("%s: %s", type(ticket.job).__name__, error.message)
            self.failed.emit(number, Failure(error.message, error.hint, error=error))
        except Exception as error:  # an unforeseen failure ends the job, not the window
            log.exception("%s failed", type(ticket.job).__name__)
            words = f"Something unforeseen went wrong: {type(error).__name__}: {error}"
            self.failed.emit(number, Failure(words, details=traceback.format_exc()))
        else:
            self.finished.emit(number, result)

    def hold(self, name: str, build: Callable[[], Any], close: Callable[[Any], None]) -> Any:
        """See :meth:`Desk.hold`."""
        if self._held is None or self._held[0] != name:
            self.drop()
            self._held = (name, build(), close)
        return self._held[1]

    def held(self) -> Any:
        """See :meth:`Desk.held`."""
        return None if self._held is None else self._held[1]

    @Slot()
    def drop(self) -> None:
        """Close what is held and give its memory back before the next one is built."""
        if self._held is not None:
            _, thing, close = self._held
            self._held = None
            close(thing)
            del thing
            gc.collect()

    @Slot()
    def close(self) -> None:
        """The last thing that runs on this thread."""
        self.drop()
        self.thread().quit()


class WorkerThread(QObject):
    """The window's end of a worker: submit, cancel, listen, close. In the GUI thread, which it never blocks."""

    started = Signal(object)  # job number
    progressed = Signal(object, object)  # job number, Progress
    delivered = Signal(object, object)  # job number, part
    finished = Signal(object, object)  # job number, result
    failed = Signal(object, object)  # job number, Failure
    cancelled = Signal(object)  # job number
    closed = Signal()

    _submitted = Signal(object)
    _closing = Signal()

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pending: dict[int, threading.Event] = {}
        self._is_closing = False
        self._thread = QThread(self)
        self._thread.setObjectName(name)
        self._worker = Worker()
        self._worker.moveToThread(self._thread)
        # A signal to a signal keeps the hop queued and the order of what the worker said.
        queued = Qt.ConnectionType.QueuedConnection
        self._submitted.connect(self._worker.run, queued)
        self._closing.connect(self._worker.close, queued)
        self._worker.started.connect(self.started, queued)
        self._worker.progressed.connect(self.progressed, queued)
        self._worker.delivered.connect(self.delivered, queued)
        self._worker.finished.connect(self._end_finished, queued)
        self._worker.failed.connect(self._end_failed, queued)
        self._worker.cancelled.connect(self._end_cancelled, queued)
        self._thread.finished.connect(self.closed, queued)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether a job is running or waiting."""
        return bool(self._pending)

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.isRunning()

    def submit(self, job: Job, *, to_the_end: bool = False) -> int:
        """Queue a job and return its number at once; every signal about it carries that number.

        With ``to_the_end`` nothing cancels it: it is done even when the window closes meanwhile. For short ones only.
        """
        number = next(_numbers)
        if self._is_closing:
            return number
        ticket = _Ticket(number, job, threading.Event())
        if not to_the_end:
            self._pending[number] = ticket.cancel
        self._submitted.emit(ticket)
        return number

    def cancel(self, number: int | None) -> None:
        """Ask a job to end; it ends in `cancelled` at its next chunk, or in its result if it was quicker."""
        event = self._pending.get(number) if number is not None else None
        if event is not None:
            event.set()

    def close(self) -> None:
        """Cancel everything, close what is held in its own thread, end the thread; `closed` follows."""
        if self._is_closing:
            return
        self._is_closing = True
        for event in self._pending.values():
            event.set()
        self._closing.emit()

    def wait(self, timeout_ms: int) -> bool:
        """Block until the thread has ended. For tests and for the end of the program, never for a slot."""
        return self._thread.wait(timeout_ms)

    @Slot(object, object)
    def _end_finished(self, number: int, result: object) -> None:
        self._pending.pop(number, None)
        self.finished.emit(number, result)

    @Slot(object, object)
    def _end_failed(self, number: int, failure: Failure) -> None:
        self._pending.pop(number, None)
        self.failed.emit(number, failure)

    @Slot(object)
    def _end_cancelled(self, number: int) -> None:
        self._pending.pop(number, None)
        self.cancelled.emit(number)
