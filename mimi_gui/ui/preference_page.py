"""Preference in front of the listener: A and B, which sounds better, or neither. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout

from mimi_gui.analysis.ratings import PreferenceSession, Vote
from mimi_gui.ui.choice_page import ChoicePage
from mimi_gui.ui.listening_widgets import StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme

_VOTES: tuple[tuple[Vote, str, str], ...] = (
    ("A", "A sounds better", "1"), ("tie", "No preference", "3"), ("B", "B sounds better", "2"),
)  # fmt: skip


class PreferencePage(ChoicePage):
    """See the module's docstring."""

    session: PreferenceSession  # pyright: ignore[reportIncompatibleVariableOverride] - it stays the one it was made with
    hint = "Listen to A and B. Which one sounds better to you?"
    urging = "Choose an answer first, then confirm."

    def __init__(self, session: PreferenceSession, sound: StimulusPlayer, theme: Theme) -> None:
        super().__init__(session, sound, theme)
        self.buttons = {"A": StimulusButton("A", theme, size=136), "B": StimulusButton("B", theme, size=136)}
        self.buttons["A"].clicked.connect(self.play_a)
        self.buttons["B"].clicked.connect(self.play_b)
        row = QHBoxLayout()
        row.setSpacing(60)
        row.addStretch(1)
        row.addWidget(self.buttons["A"])
        row.addWidget(self.buttons["B"])
        row.addStretch(1)
        votes = QHBoxLayout()
        votes.setSpacing(12)
        votes.addStretch(1)
        for vote, words, key in _VOTES:
            votes.addWidget(self.add_choice(vote, words, f"key: {key}"))
        votes.addStretch(1)
        last = QHBoxLayout()
        last.addStretch(1)
        last.addWidget(self.confirm)
        last.addStretch(1)
        keys = QLabel(
            "Keys:  A, B play   ·   1  A sounds better   ·   2  B sounds better   ·   3 or 0  no preference"
            "   ·   Enter confirms   ·   Space pauses   ·   Esc stops"
        )
        keys.setProperty("faint", True)
        keys.setAlignment(Qt.AlignmentFlag.AlignCenter)
        middle = QVBoxLayout()
        middle.setSpacing(18)
        middle.addStretch(1)
        middle.addLayout(row)
        middle.addLayout(votes)
        middle.addLayout(last)
        middle.addWidget(keys)
        middle.addStretch(1)
        self.body.addLayout(middle)
        self.set_theme(theme)

    def play(self, button: Literal["A", "B"]) -> None:
        """Play what stands behind a button."""
        if self.session.is_finished or self.asks:
            return
        if not self.heard:
            self.tell(self.hint)
        self.hear(button, self.session.play(button))

    def play_a(self) -> None:
        self.play("A")

    def play_b(self) -> None:
        self.play("B")

    def answer(self, choice: str, gaps: int) -> None:
        self.session.answer(cast("Vote", choice), gaps)
        self.tell("")
        self._tell_gaps(gaps)

    def keys(self) -> dict[Qt.Key, Callable[[], None]]:
        return {
            **super().keys(),
            Qt.Key.Key_A: self.play_a,
            Qt.Key.Key_B: self.play_b,
            Qt.Key.Key_1: lambda: self.choose("A"),
            Qt.Key.Key_2: lambda: self.choose("B"),
            Qt.Key.Key_3: lambda: self.choose("tie"),
            Qt.Key.Key_0: lambda: self.choose("tie"),
            Qt.Key.Key_Return: self.give_answer,
            Qt.Key.Key_Enter: self.give_answer,
        }
