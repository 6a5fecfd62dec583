"""What a listening test offers to compare, and what cannot be compared."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mimi_gui.ui.listening_choice import TakesChoice
from mimi_gui.ui.listening_jobs import Source


def test_the_usual_pair(qtbot: QtBot) -> None:
    x = np.zeros(10, np.float32)
    original = Source("What Mimi heard", x, 24_000)
    levels = [Source(f"{count}", x if count == 8 else None, 24_000, count) for count in (1, 4, 8)]
    for sources, expected in (
        ([original, *levels], ("What Mimi heard", "8")),
        (levels, ("8", "4")),  # tokens alone: the most codebooks stand for the original
        ([original], ("What Mimi heard", "What Mimi heard")),
    ):
        choice = TakesChoice(sources, levels)
        qtbot.addWidget(choice)
        assert tuple(source.title for source in choice.sources()) == expected
    assert "Both are the same" in choice.problem()
    assert "Nothing is open" in TakesChoice([], []).problem()
    choice.set_kind("mushra")
    assert "expected 1 to 8" in choice.problem()
    many = TakesChoice([original, *(Source(f"{i}", x, 24_000, i) for i in range(1, 12))], levels)
    qtbot.addWidget(many)
    many.set_kind("mushra")
    for i in range(many.many.count()):
        many.many.item(i).setCheckState(Qt.CheckState.Checked)
    assert many.problem().startswith("11 takes are marked")


def test_the_reference_is_no_take_beside_itself(qtbot: QtBot) -> None:
    """A mark that would do nothing cannot be set, and how many are marked is told."""
    x = np.zeros(10, np.float32)
    choice = TakesChoice([Source(f"{i}", x, 24_000, i) for i in (0, 1, 2, 3)], [])
    qtbot.addWidget(choice)
    choice.set_kind("mushra")
    enabled = Qt.ItemFlag.ItemIsEnabled

    def barred() -> list[str]:
        items = [choice.many.item(i) for i in range(choice.many.count())]
        assert not any(item.checkState() == Qt.CheckState.Checked for item in items if not item.flags() & enabled)
        return [item.text() for item in items if not item.flags() & enabled]

    assert barred() == ["0"]
    assert choice.count.text() == "2 of 3 marked, 8 at most"
    choice.first.setCurrentIndex(2)
    choice.first.activated.emit(2)
    assert barred() == ["2"]
    assert choice.count.text() == "1 of 3 marked, 8 at most"
    assert [source.title for source in choice.sources()] == ["2", "1"]
