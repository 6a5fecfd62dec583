"""A recording on disk -> a token file on disk.

``python -m mimi_gui.encoder talk.wav talk.npz`` is the same as ``mimi-gui encode talk.wav talk.npz``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimi_gui.audio import AudioInfo, AudioReader, Level, audio_info, load_audio
from mimi_gui.codes import CodecInfo, Codes, CodesWriter, save_codes
from mimi_gui.errors import AudioFileError, Cancelled, CodesMismatch
from mimi_gui.precision import tokens_changed
from mimi_gui.target import check_target

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

DEFAULT_MODEL = "kyutai/mimi"
_LONG_S = 600.0


@dataclass(frozen=True)
class Encoded:
    """What :func:`encode_audio` wrote.

    Attributes:
        path: the token file.
        num_samples: true length at ``info.sample_rate``.
        warnings: sentences about the recording, such as that it is cut short.
    """

    path: Path
    num_codebooks: int
    num_frames: int
    num_samples: int
    info: CodecInfo
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.num_samples / self.info.sample_rate

    @property
    def bitrate_kbps(self) -> float:
        """Kilobits per second of the tokens."""
        return self.info.bitrate_kbps(self.num_codebooks)


def encode_audio(
    audio_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    model_name: str = DEFAULT_MODEL,
    device: str | None = None,
    streaming: bool = False,
    num_codebooks: int | None = None,
    *,
    channel: int | None = None,
    precision: str = "exact",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Encoded:
    """Encode a recording of any rate and channel count into a token file, whole or not at all. Blocking.

    Args:
        model_name: a hub id, a folder, Kyutai's single ``.safetensors`` file, or ``mimi-tiny``.
        device: ``cpu``, ``cuda``, ``mps``; None = the best there is.
        streaming: read, encode and write block by block, in memory that does not grow; the same tokens. Always so
            beyond ten minutes.
        num_codebooks: K, None for all the checkpoint has.
        channel: encode this channel only, None for the mean of all.
        precision: ``exact`` or ``fast``, of the codec that is loaded here. With fast, the first seconds are encoded
            once more with exact: the share of tokens changed is a warning, and in the file.
        overwrite: replace a file that is there.
        progress: called with (frames done, frames expected).
        load_progress: called with (bytes done, bytes in all) while the checkpoint is downloaded.
        cancel: polled at every chunk, and while downloading.
        codec: one that is loaded already, instead of ``model_name`` and ``device``; it stays open.

    Raises:
        AudioFileError: the recording cannot be read.
        OutputError: the target cannot be written, or exists.
        ModelUnavailable, DeviceError: the codec cannot be loaded, or ran out of memory.
        CodesMismatch: the checkpoint has fewer codebooks than asked for.
        Cancelled: ``cancel`` returned True.
    """
    check_target(output_path, overwrite=overwrite)  # before anything costs time
    source = audio_info(audio_path)
    with ExitStack() as stack:
        if codec is None:
            from mimi_gui.codec import MimiCodec

            codec = MimiCodec.from_pretrained(
                named(model_name), device, precision=precision, progress=load_progress, cancel=cancel
            )
            stack.callback(codec.close)
        most = codec.info.num_codebooks
        if num_codebooks is not None and not 1 <= num_codebooks <= most:
            raise CodesMismatch(f"{num_codebooks} codebooks were asked for, {codec.checkpoint.label} has 1 to {most}.")
        long = source.duration_s > _LONG_S or source.duration_s < 0  # less than 0: not known
        encode = _encode_in_blocks if streaming or long else _encode_at_once
        target, num_codebooks = Path(output_path), num_codebooks or most
        return encode(codec, source, channel, target, num_codebooks, overwrite, progress, cancel)


def _encode_at_once(
    codec: MimiCodec,
    source: AudioInfo,
    channel: int | None,
    target: Path,
    num_codebooks: int,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> Encoded:
    wave = load_audio(source.path, codec.info.sample_rate, channel=channel, cancel=cancel)
    codes = codec.encode(wave.samples, num_codebooks=num_codebooks, progress=progress, cancel=cancel)
    codes = with_source(codes, wave.samples, source, channel)
    warnings = wave.warnings
    if changed := tokens_changed(codec, wave.samples, num_codebooks):
        codes = replace(codes, metadata={**codes.metadata, "tokens_changed": changed.as_dict()})
        warnings = (*warnings, changed.sentence())
    save_codes(target, codes, overwrite=overwrite)
    return Encoded(target, num_codebooks, codes.num_frames, codes.num_samples, codes.info, warnings)


def _encode_in_blocks(
    codec: MimiCodec,
    source: AudioInfo,
    channel: int | None,
    target: Path,
    num_codebooks: int,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> Encoded:
    stream = codec.stream_encoder(num_codebooks)
    with (
        AudioReader(source.path, codec.info.sample_rate, channel=channel) as reader,
        CodesWriter(target, num_codebooks, codec.info, metadata=codec.metadata(), overwrite=overwrite) as writer,
    ):
        expected, level = codec.info.num_frames(reader.expected_samples), Level()
        changed = None
        # The pieces that encode() takes: the same arithmetic, so the same tokens to the last tie.
        for piece in regroup(reader, codec.chunk_frames * codec.info.frame_size):
            if cancel is not None and cancel():
                raise Cancelled
            if not stream.num_samples:
                changed = tokens_changed(codec, piece, num_codebooks)
            level.add(piece)
            writer.append(stream.push(piece))
            if progress is not None:
                progress(stream.num_frames, max(expected, stream.num_frames))
        writer.append(stream.flush())
        if progress is not None:
            progress(stream.num_frames, stream.num_frames)
        described = describe_source(source, channel)
        facts = {"tokens_changed": changed.as_dict()} if changed else {}
        writer.finish(stream.num_samples, streaming=True, source=described, level=level.as_dict(), **facts)
        warnings = (*reader.warnings, *([changed.sentence()] if changed else []))
        return Encoded(target, num_codebooks, writer.num_frames, stream.num_samples, codec.info, warnings)


def regroup(blocks: Iterator[np.ndarray] | AudioReader, size: int) -> Iterator[np.ndarray]:
    """Blocks of any length -> pieces float32 ``[size]``, the last one shorter."""
    waiting: list[np.ndarray] = []
    num_waiting = 0
    for block in blocks:
        waiting.append(block)
        num_waiting += len(block)
        if num_waiting >= size:
            joined = np.concatenate(waiting)
            cut = num_waiting - num_waiting % size
            for start in range(0, cut, size):
                yield joined[start : start + size]
            waiting, num_waiting = [joined[cut:]], num_waiting - cut
    if num_waiting:
        yield np.concatenate(waiting)


def named(model_name: str) -> str:
    """``model_name`` as the tokens should remember it: a local path in full, for they may move."""
    path = Path(model_name).expanduser()
    return str(path.resolve()) if path.exists() and model_name != "mimi-tiny" else model_name


def with_source(codes: Codes, samples: np.ndarray, source: AudioInfo, channel: int | None = None) -> Codes:
    """``codes`` with what a token file remembers of the recording that ``samples`` came from."""
    level = Level()
    for start in range(0, len(samples), 2**20):
        level.add(samples[start : start + 2**20])
    facts = {"streaming": False, "source": describe_source(source, channel), "level": level.as_dict()}
    return replace(codes, metadata={**codes.metadata, **facts})


def describe_source(source: AudioInfo, channel: int | None = None) -> dict[str, object]:
    """What a token file remembers of its recording; ``sha256`` is of the file's bytes.

    Raises:
        AudioFileError: it has gone.
    """
    try:
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioFileError(f"{source.path} cannot be read any more: {error.strerror or error}.") from error
    return {
        "name": source.path.name,
        "sha256": digest,
        "sample_rate": source.sample_rate,
        "num_channels": source.num_channels,
        "num_samples": source.num_samples,
        "format": source.format,
        "subtype": source.subtype,
        **({} if channel is None else {"channel": channel}),
    }


if __name__ == "__main__":
    import sys

    from mimi_gui.cli import main

    sys.exit(main(["encode", *sys.argv[1:]]))
