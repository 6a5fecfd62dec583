"""Clips: exact lengths, one resampler whatever the block sizes, and memory that another process can read."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import soxr

from mimi_gui.clip import Clip, as_columns

rng = np.random.default_rng(3)


@pytest.mark.parametrize("source_rate", [8000, 22050, 24000, 44100, 48000, 384000])
@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_resampled_as_the_whole(source_rate: int, rate: int, channels: int) -> None:
    x = rng.standard_normal((source_rate // 2 + 77, channels)).astype(np.float32)
    clip = Clip.for_samples(len(x), source_rate, rate, channels)
    start = 0
    while start < len(x):
        n = int(rng.integers(1, 9000))
        clip.append(x[start : start + n])
        start += n
        assert clip.ready <= clip.length
    clip.finish()
    exact = Fraction(len(x) * rate, source_rate)
    assert clip.ready == clip.length == int(exact + Fraction(1, 2))
    whole = soxr.resample(x, source_rate, rate, "HQ") if source_rate != rate else x
    n = min(len(whole), clip.length)
    assert abs(len(whole) - clip.length) <= 1
    np.testing.assert_allclose(clip.samples[:n], whole[:n], atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 1919, 1920, 1921, 24000])
def test_two_takes_of_one_length_stay_of_one_length(num_samples: int) -> None:
    a = Clip.from_samples(np.zeros(num_samples), 24000, 44100)
    b = Clip.from_samples(np.ones(num_samples), 24000, 44100)
    assert a.length == b.length


def test_a_source_that_ends_early_makes_a_shorter_clip() -> None:
    clip = Clip.for_duration(2.0, 24000, 48000)
    clip.append(np.ones(24000, np.float32))
    assert clip.length == 96000
    assert not clip.is_finished
    clip.finish()
    assert clip.length == clip.ready == 48000
    clip.finish()
    with pytest.raises(ValueError, match="finished"):
        clip.append(np.ones(10, np.float32))


def test_more_than_was_announced_is_left_out() -> None:
    clip = Clip.for_samples(1000, 48000, 48000)
    clip.append(np.ones(1500, np.float32))
    clip.finish()
    assert clip.length == clip.ready == 1000


def test_channels() -> None:
    clip = Clip.for_samples(10, 48000, 48000)
    with pytest.raises(ValueError, match="channels"):
        clip.append(np.ones((5, 2), np.float32))
    np.testing.assert_array_equal(as_columns(np.array([[1.0, 2.0, 6.0]])), [[3.0]])
    with pytest.raises(ValueError, match="cannot be played"):
        Clip(0, 48000)


READER = """
import json, sys
from mimi_gui.clip import Clip
clip = Clip.attach(json.loads(sys.argv[1]))
print(clip.ready, clip.length, clip.is_finished, float(clip.samples.astype("f8").sum()))
"""


def test_another_process_reads_the_same_samples() -> None:
    x = rng.standard_normal(5000).astype(np.float32)
    clip = Clip.for_samples(6000, 48000, 48000)
    clip.append(x)
    done = subprocess.run(
        [sys.executable, "-c", READER, json.dumps(clip.ticket())], capture_output=True, text=True, timeout=60
    )
    ready, length, finished, total = done.stdout.split()
    assert (int(ready), int(length), finished) == (5000, 6000, "False"), done.stderr
    assert float(total) == pytest.approx(float(x.astype(np.float64).sum()))


def test_without_memfd_a_file_does_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no memfd: the memory is a temporary file that lives as long as the clip."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    clip = Clip.from_samples(np.ones(1000), 24000, 48000)
    name = clip.memory.name
    assert os.path.isfile(name)
    np.testing.assert_array_equal(Clip.attach(clip.ticket()).samples, clip.samples)
    del clip
    gc.collect()
    assert not os.path.exists(name)


def test_a_ticket_of_a_clip_that_is_gone_is_refused() -> None:
    ticket = Clip.for_samples(6000, 48000, 48000).ticket()
    with pytest.raises((OSError, ValueError)):
        Clip.attach(ticket)
    other = Clip.for_samples(6000, 48000, 48000)  # may have the same file number
    with pytest.raises((OSError, ValueError)):
        Clip.attach(ticket)
    assert other.ready == 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files in /proc")
def test_clips_let_their_memory_go() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        Clip.from_samples(np.ones(1000), 24000, 48000)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_hours_lie_in_pages_that_the_system_can_take_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large clip is a file nobody sees; what was written and let go reads the same, here and elsewhere."""
    from mimi_gui import clip as module

    monkeypatch.setattr(module, "LARGE_BYTES", 1 << 20)
    monkeypatch.setattr(module, "_LET_GO_SAMPLES", 50_000)
    samples = np.random.default_rng(0).standard_normal(600_000).astype(np.float32)
    clip = Clip.for_samples(len(samples), 24_000, 24_000)
    for start in range(0, len(samples), 7_000):
        clip.append(samples[start : start + 7_000])
    clip.finish()
    np.testing.assert_array_equal(clip.samples[:, 0], samples)
    np.testing.assert_array_equal(Clip.attach(clip.ticket()).samples[:, 0], samples)
    if sys.platform == "linux":
        assert clip.memory.is_file
        assert "(deleted)" in os.readlink(clip.memory.name)
