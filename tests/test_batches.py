"""Recordings encoded together: each row is a stream of its own, whatever is beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MimiModel
from transformers.utils import logging

from mimi_gui.batches import encode_rows, groups
from mimi_gui.codec import MimiCodec
from mimi_gui.errors import Cancelled, DeviceError
from mimi_gui.transfers import download
from tests.oracle import assert_same_tokens
from tests.random_checkpoints import synthetic_recording

FRAME = 1920


@pytest.fixture(scope="module")
def hf(tiny_checkpoint: Path) -> MimiModel:
    logging.disable_progress_bar()
    return MimiModel.from_pretrained(tiny_checkpoint).eval()


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    lengths = (3_000, 0, 24_000, 1, 300_001, FRAME, 61_440, 24_001)  # the long one is past the 10 s window
    return [synthetic_recording(13.0, seed=i)[:length] for i, length in enumerate(lengths)]


def test_a_batch_gives_what_each_gives_alone(
    tiny_codec: MimiCodec, hf: MimiModel, recordings: list[np.ndarray]
) -> None:
    batch = tiny_codec.encode_batch(recordings)
    assert [codes.num_samples for codes in batch] == [len(x) for x in recordings]
    for codes, recording in zip(batch, recordings, strict=True):
        assert codes.array.dtype == np.int16
        np.testing.assert_array_equal(codes.array, tiny_codec.encode(recording).array)
        assert codes.metadata == tiny_codec.metadata()
        if len(recording):
            assert_same_tokens(hf, recording, codes.array, least=0.99)
    fewer = tiny_codec.encode_batch(recordings[:3], num_codebooks=5)
    np.testing.assert_array_equal(fewer[2].array, batch[2].array[:5])
    assert tiny_codec.encode_batch([]) == []


@pytest.mark.parametrize(("frames", "least_rows"), [(8, 8), (24, 4), (16, 3)])
def test_rows_in_chunks_end_one_by_one(
    tiny_codec: MimiCodec, hf: MimiModel, recordings: list[np.ndarray], frames: int, least_rows: int
) -> None:
    codes = encode_rows(tiny_codec._open(), recordings, 32, frames=frames, least_rows=least_rows)
    for mine, recording in zip(codes, recordings, strict=True):
        assert mine.shape == (32, -(-len(recording) // FRAME))
        if len(recording):
            assert_same_tokens(hf, recording, mine, least=0.99, tied_frames=1)


def test_groups_hold_every_recording_once_and_keep_the_budget() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(0, 90, 200)]
    seen = list(groups(lengths, 75, 1, 16))
    assert sorted(i for group in seen for i in group) == [i for i, n in enumerate(lengths) if n]
    for group in seen:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 75
        assert len(group) <= 16
    assert [len(group) for group in groups([90] * 20, 75, 8, 16)] == [8, 8, 4]
    assert [len(group) for group in groups([1] * 20, 75, 8, 16)] == [16, 4]


class Scarce:
    """An engine on a device with room for so many frames of all rows together."""

    def __init__(self, engine: Any, room: int) -> None:
        self._engine, self.room, self.calls = engine, room, []
        self.info, self.device = engine.info, engine.device

    def free_memory(self) -> None:
        pass

    def prepare(self, **_: bool) -> None:
        pass

    def encode(self, samples: torch.Tensor, state: Any, num_codebooks: int) -> Any:
        self.calls.append(tuple(samples.shape))
        if samples.numel() > self.room * FRAME:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self._engine.encode(samples, state, num_codebooks)


@pytest.mark.parametrize("room", [20, 5, 1])
def test_out_of_memory_makes_the_chunk_smaller_and_then_the_batch(
    tiny_codec: MimiCodec, hf: MimiModel, recordings: list[np.ndarray], room: int
) -> None:
    scarce: Any = Scarce(tiny_codec._open(), room)
    some = [recordings[2], recordings[6], recordings[7]]
    codes = encode_rows(scarce, some, 8, frames=45, least_rows=3)
    for mine, recording in zip(codes, some, strict=True):
        assert_same_tokens(hf, recording, mine, least=0.99, tied_frames=1)
    none: Any = Scarce(tiny_codec._open(), 0)
    with pytest.raises(DeviceError, match="single frame"):
        encode_rows(none, some, 8, frames=45, least_rows=3)


def test_a_chunk_is_fetched_when_the_next_one_has_been_started(
    tiny_codec: MimiCodec, recordings: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a GPU is never idle while codes are copied and rows are made ready."""
    events: list[str] = []

    def watched(tensor: torch.Tensor) -> Any:
        events.append("start")
        fetch = download(tensor)
        return lambda: (events.append("fetch"), fetch())[1]

    monkeypatch.setattr("mimi_gui.batches.download", watched)
    encode_rows(tiny_codec._open(), [recordings[6], recordings[6]], 8, frames=16, least_rows=2)
    assert events.count("start") == events.count("fetch") > 2
    assert events[:5] == ["start", "start", "fetch", "start", "fetch"]
    assert events[-1] == "fetch"


def test_cancel_stops_a_batch(tiny_codec: MimiCodec, recordings: list[np.ndarray]) -> None:
    polls = iter([False, True])
    with pytest.raises(Cancelled):
        tiny_codec.encode_batch(recordings, cancel=lambda: next(polls))


def test_one_bad_recording_is_refused_before_any_work(tiny_codec: MimiCodec) -> None:
    with pytest.raises(ValueError, match="finite"):
        tiny_codec.encode_batch([np.zeros(10, np.float32), np.array([np.nan], np.float32)])
