"""The window: it puts the parts together, takes drops, and sees to an orderly end. The session decides.

GUI thread only.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, Qt, Slot
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from mimi_gui.playback import ABPlayer
from mimi_gui.ui.actions import Actions
from mimi_gui.ui.banner import BannerStack
from mimi_gui.ui.commands import Commands
from mimi_gui.ui.device_watch import DeviceWatch
from mimi_gui.ui.listening_desk import ListeningDesk
from mimi_gui.ui.notices import Activity, Notice
from mimi_gui.ui.output_keeper import OutputKeeper
from mimi_gui.ui.panels import Panels
from mimi_gui.ui.recordings_panel import RecordingsPanel
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import Settings, SettingsStore
from mimi_gui.ui.sound_pages import SoundPages
from mimi_gui.ui.status_bar import StatusBar
from mimi_gui.ui.theme import Theme, ThemeKeeper
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.unsaved_guard import UnsavedGuard
from mimi_gui.ui.welcome_page import WelcomePage
from mimi_gui.ui.worker import WorkerThread
from mimi_gui.ui.workspace import Workspace

_TITLE = "Mimi GUI"


class MainWindow(QMainWindow):
    """One window, one session, three worker threads, one player."""

    def __init__(
        self,
        settings: SettingsStore,
        themes: ThemeKeeper,
        *,
        player: ABPlayer | None = None,
        log_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._settings, self._themes = settings, themes
        self._model_error = ""
        self._closing = self._may_close = False
        self.codec_thread = WorkerThread("codec", self)
        self.files_thread = WorkerThread("files", self)
        self.measure_thread = WorkerThread("analysis", self)  # what may take long must not delay opening a file
        self.session = Session(self.codec_thread, self.files_thread, settings, self)
        self.transport = Transport(self.session, self.measure_thread, settings, player, self)
        theme = themes.theme
        self.banners = BannerStack(theme)
        self.welcome = WelcomePage(theme)
        self.workspace = Workspace(self.session, self.transport, settings, theme)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.welcome)
        self.pages.addWidget(self.workspace)
        middle = QWidget()
        layout = QVBoxLayout(middle)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.banners)
        layout.addWidget(self.pages, 1)
        self.setCentralWidget(middle)
        self.status = StatusBar()
        self.setStatusBar(self.status)
        self.recordings = RecordingsPanel()
        self._recordings_dock = self._add_dock("recordings", "Recordings", self.recordings)
        self._recordings_dock.hide()
        self.panels = Panels(
            self, self.session, self.transport, self.workspace, settings,
            self.codec_thread, self.files_thread, self.measure_thread,
        )  # fmt: skip
        self.commands = Commands(
            self, self.session, self.transport, self.workspace.wall, self.panels, settings, themes, log_file
        )
        self.listening = self.commands.listening = ListeningDesk(
            self, self.session, self.transport, settings, theme,
            self.codec_thread, self.files_thread, self.measure_thread,
            lambda: [kept.take for kept in self.panels.shelf.takes],
        )  # fmt: skip
        self.guard = self.session.guard = UnsavedGuard(
            self, self.session, self.panels.editing, self.commands.save_edits
        )
        self.actions_by_name = Actions(self.commands, self.menuBar())
        self.addActions(self.actions_by_name.all())
        self.actions_by_name.menus["panels"].addAction(self._recordings_dock.toggleViewAction())
        self.panels.fill_menu(self.actions_by_name.menus["panels"])
        self.panels.switches.fill_menu(self.actions_by_name.menus["views"], self)
        self.watch = DeviceWatch(self)
        self.keeper = OutputKeeper(self.transport, self.watch, settings, self)
        self.sound_pages = SoundPages(
            self.pages, self.session, self.transport, self.watch, settings, self.codec_thread, self.files_thread,
            theme, self,
        )  # fmt: skip
        self.setAcceptDrops(True)
        self.setWindowTitle(_TITLE)
        self.resize(1280, 820)
        self._bind()
        self._restore()
        self._settings_changed(settings.value)
        self._model_changed()
        self._show_available()

    def _add_dock(self, name: str, title: str, widget: QWidget) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        return dock

    def _bind(self) -> None:
        session, transport, commands = self.session, self.transport, self.commands
        session.source_changed.connect(self._document_changed)
        session.finished.connect(self._show_available)
        session.sound_changed.connect(self._show_available)
        session.model_changed.connect(self._model_changed)
        session.recordings_changed.connect(self._recordings_changed)
        session.activity_changed.connect(self._activity_changed)
        session.saved.connect(self._saved)
        session.finished.connect(self._show_title)
        self.panels.settled.connect(self.banners.settle)
        self.panels.noticed.connect(self._notice)
        self.panels.action_requested.connect(commands.perform)
        self.panels.editing.changed.connect(self._edited)
        self.listening.noticed.connect(self._notice)
        self.listening.opening.connect(self.sound_pages.leave)  # live sound ends with its page
        for source in (session, transport, self.keeper, self.sound_pages):
            source.noticed.connect(self._notice)
            source.settled.connect(self.banners.settle)
        transport.changed.connect(self._transport_changed)
        self.banners.action_requested.connect(commands.perform)
        self.banners.help_requested.connect(commands.troubleshooting)
        self.banners.details_requested.connect(commands.details)
        self.sound_pages.help_requested.connect(commands.troubleshooting)
        commands.page_requested.connect(self.sound_pages.show_page)
        self.pages.currentChanged.connect(self._show_available)
        self.welcome.action_requested.connect(commands.perform)
        self.welcome.path_requested.connect(self._open_path)
        self.workspace.action_requested.connect(commands.perform)
        self.status.cancel_requested.connect(session.cancel)
        self.status.model_requested.connect(commands.preferences)
        self.recordings.chosen.connect(session.show)
        self.actions_by_name.menus["recent"].aboutToShow.connect(self._fill_recent)
        self._settings.changed.connect(self._settings_changed)
        self._themes.changed.connect(self._theme_changed)
        for thread in self.threads:
            thread.closed.connect(self._thread_closed)

    @property
    def threads(self) -> tuple[WorkerThread, ...]:
        """The worker threads, which end before the window does."""
        return self.codec_thread, self.files_thread, self.measure_thread

    def start(self, paths: list[str]) -> None:
        """Begin what takes time, once the window is on the screen."""
        self.session.start_model()
        self.session.open(paths)
        self.transport.output.start()
        self.sound_pages.start()

    # Facts

    @Slot()
    def _document_changed(self) -> None:
        self.pages.setCurrentWidget(self.workspace)
        self.workspace.wall.setFocus()
        self._show_title()
        self._show_available()

    @Slot()
    def _show_title(self) -> None:
        document = self.session.document
        self.setWindowTitle(f"{document.title}[*] — {_TITLE}" if document.title else _TITLE)
        self.setWindowModified(not document.is_saved)

    @Slot()
    def _show_available(self) -> None:
        document = self.session.document
        available = set()
        if document.entry is not None:
            available |= {"open", "sound"}
        if document.codes is not None:
            available |= {"codes", "tokens"} if document.is_complete else {"codes"}
        if len(self.session.recordings) > 1:
            available.add("list")
        editing = self.panels.editing
        available |= {name for name, can in (("undo", editing.can_undo), ("redo", editing.can_redo)) if can}
        if self.sound_pages.is_shown:
            available.clear()  # it cannot be seen: no key may move it
        self.actions_by_name.set_available(available)

    @Slot()
    def _edited(self) -> None:
        history = self.panels.editing.history
        for name, words in (("undo", "&Undo"), ("redo", "&Redo")):
            label = getattr(history, f"{name}_label") if history is not None else ""
            self.actions_by_name[name].setText(f"{words} {label.capitalize()}".rstrip())
        self._show_title()
        self._show_available()

    @Slot()
    def _model_changed(self) -> None:
        session = self.session
        if session.model_state != "failed":
            self._model_error = ""
        self.welcome.set_model(session.model_state, session.choice, session.model, self._model_error)
        self.status.set_model(session.model_state, session.choice, session.model)

    @Slot()
    def _recordings_changed(self) -> None:
        session = self.session
        self.recordings.set_entries(session.recordings, session.current)
        is_corpus = session.corpus is not None  # it has a list of its own
        if is_corpus and not self._recordings_dock.property("corpus"):
            self._recordings_dock.hide()
            self._recordings_dock.setProperty("offered", False)  # to what comes after
        elif len(session.recordings) > 1 and not is_corpus and not self._recordings_dock.property("offered"):
            self._recordings_dock.setProperty("offered", True)
            self._recordings_dock.show()
        self._recordings_dock.setProperty("corpus", is_corpus)
        self._show_available()

    @Slot(object)
    def _activity_changed(self, activity: Activity | None) -> None:
        self.status.set_activity(activity)
        if activity is not None and self.session.model_state == "downloading":
            self.welcome.set_progress(activity.progress)

    @Slot(object)
    def _saved(self, path: Path) -> None:
        self.status.tell(f"Saved {path}")
        self._show_title()

    @Slot(object)
    def _notice(self, notice: Notice) -> None:
        if notice.topic == "model" and self.session.document.entry is None:
            # The welcome page has a place for it, with the same ways out.
            self._model_error = notice.text
            self.welcome.set_model(self.session.model_state, self.session.choice, self.session.model, notice.text)
            return
        self.banners.show_notice(notice)

    @Slot()
    def _transport_changed(self) -> None:
        self.actions_by_name.set_checked("loop", self.transport.loops)

    @Slot(object)
    def _settings_changed(self, settings: Settings) -> None:
        self.actions_by_name.set_checked("follow", settings.follow_playhead)
        self.actions_by_name.set_checked("match", settings.level_match)
        self.welcome.set_recent(settings.recent_files)

    @Slot(object)
    def _theme_changed(self, theme: Theme) -> None:
        self.banners.set_theme(theme)
        self.welcome.set_theme(theme)
        self.workspace.set_theme(theme)
        self.panels.set_theme(theme)
        self.sound_pages.set_theme(theme)
        self.listening.set_theme(theme)

    # Wishes

    @Slot(object)
    def _open_path(self, path: Path) -> None:
        self.session.open([path])

    @Slot()
    def _fill_recent(self) -> None:
        menu = self.actions_by_name.menus["recent"]
        menu.clear()
        for text in self._settings.value.recent_files:
            action = menu.addAction(text)
            action.setData(text)
            action.triggered.connect(self._open_recent)
        if menu.isEmpty():
            menu.addAction("Nothing yet").setEnabled(False)

    @Slot()
    def _open_recent(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.session.open([str(sender.data())])  # pyright: ignore[reportAttributeAccessIssue] - a QAction

    # Drops

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() or event.mimeData().hasText():
            event.acceptProposedAction()
            self.welcome.drop_area.set_hot(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.welcome.drop_area.set_hot(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Files from a file manager; plain paths too, as some send them."""
        self.welcome.drop_area.set_hot(False)
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if not paths:
            lines = [line.strip() for line in event.mimeData().text().splitlines()]
            paths = [line for line in lines if line.startswith("/") or line[1:3] == ":\\"]
        if paths:
            event.acceptProposedAction()
            self.session.open(paths)
        else:
            words = "Only files can be dropped here: recordings, token files, or a Mimi checkpoint."
            self.banners.show_notice(Notice("warning", words, "A recording cannot be opened", topic="open"))

    # The end

    def _restore(self) -> None:
        value = self._settings.value
        if value.geometry:
            self.restoreGeometry(QByteArray(value.geometry))
        if value.window_state:
            self.restoreState(QByteArray(value.window_state))
        self._recordings_dock.hide()  # until there is a list

    def _close_anyway(self) -> None:
        self._may_close = True
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask both threads to end and come back when they have; the window keeps painting meanwhile."""
        if not self._closing and self.panels.editing.is_dirty and not self._may_close:
            event.ignore()
            self.session.guard(self._close_anyway)
            return
        if not self._closing:
            self._closing = True
            self._settings.update(
                geometry=bytes(self.saveGeometry().data()), window_state=bytes(self.saveState().data())
            )
            self.panels.switches.remember_heights()
            self._settings.flush()
            self.listening.close()
            self.watch.close()
            self.sound_pages.close()
            self.transport.close()
            self.panels.close()
            self.status.tell("Closing …")
            self.session.close()
            self.measure_thread.close()
        if any(thread.is_running for thread in self.threads):
            event.ignore()
        else:
            event.accept()

    @Slot()
    def _thread_closed(self) -> None:
        if self._closing and not any(thread.is_running for thread in self.threads):
            self.close()
            app = QApplication.instance()
            if app is not None and app.property("quits_with_window"):
                app.quit()
