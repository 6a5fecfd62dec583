"""Two sets of tokens compared on the heatmap, in the real window, against plain loops over the cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QFileDialog, QTreeWidget
from pytestqt.qtbot import QtBot

from mimi_gui.codes import CodecInfo, Codes, save_codes
from mimi_gui.ui import sound_output
from mimi_gui.ui.banner import Banner
from mimi_gui.ui.diff_panel import DiffPanel, agreement_words
from tests.test_main_window import House


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(48_000) ** 1.3 / 30), 24_000)
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    made.open(path)
    yield made
    made.close()


def codes_of(house: House) -> Codes:
    codes = house.window.session.document.codes
    assert codes is not None
    return codes


def save_changed(house: House, path: Path, cells: list[tuple[int, int]], num_codebooks: int = 32) -> np.ndarray:
    array = codes_of(house).array.copy()
    for codebook, frame in cells:
        array[codebook, frame] = (array[codebook, frame] + 1) % 2048
    save_codes(path, replace(codes_of(house), array=array[:num_codebooks]))
    return array


def compare(house: House, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    house.key(Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)


def diff_panel(house: House) -> DiffPanel:
    house.until(lambda: "diff" in house.window.panels.widgets)
    panel = house.window.panels.widgets["diff"]
    assert isinstance(panel, DiffPanel)
    return panel


def test_what_differs_is_marked_told_and_stepped_through(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [(0, 4), (7, 4), (7, 5), (31, 12), (2, 20)]
    save_changed(house, tmp_path / "b.npz", cells)
    compare(house, tmp_path / "b.npz", monkeypatch)
    panel = diff_panel(house)
    house.until(lambda: house.window.panels.marks.agreement is not None)
    heatmap = house.window.workspace.wall.heatmap
    assert heatmap._mark_counts is not None
    marked = np.diff(heatmap._mark_counts, axis=1)
    assert sorted(map(tuple, np.argwhere(marked).tolist())) == sorted(cells)
    assert panel._words.text() == (
        "5 of 800 tokens differ between clip.wav and b.npz (0.62%), in 4 of 25 frames, first in frame 4 (0:00.32)."
    )
    table = panel.findChild(QTreeWidget)
    assert table is not None
    rows = [[item.text(c) for c in range(3)] for i in range(32) if (item := table.topLevelItem(i)) is not None]
    assert rows[7] == ["7", "8.00%", "0:00.32"]
    assert rows[31] == ["31", "4.00%", "0:00.96"]
    assert rows[1] == ["1", "0.00%", "–"]
    player = house.window.transport.player
    house.window.transport.seek(0.0)
    visited = []
    for _ in range(4):
        house.key(Qt.Key.Key_N)
        visited.append(round(player.position_s / 0.08))
    assert visited == [4, 12, 20, 4]
    item = table.topLevelItem(31)
    assert item is not None
    table.scrollToItem(item)
    house.qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualItemRect(item).center())
    assert round(player.position_s / 0.08) == 12
    other = int(codes_of(house).array[7, 5] + 1) % 2048
    x, ys = heatmap.x_at(5.5 * 0.08), [y for y in range(heatmap.height()) if heatmap.row_at(y) == 7]
    told = heatmap.describe(type(heatmap._pressed_at)(x, ys[0]))
    assert told.endswith(f"token {int(codes_of(house).array[7, 5])}   {other} in b.npz")
    house.key(Qt.Key.Key_Escape)
    assert heatmap._mark_counts is None
    assert panel._words.text().startswith("Compare the open tokens")


def test_differing_cells_are_painted_and_equal_ones_dim(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_changed(house, tmp_path / "b.npz", [(10, 6)])
    compare(house, tmp_path / "b.npz", monkeypatch)
    house.until(lambda: house.window.panels.marks.agreement is not None)
    heatmap = house.window.workspace.wall.heatmap
    image = heatmap.grab().toImage()
    ratio = image.devicePixelRatio()

    def color(codebook: int, frame: int) -> QColor:
        ys = [y for y in range(heatmap.height()) if heatmap.row_at(y) == codebook]
        return image.pixelColor(round(heatmap.x_at((frame + 0.5) * 0.08) * ratio), round(ys[len(ys) // 2] * ratio))

    assert color(10, 6).name() == heatmap.theme.side_b
    assert color(10, 7).saturation() < 120
    assert color(10, 7).lightness() < 90  # the dark theme's dimmed cells


def test_grids_that_do_not_match_are_told_in_a_sentence(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CodecInfo(cardinality=1024, frame_size=1920)
    save_codes(tmp_path / "small.npz", Codes(np.zeros((8, 25), np.int16), 48_000, other))
    compare(house, tmp_path / "small.npz", monkeypatch)
    house.until(lambda: bool(house.window.findChildren(Banner)))
    text = " ".join(label for banner in house.window.findChildren(Banner) for label in [banner.notice.text])
    assert "small.npz has 1024 codes" in text
    assert house.window.panels.marks.agreement is None
    (tmp_path / "no.npz").write_bytes(b"nothing")
    compare(house, tmp_path / "no.npz", monkeypatch)
    house.until(lambda: any("no.npz" in banner.notice.text for banner in house.window.findChildren(Banner)))


def test_a_take_is_compared_and_other_sizes_are_said(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.key(Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert any("no take" in banner.notice.text for banner in house.window.findChildren(Banner))
    house.key(Qt.Key.Key_P)
    house.key(Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    panel = diff_panel(house)
    assert panel._words.text() == "All 800 tokens are the same in clip.wav and the take of 32 codebooks."
    save_changed(house, tmp_path / "b.npz", [(1, 0)], num_codebooks=4)
    compare(house, tmp_path / "b.npz", monkeypatch)
    house.until(lambda: "b.npz" in panel._words.text())
    assert panel._words.text().startswith("1 of 100 tokens differ")
    assert panel._words.text().endswith("clip.wav has 28 codebooks more, not compared.")
    house.window.session.make_again()  # encoded again: the same tokens, compared once more
    house.until(lambda: house.window.session.document.is_complete and not house.window.session.is_making)
    assert house.window.panels.marks.agreement is not None
    assert "1 of 100" in panel._words.text()


@pytest.mark.parametrize("seed", range(3))
def test_the_words_count_what_a_loop_counts(seed: int) -> None:
    from mimi_gui.analysis.codebooks import agreement

    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 3, (4, 30)), rng.integers(0, 3, (5, 28))
    different = [(k, t) for k in range(4) for t in range(28) if a[k, t] != b[k, t]]
    frames = sorted({t for _, t in different})
    words = agreement_words(agreement(a, b), ("one", "two"), 0.08)
    assert words.startswith(f"{len(different)} of 112 tokens differ between one and two")
    assert f"in {len(frames)} of 28 frames, first in frame {frames[0]} (" in words
    assert words.endswith("two has 1 codebook more, not compared. one has 2 frames more, not compared.")
