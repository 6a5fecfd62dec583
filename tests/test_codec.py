"""MimiCodec against transformers' own whole-file MimiModel: equal tokens and sound, whatever the pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui import codec as codec_module
from mimi_gui.codec import MimiCodec, available_devices, choose_device
from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.errors import Cancelled, CodesMismatch, DeviceError
from tests.oracle import assert_same_sound, assert_same_tokens, hf_decode, hf_encode, zero_padded
from tests.random_checkpoints import synthetic_recording

FRAME = 1920


@pytest.fixture(scope="module")
def hf(tiny_checkpoint: Path) -> MimiModel:
    logging.disable_progress_bar()
    return MimiModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return synthetic_recording(24.3, seed=5)  # past the 10 s window, not a whole number of frames


def test_whole_file_encode_is_the_models_own(tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray) -> None:
    codes = tiny_codec.encode(recording)
    assert codes.array.dtype == np.int16
    assert codes.array.shape == (32, -(-len(recording) // FRAME))
    assert codes.num_samples == len(recording)
    assert codes.info == tiny_codec.info
    assert_same_tokens(hf, recording, codes.array, least=0.99)


@pytest.mark.parametrize("chunk_frames", [1, 7, 13, 50, 400])
def test_chunks_change_neither_tokens_nor_sound(
    tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray, chunk_frames: int
) -> None:
    codes = tiny_codec.encode(recording, chunk_frames=chunk_frames)
    assert_same_tokens(hf, recording, codes.array, least=0.99)
    sound = tiny_codec.decode(codes, chunk_frames=chunk_frames)
    assert sound.dtype == np.float32
    assert sound.shape == recording.shape
    assert_same_sound(sound, hf_decode(hf, codes.array)[: len(recording)])


@pytest.mark.parametrize("num_samples", [1, 1919, 1920, 1921, 24_000])
def test_every_length_is_zero_padded_to_frames(tiny_codec: MimiCodec, hf: MimiModel, num_samples: int) -> None:
    samples = synthetic_recording(1.0)[:num_samples]
    codes = tiny_codec.encode(samples)
    assert codes.num_frames == -(-num_samples // FRAME)
    assert codes.num_samples == num_samples
    assert_same_tokens(hf, samples, codes.array)
    sound = tiny_codec.decode(codes)
    assert sound.shape == (num_samples,)
    assert_same_sound(sound, hf_decode(hf, codes.array)[:num_samples])


def test_nothing_in_nothing_out(tiny_codec: MimiCodec) -> None:
    codes = tiny_codec.encode(np.zeros(0, np.float32))
    assert codes.array.shape == (32, 0)
    assert tiny_codec.decode(codes).shape == (0,)


@pytest.mark.parametrize("num_codebooks", [1, 2, 8, 31])
def test_fewer_codebooks_are_the_first_rows(
    tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray, num_codebooks: int
) -> None:
    clip = recording[: 3 * 24_000]
    codes = tiny_codec.encode(clip, num_codebooks=num_codebooks)
    assert codes.array.shape[0] == num_codebooks
    np.testing.assert_array_equal(codes.array, tiny_codec.encode(clip).array[:num_codebooks])
    np.testing.assert_array_equal(codes.array, hf_encode(hf, clip, num_codebooks))
    assert_same_sound(tiny_codec.decode(codes), hf_decode(hf, codes.array)[: len(clip)])


def test_a_number_of_codebooks_decodes_the_first(tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray) -> None:
    codes = tiny_codec.encode(recording[:48_000])
    for k in (1, 5, 32):
        assert_same_sound(tiny_codec.decode(codes, codebooks=k), hf_decode(hf, codes.array[:k])[:48_000])


@pytest.mark.parametrize("chosen", [[0], [3], [0, 5, 31], [1, 2, 3], list(range(1, 32))])
def test_any_subset_is_the_sum_of_its_own_codewords(
    tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray, chosen: list[int]
) -> None:
    codes = tiny_codec.encode(recording[: 5 * 24_000])
    quantizer = hf.quantizer
    latents = torch.zeros(())
    with torch.inference_mode():
        for rvq, first in (
            (quantizer.semantic_residual_vector_quantizer, 0),
            (quantizer.acoustic_residual_vector_quantizer, 1),
        ):
            mine = [k for k in chosen if (k == 0) == (first == 0)]
            for k in mine:
                words = rvq.layers[k - first].codebook.embed[torch.from_numpy(codes.array[k].astype(np.int64))]
                latents = latents + rvq.output_proj(words.T[None])
        expected = hf.decoder(latents).audio_values[0, 0].numpy()[: codes.num_samples]
    assert_same_sound(tiny_codec.decode(codes, codebooks=chosen, chunk_frames=9), expected)
    assert_same_sound(tiny_codec.decode(codes, codebooks=chosen[::-1]), expected)


def test_a_bare_array_decodes_to_whole_frames(tiny_codec: MimiCodec, hf: MimiModel) -> None:
    rng = np.random.default_rng(3)
    for dtype in (np.int16, np.int64, np.uint16):
        array = rng.integers(0, 2048, (8, 5)).astype(dtype)
        sound = tiny_codec.decode(array)
        assert sound.shape == (5 * FRAME,)
        assert_same_sound(sound, hf_decode(hf, array))


def test_progress_counts_frames_and_cancel_stops(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    codes = tiny_codec.encode(recording[: 30 * FRAME], chunk_frames=8, progress=lambda *a: seen.append(a))
    assert seen == [(8, 30), (16, 30), (24, 30), (30, 30)]
    seen.clear()
    tiny_codec.decode(codes, chunk_frames=20, progress=lambda *a: seen.append(a))
    assert seen == [(20, 30), (30, 30)]
    polls = iter([False, False, True])
    with pytest.raises(Cancelled):
        tiny_codec.encode(recording, chunk_frames=4, cancel=lambda: next(polls))
    with pytest.raises(Cancelled):
        tiny_codec.decode(codes, cancel=lambda: True)
    again = tiny_codec.encode(recording[: 30 * FRAME], chunk_frames=8)
    np.testing.assert_array_equal(again.array, codes.array)


def test_what_makes_no_sense_is_refused(tiny_codec: MimiCodec) -> None:
    with pytest.raises(ValueError, match="mono"):
        tiny_codec.encode(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="finite"):
        tiny_codec.encode(np.array([0.0, np.nan], np.float32))
    with pytest.raises(ValueError, match="num_codebooks is 33"):
        tiny_codec.encode(np.zeros(10, np.float32), num_codebooks=33)
    with pytest.raises(ValueError, match="num_codebooks is 0"):
        tiny_codec.stream_encoder(0)
    with pytest.raises(ValueError, match="chunk_frames"):
        tiny_codec.encode(np.zeros(10, np.float32), chunk_frames=0)
    with pytest.raises(ValueError, match="0 to 2047"):
        tiny_codec.decode(np.full((1, 3), 2048))
    with pytest.raises(ValueError, match="0 to 2047"):
        tiny_codec.decode(np.full((1, 3), -1))
    with pytest.raises(ValueError, match="codebooks"):
        tiny_codec.decode(np.zeros((33, 3), np.int16))
    with pytest.raises(ValueError, match="codebooks"):
        tiny_codec.decode(np.zeros((4, 3), np.int16), codebooks=5)
    with pytest.raises(ValueError, match="codebooks"):
        tiny_codec.decode(np.zeros((4, 3), np.int16), codebooks=[])
    with pytest.raises(ValueError, match="integers"):
        tiny_codec.decode(np.zeros((4, 3), np.float32))


def test_a_waveform_of_another_rate_is_refused(tiny_codec: MimiCodec) -> None:
    class Recording:
        samples = np.zeros(100, np.float32)
        sample_rate = 44_100

    with pytest.raises(ValueError, match="44100 Hz, expected 24000 Hz"):
        tiny_codec.encode(Recording())


def test_tokens_of_another_checkpoint_are_refused(tiny_codec: MimiCodec) -> None:
    codes = Codes(np.zeros((4, 3), np.int16), 10, CodecInfo(digest="sha256:" + "0" * 64, model_name="other/mimi"))
    with pytest.raises(CodesMismatch, match="other/mimi"):
        tiny_codec.decode(codes)
    unknown = Codes(np.zeros((4, 3), np.int16), 10, CodecInfo())
    assert tiny_codec.decode(unknown).shape == (10,)


@pytest.mark.parametrize("level", [0, 1, 31])
def test_centroids_are_the_models_own_codewords(tiny_codec: MimiCodec, hf: MimiModel, level: int) -> None:
    quantizer = hf.quantizer
    rvq = quantizer.semantic_residual_vector_quantizer if level == 0 else quantizer.acoustic_residual_vector_quantizer
    centroids = tiny_codec.centroids(level)
    assert centroids.dtype == np.float32
    np.testing.assert_allclose(centroids, rvq.layers[max(level - 1, 0)].codebook.embed.numpy(), rtol=1e-6)
    centroids[:] = 0  # the caller's own
    assert tiny_codec.centroids(level).any()


def test_a_codebook_that_is_not_there_has_no_centroids(tiny_codec: MimiCodec) -> None:
    for level in (-1, 32):
        with pytest.raises(ValueError, match="0 to 31"):
            tiny_codec.centroids(level)


def test_metadata_says_how_and_fits_into_json(tiny_codec: MimiCodec) -> None:
    codes = tiny_codec.encode(np.zeros(100, np.float32))
    metadata = json.loads(json.dumps(dict(codes.metadata)))
    assert metadata["precision"] == "exact"
    assert metadata["device"] == "cpu"
    assert metadata["versions"]["torch"] == torch.__version__


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_devices()[-1] == "cpu"
    assert choose_device("auto") == choose_device(None) == available_devices()[0]
    assert choose_device("CPU") == "cpu"
    monkeypatch.setattr(codec_module, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    assert choose_device("auto") == choose_device("cuda") == "cuda:0"
    assert choose_device("cuda:1") == "cuda:1"
    for absent in ("cuda:2", "mps", "tpu"):
        with pytest.raises(DeviceError, match="cuda:0, cuda:1, cpu"):
            choose_device(absent)


def test_closed_codec_says_so(tiny_checkpoint: Path) -> None:
    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu") as codec:
        stream = codec.stream_encoder()
    with pytest.raises(ValueError, match="closed"):
        codec.encode(np.zeros(10, np.float32))
    assert stream.push(np.zeros(FRAME, np.float32)).shape == (32, 1)  # an open stream keeps what it needs


def test_loading_leaves_the_process_alone(tiny_checkpoint: Path) -> None:
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu").encode(np.zeros(FRAME, np.float32))
    assert (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32) == (threads, tf32)
    assert torch.is_grad_enabled()


@pytest.mark.full
@pytest.mark.parametrize("chunk_frames", [1, 7, 13, 50])
def test_full_size_is_exact(full: tuple[MimiCodec, MimiModel, np.ndarray, np.ndarray], chunk_frames: int) -> None:
    codec, hf, recording, sound = full
    codes = codec.encode(recording, chunk_frames=chunk_frames)
    assert_same_tokens(hf, recording, codes.array, least=0.9998, tied_frames=1)
    decoded = codec.decode(hf_encode(hf, recording), chunk_frames=chunk_frames)
    assert_same_sound(decoded, sound)


@pytest.fixture(scope="module")
def full(full_checkpoint: Path) -> tuple[MimiCodec, MimiModel, np.ndarray, np.ndarray]:
    logging.disable_progress_bar()
    hf = MimiModel.from_pretrained(full_checkpoint).eval()
    recording = zero_padded(synthetic_recording(21.7, seed=11))
    codec = MimiCodec.from_pretrained(str(full_checkpoint), device="cpu")
    return codec, hf, recording, hf_decode(hf, hf_encode(hf, recording))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_cuda_gives_the_same(tiny_checkpoint: Path, hf: MimiModel, recording: np.ndarray) -> None:
    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cuda") as codec:
        codes = codec.encode(recording)
        assert_same_tokens(hf, recording, codes.array, least=0.99)
        assert_same_sound(codec.decode(codes), hf_decode(hf, codes.array)[: len(recording)])
