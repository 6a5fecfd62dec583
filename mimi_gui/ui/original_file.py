"""The open recording's own file as side A: at its own rate, with its own channels, read when somebody wants to hear it.

Mimi is given 24 kHz and one channel; against the file one hears what that costs, too. GUI thread only; the reading
happens on the analysis thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.audio import AudioInfo, load_native
from mimi_gui.ui.document import Take
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

MOST_BYTES = 1 << 30  # 50 minutes in stereo at 44.1 kHz
_TOPIC = "original file"


@dataclass(frozen=True)
class ReadFile(Job):
    """Read a recording untouched. Result: float32 [T] or [T, 2], and its rate in Hz; more channels become their mean.

    Raises:
        AudioFileError: it cannot be read any more.
    """

    path: Path

    def run(self, desk: Desk) -> tuple[np.ndarray, int]:
        samples, rate = load_native(self.path)
        if samples.shape[1] > 2:
            samples = samples.mean(axis=1, dtype=np.float32)
        samples.flags.writeable = False
        return samples, rate


class OriginalFile(QObject):
    """See the module's docstring.

    Attributes:
        take: the file of what is open, once it was read.

    Signals:
        read(object): the Take.
        noticed(object): a Notice.
    """

    read = Signal(object)
    noticed = Signal(object)

    def __init__(self, session: Session, reading: WorkerThread, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._reading = session, reading
        self.take: Take | None = None
        self._job: int | None = None
        session.source_changed.connect(self._forget)
        reading.finished.connect(self._finished)
        reading.failed.connect(self._failed)

    def ask(self) -> None:
        """Read it, if it was not read yet; ``read`` follows, or a notice."""
        recording = self._session.document.recording
        if self.take is not None:
            self.read.emit(self.take)
        elif recording is None:
            self._tell("Only tokens are open: there is no file of a recording to hear.")
        elif self._job is None:
            source = recording.waveform.source
            if source is not None and 4 * source.num_samples * source.num_channels > MOST_BYTES:
                self._tell("The recording is too long to be held untouched beside everything else: cut a part out of"
                           " it, and open that.")  # fmt: skip
                return
            self._job = self._reading.submit(ReadFile(recording.path))

    def _tell(self, words: str) -> None:
        self.noticed.emit(Notice("info", words, topic=_TOPIC))

    @Slot()
    def _forget(self) -> None:
        self._reading.cancel(self._job)
        self._job = self.take = None

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        recording = self._session.document.recording
        if number != self._job or recording is None:
            return
        self._job = None
        samples, rate = result  # pyright: ignore[reportGeneralTypeIssues] - ReadFile's
        title = file_words(recording.waveform.source, rate, samples)
        self.take = Take(samples, recording.envelope, title, sample_rate=rate)
        self.read.emit(self.take)

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._job:
            self._job = None
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic=_TOPIC))


def file_words(source: AudioInfo | None, rate: int, samples: np.ndarray) -> str:
    """What the file is, as "44.1 kHz stereo"."""
    channels = source.num_channels if source is not None else 1 if samples.ndim == 1 else samples.shape[1]
    words = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels, mixed to one")
    return f"the file, {rate / 1000:g} kHz {words}"
