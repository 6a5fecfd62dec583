"""A hurried thread goes first, alone, and only as long as it said."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from mimi_gui.priority import hurried


@pytest.mark.skipif(sys.platform != "linux", reason="priorities belong to threads on Linux only")
def test_one_thread_is_hurried_and_slows_down_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = threading.get_native_id()
    usual = os.getpriority(os.PRIO_PROCESS, mine)
    seen: list[int] = []

    def work() -> None:
        own = threading.get_native_id()
        with hurried():
            seen.extend([os.getpriority(os.PRIO_PROCESS, own), os.getpriority(os.PRIO_PROCESS, mine)])
            with hurried():  # as a thread that this one starts does, which inherits its priority
                seen.append(os.getpriority(os.PRIO_PROCESS, own))
        seen.append(os.getpriority(os.PRIO_PROCESS, own))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    granted = max(usual - 10, -20) if os.geteuid() == 0 else seen[0]
    assert seen == [granted, usual, granted, usual]

    def refuse(*args: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    with hurried():
        assert os.getpriority(os.PRIO_PROCESS, mine) == usual
