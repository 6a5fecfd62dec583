"""Opens listening tests and logs: borrows the player for the time, and gives it back. GUI thread only.

What the pages need of scipy is imported on the analysis thread first, so that opening does not hold the window up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QMainWindow, QPlainTextEdit, QVBoxLayout, QWidget

from mimi_gui.ui.document import Take
from mimi_gui.ui.listening_jobs import ImportListening, LogRead, ReadLog
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Failure, WorkerThread

if TYPE_CHECKING:
    from mimi_gui.playback import ABPlayer
    from mimi_gui.ui.listening_window import ListeningWindow

_FOLDER = "Mimi listening tests"
_TOPIC = "listening"


def usual_folder() -> Path:
    """Where logs go until the listener chooses another place."""
    import platformdirs

    return Path(platformdirs.user_documents_dir()) / _FOLDER


class LogDialog(QDialog):
    """A log as a person reads it, every trial and whether it verifies."""

    def __init__(self, read: LogRead, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(read.path.name)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QPlainTextEdit("\n".join(read.lines))
        self.text.setReadOnly(True)
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName("Log of a listening test")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.resize(900, 620)


class ListeningDesk(QObject):
    """See the module's docstring.

    Attributes:
        window: the test that is open, or None.
        draw: what draws X and the sides; replaced in tests only.
    """

    noticed = Signal(object)  # Notice
    opening = Signal()  # whatever else makes sound may end now

    def __init__(
        self,
        window: QMainWindow,
        session: Session,
        transport: Transport,
        settings: SettingsStore,
        theme: Theme,
        codec: WorkerThread,
        files: WorkerThread,
        measuring: WorkerThread,
        takes: Callable[[], Sequence[Take]],
    ) -> None:
        super().__init__(window)
        self._owner, self._session, self._transport, self._settings = window, session, transport, settings
        self._theme = theme
        self._codec, self._files, self._measuring, self._takes = codec, files, measuring, takes
        self.window: ListeningWindow | None = None
        self.draw = secrets.randbelow
        self._player: ABPlayer | None = None
        self._importing: int | None = None
        self._reading: int | None = None
        measuring.finished.connect(self._imported)
        measuring.failed.connect(self._import_failed)
        files.finished.connect(self._log_read)
        files.failed.connect(self._log_failed)

    def open(self, kind: str) -> None:
        """Set up a test of this kind: "abx", "staircase", "preference" or "mushra"."""
        document = self._session.document
        if self.window is not None or self._importing is not None:
            return
        if not document.is_complete or document.sound is None:
            words = "Open a recording and wait for its reconstruction: a listening test compares the two."
            self.noticed.emit(Notice("info", words, "A listening test cannot begin", topic=_TOPIC))
            return
        self._transport.levels.put_off()  # of an hour it would keep the thread for a minute
        self._importing = self._measuring.submit(ImportListening(kind))

    @Slot(object, object)
    def _imported(self, number: int, kind: object) -> None:
        if number != self._importing:
            return
        self._importing = None
        if not self._session.document.is_complete:
            return
        from mimi_gui.ui.listening_window import ListeningWindow

        folder = self._settings.value.listening_folder
        self.opening.emit()
        player = self._player = self._transport.lend()
        self.window = ListeningWindow(
            str(kind), self._session, self._transport, player, self._settings, self._codec, self._files,
            self._measuring, Path(folder) if folder else usual_folder(), self._theme, self._owner, draw=self.draw,
            takes=self._takes(),
        )  # fmt: skip
        self.window.finished.connect(self._closed)
        self.window.show()  # not open(): on macOS that would be a sheet

    @Slot(object, object)
    def _import_failed(self, number: int, failure: Failure) -> None:
        if number == self._importing:
            self._importing = None
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic=_TOPIC))

    @Slot()
    def _closed(self) -> None:
        """The test's window is gone: the player comes home."""
        window, self.window = self.window, None
        player, self._player = self._player, None
        if player is not None:
            self._transport.take_back(player)
        if window is not None:
            window.deleteLater()

    def open_log(self, path: Path) -> None:
        """Read a log, verify it and show every trial."""
        self._reading = self._files.submit(ReadLog(path))

    @Slot(object, object)
    def _log_read(self, number: int, result: object) -> None:
        if number == self._reading and isinstance(result, LogRead):
            self._reading = None
            LogDialog(result, self._owner).open()

    @Slot(object, object)
    def _log_failed(self, number: int, failure: Failure) -> None:
        if number == self._reading:
            self._reading = None
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic=_TOPIC))

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        if self.window is not None:
            self.window.set_theme(theme)

    def close(self) -> None:
        """The program ends: a running test is kept as aborted."""
        if self.window is not None:
            self.window.leave()
