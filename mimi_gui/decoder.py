"""A token file on disk -> a recording on disk.

``python -m mimi_gui.decoder talk.npz talk.wav`` is the same as ``mimi-gui decode talk.npz talk.wav``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mimi_gui.audio import AudioWriter, check_format
from mimi_gui.codes import CodecInfo, Codes, load_codes
from mimi_gui.encoder import DEFAULT_MODEL, named
from mimi_gui.errors import Cancelled, CodesMismatch, ModelUnavailable
from mimi_gui.precision import sound_changed
from mimi_gui.target import check_target

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec


@dataclass(frozen=True)
class Decoded:
    """What :func:`decode_tokens` wrote.

    Attributes:
        path: the audio file, mono at ``info.sample_rate``.
        num_codebooks: that sound.
        num_samples: the recording's true length.
        num_clipped: samples that were beyond full scale and had to be limited.
        info: the codec that decoded.
        warnings: sentences about the tokens, such as that they do not name their checkpoint.
    """

    path: Path
    num_codebooks: int
    num_samples: int
    num_clipped: int
    info: CodecInfo
    warnings: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return self.num_samples / self.info.sample_rate


def decode_tokens(
    tokens_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    model_name: str | None = None,
    device: str | None = None,
    streaming: bool = False,
    num_codebooks: int | None = None,
    *,
    precision: str = "exact",
    subtype: str | None = None,
    overwrite: bool = False,
    allow_mismatch: bool = False,
    comment: str = "",
    progress: Callable[[int, int], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Decoded:
    """Decode a token file into a recording of the true length, whole or not at all. Blocking.

    Args:
        output_path: wav (16 bit), flac, ogg ... by suffix.
        model_name: None = the checkpoint that the file names, ``kyutai/mimi`` where it names none.
        device: ``cpu``, ``cuda``, ``mps``; None = the best there is.
        streaming: kept for callers; it is always decoded and written block by block, in memory that does not grow.
        num_codebooks: only the first so many sound; None for all in the file.
        precision: ``exact`` or ``fast``, of the codec that is loaded here. With fast, a warning says how far the
            sound of the first seconds is from exact.
        subtype: libsndfile's name, such as ``PCM_24`` or ``FLOAT``.
        overwrite: replace a file that is there.
        allow_mismatch: decode with another checkpoint than the one that made the tokens; it will sound wrong.
        comment: for the tags of the recording, where its container has any.
        progress: called with (frames done, frames in all).
        load_progress: called with (bytes done, bytes in all) while the checkpoint is downloaded.
        cancel: polled at every chunk, and while downloading.
        codec: one that is loaded already, instead of ``model_name`` and ``device``; it stays open.

    Raises:
        CodesFileError: the token file cannot be read.
        CodesMismatch: the tokens are of another checkpoint, or fewer codebooks are there than asked for.
        OutputError: the target cannot be written, or exists.
        ModelUnavailable, DeviceError: the codec cannot be loaded, or ran out of memory.
        Cancelled: ``cancel`` returned True.
    """
    check_target(output_path, overwrite=overwrite)  # before anything costs time
    check_format(output_path, subtype)
    codes = load_codes(tokens_path)
    if num_codebooks is not None:
        if not 1 <= num_codebooks <= codes.num_codebooks:
            raise CodesMismatch(
                f"{num_codebooks} codebooks were asked for, {tokens_path} has 1 to {codes.num_codebooks}."
            )
        codes = codes.first(num_codebooks)
    with ExitStack() as stack:
        if codec is None:
            codec = open_codec_for(
                codes, model_name, device, precision=precision, progress=load_progress, cancel=cancel
            )
            stack.callback(codec.close)
        codes, warnings = belonging(codes, codec, Path(tokens_path), allow_mismatch)
        with AudioWriter(
            output_path, codec.info.sample_rate, subtype=subtype, overwrite=overwrite, comment=comment
        ) as writer:
            _decode_in_blocks(codec, codes, writer, progress, cancel)
        if changed := sound_changed(codec, codes.array):
            warnings = (*warnings, changed)
        return Decoded(
            Path(output_path),
            codes.num_codebooks,
            writer.num_samples,
            writer.num_clipped,
            codec.info,
            warnings,
        )


def _decode_in_blocks(
    codec: MimiCodec,
    codes: Codes,
    writer: AudioWriter,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> None:
    stream = codec.stream_decoder()
    for start in range(0, codes.num_frames, codec.chunk_frames):
        if cancel is not None and cancel():
            raise Cancelled
        samples = stream.push(codes.array[:, start : start + codec.chunk_frames])
        writer.write(samples[: codes.num_samples - writer.num_samples])
        if progress is not None:
            progress(stream.num_frames, codes.num_frames)


def open_codec_for(
    codes: Codes,
    model_name: str | None,
    device: str | None,
    *,
    precision: str = "exact",
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> MimiCodec:
    """Load the checkpoint that was asked for, else the one the tokens name, else ``kyutai/mimi``.

    Raises:
        ModelUnavailable, DeviceError, Cancelled: see ``MimiCodec.from_pretrained``.
    """
    from mimi_gui.codec import MimiCodec

    name = named(model_name) if model_name else codes.info.model_name or DEFAULT_MODEL
    try:
        return MimiCodec.from_pretrained(name, device, precision=precision, progress=progress, cancel=cancel)
    except ModelUnavailable as error:
        if model_name or not codes.info.model_name:
            raise
        message = f"The tokens name the checkpoint {name}, which cannot be had here: {error.message}"
        raise ModelUnavailable(message, error.hint) from error


def belonging(codes: Codes, codec: MimiCodec, path: Path, allow_mismatch: bool) -> tuple[Codes, tuple[str, ...]]:
    """The codes as ``codec`` may take them, and what there is to say about it."""
    label = codec.checkpoint.label
    if codes.num_codebooks > codec.info.num_codebooks:
        raise CodesMismatch(
            f"{path} has {codes.num_codebooks} codebooks, {label} only {codec.info.num_codebooks}: decode it"
            " with the checkpoint that made it."
        )
    same = codec.info.same_checkpoint(codes.info)
    if same:
        return codes, ()
    if same is None:
        return codes, (f"{path} does not say which checkpoint made its tokens; they were decoded with {label}.",)
    made_by = codes.info.model_name or "another checkpoint"
    difference = f"{path} was made with {made_by} ({_short(codes.info)}), not with {label} ({_short(codec.info)})"
    if not allow_mismatch:
        raise CodesMismatch(f"{difference}: decode it with --model {made_by}, or insist with --force.")
    return replace(codes, info=replace(codes.info, digest="")), (f"{difference}; decoded all the same.",)


def _short(info: CodecInfo) -> str:
    return info.digest[: len("sha256:") + 12]


if __name__ == "__main__":
    import sys

    from mimi_gui.cli import main

    sys.exit(main(["decode", *sys.argv[1:]]))
