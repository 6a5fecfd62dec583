"""Runs the stability probe over a part of the recording, one disturbance after the other. GUI thread only.

Each is one job on the codec thread, so that a wish of the person's never waits for more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.ui.codec_jobs import ModelChoice, ensure_codec
from mimi_gui.ui.notices import Notice, missing_model
from mimi_gui.ui.session import Session
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.analysis.probe import Disturbance, Steadiness

MOST_S = 12.0  # a longer loop, or none, is probed over its first so many seconds


@dataclass(frozen=True)
class Probed:
    """One result, and the undisturbed tokens int16 [K, T] for the next one."""

    result: Steadiness
    plain: np.ndarray


@dataclass(frozen=True)
class ProbeOne(Job):
    """Encode a recording under one disturbance and compare. Result: :class:`Probed`."""

    choice: ModelChoice
    samples: np.ndarray  # float32 [T]
    disturbance: Disturbance
    plain: np.ndarray | None  # int16 [K, T]

    def run(self, desk: Desk) -> Probed:
        from mimi_gui.analysis.probe import probe

        codec = ensure_codec(desk, self.choice)

        def encode(samples: np.ndarray) -> np.ndarray:
            return codec.encode(samples, chunk_frames=25, cancel=desk.is_cancelled).array

        plain = encode(self.samples) if self.plain is None else self.plain
        (result,) = probe(
            self.samples, codec.info.frame_size, encode, [self.disturbance], plain=plain, cancel=desk.is_cancelled
        )
        return Probed(result, plain)


class ProbeStudy(QObject):
    """See the module's docstring.

    Signals:
        changed(object, object, object): the results so far (a tuple of Steadiness), how many, of how many; 0 of 0 at
            rest.
        noticed(object): Notice.

    Attributes:
        span_s: what is probed, in seconds; None before.
    """

    changed = Signal(object, object, object)
    noticed = Signal(object)

    def __init__(self, session: Session, codec: WorkerThread, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._codec = session, codec
        self.span_s: tuple[float, float] | None = None
        self._results: tuple[Steadiness, ...] = ()
        self._waiting: list[Disturbance] = []
        self._total = 0
        self._job: int | None = None
        self._samples = np.zeros(0, np.float32)
        self._plain: np.ndarray | None = None
        session.source_changed.connect(self.forget)
        session.model_changed.connect(self._model_changed)
        codec.finished.connect(self._finished)
        codec.failed.connect(self._failed)

    @property
    def results(self) -> tuple[Steadiness, ...]:
        """What was found so far."""
        return self._results

    def start(self, loop_s: tuple[float, float] | None, disturbances: Sequence[Disturbance]) -> None:
        """Probe over ``loop_s`` in seconds (None: from the start); nothing happens without a recording."""
        self.forget()
        document, session = self._session.document, self._session
        if document.recording is None or not disturbances:
            words = "The probe encodes the recording again, and only tokens are open: open the recording itself."
            self.noticed.emit(Notice("warning", words, topic="analysis"))
            return
        if session.model_state not in ("ready", "loading"):
            self.noticed.emit(missing_model(session.choice))
            return
        info, waveform = document.info, document.recording.waveform
        start_s, end_s = loop_s or (0.0, document.duration_s)
        # Whole frames from a whole frame on: the same tokens as at the recording's start, not shifted already.
        first = info.s_to_frame(start_s) * info.frame_size
        last = min(round(min(end_s, start_s + MOST_S) * info.sample_rate), len(waveform.samples))
        if last - first < info.frame_size:
            words = f"The part to probe lasts {(last - first) / info.sample_rate:.2f} s: select at least one frame."
            self.noticed.emit(Notice("warning", words, topic="analysis"))
            return
        self._samples = waveform.samples[first:last]
        self.span_s = (first / info.sample_rate, last / info.sample_rate)
        self._waiting = list(disturbances)
        self._total = len(self._waiting)
        self._next()

    def cancel(self) -> None:
        """Stop; what was found stays."""
        self._stop()
        self._tell()

    @Slot()
    def forget(self) -> None:
        """Stop, and throw away what was found."""
        self._stop()
        self._results, self.span_s, self._plain = (), None, None
        self._tell()

    @Slot()
    def _model_changed(self) -> None:
        if self._session.model_state != "ready":  # other tokens from now on
            self.forget()

    def _stop(self) -> None:
        self._codec.cancel(self._job)
        self._job, self._waiting, self._total = None, [], 0

    def _tell(self) -> None:
        self.changed.emit(self._results, self._total - len(self._waiting), self._total)

    def _next(self) -> None:
        if self._waiting:
            job = ProbeOne(self._session.choice, self._samples, self._waiting[0], self._plain)
            self._job = self._codec.submit(job)
        else:
            self._total = 0
        self._tell()

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._job and isinstance(result, Probed):
            self._plain = result.plain
            self._results = (*self._results, result.result)
            self._waiting.pop(0)
            self._next()

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._job:
            self.cancel()
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic="analysis"))
