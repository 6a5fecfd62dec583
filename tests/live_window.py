"""The real window with a live session in it, for benchmarks: built, begun, left to itself and ended by code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from mimi_gui.live import LiveFigures
from mimi_gui.ui.app import QuietCollector
from mimi_gui.ui.live_control import ENDED, RUNNING, LiveControl
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import ThemeKeeper

LONG_S = 180.0


class LiveWindow:
    """See the module's docstring. ``model``: what the window computes with, on the CPU. GUI thread only."""

    def __init__(self, model: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="live-window-")
        folder = Path(self._folder.name)
        app = QApplication.instance() or QApplication([])
        assert isinstance(app, QApplication)
        self._settings = SettingsStore(folder / "settings.ini")
        self._settings.update(takes_folder=str(folder / "takes"))
        self._themes = ThemeKeeper(app, "dark")
        self.window = MainWindow(self._settings, self._themes)
        QuietCollector(self.window)
        self.window.session.start_with(model, "cpu")
        self.window.resize(1400, 900)
        self.window.show()
        self.window.start([])
        self._control: LiveControl | None = None

    @property
    def control(self) -> LiveControl:
        assert self._control is not None
        return self._control

    @property
    def is_running(self) -> bool:
        return self.control.state == RUNNING

    @property
    def figures(self) -> LiveFigures:
        return self.control.figures

    def pass_time(self, seconds: float) -> None:
        """Let the window live: asleep in its event loop, where QTest's waiting would poll."""
        loop = QEventLoop()
        QTimer.singleShot(round(1000 * seconds), loop.quit)
        loop.exec()

    def _until(self, condition: Callable[[], object], what: str) -> None:
        for _ in range(round(LONG_S / 0.05)):
            if condition():
                return
            self.pass_time(0.05)
        raise TimeoutError(f"waited in vain for {what}")

    def begin(self) -> None:
        """Load the model, open the live page, answer the warning, and wait until sound goes through."""
        pages = self.window.sound_pages
        self._until(lambda: self.window.session.model_state == "ready", "the model")
        pages.show_live()
        self._until(lambda: pages.live_page is not None and pages.live_page.isVisible(), "the page")
        assert pages.live_page is not None
        self._control = pages.live
        pages.live_page.card.loud.click()
        self._until(lambda: self.is_running or self.control.problem, "the devices")
        self._until(lambda: self.figures.num_frames or self.control.problem, "a frame")

    def end(self) -> str:
        """End the session and the window; return why it had ended by itself, or ""."""
        problem = self.control.problem
        self.control.stop()
        self._until(lambda: self.control.state == ENDED, "the end")
        self.window.close()
        self._until(lambda: not any(thread.is_running for thread in self.window.threads), "the threads")
        self._folder.cleanup()
        return problem or self.control.problem
