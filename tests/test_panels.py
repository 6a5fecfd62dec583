"""The docks and the optional views, in the real window offscreen, against the analysis functions called directly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from mimi_gui.codec import MimiCodec
from mimi_gui.ui import transport
from tests.test_main_window import House


@pytest.fixture
def house(
    qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setattr(transport, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    import soundfile

    t = np.arange(24_000 * 2) / 24_000
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (220 * t + 80 * t**2)), 24_000)
    return path


def show(house: House, key: str) -> None:
    panels = house.window.panels
    panels.docks[key].show()
    panels.docks[key].raise_()
    house.until(lambda: getattr(panels, key, None) is not None or key in panels._built)


def test_the_numbers_are_those_of_the_library(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimi_gui.analysis.metrics import measure

    house.open(clip)
    show(house, "numbers")
    panels = house.window.panels
    assert panels.numbers is not None
    house.window.transport.set_loop((0.5, 1.5))
    panels.numbers.measure_requested.emit()
    house.until(lambda: panels._numbers is not None)
    document = house.window.session.document
    assert document.recording is not None
    assert document.sound is not None
    assert panels._numbers is not None
    expected = measure(document.recording.waveform.samples, document.sound, 24_000, document.codes)
    assert [r.value for r in panels._numbers.whole] == pytest.approx([r.value for r in expected], nan_ok=True)
    assert panels._numbers.span == pytest.approx((0.5, 1.5), abs=0.01)
    assert "SI-SDR" in panels.numbers.as_text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "n.json"), ""))
    panels.numbers.save_requested.emit()
    house.until(lambda: (tmp_path / "n.json").exists())
    rows = json.loads((tmp_path / "n.json").read_text())
    assert {row["key"] for row in rows} >= {"si_sdr", "bitrate"}
    house.window.session.set_num_codebooks(4)  # the old numbers no longer hold
    house.until(lambda: panels._numbers is None)


def test_the_worst_moments_loop_in_a_b(house: House, clip: Path) -> None:
    from mimi_gui.analysis.error_strip import error_strip, worst_moments

    house.open(clip)
    show(house, "moments")
    panels = house.window.panels
    house.until(lambda: panels._errors is not None)
    document = house.window.session.document
    assert document.recording is not None
    assert document.sound is not None
    assert panels._errors is not None
    strip = error_strip(document.recording.waveform.samples, document.sound, 24_000, 1920)
    np.testing.assert_array_equal(panels._errors.strip.values, strip.values)
    worst = worst_moments(strip)[0]
    assert panels.moments is not None
    panels.moments.next()
    assert house.window.transport.loop == pytest.approx((worst.start_s, worst.end_s), abs=0.02)
    assert house.window.transport.player.is_playing


def test_the_ladder_climbs_every_rung_and_a_click_is_heard(house: House, clip: Path) -> None:
    house.open(clip)
    house.window.session.set_num_codebooks(8)
    house.until(lambda: house.window.session.document.sounding == 8 and house.window.session.document.is_complete)
    house.window.session.save_codes(clip.with_suffix(".npz"))  # eight rungs are enough
    house.until(lambda: clip.with_suffix(".npz").exists())
    house.open(clip.with_suffix(".npz"))
    show(house, "ladder")
    panels = house.window.panels
    assert panels.ladder is not None
    panels.ladder.start_requested.emit()
    ladder = lambda: panels.comparison._ladder  # noqa: E731
    house.until(lambda: ladder() is not None and len(ladder().rungs) == 8)  # type: ignore[union-attr]
    assert [rung.num_codebooks for rung in ladder().rungs] == list(range(1, 9))  # type: ignore[union-attr]
    panels.ladder.num_codebooks_requested.emit(3)
    house.until(lambda: house.window.session.document.sounding == 3)


def test_a_mix_is_decoded_and_a_take_is_compared_with_it(house: House, clip: Path, tiny_codec: MimiCodec) -> None:
    house.open(clip)
    session, window = house.window.session, house.window
    show(house, "mixer")
    assert window.panels.mixer is not None
    first = np.array(session.document.sound)
    window.panels.mixer.pin_requested.emit()
    assert window.transport.take is not None
    np.testing.assert_array_equal(window.transport.take.samples, first)
    window.panels.mixer.mix_changed.emit((0, 3, 31))
    house.until(lambda: session.document.codebooks == (0, 3, 31) and session.document.is_complete)
    assert session.document.codes is not None
    expected = tiny_codec.decode(session.document.codes, codebooks=[0, 3, 31])
    np.testing.assert_allclose(session.document.sound, expected, atol=1e-5)
    window.panels.mixer.mix_changed.emit(())
    house.until(lambda: session.document.codebooks == () and session.document.is_complete)
    assert session.document.sound is not None
    assert not session.document.sound.any()
    session.set_num_codebooks(32)
    house.until(lambda: session.document.sounding == 32 and session.document.is_complete)
    assert len(window.panels.mixer.active) == 32
    window.commands.unpin()
    assert window.transport.take is None


@pytest.mark.parametrize(
    "key", ["spectrogram_a", "spectrogram_b", "difference", "spectrogram_difference", "error"]
)
def test_every_view_of_the_menu_appears_and_goes(house: House, clip: Path, key: str) -> None:
    house.open(clip)
    action = next(a for a in house.window.actions_by_name.menus["panels"].actions() if a.data() == key)
    action.trigger()
    house.until(lambda: house.window.panels.lanes.is_shown(key))
    house.qtbot.wait(50)
    house.window.grab()
    action.trigger()
    assert not house.window.panels.lanes.is_shown(key)


def test_panels_are_remembered(house: House, clip: Path) -> None:
    house.open(clip)
    show(house, "mixer")
    state = house.window.saveState()
    house.window.panels.docks["mixer"].hide()
    house.window.restoreState(state)
    assert house.window.panels.docks["mixer"].isVisible()
