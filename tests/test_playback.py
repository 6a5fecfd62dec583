"""ABPlayer without a sound card: the silent clock is turned by hand, so every moment is exact."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from mimi_gui import sound_child
from mimi_gui.clip import Clip
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.playback import ABPlayer, list_devices
from mimi_gui.sound_devices import DeviceRow, SoundError, find_device, rates_to_try
from mimi_gui.sound_process import Status

RATE = 48000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(clock: Clock) -> ABPlayer:
    player = ABPlayer(clock=clock)
    player.set_clips(silence(3.0), silence(3.0))
    return player


def silence(seconds: float) -> Clip:
    return Clip.from_samples(np.zeros(round(seconds * RATE), np.float32), RATE, RATE)


def test_the_silent_clock_keeps_time(player: ABPlayer, clock: Clock) -> None:
    assert player.is_silent
    assert not player.is_open
    assert player.error is None
    assert player.duration_s == 3.0
    player.play()
    clock.now += 1.0
    assert player.position_s == pytest.approx(1.0, abs=1e-4)
    assert player.is_playing
    player.pause()
    assert not player.is_playing
    clock.now += 1.0
    assert player.position_s == pytest.approx(1.005, abs=1e-4)  # the fade is played to its end


def test_the_end_and_playing_again(player: ABPlayer, clock: Clock) -> None:
    player.play()
    clock.now += 5.0
    assert player.ended
    assert not player.is_playing
    assert player.position_s == 3.0
    player.play()
    assert player.is_playing
    clock.now += 0.5
    assert player.position_s == pytest.approx(0.5, abs=1e-3)


def test_a_seek_after_the_end_moves_without_playing(player: ABPlayer, clock: Clock) -> None:
    player.play()
    clock.now += 5.0
    assert player.ended
    player.seek(1.0)
    clock.now += 1.0
    assert player.position_s == 1.0
    assert not player.is_playing
    assert not player.ended
    player.play()
    clock.now += 0.5
    assert player.position_s == pytest.approx(1.5, abs=1e-3)


def test_a_seek_shows_its_target_at_once(player: ABPlayer, clock: Clock) -> None:
    player.seek(2.0)
    assert player.position_s == 2.0
    player.play()
    clock.now += 0.25
    player.seek(0.5)
    assert player.position_s == 0.5
    clock.now += 0.105
    assert player.position_s == pytest.approx(0.6, abs=1e-3)
    player.seek(99.0)
    assert player.position_s == 3.0
    player.seek(-1.0)
    assert player.position_s == 0.0


def test_stop_goes_to_the_start(player: ABPlayer, clock: Clock) -> None:
    player.play()
    clock.now += 1.0
    player.stop()
    assert player.position_s == 0.0
    assert not player.is_playing
    clock.now += 1.0
    assert player.position_s == 0.0


def test_a_loop_goes_round(player: ABPlayer, clock: Clock) -> None:
    player.set_loop(1.0, 2.0)
    assert player.loop_s == (1.0, 2.0)
    player.seek(1.0)
    player.play()
    clock.now += 2.25
    assert player.position_s == pytest.approx(1.25, abs=1e-3)
    player.clear_loop()
    clock.now += 5.0
    assert player.ended
    assert player.loop_s is None


def test_a_loop_has_half_a_second_and_stays_inside(player: ABPlayer) -> None:
    player.set_loop(1.0, 1.1)
    assert player.loop_s == (1.0, 1.5)
    player.set_loop(2.9, 3.7)
    assert player.loop_s == (2.5, 3.0)
    player.set_loop(2.0, 1.0)
    assert player.loop_s == (1.0, 2.0)


def test_sides_volume_and_gains(player: ABPlayer) -> None:
    assert player.side == "A"
    player.set_side("B")
    assert player.side == "B"
    with pytest.raises(ValueError):
        player.set_side("C")
    player.set_volume(7)
    assert player.volume == 1.0
    player.set_gains_db(0.0, -6.0)
    assert player.gains_db == pytest.approx((0.0, -6.0))


def test_a_clip_of_another_rate_is_refused(player: ABPlayer) -> None:
    clip = Clip.from_samples(np.zeros(100), 24000, 44100)
    with pytest.raises(ValueError, match="44100 Hz"):
        player.set_clips(clip, None)


def test_waiting_for_a_growing_clip_is_told(clock: Clock) -> None:
    player = ABPlayer(clock=clock)
    clip = Clip.for_duration(2.0, RATE, RATE)
    clip.append(np.zeros(RATE // 2, np.float32))
    player.set_clips(clip, None)
    player.play()
    clock.now += 1.0
    assert player.position_s == 0.5
    assert player.is_waiting
    assert player.is_playing
    clip.append(np.zeros(RATE, np.float32))
    clock.now += 0.25
    assert player.position_s == pytest.approx(0.75, abs=1e-3)
    assert not player.is_waiting


def test_play_without_clips_is_harmless(clock: Clock) -> None:
    player = ABPlayer(clock=clock)
    player.play()
    clock.now += 1.0
    assert not player.is_playing
    assert player.position_s == 0.0
    player.stop()
    player.close()
    player.close()


NO_PORTAUDIO = (
    "import sys; sys.path.insert(0, {root!r})\n"
    "class Missing:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == 'sounddevice': raise OSError('PortAudio library not found')\n"
    "sys.meta_path.insert(0, Missing())\n"
    "from mimi_gui.sound_process import main; main(sys.argv[1:])"
)


@pytest.fixture
def no_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    code = NO_PORTAUDIO.format(root=str(Path(sound_child.__file__).parent.parent))
    monkeypatch.setattr(sound_child, "command", lambda *arguments: [sys.executable, "-c", code, *arguments])


def test_without_portaudio_it_says_what_to_install(no_portaudio: None) -> None:
    with pytest.raises(PlaybackUnavailable, match="libportaudio2") as caught:
        list_devices()
    assert caught.value.hint == "No sound"
    player = ABPlayer()
    player.set_clips(silence(3.0), None)
    player.seek(1.0)
    with pytest.raises(PlaybackUnavailable, match="brew install portaudio"):
        player.open()
    assert player.is_silent
    assert player.position_s == 1.0
    player.play()
    assert player.is_playing


def test_opening_without_waiting(no_portaudio: None) -> None:
    player = ABPlayer()
    started = time.monotonic()
    player.open(wait_s=0)
    assert time.monotonic() - started < 0.1
    assert player.is_opening
    deadline = time.monotonic() + 20
    while player.is_opening:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert player.error is not None
    assert not player.is_open


def test_a_playing_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_child, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    player = ABPlayer()
    with pytest.raises(PlaybackUnavailable, match="rescan"):
        player.open()
    with pytest.raises(PlaybackUnavailable, match="did not start"):
        list_devices()


def test_a_list_of_devices_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_child, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(sound_child, "LIST_WAIT_S", 0.2)
    with pytest.raises(PlaybackUnavailable, match="did not start"):
        list_devices()


def row(name: str, api: str = "ALSA", index: int = 0, rate: int = 44100, default: bool = False) -> DeviceRow:
    return DeviceRow(name, api, index, rate, 2, 0.01, default)


def test_a_device_is_found_by_name_and_host_api() -> None:
    rows = [row("Speaker", "MME", 0), row("Speaker", "WASAPI", 1), row("Headset", "WASAPI", 2, default=True)]
    assert find_device(rows, None, None).index == 2
    assert find_device(rows, "Speaker", "WASAPI").index == 1
    assert find_device(rows, "Speaker", None).index == 1  # WASAPI before MME: the quicker of the two
    assert find_device(rows, "Speaker", "ASIO").index == 1
    with pytest.raises(SoundError):
        find_device(rows, "Gone", None)
    with pytest.raises(SoundError):
        find_device([], None, None)


def test_rates_to_try() -> None:
    assert rates_to_try(row("default")) == [48000, 44100]
    assert rates_to_try(row("HDA Intel PCH: ALC (hw:0,0)", rate=96000)) == [96000, 48000, 44100]
    assert rates_to_try(row("Speaker", "WASAPI", rate=44100)) == [44100, 48000]


def test_the_status_block_extrapolates_between_blocks() -> None:
    class Mixed:
        sample_rate, ended_serial, is_waiting, num_loops = RATE, 0, False, 0
        position, seek_serial = 0, 1

    status = Status(bytearray(8 * (16 + 128 * 4)))
    assert status.heard(5.0) == (0.0, 0)
    for block in range(1, 400):  # 10 ms each; block n is heard until 10.03 + n / 100
        Mixed.position = 480 * block
        status.post(Mixed, 10.03 + block / 100, True)  # type: ignore[arg-type]
    assert status.heard(13.5)[0] == pytest.approx((13.5 - 10.03) * RATE)
    assert status.heard(99.0)[0] == 480 * 399
    Mixed.position, Mixed.seek_serial = 5, 2
    status.post(Mixed, 14.03, True)  # type: ignore[arg-type]
    assert status.heard(14.015)[1] == 1  # the seek is not heard yet
    assert status.heard(14.025)[1] == 2
