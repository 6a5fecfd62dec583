"""Start the window: logging, crash hook, settings, theme; then paint first and load later.

The window is on the screen before torch is imported; on Windows torch has to come first (see the package's own
``__init__``), so there it takes longer.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import (
    QEvent,
    QMessageLogContext,
    QObject,
    Qt,
    QTimer,
    QtMsgType,
    Signal,
    Slot,
    qInstallMessageHandler,
)
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from mimi_gui.logs import file_handler, log_path, wanted_level
from mimi_gui.resources import resource_path
from mimi_gui.ui.codec_jobs import DEMO_MODEL
from mimi_gui.ui.help_dialog import DetailsDialog
from mimi_gui.ui.icons import app_icon
from mimi_gui.ui.instances import TWO, first_window
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.screen_room import fitting
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import ThemeKeeper

log = logging.getLogger(__name__)

_STARTED = time.monotonic()

_GC_MS = 1_000
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


class CrashHook(QObject):
    """What nobody foresaw: into the log, and once on the screen; the window goes on."""

    _caught = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._is_shown = False
        self._caught.connect(self._show, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Take over Python's last words, of every thread."""
        sys.excepthook = self._take
        threading.excepthook = self._take_thread

    def _take(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        log.critical("unforeseen", exc_info=(kind, error, trace))
        self._caught.emit("".join(traceback.format_exception(kind, error, trace)))

    def _take_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            self._take(args.exc_type, args.exc_value, args.exc_traceback)

    @Slot(str)
    def _show(self, details: str) -> None:
        if not self._is_shown:
            self._is_shown = True  # one dialog at a time; the log has them all
            DetailsDialog(details, QApplication.activeWindow()).exec()
            self._is_shown = False


class QuietCollector(QObject):
    """Python's cycle collection, in the GUI thread only and in small steps.

    A collection that happens to run in a worker would destroy Qt objects there, and one that has to look through all
    of torch would stop the window for a quarter of a second: so none while a model loads, and what has been loaded by
    then is called permanent.
    """

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        gc.disable()
        # Half a millisecond instead of five until a busy worker hands Python's lock to the window.
        sys.setswitchinterval(0.0005)
        self._session = window.session
        self._timer = QTimer(self)
        self._timer.setInterval(_GC_MS)
        self._timer.timeout.connect(self._step)
        self._timer.start()
        window.session.model_changed.connect(self._model_changed)

    @Slot()
    def _model_changed(self) -> None:
        if self._session.model_state in ("loading", "downloading"):
            self._timer.stop()
        else:
            gc.freeze()
            self._timer.start()

    @Slot()
    def _step(self) -> None:
        gc.collect(1)


def set_up_logging(path: Path) -> None:
    """A rotating file at the level of MIMI_GUI_LOG, with Qt's messages and Python's warnings; problems go to the
    terminal too."""
    root = logging.getLogger()
    root.setLevel(wanted_level())
    form = logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s")
    try:
        file = file_handler(path)
    except OSError as error:
        print(f"No log file: {path}: {error.strerror}", file=sys.stderr)
    else:
        file.setFormatter(form)
        root.addHandler(file)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.ERROR)
    terminal.setFormatter(form)
    root.addHandler(terminal)
    logging.captureWarnings(True)
    qInstallMessageHandler(_take_qt_message)


def _take_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
    logging.getLogger("qt").log(_QT_LEVELS.get(kind, logging.WARNING), message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mimi-gui", description="See and hear what the Mimi codec keeps.")
    parser.add_argument("files", nargs="*", help="recordings, token files (.npz), folders, checkpoints")
    parser.add_argument("--demo", action="store_true", help="open the bundled sample with the built-in demo codec")
    parser.add_argument("--model", help="kyutai/mimi, mimi-tiny, a folder or a .safetensors file")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--fix-ssl", action="store_true", help="trust the operating system's certificates")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the window until it is closed. Returns the process's exit status."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    path = log_path()
    set_up_logging(path)
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    app = QApplication(["mimi-gui"])
    app.setApplicationName("mimi-gui")
    app.setApplicationDisplayName("Mimi GUI")
    app.setDesktopFileName("mimi-gui")
    app.setWindowIcon(app_icon())
    app.setQuitOnLastWindowClosed(False)  # the threads end first, then the window says so
    app.setProperty("quits_with_window", True)
    hook = CrashHook(app)
    hook.install()
    settings = SettingsStore(parent=app)
    themes = ThemeKeeper(app, settings.value.theme)
    window = MainWindow(settings, themes, log_file=path)
    QuietCollector(window)
    files = list(options.files)
    if options.demo:
        files.append(str(resource_path("samples", "speech.wav")))
    model = DEMO_MODEL if options.demo and not options.model else options.model
    window.session.start_with(model, options.device, fixes_ssl=options.fix_ssl)
    lock = first_window(path.parent)
    if lock is None:
        window.banners.show_notice(TWO)
    _Starter(window, files)
    if not settings.value.geometry:
        window.resize(fitting(window.size(), QGuiApplication.primaryScreen().availableSize()))
    window.show()
    status = app.exec()
    for thread in window.threads:
        thread.wait(10_000)
    qInstallMessageHandler(None)
    if lock is not None:
        lock.unlock()
    return status


class _Starter(QObject):
    """Begins the slow part once the window has been painted (or half a second later, should that never happen)."""

    def __init__(self, window: MainWindow, files: list[str]) -> None:
        super().__init__(window)
        self._window, self._files = window, files
        self._has_begun = False
        window.installEventFilter(self)
        QTimer.singleShot(500, self.begin)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self.begin)
        return False

    @Slot()
    def begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            log.info("window painted after %.0f ms", 1000 * (time.monotonic() - _STARTED))
            self._window.start(self._files)
            self._window.watch.start()


if __name__ == "__main__":
    sys.exit(main())
