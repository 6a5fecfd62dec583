"""Streams: any pieces, any order of streams, nothing from the future, nothing lost by an error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui import compiled
from mimi_gui.codec import MimiCodec
from mimi_gui.errors import DeviceError
from tests.oracle import assert_same_sound, assert_same_tokens, hf_decode
from tests.random_checkpoints import synthetic_recording

FRAME = 1920


@pytest.fixture(scope="module")
def hf(tiny_checkpoint: Path) -> MimiModel:
    logging.disable_progress_bar()
    return MimiModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return synthetic_recording(13.1, seed=9)


def pieces(length: int, sizes: list[int], seed: int) -> list[slice]:
    rng = np.random.default_rng(seed)
    cuts, at = [], 0
    while at < length:
        size = int(rng.choice(sizes))
        cuts.append(slice(at, at + size))
        at += size
    return cuts


@pytest.mark.parametrize(
    "sizes", [[1, 960, 1919, 1920, 1921, 5000], [24_000, 0, 77_777], [1920], [480], [7 * 1920, 9 * 1920, 33 * 1920]]
)
def test_pushes_of_any_size_give_the_whole_file(
    tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray, sizes: list[int]
) -> None:
    stream = tiny_codec.stream_encoder()
    parts = [stream.push(recording[cut]) for cut in pieces(len(recording), sizes, seed=len(sizes))]
    assert stream.num_samples == len(recording)
    assert stream.num_frames == len(recording) // FRAME
    parts.append(stream.flush())
    codes = np.concatenate(parts, axis=1)
    assert codes.dtype == np.int16
    assert stream.num_frames == codes.shape[1] == -(-len(recording) // FRAME)
    assert_same_tokens(hf, recording, codes, least=0.99)


def test_a_frame_comes_out_as_soon_as_it_is_whole(tiny_codec: MimiCodec) -> None:
    stream = tiny_codec.stream_encoder(8)
    assert stream.push(np.zeros(1919, np.float32)).shape == (8, 0)
    assert stream.push(np.zeros(1, np.float32)).shape == (8, 1)
    assert stream.push(np.zeros(3 * FRAME, np.float32)).shape == (8, 3)
    assert stream.flush().shape == (8, 0)
    with pytest.raises(ValueError, match="flushed"):
        stream.push(np.zeros(1, np.float32))


def test_decoder_pieces_give_the_whole_file(tiny_codec: MimiCodec, hf: MimiModel) -> None:
    codes = np.random.default_rng(1).integers(0, 2048, (32, 160)).astype(np.int16)
    stream = tiny_codec.stream_decoder()
    parts = [stream.push(codes[:, cut]) for cut in pieces(160, [0, 1, 2, 7, 26, 30], seed=4)]
    assert stream.num_frames == 160
    assert stream.num_samples == 160 * FRAME
    assert_same_sound(np.concatenate(parts), hf_decode(hf, codes))


def test_a_few_sizes_of_computation_serve_for_all_lengths(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new one would have oneDNN order the weights anew: dearer than a few frames that are thrown away."""
    monkeypatch.setattr(compiled, "products", lambda: False)
    codec = MimiCodec.from_pretrained(str(tiny_checkpoint), device="cpu")
    for num_frames in range(1, 101):
        codes = codec.encode(np.zeros(num_frames * FRAME, np.float32), chunk_frames=100)
        assert codes.num_frames == num_frames
        assert len(codec.decode(codes, chunk_frames=100)) == num_frames * FRAME
    engine: Any = codec._open()
    for operator in (engine._encoding()._downsample, engine._decoding().operators[0]):
        assert len(operator.packed._by_size) <= 25


def test_two_streams_share_a_model_and_nothing_else(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    first, second = recording[: 20 * FRAME], recording[30 * FRAME : 50 * FRAME]
    alone = [tiny_codec.encode(x, chunk_frames=4).array for x in (first, second)]  # same shapes, same rounding
    streams = [tiny_codec.stream_encoder(), tiny_codec.stream_encoder()]
    decoders = [tiny_codec.stream_decoder(), tiny_codec.stream_decoder(8)]
    codes: list[list[np.ndarray]] = [[], []]
    sound: list[list[np.ndarray]] = [[], []]
    for start in range(0, 20 * FRAME, 4 * FRAME):
        for i, source in enumerate((first, second)):
            codes[i].append(streams[i].push(source[start : start + 4 * FRAME]))
            sound[i].append(decoders[i].push(codes[i][-1]))
    for i in range(2):
        np.testing.assert_array_equal(np.concatenate(codes[i], axis=1), alone[i])
    assert_same_sound(np.concatenate(sound[0]), tiny_codec.decode(alone[0]))
    assert_same_sound(np.concatenate(sound[1]), tiny_codec.decode(alone[1], codebooks=8))


def test_nothing_comes_from_the_future(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    changed = recording.copy()
    changed[40 * FRAME :] = 0.3
    before, after = tiny_codec.encode(recording).array, tiny_codec.encode(changed).array
    np.testing.assert_array_equal(before[:, :40], after[:, :40])
    assert (before[:, 40:] != after[:, 40:]).any()
    other = before.copy()
    other[:, 40:] = 7
    np.testing.assert_array_equal(tiny_codec.decode(before)[: 40 * FRAME], tiny_codec.decode(other)[: 40 * FRAME])


def test_state_is_a_value_of_bounded_size(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    def tensors(state: Any) -> list[torch.Tensor]:
        if isinstance(state, torch.Tensor):
            return [state]
        return [t for part in state for t in tensors(part)] if isinstance(state, tuple) else []

    def held_bytes(state: Any) -> int:
        return sum(t.untyped_storage().nbytes() for t in tensors(state))

    stream, decoder = tiny_codec.stream_encoder(), tiny_codec.stream_decoder()
    sizes = []
    for _ in range(3):
        codes = stream.push(recording[: 150 * FRAME])
        snapshot, kept = stream._state, [t.clone() for t in tensors(stream._state)]
        decoder.push(codes)
        stream.push(recording[:FRAME])
        for old, then in zip(tensors(snapshot), kept, strict=True):
            assert torch.equal(old, then)  # a later push does not write into an earlier state
        sizes.append((held_bytes(stream._state), held_bytes(decoder._state)))
    assert sizes[1] == sizes[2]
    assert max(sizes[2]) < 4 * 250 * 2 * 2 * 32 * 4 + 200_000


class Scarce:
    """An engine on a device with room for a few frames only."""

    def __init__(self, engine: Any, most_frames: int) -> None:
        self._engine, self.most_frames, self.calls = engine, most_frames, []
        self.info, self.device = engine.info, engine.device

    def free_memory(self) -> None:
        self.calls.append(0)

    def _admit(self, num_frames: int) -> None:
        self.calls.append(num_frames)
        if num_frames > self.most_frames:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def encode(self, samples: torch.Tensor, state: Any, num_codebooks: int) -> Any:
        self._admit(samples.shape[1] // FRAME)
        return self._engine.encode(samples, state, num_codebooks)

    def decode(self, codes: torch.Tensor, state: Any, codebooks: Any) -> Any:
        self._admit(codes.shape[2])
        return self._engine.decode(codes, state, codebooks)


def test_out_of_memory_halves_the_chunk_and_goes_on(
    tiny_codec: MimiCodec, hf: MimiModel, recording: np.ndarray
) -> None:
    stream, decoder = tiny_codec.stream_encoder(chunk_frames=40), tiny_codec.stream_decoder(chunk_frames=40)
    stream._engine = scarce = Scarce(stream._engine, 6)  # type: ignore[assignment]
    decoder._engine = Scarce(decoder._engine, 6)  # type: ignore[assignment]
    codes = np.concatenate((stream.push(recording), stream.flush()), axis=1)
    assert_same_tokens(hf, recording, codes, least=0.99)
    assert scarce.calls[:7] == [40, 0, 20, 0, 10, 0, 5]  # 0: what the device can spare is given back
    assert set(scarce.calls[6:]) <= {1, 2, 3, 4, 5}
    assert_same_sound(decoder.push(codes), tiny_codec.decode(codes))


def test_no_room_for_one_frame_names_the_ways_out(tiny_codec: MimiCodec) -> None:
    stream = tiny_codec.stream_encoder()
    engine = stream._engine
    stream._engine = Scarce(engine, 0)  # type: ignore[assignment]
    with pytest.raises(DeviceError, match="choose the device cpu") as caught:
        stream.push(np.zeros(5 * FRAME, np.float32))
    assert caught.value.hint == "Out of memory"
    decoder = tiny_codec.stream_decoder()
    decoder._engine = Scarce(decoder._engine, 0)  # type: ignore[assignment]
    with pytest.raises(DeviceError):
        decoder.push(np.zeros((4, 3), np.int16))


def test_another_error_is_not_swallowed_and_costs_no_state(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    expected = tiny_codec.encode(recording[: 20 * FRAME], chunk_frames=10).array
    stream = tiny_codec.stream_encoder()
    first = stream.push(recording[: 10 * FRAME])
    engine = stream._engine
    broken = copy.copy(engine)
    broken.encode = lambda *_: (_ for _ in ()).throw(RuntimeError("a broken driver"))  # type: ignore[method-assign]
    stream._engine = broken
    with pytest.raises(RuntimeError, match="broken driver"):
        stream.push(recording[10 * FRAME : 20 * FRAME])
    stream._engine = engine
    second = stream.push(recording[10 * FRAME : 20 * FRAME])
    np.testing.assert_array_equal(np.concatenate((first, second), axis=1), expected)


def test_bad_pushes_are_refused(tiny_codec: MimiCodec) -> None:
    with pytest.raises(ValueError, match="expected \\[n\\]"):
        tiny_codec.stream_encoder().push(np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="at least 1"):
        tiny_codec.stream_decoder(chunk_frames=0)
    with pytest.raises(ValueError, match="0 to 31"):
        tiny_codec.stream_decoder([32])
    with pytest.raises(ValueError, match="the stream needs"):
        tiny_codec.stream_decoder([0, 9]).push(np.zeros((5, 2), np.int16))
