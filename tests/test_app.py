"""The start: how much the log tells, and a second window. Also: files that are dragged out before they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from mimi_gui.logs import log_path, wanted_level
from mimi_gui.ui import drag_chip
from mimi_gui.ui.drag_chip import DragChip
from mimi_gui.ui.instances import first_window
from mimi_gui.ui.screen_room import fitting
from mimi_gui.ui.theme import DARK

ROOT = Path(__file__).resolve().parent.parent
LOGGING = """
import logging
from PySide6.QtCore import qDebug
from mimi_gui.logs import log_path
from mimi_gui.ui.app import set_up_logging
set_up_logging(log_path())
logging.getLogger("here").debug("a whisper")
logging.getLogger("here").info("a word")
qDebug("from Qt")
"""


@pytest.mark.parametrize(("level", "whispers"), [("DEBUG", True), ("nonsense", False)])
def test_the_window_s_log_tells_as_much_as_the_variable_says(level: str, whispers: bool) -> None:
    environment = {**os.environ, "MIMI_GUI_LOG": level, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", LOGGING], env=environment, check=True, timeout=60)
    text = log_path().read_text()
    assert "a word" in text
    assert ("a whisper" in text) is whispers
    assert ("from Qt" in text) is whispers


def test_levels_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, level in (("debug", 10), (" Warning ", 30), ("", 20), ("loud", 20), ("NOTSET", 20)):
        monkeypatch.setenv("MIMI_GUI_LOG", word)
        assert wanted_level() == level


def test_the_first_window_fits_the_screen() -> None:
    wish = QSize(1280, 820)
    assert fitting(wish, QSize(1920, 1050)) == wish
    small = fitting(wish, QSize(1280, 720))
    assert small.height() <= 690  # below a title bar
    assert 1260 <= small.width() <= 1280


def test_a_second_window_is_noticed(qtbot: QtBot, tmp_path: Path) -> None:
    lock = first_window(tmp_path)
    assert lock is not None
    assert first_window(tmp_path) is None
    lock.unlock()
    code = (
        "import os, sys; from pathlib import Path; from mimi_gui.ui.instances import first_window;"
        "lock = first_window(Path(sys.argv[1])); assert lock is not None; os._exit(1)"  # a crash: it stays locked
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, timeout=60)
    assert done.returncode == 1
    assert (tmp_path / "window.lock").exists()
    lock = first_window(tmp_path)
    assert lock is not None
    lock.unlock()
    assert first_window(tmp_path / "nowhere") is not None  # a read-only home is no second window


class Chip:
    """A chip under a hand; what would be dragged is noted instead."""

    def __init__(self, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chip = DragChip("tokens", "Tokens", "save", DARK)
        qtbot.addWidget(self.chip)
        self.chip.resize(120, 40)
        self.chip.show()
        self.asked: list[str] = []
        self.clicks: list[bool] = []
        self.dragged: list[str] = []
        self.chip.file_requested.connect(self.asked.append)
        self.chip.clicked.connect(lambda *_: self.clicks.append(True))
        self.buttons = Qt.MouseButton.NoButton
        dragged = self.dragged

        class Drag:
            def __init__(self, source: object) -> None: ...
            def setMimeData(self, data) -> None:
                self.data = data

            def setPixmap(self, pixmap: object) -> None: ...
            def exec(self, action: object) -> None:
                dragged.extend(url.toLocalFile() for url in self.data.urls())

        monkeypatch.setattr(drag_chip, "QDrag", Drag)
        monkeypatch.setattr(drag_chip.QApplication, "mouseButtons", lambda: self.buttons)
        self.qtbot = qtbot

    def pull(self) -> None:
        self.buttons = Qt.MouseButton.LeftButton
        self.qtbot.mousePress(self.chip, Qt.MouseButton.LeftButton, pos=QPoint(20, 20))
        self.qtbot.mouseMove(self.chip, QPoint(20 + 3 * QApplication.startDragDistance(), 20))

    def let_go(self) -> None:
        self.buttons = Qt.MouseButton.NoButton
        self.qtbot.mouseRelease(self.chip, Qt.MouseButton.LeftButton, pos=QPoint(100, 20))


def test_a_drag_waits_for_its_file(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hand = Chip(qtbot, monkeypatch)
    hand.pull()
    assert hand.asked == ["tokens"]
    assert hand.dragged == []
    hand.chip.set_file(tmp_path / "take.npz")  # written while the button is still down
    assert hand.dragged == [str(tmp_path / "take.npz")]
    hand.let_go()
    hand.pull()  # now it is ready at once
    assert hand.dragged == [str(tmp_path / "take.npz")] * 2
    assert hand.asked == ["tokens"]


def test_whoever_lets_go_too_early_drags_nothing_and_clicks_nothing(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hand = Chip(qtbot, monkeypatch)
    hand.pull()
    hand.let_go()
    hand.chip.set_file(tmp_path / "take.npz")
    assert hand.dragged == []
    assert hand.clicks == []
    qtbot.mouseClick(hand.chip, Qt.MouseButton.LeftButton)
    assert len(hand.clicks) == 1
    hand.chip.set_file(None)  # out of date
    hand.pull()
    assert hand.asked == ["tokens", "tokens"]
    hand.let_go()
