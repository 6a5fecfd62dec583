"""An hour of audio and its 45,000 x 32 tokens move under real wheel and drag events, in bounded memory.

How quickly is for ``python -m tests.bench_frames`` on a machine that has nothing else to do.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.bench_frames import run_in_xvfb


@pytest.mark.display
def test_an_hour_moves_under_real_events() -> None:
    missing = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    if missing:
        words = f"{' and '.join(missing)} must be installed for this test"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    results = run_in_xvfb(1.0, (1600, 1000), 1.0)
    memory = results.pop("memory")
    assert all(figures["frames"] > 0 for figures in results.values()), results
    assert memory["peak_rss_mb"] < 1500
