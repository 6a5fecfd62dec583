"""Token files in Parquet. Oracle: pyarrow's own reader."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mimi_gui import cli
from mimi_gui.codes import CodecInfo, Codes, save_codes
from mimi_gui.errors import Cancelled, MimiGuiError, OutputError
from mimi_gui.parquet import pack_tokens

INFO = CodecInfo(model_name="kyutai/mimi", digest="sha256:00")


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Codes]:
    rng = np.random.default_rng(0)
    saved = {}
    for number in range(12):
        array = rng.integers(0, 2048, (8, 20 + number))
        codes = Codes(array, (20 + number) * 1920 - 3, INFO, {"source": {"name": f"{number}.wav"}})
        name = f"{'ab'[number % 2]}/{number:02}.npz"
        (tmp_path / "tokens" / name).parent.mkdir(parents=True, exist_ok=True)
        save_codes(tmp_path / "tokens" / name, codes)
        saved[name] = codes
    return saved


@pytest.mark.parametrize(("part_bytes", "num_parts"), [(10**9, 1), (1500, 3), (1, 12)])
def test_every_recording_is_a_row(tmp_path: Path, tree: dict[str, Codes], part_bytes: int, num_parts: int) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = pack_tokens(tmp_path / "tokens", tmp_path / "out", part_bytes=part_bytes)
    assert packed.num_rows == 12
    assert [part.name for part in packed.parts] == [f"part-{number:05}.parquet" for number in range(len(packed.parts))]
    assert len(packed.parts) == pytest.approx(num_parts, abs=1)
    rows = [row for part in packed.parts for row in parquet.read_table(part).to_pylist()]
    assert [row["path"] for row in rows] == sorted(tree)
    for row in rows:
        codes = tree[row["path"]]
        assert np.array_equal(np.array(row["audio_codes"]), codes.array)
        assert (row["num_codebooks"], row["num_frames"], row["num_samples"]) == (8, codes.num_frames, codes.num_samples)
        assert (row["sample_rate"], row["model_name"], row["digest"]) == (24000, "kyutai/mimi", "sha256:00")
        assert json.loads(row["metadata"]) == codes.metadata
        assert row["source"] == f"{int(row['path'][2:4])}.wav"
    there = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert there == ["manifest.jsonl", *(part.name for part in packed.parts)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == sorted(tree)
    for line in lines:
        row = parquet.read_table(tmp_path / "out" / line["part"]).slice(line["row"], 1).to_pylist()[0]
        assert (row["path"], row["duration"], line["status"]) == (line["path"], line["duration"], "ok")


@pytest.mark.parametrize("part_bytes", [1500, 10**9])
def test_datasets_reads_it(tmp_path: Path, tree: dict[str, Codes], part_bytes: int) -> None:
    """With the manifest beside the parts, by folder and by name, whole and as a stream."""
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    pack_tokens(tmp_path / "tokens", tmp_path / "out", part_bytes=part_bytes)
    cache = str(tmp_path / "cache")
    parts = {"path": "parquet", "data_files": str(tmp_path / "out" / "*.parquet")}
    for arguments in ({"path": str(tmp_path / "out")}, parts):
        rows = datasets.load_dataset(**arguments, split="train", cache_dir=cache)
        assert len(rows) == 12
        for row in rows:
            assert np.array_equal(np.array(row["audio_codes"]), tree[row["path"]].array)
    stream = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True, cache_dir=cache)
    assert [row["num_frames"] for row in stream] == [tree[name].num_frames for name in sorted(tree)]


def test_again_and_smaller(tmp_path: Path, tree: dict[str, Codes]) -> None:
    pytest.importorskip("pyarrow")
    first = pack_tokens(tmp_path / "tokens", tmp_path / "out", part_bytes=1)
    data = first.parts[0].read_bytes()
    with pytest.raises(OutputError, match="parts already"):
        pack_tokens(tmp_path / "tokens", tmp_path / "out")
    again = pack_tokens(tmp_path / "tokens", tmp_path / "out", part_bytes=1, overwrite=True)
    assert again.parts[0].read_bytes() == data
    pack_tokens(tmp_path / "tokens", tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.jsonl", "part-00000.parquet"]
    with pytest.raises(Cancelled):
        pack_tokens(tmp_path / "tokens", tmp_path / "other", cancel=lambda: True)
    assert list((tmp_path / "other").iterdir()) == []


def test_in_a_shell(tmp_path: Path, tree: dict[str, Codes], capsys) -> None:
    pytest.importorskip("pyarrow")
    assert cli.main(["corpus", "pack", str(tmp_path / "tokens"), str(tmp_path / "out")]) == 0
    assert "12 recordings in 1 parts, 0 failed" in capsys.readouterr().err
    (tmp_path / "tokens" / "bad.npz").write_bytes(b"x")
    assert cli.main(["corpus", "pack", str(tmp_path / "tokens"), str(tmp_path / "out"), "-f"]) == 1
    assert "bad.npz" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines if line["status"] == "failed"] == ["bad.npz"]
    assert cli.main(["corpus", "pack", str(tmp_path / "none"), str(tmp_path / "out2")]) == 1


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, tree, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MimiGuiError, match="pip install pyarrow"):
        pack_tokens(tmp_path / "tokens", tmp_path / "out")
    assert not (tmp_path / "out").exists()
