"""Jobs of the listening tests: make what is played, write the log as it grows, read one back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.errors import OutputError
from mimi_gui.ui.worker import Desk, Job

if TYPE_CHECKING:
    from mimi_gui.analysis.stimuli import Stimuli


@dataclass(frozen=True)
class Source:
    """Something that can be compared.

    Attributes:
        title: its name in lists and in the log.
        samples: float32 [T] at ``sample_rate``; None where it is decoded or read first.
        num_codebooks: what it is decoded from; 0 for an original.
        path: the file to read it from, untouched.
        offset: where in the recording ``samples`` begins, in samples.
        is_wider: it holds more than Mimi is given: a wider band, or more channels.
        is_decoded: it is to be decoded with ``num_codebooks`` codebooks.
    """

    title: str
    samples: np.ndarray | None
    sample_rate: int
    num_codebooks: int = 0
    path: Path | None = None
    offset: int = 0
    is_wider: bool = False

    @property
    def is_decoded(self) -> bool:
        return self.samples is None and self.path is None


@dataclass(frozen=True)
class Prepared:
    """What a test plays: the stimuli, each in memory that the playing process sees."""

    stimuli: Stimuli
    clips: tuple[Clip, ...]
    source_sha256: str


@dataclass(frozen=True)
class ImportListening(Job):
    """Import what the pages need of scipy, away from the window. Result: the kind of test that is wanted."""

    kind: str

    def run(self, desk: Desk) -> str:
        # Not the pages' own modules: they import Qt, and that is the GUI thread's.
        for name in ("stimuli", "abx", "staircase", "rating_session"):
            import_module(f"mimi_gui.analysis.{name}")
        return self.kind


@dataclass(frozen=True)
class PrepareStimuli(Job):
    """Cut, align, resample and level what is compared (the reference first). Result: :class:`Prepared`.

    Raises:
        AudioFileError: the original file cannot be read any more.
    """

    sources: tuple[Source, ...]
    span_s: tuple[float, float]
    sample_rate: int
    match: bool
    with_anchor: bool
    is_mono: bool
    recording: Path | None

    def run(self, desk: Desk) -> Prepared:
        from mimi_gui.analysis.stimuli import Signal, prepare
        from mimi_gui.audio import load_native

        desk.report("Matching levels …")
        signals = []
        for source in self.sources:
            samples, rate = source.samples, source.sample_rate
            if source.path is not None:
                samples, rate = load_native(source.path)
            assert samples is not None  # decoded before this job was submitted
            signals.append(Signal(source.title, samples, rate, source.num_codebooks, source.offset))
            desk.check_cancelled()
        stimuli = prepare(
            signals, self.span_s, self.sample_rate, match=self.match, with_anchor=self.with_anchor,
            is_mono=self.is_mono, cancel=desk.is_cancelled,
        )  # fmt: skip
        clips = tuple(Clip.from_samples(one.samples, self.sample_rate, self.sample_rate) for one in stimuli.all)
        return Prepared(stimuli, clips, _digest(self.recording))


def _digest(path: Path | None) -> str:
    """The file's hash, "" where it is gone or there was none."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError:
        return ""


@dataclass(frozen=True)
class SaveLog(Job):
    """Write the log as it stands, whole or not at all. Result: its Path.

    Raises:
        OutputError: the folder cannot be made or written to.
    """

    path: Path
    log: Mapping[str, Any]
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        from mimi_gui.listening_log import save_log

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {self.path.parent} cannot be made: {error.strerror}; choose another one."
            ) from error
        return save_log(self.path, self.log, overwrite=self.overwrite)


@dataclass(frozen=True)
class LogRead:
    """A log as a person reads it; ``problems`` is empty when it verifies."""

    path: Path
    lines: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ReadLog(Job):
    """Read a log and verify it. Result: :class:`LogRead`.

    Raises:
        MimiGuiError: it is missing, or not a log.
    """

    path: Path

    def run(self, desk: Desk) -> LogRead:
        from mimi_gui.listening_log import load_log, report_lines, verify_log

        log = load_log(self.path)
        return LogRead(self.path, tuple(report_lines(log)), tuple(verify_log(log)))
