"""The recording page: its states by a recorder made of paper, and the whole walk with a real microphone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from mimi_gui.capture import GrowingWav
from mimi_gui.clip import Clip
from mimi_gui.recording import InputDevice, Level, RecordedTake
from mimi_gui.sound_watch import SoundDevices
from mimi_gui.takes import new_take
from mimi_gui.ui import sound_output
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.device_picker import DevicePicker
from mimi_gui.ui.level_meter import LevelBar, LevelMeter
from mimi_gui.ui.microphone import Microphone
from mimi_gui.ui.record_page import RecordPage
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import DARK, LIGHT
from tests.sound_card import SoundCard
from tests.test_main_window import House
from tests.test_sound_card import find, noise

YETI = InputDevice("Yeti", "ALSA", 0, 48000, 2, 0.01)


class PaperRecorder:
    """Does what it is told and nothing by itself; a test turns its knobs."""

    def __init__(self) -> None:
        self.is_open = self.is_opening = self.is_recording = self.is_dead = False
        self.error: str | None = None
        self.level = Level(-20.0, -30.0, -20.0, 0)
        self.duration_s = 0.0
        self.sample_rate = 48000
        self.device: InputDevice | None = YETI
        self.clip = Clip(24000, 24000)
        self.calls: list[object] = []
        self.finished: RecordedTake | None = None

    def open(self, name: str | None, *, wait_s: float) -> None:
        self.calls.append(("open", name))
        self.is_opening = True

    def start(self, path: Path, *, wait_s: float) -> Clip:
        self.calls.append(("start", path.parent.name))
        self.is_recording = True
        self.path = path
        return self.clip

    def set_paused(self, on: bool) -> None:
        self.calls.append(("paused", on))

    def stop_soon(self) -> None:
        self.calls.append("stop")
        self.end()

    def end(self, why: str = "") -> None:
        self.is_recording = False
        self.clip.seal()
        self.finished = RecordedTake(self.path, self.clip, 48000, 2, 480, 0, 0, why)

    def pop_finished(self) -> RecordedTake | None:
        take, self.finished = self.finished, None
        return take

    def close(self, *, waits: bool = True) -> None:
        self.calls.append("close")
        self.is_open = self.is_opening = False


class Studio:
    def __init__(self, qtbot: QtBot, tmp_path: Path) -> None:
        self.now = 100.0
        self.settings = SettingsStore(tmp_path / "s.ini")
        self.settings.update(takes_folder=str(tmp_path / "takes"), countdown_s=3)
        self.recorder = PaperRecorder()
        self.microphone = Microphone(self.settings, self.recorder, clock=lambda: self.now)  # pyright: ignore[reportArgumentType]
        self.microphone._timer.setInterval(10_000_000)  # the test ticks
        self.page = RecordPage(self.microphone, self.settings, DARK)
        self.takes: list[RecordedTake] = []
        self.microphone.taken.connect(self.takes.append)
        qtbot.addWidget(self.page)
        self.microphone.setParent(self.page)  # its timer must not end in whichever thread collects garbage
        self.qtbot = qtbot
        self.page.show()

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.microphone._tick()

    def ready(self) -> None:
        self.recorder.is_opening, self.recorder.is_open = False, True
        self.tick()

    def key(self, key: Qt.Key) -> None:
        self.qtbot.keyClick(self.page, key)


@pytest.fixture
def studio(qtbot: QtBot, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(qtbot, tmp_path)
    yield studio
    studio.page.hide()


def test_a_take_by_keys(studio: Studio) -> None:
    page, recorder = studio.page, studio.recorder
    assert recorder.calls[-1] == ("open", None)
    assert not page.main.isEnabled()
    studio.ready()
    assert page.words.text().startswith("Listening")
    assert "Yeti, 48 kHz" in page.words.text()
    studio.key(Qt.Key.Key_Space)
    assert page.elapsed.text() == "−3"
    studio.tick(1.5)
    assert page.elapsed.text() == "−2"
    assert not recorder.is_recording
    studio.tick(1.6)
    assert recorder.calls[-1] == ("start", "takes")
    recorder.clip.append(np.full(2400, 0.5, np.float32))
    recorder.duration_s = 65.43
    studio.tick()
    assert page.elapsed.text() == "1:05.4"
    outline = studio.microphone.outline
    assert outline is not None
    assert outline.num_samples == 2400
    assert outline.peak == 0.5
    assert not page.picker.isEnabled()
    studio.key(Qt.Key.Key_Space)
    assert recorder.calls[-1] == ("paused", True)
    assert page.main.text() == "Go on"
    studio.key(Qt.Key.Key_Space)
    assert recorder.calls[-1] == ("paused", False)
    studio.key(Qt.Key.Key_Return)
    assert recorder.calls[-1] == "stop"
    studio.tick()
    assert [take.num_samples for take in studio.takes] == [480]
    assert page.main.text() == "Record"
    left: list[int] = []
    page.left.connect(lambda: left.append(1))
    studio.key(Qt.Key.Key_Escape)
    assert left == [1]


def test_the_countdown_can_be_cancelled_and_left_out(studio: Studio) -> None:
    studio.ready()
    studio.key(Qt.Key.Key_Space)
    assert studio.page.main.text() == "Cancel"
    studio.key(Qt.Key.Key_Space)
    studio.tick(10)
    assert not studio.recorder.is_recording
    studio.page.countdown.setCurrentIndex(studio.page.countdown.findData(0))
    studio.page.countdown.activated.emit(0)
    studio.key(Qt.Key.Key_Space)
    assert studio.recorder.is_recording
    studio.page.hide()
    assert studio.recorder.is_recording  # it goes on out of sight, and the microphone stays open
    assert studio.recorder.calls[-1] != "close"
    studio.microphone.stop()
    studio.tick()


def test_what_is_wrong_is_said(studio: Studio) -> None:
    page, recorder = studio.page, studio.recorder
    assert page.remark.words == ""
    studio.ready()
    recorder.is_dead = True
    studio.tick()
    assert "Only digital silence" in page.remark.words
    asked: list[str] = []
    page.help_requested.connect(asked.append)
    page.remark.help.click()
    assert asked == ["Nothing is recorded"]
    recorder.is_dead = False
    recorder.level = Level(0.0, -3.0, 0.0, 12)
    studio.tick()
    recorder.level = Level(-20.0, -30.0, 0.0, 12)
    studio.tick()
    assert "too loud" in page.remark.words  # it stays
    assert page.meter.lamp.text() == "12 clipped"
    page.meter.lamp.click()
    studio.tick()
    assert page.remark.words == ""
    recorder.is_open, recorder.error = False, "The recording stopped (gone): choose another one."
    studio.tick()
    assert page.remark.words == recorder.error
    page.picker.again.click()
    assert recorder.calls[-1] == ("open", None)


def test_a_device_that_is_lost_while_recording_keeps_what_there_is(studio: Studio) -> None:
    studio.ready()
    studio.settings.update(countdown_s=0)
    studio.key(Qt.Key.Key_Space)
    studio.tick()
    studio.recorder.end("unplugged")
    studio.recorder.is_open, studio.recorder.error = False, "The recording stopped (unplugged): rescan."
    studio.tick()
    assert len(studio.takes) == 1
    assert studio.page.remark.words == (
        "The recording stopped (unplugged): rescan; what was recorded until then (0.0 s) is kept."
    )


def test_a_disk_that_refuses_is_said(studio: Studio) -> None:
    studio.ready()
    studio.settings.update(countdown_s=0)
    studio.key(Qt.Key.Key_Space)
    studio.recorder.is_recording, studio.recorder.error = False, "Could not record to x: No space left."
    studio.tick()
    assert studio.page.remark.words == "Could not record to x: No space left."
    assert studio.page.main.text() == "Record"
    (studio.microphone.folder().parent / "file").touch()
    studio.settings.update(takes_folder=str(studio.microphone.folder().parent / "file" / "x"))
    studio.key(Qt.Key.Key_Space)
    assert "cannot be created" in studio.page.remark.words


def test_a_microphone_that_never_answers_is_given_up(studio: Studio) -> None:
    studio.tick(14)
    assert studio.microphone.state == "opening"
    studio.tick(2)
    assert "does not answer" in studio.page.remark.words


def test_the_choice_is_kept_by_name(qtbot: QtBot) -> None:
    picker = DevicePicker("Microphone", DARK)
    qtbot.addWidget(picker)
    chosen: list[str] = []
    picker.chosen.connect(chosen.append)
    picker.set_devices([YETI], "Yeti", "Built-in")
    assert picker.name == "Yeti"
    assert picker.box.itemText(0) == "System default (Built-in)"
    picker.set_devices([], "Yeti", "Built-in")  # unplugged
    assert picker.name == "Yeti"
    assert "not connected" in picker.box.currentText()
    picker.set_devices([InputDevice("Snowball", "ALSA", 0, 48000, 1, 0.01), YETI], "Yeti", "")
    assert picker.name == "Yeti"
    picker.box.setCurrentIndex(0)
    picker.box.activated.emit(0)
    assert chosen == [""]


def test_the_meter_rises_at_once_and_falls_slowly(qtbot: QtBot) -> None:
    now = [0.0]
    bar = LevelBar(DARK, clock=lambda: now[0])
    qtbot.addWidget(bar)
    bar.set_level(-6.0, -12.0)
    now[0] = 0.5
    bar.set_level(-40.0, -math.inf)
    assert bar.shown_db == pytest.approx((-18.0, -24.0, -6.0))
    now[0] = 2.0
    bar.set_level(-40.0, -50.0)
    assert bar.shown_db == pytest.approx((-40.0, -50.0, -40.0))
    meter = LevelMeter(LIGHT)
    qtbot.addWidget(meter)
    meter.set_level(0.0, -3.0, 7)
    meter.reset_clip()
    assert meter.num_clipped == 0
    meter.set_level(0.0, -3.0, 2)  # a take began: its own count
    assert meter.num_clipped == 2


# In the window


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    house = House(qtbot, tmp_path, str(tiny_checkpoint))
    house.settings.update(takes_folder=str(tmp_path / "takes"), countdown_s=0)
    yield house
    house.close()


@pytest.mark.sound
def test_from_the_menu_to_the_comparison(sound_card: SoundCard, window: House, tmp_path: Path) -> None:
    window.window.start([])
    window.window.welcome._record.click()
    pages = window.window.sound_pages
    assert pages.is_shown
    assert not window.window.actions_by_name["play"].isEnabled()
    microphone = pages.microphone
    window.until(lambda: microphone.state == "ready")
    page = pages.record_page
    assert page is not None
    page.setFocus()
    window.qtbot.keyClick(page, Qt.Key.Key_Space)
    window.until(lambda: microphone.duration_s > 0.1)
    spoken = noise(1.0, channels=2)
    with sound_card.speaking(spoken):
        window.until(lambda: microphone.duration_s > 1.9)
    window.qtbot.keyClick(page, Qt.Key.Key_Return)
    session = window.window.session
    window.until(lambda: session.document.is_complete)
    path = session.document.entry.path  # pyright: ignore[reportOptionalMemberAccess] - something is open
    assert path.parent == tmp_path / "takes"
    assert sorted(file.name for file in path.parent.iterdir()) == [f"{path.stem} (24 kHz mono).wav", path.name]
    written, rate = soundfile.read(path, dtype="float32")
    assert rate == 48000
    start = find(spoken[4800:9600, 0], written[:, 0]) - 4800
    np.testing.assert_array_equal(written[start + 4800 : start + len(spoken)], spoken[4800:])
    heard, rate = soundfile.read(path.with_name(f"{path.stem} (24 kHz mono).wav"), dtype="float32")
    assert rate == 24000
    opened = session.document.recording
    assert opened is not None
    np.testing.assert_allclose(heard, opened.waveform.samples[: len(heard)], atol=2e-5)
    assert window.window.pages.currentWidget() is window.window.workspace


@pytest.mark.sound
def test_closing_the_window_ends_the_take_well(sound_card: SoundCard, window: House, tmp_path: Path) -> None:
    window.window.commands.record()
    microphone = window.window.sound_pages.microphone
    window.until(lambda: microphone.state == "ready")
    microphone.record()
    window.until(lambda: microphone.duration_s > 0.3)
    window.window.sound_pages.leave()
    banners = window.window.findChildren(Banner)
    assert any("goes on" in banner.notice.text for banner in banners)
    window.window.close()
    (path,) = (tmp_path / "takes").iterdir()
    assert not path.name.endswith(".unfinished.wav")
    assert soundfile.info(path).duration > 0.3


def test_what_a_crash_left_is_offered_and_opened(window: House, tmp_path: Path) -> None:
    for n in (1, 2):
        wav = GrowingWav(new_take(tmp_path / "takes"), 24000, 1)
        wav.write(noise(n * 0.3, 24000, 1))
        wav.close()
    window.window.start([])
    window.until(lambda: bool(window.window.findChildren(Banner)))
    (banner,) = window.window.findChildren(Banner)
    assert "2 takes are safe" in banner.notice.text
    next(b for b in banner.findChildren(QPushButton) if b.text() == "Open them").click()
    session = window.window.session
    window.until(lambda: session.document.is_complete)
    assert len(session.recordings) == 2
    assert not list((tmp_path / "takes").glob("*unfinished*"))


def test_devices_that_come_back_are_listened_to(window: House, tmp_path: Path) -> None:
    pages = window.window.sound_pages
    recorder = PaperRecorder()
    pages.microphone._recorder = recorder  # pyright: ignore[reportAttributeAccessIssue]
    pages._watch.look = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    window.window.commands.record()
    recorder.is_opening, recorder.error = False, "Nothing can be recorded because no input device was found."
    window.until(lambda: pages.microphone.state == "failed")
    count = len(recorder.calls)
    pages._watch._take(SoundDevices(inputs=(YETI,), default_input="Yeti"))
    assert recorder.calls[count:] == [("open", None)]
    assert pages.record_page is not None
    assert pages.record_page.picker.box.itemText(0) == "System default (Yeti)"
    recorder.is_opening, recorder.is_open = False, True
    window.until(lambda: pages.microphone.state == "ready")
    count = len(recorder.calls)
    pages._watch._take(SoundDevices(inputs=(YETI,), default_input="Headset", follows=True))
    assert len(recorder.calls) == count  # PulseAudio has moved it
    pages._watch._take(SoundDevices(inputs=(YETI,), default_input="Yeti"))
    assert recorder.calls[count:] == [("open", None)]  # macOS and Windows have not
