"""What can be known of the GPU's path without a GPU: torch's ``meta`` device runs the same lines and has no numbers.

Whatever looks at a number (``.item()``, numpy, a Python ``if``), and so would wait for the GPU and cannot be recorded
in a CUDA graph, raises there. Sizes are real, so memory can be counted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import MimiConfig, MimiModel

from mimi_gui import codec
from mimi_gui.codes import CodecInfo
from mimi_gui.engine import Engine
from mimi_gui.graphs import GraphCache
from mimi_gui.tf32 import tf32
from tests.random_checkpoints import synthetic_recording

FRAME = 1920
PRODUCTS = ("aten.linear.", "aten.matmul.", "aten.mm.", "aten.addmm.", "aten.bmm.", "aten.baddbmm.")


class Watch(TorchDispatchMode):
    """Every operation: where its results are, of which type, how much memory all of them hold that are still in use.

    ``precisions``: of the products by the shape of their second factor, as torch's switch for CUDA has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.devices: set[str] = set()
        self.dtypes: set[torch.dtype] = set()
        self.precisions: dict[tuple[int, ...], set[str]] = {}
        self.peak_bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        there = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.devices.add(tensor.device.type)
                self.dtypes.add(tensor.dtype)
                storage = tensor.untyped_storage()
                if storage._cdata not in there:
                    self._live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        if str(func).startswith(PRODUCTS):
            factors = [t for t in tree_leaves(args) if isinstance(t, torch.Tensor) and t.dim() > 1]
            precision = torch.backends.cuda.matmul.fp32_precision
            self.precisions.setdefault(tuple(factors[-1].shape), set()).add(precision)
        return result


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Of the published architecture, without a number in it."""
    with torch.device("meta"):
        model = MimiModel(MimiConfig()).eval().requires_grad_(False)
    found = Engine(model, CodecInfo())
    found.prepare()
    return found


@pytest.fixture
def steady(engine: Engine) -> tuple[Any, Any]:
    """States of both directions in the middle of a recording, their positions on the device as a graph has them."""

    def on_device(state: Any) -> Any:
        if isinstance(state, tuple):
            return tuple(on_device(part) for part in state)
        return torch.tensor(state, device="meta") if isinstance(state, int) else state

    _, encoding = engine.encode(torch.empty((1, 130 * FRAME), device="meta"), None, 32)
    _, decoding = engine.decode(torch.empty((1, 32, 130), dtype=torch.int64, device="meta"), None, range(32))
    return on_device(encoding), on_device(decoding)


def chunk(frames: int, rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    samples = torch.empty((rows, frames * FRAME), device="meta")
    return samples, torch.empty((rows, 32, frames), dtype=torch.int64, device="meta")


@pytest.mark.parametrize("frames", [1, 7, 250])
def test_nothing_waits_for_the_gpu_or_leaves_it_and_nothing_is_float64(
    engine: Engine, steady: tuple[Any, Any], frames: int
) -> None:
    samples, codes = chunk(frames)
    with Watch() as watch:
        found, after = engine.encode(samples, steady[0], 32)
        sound, after_sound = engine.decode(codes, steady[1], [0, 2, 3, 7])
    assert found.shape == (1, 32, frames)
    assert sound.shape == (1, frames * FRAME)
    assert watch.devices == {"meta"}  # a tensor from elsewhere would be a transfer in the middle of the work
    assert torch.float64 not in watch.dtypes
    for before, behind in ((steady[0], after), (steady[1], after_sound)):
        assert shapes(before) == shapes(behind)  # full, so a graph can be made


def shapes(state: Any) -> Any:
    return tuple(shapes(part) for part in state) if isinstance(state, tuple) else getattr(state, "shape", None)


def test_the_buffers_of_a_graph_take_both_directions(engine: Engine) -> None:
    graphed = copy.copy(engine)
    graphed._graphs = GraphCache(capture=False)
    samples, codes = chunk(25)
    encoding = decoding = None
    for _ in range(12):
        _, encoding = graphed.encode(samples, encoding, 32)
        _, decoding = graphed.decode(codes, decoding, range(32))
    assert len(graphed._graphs._graphs) == 2


def test_an_hour_fits_into_two_gigabytes(engine: Engine, steady: tuple[Any, Any]) -> None:
    """All that torch holds: the weights, the buffers that the graphs share, and as much for chunks without a graph."""
    with torch.device("meta"):
        weights = sum(4 * tensor.numel() for tensor in MimiModel(MimiConfig()).state_dict().values())
    samples, codes = chunk(codec._GPU_CHUNK_FRAMES)
    peaks = []
    for run in (lambda: engine.encode(samples, steady[0], 32), lambda: engine.decode(codes, steady[1], range(32))):
        with Watch() as watch:
            run()
        peaks.append(watch.peak_bytes)
    states = 2 * 40e6
    # A quarter more for what libraries take and for the gaps between blocks
    assert 1.25 * (weights + 2 * max(peaks) + states) < 2e9, peaks
    assert min(peaks) > samples.numel() * 4 * 64  # the first layer's 64 channels at least: it was counted


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_cuda_memory_stays_flat_and_small(full_checkpoint: Path) -> None:
    recording = np.tile(synthetic_recording(60.0, seed=3), 10)
    with codec.MimiCodec.from_pretrained(str(full_checkpoint), device="cuda") as mine:
        torch.cuda.reset_peak_memory_stats()
        sound = mine.decode(mine.encode(recording[: 2 * 60 * 24_000]))
        early = torch.cuda.max_memory_reserved()
        sound = mine.decode(mine.encode(recording))
        late = torch.cuda.max_memory_reserved()
    assert len(sound) == len(recording)
    assert late < 2e9
    assert late < early + 50e6


def test_the_quantizer_is_float32_where_all_else_is_tf32(engine: Engine, steady: tuple[Any, Any]) -> None:
    samples, codes = chunk(25)
    with tf32(True), Watch() as watch:
        engine.encode(samples, steady[0], 32)
        engine.decode(codes, steady[1], range(32))
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    of_quantizer = {shape: found for shape, found in watch.precisions.items() if 256 in shape}
    assert of_quantizer == {(2048, 256): {"ieee"}, (256, 512): {"ieee"}, (512, 256): {"ieee"}}
    assert watch.precisions[1536, 512] == {"tf32"}  # the transformers' projections


@pytest.fixture
def switches() -> Iterator[Any]:
    """torch's switches, put back afterwards."""
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cudnn)
    before = [(part, part.fp32_precision) for part in parts] + [(torch.backends, torch.backends.fp32_precision)]
    old = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield torch.backends
    torch.set_float32_matmul_precision(old[0])
    torch.backends.cudnn.allow_tf32 = old[1]
    for part, precision in reversed(before):
        part.fp32_precision = precision


@pytest.mark.parametrize("way", ["none", "old", "new", "global"])
def test_exact_is_exact_whatever_the_caller_has_switched_on(switches: Any, way: str) -> None:
    if way == "old":
        switches.cuda.matmul.allow_tf32 = switches.cudnn.allow_tf32 = True
    elif way == "new":
        switches.cuda.matmul.fp32_precision = switches.cudnn.conv.fp32_precision = "tf32"
    elif way == "global":
        switches.fp32_precision = "tf32"

    def seen() -> tuple[str, ...]:
        parts = switches.cuda.matmul, switches.cudnn.conv, switches.cudnn.rnn
        return tuple(part.fp32_precision for part in parts)

    before = seen()
    for allowed, wanted in ((False, "ieee"), (True, "tf32")):
        with tf32(allowed):
            assert seen()[:2] == (wanted, wanted)
        assert seen() == before
    with pytest.raises(ZeroDivisionError), tf32(False):
        raise ZeroDivisionError
    assert seen() == before
