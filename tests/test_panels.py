"""The docks and the optional views, in the real window offscreen, against the analysis functions called directly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QLabel, QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.codec import MimiCodec
from mimi_gui.ui import panels as panels_module
from mimi_gui.ui import sound_output
from mimi_gui.ui.actions import SPECS
from mimi_gui.ui.ladder_panel import LadderPanel
from mimi_gui.ui.mixer_panel import MixerPanel
from mimi_gui.ui.moments_panel import MomentsPanel
from mimi_gui.ui.numbers_panel import NumbersPanel
from mimi_gui.ui.panels import KINDS
from tests.test_main_window import House


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
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


def show(house: House, key: str) -> QWidget:
    panels = house.window.panels
    panels.show(key)
    house.until(lambda: key in panels.widgets)
    return panels.widgets[key]


def test_the_numbers_are_those_of_the_library(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mimi_gui.analysis.metrics import measure

    house.open(clip)
    panel = show(house, "numbers")
    assert isinstance(panel, NumbersPanel)
    comparison = house.window.panels.comparison
    house.window.transport.set_loop((0.5, 1.5))
    panel.measure_requested.emit()
    house.until(lambda: comparison.numbers is not None)
    document = house.window.session.document
    assert document.recording is not None
    assert document.sound is not None
    assert comparison.numbers is not None
    expected = measure(document.recording.waveform.samples, document.sound, 24_000, document.codes)
    assert [r.value for r in comparison.numbers.whole] == pytest.approx([r.value for r in expected], nan_ok=True)
    assert comparison.numbers.span == pytest.approx((0.5, 1.5), abs=0.01)
    assert "SI-SDR" in panel.as_text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "n.json"), ""))
    panel.save_requested.emit()
    house.until(lambda: (tmp_path / "n.json").exists())
    rows = json.loads((tmp_path / "n.json").read_text())
    assert {row["key"] for row in rows} >= {"si_sdr", "bitrate"}
    house.window.session.set_num_codebooks(4)  # the old numbers no longer hold
    house.until(lambda: comparison.numbers is None)


def test_the_worst_moments_loop_in_a_b(house: House, clip: Path) -> None:
    from mimi_gui.analysis.error_strip import error_strip, worst_moments

    house.open(clip)
    panel = show(house, "moments")
    assert isinstance(panel, MomentsPanel)
    comparison = house.window.panels.comparison
    house.until(lambda: comparison.errors is not None)
    document = house.window.session.document
    assert document.recording is not None
    assert document.sound is not None
    assert comparison.errors is not None
    strip = error_strip(document.recording.waveform.samples, document.sound, 24_000, 1920)
    np.testing.assert_array_equal(comparison.errors.strip.values, strip.values)
    worst = worst_moments(strip)[0]
    panel.next()
    assert house.window.transport.loop == pytest.approx((worst.start_s, worst.end_s), abs=0.02)
    assert house.window.transport.player.is_playing


def test_the_ladder_climbs_every_rung_and_a_click_is_heard(house: House, clip: Path) -> None:
    house.open(clip)
    house.window.session.set_num_codebooks(8)
    house.until(lambda: house.window.session.document.sounding == 8 and house.window.session.document.is_complete)
    house.window.session.save_codes(clip.with_suffix(".npz"))  # eight rungs are enough
    house.until(lambda: clip.with_suffix(".npz").exists())
    house.open(clip.with_suffix(".npz"))
    panel = show(house, "ladder")
    assert isinstance(panel, LadderPanel)
    panel.start_requested.emit()
    ladder = lambda: house.window.panels.comparison.ladder  # noqa: E731
    house.until(lambda: ladder() is not None and len(ladder().rungs) == 8)  # type: ignore[union-attr]
    assert [rung.num_codebooks for rung in ladder().rungs] == list(range(1, 9))  # type: ignore[union-attr]
    panel.num_codebooks_requested.emit(3)
    house.until(lambda: house.window.session.document.sounding == 3)


def test_a_mix_is_decoded_and_a_take_is_compared_with_it(house: House, clip: Path, tiny_codec: MimiCodec) -> None:
    house.open(clip)
    session, window = house.window.session, house.window
    panel = show(house, "mixer")
    assert isinstance(panel, MixerPanel)
    first = np.array(session.document.sound)
    panel.pin_requested.emit()
    assert window.transport.take is not None
    np.testing.assert_array_equal(window.transport.take.samples, first)
    panel.mix_changed.emit((0, 3, 31))
    house.until(lambda: session.document.codebooks == (0, 3, 31) and session.document.is_complete)
    assert session.document.codes is not None
    expected = tiny_codec.decode(session.document.codes, codebooks=[0, 3, 31])
    assert session.document.sound is not None
    np.testing.assert_allclose(session.document.sound, expected, atol=1e-5)
    panel.mix_changed.emit(())
    house.until(lambda: session.document.codebooks == () and session.document.is_complete)
    assert session.document.sound is not None
    assert not session.document.sound.any()
    session.set_num_codebooks(32)
    house.until(lambda: session.document.sounding == 32 and session.document.is_complete)
    assert len(panel.active) == 32
    window.commands.unpin()
    assert window.transport.take is None


@pytest.mark.parametrize("key", ["spectrogram_a", "spectrogram_b", "difference", "spectrogram_difference", "error"])
def test_every_view_of_the_menu_appears_and_goes(house: House, clip: Path, key: str) -> None:
    house.open(clip)
    action = next(a for a in house.window.actions_by_name.menus["views"].actions() if a.data() == key)
    action.trigger()
    house.until(lambda: house.window.panels.lanes.is_shown(key))
    house.qtbot.wait(50)
    house.window.grab()
    action.trigger()
    assert not house.window.panels.lanes.is_shown(key)


def test_panels_and_views_are_remembered(
    qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    first = House(qtbot, tmp_path, str(tiny_checkpoint))
    show(first, "mixer")
    first.window.panels.switches.actions["error"].trigger()
    first.close()
    again = House(qtbot, tmp_path, str(tiny_checkpoint))
    try:
        again.window.start([])
        assert again.window.panels.docks["mixer"].isVisible()
        again.until(lambda: "mixer" in again.window.panels.widgets)
        assert not again.window.panels.docks["numbers"].isVisible()
        assert again.window.panels.switches.actions["error"].isChecked()
        again.open(clip)
        again.until(lambda: again.window.panels.lanes.is_shown("error"))
        assert not again.window.panels.lanes.is_shown("difference")
    finally:
        again.close()


@pytest.mark.parametrize("views", [(), ("error", "difference")])
def test_the_heights_of_the_views_are_remembered(
    qtbot: QtBot,
    tmp_path: Path,
    tiny_checkpoint: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    views: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])

    def heights(house: House) -> list[int]:
        return [lane.height() for lane in house.window.workspace.wall.shown_lanes()]

    def opened() -> House:
        house = House(qtbot, tmp_path, str(tiny_checkpoint))
        house.window.start([])
        house.window.resize(1200, 900)
        house.open(clip)
        return house

    first = opened()
    for view in views:
        first.window.panels.switches.actions[view].trigger()
    first.until(lambda: len(heights(first)) == 3 + len(views))
    stack = first.window.workspace.wall._stack
    as_at_first = heights(first)
    stack.resize_lane(first.window.workspace.wall.source, stack.heights(), 40)
    wanted = heights(first)
    assert wanted != as_at_first
    first.close()
    again = opened()
    try:
        again.until(lambda: heights(again) == wanted)
    finally:
        again.close()


def test_a_view_that_is_switched_off_again_at_once_never_appears(house: House, clip: Path) -> None:
    action = house.window.panels.switches.actions["difference"]
    house.open(clip)
    action.trigger()
    action.trigger()
    house.until(lambda: house.window.panels.switches._is_ready)
    assert not house.window.panels.lanes.is_shown("difference")
    assert house.settings.value.lanes == ()


def test_every_panel_has_its_own_key_a_group_and_a_tip(house: House) -> None:
    keys = [kind.shortcut for kind in KINDS] + [key for spec in SPECS for key in spec.keys]
    keys += [action.shortcut().toString() for action in house.window.panels.switches.actions.values()]
    keys = [key for key in keys if key]
    assert len(keys) == len(set(keys))
    menu = house.window.actions_by_name.menus["panels"]
    texts = [action.text() for action in menu.actions()]
    for kind in KINDS:
        action = next(a for a in menu.actions() if a.text() == kind.title and not a.isSeparator())
        assert kind.tip in action.toolTip()
        assert kind.group in texts
        assert (Path(panels_module.__file__).parent / f"{kind.key}_panel.py").is_file()


def test_keys_step_through_the_worst_moments_with_and_without_the_panel(house: House, clip: Path) -> None:
    house.open(clip)
    comparison, transport = house.window.panels.comparison, house.window.transport
    assert comparison.errors is None
    house.key(Qt.Key.Key_W)  # found first, then looped
    house.until(lambda: comparison.moment == 0 and transport.loop is not None)
    moments = comparison.errors.moments
    assert len(moments) > 1
    assert transport.loop == pytest.approx((moments[0].start_s, moments[0].end_s), abs=0.01)
    assert transport.loops
    panel = show(house, "moments")
    places = []
    for modifier in [Qt.KeyboardModifier.NoModifier] * 2 + [Qt.KeyboardModifier.ShiftModifier] * 3:
        house.key(Qt.Key.Key_W, modifier)
        places.append(comparison.moment)
        assert panel._list.currentItem().text(0) == str(comparison.moment + 1)
    last = len(moments) - 1
    assert places == [1, 2 % len(moments), 1, 0, last]
    assert transport.loop == pytest.approx((moments[last].start_s, moments[last].end_s), abs=0.01)
    panel._list.itemActivated.emit(panel._list.topLevelItem(0), 0)
    house.key(Qt.Key.Key_W)
    assert comparison.moment == 1  # on from the one that was chosen in the list


def test_a_short_recording_is_measured_when_the_numbers_are_opened_and_again_for_each_reconstruction(
    house: House, clip: Path
) -> None:
    house.open(clip)
    comparison = house.window.panels.comparison
    assert comparison.numbers is None
    show(house, "numbers")
    house.until(lambda: comparison.numbers is not None)
    first = comparison.numbers
    house.window.session.set_num_codebooks(2)
    house.until(lambda: comparison.numbers not in (None, first))
    house.window.panels.docks["numbers"].hide()
    house.window.session.set_num_codebooks(1)
    house.until(lambda: house.window.session.document.sounding == 1 and house.window.session.document.is_complete)
    house.qtbot.wait(200)
    assert comparison.numbers is None  # nobody looks


def test_panels_follow_the_theme(house: House) -> None:
    panel = show(house, "ladder")
    assert isinstance(panel, LadderPanel)
    before = panel.chart.theme
    house.themes.set_choice("light")
    assert panel.chart.theme is not before
    assert house.window.panels.context.theme is panel.chart.theme
    assert not isinstance(house.window.panels.docks["ladder"].widget(), QLabel)
