"""Many files. Oracle: each file encoded by itself, and numpy for the figures."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui import cli
from mimi_gui.audio import load_audio
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.corpus import decode_corpus, encode_corpus
from mimi_gui.corpus_items import AUDIO_SUFFIXES, Manifest, find_items, read_records
from mimi_gui.corpus_stats import corpus_stats
from mimi_gui.errors import Cancelled, CodesMismatch, MimiGuiError, OutputError


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """Nine files of many lengths, rates and formats in three folders, and one that is none."""
    folder = tmp_path_factory.mktemp("corpus") / "in"
    samples, rate = soundfile.read(speech, dtype="float32")
    for number, (name, start, length) in enumerate(
        [
            ("a.wav", 0, 22050),
            ("b.flac", 5000, 44100),
            ("one/a.wav", 20000, 1),
            ("one/b.ogg", 30000, 30000),
            ("one/deep/a.flac", 10000, 9999),
            ("one/deep/c.mp3", 0, 50000),
            ("two/a.wav", 60000, 3000),
            ("two/a.flac", 60000, 4000),
            ("two/silence.wav", 0, 0),
        ]
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        piece = samples[start : start + length] if length else np.zeros(20000, np.float32)
        stereo = np.stack([piece, piece * 0.5], axis=1) if number % 2 else piece
        soundfile.write(path, stereo, rate)
    (folder / "two" / "bad.wav").write_bytes(b"no audio")
    (folder / "two" / "notes.txt").write_bytes(b"not listed")
    (folder / ".hidden.wav").write_bytes(b"not listed")
    return folder


def tokens(folder: Path) -> dict[str, np.ndarray]:
    return {path.relative_to(folder).as_posix(): load_codes(path).array for path in folder.rglob("*.npz")}


def alone(folder: Path, codec: MimiCodec, num_codebooks: int = 8) -> dict[str, np.ndarray]:
    """Every recording encoded by itself, under the name it should get."""
    expected = {}
    for path in folder.rglob("*.*"):
        if path.suffix in AUDIO_SUFFIXES and not path.name.startswith((".", "bad")):
            name = path.relative_to(folder)
            twin = name.as_posix() in ("two/a.wav", "two/a.flac")
            place = f"{name.as_posix()}.npz" if twin else name.with_suffix(".npz").as_posix()
            expected[place] = codec.encode(load_audio(path).samples, num_codebooks=num_codebooks).array
    return expected


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_mirrored_tree_of_the_same_tokens(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    seen = []
    report = encode_corpus(recordings, tmp_path, num_codebooks=8, codec=tiny_codec, progress=seen.append)
    expected = alone(recordings, tiny_codec)
    assert len(expected) == 9
    assert same(tokens(tmp_path), expected)
    assert (report.done, report.skipped, report.failed) == (9, 0, 1)
    assert report.audio_s == pytest.approx(sum(load_codes(tmp_path / name).duration_s for name in expected), abs=1e-3)
    assert [at.done + at.skipped + at.failed for at in seen] == list(range(1, 11))
    assert (seen[-1].total, seen[-1].left_s) == (10, 0)
    records = read_records(tmp_path)
    assert records.keys() == expected.keys() | {"two/bad.npz"}
    failed = records["two/bad.npz"]
    assert failed["status"] == "failed"
    assert "not a recording" in failed["error"]
    assert report.failures == (failed,)
    good = records["one/b.npz"]
    assert (good["status"], good["num_codebooks"], good["source"]) == ("ok", 8, str(recordings / "one/b.ogg"))
    assert good["num_frames"] == expected["one/b.npz"].shape[1]
    assert records["two/silence.npz"]["rms_dbfs"] == -200
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_shards_and_resuming_change_nothing(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    whole = tmp_path / "whole"
    encode_corpus(recordings, whole, num_codebooks=8, codec=tiny_codec)
    sharded = tmp_path / "sharded"
    for number in (2, 0, 1):
        encode_corpus(recordings, sharded, num_codebooks=8, codec=tiny_codec, shard=(number, 3), num_readers=4)
    assert len(list(sharded.glob("manifest-*-of-3.jsonl"))) == 3
    assert read_records(sharded) == read_records(whole)
    stopped = tmp_path / "stopped"
    for files in (1, 3, 2, 9):
        done: list[object] = []

        def cancel(done: list[object] = done, files: int = files) -> bool:
            return len(done) >= files

        try:
            encode_corpus(recordings, stopped, num_codebooks=8, codec=tiny_codec, cancel=cancel, progress=done.append)
        except Cancelled:
            continue
    assert encode_corpus(recordings, stopped, num_codebooks=8, codec=tiny_codec).skipped == 10
    for folder in (sharded, stopped):
        assert same(tokens(folder), tokens(whole))
        for name in tokens(whole):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert read_records(stopped) == read_records(whole)


def test_what_is_damaged_or_unrecorded_is_mended(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    encode_corpus(recordings, tmp_path, num_codebooks=8, codec=tiny_codec)
    before, records = tokens(tmp_path), read_records(tmp_path)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])
    report = encode_corpus(recordings, tmp_path, num_codebooks=8, codec=tiny_codec)
    assert report.done == 1
    assert same(tokens(tmp_path), before)
    assert read_records(tmp_path) == records


def test_failed_files_wait_to_be_retried(tmp_path: Path, tiny_codec: MimiCodec) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.wav").write_bytes(b"half a download")
    soundfile.write(source / "b.wav", np.zeros(5000), 24000)
    assert encode_corpus(source, target, codec=tiny_codec).failed == 1
    soundfile.write(source / "a.wav", np.zeros(5000), 24000)
    again = encode_corpus(source, target, codec=tiny_codec)
    assert (again.done, again.skipped, again.failed) == (0, 2, 1)
    again = encode_corpus(source, target, codec=tiny_codec, retry_failed=True)
    assert (again.done, again.skipped, again.failed) == (1, 1, 0)
    assert read_records(target)["a.npz"]["status"] == "ok"


def test_long_files_are_streamed_to_the_same_tokens(recordings, tmp_path: Path, tiny_codec, monkeypatch) -> None:
    monkeypatch.setattr("mimi_gui.corpus_work._LONG_S", 0.5)
    encode_corpus(recordings, tmp_path / "out", num_codebooks=8, codec=tiny_codec)
    assert same(tokens(tmp_path / "out"), alone(recordings, tiny_codec))
    report = decode_corpus(tmp_path / "out", tmp_path / "audio", suffix=".wav", codec=tiny_codec)
    assert (report.done, report.failed) == (9, 0)


def test_channels_apart(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    encode_corpus(recordings, tmp_path, num_codebooks=2, channels="split", codec=tiny_codec)
    samples, rate = soundfile.read(recordings / "b.flac", dtype="float32")
    for channel in (0, 1):
        path = recordings.parent / f"{channel}.wav"
        soundfile.write(path, samples[:, channel], rate, subtype="FLOAT")
        expected = tiny_codec.encode(load_audio(path).samples, num_codebooks=2).array
        codes = load_codes(tmp_path / f"b.ch{channel}.npz")
        assert np.array_equal(codes.array, expected)
        assert codes.metadata["source"]["channel"] == channel  # pyright: ignore[reportIndexIssue]
    assert (tmp_path / "a.ch0.npz").exists()
    assert not (tmp_path / "a.ch1.npz").exists()
    report = encode_corpus(recordings, tmp_path, num_codebooks=2, channels="split", codec=tiny_codec)
    assert (report.done, report.failed) == (0, 1)


def test_a_manifest_decides_what_and_stays_inside(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    lines = [
        {"path": "in/a.wav", "duration": 1.0, "speaker": "x"},
        {"path": "../" + recordings.parent.name + "/in/b.flac"},
        {"path": str(recordings / "one" / "b.ogg")},
        {"path": "in/a.wav"},
        {"path": "gone.wav"},
        {"path": "in/two/bad.wav", "status": "failed"},
    ]
    manifest = recordings.parent / "list.jsonl"
    manifest.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    report = encode_corpus(manifest, tmp_path / "out", num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.failed) == (3, 1)
    records = read_records(tmp_path / "out")
    assert records["in/a.npz"]["duration"] == pytest.approx(1.0)
    assert all((tmp_path / "out" / path).resolve().is_relative_to(tmp_path / "out") for path in records)
    assert sum(path.suffix == ".npz" for path in tmp_path.rglob("*")) == 3
    (recordings.parent / "broken.jsonl").write_text("{\n")
    with pytest.raises(MimiGuiError, match="cannot be read as a manifest"):
        find_items(recordings.parent / "broken.jsonl", AUDIO_SUFFIXES)


def test_folders_patterns_and_files(recordings: Path, tmp_path: Path) -> None:
    def names(source: object) -> list[str]:
        return [item.name for item in find_items(source, AUDIO_SUFFIXES)]  # pyright: ignore[reportArgumentType]

    assert names(recordings / "a.wav") == ["a"]
    assert names(f"{recordings}/one/*.*") == ["a", "b"]
    assert names(f"{recordings}/one/**/*.*") == ["a", "b", "deep/a", "deep/c"]
    assert names(f"{recordings}/*/a.wav") == ["one/a", "two/a"]
    everything = names(recordings)
    assert everything == sorted(everything)
    assert {"two/a.wav", "two/a.flac", "two/bad"} < set(everything)
    for source in (tmp_path, tmp_path / "none", f"{tmp_path}/*.wav", tmp_path / "none.jsonl"):
        with pytest.raises(MimiGuiError):
            find_items(source, AUDIO_SUFFIXES)


def test_what_ends_a_run_and_what_does_not(recordings, tmp_path: Path, tiny_codec, monkeypatch) -> None:
    """A full disk ends it; anything odd about one file is that file's line in the manifest."""
    encode = tiny_codec.encode

    def odd(samples, **options):
        if len(samples) == 24000:
            raise IndexError("odd")
        return encode(samples, **options)

    monkeypatch.setattr(tiny_codec, "encode", odd)
    report = encode_corpus(recordings, tmp_path / "a", num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.failed) == (8, 2)
    assert read_records(tmp_path / "a")["a.npz"]["error"] == "IndexError: odd"

    def full(*args, **options):
        raise OutputError("Could not write it.") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mimi_gui.corpus_work.save_codes", full)
    with pytest.raises(OutputError):
        encode_corpus(recordings, tmp_path / "b", num_codebooks=2, codec=tiny_codec)
    with pytest.raises(CodesMismatch, match="choose another folder"):
        encode_corpus(recordings, tmp_path / "a", num_codebooks=3, codec=tiny_codec)
    with pytest.raises(MimiGuiError, match="count from 0"):
        encode_corpus(recordings, tmp_path / "c", shard=(3, 3), codec=tiny_codec)


def test_decoding_a_tree(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    source, target = tmp_path / "tokens", tmp_path / "audio"
    encode_corpus(recordings, source, num_codebooks=8, codec=tiny_codec)
    foreign = Codes(np.zeros((2, 5), int), 9600, CodecInfo(model_name="other", digest="sha256:00"))
    save_codes(source / "foreign.npz", foreign)
    (source / "bad.npz").write_bytes(b"bad")
    report = decode_corpus(source, target, suffix=".flac", num_codebooks=4, codec=tiny_codec)
    assert (report.done, report.failed) == (9, 2)
    for name in tokens(source / "one"):
        codes = load_codes(source / "one" / name)
        audio, rate = soundfile.read(target / "one" / name.replace(".npz", ".flac"), dtype="float32")
        expected = tiny_codec.decode(codes.first(4))
        assert rate == 24000
        assert np.abs(audio - np.clip(expected, -1, 1)).max() <= 1.01 / 2**15
    assert "--model" in read_records(target)["foreign.flac"]["error"]
    assert decode_corpus(source, target, suffix=".flac", num_codebooks=4, codec=tiny_codec).skipped == 11


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_no_unicode_is_a_name(tmp_path: Path, speech: Path, tiny_codec: MimiCodec) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / os.fsdecode(b"caf\xe9.wav")).write_bytes(speech.read_bytes())
    (source / os.fsdecode(b"bad\xe9.wav")).write_bytes(b"x")
    report = encode_corpus(source, tmp_path / "out", num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.failed) == (1, 1)
    assert os.fsdecode(b"caf\xe9.npz") in read_records(tmp_path / "out")
    report = encode_corpus(source, tmp_path / "out", num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.skipped) == (0, 2)
    assert cli.main(["info", str(tmp_path / "out" / os.fsdecode(b"caf\xe9.npz")), "--json"]) == 0


def test_the_manifest_survives_a_cut_line(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.add({"path": "a.npz", "status": "ok"})
    manifest.close()
    with manifest.path.open("a") as file:
        file.write('{"path": "b.n')
    manifest = Manifest(tmp_path)
    manifest.add({"path": "c.npz", "status": "ok"})
    manifest.close()
    assert read_records(tmp_path).keys() == {"a.npz", "c.npz"}


def test_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    everything = []
    for number in range(40):
        array = rng.integers(0, 200, (4, 100))
        if number == 7:
            array = rng.integers(1000, 1040, (4, 100))
            array[:, :50] = rng.integers(0, 200, (4, 50))
        level = {"peak": 0.5, "rms_dbfs": -20.0, "num_full_scale": 0}
        if number == 3:
            level["rms_dbfs"] = -75.0
        if number == 5:
            level["num_full_scale"] = 5000
        codes = Codes(
            array, 100 * 1920, CodecInfo(model_name="m"), {"level": level, "source": {"name": f"{number}.wav"}}
        )
        save_codes(tmp_path / f"{number:02}.npz", codes)
        everything.append(array)
    found = corpus_stats(tmp_path)
    joined = np.concatenate(everything, axis=1)
    assert (found.num_files, found.num_frames, found.num_codebooks, found.audio_s) == (40, 4000, 4, 320)
    for row, used, bits in zip(joined, found.used_share, found.entropy_bits, strict=True):
        counts = np.bincount(row)
        p = counts[counts > 0] / counts.sum()
        assert used == np.count_nonzero(counts) / 2048
        assert bits == pytest.approx(-(p * np.log2(p)).sum() + (len(p) - 1) / (2 * 4000 * np.log(2)))
    outliers = {(outlier.path, outlier.kind): outlier for outlier in found.outliers}
    assert outliers.keys() == {("03.npz", "silent"), ("05.npz", "clipped"), ("07.npz", "rare codes")}
    assert 4.0 <= outliers["07.npz", "rare codes"].at_s <= 6.0
    assert outliers["05.npz", "clipped"].source == "5.wav"
    json.dumps(found.as_dict())
    assert "rare codes" in found.text


def test_in_a_shell(recordings: Path, tmp_path: Path, tiny_checkpoint: Path, capsys) -> None:
    out = str(tmp_path / "out")
    options = ["--model", str(tiny_checkpoint), "--device", "cpu", "-k", "2"]
    assert cli.main(["corpus", "encode", str(recordings), out, *options]) == 1  # one is no recording
    said = capsys.readouterr().err
    assert "9 done, 0 there before, 1 failed" in said
    assert "bad.wav is not a recording" in said
    assert cli.main(["corpus", "encode", f"{recordings}/one", out + "1", *options, "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["done"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["left_s"] == 0
    assert lines[0]["record"]["status"] == "ok"
    assert cli.main(["corpus", "stats", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_files"] == 9
    assert cli.main(["corpus", "decode", out, out + "2", "--device", "cpu", "--format", "wav", "-q"]) == 0
    assert len(list(Path(out + "2").rglob("*.wav"))) == 9
    for wrong in (
        ["--shard", "2/2"],
        ["--shard", "x"],
        ["--channels", "both"],
        ["--progress", "xml"],
        ["--precision", "x"],
        ["--address", "x"],
        ["--engine", "x"],
    ):
        assert cli.main(["corpus", "encode", str(recordings), out, *options, *wrong]) == 2
    assert cli.main(["corpus", "encode", str(tmp_path / "none"), out, *options]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_and_run_again_nothing_is_lost_and_nothing_twice(tmp_path: Path, tiny_checkpoint, tiny_codec) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        soundfile.write(source / f"{number:02}.wav", rng.standard_normal(24000) * 0.1, 24000)
    command = [sys.executable, "-m", "mimi_gui.cli", "corpus", "encode", str(source), str(target), "-k", "2", "-q"]
    process = subprocess.Popen([*command, "--model", str(tiny_checkpoint), "--device", "cpu"])
    deadline = time.monotonic() + 60
    while len(list(target.glob("[0-9]*.npz"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in target.glob("[0-9]*.npz")}
    assert 5 <= len(before) < 60
    report = encode_corpus(source, target, num_codebooks=2, codec=tiny_codec)
    assert report.skipped == len(before)
    assert report.done == 60 - len(before)
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    assert same(tokens(target), alone(source, tiny_codec, 2))
    assert len(read_records(target)) == 60
