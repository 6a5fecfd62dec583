"""Jobs for the codec thread: find, download and load a checkpoint; encode and decode, chunk by chunk.

torch is imported inside ``run`` only, so that the window is on the screen before it. Arrays that grow are shared
with the window without a copy: the job writes behind the published counts only, the window reads before them.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimi_gui.analysis.envelope import Envelope, EnvelopeBuilder
from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.errors import CodesMismatch, ModelUnavailable
from mimi_gui.kept_sound import large_zeros, let_go
from mimi_gui.remix import Ear, Remix
from mimi_gui.threads import wait_briefly_then_sleep
from mimi_gui.ui.worker import Desk, Job

if TYPE_CHECKING:
    from mimi_gui.audio import Waveform
    from mimi_gui.codec import MimiCodec

DEFAULT_MODEL = "kyutai/mimi"  # as in checkpoints.py, which cannot be imported here: it needs torch
DEMO_MODEL = "mimi-tiny"
DOWNLOAD_MB = 385

_FIRST_CHUNK_FRAMES = 13  # about a second: the first sound comes soon
_LEAST_CHUNK_FRAMES = 6  # below, the fixed cost of a call eats all
_MOST_CHUNK_FRAMES = 100
_CHUNK_GOAL_S = 0.35  # a longer chunk makes Cancel sluggish


@dataclass(frozen=True)
class ModelChoice:
    """Which checkpoint on which device."""

    name: str = DEFAULT_MODEL
    device: str = "auto"

    @property
    def title(self) -> str:
        """What people call it."""
        return title_of(self.name)


def title_of(model_name: str) -> str:
    """What people call a checkpoint before it is loaded."""
    if model_name == DEFAULT_MODEL:
        return "Kyutai Mimi"
    return "the built-in demo codec" if model_name == DEMO_MODEL else Path(model_name).name or model_name


@dataclass(frozen=True)
class ModelReady:
    """A codec is loaded: what the window says about it."""

    choice: ModelChoice
    info: CodecInfo
    label: str
    device: str
    precision: str
    is_demo: bool
    devices: tuple[str, ...]


@dataclass(frozen=True)
class ModelMissing:
    """Not on this computer, and it was not asked for a download."""

    choice: ModelChoice


@dataclass(frozen=True)
class Growth:
    """Two arrays that a job is about to fill, and the outline that grows with the sound.

    Attributes:
        codes: int16 [K, T], or None where only the sound is new.
        samples: float32 [num_samples] at ``info.sample_rate``.
        codebooks: which of the rows sound, by number from 0.
    """

    info: CodecInfo
    codes: np.ndarray | None
    samples: np.ndarray
    envelope: Envelope
    codebooks: tuple[int, ...]


@dataclass(frozen=True)
class Grown:
    """So many frames and samples of the latest :class:`Growth` are valid now."""

    num_frames: int
    num_samples: int


@dataclass(frozen=True)
class Preview:
    """Sound from the middle, before it is its turn: near enough to be heard at once, not to be kept.

    Attributes:
        start: the first sample, at the codec's rate. lead: samples of warm-up that stand before it in ``samples``.
        samples: float32 [T].
    """

    start: int
    samples: np.ndarray
    lead: int


def preload_torch() -> None:
    """Make torch a good neighbour of the window; on the codec thread, before the first ``import torch``.

    Its threads are told not to spin for long: on a busy machine that made encoding ten times slower and starved the
    window. And torch's largest library is mapped here, without Python's lock: the import's own dlopen
    holds the lock for 0.6 s (the static constructors of libtorch), and the window would stand still. A foreign call
    releases it, and the import then finds the library loaded. Where this fails nothing is lost.
    """
    wait_briefly_then_sleep()
    spec = importlib.util.find_spec("torch") if "torch" not in sys.modules else None
    if sys.platform == "win32" or spec is None or spec.origin is None:
        return
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    lazily = 1  # RTLD_LAZY, as Python itself would
    library = Path(spec.origin).parent / "lib" / f"libtorch_cpu{suffix}"
    dlopen(str(library).encode(), lazily)


def ensure_codec(desk: Desk, choice: ModelChoice) -> MimiCodec:
    """Return the loaded codec of ``choice``, loading it (never downloading) first; delivers :class:`ModelReady`.

    Raises:
        ModelUnavailable: it is not on this computer, or cannot be trusted.
        DeviceError: the device is not there.
    """

    def build() -> MimiCodec:
        desk.report(f"Loading {choice.title} …")
        preload_torch()
        from mimi_gui.checkpoints import find_checkpoint
        from mimi_gui.codec import MimiCodec, tune_process

        tune_process()
        if find_checkpoint(choice.name) is None:
            raise ModelUnavailable(
                f"{choice.title[0].upper()}{choice.title[1:]} is not on this computer yet: download it, choose a"
                " local copy, or use the built-in demo codec."
            )
        return MimiCodec.from_pretrained(choice.name, device=choice.device, cancel=desk.is_cancelled)

    codec = desk.hold(f"{choice.name}\n{choice.device}", build, lambda codec: codec.close())
    from mimi_gui.codec import available_devices

    checkpoint, devices = codec.checkpoint, tuple(available_devices())
    desk.deliver(
        ModelReady(choice, codec.info, checkpoint.label, codec.device, codec.precision, checkpoint.is_demo, devices)
    )
    return codec


@dataclass(frozen=True)
class LoadModel(Job):
    """Load a checkpoint that is here; with ``download``, fetch it first. Result: ModelChoice or ModelMissing."""

    choice: ModelChoice
    download: bool = False
    fixes_ssl: bool = False  # trust the operating system's certificates, as --fix-ssl says

    def run(self, desk: Desk) -> ModelChoice | ModelMissing:
        if not self.download:
            desk.report(f"Loading {self.choice.title} …")
        preload_torch()
        from mimi_gui.checkpoints import fetch_checkpoint, find_checkpoint, trust_system_certificates

        if self.fixes_ssl:
            trust_system_certificates()
        if self.download:
            text = f"Downloading {self.choice.title}"
            desk.report(text)
            fetch_checkpoint(
                self.choice.name,
                progress=lambda done, total: desk.report(text, done, total, "bytes"),
                cancel=desk.is_cancelled,
            )
        elif find_checkpoint(self.choice.name) is None:
            return ModelMissing(self.choice)
        ensure_codec(desk, self.choice)
        return self.choice


@dataclass(frozen=True)
class Encode(Job):
    """Encode a recording with all codebooks and decode the first ``num_codebooks`` of them, chunk by chunk.

    Delivers :class:`Growth`, then :class:`Grown` per chunk. Result: :class:`Codes`.
    """

    choice: ModelChoice
    waveform: Waveform
    path: Path
    num_codebooks: int

    def run(self, desk: Desk) -> Codes:
        codec = ensure_codec(desk, self.choice)
        samples, info = self.waveform.samples, codec.info
        num_frames = info.num_frames(len(samples))
        codes = np.zeros((info.num_codebooks, num_frames), np.int16)  # [K, T]
        sound = large_zeros(len(samples))
        outline = EnvelopeBuilder(info.sample_rate, samples=sound)
        sounding = min(self.num_codebooks, info.num_codebooks)
        desk.deliver(Growth(info, codes, sound, outline.envelope, tuple(range(sounding))))
        encoder = codec.stream_encoder()
        decoder = codec.stream_decoder(sounding)
        text = f"Encoding {self.path.name}"
        desk.report(text, 0, num_frames, "frames")
        taken = made = 0
        chunk = _FIRST_CHUNK_FRAMES
        while taken < len(samples):
            desk.check_cancelled()
            begun = time.monotonic()
            stop = min(taken + chunk * info.frame_size, len(samples))
            blocks = [encoder.push(samples[taken:stop])]
            if stop == len(samples):
                blocks.append(encoder.flush())
            taken = stop
            for block in blocks:
                if block.shape[1] == 0:
                    continue
                codes[:, made : made + block.shape[1]] = block
                _put(sound, made * info.frame_size, decoder.push(block))
                made += block.shape[1]
            ready = min(made * info.frame_size, len(sound))
            outline.advance(ready)
            desk.deliver(Grown(made, ready))
            desk.report(text, made, num_frames, "frames")
            chunk = _next_chunk(chunk, time.monotonic() - begun)
        let_go(samples, sound)
        return Codes(codes, len(samples), info, {**codec.metadata(), "source": _source(self.path)})


@dataclass(frozen=True)
class Decode(Job):
    """Decode some codebooks (numbers from 0) of tokens that are here; delivers as :class:`Encode`.

    With an ``ear``, which the window moves meanwhile, what it is about to hear is decoded first and delivered as
    :class:`Preview`.

    Raises:
        CodesMismatch: the tokens belong to another checkpoint.
    """

    choice: ModelChoice
    codes: Codes
    title: str
    codebooks: tuple[int, ...]
    ear: Ear | None = None

    def run(self, desk: Desk) -> ModelChoice:
        codec = ensure_codec(desk, self.choice)
        codes, info = self.codes, codec.info
        check_match(codes, info, self.title, self.choice.title)
        chosen = tuple(k for k in self.codebooks if k < codes.num_codebooks)
        sound = large_zeros(codes.num_samples)
        outline = EnvelopeBuilder(info.sample_rate, samples=sound)
        desk.deliver(Growth(info, None, sound, outline.envelope, chosen))
        if not chosen:  # every strip of the mixer is muted: silence, of full length
            outline.advance(len(sound))
            desk.deliver(Grown(codes.num_frames, len(sound)))
            return self.choice
        text = f"Decoding {self.title} with {len(chosen)} codebook{'s' if len(chosen) > 1 else ''}"
        desk.report(text, 0, codes.num_frames, "frames")
        array, size = codes.array[: max(chosen) + 1], info.frame_size
        remix = Remix(lambda: codec.stream_decoder(chosen), array, info.frame_rate, self.ear or Ear())
        desk.check_cancelled()
        for block in remix.blocks():
            start = block.start_frame * size
            if block.is_exact:
                _put(sound, start, block.samples)
                ready = min(remix.num_exact * size, len(sound))
                outline.advance(ready)
                desk.deliver(Grown(remix.num_exact, ready))
                desk.report(text, remix.num_exact, codes.num_frames, "frames")
            else:
                desk.deliver(Preview(start, block.samples, block.lead_frames * size))
            desk.check_cancelled()
        let_go(sound)
        return self.choice


def check_match(codes: Codes, info: CodecInfo, title: str, model_title: str) -> None:
    """Raises CodesMismatch where tokens would be turned into noise by a model that did not make them."""
    if codes.num_codebooks > info.num_codebooks:
        raise CodesMismatch(
            f"{title} holds {codes.num_codebooks} codebooks but {model_title} has {info.num_codebooks}: load the"
            " model that made it."
        )
    if info.same_checkpoint(codes.info) is False:
        maker = codes.info.model_name or "another checkpoint"
        raise CodesMismatch(
            f"{title} holds tokens of {title_of(maker)}, but {model_title} is loaded: load the model that made it."
        )


def _put(sound: np.ndarray, start: int, block: np.ndarray) -> None:
    """Write a decoded block, leaving out what lies beyond the true length."""
    room = len(sound) - start
    sound[start : start + len(block)] = block[:room]


def _next_chunk(chunk: int, took_s: float) -> int:
    """Grow while chunks are quick (larger ones compute faster), shrink when Cancel would have to wait."""
    if took_s < _CHUNK_GOAL_S / 2:
        return min(2 * chunk, _MOST_CHUNK_FRAMES)
    return max(chunk // 2, _LEAST_CHUNK_FRAMES) if took_s > 2 * _CHUNK_GOAL_S else chunk


def _source(path: Path) -> dict[str, str]:
    """Name and digest of the recording, for the token file; the name alone where the file is gone."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return {"name": path.name}
    return {"name": path.name, "digest": f"sha256:{digest}"}


def with_fewer(codes: Codes, num_codebooks: int) -> Codes:
    """What is saved: the rows that are heard."""
    return codes.first(min(num_codebooks, codes.num_codebooks))
