"""The recording page and the live page: built when first wanted, put over the comparison and taken away again.

What they record is saved by jobs on the files thread and opened like anything else. GUI thread only.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QStackedWidget, QWidget

from mimi_gui.recording import RecordedTake, Recorder
from mimi_gui.sound_watch import SoundDevices
from mimi_gui.takes import UnfinishedTake, finish_take, takes_folder
from mimi_gui.ui.device_watch import DeviceWatch
from mimi_gui.ui.microphone import Microphone
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.record_page import RecordPage
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.take_jobs import FindUnfinished, FinishTake, RecoverTakes, TakeReady
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import format_time
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.ui.live_control import LiveControl
    from mimi_gui.ui.live_page import LivePage

_TOPIC = "take"


@dataclass(frozen=True)
class _ImportLive(Job):
    """Import what the live page needs of scipy away from the window. Result: None."""

    def run(self, desk: Desk) -> None:
        import_module("mimi_gui.analysis.running_spectrogram")


class SoundPages(QObject):
    """See the module's docstring.

    Attributes:
        microphone: what the recording page shows; there from the start, opened with the page.
        record_page, live_page: None until they are first shown.

    Signals:
        noticed(object), settled(object): as the session's.
        help_requested(str): a heading of TROUBLESHOOTING.md.
    """

    noticed = Signal(object)
    settled = Signal(object)
    help_requested = Signal(str)

    def __init__(
        self,
        stack: QStackedWidget,
        session: Session,
        transport: Transport,
        watch: DeviceWatch,
        settings: SettingsStore,
        codec: WorkerThread,
        files: WorkerThread,
        theme: Theme,
        parent: QObject | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(parent)
        self._stack, self._session, self._transport, self._watch = stack, session, transport, watch
        self._settings, self._codec, self._files, self._theme = settings, codec, files, theme
        self.microphone = Microphone(settings, recorder, parent=self)
        self.record_page: RecordPage | None = None
        self.live_page: LivePage | None = None
        self.live: LiveControl | None = None
        self._under: QWidget | None = None  # what the page covers
        self._jobs: dict[int, str] = {}
        self._unfinished: tuple[UnfinishedTake, ...] = ()
        self._waiting: Path | None = None  # a take that was finished while something else was looked at
        self.microphone.taken.connect(self._taken)
        self.microphone.changed.connect(self._microphone_changed)
        watch.looked.connect(self._looked)
        files.finished.connect(self._finished)
        files.failed.connect(self._failed)
        stack.currentChanged.connect(self._page_changed)

    @property
    def is_shown(self) -> bool:
        """Whether one of the two covers the comparison."""
        return self._stack.currentWidget() in (self.record_page, self.live_page)

    # Wishes

    def start(self) -> None:
        """Look for takes that a crash left."""
        self._submit(FindUnfinished(takes_folder(self._settings.value.takes_folder)), "find")

    @Slot(str)
    def show_page(self, name: str) -> None:
        """Do what an action or a notice wishes; see ``Commands.page_requested``."""
        {
            "record": self.show_record, "live": self.show_live, "open-take": self.open_waiting,
            "recover-takes": self.recover,
        }[name]()  # fmt: skip

    def show_record(self) -> None:
        """Record."""
        if self.record_page is None:
            page = self.record_page = RecordPage(self.microphone, self._settings, self._theme)
            self._add(page)
        self._show(self.record_page)

    def show_live(self) -> None:
        """Hear yourself through Mimi."""
        if self.live_page is not None:
            self._show(self.live_page)
        elif "live" not in self._jobs.values():
            self._submit(_ImportLive(), "live")

    def _build_live(self) -> None:
        from mimi_gui.ui.live_control import LiveControl
        from mimi_gui.ui.live_page import LivePage

        self.live = LiveControl(self._session, self._codec, self._files, self._settings, self)
        self.live.kept.connect(self._live_kept)
        page = self.live_page = LivePage(self.live, self._settings, self._theme)
        self._add(page)

    def _add(self, page: RecordPage | LivePage) -> None:
        page.left.connect(self.leave)
        page.help_requested.connect(self.help_requested)
        page.rescan_requested.connect(self._watch.look)
        page.set_devices(self._watch.devices)
        self._stack.addWidget(page)

    def _show(self, page: QWidget) -> None:
        if not self.is_shown:
            self._under = self._stack.currentWidget()
        if self._transport.player.is_playing:
            self._transport.toggle_play()  # the microphone would hear it
        self._watch.look()
        self._stack.setCurrentWidget(page)

    @Slot()
    def leave(self) -> None:
        """Go back to what was there before; a running take goes on."""
        if self.is_shown and self._under is not None:
            self._stack.setCurrentWidget(self._under)

    def recover(self) -> None:
        """Open what a crash left."""
        if self._unfinished:
            self._submit(RecoverTakes(self._unfinished), "recover")
            self._unfinished = ()
            self.settled.emit(_TOPIC)

    def open_waiting(self) -> None:
        """Open the take that was finished meanwhile."""
        if self._waiting is not None:
            self._session.open([self._waiting])
            self._waiting = None
            self.settled.emit(_TOPIC)

    # Facts

    @Slot(object)
    def _taken(self, take: RecordedTake) -> None:
        note = self.microphone.problem if take.ended_early else ""
        self._submit(FinishTake(take.path, take.clip, self._settings.value.keeps_heard, note), "take")

    @Slot()
    def _microphone_changed(self) -> None:
        if not self.microphone.is_taking and self._waiting is None:
            self.settled.emit("recording")

    @Slot(int)
    def _page_changed(self, index: int) -> None:
        if self._stack.currentWidget() is self.record_page:
            self.settled.emit("recording")
        elif self.microphone.is_taking:
            actions = (("Back to it", "record"),)
            self.noticed.emit(Notice("info", "The recording goes on.", actions=actions, topic="recording"))

    @Slot(object, object)
    def _looked(self, found: SoundDevices, before: SoundDevices) -> None:
        for page in (self.record_page, self.live_page):
            if page is not None:
                page.set_devices(found)
        page, microphone = self.record_page, self.microphone
        if page is None or not page.isVisible():
            return
        is_other = before.default_input not in ("", found.default_input) and not self._settings.value.input_device
        if microphone.state == "failed" and found.inputs:
            microphone.open()  # what was missing may be there again
        elif microphone.state == "ready" and is_other and not found.follows:
            microphone.open()  # the system's choice is another one now; a take that runs stays where it is

    @Slot(object)
    def _live_kept(self, files: object) -> None:
        from mimi_gui.ui.take_jobs import LiveKept

        if isinstance(files, LiveKept):
            self._session.open([files.source, files.tokens])

    # Jobs

    def _submit(self, job: Job, what: str) -> None:
        self._jobs[self._files.submit(job)] = what

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        what = self._jobs.pop(number, None)
        if what == "live":
            self._build_live()
            self.show_live()
        elif what == "find" and isinstance(result, tuple) and result:
            self._offer(result)
        elif what == "recover" and isinstance(result, tuple):
            self._session.open(result)
        elif isinstance(result, TakeReady) and what == "take":
            self._take_ready(result)

    def _take_ready(self, ready: TakeReady) -> None:
        page = self.record_page
        if page is not None and page.isVisible():
            self._session.open([ready.path])
            if ready.note:
                self.noticed.emit(Notice("warning", ready.note, "Nothing is recorded", topic=_TOPIC))
            return
        self._waiting = ready.path
        words = f"{ready.note} " if ready.note else ""
        actions = (("Open it", "open-take"),)
        words += f"The recording is kept as {ready.path.name}."
        self.noticed.emit(Notice("warning" if ready.note else "info", words, actions=actions, topic=_TOPIC))

    def _offer(self, found: tuple[UnfinishedTake, ...]) -> None:
        self._unfinished = found
        newest = found[-1]
        if len(found) == 1:
            words = (
                f"The program ended while it was recording ({newest.begun_at}): {format_time(newest.duration_s, 1)} of"
                " the take are safe."
            )
        else:
            words = f"The program ended while it was recording: {len(found)} takes are safe, up to where it ended."
        actions = (("Open" if len(found) == 1 else "Open them", "recover-takes"),)
        self.noticed.emit(Notice("info", words, "Nothing is recorded", actions=actions, topic=_TOPIC))

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        what = self._jobs.pop(number, None)
        if what is not None:
            self.noticed.emit(
                Notice("error", failure.message, failure.hint or "Nothing is recorded", failure.details, topic=_TOPIC)
            )

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        for page in (self.record_page, self.live_page):
            if page is not None:
                page.set_theme(theme)

    def close(self) -> None:
        """The window closes: a running take is ended, and is whole when this returns."""
        take = self.microphone.finish_now()
        if take is not None and take.num_samples:
            finish_take(take.path)  # the files thread may have a long job before it
        if self.live is not None:
            self.live.close()
