"""The watch over the devices: what it sees, when it looks, and what PortAudio's lists mean on each system."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mimi_gui import sound_watch
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.playback import ABPlayer, Clip
from mimi_gui.sound_devices import DeviceRow, devices, find_device
from mimi_gui.sound_watch import SoundDevices, SoundWatch, is_about_devices
from tests.sound_card import SoundCard, need_programs, plugged_in
from tests.test_sound_card import noise, wait_until


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """A card of this test's own, whose sinks come and go."""
    need_programs()
    card = SoundCard()
    with plugged_in(card, monkeypatch):
        yield card
    card.close()


@pytest.mark.sound
def test_a_change_of_the_default_and_a_dead_server_are_told(card: SoundCard) -> None:
    told: list[SoundDevices] = []
    watch = SoundWatch(told.append)
    watch.start()
    try:
        wait_until(lambda: len(told) == 1)
        assert [device.name for device in told[0].outputs if device.is_default] == ["default"]
        assert "default" in [device.name for device in told[0].inputs]
        assert told[0].default_output == "Null Output"
        assert told[0].follows
        card._pactl("load-module", "module-null-sink", "sink_name=second", "sink_properties=device.description=Phones")
        card._pactl("set-default-sink", "second")
        wait_until(lambda: told[-1].default_output == "Phones")
        count = len(told)
        watch.look_soon()
        wait_until(lambda: len(told) > count)
        assert told[-1] == told[-2]  # nothing new, but it was asked for
        card.kill()
        wait_until(lambda: told[-1].outputs == ())
        assert told[-1].default_output == ""
    finally:
        watch.close()
    wait_until(lambda: not watch._thread.is_alive())


@pytest.mark.sound
def test_the_sound_goes_where_the_default_goes_and_survives_the_sink(card: SoundCard) -> None:
    """Headphones come, become the default, and are pulled out: the recording of each sink says where the sound was."""
    player = ABPlayer()
    player.open()
    x = noise(30.0)
    player.set_clips(Clip.from_samples(x, 48000, 48000), None)
    player.play()
    try:
        wait_until(lambda: player.position_s > 0.3)
        module = card._pactl(
            "load-module", "module-null-sink", "sink_name=phones", "norewinds=1", "format=float32le", "rate=48000"
        ).stdout.strip()
        card._pactl("set-default-sink", "phones")
        with card.recording("phones.monitor") as recording:
            wait_until(lambda: recording.samples[:, 0].any())
        card._pactl("unload-module", module)
        with card.recording() as recording:
            wait_until(lambda: recording.samples[:, 0].any())
        assert player.is_playing
        assert player.error is None
        before = player.position_s
        wait_until(lambda: player.position_s > before + 0.3)
    finally:
        player.close()


def test_without_a_server_the_watch_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([SoundDevices(default_output="Speakers"), SoundDevices(default_output="Speakers")])
    later = SoundDevices(default_output="AirPods")
    monkeypatch.setattr(sound_watch, "look", lambda: next(looks, later))
    monkeypatch.setattr(sound_watch, "POLL_S", 0.02)
    monkeypatch.setattr(sound_watch, "SETTLE_S", 0.0)
    monkeypatch.setattr(sound_watch.shutil, "which", lambda name: None)
    told: list[str] = []
    watch = SoundWatch(lambda found: told.append(found.default_output))
    watch.start()
    wait_until(lambda: len(told) == 1)
    watch.is_polling = True
    wait_until(lambda: len(told) == 2)
    watch.close()
    assert told == ["Speakers", "AirPods"]  # the look that found nothing new is not told


def test_a_look_where_there_is_no_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PlaybackUnavailable("PortAudio is missing.")

    monkeypatch.setattr(sound_watch, "list_all", refuse)
    monkeypatch.setattr(sound_watch.shutil, "which", lambda name: None)
    assert sound_watch.look() == SoundDevices(error="PortAudio is missing.")


@pytest.mark.parametrize(
    ("line", "is_due"),
    [
        ("Event 'new' on sink #3", True), ("Event 'remove' on source #1", True), ("Event 'change' on server", True),
        ("Event 'change' on sink #0", False), ("Event 'new' on sink-input #7", False), ("nonsense", False),
        ("Event 'new' on client #9", False),
    ],
)  # fmt: skip
def test_only_some_events_are_about_devices(line: str, is_due: bool) -> None:
    assert is_about_devices(line) is is_due


def test_windows_lists_a_device_per_host_api_and_wasapi_is_preferred() -> None:
    apis = [
        {"name": "MME", "default_output_device": 0, "default_input_device": -1},
        {"name": "Windows WASAPI", "default_output_device": 2, "default_input_device": -1},
        {"name": "Windows WDM-KS", "default_output_device": 3, "default_input_device": -1},
    ]
    names = ["Speakers", "Speakers", "Speakers", "Speakers"]
    rows = [
        {
            "name": name, "hostapi": api, "index": i, "default_samplerate": 48000.0, "max_output_channels": 2,
            "default_low_output_latency": 0.01,
        }
        for i, (name, api) in enumerate(zip(names, (0, 2, 1, 2), strict=True))
    ]  # fmt: skip

    def query_devices(kind: str | None = None) -> object:
        return rows[0] if kind else rows

    sd = SimpleNamespace(PortAudioError=RuntimeError, query_hostapis=lambda: apis, query_devices=query_devices)
    found = devices(sd, "output")
    assert [row.index for row in found if row.is_default] == [2]
    assert find_device(found, "Speakers", None).host_api == "Windows WASAPI"
    assert find_device(found, "Speakers", "MME").index == 0
    assert find_device(found, "Speakers", "ASIO").host_api == "Windows WASAPI"
    rival = DeviceRow("Speakers", "ALSA", 9, 48000, 2, 0.01, False)
    assert find_device([rival], "Speakers", None) is rival
