"""Jobs that read and write files, for the files thread: no torch, and nothing that a widget notices.

What a path is, is decided by its first bytes, never by its name: people rename files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.corpus_list import Listing, is_corpus, read_listing
from mimi_gui.errors import AudioFileError, MimiGuiError
from mimi_gui.ui.worker import Desk, Job

if TYPE_CHECKING:
    from mimi_gui.audio import Waveform

AUDIO_SUFFIXES = {
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".w64", ".rf64", ".caf", ".au",
    ".snd", ".bwf", ".sph", ".nist",
}  # fmt: skip
_MAX_FOLDER_FILES = 20_000
_AUDIO_MAGIC = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd", b"NIST")


@dataclass(frozen=True)
class Item:
    """One thing that was dropped: ``kind`` is "audio", "tokens" or "checkpoint"."""

    kind: str
    path: Path


@dataclass(frozen=True)
class Entry:
    """One line of the recordings list: a recording, its tokens, or both to compare."""

    audio: Path | None = None
    tokens: Path | None = None

    @property
    def path(self) -> Path:
        """The file it is called after."""
        path = self.audio or self.tokens
        assert path is not None
        return path


@dataclass(frozen=True)
class Sorted:
    """What :class:`SortPaths` found."""

    entries: tuple[Entry, ...]
    checkpoints: tuple[Path, ...]
    num_left_out: int = 0
    corpus: Listing | None = None


@dataclass(frozen=True)
class Recording:
    """A recording as Mimi hears it, with its outline."""

    path: Path
    waveform: Waveform
    envelope: Envelope


@dataclass(frozen=True)
class Tokens:
    """A token file, and the recording it was made from where that was found; ``note`` says why it was not."""

    path: Path
    codes: Codes
    recording: Recording | None = None
    note: str = ""


def kind_of(path: Path) -> str:
    """Return "audio", "tokens", "checkpoint", "corpus" or "folder" by content.

    Raises:
        AudioFileError: it is not there, or cannot be read.
    """
    if is_corpus(path):
        return "corpus"
    if path.is_dir():
        return "checkpoint" if (path / "config.json").is_file() else "folder"
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise AudioFileError(f"{path} does not exist; it may have been moved or deleted.") from None
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if head[:2] == b"PK" or head[:6] == b"\x93NUMPY":
        return "tokens"
    if head.startswith(_AUDIO_MAGIC):
        return "audio"
    if len(head) > 8 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**30:
        return "checkpoint"  # safetensors: the header's length, then its JSON
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return "tokens"
    return "checkpoint" if suffix == ".safetensors" else "audio"


def paired(items: Iterable[Item]) -> tuple[Entry, ...]:
    """Put tokens and the recording of the same name together; a single pair whatever its names."""
    items = list(items)
    audio = [item.path for item in items if item.kind == "audio"]
    tokens = [item.path for item in items if item.kind == "tokens"]
    if len(audio) == 1 and len(tokens) == 1:
        return (Entry(audio[0], tokens[0]),)
    by_stem = {(path.parent, path.stem): path for path in tokens}
    entries: dict[Path, Entry] = {}
    for item in items:
        if item.kind == "audio":
            entries[item.path] = Entry(item.path, by_stem.pop((item.path.parent, item.path.stem), None))
    taken = {entry.tokens for entry in entries.values()}
    return tuple(
        entries[item.path] if item.kind == "audio" else Entry(tokens=item.path)
        for item in items
        if item.kind == "audio" or (item.kind == "tokens" and item.path not in taken)
    )


@dataclass(frozen=True)
class SortPaths(Job):
    """Find out what was dropped: a few bytes of each file, the names in a folder. Result: :class:`Sorted`."""

    paths: tuple[Path, ...]

    def run(self, desk: Desk) -> Sorted:
        items: list[Item] = []
        left_out = 0
        single = len(self.paths) == 1
        if single and kind_of(self.paths[0]) == "corpus":
            corpus = ReadCorpus(self.paths[0]).run(desk)
            return Sorted(corpus_entries(corpus), (), corpus=corpus)
        for i, path in enumerate(self.paths):
            desk.check_cancelled()
            desk.report("Looking at the files", i, len(self.paths), "files")
            try:
                kind = kind_of(path)
                if kind == "corpus":
                    entries = corpus_entries(ReadCorpus(path).run(desk))
                    items += [Item("tokens", entry.tokens) for entry in entries if entry.tokens is not None]
                elif kind == "folder":
                    items += self._folder(path, desk)
                else:
                    items.append(Item(kind, path))
            except MimiGuiError:
                if single:
                    raise
                left_out += 1
        checkpoints = tuple(item.path for item in items if item.kind == "checkpoint")
        return Sorted(paired(items), checkpoints, left_out)

    def _folder(self, folder: Path, desk: Desk) -> list[Item]:
        found: list[Item] = []
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    desk.check_cancelled()
                    suffix = Path(entry.name).suffix.lower()
                    if suffix in AUDIO_SUFFIXES and not entry.name.startswith("."):
                        found.append(Item("audio", Path(entry.path)))
                    elif suffix == ".npz":
                        found.append(Item("tokens", Path(entry.path)))
                    if len(found) >= _MAX_FOLDER_FILES:
                        break
        except OSError as error:
            raise AudioFileError(f"The folder {folder} cannot be read: {error.strerror or error}.") from error
        if not found and len(self.paths) == 1:
            raise AudioFileError(
                f"{folder} is a folder without recordings or token files; drop a recording, or a folder with some."
            )
        return sorted(found, key=lambda item: item.path.name.lower())


@dataclass(frozen=True)
class ReadCorpus(Job):
    """Read what the manifest of a corpus says. Result: Listing."""

    path: Path

    def run(self, desk: Desk) -> Listing:
        desk.report(f"Reading the manifest of {self.path.name}")
        return read_listing(self.path, cancel=desk.is_cancelled)


def corpus_entries(listing: Listing) -> tuple[Entry, ...]:
    """What can be opened of a corpus: its lines but for those that failed, in their order."""
    return tuple(Entry(line.audio, line.tokens) for line in listing.lines if line.state != "failed")


@dataclass(frozen=True)
class LoadRecording(Job):
    """Read a recording as Mimi hears it. Result: :class:`Recording`."""

    path: Path

    def run(self, desk: Desk) -> Recording:
        return _read(self.path, desk)


def _read(path: Path, desk: Desk) -> Recording:
    from mimi_gui.audio import load_audio

    text = f"Reading {path.name}"
    desk.report(text)

    def progress(done: int, total: int) -> None:
        desk.report(text, done, max(total, 0), "samples")

    waveform = load_audio(path, progress=progress, cancel=desk.is_cancelled)
    return Recording(path, waveform, Envelope.from_samples(waveform.samples, waveform.sample_rate))


@dataclass(frozen=True)
class LoadTokens(Job):
    """Read a token file and its recording: ``audio``, or the one beside it. Result: :class:`Tokens`."""

    path: Path
    audio: Path | None = None

    def run(self, desk: Desk) -> Tokens:
        desk.report(f"Reading {self.path.name}")
        codes = load_codes(self.path)
        desk.check_cancelled()
        audio = self.audio or companion(self.path, codes)
        if audio is None:
            return Tokens(self.path, codes, note="Its recording is not beside the tokens: only B can be heard.")
        try:
            recording = _read(audio, desk)
        except MimiGuiError as error:
            return Tokens(self.path, codes, note=error.message)
        off_s = abs(len(recording.waveform.samples) - codes.num_samples) / codes.info.sample_rate
        if off_s > codes.info.frame_to_s(1):  # a bare file only knows whole frames
            length = len(recording.waveform.samples) / codes.info.sample_rate
            words = f"{audio.name} lasts {length:.2f} s, the tokens {codes.duration_s:.2f} s: "
            if self.audio is None:
                return Tokens(self.path, codes, note=words + "not their recording, so only B can be heard.")
            return Tokens(self.path, codes, recording, words + "they may not belong together.")
        return Tokens(self.path, codes, recording)


def companion(tokens: Path, codes: Codes) -> Path | None:
    """The recording beside a token file: the one its metadata names, else one of the same stem."""
    source = codes.metadata.get("source")
    name = source.get("name") if isinstance(source, dict) else None
    if isinstance(name, str) and name:
        candidate = tokens.parent / Path(name).name
        if candidate.is_file():
            return candidate
    for suffix in sorted(AUDIO_SUFFIXES):
        candidate = tokens.with_suffix(suffix)
        if candidate.is_file():
            return candidate
    return None


@dataclass(frozen=True)
class SaveTokens(Job):
    """Write a token file whole or not at all. Result: its Path."""

    path: Path
    codes: Codes
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        desk.report(f"Saving {self.path.name}")
        return save_codes(self.path, self.codes, overwrite=self.overwrite)


@dataclass(frozen=True)
class ExportAudio(Job):
    """Write sound as the suffix says (wav, flac, ogg), whole or not at all. Result: its Path."""

    path: Path
    samples: np.ndarray  # float32 [T]
    info: CodecInfo
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        from mimi_gui.audio import save_audio

        desk.report(f"Saving {self.path.name}")
        return save_audio(self.path, self.samples, self.info.sample_rate, overwrite=self.overwrite)


@dataclass(frozen=True)
class StageFile(Job):
    """Run a save into a folder of its own, so that it can be dragged out. Result: the written Path."""

    name: str
    save: SaveTokens | ExportAudio

    def run(self, desk: Desk) -> Path:
        from dataclasses import replace

        folder = Path(tempfile.mkdtemp(prefix="mimi-gui-drag-"))
        try:
            return replace(self.save, path=folder / self.name).run(desk)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
