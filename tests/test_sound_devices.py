"""When a stream counts as dead, by a clock made of paper; and rates and names to try."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mimi_gui import sound_devices
from mimi_gui.sound_devices import DeviceRow, WatchedStream, rates_to_try


class Watch:
    """A stream whose clock and callbacks are turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(sound_devices.time, "monotonic", lambda: self.now)
        self.stream = WatchedStream()
        self.stream.stream = SimpleNamespace(active=True)

    def look(self, seconds: float, callbacks: int) -> str | None:
        self.now += seconds
        self.stream.num_callbacks += callbacks
        return self.stream.trouble()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_a_stream_without_callbacks_is_dead_after_three_seconds(watch: Watch) -> None:
    assert watch.look(0.1, 10) is None
    said = [watch.look(0.1, 0) for _ in range(32)]
    assert said[:29] == [None] * 29
    assert said[-1] is not None
    assert "went quiet" in said[-1]
    assert watch.look(0.1, 1) is None


def test_a_process_that_was_stopped_itself_does_not_blame_the_device(watch: Watch) -> None:
    assert watch.look(0.1, 10) is None
    assert watch.look(0.1, 0) is None
    assert watch.look(60.0, 0) is None  # both were stopped: the callbacks may begin again a little later
    assert watch.look(0.1, 5) is None
    watch.look(60.0, 0)
    assert [watch.look(0.1, 0) for _ in range(32)][-1] is not None  # but they must


def test_a_stream_that_ended_or_failed(watch: Watch) -> None:
    watch.stream.stream.active = False
    assert watch.look(0.1, 1) == "the device stopped"
    watch.stream.failure = "Traceback"
    assert watch.look(0.1, 1) == "Traceback"
    watch.stream.stream = None
    assert watch.look(0.1, 0) is None


@pytest.mark.parametrize(
    ("host_api", "name", "wanted"),
    [
        ("ALSA", "default", [48000, 44100, 96000]),
        ("ALSA", "Card: (hw:0,0)", [96000, 48000, 44100]),
        ("Core Audio", "Speakers", [96000, 48000, 44100]),
    ],
)
def test_rates_to_try(host_api: str, name: str, wanted: list[int]) -> None:
    assert rates_to_try(DeviceRow(name, host_api, 0, 96000, 2, 0.01, True)) == wanted
