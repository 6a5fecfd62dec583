"""Surgery in the real window: drags, buttons and keys; numpy and the codec called directly as oracles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.ui import sound_output
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.surgery_panel import SurgeryPanel
from tests.test_main_window import House

LEFT, CTRL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(48_000) ** 1.3 / 30), 24_000)
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    made.open(path)
    made.window.panels.show("surgery")
    made.until(lambda: "surgery" in made.window.panels.widgets)
    made.qtbot.wait(20)
    yield made
    made.window._may_close = True
    if made.window.guard.box is not None:
        made.window.guard.box.reject()
    made.close()


def panel_of(house: House) -> SurgeryPanel:
    panel = house.window.panels.widgets["surgery"]
    assert isinstance(panel, SurgeryPanel)
    return panel


def press(house: House, words: str) -> None:
    button = panel_of(house)._buttons[words]
    assert button.isEnabled(), words
    house.qtbot.mouseClick(button, LEFT)


def array_of(house: House) -> np.ndarray:
    codes = house.window.session.document.codes
    assert codes is not None
    return codes.array


def settle(house: House) -> None:
    house.until(lambda: house.window.session.document.is_complete and not house.window.session.is_making)


def drag(house: House, start: tuple[int, int], stop: tuple[int, int]) -> None:
    """Drag over the heatmap from one cell (codebook, frame) to another, middle to middle."""
    heatmap = house.window.workspace.wall.heatmap

    def at(codebook: int, frame: float) -> QPoint:
        ys = [y for y in range(heatmap.height()) if heatmap.row_at(y) == codebook]
        return QPoint(round(heatmap.x_at(frame * 0.08)), ys[len(ys) // 2])

    first, last = at(start[0], start[1]), at(stop[0], stop[1] + 1)
    house.qtbot.mousePress(heatmap, LEFT, pos=first)
    house.qtbot.mouseMove(heatmap, (first + last) / 2)
    house.qtbot.mouseMove(heatmap, last)
    house.qtbot.mouseRelease(heatmap, LEFT, pos=last)


def test_a_drag_selects_a_rectangle_and_a_shift_rolls_it(house: House, tiny_codec: MimiCodec) -> None:
    before = array_of(house).copy()
    drag(house, (3, 5), (9, 14))
    assert panel_of(house)._words.text() == "frames 5 to 14, 0:00.40 – 0:01.20; codebooks 3 to 9: 70 tokens"
    panel_of(house)._by.setValue(3)
    press(house, "Shift")
    expected = before.copy()
    expected[3:10, 5:15] = np.roll(before[3:10, 5:15], 3, axis=1)
    np.testing.assert_array_equal(array_of(house), expected)
    settle(house)
    codes = house.window.session.document.codes
    assert codes is not None
    sound = house.window.session.document.sound
    assert sound is not None
    np.testing.assert_allclose(sound, tiny_codec.decode(codes), atol=1e-5)  # heard: the whole, exactly
    np.testing.assert_array_equal(house.window.workspace.wall.heatmap._codes, expected)
    assert house.window.transport.player.is_playing  # at once, in the loop, as B
    assert house.window.transport.player.side == "B"
    heatmap = house.window.workspace.wall.heatmap
    assert heatmap._selection == (3, 9, 5, 15)
    house.window.panels.show("tokens")  # now Surgery is behind a tab: nothing is framed
    house.until(lambda: heatmap._selection is None)
    house.window.panels.show("surgery")
    house.until(lambda: heatmap._selection == (3, 9, 5, 15))
    assert panel_of(house)._log.text() == "1. shifted by +3 frames: codebooks 3–9, frames 5–14"


def test_undo_and_redo_are_labelled_and_exact(house: House) -> None:
    states = [array_of(house).copy()]
    actions = house.window.actions_by_name
    assert not actions["undo"].isEnabled()
    press(house, "Shift")
    states.append(array_of(house).copy())
    house.window.session.document.is_complete = False  # an hour takes minutes to decode: it can be saved at once
    house.window._show_available()
    assert actions["save_edits"].isEnabled()
    assert not actions["export_audio"].isEnabled()
    press(house, "Shuffle")
    states.append(array_of(house).copy())
    settle(house)
    assert actions["undo"].text() == "&Undo Shuffle"
    house.key(Qt.Key.Key_Z, CTRL)
    np.testing.assert_array_equal(array_of(house), states[1])
    assert (actions["undo"].text(), actions["redo"].text()) == ("&Undo Shift", "&Redo Shuffle")
    press(house, "Undo")
    np.testing.assert_array_equal(array_of(house), states[0])
    assert not actions["undo"].isEnabled()
    assert not house.window.panels.editing.is_dirty  # back where it began
    house.key(Qt.Key.Key_Z, CTRL | SHIFT)
    house.key(Qt.Key.Key_Z, CTRL | SHIFT)
    np.testing.assert_array_equal(array_of(house), states[2])
    assert not actions["redo"].isEnabled()
    assert (states[2] != states[1]).any()
    assert (np.sort(states[2], axis=1) == np.sort(states[1], axis=1)).all()  # a shuffle keeps what it moves


def test_words_and_voice_come_from_another_file(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, codes = array_of(house).copy(), house.window.session.document.codes
    assert codes is not None
    donor = np.random.default_rng(1).integers(0, 2048, (32, 20)).astype(np.int16)
    save_codes(tmp_path / "donor.npz", Codes(donor, 20 * 1920, codes.info))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "donor.npz"), ""))
    assert not panel_of(house)._buttons["Voice"].isEnabled()
    press(house, "File …")
    house.until(lambda: panel_of(house)._buttons["Voice"].isEnabled())
    press(house, "Voice")
    expected = before.copy()
    expected[1:, :20] = donor[1:]  # the donor ends early: the rest stays
    np.testing.assert_array_equal(array_of(house), expected)
    house.window.panels.editing.set_frames(4, 8)
    assert panel_of(house)._donor_start.text() == "same place"
    press(house, "Words")
    expected[0, 4:8] = donor[0, 4:8]
    np.testing.assert_array_equal(array_of(house), expected)
    panel_of(house)._donor_start.setValue(10)
    press(house, "Words")
    expected[0, 4:8] = donor[0, 10:14]
    np.testing.assert_array_equal(array_of(house), expected)
    assert "swapped with donor.npz: codebook 0, frames 4–7" in panel_of(house)._log.text()
    foreign = CodecInfo(digest="sha256:other", model_name="other")
    other = replace(codes, array=donor, num_samples=20 * 1920, info=foreign)
    save_codes(tmp_path / "foreign.npz", other)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "foreign.npz"), ""))
    press(house, "File …")
    house.until(lambda: "foreign" in panel_of(house)._donor.text())
    press(house, "Selected")
    assert any("do not mean the same sounds" in b.notice.text for b in house.window.findChildren(Banner))
    np.testing.assert_array_equal(array_of(house), expected)


def test_copy_paste_drop_and_replace(house: House) -> None:
    panel, editing = panel_of(house), house.window.panels.editing
    before = array_of(house).copy()
    panel._start.setValue(2)
    panel._stop.setValue(4)
    panel._first.setValue(1)
    panel._last.setValue(2)
    assert panel._words.text() == "frames 2 to 4, 0:00.16 – 0:00.40; codebooks 1 to 2: 6 tokens"
    house.key(Qt.Key.Key_C, SHIFT)
    editing.set_frames(10, 11)
    house.key(Qt.Key.Key_V, SHIFT)
    expected = before.copy()
    expected[1:3, 10:13] = before[1:3, 2:5]
    np.testing.assert_array_equal(array_of(house), expected)
    house.window.panels.marks.select(2, int(expected[2, 11]))  # what is clicked is offered to be replaced
    panel._new.setValue(5)
    editing.set_frames(11, 12)
    press(house, "Replace")
    expected[1:3, 11][expected[1:3, 11] == before[2, 3]] = 5
    np.testing.assert_array_equal(array_of(house), expected)
    press(house, "Replace")  # no more of it there
    assert any("holds no token" in banner.notice.text for banner in house.window.findChildren(Banner))
    press(house, "All")
    house.window.transport.set_loop(None)
    panel._percent.setValue(40)
    press(house, "Drop")
    after = array_of(house)
    repeated = [t for t in range(1, 25) if (after[:, t] == after[:, t - 1]).all()]
    kept = [t for t in range(25) if (after[:, t] == expected[:, t]).all()]
    assert set(kept) | set(repeated) == set(range(25))
    assert 25 - len(kept) <= 10  # 40 %


def test_a_is_what_it_was_before_the_edits(house: House, tiny_codec: MimiCodec) -> None:
    untouched = np.array(house.window.session.document.sound)
    player = house.window.transport
    press(house, "Shuffle")
    settle(house)
    assert player.take is not None
    np.testing.assert_array_equal(player.take.samples, untouched)
    assert panel_of(house)._hears.isChecked()
    panel_of(house)._hears.click()
    assert player.take is None
    panel_of(house)._hears.click()
    assert player.take is not None
    assert player.take.title == "untouched tokens"


def test_edits_are_saved_whole_and_told(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house.window.session.set_num_codebooks(4)
    settle(house)
    press(house, "Acoustic")
    press(house, "Shift")
    asked: list[str] = []

    def answer(*args: object) -> tuple[str, str]:
        asked.append(str(args[2]))
        return str(tmp_path / "new.npz"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    press(house, "Save …")
    house.until(lambda: (tmp_path / "new.npz").exists())
    house.until(lambda: not house.window.panels.editing.is_dirty)
    assert asked[0].endswith("clip.edited.npz")
    saved = load_codes(tmp_path / "new.npz")
    np.testing.assert_array_equal(saved.array, array_of(house))  # all 32, though 4 are heard
    (edit,) = saved.metadata["edits"]  # type: ignore[misc]
    assert edit == {"edit": "shift", "rows": list(range(1, 32)), "frames": [0, 25], "by_frames": 1}
    assert saved.metadata["source"]["name"] == "clip.wav"  # type: ignore[index]
    press(house, "Shift")
    assert house.window.panels.editing.is_dirty


def button(house: House, which: QMessageBox.StandardButton) -> QPushButton:
    box = house.window.guard.box
    assert box is not None
    found = box.button(which)
    assert isinstance(found, QPushButton)
    return found


def test_unsaved_edits_are_never_lost_without_a_question(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buttons, window = QMessageBox.StandardButton, house.window
    soundfile.write(tmp_path / "other.wav", np.zeros(24_000), 24_000)
    press(house, "Shift")
    edited = array_of(house).copy()
    for ask in (
        lambda: window.session.open([tmp_path / "other.wav"]),
        lambda: window.session.show(0),
        window.session.make_again,
        window.close,
    ):
        ask()
        assert window.guard.box is not None
        assert "shifted by +1 frames" in window.guard.box.informativeText()
        house.qtbot.mouseClick(button(house, buttons.Cancel), LEFT)
        house.until(lambda: window.guard.box is None)
        settle(house)
        np.testing.assert_array_equal(array_of(house), edited)
        assert window.isVisible()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "kept.npz"), ""))
    window.session.open([tmp_path / "other.wav"])
    house.qtbot.mouseClick(button(house, buttons.Save), LEFT)  # saved first, then opened
    house.until(lambda: window.session.document.title == "other.wav")
    np.testing.assert_array_equal(load_codes(tmp_path / "kept.npz").array, edited)
    settle(house)
    assert window.panels.editing.history is None
    press(house, "Shuffle")
    window.session.open([tmp_path / "clip.wav"])
    house.qtbot.mouseClick(button(house, buttons.Discard), LEFT)
    house.until(lambda: window.session.document.title == "clip.wav")


def test_closing_with_edits_asks_and_then_closes(house: House) -> None:
    press(house, "Shuffle")
    settle(house)
    house.window.close()
    assert house.window.isVisible()
    house.qtbot.mouseClick(button(house, QMessageBox.StandardButton.Discard), LEFT)
    house.until(lambda: not house.window.isVisible())


def test_edited_tokens_outlive_a_change_of_the_model(house: House) -> None:
    press(house, "Shift")
    settle(house)
    edited = array_of(house).copy()
    house.window.session.use_model("mimi-tiny")
    house.until(lambda: house.window.session.model_state == "ready")
    house.until(lambda: any("load the model" in b.notice.text for b in house.window.findChildren(Banner)))
    np.testing.assert_array_equal(array_of(house), edited)
