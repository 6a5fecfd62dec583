"""The window as a whole, offscreen: actions, keys, drops, banners, pages, and an orderly end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QKeySequence
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLabel, QPushButton, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.playback import ABPlayer
from mimi_gui.ui import sound_output
from mimi_gui.ui.actions import SEPARATOR, SPECS, SUBMENUS, plain
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.codec_jobs import ModelChoice
from mimi_gui.ui.help_dialog import KeysDialog, troubleshooting_section
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.preferences_dialog import PreferencesDialog
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import ThemeKeeper
from mimi_gui.ui.worker import Progress

LONG_MS = 120_000


class SilentPlayer(ABPlayer):
    """The player on its silent clock: tests that are not about sound start no process."""

    def open(self, *args: object, **options: object) -> None:
        return


class House:
    """The window and what a test needs of it."""

    def __init__(self, qtbot: QtBot, tmp_path: Path, model: str, player: ABPlayer | None = None) -> None:
        self.qtbot = qtbot
        self.settings = SettingsStore(tmp_path / "settings.ini")
        self.settings.update(model_name=model, device="cpu")
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        self.themes = ThemeKeeper(app, "dark")
        self.window = MainWindow(self.settings, self.themes, player=player or SilentPlayer())
        self.window.show()  # not added to qtbot, which would destroy it before its threads have ended

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=LONG_MS)

    def open(self, *paths: Path) -> None:
        self.window.session.open(paths)
        self.until(lambda: self.window.session.document.title == paths[0].name)
        self.until(lambda: self.window.session.document.is_complete)

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.window, key, modifier)

    def close(self) -> None:
        self.window.close()
        self.until(lambda: not self.window.isVisible())
        assert not any(thread.is_running for thread in self.window.threads)
        self.window.deleteLater()
        self.themes.deleteLater()
        self.qtbot.wait(1)


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    t = np.arange(24_000 * 2) / 24_000
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([0.3 * np.sin(2 * np.pi * 220 * t)] * 2, axis=1), 24_000)
    return path


# The table of actions


def test_every_action_has_words_a_tooltip_and_a_place(house: House) -> None:
    for action in house.window.actions_by_name.all():
        assert action.text()
        assert len(action.toolTip()) > 8, action.text()
        assert action.toolTip() != action.text()
    for spec in SPECS:
        if spec.name not in (SEPARATOR, *SUBMENUS):
            assert callable(getattr(house.window.commands, spec.name)), spec.name


def test_no_two_actions_share_a_key() -> None:
    keys = [QKeySequence(key).toString() for spec in SPECS for key in spec.keys]
    assert all(keys)
    assert len(keys) == len(set(keys))


def test_the_keys_dialog_lists_every_key(house: House) -> None:
    dialog = KeysDialog(house.window)
    house.qtbot.addWidget(dialog)
    text = dialog.page.toPlainText()
    for spec in SPECS:
        for key in spec.keys:
            assert QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText) in text
        if spec.keys:
            assert plain(spec.text) in text


def test_what_cannot_be_done_yet_is_greyed(house: House, clip: Path) -> None:
    actions = house.window.actions_by_name
    assert not actions["play"].isEnabled()
    assert not actions["save_tokens"].isEnabled()
    assert actions["open"].isEnabled()
    house.open(clip)
    assert actions["play"].isEnabled()
    assert actions["save_tokens"].isEnabled()
    assert not actions["next_recording"].isEnabled()


# Keys


def test_keys_play_switch_loop_and_step(house: House, clip: Path) -> None:
    house.open(clip)
    player = house.window.transport.player
    house.key(Qt.Key.Key_Space)
    assert player.is_playing
    house.key(Qt.Key.Key_B)
    assert player.side == "B"
    house.key(Qt.Key.Key_Tab)
    assert player.side == "A"
    house.key(Qt.Key.Key_L)
    assert player.loop_s is not None
    house.key(Qt.Key.Key_Space)
    assert not player.is_playing
    house.key(Qt.Key.Key_Escape)
    assert player.loop_s is None
    house.key(Qt.Key.Key_Home)
    house.key(Qt.Key.Key_Period)
    house.key(Qt.Key.Key_Period)
    assert player.position_s == pytest.approx(0.16, abs=1e-3)
    house.key(Qt.Key.Key_Comma)
    assert player.position_s == pytest.approx(0.08, abs=1e-3)
    house.key(Qt.Key.Key_End)
    assert player.position_s == pytest.approx(2.0, abs=1e-3)


def test_loop_edges_are_set_where_the_playhead_is(house: House, clip: Path) -> None:
    house.open(clip)
    move = house.window.transport.seek
    move(0.5)
    house.key(Qt.Key.Key_BracketLeft)
    move(1.5)
    house.key(Qt.Key.Key_BracketRight)
    assert house.window.transport.loop == pytest.approx((0.5, 1.5), abs=0.01)


def test_number_keys_choose_codebooks(house: House, clip: Path) -> None:
    house.open(clip)
    house.key(Qt.Key.Key_4)
    house.until(lambda: house.window.session.document.sounding == 8)
    assert house.window.workspace.codebooks.value == 8


def test_letters_work_while_the_number_field_has_the_keyboard(house: House, clip: Path) -> None:
    house.open(clip)
    spin = house.window.workspace.codebooks.findChild(QSpinBox)
    assert spin is not None
    spin.setFocus()
    house.qtbot.keyClick(spin, Qt.Key.Key_B)
    assert house.window.transport.player.side == "B"
    assert spin.value() == 32


# Opening


def drop(window: MainWindow, data: QMimeData) -> None:
    event = QDropEvent(
        QPointF(QPoint(200, 200)), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    window.dropEvent(event)


def test_a_dropped_file_opens_and_its_facts_are_told(house: House, clip: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(clip))])
    drop(house.window, data)
    house.until(lambda: house.window.session.document.is_complete)
    assert house.window.pages.currentWidget() is house.window.workspace
    texts = [label.text() for label in house.window.workspace.findChildren(QLabel)]
    assert any("24 kHz stereo → 24 kHz mono" in text for text in texts)
    assert house.window.windowTitle() == "clip.wav[*] — Mimi GUI"
    assert house.window.isWindowModified()
    assert "tiny-checkpoint" in house.window.status.model_text
    assert "float32 exact" in house.window.status.model_text


def test_a_dropped_path_as_text_opens_and_other_text_is_explained(house: House, clip: Path) -> None:
    data = QMimeData()
    data.setText("some prose")
    drop(house.window, data)
    assert len(house.window.banners.notices) == 1
    data = QMimeData()
    data.setText(f"{clip}\n")
    drop(house.window, data)
    house.until(lambda: house.window.session.document.is_complete)
    assert not house.window.banners.notices  # what was said no longer holds


def test_a_bad_file_is_a_banner_with_help_and_the_window_goes_on(house: House, clip: Path, tmp_path: Path) -> None:
    house.open(clip)
    bad = tmp_path / "bad.wav"
    bad.write_text("not sound")
    house.window.session.open([bad])
    house.until(lambda: bool(house.window.banners.notices))
    notice = house.window.banners.notices[0]
    assert "bad.wav" in notice.text
    assert house.window.session.document.title == "clip.wav"
    buttons = [button.text() for button in house.window.banners.findChildren(QPushButton)]
    assert "Help" in buttons


def test_saving_by_the_dialog_asks_for_a_good_name_and_tells_where(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open(clip)
    asked: list[str] = []

    def answer(parent: QWidget, title: str, start: str, filters: str) -> tuple[str, str]:
        asked.append(start)
        return str(tmp_path / "chosen"), "Token files (*.npz)"

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    house.window.actions_by_name["save_tokens"].trigger()
    house.until(lambda: (tmp_path / "chosen.npz").exists())
    house.until(lambda: "chosen.npz" in house.window.status.text)
    assert asked == [str(clip.with_suffix(".npz"))]
    assert not house.window.isWindowModified()


def test_the_list_appears_with_several_files(house: House, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(4800), 24_000)
    house.open(clip, other)
    assert house.window.recordings.isVisible()
    house.key(Qt.Key.Key_PageDown, Qt.KeyboardModifier.ControlModifier)
    house.until(lambda: house.window.session.document.title == "other.wav")


def test_recent_files_are_offered(house: House, clip: Path) -> None:
    house.open(clip)
    menu = house.window.actions_by_name.menus["recent"]
    menu.aboutToShow.emit()
    assert [action.text() for action in menu.actions()] == [str(clip)]


# Banners and the welcome page


def test_one_banner_per_topic_and_three_at_most(house: House) -> None:
    banners = house.window.banners
    for i in range(3):
        banners.show_notice(Notice("error", f"{i}", topic="open"))
    assert [notice.text for notice in banners.notices] == ["2"]
    for i in range(5):
        banners.show_notice(Notice("warning", f"w{i}"))
    assert len(banners.notices) == 3
    banners.settle("open")
    house.qtbot.wait(10)
    for banner in banners.findChildren(Banner):
        close = next(b for b in banner.findChildren(QAbstractButton) if b.accessibleName().startswith("Put"))
        close.click()
    assert not banners.notices


def test_help_opens_the_section_that_the_hint_names() -> None:
    section = troubleshooting_section("No sound")
    assert section.startswith("## No sound")
    assert section.count("\n## ") == 0
    assert len(troubleshooting_section("")) > len(section)
    assert troubleshooting_section("no such heading") == troubleshooting_section("")


@pytest.mark.parametrize(
    ("state", "shown", "hidden"),
    [
        ("missing", ["Download (385 MB)", "Use the built-in demo codec", "Choose a file …"], ["Cancel"]),
        ("downloading", ["Cancel"], ["Download (385 MB)", "Use the built-in demo codec"]),
        ("failed", ["Download (385 MB)", "Choose a folder …", "Use the built-in demo codec", "Help"], ["Cancel"]),
        ("loading", [], ["Download (385 MB)", "Cancel"]),
    ],
)
def test_the_first_page_offers_the_ways_to_a_model(
    house: House, state: str, shown: list[str], hidden: list[str]
) -> None:
    house.until(lambda: house.window.session.model_state == "ready")
    welcome = house.window.welcome
    welcome.set_model(state, ModelChoice(), None, "It went wrong.")
    welcome.set_progress(Progress("Downloading", 200_000_000, 385_000_000, "bytes", 20.0))
    visible = [button.text() for button in welcome.findChildren(QPushButton) if button.isVisible()]
    for words in shown:
        assert words in visible
    for words in hidden:
        assert words not in visible


def test_every_offer_on_the_first_page_leads_somewhere(house: House) -> None:
    for button in house.window.welcome.findChildren(QPushButton):
        name = button.property("action")
        if name is not None:
            assert callable(getattr(house.window.commands, name.replace("-", "_"))), name


def test_a_start_without_the_model_shows_the_page_and_a_click_gets_the_demo(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    house = House(qtbot, tmp_path, "kyutai/mimi")
    house.window.start([])
    house.until(lambda: house.window.session.model_state == "missing")
    assert house.window.pages.currentWidget() is house.window.welcome
    assert not house.window.banners.notices
    house.window.commands.perform("download")  # the hub is out of reach in tests
    house.until(lambda: house.window.session.model_state == "failed")
    texts = [label.text() for label in house.window.welcome.findChildren(QLabel) if label.isVisible()]
    assert any("mimi-tiny" in text or "demo codec" in text for text in texts)
    chosen: list[str] = []
    monkeypatch.setattr(house.window.session, "use_model", chosen.append)
    button = next(b for b in house.window.welcome.findChildren(QPushButton) if b.text().startswith("Use the built-in"))
    button.click()
    assert chosen == ["mimi-tiny"]
    house.close()


def test_no_sound_is_a_banner_and_everything_else_works(
    house: House, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> list[object]:
        raise PlaybackUnavailable("There is no sound because PortAudio is missing.")

    monkeypatch.setattr(sound_output, "list_devices", nothing)
    house.window.transport.output.rescan()
    house.until(lambda: bool(house.window.banners.notices))
    assert house.window.banners.notices[0].hint == "No sound"
    house.open(clip)
    house.key(Qt.Key.Key_Space)
    house.until(lambda: house.window.transport.player.position_s > 0.2)


# The rest


def test_preferences_take_effect_at_once(house: House) -> None:
    house.until(lambda: house.window.session.model_state == "ready")
    window = house.window
    dialog = PreferencesDialog(window.session, window.transport, house.settings, house.themes, window)
    house.qtbot.addWidget(dialog)
    dialog.show()
    dialog.theme.setCurrentIndex(dialog.theme.findData("light"))
    dialog.theme.activated.emit(dialog.theme.currentIndex())
    assert house.themes.theme.name == "light"
    dialog.match.setChecked(False)
    dialog.codebooks.setValue(8)
    assert not house.settings.value.level_match
    assert house.settings.value.num_codebooks == 8
    assert dialog.device.findData("cpu") >= 0


def test_every_control_has_a_name_for_a_screen_reader(house: House, clip: Path) -> None:
    house.open(clip)
    for button in house.window.findChildren(QAbstractButton):
        if button.isVisible() and not button.objectName().startswith("qt_"):
            assert button.text() or button.accessibleName() or button.toolTip(), button


def test_the_theme_reaches_every_part(house: House, clip: Path) -> None:
    house.open(clip)
    dark = house.window.grab().toImage()
    house.themes.set_choice("light")
    light = house.window.grab().toImage()
    for x, y in ((600, 10), (300, 60), (200, house.window.height() - 10)):
        assert dark.pixelColor(x, y).lightness() < 100 < light.pixelColor(x, y).lightness(), (x, y)


def test_closing_while_encoding_ends_the_threads(
    qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    house = House(qtbot, tmp_path, str(tiny_checkpoint))
    house.window.start([])
    soundfile.write(tmp_path / "long.wav", np.zeros(24_000 * 120), 24_000)
    house.window.session.open([tmp_path / "long.wav"])
    house.until(lambda: house.window.session.document.num_frames > 0)
    house.close()
    assert house.settings.value.geometry
    again = SettingsStore(tmp_path / "settings.ini")
    assert again.value.geometry == house.settings.value.geometry


def test_the_window_is_there_before_torch_and_scipy() -> None:
    code = """
import os, sys, tempfile
from pathlib import Path
from PySide6.QtWidgets import QApplication
from mimi_gui.ui.main_window import MainWindow
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import ThemeKeeper
import mimi_gui.ui.app
app = QApplication([])
window = MainWindow(SettingsStore(Path(tempfile.mkdtemp()) / "s.ini"), ThemeKeeper(app, "dark"))
window.show()
app.processEvents()
print([name for name in ("torch", "transformers", "scipy", "pyqtgraph", "huggingface_hub") if name in sys.modules])
window.close()
[thread.wait(5000) for thread in window.threads]
"""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
