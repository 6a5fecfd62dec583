"""How torch's OpenMP threads wait for work (set before torch is loaded, in every process of ours), how many work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def wait_briefly_then_sleep() -> None:
    """Let OpenMP's threads turn 1,000 times (some tens of microseconds) for new work, then sleep; any thread.

    What the user has set stays. libgomp, which torch brings on Linux, reads the variables when it is loaded; other
    OpenMP libraries know only the first, and other systems neither.

    Measured with a full-size checkpoint on two cores of a Zen 3, one live frame encoded and decoded by two threads,
    alone and beside one busy program: 40 and 56 ms asleep at once, 35 and 61 after 1,000 turns, 35 and 88 after 3,000,
    37 and 163 after 10,000, 34 and 1,734 after 100,000. Encoding of whole recordings: 17 to 22 times real time alone,
    11 or 12 beside one busy program up to 3,000 turns, 8.5 with 10,000.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


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
