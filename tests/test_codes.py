"""Codes and their files. Oracle: numpy's own npz reader and writer."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mimi_gui.codes import CodecInfo, Codes, CodesWriter, load_codes, save_codes
from mimi_gui.errors import CodesFileError, OutputError

INFO = CodecInfo(model_name="kyutai/mimi", revision="abc", digest="sha256:00ff")


def some_codes(num_codebooks: int = 32, num_frames: int = 125, seed: int = 0) -> Codes:
    array = np.random.default_rng(seed).integers(0, 2048, (num_codebooks, num_frames))
    return Codes(array, num_frames * 1920 - 7, INFO, {"device": "cpu", "source": {"name": "ü.wav"}})


def test_the_four_documented_keys_are_read_by_anyone(tmp_path: Path) -> None:
    codes = some_codes()
    path = save_codes(tmp_path / "a.npz", codes)
    with np.load(path, allow_pickle=False) as npz:
        assert list(npz) == ["audio_codes", "sample_rate", "num_codebooks", "num_frames", "metadata"]
        assert npz["audio_codes"].dtype == np.int16
        assert npz["audio_codes"].shape == (1, 32, 125)
        assert np.array_equal(npz["audio_codes"][0], codes.array)
        assert (int(npz["sample_rate"]), int(npz["num_codebooks"]), int(npz["num_frames"])) == (
            24000,
            32,
            125,
        )
        metadata = json.loads(npz["metadata"].item())
    assert metadata["num_samples"] == codes.num_samples
    assert metadata["format_version"] == 1
    assert (metadata["model_name"], metadata["revision"], metadata["digest"]) == (
        "kyutai/mimi",
        "abc",
        INFO.digest,
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    codes = some_codes(8, 1)
    back = load_codes(save_codes(tmp_path / "a.npz", codes))
    assert np.array_equal(back.array, codes.array)
    assert (back.info, back.num_samples, back.metadata) == (codes.info, codes.num_samples, codes.metadata)
    odd = CodecInfo(sample_rate=16000, frame_rate=50.0, frame_size=320, num_codebooks=4, cardinality=1024)
    back = load_codes(save_codes(tmp_path / "b.npz", Codes(np.ones((4, 9), int), 2000, odd)))
    assert back.info == odd
    assert back.info.same_checkpoint(INFO) is None
    assert INFO.same_checkpoint(replace(INFO, model_name="x")) is True
    assert INFO.same_checkpoint(replace(INFO, digest="sha256:11")) is False


def test_equal_codes_give_equal_bytes(tmp_path: Path) -> None:
    a = save_codes(tmp_path / "a.npz", some_codes())
    b = save_codes(tmp_path / "b.npz", some_codes())
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", ">i4"])
@pytest.mark.parametrize("layout", ["1KT", "KT", "TK"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_files_of_other_programs_open(tmp_path: Path, dtype: str, layout: str, save) -> None:
    array = some_codes().array.astype(dtype)
    stored = {"1KT": array[None], "KT": np.asfortranarray(array), "TK": array.T}[layout]
    save(tmp_path / "a.npz", audio_codes=stored, sample_rate=24000, num_codebooks=32, num_frames=125)
    codes = load_codes(tmp_path / "a.npz")
    assert np.array_equal(codes.array, some_codes().array)
    assert codes.array.dtype == np.int16
    assert codes.array.flags.c_contiguous
    assert codes.num_samples == 125 * 1920
    assert codes.info.digest == ""


def test_another_programs_metadata_is_kept_and_not_believed(tmp_path: Path) -> None:
    keys = {
        "audio_codes": some_codes().array[None],
        "sample_rate": 24000.0,
        "num_codebooks": [32],
        "num_frames": 125,
    }
    np.savez(tmp_path / "a.npz", metadata=json.dumps({"who": "me", "num_samples": -1}), **keys)
    codes = load_codes(tmp_path / "a.npz")
    assert codes.metadata == {"who": "me", "num_samples": -1}
    assert codes.num_samples == 125 * 1920


@pytest.mark.parametrize("sizes", [[125], [1] * 125, [50, 50, 25], [0, 124, 0, 1]])
@pytest.mark.parametrize("pass_bytes", [64 * 2**20, 1000, 1])
def test_the_writer_writes_what_save_codes_writes(tmp_path: Path, monkeypatch, sizes, pass_bytes) -> None:
    codes = some_codes()
    save_codes(tmp_path / "a.npz", codes)
    monkeypatch.setattr("mimi_gui.codes._PASS_BYTES", pass_bytes)
    with CodesWriter(tmp_path / "b.npz", 32, INFO, metadata={"device": "cpu"}) as writer:
        start = 0
        for size in sizes:
            writer.append(codes.array[:, start : start + size])
            start += size
        assert list(tmp_path.glob("*.npz")) == [tmp_path / "a.npz"]
        writer.finish(codes.num_samples, source={"name": "ü.wav"})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_unfinished_writer_leaves_nothing(tmp_path: Path) -> None:
    with CodesWriter(tmp_path / "a.npz", 32, INFO) as writer:
        writer.append(some_codes().array)
    with CodesWriter(tmp_path / "b.npz", 2, INFO) as writer:
        with pytest.raises(ValueError, match="expected"):
            writer.append(np.zeros((3, 4), int))
        with pytest.raises(ValueError, match="2048"):
            writer.append(np.full((2, 4), 2048))
        with pytest.raises(CodesFileError, match="no tokens"):
            writer.finish(0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "c.npz").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        save_codes(tmp_path / "c.npz", some_codes())
    assert (tmp_path / "c.npz").read_text() == "mine"
    with pytest.raises(OutputError, match="folder"):
        save_codes(tmp_path, some_codes())
    with pytest.raises(OutputError, match="does not exist"):
        save_codes(tmp_path / "no" / "a.npz", some_codes())


def test_codes_are_a_value() -> None:
    mine = np.zeros((4, 10), np.int16)
    codes = Codes(mine, 19_200)
    mine[:] = 5
    assert not codes.array.any()
    with pytest.raises(ValueError, match="read-only"):
        codes.array[0, 0] = 1
    first = codes.first(2)
    assert np.shares_memory(first.array, codes.array)
    assert (first.num_codebooks, first.num_frames, first.duration_s) == (2, 10, 0.8)
    with pytest.raises(ValueError, match="there are 4"):
        codes.first(5)
    again = pickle.loads(pickle.dumps(some_codes()))
    assert np.array_equal(again.array, some_codes().array)


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 2, 3), int), np.zeros(3, int), np.zeros((0, 3), int), np.zeros((2, 2)), [[-1]], [[2048]]],
)
def test_codes_refuse_what_is_none(array) -> None:
    with pytest.raises(ValueError, match=r"codes|code"):
        Codes(np.asarray(array), 1)


def test_figures_of_mimi() -> None:
    info = CodecInfo()
    assert [round(info.bitrate_kbps(k), 3) for k in (8, 16, 32)] == [1.1, 2.2, 4.4]
    assert [info.num_frames(n) for n in (0, 1, 1919, 1920, 1921, 24000)] == [0, 1, 1, 1, 2, 13]
    assert info.frame_size * info.frame_rate == info.sample_rate
    for frame in range(45_000):
        start = info.frame_to_s(frame)
        assert info.s_to_frame(start) == frame
        assert info.s_to_frame(math.nextafter(start + 1920 / 24000 - 1 / 24000, 0)) == frame


def test_a_byte_flipped_anywhere_is_noticed_or_harmless(tmp_path: Path) -> None:
    codes = some_codes(4, 20)
    data = save_codes(tmp_path / "a.npz", codes).read_bytes()
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for at in rng.choice(len(data), 400, replace=False):
        broken = bytearray(data)
        broken[at] ^= int(rng.integers(1, 256))
        path = tmp_path / "b.npz"
        path.write_bytes(broken)
        try:
            back = load_codes(path)
        except CodesFileError as error:
            refused.append(error.message)
        else:
            assert np.array_equal(back.array, codes.array)
    assert len(refused) > 250
    assert not any("\n" in message for message in refused)


def test_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = save_codes(tmp_path / "a.npz", some_codes(4, 20)).read_bytes()
    for length in range(0, len(data), 37):
        (tmp_path / "b.npz").write_bytes(data[:length])
        with pytest.raises(CodesFileError):
            load_codes(tmp_path / "b.npz")


def test_the_file_is_closed(tmp_path: Path) -> None:
    path = save_codes(tmp_path / "a.npz", some_codes())
    load_codes(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.txt", "x")
    assert load_codes(path).num_codebooks == 32
