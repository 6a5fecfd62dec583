"""The live page's side of a session: start, mute, choose codebooks, end, keep.

Lives in the GUI thread. The session itself runs on the codec thread (:mod:`mimi_gui.ui.live_jobs`); a timer tells
when to look at its figures.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from mimi_gui.live import LiveFigures
from mimi_gui.takes import takes_folder
from mimi_gui.ui.live_jobs import LiveEnded, LiveRunning, RunLive
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.take_jobs import KeepLive, LiveKept
from mimi_gui.ui.worker import Failure, WorkerThread

_TICK_MS = 80  # a frame; drawing more often would take the time from the codec
_MOST_OF_A_FRAME = 0.6  # that the codec takes; beyond, every second frame is drawn, so that none is late for a picture

IDLE, STARTING, RUNNING, STOPPING, ENDED = ("idle", "starting", "running", "stopping", "ended")


class LiveControl(QObject):
    """See the module's docstring.

    Attributes:
        state: one of the names above; "ended" while something can be kept.
        running: what runs or ran last, for the views; None before the first session.
        ended: what the last session left, None while one runs.
        problem: why it did not start, or ended by itself; one sentence or "".

    Signals:
        changed(): state, problem, codebooks or mute.
        ticked(): figures and views; once a frame while it runs, or every second one where the codec has little time.
        kept(object): LiveKept, the files of a session.
    """

    changed = Signal()
    ticked = Signal()
    kept = Signal(object)

    def __init__(
        self,
        session: Session,
        codec: WorkerThread,
        files: WorkerThread,
        settings: SettingsStore,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._codec, self._files, self._settings = session, codec, files, settings
        self.state = IDLE
        self.problem = ""
        self.running: LiveRunning | None = None
        self.ended: LiveEnded | None = None
        self.is_muted = False
        self.codebooks = tuple(range(session.num_codebooks))
        self._job: int | None = None
        self._keeping: int | None = None
        self._interrupts = False
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        for thread in (codec, files):
            thread.delivered.connect(self._delivered)
            thread.finished.connect(self._finished)
            thread.failed.connect(self._failed)
            thread.cancelled.connect(self._cancelled)

    # Wishes

    def start(self, *, muted: bool) -> None:
        """Open the devices and let the sound through; with ``muted``, only look."""
        if self.state not in (IDLE, ENDED) or self._job is not None:
            return
        if self._session.is_making and self._session.model_state == "ready":
            self._session.cancel()  # the codec is one: an encoding would be in the way; it is made again afterwards
            self._interrupts = True
        self.problem, self.running, self.ended, self.is_muted = "", None, None, muted
        value = self._settings.value
        job = RunLive(self._session.choice, value.input_device, value.output_device, self.codebooks, muted)
        self._job = self._codec.submit(job)
        self._set_state(STARTING)

    def stop(self) -> None:
        """End the session; what was heard can be kept then."""
        if self._job is not None:
            self._codec.cancel(self._job)
            self._set_state(STOPPING)

    def set_muted(self, muted: bool) -> None:
        """Go on without sound, or with it."""
        self.is_muted = muted
        if self.running is not None and self.state == RUNNING:
            self.running.loop.set_muted(muted)
        self.changed.emit()

    def set_codebooks(self, codebooks: tuple[int, ...]) -> None:
        """Let these sound, by number from 0, from the next frame on."""
        self.codebooks = tuple(codebooks)
        if self.running is not None and self.state == RUNNING:
            self.running.loop.set_codebooks(self.codebooks)
        self.changed.emit()

    def keep(self) -> None:
        """Save the tokens and both sounds of the session that has ended; ``kept`` follows."""
        if self.ended is not None and self.ended.take is not None and self._keeping is None:
            folder = takes_folder(self._settings.value.takes_folder)
            self._keeping = self._files.submit(KeepLive(folder, self.ended.take))
            self.changed.emit()

    # Facts

    @property
    def is_keeping(self) -> bool:
        """Whether files are being written."""
        return self._keeping is not None

    @property
    def can_keep(self) -> bool:
        """Whether the last session left something that is not being saved already."""
        return self.ended is not None and self.ended.take is not None and not self.is_keeping

    @property
    def figures(self) -> LiveFigures:
        """Of the session that runs, or ran last."""
        if self.ended is not None:
            return self.ended.figures
        return self.running.loop.figures if self.running is not None else LiveFigures()

    @property
    def num_frames(self) -> int:
        """Frames whose tokens are there."""
        return self.running.loop.codes.shape[1] if self.running is not None else 0

    @Slot()
    def _tick(self) -> None:
        figures = self.figures
        is_tight = figures.busy_s > _MOST_OF_A_FRAME * figures.frame_s > 0
        interval_ms = 2 * _TICK_MS if is_tight else _TICK_MS
        if self._timer.interval() != interval_ms:
            self._timer.setInterval(interval_ms)
        self.ticked.emit()

    # Jobs

    def _set_state(self, state: str) -> None:
        self.state = state
        if state == RUNNING:
            self._timer.start()
        else:
            self._timer.stop()
        if state in (IDLE, ENDED) and self._interrupts:
            self._interrupts = False
            self._session.make_again()
        self.changed.emit()

    @Slot(object, object)
    def _delivered(self, number: int, part: object) -> None:
        if number == self._job and isinstance(part, LiveRunning):
            self.running = part
            part.loop.set_muted(self.is_muted)
            part.loop.set_codebooks(self.codebooks)
            if self.state == STARTING:
                self._set_state(RUNNING)

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._job and isinstance(result, LiveEnded):
            self._job = None
            self.ended, self.problem = result, result.error
            self._set_state(ENDED)
            self.ticked.emit()
        elif number == self._keeping and isinstance(result, LiveKept):
            self._keeping = self.ended = None
            self._set_state(IDLE)
            self.kept.emit(result)

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number == self._job:
            self._job = None
            self.problem = failure.message
            self._set_state(IDLE)
        elif number == self._keeping:
            self._keeping = None
            self.problem = failure.message
            self.changed.emit()

    @Slot(object)
    def _cancelled(self, number: int) -> None:
        if number == self._job:  # before it had its devices
            self._job = None
            self._set_state(IDLE)

    def close(self) -> None:
        """The window closes."""
        self._timer.stop()
        self._codec.cancel(self._job)
