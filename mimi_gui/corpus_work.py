"""The two directions of a corpus job, file by file: what to read ahead, what to compute, what to save.

Short files are loaded by reader threads, computed together where that pays, and saved by the writer; long ones are
streamed by the thread that computes, so that memory does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mimi_gui.audio import AudioWriter, audio_comment, audio_info, load_audio
from mimi_gui.codes import Codes, load_codes, save_codes
from mimi_gui.corpus_items import Item
from mimi_gui.corpus_job import Job, Task
from mimi_gui.decoder import belonging, decode_tokens
from mimi_gui.encoder import encode_audio, with_source
from mimi_gui.errors import AudioFileError, CodesFileError, CodesMismatch

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

_LONG_S = 600.0
_GPU_FILES = 64  # as many short recordings go to a GPU together


@dataclass(frozen=True)
class Whole:
    """Instead of what was loaded: the target is there already, with these facts for the manifest."""

    facts: dict[str, Any]


class Work(Protocol):
    """One direction of a job. ``load`` runs on reader threads, ``compute`` on the caller's, ``save`` on the writer.

    Attributes:
        most_files: how many files ``compute`` takes at once.
    """

    most_files: int

    def load(self, task: Task) -> Any: ...
    def is_long(self, loaded: Any) -> bool: ...
    def compute(self, batch: Sequence[tuple[Task, Any]]) -> list[Any]: ...
    def save(self, task: Task, result: Any) -> dict[str, Any]: ...


def work_for(job: Job, codec: MimiCodec, cancel: Callable[[], bool] | None) -> Work:
    """What does ``job`` with a codec that is loaded."""
    return Encoding(job, codec, cancel) if job.encodes else Decoding(job, codec, cancel)


def targets(job: Job, item: Item) -> list[tuple[Path, int | None]]:
    """The files that ``item`` becomes, and the channel that goes there.

    Raises:
        AudioFileError: its channels must be counted, and it cannot be read.
    """
    if job.channels == "mix":
        return [(job.folder / f"{item.name}{job.suffix}", None)]
    count = audio_info(item.path).num_channels
    return [(job.folder / f"{item.name}.ch{channel}.npz", channel) for channel in range(count)]


def whole_facts(job: Job, target: Path, made: str = "") -> dict[str, Any] | None:
    """The manifest's facts about a target that is whole, None where it is to be made.

    Args:
        made: with which mark the manifest says that the target was made, "" where it does not.

    Raises:
        CodesMismatch: it is whole, but was made by something else, and ``job.overwrite`` is False.
    """
    if not target.exists():
        return None
    try:
        return _token_facts(job, target) if job.encodes else _audio_facts(job, target, made)
    except (CodesFileError, AudioFileError):
        return None  # damaged: made again
    except CodesMismatch:
        if job.overwrite:
            return None
        raise


def _token_facts(job: Job, target: Path) -> dict[str, Any]:
    codes = load_codes(target)
    precision = codes.metadata.get("precision", "exact")
    if job.info.same_checkpoint(codes.info) is not True or (codes.num_codebooks, precision) != (
        job.num_codebooks,
        job.precision,
    ):
        raise CodesMismatch(
            f"{target} has {codes.num_codebooks} codebooks of {codes.info.model_name or 'an unknown checkpoint'}"
            f" already, this run makes {job.num_codebooks} of {job.label}: choose another folder, or add --overwrite.",
            hint="A corpus was made with other options",
        )
    return _facts(codes)


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


def _audio_facts(job: Job, target: Path, made: str) -> dict[str, Any]:
    info = audio_info(target)
    mark, _, num_codebooks = audio_comment(target).rpartition(" ")
    if job.mark not in (made, mark):
        raise CodesMismatch(
            f"{target} is there already and was not made with these options: choose another folder, or add"
            " --overwrite.",
            hint="A corpus was made with other options",
        )
    return {
        "duration": round(info.duration_s, 6),
        "sample_rate": info.sample_rate,
        "num_samples": info.num_samples,
        **({"num_codebooks": int(num_codebooks)} if mark == job.mark and num_codebooks.isdecimal() else {}),
        "made": job.mark,
    }


def _comment(job: Job, codes: Codes) -> str:
    """What a recording's tags say of how it was made."""
    return f"{job.mark} {codes.num_codebooks}"


class Encoding:
    """Recordings to token files."""

    def __init__(self, job: Job, codec: MimiCodec, cancel: Callable[[], bool] | None) -> None:
        self._job, self._codec, self._cancel = job, codec, cancel
        # On a CPU one stream fills all cores already.
        self.most_files = 1 if codec.device == "cpu" else _GPU_FILES

    def load(self, task: Task) -> Any:
        whole = None if task.again else whole_facts(self._job, task.target)
        if whole is not None:
            return Whole(whole)
        info = audio_info(task.source)
        if info.duration_s < 0 or info.duration_s > _LONG_S:
            return info, None
        return info, load_audio(task.source, self._codec.info.sample_rate, channel=task.channel)

    def is_long(self, loaded: Any) -> bool:
        return loaded[1] is None

    def compute(self, batch: Sequence[tuple[Task, Any]]) -> list[Any]:
        if len(batch) == 1:
            return [self._compute(*batch[0])]
        waves = [wave for _, (_, wave) in batch]
        together = self._codec.encode_batch(
            [wave.samples for wave in waves], num_codebooks=self._job.num_codebooks, cancel=self._cancel
        )
        return [
            (codes, (wave.samples, info, task.channel), wave.warnings)
            for codes, (task, (info, wave)) in zip(together, batch, strict=True)
        ]

    def _compute(self, task: Task, loaded: Any) -> Any:
        info, wave = loaded
        if wave is None:
            task.target.parent.mkdir(parents=True, exist_ok=True)
            done = encode_audio(
                task.source,
                task.target,
                streaming=True,
                num_codebooks=self._job.num_codebooks,
                channel=task.channel,
                overwrite=True,
                cancel=self._cancel,
                codec=self._codec,
            )
            return None, None, done.warnings
        codes = self._codec.encode(wave.samples, num_codebooks=self._job.num_codebooks, cancel=self._cancel)
        return codes, (wave.samples, info, task.channel), wave.warnings

    def save(self, task: Task, result: Any) -> dict[str, Any]:
        codes, source, warnings = result
        if codes is None:  # streamed, and saved already
            codes = load_codes(task.target)
        else:
            codes = with_source(codes, *source)
            task.target.parent.mkdir(parents=True, exist_ok=True)
            save_codes(task.target, codes, overwrite=True)
        return {**_facts(codes), **({"warning": warnings[0]} if warnings else {})}


class Decoding:
    """Token files to recordings."""

    most_files = 1

    def __init__(self, job: Job, codec: MimiCodec, cancel: Callable[[], bool] | None) -> None:
        self._job, self._codec, self._cancel = job, codec, cancel

    def load(self, task: Task) -> Any:
        whole = None if task.again else whole_facts(self._job, task.target)
        if whole is not None:
            return Whole(whole)
        codes = load_codes(task.source)
        codes, _ = belonging(codes, self._codec, task.source, False)
        wanted = min(self._job.num_codebooks or codes.num_codebooks, codes.num_codebooks)
        return replace(codes.first(wanted), metadata={})

    def is_long(self, loaded: Any) -> bool:
        return loaded.duration_s > _LONG_S

    def compute(self, batch: Sequence[tuple[Task, Any]]) -> list[Any]:
        return [self._compute(task, codes) for task, codes in batch]

    def _compute(self, task: Task, codes: Codes) -> Any:
        if codes.duration_s > _LONG_S:
            task.target.parent.mkdir(parents=True, exist_ok=True)
            done = decode_tokens(
                task.source,
                task.target,
                streaming=True,
                num_codebooks=codes.num_codebooks,
                subtype=self._job.subtype,
                overwrite=True,
                comment=_comment(self._job, codes),
                cancel=self._cancel,
                codec=self._codec,
            )
            return codes, done.num_clipped
        return codes, self._codec.decode(codes, cancel=self._cancel)

    def save(self, task: Task, result: Any) -> dict[str, Any]:
        codes, samples = result
        num_clipped = samples
        if not isinstance(samples, int):
            task.target.parent.mkdir(parents=True, exist_ok=True)
            rate, comment = self._codec.info.sample_rate, _comment(self._job, codes)
            with AudioWriter(task.target, rate, subtype=self._job.subtype, overwrite=True, comment=comment) as writer:
                writer.write(samples)
            num_clipped = writer.num_clipped
        return {
            "duration": round(codes.duration_s, 6),
            "sample_rate": self._codec.info.sample_rate,
            "num_samples": codes.num_samples,
            "num_codebooks": codes.num_codebooks,
            "num_clipped": num_clipped,
            "made": self._job.mark,
        }
