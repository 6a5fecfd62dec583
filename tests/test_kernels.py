"""The convolutions beside torch's own, at every size of input, and which kernels of oneDNN they end in."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from mimi_gui.kernels import Convolution, Packed

# (C_in, C_out, kernel, stride, rows of a frame): the published Mimi's layers that ended in a reference loop on one
# processor or another, and two that never did.
LAYERS = [
    (128, 256, 10, 5, 480),
    (256, 512, 12, 6, 96),
    (512, 256, 3, 1, 16),
    (512, 1024, 16, 8, 16),
    (512, 512, 4, 2, 2),
    (512, 1024, 7, 1, 2),
    (1024, 4096, 2, 1, 2),
    (256, 640, 2, 1, 96),
    (64, 128, 8, 4, 1920),
    (64, 32, 3, 1, 1920),
]
FRAMES = (1, 2, 7, 25, 50)


def layer(c_in: int, c_out: int, kernel: int, stride: int) -> tuple[Convolution, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(c_in + kernel)
    weight = torch.randn((c_out, c_in, kernel), generator=generator) / (c_in * kernel) ** 0.5
    bias = torch.randn(c_out, generator=generator)
    return Convolution(weight, bias, stride=stride), weight, bias


@pytest.mark.parametrize(("c_in", "c_out", "kernel", "stride", "rows"), LAYERS[2:6])
@torch.inference_mode()
def test_one_layer_serves_inputs_of_every_size(c_in: int, c_out: int, kernel: int, stride: int, rows: int) -> None:
    convolution, weight, bias = layer(c_in, c_out, kernel, stride)
    for frames in (*range(1, 30), 50, 1):
        for batch in (1, 3) if frames < 4 else (1,):
            x = torch.randn((batch, frames * rows, c_in))
            y, _ = convolution.run(x, None)
            padded = F.pad(x.transpose(1, 2), (kernel - stride, 0))
            wanted = F.conv1d(padded, weight, bias, stride).transpose(1, 2)
            torch.testing.assert_close(y, wanted, rtol=1e-4, atol=5e-5)
    if convolution.packed is not None:
        assert len(convolution.packed._by_layout) <= 4  # the weights are not kept once per size


def test_no_size_of_input_and_no_number_of_threads_ends_in_a_reference_loop() -> None:
    """oneDNN names the kernel of every call: none may be the slow one that fits everything."""
    if not Packed.suits(torch.zeros(8, 8, 3), 1):
        pytest.skip("this torch has no oneDNN")
    script = """
import torch
from tests.test_kernels import FRAMES, LAYERS, layer
with torch.inference_mode():
    for c_in, c_out, kernel, stride, rows in LAYERS:
        packed = layer(c_in, c_out, kernel, stride)[0].packed
        for threads, frames in [*((2, frames) for frames in FRAMES), (1, 1)]:
            torch.set_num_threads(threads)
            x = torch.randn((1, frames * rows + kernel - stride, c_in))
            packed.run(x)  # the first call also prepares
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                y = packed.run(x)
                packed.add_to(y, x)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    said = [line for line in done.stdout.splitlines() if ",exec," in line]
    assert not [line for line in said if ",reorder," in line]  # the weights are in order before the call
    calls = [line.split(",") for line in said if ",convolution," in line]
    assert calls, done.stdout[-2000:]
    slow = {",".join(call) for call in calls if any(part.startswith(("ref", "gemm:ref")) for part in call)}
    assert not slow, "\n".join(sorted(slow))
