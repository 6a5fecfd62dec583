"""Whether another Mimi GUI is open on this computer: two work side by side, but the person should know."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QLockFile

from mimi_gui.ui.notices import Notice

TWO = Notice(
    "info",
    "Another Mimi GUI is open. Both can play and record where the system shares its devices, and each keeps its own"
    " takes; of the settings, the last change is remembered.",
    topic="instances",
)


def first_window(folder: Path) -> QLockFile | None:
    """Return a lock to be kept as long as the window lives, or None where another window of this user has it.

    A lock that a crash left behind is taken over.
    """
    lock = QLockFile(str(folder / "window.lock"))
    lock.setStaleLockTime(0)  # by its process, not by its age: a window may be open for days
    if lock.tryLock(0):
        return lock
    return lock if lock.error() != QLockFile.LockError.LockFailedError else None
