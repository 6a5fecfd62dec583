"""What a second run on the same folder does: other options, changed files, leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui import cli
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import load_codes
from mimi_gui.corpus import Progress, decode_corpus, encode_corpus
from mimi_gui.corpus_items import read_records
from mimi_gui.corpus_work import Encoding
from mimi_gui.errors import Cancelled, CodesMismatch


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        soundfile.write(folder / f"{number}.wav", rng.standard_normal(6000 + 2000 * number) * 0.1, 24000)
    return folder


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.suffix in (".npz", ".flac", ".w64")}


@pytest.mark.parametrize("suffix", [".flac", ".w64"])  # one has tags that say how it was made, one has not
def test_decoding_with_other_options_is_refused_or_done_anew(
    recordings: Path, tmp_path: Path, tiny_codec: MimiCodec, suffix: str
) -> None:
    tokens, audio = tmp_path / "tokens", tmp_path / "audio"
    encode_corpus(recordings, tokens, num_codebooks=8, codec=tiny_codec)
    options = {"suffix": suffix, "codec": tiny_codec}
    decode_corpus(tokens, audio, num_codebooks=4, **options)
    before = times(audio)
    assert decode_corpus(tokens, audio, num_codebooks=4, **options).skipped == 6
    with pytest.raises(CodesMismatch, match=r"num codebooks 4, this run asks for 2: choose another folder"):
        decode_corpus(tokens, audio, num_codebooks=2, **options)
    with pytest.raises(CodesMismatch, match=r"format \.\w+, this run asks for \.wav"):
        decode_corpus(tokens, audio, num_codebooks=4, suffix=".wav", codec=tiny_codec)
    with pytest.raises(CodesMismatch, match="subtype as it comes, this run asks for PCM_24"):
        decode_corpus(tokens, audio, num_codebooks=4, subtype="PCM_24", **options)
    assert times(audio) == before
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        decode_corpus(
            tokens,
            audio,
            num_codebooks=2,
            overwrite=True,
            progress=seen.append,
            cancel=lambda: len(seen) > 1,
            **options,
        )
    # Without asking again: the run that was begun is finished.
    report = decode_corpus(tokens, audio, num_codebooks=2, **options)
    assert report.done + report.skipped == 6
    assert 0 < report.done <= 6 - len(seen)
    for path in tokens.glob("*.npz"):
        samples, _ = soundfile.read(audio / f"{path.stem}{suffix}", dtype="float32")
        expected = np.clip(tiny_codec.decode(load_codes(path).first(2)), -1, 1)
        assert np.abs(samples - expected).max() <= 1.01 / 2**15
    assert all(record["num_codebooks"] == 2 for record in read_records(audio).values())


def test_a_foreign_recording_is_not_written_over(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    tokens, audio = tmp_path / "tokens", tmp_path / "audio"
    encode_corpus(recordings, tokens, num_codebooks=2, codec=tiny_codec)
    audio.mkdir()
    soundfile.write(audio / "3.flac", np.zeros(100), 24000)
    with pytest.raises(CodesMismatch, match=r"3\.flac is there already"):
        decode_corpus(tokens, audio, codec=tiny_codec)
    assert soundfile.info(audio / "3.flac").frames == 100
    assert decode_corpus(tokens, audio, codec=tiny_codec, overwrite=True).failed == 0
    assert soundfile.info(audio / "3.flac").frames == 12000


def test_encoding_with_other_options(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec, capsys) -> None:
    out = tmp_path / "out"
    encode_corpus(recordings, out, num_codebooks=2, codec=tiny_codec)
    told = json.loads((out / "corpus.json").read_text())
    assert (told["verb"], told["num_codebooks"], told["digest"]) == ("encode", 2, tiny_codec.info.digest)
    with pytest.raises(CodesMismatch, match="channels mix, this run asks for split"):
        encode_corpus(recordings, out, num_codebooks=2, channels="split", codec=tiny_codec)
    arguments = ["corpus", "encode", str(recordings), str(out), "--device", "cpu", "-q", "-k", "2"]
    assert cli.main([*arguments, "--model", "mimi-tiny"]) == 1
    assert "digest sha256:" in capsys.readouterr().err
    report = encode_corpus(recordings, out, num_codebooks=4, overwrite=True, codec=tiny_codec)
    assert (report.done, report.skipped) == (6, 0)
    assert {load_codes(path).num_codebooks for path in out.glob("*.npz")} == {4}
    assert encode_corpus(recordings, out, num_codebooks=4, codec=tiny_codec).skipped == 6


def test_a_source_that_has_changed_is_encoded_again(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    out = tmp_path / "out"
    encode_corpus(recordings, out, num_codebooks=2, codec=tiny_codec)
    soundfile.write(recordings / "2.wav", np.zeros(30000), 24000)
    report = encode_corpus(recordings, out, num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.skipped) == (1, 5)
    assert load_codes(out / "2.npz").num_samples == 30000


def test_decoding_retries_what_failed(recordings: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    tokens, audio = tmp_path / "tokens", tmp_path / "audio"
    encode_corpus(recordings, tokens, num_codebooks=2, codec=tiny_codec)
    whole = (tokens / "1.npz").read_bytes()
    (tokens / "1.npz").write_bytes(whole[:100])
    assert decode_corpus(tokens, audio, codec=tiny_codec).failed == 1
    (tokens / "1.npz").write_bytes(whole)
    again = decode_corpus(tokens, audio, codec=tiny_codec)
    assert (again.done, again.skipped, again.failed) == (0, 6, 1)
    again = decode_corpus(tokens, audio, codec=tiny_codec, retry_failed=True)
    assert (again.done, again.skipped, again.failed) == (1, 5, 0)


def test_leftovers_of_a_killed_run_go_and_those_of_others_stay(
    recordings: Path, tmp_path: Path, tiny_codec: MimiCodec
) -> None:
    out = tmp_path / "out"
    encode_corpus(recordings, out, num_codebooks=2, codec=tiny_codec, shard=(0, 2))
    mine, others, strange = out / ".0.0123abcd.part.npz", out / ".1.0123abcd.part.npz", out / ".0.part.txt"
    for path in (mine, others, strange):
        path.write_bytes(b"half")
    encode_corpus(recordings, out, num_codebooks=2, codec=tiny_codec, shard=(0, 2))
    assert [path.exists() for path in (mine, others, strange)] == [False, True, True]


def test_several_at_once_are_the_same_as_each_alone(
    recordings: Path, tmp_path: Path, tiny_codec: MimiCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: batches of short files, a long one and a bad one among them."""
    (recordings / "bad.wav").write_bytes(b"no audio")
    encode_corpus(recordings, tmp_path / "alone", num_codebooks=4, codec=tiny_codec)
    batches: list[int] = []
    begin, batch = Encoding.__init__, tiny_codec.encode_batch

    def together(self, *arguments) -> None:
        begin(self, *arguments)
        self.most_files = 3

    def counted(samples, **options):
        batches.append(len(samples))
        if len(batches) == 2:
            raise IndexError("one of them is odd")  # then each is tried by itself
        return batch(samples, **options)

    monkeypatch.setattr(Encoding, "__init__", together)
    monkeypatch.setattr(tiny_codec, "encode_batch", counted)
    monkeypatch.setattr("mimi_gui.corpus_work._LONG_S", 0.6)
    report = encode_corpus(recordings, tmp_path / "batched", num_codebooks=4, codec=tiny_codec)
    assert (report.done, report.failed) == (6, 1)
    assert batches
    assert max(batches) == 3
    for path in (tmp_path / "alone").glob("*.npz"):
        assert np.array_equal(load_codes(path).array, load_codes(tmp_path / "batched" / path.name).array)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process there")
def test_ctrl_c_leaves_only_whole_files(tmp_path: Path, tiny_checkpoint: Path, tiny_codec: MimiCodec) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(40):
        soundfile.write(source / f"{number:02}.wav", np.random.default_rng(number).standard_normal(48000) * 0.1, 24000)
    command = [sys.executable, "-m", "mimi_gui.cli", "corpus", "encode", str(source), str(out), "-k", "2"]
    command += ["--model", str(tiny_checkpoint), "--device", "cpu", "--progress", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    made = sorted(out.glob("*.npz"))
    assert 3 <= len(made) < 40
    assert not list(out.rglob(".*"))
    for path in made:
        assert load_codes(path).num_codebooks == 2
    report = encode_corpus(source, out, num_codebooks=2, codec=tiny_codec)
    assert (report.done, report.skipped) == (40 - len(made), len(made))
