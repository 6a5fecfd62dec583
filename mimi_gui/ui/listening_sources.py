"""What can be compared in a listening test, and how it becomes something to play.

GUI thread only; decoding and measuring happen on the worker threads, one job after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import Codes
from mimi_gui.ui.analysis_jobs import DecodeRung
from mimi_gui.ui.document import Document, Take
from mimi_gui.ui.listening_jobs import Prepared, PrepareStimuli, Source
from mimi_gui.ui.session import Session
from mimi_gui.ui.worker import Failure, Progress, WorkerThread

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_DEFAULT_SPAN_S = 6.0
# Frames before the loop that are decoded with it: eight layers that look back 250 frames each, and the convolutions.
# What comes before cannot reach the loop, so an hour costs no more than its last three minutes.
_CONTEXT_FRAMES = 2100
MIN_SPAN_S, MAX_SPAN_S = 0.5, 60.0


def codebook_words(count: int) -> str:
    """8 -> "8 codebooks"."""
    return f"{count} codebook{'' if count == 1 else 's'}"


def sources(document: Document, takes: Sequence[Take]) -> list[Source]:
    """All that can be compared: originals first, then what is decoded, then the takes that were kept."""
    found: list[Source] = []
    recording = document.recording
    if recording is not None:
        waveform = recording.waveform
        found.append(Source("What Mimi heard", waveform.samples, waveform.sample_rate))
        source = waveform.source
        if source is not None and (source.num_channels > 1 or source.sample_rate != waveform.sample_rate):
            channels = "stereo" if source.num_channels == 2 else f"{source.num_channels} channels"
            kind = f"{source.sample_rate / 1000:g} kHz {'mono' if source.num_channels == 1 else channels}"
            wider = source.num_channels > 1 or source.sample_rate > waveform.sample_rate
            found.append(Source(f"Original file, {kind}", None, 0, path=recording.path, is_wider=wider))
    if document.sound is not None and document.is_complete and document.is_mix:
        title = f"Reconstruction, mix of {codebook_words(document.sounding)}"
        found.append(Source(title, document.sound, document.info.sample_rate, document.sounding))
    found += levels(document)
    found += [
        Source(f"Take {number}, {take.title}", take.samples, document.info.sample_rate)
        for number, take in enumerate(takes, 1)
    ]
    return found


def levels(document: Document) -> list[Source]:
    """Reconstructions with 1, 2, 3 ... codebooks, as far as there are tokens; the one that sounds is not decoded
    again.
    """
    codes = document.codes
    if codes is None:
        return []
    most = codes.num_codebooks
    heard = {document.sounding} if document.sounding and not document.is_mix else set()
    found = []
    for count in sorted({*(level for level in LEVELS if level < most), most, *heard}):
        sounds = document.is_complete and not document.is_mix and document.sounding == count
        samples = document.sound if sounds else None
        found.append(Source(f"Reconstruction, {codebook_words(count)}", samples, document.info.sample_rate, count))
    return found


def default_span(envelope: Envelope | None, duration_s: float, loop: tuple[float, float] | None) -> tuple[float, float]:
    """The loop that is selected, else about six seconds where the most is going on."""
    if loop is not None and loop[1] - loop[0] >= MIN_SPAN_S:
        return loop[0], min(loop[1], loop[0] + MAX_SPAN_S)
    span = min(_DEFAULT_SPAN_S, duration_s)
    if envelope is None or span >= duration_s:
        return 0.0, span
    t, low, high = envelope.visible(0.0, duration_s, 400)
    if len(t) < 2:
        return 0.0, span
    width = max(round(span / duration_s * len(t)), 1)
    energy = np.concatenate([[0.0], np.cumsum((high - low).astype(np.float64))])
    sums = energy[width:] - energy[:-width]
    start = min(float(t[int(np.argmax(sums))]), duration_s - span)
    return max(math.floor(start * 100) / 100, 0.0), max(math.floor(start * 100) / 100, 0.0) + span


def shortened(codes: Codes, span_s: tuple[float, float]) -> tuple[Codes, int]:
    """What of ``codes`` can be heard in ``span_s``, and the sample of the recording that it begins at."""
    info = codes.info
    first = max(0, math.floor(span_s[0] * info.frame_rate) - _CONTEXT_FRAMES)
    last = min(codes.num_frames, math.ceil(span_s[1] * info.frame_rate) + 1)
    offset = info.num_samples(first)
    num_samples = min(codes.num_samples, info.num_samples(last)) - offset
    return replace(codes, array=codes.array[:, first:last], num_samples=num_samples), offset


class Preparation(QObject):
    """Makes stimuli: decodes what has to be decoded, then cuts and levels all of them.

    What was decoded stays for the next time, as long as it is the same part of the same tokens.
    """

    progressed = Signal(str)
    ready = Signal(object)  # Prepared
    failed = Signal(object)  # Failure

    def __init__(
        self, session: Session, codec: WorkerThread, measuring: WorkerThread, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._codec, self._measuring = session, codec, measuring
        self._decoded: dict[tuple[int, ...], np.ndarray] = {}  # (codes, offset, frames, codebooks) -> float32 [T]
        self._waiting: list[Source] = []
        self._sources: list[Source] = []
        self._span_s = (0.0, 1.0)
        self._rate, self._is_mono = 0, False
        self._match, self._with_anchor = True, False
        self._number: int | None = None
        for thread in (codec, measuring):
            thread.finished.connect(self._finished)
            thread.failed.connect(self._job_failed)
        codec.progressed.connect(self._job_progressed)

    @property
    def is_running(self) -> bool:
        return self._number is not None

    def start(
        self,
        chosen: Sequence[Source],
        span_s: tuple[float, float],
        rate: int,
        *,
        match: bool,
        with_anchor: bool,
        is_mono: bool = False,
    ) -> None:
        """Prepare ``chosen`` (the reference first) over ``span_s`` for a card of ``rate`` Hz and one channel or two."""
        self.cancel()
        self._span_s, self._rate, self._is_mono = span_s, rate, is_mono
        self._match, self._with_anchor = match, with_anchor
        self._sources = [self._from_store(source) for source in chosen]
        self._waiting = [source for source in self._sources if source.is_decoded]
        self._next()

    def cancel(self) -> None:
        """Stop; nothing more is told of what was asked for."""
        number, self._number = self._number, None
        self._codec.cancel(number)
        self._measuring.cancel(number)

    def needs_decoding(self, chosen: Sequence[Source], span_s: tuple[float, float]) -> bool:
        """Whether the codec has work to do first."""
        self._span_s = span_s
        return any(self._from_store(source).is_decoded for source in chosen)

    def _from_store(self, source: Source) -> Source:
        codes = self._session.document.codes
        if not source.is_decoded or codes is None:
            return source
        part, offset = shortened(codes, self._span_s)
        samples = self._decoded.get((id(codes), offset, part.num_frames, source.num_codebooks))
        return source if samples is None else replace(source, samples=samples, offset=offset)

    def _next(self) -> None:
        codes = self._session.document.codes
        if self._waiting and codes is not None:
            source = self._waiting[0]
            done = sum(not other.is_decoded for other in self._sources)
            self.progressed.emit(
                f"Decoding {source.title[0].lower()}{source.title[1:]} ({done + 1} of {len(self._sources)}) …"
            )
            part, _ = shortened(codes, self._span_s)
            self._number = self._codec.submit(DecodeRung(self._session.choice, part, source.num_codebooks))
            return
        self.progressed.emit("Matching levels, measuring the delay …")
        recording = self._session.document.recording
        path: Path | None = recording.path if recording is not None else None
        self._number = self._measuring.submit(
            PrepareStimuli(
                tuple(self._sources), self._span_s, self._rate, self._match, self._with_anchor, self._is_mono, path
            )
        )

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number != self._number:
            return
        self._number = None
        if isinstance(result, np.ndarray):
            source, codes = self._waiting.pop(0), self._session.document.codes
            assert codes is not None
            part, offset = shortened(codes, self._span_s)
            place = (offset, part.num_frames)  # another place's are let go: they may be large
            self._decoded = {key: found for key, found in self._decoded.items() if key[1:3] == place}
            self._decoded[id(codes), offset, part.num_frames, source.num_codebooks] = result
            self._sources = [self._from_store(one) for one in self._sources]
            self._next()
        elif isinstance(result, Prepared):
            self.ready.emit(result)

    @Slot(object, object)
    def _job_failed(self, number: int, failure: Failure) -> None:
        if number == self._number:
            self._number = None
            self.failed.emit(failure)

    @Slot(object, object)
    def _job_progressed(self, number: int, progress: Progress) -> None:
        if number == self._number and progress.text.startswith("Loading"):
            self.progressed.emit(progress.text)
