"""The two directions of a corpus job, file by file: what to read ahead, what to compute, what to save.

Short files are loaded by reader threads and saved by the writer; long ones are streamed by the thread that computes,
so that memory does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mimi_gui.audio import AudioInfo, AudioWriter, audio_info, load_audio
from mimi_gui.codes import Codes, load_codes, save_codes
from mimi_gui.corpus_items import Item
from mimi_gui.decoder import belonging, decode_tokens
from mimi_gui.encoder import encode_audio, with_source
from mimi_gui.errors import AudioFileError, CodesFileError, CodesMismatch

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

_LONG_S = 600.0


class Work(Protocol):
    """One direction of a job. ``load`` runs on reader threads, ``compute`` on the caller's, ``save`` on the writer."""

    def targets(self, item: Item) -> list[tuple[Path, int | None]]:
        """Paths inside the target folder, and the channel that goes there."""
        ...

    def is_whole(self, target: Path) -> dict[str, Any] | None: ...
    def load(self, item: Item, channel: int | None) -> Any: ...
    def compute(self, item: Item, channel: int | None, loaded: Any, target: Path) -> Any: ...
    def save(self, item: Item, result: Any, target: Path) -> dict[str, Any]: ...


class Encoding:
    """Recordings to token files."""

    def __init__(
        self, codec: MimiCodec, folder: Path, num_codebooks: int, split: bool, cancel: Callable[[], bool] | None
    ) -> None:
        self._codec, self._folder, self._num_codebooks = codec, folder, num_codebooks
        self._split, self._cancel = split, cancel

    def targets(self, item: Item) -> list[tuple[Path, int | None]]:
        if not self._split:
            return [(self._folder / f"{item.name}.npz", None)]
        count = audio_info(item.path).num_channels
        return [(self._folder / f"{item.name}.ch{channel}.npz", channel) for channel in range(count)]

    def is_whole(self, target: Path) -> dict[str, Any] | None:
        if not target.exists():
            return None
        try:
            codes = load_codes(target)
        except CodesFileError:
            return None  # damaged: made again
        if self._codec.info.same_checkpoint(codes.info) is not True or codes.num_codebooks != self._num_codebooks:
            raise CodesMismatch(
                f"{target} has {codes.num_codebooks} codebooks of {codes.info.model_name or 'an unknown checkpoint'}"
                f" already, this run makes {self._num_codebooks} of {self._codec.checkpoint.label}: choose another"
                " folder."
            )
        return _facts(codes)

    def load(self, item: Item, channel: int | None) -> tuple[AudioInfo, Any]:
        info = audio_info(item.path)
        if info.duration_s < 0 or info.duration_s > _LONG_S:
            return info, None
        return info, load_audio(item.path, self._codec.info.sample_rate, channel=channel)

    def compute(self, item: Item, channel: int | None, loaded: Any, target: Path) -> Any:
        info, wave = loaded
        if wave is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            done = encode_audio(
                item.path,
                target,
                streaming=True,
                num_codebooks=self._num_codebooks,
                channel=channel,
                overwrite=True,
                cancel=self._cancel,
                codec=self._codec,
            )
            return None, None, done.warnings
        codes = self._codec.encode(wave.samples, num_codebooks=self._num_codebooks, cancel=self._cancel)
        return codes, (wave.samples, info, channel), wave.warnings

    def save(self, item: Item, result: Any, target: Path) -> dict[str, Any]:
        codes, source, warnings = result
        if codes is None:  # streamed, and saved already
            codes = load_codes(target)
        else:
            codes = with_source(codes, *source)
            target.parent.mkdir(parents=True, exist_ok=True)
            save_codes(target, codes, overwrite=True)
        return {**_facts(codes), **({"warning": warnings[0]} if warnings else {})}


def _facts(codes: Codes) -> dict[str, Any]:
    """A manifest's line about a token file, from the file alone."""
    level = codes.metadata.get("level")
    return {
        "duration": round(codes.duration_s, 6),
        "sample_rate": codes.info.sample_rate,
        "num_samples": codes.num_samples,
        "num_codebooks": codes.num_codebooks,
        "num_frames": codes.num_frames,
        **(level if isinstance(level, dict) else {}),
    }


class Decoding:
    """Token files to recordings."""

    def __init__(
        self,
        codec: MimiCodec,
        folder: Path,
        num_codebooks: int | None,
        suffix: str,
        subtype: str | None,
        cancel: Callable[[], bool] | None,
    ) -> None:
        self._codec, self._folder, self._num_codebooks = codec, folder, num_codebooks
        self._suffix, self._subtype, self._cancel = suffix, subtype, cancel

    def targets(self, item: Item) -> list[tuple[Path, int | None]]:
        return [(self._folder / f"{item.name}{self._suffix}", None)]

    def is_whole(self, target: Path) -> dict[str, Any] | None:
        if not target.exists():
            return None
        try:
            info = audio_info(target)
        except AudioFileError:
            return None  # damaged: made again
        return {"duration": round(info.duration_s, 6), "sample_rate": info.sample_rate, "num_samples": info.num_samples}

    def load(self, item: Item, channel: int | None) -> Codes:
        codes = load_codes(item.path)
        codes, _ = belonging(codes, self._codec, item.path, False)
        return replace(codes.first(min(self._num_codebooks or codes.num_codebooks, codes.num_codebooks)), metadata={})

    def compute(self, item: Item, channel: int | None, loaded: Any, target: Path) -> Any:
        codes: Codes = loaded
        if codes.duration_s > _LONG_S:
            target.parent.mkdir(parents=True, exist_ok=True)
            done = decode_tokens(
                item.path,
                target,
                streaming=True,
                num_codebooks=codes.num_codebooks,
                subtype=self._subtype,
                overwrite=True,
                cancel=self._cancel,
                codec=self._codec,
            )
            return codes, done.num_clipped
        return codes, self._codec.decode(codes, cancel=self._cancel)

    def save(self, item: Item, result: Any, target: Path) -> dict[str, Any]:
        codes, samples = result
        num_clipped = samples
        if not isinstance(samples, int):
            target.parent.mkdir(parents=True, exist_ok=True)
            with AudioWriter(target, self._codec.info.sample_rate, subtype=self._subtype, overwrite=True) as writer:
                writer.write(samples)
            num_clipped = writer.num_clipped
        return {
            "duration": round(codes.duration_s, 6),
            "sample_rate": self._codec.info.sample_rate,
            "num_samples": codes.num_samples,
            "num_codebooks": codes.num_codebooks,
            "num_clipped": num_clipped,
        }
