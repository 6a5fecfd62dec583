"""Measures what each codebook changes in the mix that is heard, one after the other, over the loop. GUI thread only.

Each codebook is one short job on the codec thread and one on the analysis thread, so that a wish of the person's never
waits for more than one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.codes import Codes
from mimi_gui.remix import URGENT_FRAMES
from mimi_gui.ui.codec_jobs import ModelChoice, check_match, ensure_codec
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.analysis.levels import LevelEffect

MOST_S = 15.0  # a longer loop, or none, is measured over its first so many seconds
_CONTEXT_FRAMES = 25  # before the span: 50 dB between it and the sound decoded from the start


@dataclass(frozen=True)
class WarmUp(Job):
    """Decode once what a mute makes a codec decode, where one is loaded: the first mute would else take far longer,
    as a codec orders its weights for each number of frames when it first comes. Result: None."""

    def run(self, desk: Desk) -> None:
        codec = desk.held()
        if codec is not None:
            for num_frames in URGENT_FRAMES:
                desk.check_cancelled()
                codec.stream_decoder(2).push(np.zeros((2, num_frames), np.int16))


@dataclass(frozen=True)
class DecodeSpan(Job):
    """Decode some codebooks of frames ``[start, stop)`` with context before them. Result: float32 [T]."""

    choice: ModelChoice
    codes: Codes
    codebooks: tuple[int, ...]
    start: int
    stop: int

    def run(self, desk: Desk) -> np.ndarray:
        codec = ensure_codec(desk, self.choice)
        info = codec.info
        check_match(self.codes, info, "What is open", self.choice.title)
        if not self.codebooks:
            return np.zeros((self.stop - self.start) * info.frame_size, np.float32)
        first = max(self.start - _CONTEXT_FRAMES, 0)
        rows = self.codes.array[: max(self.codebooks) + 1, first : self.stop]
        sound = codec.decode(rows, codebooks=self.codebooks, chunk_frames=25, cancel=desk.is_cancelled)
        return sound[(self.start - first) * info.frame_size :]


@dataclass(frozen=True)
class MeasureLevel(Job):
    """Compare the mix with and without one codebook. Result: LevelEffect."""

    codebook: int
    with_it: np.ndarray  # float32 [T]
    without_it: np.ndarray  # float32 [T]
    original: np.ndarray | None  # float32 [T]
    sample_rate: int
    in_mix: bool

    def run(self, desk: Desk) -> LevelEffect:
        from mimi_gui.analysis.levels import level_effect

        return level_effect(
            self.codebook, self.with_it, self.without_it, self.original, self.sample_rate,
            in_mix=self.in_mix, cancel=desk.is_cancelled,
        )  # fmt: skip


class LevelStudy(QObject):
    """See the module's docstring.

    Signals:
        changed(object, object, object): the effects so far, a tuple; how many, of how many (0 of 0 at rest).
        noticed(object): Notice.

    Attributes:
        span_s: what was measured, in seconds; None before.
    """

    changed = Signal(object, object, object)
    noticed = Signal(object)

    def __init__(
        self, session: Session, codec: WorkerThread, measuring: WorkerThread, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._codec, self._measuring = session, codec, measuring
        self.span_s: tuple[float, float] | None = None
        self._effects: tuple[LevelEffect, ...] = ()
        self._waiting: list[int] = []
        self._total = 0
        self._job: int | None = None
        self._mix: tuple[int, ...] = ()
        self._frames = (0, 0)
        self._base: np.ndarray | None = None
        session.source_changed.connect(self.forget)
        session.codes_changed.connect(self.forget)
        for thread in (codec, measuring):
            thread.finished.connect(self._finished)
            thread.failed.connect(self._failed)

    def start(self, loop_s: tuple[float, float] | None) -> None:
        """Measure over ``loop_s`` in seconds (None: from the start of the recording)."""
        document = self._session.document
        codes = document.codes
        if codes is None or codes.num_frames == 0:
            return
        self.forget()
        info = document.info
        start_s, end_s = loop_s or (0.0, document.duration_s)
        first = min(info.s_to_frame(start_s), codes.num_frames - 1)
        last = min(info.s_to_frame(min(end_s, start_s + MOST_S)), codes.num_frames)
        self._frames = (first, max(last, first + 1))
        self.span_s = (info.frame_to_s(first), info.frame_to_s(self._frames[1]))
        self._mix = self._session.wanted
        self._waiting = list(range(codes.num_codebooks))
        self._total = len(self._waiting)
        self._decode(self._mix)

    def cancel(self) -> None:
        """Stop; what was measured stays."""
        self._stop()
        self._tell()

    @Slot()
    def forget(self) -> None:
        """Stop, and throw away what was measured."""
        self._stop()
        self._effects, self.span_s, self._base = (), None, None
        self._tell()

    def _stop(self) -> None:
        self._codec.cancel(self._job)
        self._measuring.cancel(self._job)
        self._job, self._waiting, self._total = None, [], 0

    def _tell(self) -> None:
        self.changed.emit(self._effects, self._total - len(self._waiting), self._total)

    def _decode(self, codebooks: tuple[int, ...]) -> None:
        codes = self._session.document.codes
        self._tell()
        if codes is not None:
            self._job = self._codec.submit(DecodeSpan(self._session.choice, codes, codebooks, *self._frames))

    def _decode_next(self) -> None:
        if self._waiting:
            k = self._waiting[0]
            self._decode(tuple(sorted(set(self._mix) ^ {k})))
        else:
            self._total = 0
            self._tell()

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number != self._job:
            return
        self._job = None
        if isinstance(result, np.ndarray):
            if self._base is None:
                self._base = result
                self._decode_next()
            else:
                self._measure(self._base, result)
            return
        self._effects = (*self._effects, result)  # pyright: ignore[reportAttributeAccessIssue] - a LevelEffect
        self._waiting.pop(0)
        self._decode_next()

    def _measure(self, base: np.ndarray, toggled: np.ndarray) -> None:
        k, info, recording = self._waiting[0], self._session.document.info, self._session.document.recording
        original = None
        if recording is not None:
            start = self._frames[0] * info.frame_size
            original = recording.waveform.samples[start : start + len(base)]
            base, toggled = base[: len(original)], toggled[: len(original)]  # the last frame is padded
        with_it, without_it = (base, toggled) if k in self._mix else (toggled, base)
        job = MeasureLevel(k, with_it, without_it, original, info.sample_rate, k in self._mix)
        self._job = self._measuring.submit(job)

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._job:
            self.cancel()
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic="analysis"))
