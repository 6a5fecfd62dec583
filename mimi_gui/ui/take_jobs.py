"""Jobs about takes, for the files thread: give them their names, keep what Mimi heard, find what a crash left."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.codes import save_codes
from mimi_gui.errors import MimiGuiError, OutputError
from mimi_gui.live import LiveTake
from mimi_gui.takes import UnfinishedTake, finish_take, new_live_stem, unfinished_takes
from mimi_gui.ui.worker import Desk, Job

LIVE_SUFFIXES = (".npz", ".wav", " (reconstruction).wav")


@dataclass(frozen=True)
class TakeReady:
    """A take has its name; ``note`` says what else did not work, or why it ended early."""

    path: Path
    note: str = ""


@dataclass(frozen=True)
class FinishTake(Job):
    """Name a whole take; with ``keeps_heard``, put what Mimi hears beside it. Result: :class:`TakeReady`.

    Raises:
        OutputError: nothing was recorded, or it cannot be renamed.
    """

    path: Path
    heard: Clip | None = None  # float32 [T, 1] at the codec's rate
    keeps_heard: bool = False
    note: str = ""

    def run(self, desk: Desk) -> TakeReady:
        from mimi_gui.audio import save_audio

        desk.report(f"Saving {self.path.name}")
        if self.heard is not None and self.heard.length == 0:
            self.path.unlink(missing_ok=True)  # a header without a sound
            raise OutputError("Nothing was recorded: the take ended before the first sound came.")
        path, notes = finish_take(self.path), [self.note] if self.note else []
        if self.heard is not None and self.keeps_heard:
            rate = self.heard.sample_rate
            beside = path.with_name(f"{path.stem} ({rate // 1000} kHz mono).wav")
            try:
                save_audio(beside, self.heard.samples[: self.heard.length, 0], rate, subtype="FLOAT")
            except MimiGuiError as error:  # the take itself is safe
                notes.append(error.message)
        return TakeReady(path, " ".join(notes))


@dataclass(frozen=True)
class FindUnfinished(Job):
    """Look for takes that a crash left. Result: a tuple of UnfinishedTake."""

    folder: Path

    def run(self, desk: Desk) -> tuple[UnfinishedTake, ...]:
        return tuple(unfinished_takes(self.folder))


@dataclass(frozen=True)
class RecoverTakes(Job):
    """Give the takes that a crash left their names. Result: a tuple of Path."""

    takes: tuple[UnfinishedTake, ...]

    def run(self, desk: Desk) -> tuple[Path, ...]:
        return tuple(finish_take(take.path) for take in self.takes)


@dataclass(frozen=True)
class LiveKept:
    """The files of a live session that was kept."""

    tokens: Path
    source: Path
    reconstruction: Path


@dataclass(frozen=True)
class KeepLive(Job):
    """Write a live session's tokens and both sounds under one name. Result: :class:`LiveKept`."""

    folder: Path
    take: LiveTake

    def run(self, desk: Desk) -> LiveKept:
        from mimi_gui.audio import save_audio

        stem = new_live_stem(self.folder, LIVE_SUFFIXES)
        tokens, source, reconstruction = (self.folder / f"{stem}{suffix}" for suffix in LIVE_SUFFIXES)
        desk.report(f"Saving {stem}")
        take, rate = self.take, self.take.codes.info.sample_rate
        save_audio(source, take.source, rate, subtype="FLOAT")
        save_audio(reconstruction, np.asarray(take.reconstruction), rate, subtype="FLOAT")
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        origin = {"name": source.name, "digest": f"sha256:{digest}"}
        save_codes(tokens, replace(take.codes, metadata={**take.codes.metadata, "source": origin}))
        return LiveKept(tokens, source, reconstruction)
