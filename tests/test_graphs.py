"""Fixed buffers give what the plain engine gives, to the last bit, and no stream sees another one's."""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any

import numpy as np
import pytest
import torch

from mimi_gui import graphs
from mimi_gui.codec import MimiCodec
from mimi_gui.graphs import GraphCache
from mimi_gui.transfers import download, is_out_of_memory, upload
from tests.random_checkpoints import synthetic_recording

FRAME = 1920
CHUNK = 20


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    return synthetic_recording(28.0, seed=21)[: 17 * CHUNK * FRAME]  # the states have their full size after 10 s


def with_graphs(codec: MimiCodec, cache: GraphCache) -> Any:
    codec._open().prepare()  # before the copy: what was taken over is shared
    engine = copy.copy(codec._open())
    engine._graphs = cache
    return engine


def test_chunks_through_fixed_buffers_are_the_same_to_the_last_bit(
    tiny_codec: MimiCodec, recording: np.ndarray
) -> None:
    cache = GraphCache(capture=False)
    engine = with_graphs(tiny_codec, cache)
    plain = tiny_codec.stream_encoder(chunk_frames=CHUNK), tiny_codec.stream_decoder(chunk_frames=CHUNK)
    fixed = tiny_codec.stream_encoder(chunk_frames=CHUNK), tiny_codec.stream_decoder(chunk_frames=CHUNK)
    for stream in fixed:
        stream._engine = engine
    codes = plain[0].push(recording)
    np.testing.assert_array_equal(fixed[0].push(recording), codes)
    np.testing.assert_array_equal(fixed[1].push(codes), plain[1].push(codes))
    assert len(cache._graphs) == 2  # one of each direction: they were used
    # Pieces of another size in between, as a live stream has them, and then the old size again
    for length in (1, 7, CHUNK):
        more = recording[: length * FRAME]
        codes = plain[0].push(more)
        np.testing.assert_array_equal(fixed[0].push(more), codes)
        np.testing.assert_array_equal(fixed[1].push(codes), plain[1].push(codes))


def test_streams_share_a_graph_and_nothing_else(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    engine = with_graphs(tiny_codec, GraphCache(capture=False))
    sources = recording, recording[::-1].copy()
    expected = [tiny_codec.encode(x, num_codebooks=8, chunk_frames=CHUNK).array for x in sources]
    streams = [tiny_codec.stream_encoder(8, chunk_frames=CHUNK) for _ in sources]
    parts: list[list[np.ndarray]] = [[], []]
    for stream in streams:
        stream._engine = engine
    for start in range(0, len(recording), CHUNK * FRAME):
        for i, stream in enumerate(streams):
            parts[i].append(stream.push(sources[i][start : start + CHUNK * FRAME]))
    for mine, wanted in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate(mine, axis=1), wanted)


def test_an_old_state_can_be_gone_on_from_again(tiny_codec: MimiCodec, recording: np.ndarray) -> None:
    cache = GraphCache(capture=False)
    engine = with_graphs(tiny_codec, cache)
    chunks = [torch.from_numpy(recording[i * CHUNK * FRAME :][: CHUNK * FRAME].copy())[None] for i in range(12)]
    state = None
    for chunk in chunks[:10]:
        _, state = engine.encode(chunk, state, 8)
    assert cache._graphs
    first, after = engine.encode(chunks[10], state, 8)
    engine.encode(chunks[11], after, 8)
    again, _ = engine.encode(chunks[10], state, 8)
    assert torch.equal(first, again)


def count_up(x: torch.Tensor, state: Any) -> Any:
    """Something whose state keeps its shapes."""
    return x + state[0], (state[0] + 1,)


def test_the_least_used_graph_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_MOST_GRAPHS", 2)
    cache = GraphCache(capture=False)
    for what in ("a", "a", "a", "b", "b", "b", "a", "c", "c", "c"):
        y, (position,) = cache.run(what, count_up, torch.zeros(3), (4,))
        assert torch.equal(y, torch.full((3,), 4.0))
        assert int(position) == 5
    assert [key[0] for key in cache._graphs] == ["a", "c"]  # type: ignore[index]
    cache.clear()
    assert not cache._graphs


def test_a_state_that_grows_gets_no_graph_however_often_it_grows() -> None:
    """As the first ten seconds of every live stream: the second stream's shapes are those of the first."""
    cache = GraphCache(capture=False)

    def grow(x: torch.Tensor, state: Any) -> Any:
        kept = torch.cat((state[0], x))[-6:]
        return x, (kept,)

    states: list[Any] = []
    for _ in range(5):
        states = [(torch.zeros(1),), (torch.zeros(1),), (torch.zeros(1),)]  # three streams side by side
        for _ in range(5):
            states = [cache.run("grow", grow, torch.ones(1), state)[1] for state in states]
    assert not cache._graphs
    state = states[0]
    for _ in range(3):
        _, state = cache.run("grow", grow, torch.ones(1), state)
    assert len(cache._graphs) == 1  # full: now it stays as it is


def test_the_many_lengths_of_a_corpus_get_no_graph_and_are_not_remembered() -> None:
    cache = GraphCache(capture=False)
    for _ in range(3):  # each length comes again, but long after
        for length in range(1, 40):
            cache.run("a", count_up, torch.zeros(length), (0,))
    assert not cache._graphs
    assert len(cache._recent) == graphs._RECENT
    for _ in range(3):  # and of two that alternate, as the two directions of a live stream do, both get one
        for length in (1, 2):
            cache.run("a", count_up, torch.zeros(length), (0,))
    assert len(cache._graphs) == 2


def test_no_memory_in_a_capture_is_no_reason_to_give_up_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_twice(*_: Any) -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    cache = GraphCache(capture=False)
    run = functools.partial(cache.run, "a", count_up, torch.zeros(3), (4,))
    run()
    run()
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "_Fixed", fails_twice)
        with pytest.raises(RuntimeError, match="previous error") as failed:
            run()
        assert is_out_of_memory(failed.value)  # so the stream takes a smaller chunk
    for _ in range(3):
        run()
    assert cache._graphs


def test_where_nothing_can_be_captured_it_is_said_once_and_goes_on(
    tiny_codec: MimiCodec, recording: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "_Fixed", broken)
    stream = tiny_codec.stream_encoder(8, chunk_frames=CHUNK)
    stream._engine = with_graphs(tiny_codec, GraphCache(capture=False))
    with caplog.at_level(logging.WARNING):
        codes = stream.push(recording)
    np.testing.assert_array_equal(codes, tiny_codec.encode(recording, num_codebooks=8, chunk_frames=CHUNK).array)
    assert [r.message for r in caplog.records if "kernel by kernel" in r.message] == [
        "CUDA graphs cannot be used here, chunks run kernel by kernel: operation not permitted when stream is capturing"
    ]


def test_no_memory_for_a_graph_frees_the_others_and_makes_the_chunk_smaller(
    tiny_codec: MimiCodec, recording: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cleared = graphs._Fixed, []

    def scarce(step: Any, x: torch.Tensor, state: Any, recorder: Any) -> Any:
        if x.shape[1] > 10 * FRAME:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(step, x, state, recorder)

    monkeypatch.setattr(graphs, "_Fixed", scarce)
    cache = GraphCache(capture=False)
    clear = cache.clear
    monkeypatch.setattr(cache, "clear", lambda: (cleared.append(1), clear()))
    stream = tiny_codec.stream_encoder(8, chunk_frames=CHUNK)
    stream._engine = with_graphs(tiny_codec, cache)
    codes = stream.push(recording)
    assert stream._chunk_frames == 10
    assert cleared
    assert (codes == tiny_codec.encode(recording, num_codebooks=8, chunk_frames=CHUNK).array).mean() > 0.99


def test_arrays_travel_unchanged() -> None:
    array = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fetched = download(upload(array, device) * 2)()
    np.testing.assert_array_equal(fetched, array * 2)


@pytest.mark.parametrize(
    ("words", "full"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("GET was unable to find an engine to execute this computation", True),  # cuDNN without room for a workspace
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", False),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_what_says_that_a_device_is_full(words: str, full: bool) -> None:
    assert is_out_of_memory(RuntimeError(words)) is full


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_cuda_graphs_give_the_eager_tokens(tiny_checkpoint: Any, recording: np.ndarray) -> None:
    with MimiCodec.from_pretrained(str(tiny_checkpoint), device="cuda") as codec:
        engine = codec._open()
        graphed = codec.encode(recording, chunk_frames=CHUNK).array
        assert engine._graphs is not None
        assert engine._graphs._graphs, "nothing was captured"
        engine._graphs = None
        np.testing.assert_array_equal(codec.encode(recording, chunk_frames=CHUNK).array, graphed)
