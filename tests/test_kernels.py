"""The convolutions beside torch's own, at every size of input, and which kernels of oneDNN they end in.

What computes where there are no compiled kernels (``tests/test_compiled.py`` has those), on every machine.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from mimi_gui import compiled
from mimi_gui.kernels import Convolution, TransposedConvolution
from mimi_gui.packed import Linear, Packed, PairedTaps

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
# (C_in, C_out, rows of a frame)
LINEARS = [(512, 2048, 2), (2048, 512, 2), (512, 1536, 2), (512, 512, 2), (256, 2048, 1), (64, 3, 1920)]
FRAMES = (1, 2, 7, 25, 50)


def layer(c_in: int, c_out: int, kernel: int, stride: int) -> tuple[Convolution, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(c_in + kernel)
    weight = torch.randn((c_out, c_in, kernel), generator=generator) / (c_in * kernel) ** 0.5
    bias = torch.randn(c_out, generator=generator)
    return Convolution(weight, bias, stride=stride), weight, bias


@pytest.fixture(autouse=True)
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "products", lambda: False)


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


@pytest.mark.parametrize(("c_in", "c_out", "kernel"), [(1, 64, 7), (64, 1, 7), (1, 16, 9), (8, 1, 1), (1, 4, 11)])
@torch.inference_mode()
def test_from_and_to_one_channel(c_in: int, c_out: int, kernel: int) -> None:
    """In pieces, beside torch's own on the whole."""
    convolution, weight, bias = layer(c_in, c_out, kernel, 1)
    x = torch.randn((2, 1920, c_in))
    wanted = F.conv1d(F.pad(x.transpose(1, 2), (kernel - 1, 0)), weight, bias).transpose(1, 2)
    for sizes in ((1920,), (8, 16, 1896), (1, 7, 3, 13, 1896), (960, 5, 955)):
        parts, state = [], None
        for piece in x.split(sizes, dim=1):
            y, state = convolution.run(piece, state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), wanted, rtol=1e-4, atol=2e-5)


needs_onednn = pytest.mark.skipif(not Packed.suits(torch.zeros(8, 8, 3), 1), reason="this torch has no oneDNN")


def largest_error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    assert got.shape == wanted.shape
    return float((got - wanted).abs().max() / wanted.abs().max())


@needs_onednn
@pytest.mark.parametrize(("c_in", "c_out", "kernel", "stride", "rows"), [LAYERS[i] for i in (0, 1, 3, 4)])
@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_two_outputs_by_three_products(
    c_in: int, c_out: int, kernel: int, stride: int, rows: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As close to the sum in float64 as twice what the plain product is; few rows and odd numbers go the plain way."""
    convolution, weight, bias = layer(c_in, c_out, kernel, stride)
    assert convolution.pairs is not None
    served = []
    run = PairedTaps.run
    monkeypatch.setattr(PairedTaps, "run", lambda self, x: served.append(x.shape) or run(self, x))
    enough = -(-PairedTaps.MIN_PRODUCTS // weight.numel())
    enough += enough % 2
    for num_rows in (enough, enough + 14, enough + 1, enough - 2):
        x = torch.randn((batch, num_rows * stride, c_in), generator=torch.Generator().manual_seed(num_rows))
        y, state = convolution.run(x, None)
        padded = F.pad(x.transpose(1, 2), (kernel - stride, 0))
        wanted = F.conv1d(padded.double(), weight.double(), bias.double(), stride).transpose(1, 2)
        plain = F.conv1d(padded, weight, bias, stride).transpose(1, 2)
        assert largest_error(y, wanted) < 2 * largest_error(plain, wanted) + 1e-6
        torch.testing.assert_close(state, x[:, -(kernel - stride) :], rtol=0, atol=0)
    assert len(served) == 2


@needs_onednn
@torch.inference_mode()
def test_a_transposed_convolution_goes_in_pairs_too() -> None:
    generator = torch.Generator().manual_seed(5)
    weight, bias = torch.randn((256, 128, 10), generator=generator) / 50, torch.randn(128, generator=generator)
    operator = TransposedConvolution(weight, bias, stride=5)
    assert operator.convolution.pairs is not None
    x = torch.randn((1, 900, 256), generator=generator)
    whole = F.conv_transpose1d(x.transpose(1, 2).double(), weight.double(), bias.double(), 5).transpose(1, 2)[:, :4500]
    first, state = operator.run(x[:, :120], None)
    second, _ = operator.run(x[:, 120:], state)
    assert operator.convolution.pairs._parts is not None
    assert largest_error(torch.cat((first, second), 1), whole) < 5e-6


@pytest.mark.parametrize(
    "shapes", [((1, 1, 64), (1, 2, 64), (1, 5, 64), (260, 64)), ((1, 500, 64), (3, 7, 64), (1, 64))]
)
@torch.inference_mode()
def test_a_linear_layer_at_every_number_of_rows(shapes: tuple[tuple[int, ...], ...]) -> None:
    """Beginning with few rows and with many: the weights come from the order that they are in by then."""
    generator = torch.Generator().manual_seed(6)
    weight, bias = torch.randn((96, 64), generator=generator) / 8, torch.randn(96, generator=generator)
    linear = Linear(weight, bias)
    for shape in shapes:
        x = torch.randn(shape, generator=generator)
        total = torch.randn((*shape[:-1], 96), generator=generator)
        before = total.clone()
        wanted = F.linear(x.double(), weight.double(), bias.double())
        for got, expected in (
            (linear.run(x), wanted),
            (linear.run_gelu(x), F.gelu(wanted)),
            (linear.add_to(total, x), total + wanted),
        ):
            assert got.dtype == torch.float32
            assert largest_error(got, expected) < 3e-6
        torch.testing.assert_close(total, before, rtol=0, atol=0)


@needs_onednn
@torch.inference_mode()
def test_layers_of_one_kind_ask_for_the_order_of_their_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Linear(torch.full((72, 40), value), torch.zeros(72)) for value in (1.0, 2.0))
    orders: dict[int, int] = {}  # of the weights, for ten numbers of rows
    for num_rows in range(100, 200, 10):
        first.run(torch.ones(1, num_rows, 40))
        orders[num_rows] = id(first._for_many()._by_size[(1, num_rows, torch.get_num_threads())])
    a, b = next((a, b) for a in orders for b in orders if a < b and orders[a] == orders[b])  # at most four are kept
    second.run(torch.ones(1, a, 40))
    monkeypatch.setattr(Packed, "_dense", lambda self: pytest.fail("ordered again"))
    assert torch.equal(second.run(torch.ones(1, b, 40)), torch.full((1, b, 72), 80.0))


@needs_onednn
def test_no_size_of_input_and_no_number_of_threads_ends_in_a_reference_loop() -> None:
    """oneDNN names the kernel of every call: none may be the slow one that fits everything."""
    script = """
import torch
from mimi_gui import compiled
compiled.products = lambda: False
from mimi_gui.packed import Linear
from tests.test_kernels import FRAMES, LAYERS, LINEARS, layer
VERBOSE = torch.backends.mkldnn.VERBOSE_ON
with torch.inference_mode():
    for threads, frames in [*((2, frames) for frames in FRAMES), (1, 1)]:
        torch.set_num_threads(threads)
        for c_in, c_out, kernel, stride, rows in LAYERS:
            convolution = layer(c_in, c_out, kernel, stride)[0]
            packed, pairs = convolution.packed, convolution.pairs
            x = torch.randn((1, frames * rows + kernel - stride, c_in))
            paired = pairs is not None and pairs.serves(x)
            y = pairs.run(x) if paired else None  # the first call also prepares
            packed.run(x)
            with torch.backends.mkldnn.verbose(VERBOSE):
                y = packed.run(x)
                packed.add_to(y, x)
                if paired:
                    pairs.run(x)
        for c_in, c_out, rows in LINEARS:
            linear = Linear(torch.randn(c_out, c_in))
            x = torch.randn((frames * rows, c_in))
            linear.add_to(linear.run(x), x)
            linear.run_gelu(x)
            with torch.backends.mkldnn.verbose(VERBOSE):
                linear.add_to(linear.run(x), x)
                linear.run_gelu(x)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    said = [line for line in done.stdout.splitlines() if ",exec," in line]
    assert not [line for line in said if ",reorder," in line]  # the weights are in order before the call
    calls = [line.split(",") for line in said if ",convolution," in line]
    assert calls, done.stdout[-2000:]
    slow = {",".join(call) for call in calls if any(part.startswith(("ref", "gemm:ref")) for part in call)}
    assert not slow, "\n".join(sorted(slow))
