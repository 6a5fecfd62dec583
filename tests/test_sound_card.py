"""What reaches the sound card, recorded from it and compared with numpy, bit by bit outside the fades."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import soxr

from mimi_gui.clip import Clip
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.output import SoundProcess
from mimi_gui.playback import ABPlayer, list_devices
from tests.sound_card import SoundCard, need_programs, plugged_in

pytestmark = pytest.mark.sound
rng = np.random.default_rng(11)


def noise(seconds: float, rate: int = 48000, channels: int = 1) -> np.ndarray:
    """Noise without a zero, so that silence in the recording is a gap."""
    sign = rng.choice([-1, 1], (round(seconds * rate), channels))
    return (sign * rng.uniform(0.05, 0.8, (round(seconds * rate), channels))).astype(np.float32)


def find(needle: np.ndarray, hay: np.ndarray) -> int:
    """Index of the first bit-exact occurrence of ``needle`` [n] in ``hay`` [T], -1 if none."""
    for start in np.nonzero(hay == needle[0])[0]:
        if start + len(needle) <= len(hay) and np.array_equal(hay[start : start + len(needle)], needle):
            return int(start)
    return -1


def wait_until(condition, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def player(sound_card: SoundCard):
    player = ABPlayer()
    player.open()
    yield player
    player.close()


def test_the_devices_are_listed(sound_card: SoundCard) -> None:
    devices = list_devices()
    assert [d.name for d in devices if d.is_default] == ["default"]
    assert all(d.host_api == "ALSA" and d.num_channels > 0 for d in devices)


def test_a_then_b_at_the_same_position(sound_card: SoundCard, player: ABPlayer) -> None:
    assert player.sample_rate == 48000
    a, b = noise(2.0), noise(2.0)
    player.set_clips(Clip.from_samples(a, 48000, 48000), Clip.from_samples(b, 48000, 48000))
    with sound_card.recording() as recording:
        player.play()
        wait_until(lambda: player.position_s > 0.7)
        player.set_side("B")
        wait_until(lambda: not player.is_playing)
        assert player.ended
    left = recording.samples[:, 0]
    np.testing.assert_array_equal(left, recording.samples[:, 1])
    start = find(a[240:400, 0], left) - 240
    assert start > -240
    heard = left[start : start + len(a)]
    is_a, is_b = heard == a[:, 0], heard == b[:, 0]
    switch = int(np.nonzero(~is_a[240:])[0][0]) + 240
    assert is_a[240:switch].all()
    assert is_b[switch + 480 : len(a) - 240].all()
    assert 0.7 * 48000 - 480 < switch < 0.9 * 48000
    assert player.underruns == 0


def test_a_switch_does_not_click(sound_card: SoundCard, player: ABPlayer) -> None:
    t = np.arange(2 * 48000) / 48000
    a = (0.7 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    b = (0.6 * np.sin(2 * np.pi * 440 * t + 0.4)).astype(np.float32)
    player.set_clips(Clip.from_samples(a, 48000, 48000), Clip.from_samples(b, 48000, 48000))
    with sound_card.recording() as recording:
        player.play()
        for side in "BABAB":
            time.sleep(0.15)
            player.set_side(side)
        wait_until(lambda: player.ended)
    steps = np.abs(np.diff(recording.samples[:, 0]))
    own = max(np.abs(np.diff(a)).max(), np.abs(np.diff(b)).max())
    # Within a cross-fade the difference of the two signals adds |a - b| pi / 2 / 480 to a step.
    assert steps.max() <= own * 1.01 + np.abs(a - b).max() * np.pi / 2 / 480


@pytest.mark.parametrize("rate", [44100, 48000])
def test_24_khz_is_converted_once_and_reaches_the_card(
    rate: int, sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = sound_card if rate == 48000 else SoundCard(sample_rate=rate)
    try:
        with plugged_in(card, monkeypatch):
            player = ABPlayer()
            player.open(sample_rate=rate)
            source = noise(1.0, 24000)[:, 0]
            player.set_clips(Clip.from_samples(source, 24000, player.sample_rate), None)
            with card.recording() as recording:
                player.play()
                wait_until(lambda: player.ended)
            player.close()
        expected = soxr.resample(source, 24000, rate, "HQ")
        fade = round(0.005 * rate)
        assert find(expected[fade : len(expected) - fade], recording.samples[:, 0]) > 0
    finally:
        if card is not sound_card:
            card.close()


def test_a_loop_and_a_seek(sound_card: SoundCard, player: ABPlayer) -> None:
    x = noise(3.0)
    player.set_clips(Clip.from_samples(x, 48000, 48000), None)
    player.set_loop(0.5, 1.1)
    player.seek(0.5)
    with sound_card.recording() as recording:
        player.play()
        time.sleep(1.4)  # two seams
        player.clear_loop()
        player.seek(2.0)
        wait_until(lambda: player.ended)
    left = recording.samples[:, 0]
    body = x[24000 + 240 : 52800 - 240, 0]
    first = find(body, left)
    assert first > 0
    second = first + 28800
    np.testing.assert_array_equal(left[second : second + len(body)], body)
    assert np.abs(left[second - 241]) < 1e-3
    tail = x[96000 + 240 : len(x) - 240, 0]
    assert find(tail, left) > second


def test_an_abx_press_is_out_and_in(sound_card: SoundCard, player: ABPlayer) -> None:
    x = noise(1.5)
    clip = Clip.from_samples(x, 48000, 48000)
    player.set_clips(clip, Clip.from_samples(x, 48000, 48000))
    player.set_gap_switch(True)
    with sound_card.recording() as recording:
        player.press("A")
        player.play()
        time.sleep(0.4)
        player.press("B")
        time.sleep(0.3)
        player.press("B")
        wait_until(lambda: player.ended)
    left = recording.samples[:, 0]
    start = find(x[240:400, 0], left) - 240
    differs = np.nonzero(left[start + 240 : start + len(x) - 240] != x[240:-240, 0])[0]
    groups = np.split(differs, np.nonzero(np.diff(differs) > 480)[0] + 1)
    assert [int(g[-1] - g[0]) + 1 <= 480 for g in groups] == [True, True]
    shapes = [left[start + 240 + g[0] : start + 240 + g[-1]] / x[240 + g[0] : 240 + g[-1], 0] for g in groups]
    n = min(map(len, shapes))
    assert n > 470
    np.testing.assert_allclose(shapes[0][:n], shapes[1][:n], atol=0.02)


def test_the_playhead_is_what_is_heard(sound_card: SoundCard, player: ABPlayer) -> None:
    """The position read at a moment and the sample the card plays at that moment: within 20 ms."""
    x = noise(2.0)
    player.set_clips(Clip.from_samples(x, 48000, 48000), None)
    errors = []
    with sound_card.recording() as recording:
        player.play()
        for _ in range(6):
            time.sleep(0.2)
            position, now_at = player.position_s, recording.num_samples
            errors.append((position, now_at))
    start = find(x[240:400, 0], recording.samples[:, 0]) - 240
    # The recorder's own delay (10 ms asked) and the sink's block are in the difference too.
    lags = [position - (now_at - start) / 48000 for position, now_at in errors]
    assert np.median(lags) == pytest.approx(0.0, abs=0.045)
    assert np.ptp(lags) < 0.06


def test_a_player_survives_its_sound_card(sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch) -> None:
    need_programs()
    card = SoundCard()
    player = ABPlayer()
    try:
        with plugged_in(card, monkeypatch):
            player.open()
        player.set_clips(Clip.from_samples(noise(20.0), 48000, 48000), None)
        player.play()
        wait_until(lambda: player.position_s > 0.3)
        card.kill()
        wait_until(lambda: not player.is_open)
        assert player.error is not None
        assert "rescan" in player.error
        assert not player.is_playing
        assert player.position_s > 0.3
        player.play()  # silently
        before = player.position_s
        wait_until(lambda: player.position_s > before + 0.05)
        player.open()  # the test's other card
        assert player.is_open
        assert player.error is None
    finally:
        player.close()
        card.close()


def test_a_silent_stream_goes_to_rest_and_wakes(sound_card: SoundCard) -> None:
    x = noise(1.0)
    player = ABPlayer()
    player.open(rest_s=0.3)
    player.set_clips(Clip.from_samples(x, 48000, 48000), None)
    assert isinstance(player._sound, SoundProcess)
    status = player._sound._status
    time.sleep(1.0)
    calls = status.num_callbacks
    time.sleep(0.3)
    assert status.num_callbacks == calls
    player.seek(0.25)
    assert player.position_s == 0.25
    with sound_card.recording() as recording:
        player.play()
        wait_until(lambda: player.ended)
    assert find(x[12000 + 240 : -240, 0], recording.samples[:, 0]) > 0
    assert player.underruns == 0
    assert player.error is None
    player.close()


def test_python_s_lock_is_out_of_the_way(sound_card: SoundCard, player: ABPlayer) -> None:
    """This process holds the lock for a third of a second at a time: the sound goes on without a gap."""
    x = noise(4.0)
    player.set_clips(Clip.from_samples(x, 48000, 48000), None)
    with sound_card.recording() as recording:
        player.play()
        longest = 0.0
        while not player.ended:
            started = time.monotonic()
            sorted(range(1_500_000), key=int)  # one call into C: nobody else gets the lock
            longest = max(longest, time.monotonic() - started)
    assert longest > 0.05
    assert find(x[240:-240, 0], recording.samples[:, 0]) > 0
    assert player.underruns == 0


def test_an_underrun_is_counted_and_nothing_else_is(sound_card: SoundCard, player: ABPlayer) -> None:
    player.set_clips(Clip.from_samples(noise(10.0), 48000, 48000), None)
    player.play()
    assert isinstance(player._sound, SoundProcess)
    child = player._sound._child.pid
    wait_until(lambda: player.position_s > 0.5)
    with sound_card.recording() as recording:
        recording.wait_for(4800)
        assert player.underruns == 0
        for frozen_s, is_heard in ((0.015, False), (0.3, True)):
            before, counted = recording.num_samples, player.underruns
            os.kill(child, signal.SIGSTOP)
            time.sleep(frozen_s)
            os.kill(child, signal.SIGCONT)
            recording.wait_for(24000)
            assert (recording.samples[before:, 0] == 0).any() == is_heard
            assert (player.underruns > counted) == is_heard


def test_silence_is_not_interrupted(sound_card: SoundCard, player: ABPlayer) -> None:
    """What stopped while nothing was played is no dropout."""
    player.set_clips(Clip.from_samples(noise(10.0), 48000, 48000), None)
    assert isinstance(player._sound, SoundProcess)
    status, child = player._sound._status, player._sound._child.pid
    wait_until(lambda: status.num_callbacks > 5)
    os.kill(child, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(child, signal.SIGCONT)
    calls = status.num_callbacks
    wait_until(lambda: status.num_callbacks > calls + 5)
    assert status.longest_gap_s > 0.25  # it was noticed
    assert player.underruns == 0


def test_two_players_share_the_card(sound_card: SoundCard, player: ABPlayer) -> None:
    second = ABPlayer()
    second.open()
    x = (noise(1.0) * 0.4).astype(np.float32)
    for one in (player, second):
        one.set_clips(Clip.from_samples(x, 48000, 48000), None)
        one.play()
    wait_until(lambda: player.ended and second.ended)
    assert player.error is None
    assert second.error is None
    second.close()


def test_another_device_goes_on_where_the_first_stopped(sound_card: SoundCard, player: ABPlayer) -> None:
    player.set_clips(Clip.from_samples(noise(20.0), 48000, 48000), None)
    player.play()
    wait_until(lambda: player.position_s > 0.3)
    player.open("pulse", wait_s=0)
    assert player.is_opening
    wait_until(lambda: player.is_open)
    assert player.device is not None
    assert player.device.name == "pulse"
    assert player.is_playing
    before = player.position_s
    assert 0.3 < before < 3.0
    wait_until(lambda: player.position_s > before + 0.3)
    assert player.latency_s * 200 == pytest.approx(round(player.latency_s * 200))


def test_a_rate_that_the_device_refuses_is_told(sound_card: SoundCard) -> None:
    player = ABPlayer()
    with pytest.raises(PlaybackUnavailable, match="cannot be opened"):
        player.open(sample_rate=13)
    player.open()
    assert player.is_open
    assert 0.01 < player.latency_s < 0.2
    player.close()


def test_an_output_that_is_not_there_is_said_so(sound_card: SoundCard) -> None:
    player = ABPlayer()
    with pytest.raises(PlaybackUnavailable, match="Loudspeaker of Babel"):
        player.open("Loudspeaker of Babel")
    assert player.is_silent
    assert player.error is not None
    player.close()
