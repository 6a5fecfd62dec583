"""The output keeper: what it does and says when devices come, go and change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.playback import ABPlayer, Clip, OutputDevice
from mimi_gui.sound_watch import SoundDevices
from mimi_gui.ui.device_watch import DeviceWatch
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.output_keeper import OutputKeeper
from mimi_gui.ui.settings import SettingsStore
from tests.sound_card import SoundCard, need_programs, plugged_in
from tests.test_sound_card import noise


def output(name: str) -> OutputDevice:
    return OutputDevice(name, "Core Audio", 0, 48000, 2, 0.01)


class PaperPlayer:
    def __init__(self) -> None:
        self.is_open, self.is_opening, self.is_playing = True, False, False
        self.error: str | None = None
        self.latency_s = 0.05


class PaperOutput:
    def __init__(self, player: Any) -> None:
        self._player = player
        self.devices: tuple[OutputDevice, ...] = ()
        self.num_reopened = 0

    def take_in(self, devices: tuple[OutputDevice, ...]) -> None:
        self.devices = devices

    def reopen(self) -> None:
        self.num_reopened += 1
        if isinstance(self._player, PaperPlayer):
            self._player.is_open, self._player.error = True, None


class PaperTransport(QObject):
    changed = Signal()

    def __init__(self, player: Any) -> None:
        super().__init__()
        self.player, self.output = player, PaperOutput(player)


class Desk:
    def __init__(self, tmp_path: Path, player: Any) -> None:
        self.settings = SettingsStore(tmp_path / "s.ini")
        self.transport = PaperTransport(player)
        self.watch = DeviceWatch()
        self.num_looks = 0
        self.watch.look = self._look
        self.now = 100.0
        self.keeper = OutputKeeper(self.transport, self.watch, self.settings, clock=lambda: self.now)  # pyright: ignore[reportArgumentType]
        self.holder = QWidget()
        for part in (self.transport, self.watch, self.keeper):
            part.setParent(self.holder)  # timers must not end in whichever thread collects garbage
        self.notices: list[Notice] = []
        self.keeper.noticed.connect(self.notices.append)

    def _look(self) -> None:
        self.num_looks += 1

    def see(self, *names: str, default: str = "", follows: bool = False) -> None:
        self.watch._take(SoundDevices(tuple(map(output, names)), (), default, "", follows))


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, PaperPlayer())
    qtbot.addWidget(desk.holder)
    return desk


def test_another_default_is_followed_and_told(desk: Desk) -> None:
    desk.see("Speakers", "AirPods", default="Speakers")
    assert desk.notices == []
    assert [device.name for device in desk.transport.output.devices] == ["Speakers", "AirPods"]
    desk.see("Speakers", "AirPods", default="AirPods")
    assert desk.transport.output.num_reopened == 1
    assert desk.notices[-1].text == "The system's output is now AirPods: the sound has gone there."
    desk.see("Speakers", "AirPods", default="Speakers", follows=True)
    assert desk.transport.output.num_reopened == 1  # PulseAudio has moved it already
    assert "is now Speakers" in desk.notices[-1].text
    desk.settings.update(output_device="AirPods")
    count = len(desk.notices)
    desk.see("Speakers", "AirPods", default="AirPods")
    assert len(desk.notices) == count  # a chosen one stays, whatever the default is


def test_a_lost_output_is_opened_again_when_it_is_back(desk: Desk) -> None:
    desk.settings.update(output_device="AirPods")
    desk.see("Speakers", "AirPods", default="Speakers")
    player = desk.transport.player
    desk.transport.changed.emit()
    player.is_open, player.error = False, "The sound stopped."
    desk.transport.changed.emit()
    assert desk.num_looks == 1
    desk.see("Speakers", default="Speakers")
    assert desk.transport.output.num_reopened == 0
    assert desk.notices[-1].actions[0] == ("Use the system's output", "use-default-output")
    desk.see("Speakers", "AirPods", default="Speakers")
    assert desk.transport.output.num_reopened == 1
    desk.transport.changed.emit()
    assert desk.notices[-1].text == "The sound is on AirPods now. Press Space to go on."


def test_an_output_that_is_lost_again_at_once_is_left_alone(desk: Desk) -> None:
    desk.see("Speakers", default="Speakers")
    player = desk.transport.player
    for reopened, seconds in ((1, 0.0), (1, 1.0), (2, 6.0)):
        desk.now += seconds
        player.is_open, player.error = False, "The sound stopped."
        desk.transport.changed.emit()
        desk.see("Speakers", default="Speakers")
        assert desk.transport.output.num_reopened == reopened


def test_silence_that_nobody_complained_about_stays(desk: Desk) -> None:
    desk.transport.player.is_open = False
    desk.transport.changed.emit()
    desk.see("Speakers")
    assert desk.transport.output.num_reopened == 0
    assert desk.notices == []


def test_a_late_output_is_told_once(desk: Desk) -> None:
    desk.see("AirPods", default="AirPods")
    desk.keeper._steady.setInterval(0)
    player = desk.transport.player
    player.is_playing, player.latency_s = True, 0.18
    for _ in range(2):
        desk.transport.changed.emit()
        desk.keeper._steady.stop()
        desk.keeper._tell_latency()
    (notice,) = desk.notices
    assert notice.text.startswith("AirPods is heard 180 ms late, as Bluetooth is")
    player.latency_s = 0.05
    desk.keeper._slow_told = ""
    desk.keeper._tell_latency()
    assert len(desk.notices) == 1


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    need_programs()
    card = SoundCard()
    with plugged_in(card, monkeypatch):
        yield card
    card.close()


@pytest.mark.sound
def test_on_a_real_server_headphones_come_and_go(card: SoundCard, qtbot: QtBot, tmp_path: Path) -> None:
    player = ABPlayer()
    desk = Desk(tmp_path, player)
    qtbot.addWidget(desk.holder)
    del desk.watch.look
    player.open()
    player.set_clips(Clip.from_samples(noise(30.0), 48000, 48000), None)
    player.play()
    desk.watch.start()
    try:
        qtbot.waitUntil(lambda: desk.watch.devices.default_output != "", timeout=10_000)
        module = card._pactl(
            "load-module", "module-null-sink", "sink_name=phones", "sink_properties=device.description=Phones"
        ).stdout.strip()
        card._pactl("set-default-sink", "phones")
        qtbot.waitUntil(lambda: len(desk.notices) == 1, timeout=10_000)
        assert "is now Phones" in desk.notices[0].text
        card._pactl("unload-module", module)
        qtbot.waitUntil(lambda: len(desk.notices) == 2, timeout=10_000)
        assert "is now Null Output" in desk.notices[1].text
        assert player.is_playing
        assert desk.transport.output.num_reopened == 0
    finally:
        desk.watch.close()
        player.close()
