"""File to file. Oracles: MimiModel over the whole padded file, soundfile, and the other of two paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr
import torch

from mimi_gui.codec import MimiCodec
from mimi_gui.codes import load_codes, save_codes
from mimi_gui.decoder import decode_tokens
from mimi_gui.encoder import encode_audio, regroup
from mimi_gui.errors import AudioFileError, Cancelled, CodesMismatch, ModelUnavailable, OutputError

if TYPE_CHECKING:
    from transformers import MimiModel


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> MimiModel:
    from transformers import MimiModel

    return MimiModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def other_codec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MimiCodec]:
    from tests.random_checkpoints import save_tiny_checkpoint

    path = tmp_path_factory.mktemp("other")
    save_tiny_checkpoint(path)
    weights = next(path.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-4:-2] = b"\x12\x34"  # another last weight: another checkpoint
    weights.write_bytes(data)
    codec = MimiCodec.from_pretrained(str(path), "cpu")
    yield codec
    codec.close()


def heard(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 24000)


def whole_file_codes(model: MimiModel, samples: np.ndarray) -> np.ndarray:
    padded = np.pad(samples, (0, -len(samples) % 1920))
    with torch.inference_mode():
        return model.encode(torch.from_numpy(padded)[None, None]).audio_codes[0].numpy()


def whole_file_audio(model: MimiModel, codes: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model.decode(torch.from_numpy(codes.astype(np.int64))[None]).audio_values[0, 0].numpy()


@pytest.mark.parametrize("streaming", [False, True])
def test_equals_the_model_on_the_whole_file(
    tmp_path: Path, noisy_speech: Path, tiny_codec: MimiCodec, model: MimiModel, streaming: bool
) -> None:
    samples = heard(noisy_speech)
    done = encode_audio(noisy_speech, tmp_path / "a.npz", codec=tiny_codec, streaming=streaming)
    codes = load_codes(tmp_path / "a.npz")
    expected = whole_file_codes(model, samples)
    assert codes.array.shape == expected.shape
    # A rounding tie may change a frame; the share over long audio is held by the engine's own tests.
    assert (codes.array != expected).any(axis=0).sum() <= 1
    assert (done.num_codebooks, done.num_frames, done.num_samples) == (*codes.array.shape, len(samples))
    assert codes.num_samples == len(samples)
    assert codes.metadata["streaming"] is streaming

    decoded = decode_tokens(
        tmp_path / "a.npz", tmp_path / "a.wav", codec=tiny_codec, streaming=streaming, subtype="FLOAT"
    )
    audio, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    expected_audio = whole_file_audio(model, codes.array)[: len(samples)]
    assert rate == 24000
    assert len(audio) == len(samples) == decoded.num_samples
    assert np.abs(audio - expected_audio).max() <= 1e-5 * np.abs(expected_audio).max()


def test_streaming_gives_the_same_bytes_of_tokens_and_audio(
    tmp_path: Path, speech: Path, tiny_codec: MimiCodec
) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(heard(speech), 4), 24000)
    for streaming in (False, True):
        name = tmp_path / f"{streaming}.npz"
        encode_audio(path, name, codec=tiny_codec, streaming=streaming, num_codebooks=8)
        decode_tokens(name, name.with_suffix(".wav"), codec=tiny_codec, streaming=streaming)
    a, b = load_codes(tmp_path / "False.npz"), load_codes(tmp_path / "True.npz")
    assert np.array_equal(a.array, b.array)
    assert (a.num_samples, a.info) == (b.num_samples, b.info)
    assert (tmp_path / "False.wav").read_bytes() == (tmp_path / "True.wav").read_bytes()


@pytest.mark.parametrize("num_samples", [1, 1919, 1920, 1921, 24000])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_length_comes_back(tmp_path: Path, tiny_codec: MimiCodec, num_samples: int, streaming: bool) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(num_samples, 0.1), 24000)
    encode_audio(tmp_path / "a.wav", tmp_path / "a.npz", codec=tiny_codec, streaming=streaming)
    decode_tokens(tmp_path / "a.npz", tmp_path / "b.wav", codec=tiny_codec, streaming=streaming)
    assert soundfile.info(tmp_path / "b.wav").frames == num_samples
    assert load_codes(tmp_path / "a.npz").num_frames == -(-num_samples // 1920)


def test_the_documented_interface(tmp_path: Path, speech: Path, tiny_checkpoint: Path, monkeypatch) -> None:
    """The names and order that people's scripts use, with a local checkpoint named relatively."""
    monkeypatch.chdir(tiny_checkpoint.parent)
    encode_audio(str(speech), str(tmp_path / "a.npz"), tiny_checkpoint.name, "cpu", True, 8)
    codes = load_codes(tmp_path / "a.npz")
    assert codes.num_codebooks == 8
    assert codes.info.model_name == str(tiny_checkpoint)
    weights = next(tiny_checkpoint.glob("*.safetensors")).read_bytes()
    assert codes.info.digest == f"sha256:{hashlib.sha256(weights).hexdigest()}"
    source = codes.metadata["source"]
    assert isinstance(source, dict)
    assert source["sha256"] == hashlib.sha256(speech.read_bytes()).hexdigest()
    assert (source["name"], source["sample_rate"]) == (speech.name, 22050)
    json.dumps(codes.metadata)
    monkeypatch.chdir(tmp_path)  # the file names its checkpoint, wherever we are
    decode_tokens("a.npz", "a.wav", device="cpu")
    decode_tokens("a.npz", "b.flac", None, "cpu", True, 4)
    assert soundfile.info("a.wav").frames == soundfile.info("b.flac").frames == codes.num_samples


def test_fewer_codebooks_are_a_prefix(tmp_path: Path, speech: Path, tiny_codec: MimiCodec) -> None:
    encode_audio(speech, tmp_path / "all.npz", codec=tiny_codec)
    encode_audio(speech, tmp_path / "some.npz", codec=tiny_codec, num_codebooks=5)
    everything, some = load_codes(tmp_path / "all.npz"), load_codes(tmp_path / "some.npz")
    assert np.array_equal(everything.array[:5], some.array)
    decode_tokens(tmp_path / "all.npz", tmp_path / "a.wav", codec=tiny_codec, num_codebooks=5)
    decode_tokens(tmp_path / "some.npz", tmp_path / "b.wav", codec=tiny_codec)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with pytest.raises(CodesMismatch, match="has 1 to 5"):
        decode_tokens(tmp_path / "some.npz", tmp_path / "c.wav", codec=tiny_codec, num_codebooks=6)
    with pytest.raises(CodesMismatch, match="1 to 32"):
        encode_audio(speech, tmp_path / "c.npz", codec=tiny_codec, num_codebooks=33)
    assert not list(tmp_path.glob("c.*"))


def test_tokens_of_another_checkpoint_are_refused_unless_asked_for(
    tmp_path: Path, speech: Path, tiny_codec: MimiCodec, other_codec: MimiCodec
) -> None:
    tokens = tmp_path / "a.npz"
    encode_audio(speech, tokens, codec=tiny_codec, num_codebooks=2)
    with pytest.raises(CodesMismatch, match="--force"):
        decode_tokens(tokens, tmp_path / "a.wav", codec=other_codec)
    assert not (tmp_path / "a.wav").exists()
    done = decode_tokens(tokens, tmp_path / "a.wav", codec=other_codec, allow_mismatch=True)
    assert "decoded all the same" in done.warnings[0]
    codes = load_codes(tokens)
    save_codes(tmp_path / "gone.npz", replace(codes, info=replace(codes.info, model_name=str(tmp_path / "no"))))
    with pytest.raises(ModelUnavailable, match="name the checkpoint"):
        decode_tokens(tmp_path / "gone.npz", tmp_path / "b.wav", device="cpu")


def test_a_bare_file_is_decoded_and_says_what_it_lacks(tmp_path: Path, tiny_codec: MimiCodec) -> None:
    codes = np.random.default_rng(0).integers(0, 2048, (1, 8, 20)).astype(np.int16)
    np.savez(tmp_path / "bare.npz", audio_codes=codes, sample_rate=24000, num_codebooks=8, num_frames=20)
    done = decode_tokens(tmp_path / "bare.npz", tmp_path / "bare.wav", codec=tiny_codec)
    assert "does not say which checkpoint" in done.warnings[0]
    assert soundfile.info(tmp_path / "bare.wav").frames == 20 * 1920


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt])
def test_stopping_leaves_nothing(
    tmp_path: Path, noisy_speech: Path, tiny_codec: MimiCodec, streaming: bool, stop: type[BaseException]
) -> None:
    tokens = tmp_path / "whole.npz"
    encode_audio(noisy_speech, tokens, codec=tiny_codec)
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        assert 0 < done <= total
        if stop is KeyboardInterrupt:
            raise KeyboardInterrupt

    def cancel() -> bool:
        return bool(seen) and stop is Cancelled

    with pytest.raises(stop):
        encode_audio(
            noisy_speech, tmp_path / "a.npz", "", None, streaming, progress=progress, cancel=cancel, codec=tiny_codec
        )
    with pytest.raises(stop):
        decode_tokens(
            tokens, tmp_path / "a.wav", "", None, streaming, progress=progress, cancel=cancel, codec=tiny_codec
        )
    assert list(tmp_path.iterdir()) == [tokens]


@pytest.mark.parametrize("streaming", [False, True])
def test_progress_reaches_the_end(tmp_path: Path, noisy_speech: Path, tiny_codec: MimiCodec, streaming: bool) -> None:
    seen: list[tuple[int, int]] = []
    encode_audio(
        noisy_speech,
        tmp_path / "a.npz",
        streaming=streaming,
        codec=tiny_codec,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (138, 138)
    assert len(seen) > 1
    seen.clear()
    decode_tokens(
        tmp_path / "a.npz",
        tmp_path / "a.wav",
        streaming=streaming,
        codec=tiny_codec,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (138, 138)


@pytest.mark.parametrize("streaming", [False, True])
def test_damage_found_on_the_way(tmp_path: Path, tiny_codec: MimiCodec, streaming: bool) -> None:
    samples = np.full(300_000, 0.1, np.float32)
    soundfile.write(tmp_path / "cut.wav", samples, 24000)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:200_044])
    done = encode_audio(tmp_path / "cut.wav", tmp_path / "cut.npz", codec=tiny_codec, streaming=streaming)
    assert "cut short" in done.warnings[0]
    assert done.num_samples == 100_000
    samples[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 24000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match="NaN"):
        encode_audio(tmp_path / "nan.wav", tmp_path / "nan.npz", codec=tiny_codec, streaming=streaming)
    assert not (tmp_path / "nan.npz").exists()


def test_targets_are_checked_before_the_model_is_loaded(tmp_path: Path, speech: Path) -> None:
    for target in (tmp_path, tmp_path / "no" / "a.npz"):
        with pytest.raises(OutputError):
            encode_audio(speech, target, "nobody/nothing")
    with pytest.raises(OutputError, match="suffix"):
        decode_tokens(tmp_path / "a.npz", tmp_path / "a.docx", "nobody/nothing")
    with pytest.raises(AudioFileError):
        encode_audio(tmp_path / "no.wav", tmp_path / "a.npz", "nobody/nothing")


def test_clipping_is_counted(tmp_path: Path, tiny_codec: MimiCodec, monkeypatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(4000, 0.1), 24000)
    encode_audio(tmp_path / "a.wav", tmp_path / "a.npz", codec=tiny_codec)

    class Loud:
        num_frames = 3

        def push(self, codes: np.ndarray) -> np.ndarray:
            return np.linspace(-2, 2, 4001, dtype=np.float32)[:-1]

    monkeypatch.setattr(tiny_codec, "stream_decoder", Loud)
    done = decode_tokens(tmp_path / "a.npz", tmp_path / "b.wav", codec=tiny_codec)
    assert done.num_clipped == 1999


@pytest.mark.parametrize("sizes", [[], [1], [10], [3, 4, 3], [25], [10, 10], [1] * 31, [7, 0, 30]])
def test_regrouping_keeps_every_sample(sizes: list[int]) -> None:
    whole = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []
    pieces = list(regroup(iter(blocks), 10))
    assert all(len(piece) == 10 for piece in pieces[:-1])
    assert all(0 < len(piece) <= 10 for piece in pieces)
    assert np.array_equal(np.concatenate([*pieces, np.empty(0, np.float32)]), whole)
