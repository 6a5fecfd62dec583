"""Several recordings at once: independent streams as the rows of one batch.

Each row starts at its own beginning and has its own state; shorter rows are padded with zeros, which a causal encoder
never looks ahead to, and leave the batch when they end. The longest go together, so that little is padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from mimi_gui.engine import Engine
from mimi_gui.errors import Cancelled
from mimi_gui.streaming import StreamEncoder, state_rows
from mimi_gui.transfers import download, is_out_of_memory, upload

Cancel = Callable[[], bool]


def encode_rows(
    engine: Engine,
    recordings: Sequence[np.ndarray],
    num_codebooks: int,
    *,
    frames: int,
    least_rows: int = 1,
    most_rows: int = 16,
    cancel: Cancel | None = None,
) -> list[np.ndarray]:
    """Encode recordings together.

    Args:
        recordings: float32 ``[T]`` each, at the codec rate, any lengths.
        num_codebooks: K.
        frames: most frames computed at once, of all rows together; bounds the memory.
        least_rows: so many go together even if they then have to be cut into several chunks.
        most_rows: never more together.
        cancel: polled before each chunk.

    Returns:
        int16 ``[K, t]`` per recording, in their order; t counts the last frame, which is zero-padded.

    Raises:
        Cancelled: ``cancel`` returned True.
        DeviceError: not even one frame of one recording fits into the device's memory.
    """
    results: list[np.ndarray] = [np.zeros((num_codebooks, 0), np.int16)] * len(recordings)
    lengths = [engine.info.num_frames(len(x)) for x in recordings]
    for group in groups(lengths, frames, least_rows, most_rows):
        together = [recordings[i] for i in group]
        codes = _encode_group(engine, together, num_codebooks, max(1, frames // len(group)), cancel)
        for i, mine in zip(group, codes, strict=True):
            results[i] = mine
    return results


def groups(lengths: Sequence[int], frames: int, least_rows: int, most_rows: int) -> Iterator[list[int]]:
    """Indices of recordings of similar length in frames, the longest first; empty ones left out."""
    order = sorted((i for i in range(len(lengths)) if lengths[i]), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        rows = min(most_rows, max(least_rows, frames // lengths[order[start]], 1))
        yield order[start : start + rows]
        start += rows


def _encode_group(
    engine: Engine, recordings: list[np.ndarray], num_codebooks: int, chunk_frames: int, cancel: Cancel | None
) -> list[np.ndarray]:
    """``recordings`` from the longest to the shortest, none empty.

    A chunk's codes are fetched when the next one has been started: a GPU computes while the next rows are made ready.
    """
    size = engine.info.frame_size
    num_frames = [engine.info.num_frames(len(x)) for x in recordings]
    parts: list[list[np.ndarray]] = [[] for _ in recordings]
    state: Any = None
    waiting: Callable[[], None] | None = None

    def keep(fetch: Callable[[], np.ndarray], first: int) -> None:
        for mine, row, total in zip(parts, fetch(), num_frames, strict=False):
            mine.append(row[:, : max(0, total - first)])

    start, alive = 0, len(recordings)
    while alive:
        if cancel is not None and cancel():
            raise Cancelled
        stop = min(start + chunk_frames, num_frames[0])
        chunk = np.zeros((alive, (stop - start) * size), np.float32)
        for row, recording in zip(chunk, recordings, strict=False):
            piece = recording[start * size : stop * size]
            row[: len(piece)] = piece
        try:
            codes, after = engine.encode(upload(chunk, engine.device), state, num_codebooks)
            fetch = download(codes.to(torch.int16))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            codes = fetch = after = None
        if fetch is None:  # out of the handler: the traceback no longer holds the tensors of the failed chunk
            engine.free_memory()
            if stop - start > 1:
                chunk_frames = (stop - start) // 2
                continue
            return [_alone(engine, x, num_codebooks) for x in recordings]
        if waiting is not None:
            waiting()
        waiting = partial(keep, fetch, start)
        start, state = stop, after
        still = sum(total > start for total in num_frames)
        if still < alive:
            state, alive = state_rows(state, still), still
    if waiting is not None:
        waiting()
    return [np.concatenate(mine, axis=1) for mine in parts]


def _alone(engine: Engine, recording: np.ndarray, num_codebooks: int) -> np.ndarray:
    """One recording by itself, frame by frame if need be: where there is no room for a row of each."""
    stream = StreamEncoder(engine, num_codebooks, 1)
    return np.concatenate((stream.push(recording), stream.flush()), axis=1)
