"""The recording's own file as side A: its rate, its channels, its level; and what a listening test offers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from pytestqt.qtbot import QtBot
from scipy import signal

from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.listening_sources import sources
from mimi_gui.ui.notices import Notice
from tests.sound_card import SoundCard
from tests.test_main_window import House, house

__all__ = ["house"]  # a fixture

RATE = 44_100


@pytest.fixture
def stereo(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Two seconds of two different tones, the right one above what 24 kHz can hold, and its samples [T, 2]."""
    t = np.arange(2 * RATE) / RATE
    samples = np.stack([0.3 * np.sin(2 * np.pi * 440 * t), 0.2 * np.sin(2 * np.pi * 15_000 * t)], axis=1)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path, samples.astype(np.float32)


def hear(house: House, path: Path) -> None:
    house.open(path)
    house.window.actions_by_name["hear_file"].trigger()
    transport = house.window.transport
    house.until(lambda: transport.take is not None)
    house.until(lambda: transport.sides.a is not None and transport.sides.a.is_finished)


def test_the_file_is_heard_at_its_rate_and_with_its_channels(house: House, stereo: tuple[Path, np.ndarray]) -> None:
    path, samples = stereo
    hear(house, path)
    transport, switch = house.window.transport, house.window.workspace.bar.switch
    feed = transport.sides.a
    assert feed is not None
    wanted = soxr.resample(samples, RATE, transport.player.sample_rate)
    np.testing.assert_allclose(feed.clip.samples[: len(wanted)], wanted, atol=1e-6)
    assert abs(feed.clip.length - round(2 * transport.player.sample_rate)) <= 1
    assert transport.player.side == "A"
    assert switch._labels["A"] == ("Original", "the file, 44.1 kHz stereo")
    assert not house.window.panels.shelf.takes  # it is no state of the codebooks
    house.window.actions_by_name["hear_file"].trigger()
    assert transport.take is None
    assert transport.sides.a is not None
    assert transport.sides.a.samples.ndim == 1
    house.window.actions_by_name["hear_file"].trigger()  # read once
    assert transport.take is not None


def as_played(samples: np.ndarray, rate: int, device_rate: int, gain_db: float) -> np.ndarray:
    """What two loudspeakers get of ``samples``, [T] or [T, 2] at ``rate``: float64 [T', 2]."""
    played = soxr.resample(samples.astype(np.float64), rate, device_rate) * 10 ** (gain_db / 20)
    return np.repeat(played[:, None], 2, axis=1) if played.ndim == 1 else played


def peak_dbtp(played: np.ndarray) -> float:
    return 20 * np.log10(np.abs(signal.resample_poly(played, 4, 1, axis=0)).max())


def noise(seconds: float, rate: int, low_hz: float, high_hz: float, level: float) -> np.ndarray:
    """Noise between two frequencies, [T, 2], its two channels not alike."""
    white = np.random.default_rng(3).standard_normal((round(seconds * rate), 2))
    band = np.asarray(signal.sosfilt(signal.butter(8, [low_hz, high_hz], "bandpass", fs=rate, output="sos"), white, 0))
    return (level * band / np.abs(band).max()).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "low_hz", "high_hz"),
    [(8_000, 300, 3_400), (22_050, 100, 9_000), (44_100, 100, 18_000), (96_000, 20_000, 40_000)],
)
def test_both_are_equally_loud_as_they_are_heard(
    house: House, tmp_path: Path, rate: int, low_hz: float, high_hz: float
) -> None:
    """Whatever rate the file has: what counts is what the loudspeakers get of both, over the loop."""
    samples = noise(3.0, rate, low_hz, high_hz, 0.9) + noise(3.0, rate, 500, 600, 0.05)
    samples[:rate] *= 0.1
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    hear(house, path)
    transport, document = house.window.transport, house.window.session.document
    device_rate = transport.player.sample_rate
    for loop in (None, (1.25, 2.5)):
        transport.levels.result = None
        transport.set_loop(loop)
        house.until(lambda: transport.levels.result is not None)
        assert document.sound is not None
        gains = transport.player.gains_db
        assert max(gains) <= 0
        a, b = (
            as_played(x, x_rate, device_rate, gain)[
                slice(None) if loop is None else slice(*(round(s * device_rate) for s in loop))
            ]
            for x, x_rate, gain in ((samples, rate, gains[0]), (document.sound, 24_000, gains[1]))
        )
        meter = pyloudnorm.Meter(device_rate)
        assert meter.integrated_loudness(a) == pytest.approx(meter.integrated_loudness(b), abs=0.1)
        assert max(peak_dbtp(a), peak_dbtp(b)) <= -1 + 0.05
        assert max(gains) == 0 or max(peak_dbtp(a), peak_dbtp(b)) >= -1 - 0.3  # nothing is turned down without need


@pytest.mark.sound
def test_the_sound_card_gets_both_equally_loud(
    qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, sound_card: SoundCard
) -> None:
    """An old telephone's rate against Mimi's: the loop as the card got it, once through on each side."""
    samples = noise(3.0, 8_000, 300, 3_400, 0.9)
    path = tmp_path / "telephone.wav"
    soundfile.write(path, samples, 8_000, subtype="FLOAT")
    house = House(qtbot, tmp_path, str(tiny_checkpoint), ABPlayer())
    try:
        house.window.start([])
        transport = house.window.transport
        house.until(lambda: transport.player.is_open)
        hear(house, path)
        transport.levels.result = None
        transport.set_loop((0.5, 2.0))
        house.until(lambda: transport.levels.result is not None)
        with sound_card.recording() as take:
            transport.seek(0.5)
            transport.toggle_play()
            qtbot.wait(2_000)
            transport.set_side("B")
            qtbot.wait(3_000)
            transport.toggle_play()
            qtbot.wait(300)
        assert transport.player.underruns == 0
    finally:
        house.close()
    rate = sound_card.sample_rate
    first, loop = int(np.flatnonzero(np.abs(take.samples).max(axis=1))[0]), round(1.5 * rate)
    a, b = (take.samples[first + i * loop : first + (i + 1) * loop].astype(np.float64) for i in (0, 2))
    meter = pyloudnorm.Meter(rate)
    assert meter.integrated_loudness(a) == pytest.approx(meter.integrated_loudness(b), abs=0.1)
    assert max(peak_dbtp(a), peak_dbtp(b)) <= -1 + 0.05
    assert np.abs(a).max() > 0.05  # it was heard


def test_a_row_of_spans_is_cut_out_of_the_file_too(house: House, stereo: tuple[Path, np.ndarray]) -> None:
    """A row sounds as the whole does, so that the level match holds for it."""
    path, samples = stereo
    hear(house, path)
    transport = house.window.transport
    transport.play_row(Excerpts(((2400, 12_000), (24_000, 43_200)), gap_samples=3600))
    row = transport.sides.row
    assert row is not None
    assert row.clip_a is not None
    assert row.clip_b is not None
    house.until(lambda: row.clip_a.is_finished and row.clip_b.is_finished)  # type: ignore[union-attr]
    rate = transport.player.sample_rate
    gap = np.zeros((6615, 2), np.float32)
    whole = soxr.resample(np.concatenate([samples[4410:22_050], gap, samples[44_100:79_380]]), RATE, rate)
    assert row.clip_a.length == row.clip_b.length == len(whole)
    np.testing.assert_allclose(row.clip_a.samples, whole, atol=1e-5)
    transport.stop()


def test_tokens_alone_have_no_file(house: House, stereo: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = stereo
    house.open(path)
    target = tmp_path / "elsewhere" / "tokens.npz"
    target.parent.mkdir()
    house.window.session.save_codes(target)
    house.until(lambda: target.exists() and house.window.session.document.is_saved)
    path.unlink()
    house.open(target)
    told: list[Notice] = []
    house.window.transport.noticed.connect(told.append)
    house.window.transport.hear_file()
    assert "no file" in told[-1].text
    assert house.window.transport.take is None


def test_a_listening_test_offers_every_take(house: House, stereo: tuple[Path, np.ndarray]) -> None:
    house.open(stereo[0])
    window = house.window
    for count in (2, 5):
        window.session.set_num_codebooks(count)
        house.until(lambda count=count: window.session.document.sounding == count)
        house.until(lambda: window.session.document.is_complete)
        window.commands.pin()
    window.listening.open("preference")
    house.until(lambda: window.listening.window is not None)
    test = window.listening.window
    assert test is not None
    titles = [test.setup.takes.first.itemText(i) for i in range(test.setup.takes.first.count())]
    assert {"Take 1, 2 codebooks", "Take 2, 5 codebooks"} <= set(titles)
    assert titles[:2] == ["What Mimi heard", "Original file, 44.1 kHz stereo"]
    first, second = (kept.take for kept in window.panels.shelf.takes)
    offered = {source.title: source.samples for source in sources(window.session.document, [first, second])}
    assert offered["Take 1, 2 codebooks"] is first.samples
    assert offered["Take 2, 5 codebooks"] is second.samples
    test.reject()
    house.until(lambda: window.listening.window is None)
