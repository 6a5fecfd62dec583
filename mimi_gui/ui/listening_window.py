"""The listening test's own window: setup, the trials, the result. It has the player for itself as long as it is open.

Nothing in it, its title included, depends on which signal is which. GUI thread only; what takes time is done by the
worker threads.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, Slot
from PySide6.QtGui import QCloseEvent, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QStackedWidget, QVBoxLayout, QWidget

from mimi_gui.analysis.blind import Draw
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.document import Take
from mimi_gui.ui.listening_jobs import LogRead, Prepared, ReadLog, SaveLog
from mimi_gui.ui.listening_plan import Plan
from mimi_gui.ui.listening_run import (
    Run,
    Surroundings,
    begin,
    delay_words,
    device_words,
    gain_words,
    level_words,
)
from mimi_gui.ui.listening_setup import SetupPage
from mimi_gui.ui.listening_sources import Preparation, default_span, levels, sources
from mimi_gui.ui.result_page import ResultPage
from mimi_gui.ui.screen_room import fitting
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Failure, WorkerThread

_DEVICE_MS = 500
_HEARD_MS = 30
_SOON_S = 60.0  # decoding up to here is quick enough to be done unasked


class ListeningWindow(QDialog):
    """See the module's docstring. ``draw`` is replaced in tests only."""

    def __init__(
        self,
        kind: str,
        session: Session,
        transport: Transport,
        player: ABPlayer,
        settings: SettingsStore,
        codec: WorkerThread,
        files: WorkerThread,
        measuring: WorkerThread,
        folder: Path,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        takes: Sequence[Take] = (),
        draw: Draw = secrets.randbelow,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Listening test")
        self.setWindowFlag(Qt.WindowType.WindowMaximizeButtonHint)
        self.setModal(True)
        self._session, self._player, self._settings = session, player, settings
        self._files, self._draw, self.theme = files, draw, theme
        self.run: Run | None = None
        self.result_page: ResultPage | None = None
        self._prepared: Prepared | None = None
        self._prepared_for: Plan | None = None
        self._prepared_mono = False
        self._preparing: Plan | None = None
        self._wanted: bool | None = None  # start once prepared: True for training
        self._saving: int | None = None
        self._reading: int | None = None
        self._error = ""
        self._heard: StimulusPlayer | None = None  # in the setup
        self._heard_timer = QTimer(self)
        self._heard_timer.setInterval(_HEARD_MS)
        self._heard_timer.timeout.connect(self._show_heard)
        self.preparation = Preparation(session, codec, measuring, self)
        document = session.document
        envelope = document.recording.envelope if document.recording is not None else document.sound_envelope
        span = default_span(envelope, document.duration_s, transport.loop)
        self.setup = SetupPage(
            theme, kind, sources(document, takes), levels(document), envelope, document.duration_s, span, folder,
            settings.value.listener,
        )  # fmt: skip
        self._envelope = envelope
        self.pages = QStackedWidget()
        self.pages.addWidget(self.setup)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)
        self.resize(fitting(QSize(1120, 700), self.screen().availableSize()))
        self.setMinimumSize(1000, 640)
        self.setup.changed.connect(self._plan_changed)
        self.setup.start_requested.connect(self._start)
        self.setup.close_requested.connect(self.reject)
        self.setup.listen_toggled.connect(self._listen)
        self.preparation.progressed.connect(self.setup.show_busy)
        self.preparation.ready.connect(self._take_prepared)
        self.preparation.failed.connect(self._preparation_failed)
        transport.output.devices_changed.connect(self._devices_changed)
        files.finished.connect(self._file_job_finished)
        files.failed.connect(self._file_job_failed)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(keys), self.setup, self._start_by_key)
        self._device_timer = QTimer(self)
        self._device_timer.setInterval(_DEVICE_MS)
        self._device_timer.timeout.connect(self._show_device)
        self._device_timer.start()
        self._show_device()
        self.setup.start.setFocus()

    # The setup

    @Slot()
    def _show_device(self) -> None:
        """What a press goes through, while the setup is in sight; a device may come and go."""
        if self.pages.currentWidget() is not self.setup:
            return
        player = self._player
        if player.is_open:
            words = device_words(self._device_name(), player.sample_rate, player.latency_s)
        else:
            words = "Looking for the sound …" if player.is_opening else player.error or "There is no sound output."
        self.setup.show_device(words, is_there=player.is_open)

    @property
    def _is_mono(self) -> bool:
        device = self._player.device
        return device is not None and device.num_channels == 1

    def _device_name(self) -> str:
        device = self._player.device
        return device.name if device is not None else "no device"

    @Slot()
    def _plan_changed(self) -> None:
        """Measure levels and delay unasked where that is quick."""
        plan = self.setup.plan()
        problem = self.setup.problem()
        if problem:
            self.preparation.cancel()
            self._preparing = None
            self.setup.show_error(problem)
            return
        if self._fits(plan, self._prepared_for):
            self._show_measured()
            return
        self._prepared = self._prepared_for = None
        if self.preparation.needs_decoding(plan.sources, plan.span_s) and plan.span_s[1] > _SOON_S:
            self.preparation.cancel()
            self._preparing = None
            self.setup.show_busy("")
            self.setup.show_measured("measured before the test begins", "measured before the test begins")
        else:
            self._prepare(plan)

    def _prepare(self, plan: Plan) -> None:
        self._preparing, self._prepared_mono = plan, self._is_mono
        self.preparation.start(
            plan.sources, plan.span_s, self._player.sample_rate, match=plan.match, with_anchor=plan.kind == "mushra",
            is_mono=self._is_mono,
        )  # fmt: skip

    def _fits(self, plan: Plan, other: Plan | None) -> bool:
        """Whether what was prepared for ``other`` serves ``plan``."""
        if other is None or self._prepared is None:
            return False
        stimuli = self._prepared.stimuli
        if stimuli.sample_rate != self._player.sample_rate or self._prepared_mono != self._is_mono:
            return False
        titles = [[source.title for source in one.sources] for one in (plan, other)]
        same = (plan.span_s, plan.match, plan.kind == "mushra") == (other.span_s, other.match, other.kind == "mushra")
        return same and titles[0] == titles[1]

    @Slot(object)
    def _take_prepared(self, prepared: Prepared) -> None:
        self._prepared, self._prepared_for, self._preparing = prepared, self._preparing, None
        self._show_measured()
        self._listen(self.setup.listen.isChecked())
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self._start(wanted)

    def _show_measured(self) -> None:
        assert self._prepared is not None
        self.setup.show_busy("")
        self.setup.show_measured(gain_words(self._prepared.stimuli), delay_words(self._prepared.stimuli))

    @Slot(object)
    def _preparation_failed(self, failure: Failure) -> None:
        self._wanted = self._preparing = None
        self.setup.show_error(failure.message)

    @Slot(bool)
    def _listen(self, on: bool) -> None:
        """Play the reference over the loop while it is set up; it goes on when the loop is another one."""
        self._heard_timer.stop()
        self.setup.strip.set_share(None)
        if on and self._prepared is not None and self._player.is_open:
            self._heard = StimulusPlayer(self._player, self._prepared.clips)
            self._heard.hear(0)
            self._heard_timer.start()
        elif self._heard is not None:
            self._heard.pause()
            self._heard = None

    @Slot()
    def _show_heard(self) -> None:
        if self._heard is not None:
            self.setup.strip.set_share(self._heard.share)

    # The test

    def _start_by_key(self) -> None:
        self._start(False)

    @Slot(bool)
    def _start(self, training: bool) -> None:
        """Begin as soon as all is prepared and the log can be written."""
        if self.pages.currentWidget() is not self.setup or not self._player.is_open:
            return
        problem, plan = self.setup.problem(), self.setup.plan()
        if problem:
            self.setup.show_error(problem)
            return
        if training and plan.kind != "abx":
            return
        if not self._fits(plan, self._prepared_for):
            self._wanted = training
            if self._preparing != plan:
                self._prepare(plan)
            return
        assert self._prepared is not None
        self.setup.listen.setChecked(False)
        player, document = self._player, self._session.document
        model = self._session.model
        around = Surroundings(
            self._device_name(), player.latency_s, player.volume, document.title, model.label if model else ""
        )
        sound = StimulusPlayer(player, self._prepared.clips, restarts=plan.restarts)
        self.run = run = begin(plan, self._prepared, sound, around, self.theme, training=training, draw=self._draw)
        self._settings.update(listener=plan.listener, listening_folder=str(plan.folder))
        facts = f"{self._device_name()}  ·  {1000 * player.latency_s:.0f} ms  ·  {level_words(self._prepared.stimuli)}"
        run.page.set_scene(self._envelope, plan.span_s, document.duration_s, facts, player.volume)
        run.page.trial_closed.connect(self._write_log)
        run.page.finished.connect(self._finish)
        run.page.rescan_requested.connect(self._reopen)
        run.page.volume_changed.connect(self._set_volume)
        self._error = ""
        if run.path is None:
            self._show_trials()
        else:
            self.setup.show_busy("Opening the log …")
            self._saving = self._files.submit(SaveLog(run.path, run.log()), to_the_end=True)

    def _show_trials(self) -> None:
        assert self.run is not None
        self.setup.show_busy("")
        self.pages.addWidget(self.run.page)
        self.pages.setCurrentWidget(self.run.page)

    @Slot()
    def _write_log(self) -> None:
        """After each trial: what a crash can take is the trial in hand."""
        if self.run is not None and self.run.path is not None:
            job = SaveLog(self.run.path, self.run.log(), overwrite=True)
            self._saving = self._files.submit(job, to_the_end=True)

    @Slot(object, object)
    def _file_job_finished(self, number: int, result: object) -> None:
        if number == self._saving:
            self._saving, self._error = None, ""
            if self.run is not None and self.pages.currentWidget() is self.setup:
                self._show_trials()
            elif self.result_page is not None and self.run is not None:
                self.result_page.set_saved(self.run.path, "")
        elif number == self._reading and isinstance(result, LogRead) and self.result_page is not None:
            self._reading = None
            self.result_page.show_lines(result)

    @Slot(object, object)
    def _file_job_failed(self, number: int, failure: Failure) -> None:
        if number == self._saving:
            self._saving, self._error = None, failure.message
            if self.run is not None and self.pages.currentWidget() is self.setup:
                self.run.page.deleteLater()
                self.run = None
                self.setup.show_error(failure.message)
            elif self.result_page is not None:
                self.result_page.set_saved(None, failure.message)
            elif self.run is not None:
                self.run.page.tell(f"The log cannot be written: {failure.message}", "error")
        elif number == self._reading and self.result_page is not None:
            self._reading = None
            self.result_page.where.setText(failure.message)

    @Slot()
    def _finish(self) -> None:
        """The last trial is answered, or the listener stopped."""
        run = self.run
        assert run is not None
        self._write_log()
        page = self.result_page = ResultPage(self.theme, run.outcome(), run.compared(), run.path)
        page.again_requested.connect(self._again)
        page.log_requested.connect(self._read_log)
        page.close_requested.connect(self.reject)
        page.save_requested.connect(self._save_elsewhere)
        self.pages.addWidget(page)
        self.pages.setCurrentWidget(page)
        page.setFocus()

    @Slot(object)
    def _save_elsewhere(self, path: Path) -> None:
        """The log's own place refused it; the dialog has asked before replacing a file."""
        if self.run is not None:
            self.run.path = path
            self._write_log()

    @Slot()
    def _read_log(self) -> None:
        if self.run is not None and self.run.path is not None:
            self._reading = self._files.submit(ReadLog(self.run.path))

    @Slot()
    def _again(self) -> None:
        self._drop_run()
        self.pages.setCurrentWidget(self.setup)
        self._show_device()

    def _drop_run(self) -> None:
        self._player.pause()
        for page in (self.run.page if self.run is not None else None, self.result_page):
            if page is not None:
                self.pages.removeWidget(page)
                page.deleteLater()
        self.run = self.result_page = None

    @Slot(object)
    def _devices_changed(self, devices: object) -> None:
        """An output came or went: where the sound was lost, it may be back."""
        if not self._player.is_open and not self._player.is_opening:
            self._reopen()

    @Slot()
    def _reopen(self) -> None:
        self._player.open(self._settings.value.output_device or None, wait_s=0)

    @Slot(float)
    def _set_volume(self, volume: float) -> None:
        self._player.set_volume(volume)
        self._settings.update(volume=volume)

    # The end

    @property
    def is_testing(self) -> bool:
        """Whether a test is under way."""
        return self.run is not None and not self.run.session.is_finished and self.run.page.isVisible()

    def reject(self) -> None:
        """Esc and the window's own button: a running test asks first."""
        if self.is_testing:
            assert self.run is not None
            self.run.page.ask_stop()
        else:
            self.leave()

    def leave(self) -> None:
        """End whatever runs, keep its log as aborted, and go."""
        if self.is_testing:
            assert self.run is not None
            self.run.session.stop()
            self._write_log()
        self._device_timer.stop()
        self._heard_timer.stop()
        self.preparation.cancel()
        self._player.pause()
        super().reject()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.isVisible():
            self.reject()
            if self.isVisible():
                event.ignore()
                return
        super().closeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.result_page is not None and event.matches(QKeySequence.StandardKey.Copy):
            self.result_page.copy_result()
        else:
            super().keyPressEvent(event)

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.theme = theme
        self.setup.set_theme(theme)
        if self.run is not None:
            self.run.page.set_theme(theme)
        if self.result_page is not None:
            self.result_page.set_theme(theme)
