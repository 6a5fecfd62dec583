"""Forms of other programs. Oracles: numpy, the safetensors package, json, and the tests' own moshi writer."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mimi_gui import cli
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.convert import convert_checkpoint, read_tokens, write_tokens
from mimi_gui.errors import CodesFileError, ModelUnavailable, OutputError

INFO = CodecInfo(model_name="kyutai/mimi", revision="r", digest="sha256:00")


def some(num_codebooks: int = 8, num_frames: int = 50, seed: int = 0) -> Codes:
    array = np.random.default_rng(seed).integers(0, 2048, (num_codebooks, num_frames))
    return Codes(array, num_frames * 1920 - 100, INFO, {"device": "cpu", "source": {"name": "ü.wav"}})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".jsonl"])
def test_forms_that_keep_everything(tmp_path: Path, suffix: str) -> None:
    (back,) = read_tokens(write_tokens(tmp_path / f"a{suffix}", [some()]))
    assert np.array_equal(back.array, some().array)
    assert (back.info, back.num_samples, back.metadata) == (some().info, some().num_samples, some().metadata)


def test_forms_that_keep_the_codes(tmp_path: Path) -> None:
    write_tokens(tmp_path / "a.npy", [some()])
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), some().array)
    write_tokens(tmp_path / "a.npz", [some()], bare=True)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as npz:
        assert sorted(npz) == ["audio_codes", "num_codebooks", "num_frames", "sample_rate"]
        assert npz["audio_codes"].dtype == np.int16
    for name in ("a.npy", "a.npz"):
        (back,) = read_tokens(tmp_path / name)
        assert np.array_equal(back.array, some().array)
        assert (back.num_samples, back.info.digest) == (50 * 1920, "")


def test_safetensors_are_candles(tmp_path: Path) -> None:
    """candle's mimi example writes and reads one tensor, codes, u32 [1, K, T]."""
    write_tokens(tmp_path / "a.safetensors", [some()])
    tensors = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert list(tensors) == ["codes"]
    assert tensors["codes"].dtype == np.uint32
    assert np.array_equal(tensors["codes"][0], some().array)
    for dtype in (np.uint32, np.int64, np.uint8):
        codes = (some().array[None] % 256).astype(dtype)
        safetensors.numpy.save_file({"codes": codes}, tmp_path / "b.safetensors")
        (back,) = read_tokens(tmp_path / "b.safetensors")
        assert np.array_equal(back.array, codes[0])


def test_json_lines_hold_many(tmp_path: Path) -> None:
    write_tokens(tmp_path / "a.jsonl", [some(4, 10, seed) for seed in range(3)])
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [np.array(line["audio_codes"]).shape for line in lines] == [(4, 10)] * 3
    assert [line["num_frames"] for line in lines] == [10] * 3
    back = read_tokens(tmp_path / "a.jsonl")
    assert all(np.array_equal(codes.array, some(4, 10, seed).array) for seed, codes in enumerate(back))
    with pytest.raises(OutputError, match="holds one recording"):
        write_tokens(tmp_path / "a.npy", back)


@pytest.mark.parametrize("layout", ["KT", "1KT", "TK"])
def test_arrays_of_other_programs(tmp_path: Path, layout: str) -> None:
    array = some().array.astype(np.int64)
    np.save(tmp_path / "a.npy", {"KT": array, "1KT": array[None], "TK": array.T}[layout])
    assert np.array_equal(read_tokens(tmp_path / "a.npy")[0].array, some().array)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "floats.npy", np.zeros((8, 9)))
    np.save(tmp_path / "objects.npy", np.array([{1: 2}], object), allow_pickle=True)
    np.save(tmp_path / "range.npy", np.full((8, 9), 2048))
    np.save(tmp_path / "shape.npy", np.zeros((40, 90), int))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([1]))
    (tmp_path / "empty.npy").write_bytes(b"")
    with (tmp_path / "terabytes.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (32, 2**40)})
    safetensors.numpy.save_file({"other": np.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    record = {"audio_codes": [[1, 2]], "num_frames": 2}
    for name, change in {
        "frames": {"num_frames": 3},
        "rate": {"sample_rate": 16000},
        "ragged": {"audio_codes": [[1, 2], [3]]},
        "text": {"audio_codes": "x"},
        "huge": {"audio_codes": [[10**30]]},
        "samples": {"num_samples": 10**9},
        "name": {"model_name": 3},
    }.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record | change) + "\n")
    (tmp_path / "nothing.jsonl").write_text("\n")
    (tmp_path / "broken.jsonl").write_text(json.dumps(record) + "\n{\n")
    (tmp_path / "unknown.txt").write_text("x")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 19
    for path in [*files, tmp_path / "missing.npy", tmp_path / "missing.safetensors"]:
        with pytest.raises(CodesFileError) as caught:
            read_tokens(path)
        assert path.name in caught.value.message
        assert "\n" not in caught.value.message
    with pytest.raises(CodesFileError, match="line 2"):
        read_tokens(tmp_path / "broken.jsonl")


def test_in_a_shell(tmp_path: Path, capsys) -> None:
    for seed in range(3):
        save_codes(tmp_path / f"{seed}.npz", some(seed=seed))
    files = [str(tmp_path / f"{seed}.npz") for seed in range(3)]
    assert cli.main(["convert", *files, str(tmp_path / "all.jsonl")]) == 0
    (tmp_path / "out").mkdir()
    assert cli.main(["convert", str(tmp_path / "all.jsonl"), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["all-1.npz", "all-2.npz", "all-3.npz"]
    assert (tmp_path / "out" / "all-2.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()
    assert cli.main(["convert", files[0], str(tmp_path / "a.safetensors")]) == 0
    assert cli.main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.npz")]) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "0.npz").read_bytes()
    capsys.readouterr()
    assert cli.main(["convert", files[0], str(tmp_path / "a.npy")]) == 0
    assert "does not keep the true length" in capsys.readouterr().err
    assert cli.main(["convert", files[0], str(tmp_path / "a.npy")]) == 1
    assert cli.main(["convert", *files, str(tmp_path / "c.npz")]) == 1
    assert cli.main(["convert", files[0], str(tmp_path / "c.xyz")]) == 1
    assert cli.main(["convert", str(tmp_path / "none.npz"), str(tmp_path / "c.npy")]) == 1
    assert cli.main(["convert", files[0]]) == 2


def test_checkpoints_there_and_back(tmp_path: Path, tiny_checkpoint: Path, speech: Path) -> None:
    """Kyutai's key names are the ones the tests' own writer has; the tokens stay the same both ways."""
    from safetensors.torch import load_file
    from transformers import MimiConfig

    from mimi_gui.audio import load_audio
    from tests.random_checkpoints import random_model, save_moshi_layout, tiny_config

    config: MimiConfig = tiny_config(num_heads=8)  # Kyutai's file does not say how many: always 8
    model = random_model(config)
    model.save_pretrained(tmp_path / "folder")
    single = tmp_path / "single.safetensors"
    assert cli.main(["convert", str(tmp_path / "folder"), str(single)]) == 0
    ours, theirs = (
        load_file(single),
        load_file(save_moshi_layout(model, tmp_path / "moshi.safetensors", numbered=False)),
    )
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    back = convert_checkpoint(str(single), tmp_path / "back")
    samples = load_audio(speech).samples
    codes = []
    for path in (tmp_path / "folder", single, back):
        with MimiCodec.from_pretrained(str(path), "cpu") as codec:
            codes.append(codec.encode(samples).array)
    assert np.array_equal(codes[0], codes[1])
    assert np.array_equal(codes[0], codes[2])


def test_checkpoints_into_the_wrong_place(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(OutputError, match=r"must be a \.safetensors"):
        convert_checkpoint(str(tiny_checkpoint), tmp_path / "folder")
    (tmp_path / "there.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        convert_checkpoint(str(tiny_checkpoint), tmp_path / "there.safetensors")
    with pytest.raises(ModelUnavailable, match="not a checkpoint on this disk"):
        convert_checkpoint("nobody/nothing", tmp_path / "a.safetensors")
    with pytest.raises(ModelUnavailable, match="num_attention_heads 2"):  # the file would be read with 8
        convert_checkpoint(str(tiny_checkpoint), tmp_path / "a.safetensors")
    assert cli.main(["convert", str(tiny_checkpoint), str(tmp_path / "a.safetensors")]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.safetensors"]


def test_a_checkpoint_is_named_again(tmp_path: Path) -> None:
    codes = replace(some(), info=replace(INFO, model_name=""))
    (back,) = read_tokens(write_tokens(tmp_path / "a.jsonl", [codes]))
    assert back.info == codes.info
    assert load_codes(write_tokens(tmp_path / "a.npz", [back])).info == codes.info
