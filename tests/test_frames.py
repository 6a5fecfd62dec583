"""An hour of audio and its 45,000 x 32 tokens move at 60 frames a second, under real wheel and drag events."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.bench_frames import run_in_xvfb

BUDGET_MS = 16.0


@pytest.mark.display
def test_an_hour_moves_at_sixty_frames_a_second() -> None:
    missing = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    if missing:
        words = f"{' and '.join(missing)} must be installed for this test"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    # Processor time of the GUI thread, not time on the wall: a busy neighbour is not our slowness. The better of
    # two runs, since even processor time suffers from a shared core.
    worst: list[tuple[float, str]] = []
    for _ in range(2):
        results = run_in_xvfb(1.0, (1600, 1000), 1.0)
        memory = results.pop("memory")
        assert all(figures["frames"] > 0 for figures in results.values()), results
        assert memory["peak_rss_mb"] < 1500
        worst.append(max((figures["cpu_p95_ms"], name) for name, figures in results.items()))
        if worst[-1][0] < BUDGET_MS:
            return
    pytest.fail(f"p95 of a frame: {min(worst)[0]} ms in {min(worst)[1]!r}, more than {BUDGET_MS} ms")
