"""Which jobs are wanted: one in each role, and what they say of their progress. GUI thread only.

A role is what a job is for: to open, to load the model, to make the reconstruction, to measure the numbers. Whoever is
submitted in a role takes it over: the job before is cancelled, and what it still delivers belongs to no role and dies.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.ui.notices import Activity
from mimi_gui.ui.worker import Job, Progress, WorkerThread

_TOLD_FIRST = ("make", "model", "open", "save")  # the roles whose progress is told


class Roles(QObject):
    """Submits jobs to two threads and knows which of them are wanted.

    Signals:
        activity_changed(object): the Activity of the most important job that says what it does, or None.
    """

    activity_changed = Signal(object)

    def __init__(self, codec: WorkerThread, other: WorkerThread, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._threads = (codec, other)
        self._wanted: dict[str, int] = {}  # role -> job number
        self._progress: dict[int, Progress] = {}
        for thread in self._threads:
            thread.started.connect(self._started)
            thread.progressed.connect(self._progressed)

    def submit(self, role: str, thread: WorkerThread, job: Job) -> None:
        """Start a job in a role; the one that had the role before is cancelled and its results die."""
        self.drop(role)
        self._wanted[role] = thread.submit(job)

    def drop(self, role: str) -> None:
        """Want the job in this role no more."""
        number = self._wanted.pop(role, None)
        for thread in self._threads:
            thread.cancel(number)
        if number is not None and self._progress.pop(number, None) is not None:
            self._tell()

    def cancel(self) -> None:
        """Ask every wanted job to stop; each says itself when it has."""
        for number in self._wanted.values():
            for thread in self._threads:
                thread.cancel(number)

    def clear(self) -> None:
        """Want nothing any more."""
        self.cancel()
        self._wanted.clear()

    def is_taken(self, role: str) -> bool:
        """Whether a job in this role is wanted and under way."""
        return role in self._wanted

    def of(self, number: int) -> str | None:
        """The role of a job, or None if it is not wanted any more."""
        return next((role for role, wanted in self._wanted.items() if wanted == number), None)

    def end(self, number: int) -> str | None:
        """This job is done: returns the role that it had and leaves."""
        role = self.of(number)
        self._progress.pop(number, None)
        if role is not None:
            del self._wanted[role]
            self._tell()
        return role

    @Slot(object)
    def _started(self, number: int) -> None:
        if self.of(number) is not None:
            self._tell()

    @Slot(object, object)
    def _progressed(self, number: int, progress: Progress) -> None:
        if self.of(number) is not None:
            self._progress[number] = progress
            self._tell()

    def _tell(self) -> None:
        for role in _TOLD_FIRST:
            progress = self._progress.get(self._wanted.get(role, 0))
            if progress is not None:
                self.activity_changed.emit(Activity(progress))
                return
        self.activity_changed.emit(None)
