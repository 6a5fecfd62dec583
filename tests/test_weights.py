"""Weights are read when a direction needs them, from the file that was opened, and never all at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mimi_gui.checkpoints import fetch_checkpoint
from mimi_gui.codec import MimiCodec
from mimi_gui.engine import Engine
from mimi_gui.errors import ModelUnavailable
from mimi_gui.tensor_file import TensorFile
from mimi_gui.weights import Weights
from tests.random_checkpoints import synthetic_recording


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "a.safetensors"
    shapes = {"a": (3, 5, 7), "b": (1,), "none": (0, 4)}
    tensors = {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}
    save_file(tensors | {"count": torch.tensor([7, -2])}, path)
    file = TensorFile(path)
    assert file.shapes == {"a": [3, 5, 7], "b": [1], "none": [0, 4], "count": [2]}
    for name, tensor in tensors.items():
        assert torch.equal(file.read(name), tensor.float())
    assert torch.equal(file.read("count"), torch.tensor([7.0, -2.0]))
    assert file.first_not_finite() is None
    file.close()
    for bad in (float("nan"), float("inf"), -float("inf")):
        tensors["a"][2, 4, 6] = bad
        save_file(tensors, path)
        assert TensorFile(path).first_not_finite() == "a"


def test_a_type_that_is_no_weight_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelUnavailable, match="holds a as F8_E4M3, expected float32"):
        TensorFile(tmp_path / "a.safetensors")


def test_a_job_that_only_encodes_never_reads_a_decoder(tiny_checkpoint: Path) -> None:
    weights = Weights(fetch_checkpoint(str(tiny_checkpoint)))
    filled: list[str] = []

    def fill(part: str) -> None:
        filled.append(part)
        weights.fill(part)

    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu") as codec:
        info = codec.info
    engine = Engine(weights.model, info, fill)
    assert filled == []
    engine.encode(torch.zeros(1, 1920), None, 8)
    assert set(filled) == {"quantizer", "encoder", "encoder_transformer", "downsample"}
    engine.encode(torch.zeros(1, 1920), None, 8)
    engine.decode(torch.zeros(1, 8, 1, dtype=torch.int64), None, range(8))
    engine.decode(torch.zeros(1, 8, 1, dtype=torch.int64), None, range(8))
    assert sorted(filled) == sorted({*filled})  # each once
    assert "decoder" in filled
    only_decodes: list[str] = []
    again = Weights(fetch_checkpoint(str(tiny_checkpoint)))
    engine = Engine(again.model, info, lambda part: (only_decodes.append(part), again.fill(part))[1])
    engine.decode(torch.zeros(1, 8, 1, dtype=torch.int64), None, range(8))
    assert set(only_decodes) == {"quantizer", "upsample", "decoder_transformer", "decoder"}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not replace an open file")
def test_what_replaces_the_file_does_not_change_an_open_codec(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mimi"
    folder.mkdir()
    for file in tiny_checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    recording = synthetic_recording(1.0)
    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu") as codec:
        expected = codec.encode(recording).array
    with MimiCodec.from_pretrained(str(folder), device="cpu") as codec:
        (tmp_path / "other").write_bytes(b"something else")
        os.replace(tmp_path / "other", folder / "model.safetensors")
        np.testing.assert_array_equal(codec.encode(recording).array, expected)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_file_is_closed_with_the_codec(tiny_checkpoint: Path) -> None:
    def handles() -> list[str]:
        links = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
        return [link for link in links if link.endswith(".safetensors")]

    before = handles()
    codec = MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu")
    codec.encode(np.zeros(1920, np.float32))
    assert len(handles()) == len(before) + 1
    codec.close()
    assert handles() == before
