"""Thousands of frames, one at a time, as a live session does. Ten thousand on a full-size checkpoint:
``mimi-gui bench --endurance``."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from mimi_gui.codec import MimiCodec

FRAME = 1920


def _resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_nothing_grows_frame_by_frame(tiny_codec: MimiCodec) -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(64 * FRAME)).astype(np.float32)
    encoder, decoder = tiny_codec.stream_encoder(8), tiny_codec.stream_decoder()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of a network this small, more only wait for each other

    def run(first: int, last: int) -> None:
        for i in range(first, last):
            at = i % 64 * FRAME
            sound = decoder.push(encoder.push(samples[at : at + FRAME]))
            assert sound.shape == (FRAME,)

    try:
        run(0, 200)  # past the window, so that every state has its full size
        gc.collect()
        before = _resident_bytes()
        tracemalloc.start()
        run(200, 300)
        gc.collect()
        python_before = tracemalloc.get_traced_memory()[0]
        run(300, 500)
        gc.collect()
        python_growth = tracemalloc.get_traced_memory()[0] - python_before
        tracemalloc.stop()
        run(500, 1_000)
        gc.collect()
        growth = _resident_bytes() - before
    finally:
        tracemalloc.stop()
        torch.set_num_threads(threads)
    assert encoder.num_frames == decoder.num_frames == 1_000
    # A kept state would be 50 KB a frame, the smallest kept array 700 bytes.
    assert python_growth < 20_000
    assert growth < 1_000_000
