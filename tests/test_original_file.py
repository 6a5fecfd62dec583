"""The recording's own file as side A: its rate, its channels, its level; and what a listening test offers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr

from mimi_gui.ui.listening_sources import sources
from mimi_gui.ui.notices import Notice
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


def test_both_are_equally_loud_as_they_are_heard(house: House, stereo: tuple[Path, np.ndarray]) -> None:
    path, samples = stereo
    hear(house, path)
    transport, document = house.window.transport, house.window.session.document
    house.until(lambda: transport.levels.result is not None)
    house.until(lambda: transport.levels.result is not None and transport.levels.result.loudness_a > -15)
    match = transport.levels.result
    assert match is not None
    assert document.sound is not None
    a = pyloudnorm.Meter(RATE).integrated_loudness(samples.astype(np.float64))
    mono = soxr.resample(document.sound, 24_000, RATE).astype(np.float64)
    b = pyloudnorm.Meter(RATE).integrated_loudness(np.repeat(mono[:, None], 2, axis=1))  # from two loudspeakers
    assert match.loudness_a == pytest.approx(a, abs=0.1)
    assert match.loudness_b == pytest.approx(b, abs=0.1)
    assert a + match.gain_a_db == pytest.approx(b + match.gain_b_db, abs=0.1)


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
