"""A code that is clicked lights up, is counted and played in a row: real clicks and keys, counters as oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.spatial
import soundfile
import soxr
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QPushButton, QTableView, QTreeWidget
from pytestqt.qtbot import QtBot

from mimi_gui.codec import MimiCodec
from mimi_gui.ui import sound_output
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.tokens_panel import TokensPanel
from tests.test_main_window import House

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds that repeat themselves, so that codes come again."""
    t = np.arange(24_000 * 2) / 24_000
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 12.5 * np.floor(8 * np.sin(2 * np.pi * t)) * t), 24_000)
    return path


@pytest.fixture
def house(
    qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    made.open(clip)
    yield made
    made.close()


def cell(house: House, codebook: int, frame: int) -> QPoint:
    """The middle of a cell, in the heatmap's pixels."""
    heatmap = house.window.workspace.wall.heatmap
    x = heatmap.x_at((frame + 0.5) * 0.08)
    ys = [y for y in range(heatmap.height()) if heatmap.row_at(y) == codebook]
    return QPoint(round(x), ys[len(ys) // 2])


def click(house: House, codebook: int, frame: int) -> None:
    house.qtbot.mouseClick(house.window.workspace.wall.heatmap, LEFT, pos=cell(house, codebook, frame))


def lit(house: House) -> np.ndarray:
    """Which cells the heatmap lights up, bool [K, T]."""
    counts = house.window.workspace.wall.heatmap._mark_counts
    assert counts is not None
    return np.diff(counts, axis=1).astype(bool)


def button(panel: TokensPanel, start: str) -> QPushButton:
    return next(b for b in panel.findChildren(QPushButton) if b.accessibleName().startswith(start))


def test_a_click_lights_up_every_occurrence_and_another_click_puts_it_out(house: House) -> None:
    codes = house.window.session.document.codes_array
    assert codes is not None
    click(house, 3, 10)
    np.testing.assert_array_equal(lit(house), (codes == codes[3, 10]) & (np.arange(32) == 3)[:, None])
    assert house.window.transport.position_s == pytest.approx(0.84, abs=0.02)  # it still seeks
    count = np.count_nonzero(codes[3] == codes[3, 10])
    note = house.window.workspace.wall.heatmap.note
    assert note.startswith(f"lit up: token {codes[3, 10]} of codebook 3, {count} of 25 frames")
    click(house, 0, 4)
    np.testing.assert_array_equal(lit(house), (codes == codes[0, 4]) & (np.arange(32) == 0)[:, None])
    click(house, 0, 4)
    assert house.window.workspace.wall.heatmap._mark_counts is None
    click(house, 0, 4)
    house.key(Qt.Key.Key_Escape)
    assert house.window.workspace.wall.heatmap._mark_counts is None


def test_keys_go_round_the_occurrences(house: House) -> None:
    marks, player = house.window.panels.marks, house.window.transport.player
    array = house.window.session.document.codes_array
    assert array is not None
    frames = [2, 3, 9, 20]
    changed = np.zeros_like(array)
    changed[5, frames] = 7
    house.window.session.document.codes_array = changed
    marks.select(5, 7)
    house.window.transport.seek(0.0)
    visited = []
    for _ in range(4):
        house.key(Qt.Key.Key_N)
        visited.append(round(player.position_s / 0.08))
    assert visited == [2, 9, 20, 2]  # 2 and 3 are one
    for _ in range(3):
        house.key(Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
        visited.append(round(player.position_s / 0.08))
    assert visited[4:] == [20, 9, 2]
    house.window.transport.seek(0.08 * 9)
    house.key(Qt.Key.Key_T)
    assert marks.code == (5, 7)


def test_a_double_click_opens_the_panel_with_counts_and_neighbours(house: House, tiny_codec: MimiCodec) -> None:
    codes = house.window.session.document.codes_array
    assert codes is not None
    click(house, 4, 6)
    house.qtbot.mouseDClick(house.window.workspace.wall.heatmap, LEFT, pos=cell(house, 4, 6))
    house.until(lambda: "tokens" in house.window.panels.widgets)
    panel = house.window.panels.widgets["tokens"]
    assert isinstance(panel, TokensPanel)
    counts = Counter(codes[4].tolist())
    code = int(codes[4, 6])
    rank = 1 + sum(count > counts[code] for count in counts.values())
    words = panel._facts.text()
    share = counts[code] / 25
    assert words.startswith(f"{counts[code]} of 25 frames, {share:.2%}. Rank {rank} among the {len(counts)} ")
    near = panel.findChild(QTreeWidget)
    assert near is not None
    house.until(lambda: near.topLevelItemCount() == 8)
    points = tiny_codec.centroids(4).astype(np.float64)
    distances, order = scipy.spatial.KDTree(points).query(points[code], k=9)
    found = [near.topLevelItem(i) for i in range(8)]
    np.testing.assert_allclose([float(item.text(1)) for item in found if item], np.asarray(distances)[1:], rtol=5e-3)
    assert [int(item.text(0)) for item in found if item] == np.asarray(order)[1:].tolist()
    assert [int(item.text(2)) for item in found if item] == [counts[int(i)] for i in np.asarray(order)[1:]]
    item = near.topLevelItem(0)
    assert item is not None
    house.qtbot.mouseClick(near.viewport(), LEFT, pos=near.visualItemRect(item).center())
    assert house.window.panels.marks.code == (4, int(np.asarray(order)[1]))


def test_a_typed_code_and_the_list_of_places(house: House) -> None:
    house.window.panels.show("tokens")
    house.until(lambda: "tokens" in house.window.panels.widgets)
    panel = house.window.panels.widgets["tokens"]
    assert isinstance(panel, TokensPanel)
    assert not button(panel, "Play").isEnabled()
    codes = house.window.session.document.codes_array
    assert codes is not None
    panel._codebook.setValue(2)
    code = int(codes[2, 12])
    panel._code.setValue(code)
    assert house.window.panels.marks.code == (2, code)
    frames = np.flatnonzero(codes[2] == code)
    starts = [int(f) for f in frames if f - 1 not in frames]
    table = panel.findChild(QTableView)
    assert table is not None
    model = table.model()
    assert model.rowCount() == len(starts)
    place = starts.index(next(s for s in reversed(starts) if s <= 12))
    table.setFocus()
    house.qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualRect(model.index(place, 0)).center())
    assert house.window.transport.position_s == pytest.approx(0.08 * starts[place])
    before = model.index(place, 1).data().split()
    assert before == [str(c) for c in codes[2, max(starts[place] - 2, 0) : starts[place]]]
    house.window.transport.seek(0.0)
    house.qtbot.keyClick(table, Qt.Key.Key_Return)
    assert house.window.transport.position_s == pytest.approx(0.08 * starts[place])
    panel._code.setValue((code + 1) % 2048 if (code + 1) % 2048 not in codes[2] else (code + 7) % 2048)
    if house.window.panels.marks.facts is not None and not house.window.panels.marks.facts.count:
        assert panel._facts.text().startswith("Never in 25 frames")
    panel._code.setValue(code)
    panel._code.setFocus()
    house.window.transport.seek(0.0)
    house.qtbot.keyClick(panel._code, Qt.Key.Key_N)  # letters go past a number field
    assert round(house.window.transport.position_s / 0.08) in starts
    button(panel, "Light up no code").click()
    assert house.window.panels.marks.code is None


def test_keys_without_a_code_say_what_to_do(house: House) -> None:
    house.key(Qt.Key.Key_N)
    assert next(iter(house.window.findChildren(Banner))).notice.text.startswith("No token is lit up")
    click(house, 1, 1)
    house.key(Qt.Key.Key_N)
    house.until(lambda: not house.window.findChildren(Banner))


def test_all_occurrences_are_played_in_a_row_from_either_side(house: House) -> None:
    marks, window = house.window.panels.marks, house.window
    array, document = window.session.document.codes_array, window.session.document
    assert array is not None
    changed = np.zeros_like(array)
    changed[5, [1, 11, 12]] = 7
    document.codes_array = changed
    marks.select(5, 7)
    window.transport.set_loop((0.1, 0.9))
    window.transport.set_side("B")
    marks.play_all(context_frames=1)
    assert window.transport.plays_row
    assert window.transport.player.is_playing
    row = window.transport.sides.row
    assert row is not None
    assert row.clip_a is not None
    assert row.clip_b is not None
    house.until(lambda: row.clip_b.is_finished and row.clip_a.is_finished)  # type: ignore[union-attr]
    assert document.recording is not None
    gap = np.zeros(3600, np.float32)
    for clip_, samples in ((row.clip_a, document.recording.waveform.samples), (row.clip_b, document.sound)):
        assert samples is not None
        whole = np.concatenate([samples[0 : 3 * 1920], gap, samples[10 * 1920 : 14 * 1920]])
        rate = clip_.sample_rate
        assert clip_.length == round(len(whole) * rate / 24_000)
        heard, expected = clip_.samples[:, 0], soxr.resample(whole, 24_000, rate, quality="HQ")
        for first, last in ((0.02, 0.22), (0.41, 0.69)):  # away from the fades
            inside = slice(round(first * rate), round(last * rate))
            np.testing.assert_allclose(heard[inside], expected[inside], atol=2e-3)
    window.transport.player.seek((3 * 1920 + 3600 + 960) / 24_000)  # in the middle of the second span
    assert window.transport.position_s == pytest.approx(10 * 0.08 + 0.04, abs=0.02)
    window.transport.set_side("A")
    assert window.transport.plays_row
    window.transport.seek(1.0)
    assert not window.transport.plays_row
    assert window.transport.position_s == pytest.approx(1.0, abs=0.05)
    assert window.transport.player.duration_s == pytest.approx(2.0, abs=0.01)
    assert window.transport.player.loop_s == pytest.approx((0.1, 0.9), abs=0.01)  # the loop is back
    marks.play_all(context_frames=0)
    window.transport.player.seek(10.0)  # past the end of the row: the whole recording is back
    house.until(lambda: not window.transport.plays_row)
    assert not window.transport.player.is_playing
    assert window.transport.position_s == pytest.approx(13 * 0.08, abs=0.02)
    marks.play_all(context_frames=1)
    window.session.set_num_codebooks(4)
    house.until(lambda: document.sounding == 4 and document.is_complete)
    assert not window.transport.plays_row
