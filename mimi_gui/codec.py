"""MimiCodec: one checkpoint on one device, recordings to tokens and back."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from mimi_gui import compiled
from mimi_gui.batches import encode_rows
from mimi_gui.checkpoints import DEFAULT_MODEL, Checkpoint, codec_info, fetch_checkpoint
from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.engine import Engine
from mimi_gui.errors import Cancelled, CodesMismatch, DeviceError
from mimi_gui.streaming import StreamDecoder, StreamEncoder
from mimi_gui.weights import PARTS, Weights

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool]

PRECISIONS = ("exact", "fast")
BACKENDS = ("torch", "openvino")

_CPU_CHUNK_FRAMES = 125  # 10 s: the weights are read once for many frames, and a cancel is heard soon enough
_GPU_CHUNK_FRAMES = 250  # 20 s: half a gigabyte of activations; chosen by reckoning, no GPU was there to measure on
_GPU_ROWS = 16  # recordings at once
_GPU_BATCH_FRAMES = 1000  # of all rows together


def tune_process() -> None:
    """Set up a process that belongs to us (the command line, the window) for speed; never an effect of importing.

    glibc hands every large tensor back to the kernel and pays page faults for it at the next: keep them instead.
    Call it before the first codec is loaded, from any thread. Without glibc it does nothing.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    mmap_max, trim_threshold = -4, -1  # of <malloc.h>
    libc = ctypes.CDLL(None)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)


def available_devices() -> list[str]:
    """What this machine can compute on, best first: ``["cuda:0", ..., "mps", "cpu"]``."""
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def choose_device(requested: str | None) -> str:
    """Resolve ``auto`` (or None) to the best device, and check that any other is there.

    Raises:
        DeviceError: it is not; never a fallback.
    """
    there = available_devices()
    wanted = (requested or "auto").strip().lower()
    if wanted == "auto":
        return there[0]
    if wanted == "cuda":
        wanted = "cuda:0"
    if wanted not in there:
        raise DeviceError(
            f"The device {requested} is not available here: this machine has {', '.join(there)}; choose one of these"
            " or auto."
        )
    return wanted


def check_precision(precision: str, device: str) -> None:
    """Raises DeviceError where ``fast`` would not be faster: no bfloat16 units in the CPU, no TF32 on the device."""
    if precision == "exact":
        return
    if device == "cpu":
        cpu: Any = torch.cpu
        fast = cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
        missing = "this processor has no bfloat16 units"
    else:
        fast = device.startswith("cuda") and torch.cuda.get_device_capability(device) >= (8, 0)
        missing = f"the device {device} has no TF32 units"
    if not fast:
        raise DeviceError(f"Precision fast would be no faster here, for {missing}: choose exact.")


def choose_backend(requested: str | None, device: str) -> str:
    """What computes on the CPU: ``torch``, or ``openvino``; None: the variable ``MIMI_GUI_BACKEND``, else torch.

    Raises:
        DeviceError: it is not installed, or not for this device; never a fallback.
    """
    wanted = requested or (os.environ.get("MIMI_GUI_BACKEND", "") if device == "cpu" else "") or "torch"
    if wanted not in BACKENDS:
        raise DeviceError(f"The backend {wanted} is unknown: choose {' or '.join(BACKENDS)}.")
    if wanted == "openvino" and device != "cpu":
        raise DeviceError(f"The backend openvino computes on the CPU, not on {device}: choose the device cpu.")
    if wanted == "openvino" and not _installed("openvino"):
        raise DeviceError(
            "The backend openvino is not installed: pip install 'mimi-gui[openvino]', or choose the backend torch."
        )
    return wanted


class MimiCodec:
    """A loaded checkpoint. Build it with :meth:`from_pretrained`; close it, or use it in a ``with`` statement.

    Methods may be called from any thread, and from several at once: state lives in the streams, weights are only read.

    Attributes:
        info: the codec's rates and which checkpoint it is.
        checkpoint: where it came from.
        device: ``"cpu"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"exact"``: float32 throughout. ``"fast"``: bfloat16 products on the CPU, TF32 on CUDA, the
            quantizer in float32: twice as fast, and some tokens are others (``precision.tokens_changed``).
        backend: ``"torch"`` or ``"openvino"``.
    """

    def __init__(
        self, engine: Engine, checkpoint: Checkpoint, device: str, precision: str, backend: str = "torch"
    ) -> None:
        self.checkpoint, self.info, self.device, self.precision = checkpoint, engine.info, device, precision
        self.backend = backend
        self._engine: Engine | None = engine

    @classmethod
    def from_pretrained(
        cls,
        model_name: str = DEFAULT_MODEL,
        device: str | None = "auto",
        *,
        precision: str = "exact",
        backend: str | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> MimiCodec:
        """Load a checkpoint, downloading it first if need be.

        Args:
            model_name: a hub id, a transformers folder, Kyutai's own ``.safetensors`` file, or ``mimi-tiny``.
            device: ``auto`` (cuda, else mps, else cpu), or one of :func:`available_devices`.
            precision: one of :data:`PRECISIONS`.
            backend: as for :func:`choose_backend`.
            progress: called with (bytes done, bytes in all) of a download.
            cancel: polled during a download.

        Raises:
            ModelUnavailable: it cannot be had, or is not a Mimi checkpoint.
            DeviceError: the device is not there, or the model does not fit into its memory.
            Cancelled: ``cancel`` returned True.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}, expected one of {PRECISIONS}")
        place = choose_device(device)
        backend = choose_backend(backend, place)
        check_precision(precision, place)  # before a download of hundreds of megabytes
        checkpoint = fetch_checkpoint(model_name, progress=progress, cancel=cancel)
        weights = Weights(checkpoint)
        info = codec_info(checkpoint, weights.config)
        if backend == "openvino":
            return cls(_openvino_engine(weights, info, precision), checkpoint, place, precision, backend)
        if place == "cpu":  # each direction reads its weights when it is first used
            engine = Engine(weights.model, info, weights.fill, precision=precision)
            return cls(engine, checkpoint, place, precision)
        for part in PARTS:
            weights.fill(part)
        weights.close()
        model: Any = weights.model
        try:
            engine = Engine(model.to(place), info, precision=precision)
            engine.prepare()
            return cls(engine, checkpoint, place, precision)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"The model does not fit into the memory of {place}: close other programs that use it, or choose the"
                " device cpu.",
                "Out of memory",
            ) from error

    def encode(
        self,
        samples: Any,
        *,
        num_codebooks: int | None = None,
        chunk_frames: int | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Codes:
        """Encode a recording, zero-padded to whole frames.

        Args:
            samples: float32 ``[T]`` mono at ``info.sample_rate``, or a Waveform.
            num_codebooks: K, None for all.
            chunk_frames: frames at a time; changes speed and memory, not the tokens.
            progress: called after each chunk with (frames done, frames in all).
            cancel: polled before each chunk.

        Raises:
            ValueError: not ``[T]``, not finite, a Waveform of another rate, K that the checkpoint does not have.
            Cancelled: ``cancel`` returned True.
            DeviceError: not even one frame fits into the device's memory.
        """
        array = self._samples(samples)
        total, size = self.info.num_frames(len(array)), self.info.frame_size
        stream = self.stream_encoder(num_codebooks, chunk_frames=chunk_frames)
        step = self._chunk_frames(chunk_frames)
        parts = []
        for start in range(0, total, step):
            if cancel is not None and cancel():
                raise Cancelled
            parts.append(stream.push(array[start * size : (start + step) * size]))
            if start + step >= total:
                parts.append(stream.flush())
            if progress is not None:
                progress(stream.num_frames, total)
        codes = np.concatenate(parts, axis=1) if parts else stream.flush()
        return Codes(codes, len(array), self.info, self.metadata())

    def encode_batch(
        self, recordings: Sequence[Any], *, num_codebooks: int | None = None, cancel: Cancel | None = None
    ) -> list[Codes]:
        """Encode several recordings as independent streams: the tokens of :meth:`encode`, sooner.

        Args:
            recordings: float32 ``[T]`` each, mono at ``info.sample_rate``, any lengths; all are in memory at once.
            num_codebooks: K, None for all.
            cancel: polled before each chunk.

        Returns:
            One Codes per recording, in their order.

        Raises:
            ValueError, Cancelled, DeviceError: as :meth:`encode`.
        """
        arrays = [self._samples(x) for x in recordings]
        # On the CPU as many as fill one chunk: twice as fast for clips of 1 s, 1.1x at 4 s, nothing beyond.
        codes = encode_rows(
            self._open(),
            arrays,
            self._num_codebooks(num_codebooks),
            frames=self.chunk_frames if self.device == "cpu" else _GPU_BATCH_FRAMES,
            least_rows=1 if self.device == "cpu" else _GPU_ROWS,
            cancel=cancel,
        )
        metadata = self.metadata()
        return [Codes(c, len(x), self.info, metadata) for c, x in zip(codes, arrays, strict=True)]

    def decode(
        self,
        codes: Codes | np.ndarray,
        *,
        codebooks: int | Sequence[int] | None = None,
        chunk_frames: int | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> np.ndarray:
        """Decode tokens to float32 ``[num_samples]`` at ``info.sample_rate``, trimmed to the true length.

        Args:
            codes: Codes, or an integer array ``[K, T]`` (then whole frames come back).
            codebooks: which of them sound: None for all, an int for the first so many, or their numbers from 0.
            chunk_frames, progress, cancel: as in :meth:`encode`.

        Raises:
            CodesMismatch: the tokens are of another checkpoint, or have more codebooks than this one.
            ValueError: an array or a choice of codebooks that makes no sense.
            Cancelled: ``cancel`` returned True.
            DeviceError: not even one frame fits into the device's memory.
        """
        if isinstance(codes, Codes):
            self._check(codes)
            array, num_samples = codes.array, codes.num_samples
        else:
            array = np.asarray(codes)
            num_samples = self.info.num_samples(array.shape[-1])
        stream = self.stream_decoder(codebooks, chunk_frames=chunk_frames)
        step, total = self._chunk_frames(chunk_frames), array.shape[-1]
        samples = np.empty(self.info.num_samples(total), np.float32)
        size = self.info.frame_size
        if total == 0:
            stream.push(array)  # refuse what cannot be decoded even where there is nothing to do
        for start in range(0, total, step):
            if cancel is not None and cancel():
                raise Cancelled
            part = stream.push(array[:, start : start + step])
            samples[start * size : start * size + len(part)] = part
            if progress is not None:
                progress(stream.num_frames, total)
        return samples[:num_samples]

    def stream_encoder(self, num_codebooks: int | None = None, *, chunk_frames: int | None = None) -> StreamEncoder:
        """A new stream that turns audio into tokens as it comes. ``chunk_frames``: most frames computed at once."""
        return StreamEncoder(self._open(), self._num_codebooks(num_codebooks), self._chunk_frames(chunk_frames))

    def stream_decoder(
        self, codebooks: int | Sequence[int] | None = None, *, chunk_frames: int | None = None
    ) -> StreamDecoder:
        """A new stream that turns tokens into audio as they come; ``codebooks`` as in :meth:`decode`."""
        return StreamDecoder(self._open(), self._choice(codebooks), self._chunk_frames(chunk_frames))

    @property
    def chunk_frames(self) -> int:
        """Frames computed at a time unless the caller says otherwise: who streams by these gets encode()'s tokens."""
        return self._chunk_frames(None)

    def centroids(self, level: int) -> np.ndarray:
        """The codewords of one codebook, float32 ``[cardinality, D]``; level 0 is the first (semantic) codebook.

        What an encoder's residual is compared with, in the quantizer's own space (D = 256 in the published Mimi). A
        copy; any thread.

        Raises:
            ValueError: the checkpoint has no such codebook, or the codec is closed.
        """
        if not 0 <= level < self.info.num_codebooks:
            raise ValueError(f"level is {level}, expected 0 to {self.info.num_codebooks - 1}")
        return self._open().centroids(level).cpu().numpy().copy()

    def metadata(self) -> dict[str, object]:
        """What a token file should remember about how its tokens were made. JSON-able."""
        names = [self.backend, "transformers", "mimi-gui"]
        return {
            "precision": self.precision,
            "device": self.device,
            "backend": self.backend,
            "kernels": "compiled" if self._is_compiled() else "torch",
            "versions": {name: version(name) for name in names if _installed(name)},
        }

    def _is_compiled(self) -> bool:
        return self.backend == "torch" and self.device == "cpu" and compiled.products()

    def close(self) -> None:
        """Let go of the weights and the device's memory. Streams that are open keep theirs until they end."""
        self._engine = None
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def __enter__(self) -> MimiCodec:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Engine:
        if self._engine is None:
            raise ValueError("the codec is closed: load it again")
        return self._engine

    def _chunk_frames(self, chunk_frames: int | None) -> int:
        if chunk_frames is None:
            return _CPU_CHUNK_FRAMES if self.device == "cpu" else _GPU_CHUNK_FRAMES
        if chunk_frames < 1:
            raise ValueError(f"chunk_frames is {chunk_frames}, expected at least 1")
        return chunk_frames

    def _num_codebooks(self, num_codebooks: int | None) -> int:
        if num_codebooks is None:
            return self.info.num_codebooks
        least = self.info.num_semantic_codebooks
        if not least <= num_codebooks <= self.info.num_codebooks:
            raise ValueError(f"num_codebooks is {num_codebooks}, expected {least} to {self.info.num_codebooks}")
        return int(num_codebooks)

    def _choice(self, codebooks: int | Sequence[int] | None) -> list[int] | None:
        if codebooks is None:
            return None
        most = self.info.num_codebooks
        if isinstance(codebooks, int | np.integer):
            if not 1 <= codebooks <= most:
                raise ValueError(f"codebooks is {codebooks}, expected 1 to {most}")
            return list(range(codebooks))
        chosen = sorted({int(k) for k in codebooks})
        if not chosen or chosen[0] < 0 or chosen[-1] >= most:
            raise ValueError(f"codebooks are {chosen}, expected at least one, from 0 to {most - 1}")
        return chosen

    def _samples(self, samples: Any) -> np.ndarray:
        rate = getattr(samples, "sample_rate", None)
        if rate is not None and rate != self.info.sample_rate:
            raise ValueError(f"the waveform has {rate} Hz, expected {self.info.sample_rate} Hz: resample it first")
        array = np.asarray(getattr(samples, "samples", samples), dtype=np.float32)
        if array.ndim != 1:
            raise ValueError(f"samples have the shape {list(array.shape)}, expected [T]: mix to mono first")
        if not np.isfinite(array).all():
            raise ValueError("samples are not finite: they hold NaN or infinity")
        return array

    def _check(self, codes: Codes) -> None:
        if codes.num_codebooks > self.info.num_codebooks:
            raise CodesMismatch(
                f"The tokens have {codes.num_codebooks} codebooks but {self.checkpoint.label} has"
                f" {self.info.num_codebooks}: open them with the checkpoint that made them."
            )
        if self.info.same_checkpoint(codes.info) is False:
            made_by = codes.info.model_name or "another checkpoint"
            raise CodesMismatch(
                f"The tokens were made by {made_by} ({codes.info.digest[:19]}), not by {self.checkpoint.label}"
                f" ({self.info.digest[:19]}): open them with the checkpoint that made them."
            )


def _openvino_engine(weights: Weights, info: CodecInfo, precision: str) -> Any:
    from mimi_gui.openvino_engine import OpenVinoEngine
    from mimi_gui.openvino_graphs import why_not

    reason = why_not(weights.config)
    if reason:
        raise DeviceError(f"The backend openvino does not know this checkpoint ({reason}): choose the backend torch.")
    return OpenVinoEngine(weights.model, info, weights.fill, precision=precision)


def _installed(name: str) -> bool:
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True
