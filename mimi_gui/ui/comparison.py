"""The eye's side of a finished comparison: difference, errors, numbers and the K-ladder, made when they are asked for.

Lives in the GUI thread; submits jobs to the analysis thread (and a ladder's decodings to the codec thread, one rung
at a time, so that a wish of the person's never waits for more than one). Results of a recording that is no longer
open, or of another reconstruction, are dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.analysis_jobs import (
    DecodeRung,
    Errors,
    FindErrors,
    MeasureNumbers,
    MeasureRung,
    Numbers,
    SaveReport,
    Subtract,
)
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.roles import Roles
from mimi_gui.ui.session import Session
from mimi_gui.ui.worker import Failure, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.analysis.ladder import Ladder
    from mimi_gui.analysis.spectrogram import SpectrogramSettings


class Comparison(QObject):
    """See the module's docstring. What is wanted stays wanted: it is made again for each new reconstruction.

    Attributes:
        errors, numbers, ladder: what holds now, or None; for those who come after it was told.
    """

    sounds_changed = Signal(object, object, object)  # a, b: float32 [T] or None; sample rate
    difference_changed = Signal(object)  # Envelope or None
    errors_changed = Signal(object)  # Errors or None
    numbers_changed = Signal(object)  # Numbers or None
    measuring_changed = Signal(object)  # whether numbers are being measured
    ladder_changed = Signal(object, object, object)  # Ladder or None, rungs done, rungs in all
    noticed = Signal(object)  # Notice
    report_saved = Signal(object)  # Path
    moment_stepped = Signal(object)  # place in `errors.moments`: loop this one

    def __init__(
        self, session: Session, codec: WorkerThread, measuring: WorkerThread, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._codec, self._measuring = session, codec, measuring
        self._wants: set[str] = set()  # "difference", "errors"
        self._metric = "log_mel"
        self._roles = Roles(codec, measuring, self)
        self.errors: Errors | None = None
        self.numbers: Numbers | None = None
        self.ladder: Ladder | None = None
        self.moment = -1  # the worst moment that was chosen last
        self._step = 0  # a step that waits for the moments to be found
        self._rungs: list[int] = []
        self._num_rungs = 0
        session.source_changed.connect(self._forget)
        session.sound_changed.connect(self._outdate)
        session.codes_changed.connect(self._forget_ladder)
        session.finished.connect(self._complete)
        for thread in (codec, measuring):
            thread.finished.connect(self._finished)
            thread.failed.connect(self._failed)

    @property
    def _pair(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Both sides, float32 [T], as soon as both are whole."""
        document = self._session.document
        if document.recording is None or document.sound is None or not document.is_complete:
            return None
        a, b = document.recording.waveform.samples, document.sound
        length = min(len(a), len(b))  # a foreign token file knows whole frames only
        return a[:length], b[:length]

    def want(self, what: str) -> None:
        """Make "difference" or "errors" now and for every reconstruction from now on."""
        if what not in self._wants:
            self._wants.add(what)
            self._make(what)

    def set_metric(self, metric: str) -> None:
        """Find errors by another metric, a key of STRIP_METRICS."""
        self._metric = metric
        self._make("errors")

    def step_moment(self, by: int) -> None:
        """Go to the next (1) or previous (-1) worst moment, from the last on the first; find them first if need be."""
        moments = () if self.errors is None else self.errors.moments
        if not moments:
            self._step = by if self.errors is None and self._pair is not None else 0
            self.want("errors")
            return
        self.moment = (max(self.moment, 0 if by < 0 else -1) + by) % len(moments)
        self.moment_stepped.emit(self.moment)

    def measure(self, span: tuple[float, float] | None) -> None:
        """Measure the numbers of the whole, and of ``span`` in seconds."""
        pair, codes = self._pair, self._session.document.codes
        if pair is not None and codes is not None:
            heard = codes.first(max(self._session.document.codebooks, default=0) + 1)
            self._roles.submit("numbers", self._measuring, MeasureNumbers(*pair, heard, span))
            self.measuring_changed.emit(True)

    def cancel_measuring(self) -> None:
        """Stop measuring the numbers."""
        self._roles.drop("numbers")
        self.measuring_changed.emit(False)

    @property
    def can_report(self) -> bool:
        """Whether both sides and the tokens are there and whole."""
        return self._pair is not None and self._session.document.codes is not None

    def save_report(self, path: Path, spectrogram: SpectrogramSettings) -> None:
        """Write a page with figures, numbers and both sounds to ``path``, over what is there."""
        document, pair = self._session.document, self._pair
        if pair is None or document.codes is None or document.recording is None:
            return
        heard = document.codes.first(max(document.codebooks, default=0) + 1)
        settings: dict[str, object] = {
            "recording": str(document.recording.path), "codebooks": document.sounding, "bitrate":
            f"{document.info.bitrate_kbps(document.sounding):.2f} kbit/s", "checkpoint": document.info.model_name,
            "digest": document.info.digest,
        }  # fmt: skip
        if document.is_mix:
            settings["codebooks heard"] = ", ".join(str(k) for k in document.codebooks)
        numbers = () if self.numbers is None else self.numbers.whole
        strip = None if self.errors is None else self.errors.strip
        title = f"{document.title} through Mimi"
        job = SaveReport(
            path, title, *pair, heard, settings | dict(document.codes.metadata), spectrogram, numbers, strip,
            self.ladder, overwrite=True,
        )  # fmt: skip
        self._roles.submit("report", self._measuring, job)

    def climb(self) -> None:
        """Decode and measure every rung of the ladder, ends first."""
        from mimi_gui.analysis.ladder import Ladder, halving_order

        codes = self._session.document.codes
        if self._pair is None or codes is None:
            return
        self.ladder = Ladder()
        self._rungs = halving_order(range(1, codes.num_codebooks + 1))
        self._num_rungs = len(self._rungs)
        self._next_rung()

    def cancel_climbing(self) -> None:
        """Stop; the rungs that are measured stay."""
        self._rungs = []
        self._roles.drop("rung")
        self._tell_ladder()

    def _next_rung(self) -> None:
        codes = self._session.document.codes
        self._tell_ladder()
        if self._rungs and codes is not None:
            job = DecodeRung(self._session.choice, codes, self._rungs[0])
            self._roles.submit("rung", self._codec, job)

    def _tell_ladder(self) -> None:
        total = self._num_rungs if self._rungs else 0
        self.ladder_changed.emit(self.ladder, total - len(self._rungs), total)

    # The session's facts

    @Slot()
    def _forget(self) -> None:
        self._outdate()
        self._forget_ladder()

    @Slot()
    def _outdate(self) -> None:
        for what in ("difference", "errors", "numbers"):
            self._roles.drop(what)
        self.measuring_changed.emit(False)
        document = self._session.document
        a = document.recording.waveform.samples if document.recording is not None else None
        self.sounds_changed.emit(a, None, document.info.sample_rate)
        self.difference_changed.emit(None)
        self.errors = self.numbers = None
        self.moment, self._step = -1, 0
        self.errors_changed.emit(None)
        self.numbers_changed.emit(None)

    @Slot()
    def _forget_ladder(self) -> None:
        self._rungs, self.ladder, self._num_rungs = [], None, 0
        self._roles.drop("rung")
        self._tell_ladder()

    @Slot()
    def _complete(self) -> None:
        pair = self._pair
        document = self._session.document
        a, b = pair if pair is not None else (None, document.sound)
        self.sounds_changed.emit(a, b, document.info.sample_rate)
        for what in sorted(self._wants):
            self._make(what)

    def _make(self, what: str) -> None:
        pair = self._pair
        if pair is None or what not in self._wants:
            return
        info = self._session.document.info
        if what == "difference":
            self._roles.submit(what, self._measuring, Subtract(*pair, info.sample_rate))
        else:
            self._roles.submit(what, self._measuring, FindErrors(*pair, info, self._metric))

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        role = self._roles.end(number)
        if role is None:
            return
        if isinstance(result, Envelope):
            self.difference_changed.emit(result)
        elif isinstance(result, Errors):
            self.errors, self.moment = result, -1
            self.errors_changed.emit(result)
            if self._step:
                by, self._step = self._step, 0
                self.step_moment(by)
        elif isinstance(result, Numbers):
            self.numbers = result
            self.measuring_changed.emit(False)
            self.numbers_changed.emit(result)
        elif isinstance(result, Path):
            self.report_saved.emit(result)
        elif isinstance(result, np.ndarray):
            pair = self._pair
            if pair is not None and self._rungs:
                info = self._session.document.info
                a, b = pair[0], result[: len(pair[0])]
                self._roles.submit("rung", self._measuring, MeasureRung(a, b, info, self._rungs[0]))
        elif role == "rung" and self.ladder is not None and self._rungs:
            self.ladder = self.ladder.with_rung(result)  # pyright: ignore[reportArgumentType] - a Rung
            self._rungs.pop(0)
            self._next_rung()

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        role = self._roles.end(number)
        if role is None:
            return
        if role == "rung":
            self._rungs = []
            self._tell_ladder()
        elif role == "numbers":
            self.measuring_changed.emit(False)
        self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic="analysis"))
