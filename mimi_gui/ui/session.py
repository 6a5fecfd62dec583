"""The one document: what is open, what the codec made of it, and which job may still change that.

Lives in the GUI thread and is the only place where the window's state changes. It reads no byte and knows no
tensor: it submits jobs and takes in what they deliver. A parcel of a job that is no longer wanted is dropped. What
is open stays open until its successor has been read, so a bad file that is dropped costs nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.corpus_list import Listing
from mimi_gui.remix import Ear
from mimi_gui.ui.codec_jobs import (
    DEFAULT_MODEL,
    DEMO_MODEL,
    Decode,
    Encode,
    Grown,
    Growth,
    LoadModel,
    ModelChoice,
    ModelMissing,
    ModelReady,
    Preview,
    with_fewer,
)
from mimi_gui.ui.document import Document
from mimi_gui.ui.file_jobs import (
    Entry,
    ExportAudio,
    LoadRecording,
    LoadTokens,
    Recording,
    SaveTokens,
    Sorted,
    SortPaths,
    StageFile,
    Tokens,
)
from mimi_gui.ui.notices import Notice, failed, is_about_model, left_out, missing_model
from mimi_gui.ui.roles import Roles
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.worker import Failure, WorkerThread


class Session(QObject):
    """See the module's docstring. Signals tell facts; read the attributes for the rest.

    Attributes:
        document: what is open, empty when nothing is.
        recordings, current: the list that can be clicked through, and which line of it is open (-1: none).
        corpus: the Listing that the list of recordings is of, or None.
        model: the loaded codec, or None.
        model_state: "loading", "ready", "missing", "failed" or "downloading".
        guard: called with what would lose unsaved edits; calls it if the person agrees, perhaps later.
        saved_codes: the tokens that were written to a file last, or None.
        ear: where somebody listens, kept true by the transport; the codec thread reads it.
    """

    source_changed = Signal()  # another document: recording, or None
    codes_changed = Signal()  # another codes_array
    codes_grew = Signal(object)
    sound_changed = Signal()  # another reconstruction begins
    sound_grew = Signal(object)
    sound_previewed = Signal(object)  # Preview: what the ear needs, while the rest is decoded
    finished = Signal()  # the reconstruction is complete
    num_codebooks_changed = Signal(object)
    model_changed = Signal()
    recordings_changed = Signal()
    corpus_changed = Signal()
    activity_changed = Signal(object)  # Activity or None
    noticed = Signal(object)  # Notice
    settled = Signal(object)  # topic of notices that no longer hold
    saved = Signal(object)  # Path
    staged = Signal(object, object)  # kind, Path: ready to be dragged out

    def __init__(
        self, codec: WorkerThread, files: WorkerThread, settings: SettingsStore, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._codec, self._files, self._settings = codec, files, settings
        self.choice = ModelChoice(settings.value.model_name, settings.value.device)
        self.num_codebooks = settings.value.num_codebooks
        self.mix: tuple[int, ...] | None = None
        self.model: ModelReady | None = None
        self.model_state = "missing"
        self.fixes_ssl = False
        self.recordings: tuple[Entry, ...] = ()
        self.current = -1
        self.corpus: Listing | None = None
        self._staging: dict[int, str] = {}
        self._staged_folders: list[Path] = []
        self._roles = Roles(codec, files, self)
        self._roles.activity_changed.connect(self.activity_changed)
        self._newcomer: Entry | None = None  # joined the list, and leaves it again if it cannot be read
        self._opening: int | None = None  # index in recordings of what is being read
        self.document = Document()
        self.guard: Callable[[Callable[[], None]], None] = lambda go_on: go_on()
        self.saved_codes: Codes | None = None
        self._saving: Codes | None = None
        self.ear = Ear()
        for thread in (codec, files):
            thread.delivered.connect(self._job_delivered)
            thread.finished.connect(self._job_finished)
            thread.failed.connect(self._job_failed)
            thread.cancelled.connect(self._job_cancelled)

    # What is open

    @property
    def max_codebooks(self) -> int:
        """The most that can be decoded of what is open."""
        if self.document.codes is not None:
            return self.document.codes.num_codebooks
        return self.model.info.num_codebooks if self.model is not None else CodecInfo().num_codebooks

    @property
    def is_making(self) -> bool:
        """Whether an encoding or decoding is wanted and under way."""
        return self._roles.is_taken("make")

    def open(self, paths: Iterable[str | Path]) -> None:
        """Take whatever was dropped: recordings, token files, checkpoints, folders. Returns at once."""
        chosen = tuple(Path(path) for path in paths)
        if chosen:
            self.guard(partial(self._roles.submit, "open", self._files, SortPaths(chosen)))

    def show(self, index: int) -> None:
        """Open a line of the recordings list."""
        self.guard(partial(self._show, index))

    def _show(self, index: int) -> None:
        if not 0 <= index < len(self.recordings):
            return
        entry = self.recordings[index]
        self._opening = index
        if entry.tokens is not None:
            self._roles.submit("open", self._files, LoadTokens(entry.tokens, entry.audio))
        else:
            self._roles.submit("open", self._files, LoadRecording(entry.path))

    def cancel(self) -> None:
        """Stop whatever is going on; what is there already stays."""
        self._roles.cancel()

    # The codec

    def start_model(self) -> None:
        """Look for the chosen checkpoint and load it; a missing one is told, not fetched."""
        self._load(download=False)

    def start_with(self, model_name: str | None, device: str | None, *, fixes_ssl: bool = False) -> None:
        """Take what the command line says for this run; the settings keep theirs."""
        self.fixes_ssl = fixes_ssl
        self.choice = ModelChoice(model_name or self.choice.name, device or self.choice.device)

    def use_model(self, name: str) -> None:
        """Change the checkpoint; what is open is encoded again with it."""
        self._choose(ModelChoice(name, self.choice.device))

    def use_device(self, device: str) -> None:
        """Change the device; tokens that are there stay."""
        self._choose(ModelChoice(self.choice.name, device))

    def _choose(self, choice: ModelChoice) -> None:
        if choice == self.choice and self.model_state in ("ready", "loading"):
            return
        self._roles.drop("make")
        self.choice = choice
        self._settings.update(model_name=choice.name, device=choice.device)
        self._load(download=False)

    def download_model(self) -> None:
        """Fetch the chosen checkpoint (Kyutai Mimi when it is the demo codec) and load it."""
        if self.choice.name == DEMO_MODEL:
            self.choice = ModelChoice(DEFAULT_MODEL, self.choice.device)
            self._settings.update(model_name=DEFAULT_MODEL)
        self._load(download=True)

    def _load(self, *, download: bool) -> None:
        self.model = None
        self.model_state = "downloading" if download else "loading"
        self.settled.emit("model")
        self.model_changed.emit()
        self._roles.submit("model", self._codec, LoadModel(self.choice, download, self.fixes_ssl))

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Decode with so many codebooks; nothing is encoded again."""
        num_codebooks = max(1, min(num_codebooks, self.max_codebooks))
        if num_codebooks == self.num_codebooks and self.mix is None:
            return
        self.num_codebooks, self.mix = num_codebooks, None
        self._settings.update(num_codebooks=num_codebooks)
        self.num_codebooks_changed.emit(num_codebooks)
        if self.document.codes is not None and self.model_state in ("ready", "loading"):
            self._make()

    def set_mix(self, codebooks: tuple[int, ...] | None) -> None:
        """Decode any selection of codebooks (numbers from 0); None goes back to the first so many."""
        if codebooks == tuple(range(self.num_codebooks)):
            codebooks = None
        if codebooks != self.mix:
            self.mix = codebooks
            if self.document.codes is not None and self.model_state in ("ready", "loading"):
                self._make()

    @property
    def wanted(self) -> tuple[int, ...]:
        """The codebooks that should sound: the mix, else the first so many."""
        first = tuple(range(min(self.num_codebooks, self.max_codebooks)))
        return first if self.mix is None else tuple(k for k in self.mix if k < self.max_codebooks)

    def make_again(self) -> None:
        """Encode (or, where only tokens are open, decode) once more from the start."""
        if self.document.is_from_tokens:
            self._make_again()
        else:
            self.guard(self._make_again)

    def edit(self, codes: Codes) -> None:
        """Let edited tokens take the place of those that are open, and decode them, what is about to be heard first."""
        document = self.document
        self._roles.drop("make")
        document.codes, document.codes_array, document.num_frames = codes, codes.array, codes.num_frames
        document.is_complete = document.is_saved = False
        self.codes_changed.emit()
        self._make()

    def _make_again(self) -> None:
        self.document.is_complete = False
        if not self.document.is_from_tokens:
            self.document.codes = None
        self._make()

    def _make(self) -> None:
        """Bring the reconstruction up to date with recording, tokens, model and number of codebooks."""
        document = self.document
        if self.model_state not in ("ready", "loading"):
            self.noticed.emit(missing_model(self.choice))
        elif document.codes is not None:
            is_done = document.is_complete and document.codebooks == self.wanted
            if not is_done or self.is_making:
                # Another choice of codebooks: what is about to be heard first.
                ear = self.ear if document.sound is not None else None
                job = Decode(self.choice, document.codes, document.title, self.wanted, ear)
                self._roles.submit("make", self._codec, job)
        elif document.recording is not None:
            recording = document.recording
            job = Encode(self.choice, recording.waveform, recording.path, self.num_codebooks)
            self._roles.submit("make", self._codec, job)

    # Saving

    def save_codes(self, path: Path, *, overwrite: bool = False, whole: bool = False) -> None:
        """Write the tokens that are heard to ``path``; all codebooks of them if ``whole``."""
        if self.document.codes is not None:
            codes = self.document.codes if whole else with_fewer(self.document.codes, self.num_codebooks)
            self._saving = codes
            self._roles.submit("save", self._files, SaveTokens(path, codes, overwrite))

    def export_audio(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the reconstruction to ``path`` as its suffix says."""
        document = self.document
        if document.sound is not None and document.is_complete:
            self._saving = None
            self._roles.submit("save", self._files, ExportAudio(path, document.sound, document.info, overwrite))

    def stage(self, kind: str) -> None:
        """Write "tokens" or "audio" where it can be dragged out from; `staged` tells when it is there."""
        document = self.document
        if document.codes is None or document.sound is None or not document.is_complete:
            return
        save: SaveTokens | ExportAudio = ExportAudio(Path(), document.sound, document.info)
        if kind == "tokens":
            save = SaveTokens(Path(), with_fewer(document.codes, self.num_codebooks))
        self._staging[self._files.submit(StageFile(document.suggested_name(kind), save))] = kind

    def close(self) -> None:
        """End every job and both threads; each says `closed` when it is done."""
        self._roles.clear()
        for folder in self._staged_folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._codec.close()
        self._files.close()

    # Jobs

    @Slot(object, object)
    def _job_delivered(self, number: int, part: object) -> None:
        if isinstance(part, ModelReady):  # true whoever asked for it
            self._take_model(part)
        elif self._roles.of(number) != "make":
            return
        elif isinstance(part, Growth):
            self._take_growth(part)
        elif isinstance(part, Preview):
            self.sound_previewed.emit(part)
        elif isinstance(part, Grown):
            self.document.num_frames, self.document.num_samples = part.num_frames, part.num_samples
            if self.document.codes is None:
                self.codes_grew.emit(self.document.num_frames)
            self.sound_grew.emit(self.document.num_samples)

    @Slot(object, object)
    def _job_finished(self, number: int, result: object) -> None:
        if number in self._staging:
            if isinstance(result, Path):
                self._staged_folders.append(result.parent)
                self.staged.emit(self._staging.pop(number), result)
            return
        role = self._roles.end(number)
        if role is None:
            return
        if isinstance(result, Sorted):
            self._take_sorted(result)
        elif isinstance(result, Recording):
            self._take_document(result, None)
        elif isinstance(result, Tokens):
            self._take_document(result.recording, result)
        elif isinstance(result, ModelMissing):
            self.model_state = "missing"
            self.model_changed.emit()
            if self.document.entry is not None:
                self.noticed.emit(missing_model(self.choice))
        elif role == "save" and isinstance(result, Path):
            self.document.is_saved = True
            self.saved_codes = self._saving or self.saved_codes
            self.settled.emit("save")
            self._settings.update(save_folder=str(result.parent))
            self.saved.emit(result)
        elif role == "make":
            self._take_made(result)

    @Slot(object, object)
    def _job_failed(self, number: int, failure: Failure) -> None:
        self._staging.pop(number, None)
        role = self._roles.end(number)
        if role is None:
            return
        if role == "open" and self._newcomer is not None:
            self.recordings = tuple(entry for entry in self.recordings if entry != self._newcomer)
            self._newcomer = None
            self.recordings_changed.emit()
        if is_about_model(failure, role):
            self.model, self.model_state = None, "failed"
            self.model_changed.emit()
        self.noticed.emit(failed(failure, role, self.choice, self.document))

    @Slot(object)
    def _job_cancelled(self, number: int) -> None:
        self._staging.pop(number, None)
        role = self._roles.end(number)
        if role == "model":
            self.model_state = "missing"
            self.model_changed.emit()

    # Taking in

    def _take_sorted(self, found: Sorted) -> None:
        if found.num_left_out:
            self.noticed.emit(left_out(found.num_left_out))
        if found.checkpoints:
            self.use_model(str(found.checkpoints[0]))
        if len(found.entries) > 1 or found.corpus is not None:  # one alone joins the list that is there
            self.set_corpus(found.corpus, found.entries)
        if (first := next(iter(found.entries), None)) is None:
            return
        fresh = () if first in self.recordings else (first,)
        self.recordings += fresh
        self.recordings_changed.emit()
        self._show(self.recordings.index(first))
        self._newcomer = first if fresh else None

    def set_corpus(self, corpus: Listing | None, entries: tuple[Entry, ...]) -> None:
        """Take another list; what is open stays open, and its line is found again."""
        before = self.recordings[self.current : self.current + 1]
        self.current = next((i for i, entry in enumerate(entries) if entry in before), -1)
        self.recordings, self.corpus = entries, corpus
        self.recordings_changed.emit()
        self.corpus_changed.emit()

    def _take_document(self, recording: Recording | None, tokens: Tokens | None) -> None:
        """Something was read: it takes the place of what was open, and the codec turns to it."""
        self._roles.drop("make")
        if self._opening is not None:
            self.current, self._opening, self._newcomer = self._opening, None, None
        audio = recording.path if recording is not None else None
        entry = Entry(audio, tokens.path if tokens is not None else None)
        document = self.document = Document(entry, recording)
        self.mix = None
        if tokens is not None:
            document.codes, document.info = tokens.codes, tokens.codes.info
            document.codes_array, document.num_frames = tokens.codes.array, tokens.codes.num_frames
            self.num_codebooks = tokens.codes.num_codebooks
        else:
            self.num_codebooks = min(self._settings.value.num_codebooks, self.max_codebooks)
        self.settled.emit("open")
        self.settled.emit("make")
        self._settings.remember_file(entry.tokens or entry.path)
        self.num_codebooks_changed.emit(self.num_codebooks)
        self.source_changed.emit()
        self.codes_changed.emit()
        self.sound_changed.emit()
        self.recordings_changed.emit()
        if tokens is not None and tokens.note:
            self.noticed.emit(Notice("info", tokens.note, topic="open"))
        self._make()

    def _take_model(self, ready: ModelReady) -> None:
        if ready.choice != self.choice:
            return  # overtaken by another choice
        if ready == self.model and self.model_state == "ready":
            return
        self.model, self.model_state = ready, "ready"
        self.settled.emit("model")
        self.model_changed.emit()
        document = self.document
        if self.is_making or document.entry is None:
            return
        if document.codes is not None and ready.info.same_checkpoint(document.codes.info) is False:
            document.is_complete = False
            if not document.is_from_tokens and not document.is_edited:
                document.codes = None  # tokens of two checkpoints do not mix: encode again
        if not document.is_complete:
            self._make()

    def _take_growth(self, growth: Growth) -> None:
        self.document.info = growth.info
        self.document.sound, self.document.sound_envelope = growth.samples, growth.envelope
        self.document.codebooks = growth.codebooks
        self.document.num_samples = 0
        self.document.is_complete = False
        if growth.codes is not None:
            self.document.codes, self.document.codes_array, self.document.num_frames = None, growth.codes, 0
            self.codes_changed.emit()
        self.sound_changed.emit()

    def _take_made(self, result: object) -> None:
        if isinstance(result, Codes):
            self.document.codes = result
            self.document.codes_array = result.array
            self.document.is_saved = False
        self.document.is_complete = True
        self.settled.emit("make")
        self.finished.emit()
        if self.document.codebooks != self.wanted:
            self._make()  # the number of codebooks was changed meanwhile
