"""What is open: a recording, its tokens, its reconstruction, each of them perhaps still growing.

Only the session changes it, in the GUI thread; everybody else in that thread reads. Arrays may be written by the
codec thread behind the counts that stand here, never before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.surgery import edits
from mimi_gui.ui.file_jobs import Entry, Recording


@dataclass
class Document:
    """One open recording.

    Attributes:
        entry: the files it came from; None when nothing is open.
        recording: as Mimi hears it; None when only tokens are open.
        codes: complete tokens; None while they are made.
        codes_array: int16 [K, T] that may still grow; ``num_frames`` of it are valid.
        sound: the reconstruction, float32 [T] at ``info.sample_rate``; ``num_samples`` of it are valid.
        codebooks: which of them ``sound`` is decoded from, by number from 0.
        is_complete: ``sound`` is whole. is_saved: the tokens are on disk, or were never made.
    """

    entry: Entry | None = None
    recording: Recording | None = None
    codes: Codes | None = None
    codes_array: np.ndarray | None = None
    num_frames: int = 0
    sound: np.ndarray | None = None
    sound_envelope: Envelope | None = None
    num_samples: int = 0
    codebooks: tuple[int, ...] = ()
    info: CodecInfo = field(default_factory=CodecInfo)
    is_complete: bool = False
    is_saved: bool = True

    @property
    def title(self) -> str:
        """Name of what is open, "" when nothing is."""
        return (self.entry.tokens or self.entry.path).name if self.entry is not None else ""

    @property
    def duration_s(self) -> float:
        """Length of what is open, in seconds."""
        if self.recording is not None:
            waveform = self.recording.waveform
            return len(waveform.samples) / waveform.sample_rate
        return self.codes.duration_s if self.codes is not None else 0.0

    @property
    def sounding(self) -> int:
        """How many codebooks ``sound`` is decoded from."""
        return len(self.codebooks)

    @property
    def is_mix(self) -> bool:
        """Whether these are others than the first so many."""
        return self.codebooks != tuple(range(len(self.codebooks)))

    @property
    def is_from_tokens(self) -> bool:
        """Whether the tokens were read from a file rather than made here."""
        return self.entry is not None and self.entry.tokens is not None

    @property
    def is_edited(self) -> bool:
        """Whether the tokens tell of edits: then no encoding brings them back."""
        return self.codes is not None and bool(edits(self.codes))

    def as_take(self) -> Take | None:
        """The reconstruction as it is now, to be kept; None while it is not whole."""
        if self.sound is None or self.sound_envelope is None or not self.is_complete:
            return None
        title = f"{'mix of ' if self.is_mix else ''}{self.sounding} codebook{'' if self.sounding == 1 else 's'}"
        return Take(self.sound, self.sound_envelope, title, self.codes)

    def suggested_name(self, kind: str) -> str:
        """A file name for "tokens", "audio" or a "report" that says what is in it."""
        stem = self.entry.path.stem if self.entry is not None else "recording"
        if self.is_edited and not stem.endswith(".edited"):
            stem += ".edited"
        if kind == "tokens":
            return f"{stem}.npz"
        return f"{stem}.mimi-{'mix-' if self.is_mix else ''}{self.sounding}.{'html' if kind == 'report' else 'wav'}"


@dataclass(frozen=True)
class Take:
    """What stands in for the original as side A: another reconstruction, or the untouched file."""

    samples: np.ndarray  # float32 [T], of a file also [T, 2]
    envelope: Envelope
    title: str
    codes: Codes | None = None  # what it was decoded from
    sample_rate: int = 0  # a file's own; 0: the codec's

    @property
    def is_file(self) -> bool:
        """Whether it is the recording's own file."""
        return self.sample_rate > 0
