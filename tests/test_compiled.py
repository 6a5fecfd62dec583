"""The compiled kernels beside torch's own in float64, at every size, in pieces, with any number of threads.

The classes are tested on every machine that has the library, also where oneDNN's products are chosen instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui import compiled
from mimi_gui.codec import MimiCodec
from mimi_gui.compiled import Filter, Product, Search, ToOne, WideFilter
from mimi_gui.kernels import LOG2_E, Convolution, FusedBlock, TransposedConvolution
from tests.oracle import assert_same_sound, assert_same_tokens, hf_decode, hf_encode
from tests.random_checkpoints import synthetic_recording

CI = bool(os.environ.get("CI"))
NATIVE = Path(compiled.__file__).parent / "native"
has_avx2 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
pytestmark = pytest.mark.skipif(
    bool(compiled.missing()) and not (CI and has_avx2), reason=f"no compiled kernels: {compiled.missing()}"
)


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "products", lambda: True)
    with torch.inference_mode():
        yield


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def largest_error(got: Tensor, wanted: Tensor) -> float:
    assert got.shape == wanted.shape
    return float((got.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def scaled_elu(x: Tensor, scale: float) -> Tensor:
    """In float64: ``scale * elu(x / scale)``."""
    return scale * F.elu(x.double() / scale)


def test_they_are_there() -> None:
    """On CI a machine that could have them and does not is a failure."""
    assert compiled.missing() == ""
    assert compiled.library() is not None


@pytest.mark.parametrize("scale", [1.0, LOG2_E])
def test_elu_of_every_length_and_every_kind_of_number(scale: float) -> None:
    for rows, channels in [(1, 1), (1, 7), (3, 5), (5, 8), (7, 9), (11, 3), (9, 64), (700, 61), (2000, 64)]:
        x = 3 * random(2, rows, channels)
        padded = torch.full((2, rows + 3, channels), 7.0)
        assert compiled.elu_into(x, padded[:, 3:], scale)
        assert float((padded[:, 3:] - scaled_elu(x, scale)).abs().max()) < 3e-7
        assert bool((padded[:, :3] == 7).all())
    special = torch.tensor([[[torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-42, -1e-42, -1e30, 1e30, -87.5, -200.0]]])
    out = torch.empty_like(special)
    assert compiled.elu_into(special, out, scale)
    torch.testing.assert_close(out.double(), scaled_elu(special, scale), rtol=1e-6, atol=3e-7, equal_nan=True)


def test_elu_of_rows_that_do_not_lie_together_is_left_to_torch() -> None:
    x = random(1, 10, 16)[:, :, ::2]
    assert not compiled.elu_into(x, torch.empty(1, 10, 8), 1.0)


@pytest.mark.parametrize("inputs", [1, 7, 100, 512, 513, 2048])
@pytest.mark.parametrize("outputs", [16, 48, 512])
def test_products_of_every_number_of_rows(inputs: int, outputs: int) -> None:
    weight, bias = random(outputs, inputs) / inputs**0.5, random(outputs)
    product, plain = Product(weight, bias), Product(weight, None)
    assert torch.equal(product.weight, weight)
    for rows in (*range(1, 14), 125, 126, 127, 260):
        x, total = random(rows, inputs), random(rows, outputs, seed=1)
        before = total.clone()
        wanted = x.double() @ weight.double().T
        assert largest_error(product.run(x), wanted + bias) < 3e-6
        assert largest_error(plain.run(x), wanted) < 3e-6
        assert largest_error(product.run(x, total), wanted + bias + total) < 3e-6
        assert torch.equal(total, before)


def test_products_of_rows_that_overlap() -> None:
    weight = random(32, 12)
    x = random(2, 100)
    wanted = x.double().unfold(1, 12, 4) @ weight.double().T
    assert largest_error(Product(weight, None).run_overlapping(x, 4), wanted) < 1e-6


def convolution(
    c_in: int, c_out: int, kernel: int, stride: int, elu: float, frame_rows: int = 0
) -> tuple[Convolution, Tensor, Tensor]:
    weight, bias = random(c_out, c_in, kernel) / (c_in * kernel) ** 0.5, random(c_out)
    return Convolution(weight, bias, stride=stride, elu=elu, frame_rows=frame_rows), weight, bias


# (C_in, C_out, kernel, stride) and what computes it: the published Mimi's, and small odd ones.
LAYERS = [
    ((64, 128, 8, 4), Filter),
    ((128, 256, 10, 5), Filter),
    ((8, 16, 2, 1), Filter),
    ((24, 48, 6, 3), Filter),
    ((512, 256, 3, 1), Filter),
    ((40, 16, 3, 1), Filter),
    ((256, 512, 12, 6), WideFilter),
    ((128, 4096, 14, 7), WideFilter),
    ((64, 1, 7, 1), ToOne),
    ((24, 1, 16, 1), ToOne),
    ((199, 1, 2, 1), ToOne),
    ((1, 64, 7, 1), Product),
    ((1024, 512, 3, 1), Product),
    ((16, 32, 4, 1), Product),
]


@pytest.mark.parametrize(("shape", "kind"), LAYERS, ids=str)
@pytest.mark.parametrize(("elu", "frame_rows"), [(0.0, 0), (1.0, 3), (LOG2_E, 6)])
def test_convolutions_in_pieces(shape: tuple[int, int, int, int], kind: type, elu: float, frame_rows: int) -> None:
    """As close to the sum in float64 as twice what the plain product is; the same whatever the pieces and the batch."""
    c_in, _, kernel, stride = shape
    operator, weight, bias = convolution(*shape, elu, frame_rows)
    assert isinstance(operator.compiled, kind)
    blocks = 200
    x = random(2, blocks * stride, c_in)
    active = scaled_elu(x, elu) if elu else x.double()
    padded = F.pad(active.transpose(1, 2), (kernel - stride, 0))
    wanted = F.conv1d(padded, weight.double(), bias.double(), stride).transpose(1, 2)
    plain = F.conv1d(padded.float(), weight, bias, stride).transpose(1, 2)
    limit = 2 * largest_error(plain, wanted) + 1e-6
    for sizes in ([blocks], [1, 2, 3, 4, 5, 6, 7, blocks - 28], [blocks - 67, 67], [0, blocks]):
        parts, state = [], None
        for piece in x.split([size * stride for size in sizes], 1):
            y, state = operator.run(piece, state)
            parts.append(y)
        assert largest_error(torch.cat(parts, 1), wanted) < limit
        if kernel > stride:
            assert state is not None
            torch.testing.assert_close(state.double(), active[:, stride - kernel :], rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("shape", [(64, 32, 3, 1), (64, 128, 8, 4), (256, 512, 12, 6)])
def test_rows_that_only_fill_up_do_not_reach_the_state(shape: tuple[int, int, int, int]) -> None:
    stride, c_in = shape[3], shape[0]
    operator, _, _ = convolution(*shape, LOG2_E)
    x = random(1, 90 * stride, c_in)
    exact, state = operator.run(x[:, : 77 * stride], None)
    filled = x.clone()
    filled[:, 77 * stride :] = torch.nan
    y, after = operator.run(filled, None, 77 * stride)
    assert state is not None
    assert after is not None
    assert torch.equal(after, state)
    assert largest_error(y[:, :77], exact) < 1e-6


@pytest.mark.parametrize("channels", [16, 64, 128, 256, 512])
def test_residual_blocks_in_pieces(channels: int) -> None:
    hidden = channels // 2 if channels > 16 else 16
    w1, b1 = random(hidden, channels, 3) / (3 * channels) ** 0.5, random(hidden)
    w2, b2 = random(channels, hidden, 1) / hidden**0.5, random(channels)
    assert Filter.suits_block(w1, w2)
    for elu, biases in ((LOG2_E, (b1, b2)), (1.0, (None, None))):
        block = FusedBlock(Filter(w1, biases[0], 1, elu, second=(w2, biases[1])), 0)
        x = random(2, 301, channels)
        before = x.clone()
        first, second = (None if bias is None else bias.double() for bias in biases)
        padded = F.pad(scaled_elu(x, elu).transpose(1, 2), (2, 0))
        inner = scaled_elu(F.conv1d(padded, w1.double(), first), elu)
        wanted = x + F.conv1d(inner, w2.double(), second).transpose(1, 2)
        for sizes in ([301], [1, 2, 3, 5, 7, 11, 272], [150, 151]):
            parts, state = [], None
            for piece in x.split(sizes, 1):
                y, state = block.run(piece, state)
                parts.append(y)
            assert largest_error(torch.cat(parts, 1), wanted) < 1e-6
        assert torch.equal(x, before)


@pytest.mark.parametrize(("shape", "kind"), LAYERS, ids=str)
@pytest.mark.parametrize("frame_rows", [2, 6, 16])
def test_pieces_of_whole_frames_give_the_same_numbers(
    shape: tuple[int, int, int, int], kind: type, frame_rows: int
) -> None:
    """To the last bit: rounding ties must not depend on the chunks."""
    stride = shape[3]
    operator, _, _ = convolution(*shape, LOG2_E, frame_rows)
    x = random(1, 30 * frame_rows * stride, shape[0])
    whole, _ = operator.run(x, None)
    for frames in (1, 7, 13):
        parts, state = [], None
        for piece in x.split(frames * frame_rows * stride, 1):
            y, state = operator.run(piece, state)
            parts.append(y)
        assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
def test_any_number_of_threads_computes_the_same_numbers(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, so that tokens do not depend on the machine's number of cores."""
    layers = [convolution(*shape, LOG2_E)[0] for shape, _ in LAYERS]
    search = Search(random(3, 64, 24), -random(3, 64, 24).square().sum(-1) / 2)
    xs = [random(2, 120 * layer.stride, shape[0]) for layer, (shape, _) in zip(layers, LAYERS, strict=True)]

    def results() -> list[Tensor]:
        return [*(layer.run(x, None)[0] for layer, x in zip(layers, xs, strict=True)), search.run(random(140, 24), 3)]

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    alone = results()
    monkeypatch.setattr(torch, "get_num_threads", lambda: groups)
    for one, many in zip(alone, results(), strict=True):
        assert torch.equal(one, many)


def test_two_threads_at_once() -> None:
    layers = [convolution(*shape, LOG2_E)[0] for shape, _ in LAYERS]
    xs = [random(1, 120 * layer.stride, shape[0]) for layer, (shape, _) in zip(layers, LAYERS, strict=True)]
    wanted = [layer.run(x, None)[0] for layer, x in zip(layers, xs, strict=True)]
    wrong = []

    def work() -> None:
        with torch.inference_mode():
            for _ in range(5):
                for layer, x, y in zip(layers, xs, wanted, strict=True):
                    if not torch.equal(layer.run(x, None)[0], y):
                        wrong.append(layer)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_transposed_convolution() -> None:
    weight, bias = random(256, 128, 10) / 50, random(128)
    operator = TransposedConvolution(weight, bias, stride=5)
    assert isinstance(operator.convolution.compiled, Filter)
    x = random(1, 900, 256)
    whole = F.conv_transpose1d(x.transpose(1, 2).double(), weight.double(), bias.double(), 5).transpose(1, 2)[:, :4500]
    first, state = operator.run(x[:, :121], None)
    second, _ = operator.run(x[:, 121:], state)
    assert largest_error(torch.cat((first, second), 1), whole) < 1e-6


@pytest.mark.parametrize("num_rows", [0, 1, 2, 5, 125, 126, 127, 300])
@pytest.mark.parametrize(("cardinality", "dimension"), [(2048, 256), (48, 5), (16, 8)])
def test_the_nearest_codewords(num_rows: int, cardinality: int, dimension: int) -> None:
    """Each level chooses the codeword that is nearest to what is left, in float64, up to rounding."""
    tables = random(4, cardinality, dimension)
    search = Search(tables, -tables.square().sum(-1) / 2)
    vectors = 2 * random(num_rows, dimension, seed=3)
    before = vectors.clone()
    codes = search.run(vectors, 3)
    assert torch.equal(vectors, before)
    assert (codes.shape, codes.dtype) == ((3, num_rows), torch.int64)
    left = vectors.double()
    for level in range(3):
        distances = torch.cdist(left, tables[level].double())
        got = distances.gather(1, codes[level, :, None])[:, 0]
        assert bool((got <= distances.amin(1) * (1 + 1e-6)).all())
        left = left - tables[level, codes[level]].double()


def test_of_codewords_equally_near_the_first_is_chosen() -> None:
    """In whole numbers, where sums are exact, the same word at many places: in one vector of lanes, panel and part."""
    words = torch.randint(-3, 4, (6, 8), generator=torch.Generator().manual_seed(0)).float()
    table = words[torch.arange(2048) % 6]
    search = Search(table[None], -table.square().sum(-1)[None] / 2)
    vectors = torch.randint(-3, 4, (500, 8), generator=torch.Generator().manual_seed(1)).float()
    scores = vectors @ table.T - table.square().sum(-1) / 2
    assert torch.equal(search.run(vectors, 1)[0], torch.from_numpy(scores.numpy().argmax(1)))


@pytest.mark.full
def test_the_whole_model_with_them_and_without(full_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both against transformers on the whole recording; which of them it was is in the tokens' metadata."""
    logging.disable_progress_bar()
    hf = MimiModel.from_pretrained(full_checkpoint).eval()
    recording = synthetic_recording(5.3, seed=4)
    expected = hf_encode(hf, recording)
    sound = hf_decode(hf, expected)
    for name in ("compiled", "torch"):
        if name == "torch":
            monkeypatch.setattr(compiled, "products", lambda: False)
            monkeypatch.setattr(compiled, "elu_into", lambda *_: False)
        with MimiCodec.from_pretrained(str(full_checkpoint), device="cpu") as codec:
            for chunk_frames in (1, 26):
                codes = codec.encode(recording, chunk_frames=chunk_frames)
                assert codes.metadata["kernels"] == name
                assert_same_tokens(hf, recording, codes.array, least=0.9998, tied_frames=1)
                assert_same_sound(codec.decode(expected, chunk_frames=chunk_frames), sound)


def test_a_library_of_another_source_is_not_used(tmp_path: Path) -> None:
    for name in ("old", "broken", "none"):  # a file that is loaded must not be written to
        (tmp_path / name).mkdir()
        for source in NATIVE.glob("*.[ch]"):
            shutil.copy(source, tmp_path / name)
    shutil.copy(NATIVE / "kernels.so", tmp_path / "old")
    with (tmp_path / "old" / "vectors.h").open("a") as source:
        source.write("/* changed */\n")
    assert "install this program again" in compiled.problem(tmp_path / "old")
    (tmp_path / "broken" / "kernels.so").write_bytes(b"not a library")
    assert "cannot be loaded" in compiled.problem(tmp_path / "broken")
    assert "were not compiled" in compiled.problem(tmp_path / "none")


def test_torchs_own_can_be_asked_for() -> None:
    script = "from mimi_gui import compiled; print(compiled.description(), compiled.products())"
    environment = {**os.environ, "MIMI_GUI_KERNELS": "torch"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("torch's own: MIMI_GUI_KERNELS=torch")
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(("compiler", "said"), [("/nowhere/cc", "No such file"), ("false", "false failed")])
def test_without_a_compiler_the_installation_says_so_and_goes_on(compiler: str, said: str, tmp_path: Path) -> None:
    """The hook is imported with hatchling's place taken: it is there while something is installed only."""
    script = f"""
import sys, types
from pathlib import Path
for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin",
             "hatchling.builders.hooks.plugin.interface"):
    sys.modules[name] = types.ModuleType(name)
sys.modules[name].BuildHookInterface = object
sys.path.insert(0, {str(NATIVE)!r})
import build
print(build.compile_kernels(Path({str(tmp_path)!r}) / "kernels.so"))
"""
    environment = {**os.environ, "CC": compiler}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert said in done.stdout
    assert not list(tmp_path.iterdir())
