"""Exact streaming over a MimiModel: the same tokens and the same sound whatever the chunks.

The state of a stream is a value that the stream object holds, never the shared engine. Offline work is streaming in
chunks, so there is one path to prove and to make fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimi_gui.engine import Engine
from mimi_gui.errors import DeviceError
from mimi_gui.transfers import download, is_out_of_memory, upload


class _Stream:
    """What both directions share: the state, and the chunk that fits into memory."""

    def __init__(self, engine: Engine, chunk_frames: int) -> None:
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames is {chunk_frames}, expected at least 1")
        self._engine = engine
        self._state: Any = None
        self._chunk_frames = chunk_frames
        self._num_frames = 0

    @property
    def num_frames(self) -> int:
        """Frames that came out so far."""
        return self._num_frames

    def _step(self, run: Callable[[int, int], tuple[Tensor, Any]], num_frames: int) -> list[np.ndarray]:
        """Run ``num_frames`` in chunks. Out of memory halves the chunk and goes on from the last good state.

        A chunk's result is fetched when the next one has been started: a GPU computes and copies at the same time.
        """
        parts: list[np.ndarray] = []
        waiting: Callable[[], np.ndarray] | None = None
        start = 0
        while start < num_frames:
            stop = min(start + self._chunk_frames, num_frames)
            try:
                result, state = run(start, stop)
                fetch = download(result)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                smaller = self._smaller_chunk(stop - start)
            else:
                self._state = state
                self._num_frames += stop - start
                if waiting is not None:
                    parts.append(waiting())
                waiting, start = fetch, stop
                continue
            # Out of the handler: the traceback no longer holds the tensors of the failed chunk.
            self._chunk_frames = smaller
            self._engine.free_memory()
        return parts if waiting is None else [*parts, waiting()]

    def _smaller_chunk(self, tried_frames: int) -> int:
        if tried_frames <= 1:
            raise DeviceError(
                f"The device {self._engine.device} has no memory left for a single frame: close other programs that"
                " use it, or choose the device cpu.",
                "Out of memory",
            )
        return tried_frames // 2


def state_rows(state: Any, rows: int) -> Any:
    """The state of the first ``rows`` rows of a batch. Copies: a view would keep all rows alive."""
    if isinstance(state, Tensor):
        return state[:rows].clone() if state.dim() else state  # the position is the same for all rows
    return tuple(state_rows(part, rows) for part in state) if isinstance(state, tuple) else state


class StreamEncoder(_Stream):
    """Audio in any pieces -> codes, frame by frame. One stream per recording; not for two threads at once."""

    def __init__(self, engine: Engine, num_codebooks: int, chunk_frames: int) -> None:
        super().__init__(engine, chunk_frames)
        engine.prepare(encode=True, decode=False)  # the first frame of a live stream does not wait for weights
        self._num_codebooks = num_codebooks
        self._rest = np.zeros(0, np.float32)  # [n], less than a frame
        self._num_samples = 0
        self._flushed = False

    @property
    def num_samples(self) -> int:
        """Samples pushed so far, without padding."""
        return self._num_samples

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take audio, float32 ``[n]`` at the codec rate, any n; return int16 ``[K, t]``, all frames it completes.

        Raises:
            ValueError: not one-dimensional, or the stream is flushed.
            DeviceError: not even one frame fits into the device's memory.
        """
        if self._flushed:
            raise ValueError("the stream is flushed: start a new one for another recording")
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(f"samples have the shape {list(samples.shape)}, expected [n]")
        self._num_samples += len(samples)
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        size = self._engine.info.frame_size
        num_frames = len(samples) // size
        self._rest = samples[num_frames * size :].copy()
        return self._encode(samples[: num_frames * size], num_frames)

    def flush(self) -> np.ndarray:
        """Zero-pad what is left to a whole frame and return its codes, int16 ``[K, 0 or 1]``. Ends the stream."""
        rest, self._rest, self._flushed = self._rest, np.zeros(0, np.float32), True
        if not len(rest):
            return np.zeros((self._num_codebooks, 0), np.int16)
        padded = np.zeros(self._engine.info.frame_size, np.float32)
        padded[: len(rest)] = rest
        return self._encode(padded, 1)

    def _encode(self, samples: np.ndarray, num_frames: int) -> np.ndarray:
        engine, size = self._engine, self._engine.info.frame_size

        def run(start: int, stop: int) -> tuple[Tensor, Any]:
            # A copy: torch warns about read-only arrays, and a GPU needs its own anyway.
            chunk = upload(samples[start * size : stop * size].copy(), engine.device)
            codes, state = engine.encode(chunk[None], self._state, self._num_codebooks)
            return codes[0].to(torch.int16), state

        parts = self._step(run, num_frames)
        if len(parts) == 1:
            return np.ascontiguousarray(parts[0])
        return np.concatenate(parts, axis=1) if parts else np.zeros((self._num_codebooks, 0), np.int16)


class StreamDecoder(_Stream):
    """Codes in any pieces -> audio. One stream per recording; not for two threads at once."""

    def __init__(self, engine: Engine, codebooks: Sequence[int] | None, chunk_frames: int) -> None:
        super().__init__(engine, chunk_frames)
        self.set_codebooks(codebooks)

    def set_codebooks(self, codebooks: Sequence[int] | None) -> None:
        """From the next push on, other codebooks sound; what came before goes on resounding in the state."""
        self._codebooks = None if codebooks is None else list(codebooks)

    @property
    def num_samples(self) -> int:
        """Samples that came out so far."""
        return self._num_frames * self._engine.info.frame_size

    def push(self, codes: np.ndarray) -> np.ndarray:
        """Take codes, integers ``[K, t]``, any t; return float32 ``[t * frame_size]``.

        The rows are codebooks 0 .. K-1; of them those sound that the stream was opened with (None = all).

        Raises:
            ValueError: not ``[K, t]``, a codebook that is not there, a code out of range.
            DeviceError: not even one frame fits into the device's memory.
        """
        engine, info = self._engine, self._engine.info
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.dtype.kind not in "iu":
            raise ValueError(f"codes are {codes.dtype} {list(codes.shape)}, expected integers [K, t]")
        codebooks = list(range(codes.shape[0])) if self._codebooks is None else self._codebooks
        if not codebooks or max(codebooks) >= codes.shape[0] or codes.shape[0] > info.num_codebooks:
            raise ValueError(
                f"codes have {codes.shape[0]} codebooks, the stream needs {len(codebooks)} up to number"
                f" {max(codebooks, default=0) + 1} and the checkpoint has {info.num_codebooks}"
            )
        chosen = codes[codebooks]
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < info.cardinality):
            raise ValueError(f"codes go from {chosen.min()} to {chosen.max()}, expected 0 to {info.cardinality - 1}")

        def run(start: int, stop: int) -> tuple[Tensor, Any]:
            chunk = upload(chosen[:, start:stop].astype(np.int64), engine.device)
            samples, state = engine.decode(chunk[None], self._state, codebooks)
            return samples[0], state

        parts = self._step(run, chosen.shape[1])
        if len(parts) == 1:
            return np.ascontiguousarray(parts[0])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
