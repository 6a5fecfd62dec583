"""A label with too many words for its room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mimi_gui.ui.elided_label import ElidedLabel


def test_words_without_room_end_in_dots(qtbot: QtBot) -> None:
    label = ElidedLabel()
    qtbot.addWidget(label)
    words = "24 kHz mono   ·   8 × 11 tokens   ·   made by a checkpoint with a long name"
    label.setText(words)
    label.resize(120, 20)
    label.show()
    assert label.text() == words
    assert label.shown().endswith("…")
    assert label.fontMetrics().horizontalAdvance(label.shown()) <= 120
    assert label.toolTip() == words
    label.resize(2000, 20)
    assert label.shown() == words
    assert label.toolTip() == ""
    font = label.font()
    font.setPointSizeF(font.pointSizeF() * 6)
    label.setFont(font)
    assert label.shown().endswith("…")


def test_a_path_gives_way_in_the_middle_and_keeps_its_own_tooltip(qtbot: QtBot) -> None:
    label = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle, has_own_tip=True)
    qtbot.addWidget(label)
    label.setToolTip("/home/somebody/Music/Mimi GUI")
    label.setText("Kept in /home/somebody/with/a/long/way/to/Music/Mimi GUI")
    label.resize(150, 20)
    label.show()
    assert label.shown().startswith("Kept")
    assert label.shown().endswith("GUI")
    assert "…" in label.shown()
    assert label.toolTip() == "/home/somebody/Music/Mimi GUI"
