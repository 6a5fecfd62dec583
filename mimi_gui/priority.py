"""Asking the system to run what must not be late before what may wait; where it refuses, nothing changes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_PROCESS_NICE = -11
_THREAD_NICE_STEP = -10
_WINDOWS_ABOVE_NORMAL, _WINDOWS_NORMAL = 1, 0


def hurry() -> None:
    """Ask the system to run this process at once when it is due; threads started later inherit what it grants.

    Linux grants realtime scheduling to root and often to the audio group, and limits its share of the CPU.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, 0, _PROCESS_NICE)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Run the calling thread, and none else, before other programs for the length of a ``with`` block.

    Linux grants it to root and to whom its limits allow it, Windows to everybody; macOS knows only processes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()  # there a priority belongs to a thread
        before = os.getpriority(os.PRIO_PROCESS, thread)
        with contextlib.suppress(OSError):
            # counted from the main thread: a thread started by a hurried one inherits what that was given
            of_the_program = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, thread, min(before, of_the_program + _THREAD_NICE_STEP))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, before)
    elif sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.GetCurrentThread.restype = ctypes.c_void_p
        kernel.SetThreadPriority.argtypes = (ctypes.c_void_p, ctypes.c_int)
        kernel.SetThreadPriority(kernel.GetCurrentThread(), _WINDOWS_ABOVE_NORMAL)
        try:
            yield
        finally:
            kernel.SetThreadPriority(kernel.GetCurrentThread(), _WINDOWS_NORMAL)
    else:
        yield
