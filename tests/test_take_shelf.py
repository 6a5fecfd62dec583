"""Takes that are kept, and the report from the window: what is A, what is B, and what lands in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog

from mimi_gui.ui.takes_panel import TakesPanel
from tests.test_main_window import House, clip, house

__all__ = ["clip", "house"]  # fixtures


def panel_of(house: House) -> TakesPanel:
    house.window.panels.show("takes")
    house.until(lambda: "takes" in house.window.panels.widgets)
    panel = house.window.panels.widgets["takes"]
    assert isinstance(panel, TakesPanel)
    return panel


def rows(panel: TakesPanel) -> list[tuple[str, str]]:
    items = [panel._list.topLevelItem(i) for i in range(panel._list.topLevelItemCount())]
    return [(item.text(0), item.text(2)) for item in items if item is not None]


def decode(house: House, codebooks: int | tuple[int, ...]) -> np.ndarray:
    session = house.window.session
    if isinstance(codebooks, int):
        session.set_num_codebooks(codebooks)
    else:
        session.set_mix(codebooks)
    wanted = tuple(range(codebooks)) if isinstance(codebooks, int) else codebooks
    house.until(lambda: session.document.codebooks == wanted and session.document.is_complete)
    assert session.document.sound is not None
    return session.document.sound.copy()


def test_any_two_states_can_be_heard_against_each_other(house: House, clip: Path) -> None:
    house.open(clip)
    window = house.window
    panel, shelf, transport = panel_of(house), window.panels.shelf, window.transport
    assert rows(panel) == [("Original", "A")]
    two = decode(house, 2)
    window.commands.pin()
    mixed = decode(house, (0, 3))
    window.commands.pin()
    four = decode(house, 4)
    assert [(name.split(":")[0], side) for name, side in rows(panel)] == [
        ("Original", ""), ("1", ""), ("2", "A"),
    ]  # fmt: skip
    first, second = shelf.takes
    assert (first.codebooks, second.codebooks) == ((0, 1), (0, 3))
    np.testing.assert_array_equal(first.take.samples, two)
    np.testing.assert_array_equal(second.take.samples, mixed)
    panel._list.setCurrentItem(panel._list.topLevelItem(1))
    house.qtbot.mouseClick(panel._as_a, Qt.MouseButton.LeftButton)
    assert transport.take is first.take
    panel._list.setCurrentItem(panel._list.topLevelItem(2))
    house.qtbot.mouseClick(panel._as_b, Qt.MouseButton.LeftButton)
    document = window.session.document
    house.until(lambda: document.codebooks == (0, 3) and document.is_complete)
    np.testing.assert_array_equal(document.sound, mixed)  # B is the second, decoded again; A is the first
    assert transport.take is first.take
    assert [side for _, side in rows(panel)] == ["", "A", "B"]
    assert not np.array_equal(two, four)


def test_the_next_take_goes_round_and_a_removed_one_is_not_heard(house: House, clip: Path) -> None:
    house.open(clip)
    window = house.window
    shelf, transport = window.panels.shelf, window.transport
    window.commands.next_take()
    assert transport.take is None
    for count in (1, 2):
        decode(house, count)
        window.commands.pin()
    heard = []
    for _ in range(4):
        window.commands.next_take()
        heard.append(shelf.heard_as_a and shelf.heard_as_a.number)
    assert heard == [None, 1, 2, None]
    shelf.hear_as_a(shelf.takes[1])
    shelf.remove(shelf.takes[1])
    assert transport.take is None
    assert [kept.number for kept in shelf.takes] == [1]
    panel = panel_of(house)
    assert len(rows(panel)) == 2


def test_another_recording_has_takes_of_its_own(house: House, clip: Path, tmp_path: Path) -> None:
    house.open(clip)
    house.window.commands.pin()
    assert len(house.window.panels.shelf.takes) == 1
    other = tmp_path / "other.wav"
    other.write_bytes(clip.read_bytes())
    house.open(other)
    assert house.window.panels.shelf.takes == ()


def test_a_take_of_other_tokens_cannot_be_b(house: House, clip: Path) -> None:
    house.open(clip)
    window = house.window
    window.commands.pin()
    panel, shelf = panel_of(house), window.panels.shelf
    document = window.session.document
    assert shelf.is_heard_as_b(shelf.takes[0])
    codes = document.codes
    assert codes is not None
    window.session.edit(codes.first(codes.num_codebooks))
    house.until(lambda: document.is_complete)
    panel._list.setCurrentItem(panel._list.topLevelItem(1))
    assert not panel._as_b.isEnabled()
    assert "changed" in panel._as_b.toolTip()
    assert panel._as_a.isEnabled()


def test_a_report_is_saved_from_the_menu(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open(clip)
    window, target = house.window, tmp_path / "reports" / "clip.html"
    target.parent.mkdir()
    asked: list[str] = []

    def ask(_parent: object, _title: str, suggested: str, filters: str) -> tuple[str, str]:
        asked.append(suggested)
        return str(target.with_suffix("")), filters

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    action = window.actions_by_name["save_report"]
    assert action.isEnabled()
    with house.qtbot.waitSignal(window.panels.comparison.report_saved, timeout=60_000) as saved:
        action.trigger()
    assert saved.args == [target]
    assert asked[0].endswith(".html")
    page = target.read_text(encoding="utf-8")
    assert "clip.wav through Mimi" in page
    for part in ("SI-SDR", "Spectrogram of B", "kbit/s", '"a": "', '"b": "'):  # both sounds too
        assert part in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_tokens_alone_give_no_report_and_say_why(
    house: House, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.open(clip)
    session = house.window.session
    path = tmp_path / "elsewhere" / "lonely.npz"
    path.parent.mkdir()
    session.save_codes(path)
    house.until(path.exists)
    house.open(path)
    told: list[str] = []
    house.window.panels.noticed.connect(lambda notice: told.append(notice.text))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: pytest.fail("asked for a file"))
    house.window.commands.save_report()
    assert "open the recording" in told[0]
