"""Preference in front of the listener: A and B, which sounds better, or neither. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from mimi_gui.analysis.ratings import PreferenceSession, Vote
from mimi_gui.ui.listening_widgets import StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.trial_page import TrialPage, joined

_HINT = "Listen to A and B. Which one sounds better to you?"
_VOTES: tuple[tuple[Vote, str, str], ...] = (
    ("A", "A sounds better", "1"), ("tie", "No preference", "3"), ("B", "B sounds better", "2"),
)  # fmt: skip


class PreferencePage(TrialPage):
    """See the module's docstring."""

    session: PreferenceSession
    hint = _HINT

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
        self.votes: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        votes = QHBoxLayout()
        votes.setSpacing(12)
        votes.addStretch(1)
        for vote, words, key in _VOTES:
            button = self.votes[vote] = self._button(words, f"{words} (key: {key}); then confirm", self.mark)
            button.setCheckable(True)
            button.setProperty("choice", True)
            self._group.addButton(button)
            votes.addWidget(button)
        votes.addStretch(1)
        self.confirm = self._button("Confirm", "Give this answer (key: Enter)", self.give_answer)
        self.confirm.setProperty("primary", True)
        self.confirm.setProperty("confirm", True)
        self.confirm.setMinimumWidth(150)
        last = QHBoxLayout()
        last.addStretch(1)
        last.addWidget(self.confirm)
        last.addStretch(1)
        keys = QLabel("Keys:  A, B play   ·   1  A sounds better   ·   2  B sounds better   ·   3 or 0  no preference"
                      "   ·   Enter confirms   ·   Space pauses   ·   Esc stops")
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

    def begin_trial(self) -> None:
        self._group.setExclusive(False)
        for vote in self.votes.values():
            vote.setChecked(False)
        self._group.setExclusive(True)
        super().begin_trial()
        if not self.message.text():
            self.tell(_HINT)

    def show_state(self) -> None:
        super().show_state()
        playing, plays = self.sound.is_playing, self.session.plays
        for button, widget in self.buttons.items():
            widget.set_state(sounds=playing and button == self.heard, heard=bool(plays[button]))
        may = self.session.may_answer and not self.asks
        for vote in self.votes.values():
            vote.setEnabled(may)
        self.confirm.setEnabled(may and any(vote.isChecked() for vote in self.votes.values()))

    def play(self, button: Literal["A", "B"]) -> None:
        """Play what stands behind a button."""
        if self.session.is_finished or self.asks:
            return
        if not self.heard:
            self.tell(_HINT)
        self.hear(button, self.session.play(button))

    def play_a(self) -> None:
        self.play("A")

    def play_b(self) -> None:
        self.play("B")

    def choose(self, vote: Vote) -> None:
        """Put the mark at one of the three answers."""
        if not self.asks and not self._lacks_sounds():
            self.votes[vote].setChecked(True)
            self.mark()

    def _lacks_sounds(self) -> bool:
        """Say what has to be heard before an answer; whether there is something."""
        unheard = [button for button, count in self.session.plays.items() if not count]
        if unheard:
            self.urge(f"Listen to {joined(sorted(unheard))} first.")
        return bool(unheard)

    def _lacks(self) -> bool:
        """Say what is missing for an answer to be given; whether there is something."""
        if self._lacks_sounds():
            return True
        if not any(vote.isChecked() for vote in self.votes.values()):
            self.urge("Choose an answer first, then confirm.")
            return True
        return False

    def give_answer(self) -> None:
        """Answer as marked."""
        if self.asks or self._lacks():
            return
        vote: Vote = "A" if self.votes["A"].isChecked() else "B" if self.votes["B"].isChecked() else "tie"
        gaps = self.sound.take_gaps()
        self.session.answer(vote, gaps)
        self.tell("")
        if gaps:
            self._tell_gaps()
        self.trial_closed.emit()
        if self.session.is_finished:
            self.sound.pause()
            self.finished.emit()
        else:
            self.begin_trial()

    def lose(self, reason: str, gaps: int) -> None:
        self.session.void(reason, gaps)
        self.trial_closed.emit()
        self.begin_trial()
        if gaps:
            self._tell_gaps()

    def _tell_gaps(self) -> None:
        self.tell("The sound had a gap, so this trial does not count: here it is again, drawn anew.", "warning")

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
