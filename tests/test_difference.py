"""Listening to A minus B, against numpy's own subtraction: aligned to the sample, at its own level, without a click."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pytestqt.qtbot import QtBot

from mimi_gui.mixer import raised_cosine
from mimi_gui.playback import ABPlayer, Clip
from mimi_gui.ui import sound_output
from tests.test_main_window import House
from tests.test_mixer import CROSS, FADE, RATE, Pump, clip_of, noise, playing, sine

rng = np.random.default_rng(3)


@pytest.mark.parametrize("block", [1, 64, 480, 5000, None])
def test_what_is_heard_is_a_minus_b_at_the_same_sample(block: int | None) -> None:
    a, b = noise(1.0), noise(1.0)
    # The gains of the loudness match would make another difference than the one the codec made.
    pump = Pump(playing(clip_of(a), clip_of(b), gain_a=0.5, gain_b=0.25), block=block)
    pump.pump(9000)
    turned = len(pump.heard)
    pump.change(difference=True)
    pump.pump(9000)
    back = len(pump.heard)
    pump.change(difference=False, side=1)
    pump.pump(9000)
    heard, n = pump.heard, len(pump.heard)
    np.testing.assert_array_equal(heard[turned + CROSS : back], (a - b)[turned + CROSS : back])
    w = raised_cosine(CROSS)[1:, None].astype(np.float64)
    fade = slice(turned, turned + CROSS)
    np.testing.assert_allclose(heard[fade], 0.5 * a[fade] * (1 - w) + (a - b)[fade] * w, atol=3e-7)
    np.testing.assert_allclose(heard[back + CROSS :], 0.25 * b[back + CROSS : n], atol=1e-7)


def test_a_told_gain_and_nothing_else() -> None:
    a, b = noise(1.0), noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(b), difference=True, gain_difference=4.0))
    pump.pump(20000)
    np.testing.assert_array_equal(pump.heard[FADE:], 4 * (a - b)[FADE:20000])


def test_equal_sides_have_no_difference_and_a_shorter_one_ends_it() -> None:
    a = noise(0.5)
    pump = Pump(playing(clip_of(a), clip_of(a), difference=True), block=None)
    assert not pump.pump(len(a)).any()
    pump = Pump(playing(clip_of(a), clip_of(a[:9000] / 2), difference=True), block=None)
    heard = pump.pump(len(a))
    np.testing.assert_array_equal(heard[FADE:9000], (a - a / 2)[FADE:9000])
    assert not heard[9000:].any()  # not the longer side alone, which is no difference


def test_no_click_however_often_it_is_turned() -> None:
    x, y = sine(3.0), sine(3.0, phase=1.1, amplitude=0.7)
    own = max(np.abs(np.diff(s[:, 0])).max() for s in (x, y, x - y))
    pump = Pump(playing(clip_of(x), clip_of(y)), block=None)
    for i in range(80):
        pump.change(side=i % 2, difference=bool(i % 3))
        pump.pump(int(rng.integers(50, 1500)))
    # A raised cosine over 10 ms adds at most pi / 2 / CROSS of the distance per sample; two may run at once.
    assert np.abs(np.diff(pump.heard[:, 0])).max() <= own + 2 * 1.6 / CROSS * 1.5


def test_it_waits_for_both_sides() -> None:
    a = noise(1.0)
    growing = Clip(RATE, RATE)
    growing.append(np.zeros(4800, np.float32))
    pump = Pump(playing(clip_of(a), growing, difference=True))
    pump.pump(9600)
    assert pump.mixer.is_waiting
    assert pump.mixer.position == 4800


def test_a_blind_test_never_hears_it() -> None:
    a, b = noise(1.0), noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(b), difference=True, gap_switch=True))
    pump.pump(9600)
    np.testing.assert_array_equal(pump.heard[FADE:], a[FADE:9600])


def test_the_player_s_third_side() -> None:
    player = ABPlayer()
    player.set_clips(clip_of(noise(0.5)), clip_of(noise(0.5)))
    player.set_side("B")
    player.set_side("D")
    assert player.side == "D"
    player.set_difference_gain_db(20.0)
    assert player._plan.gain_difference == pytest.approx(10.0)
    player.set_side("A")
    assert player.side == "A"
    player.set_side("D")
    player.press("B")
    assert player.side == "B"
    player.close()


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(24_000 * 2) * 0.07), 24_000)
    return path


def test_the_window_s_third_side(house: House, recording: Path) -> None:
    window = house.window
    window.transport.set_side("D")
    assert window.transport.player.side != "D"  # nothing is open yet
    house.open(recording)
    window.panels.lanes.show("difference")
    window.commands.hear_difference()
    house.until(lambda: window.workspace.bar.switch._side == "D")
    assert window.workspace.wall.difference is not None
    assert window.workspace.wall.difference.heard
    assert not window.workspace.wall.source.heard
    assert "as it is" in window.workspace.bar.switch.accessibleName()
    window.commands.difference_gain()
    assert "+12 dB" in window.workspace.bar.switch.accessibleName()
    plan = window.transport.player._plan
    assert plan.gain_difference == pytest.approx(10 ** (12 / 20))
    assert plan.a is not None
    assert plan.b is not None
    document = window.session.document
    assert document.sound is not None
    assert document.recording is not None
    # Both clips are resampled alike, so at the device's rate they are as well aligned as at the codec's.
    at_rate = Clip.from_samples(
        document.recording.waveform.samples - document.sound, 24_000, window.transport.player.sample_rate
    )
    house.until(lambda: plan.b is not None and plan.b.is_finished)
    np.testing.assert_allclose(plan.a.samples - plan.b.samples, at_rate.samples, atol=1e-4)
    window.commands.difference_gain()
    window.commands.difference_gain()
    assert window.transport.difference_gain_db == 0.0
    window.commands.hear_a()
    house.until(lambda: window.workspace.bar.switch._side == "A")
    assert not window.workspace.wall.difference.heard
