"""How torch's OpenMP threads wait for work (set before torch is loaded, in every process of ours), how many work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def wait_briefly_then_sleep() -> None:
    """Let OpenMP's threads turn 10,000 times (some tens of microseconds) for new work, then sleep; any thread.

    What the user has set stays. libgomp, which torch brings on Linux, reads the variables when it is loaded; other
    OpenMP libraries know only the first, and other systems neither.

    Measured on two cores. Idle machine, one live frame of a full-size checkpoint, encoded and decoded: 76 ms asleep at
    once, 51 ms after 5,000 turns, 44 ms after 100,000, 46 ms with OpenMP's own default. Beside eight busy programs,
    encoding: 5 to 10 times real time asleep at once, 4 to 6 after 20,000 turns, 1.5 with the default.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


@contextlib.contextmanager
def narrowed(num_threads: int) -> Iterator[None]:
    """Let torch compute with ``num_threads`` threads in this ``with`` block of the calling thread, then as before.

    Where torch is not loaded nothing changes.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
