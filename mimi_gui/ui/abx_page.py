"""ABX and the staircase in front of the listener: A, B and X, "X is A" or "X is B", confirm. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout

from mimi_gui.analysis.blind import Button
from mimi_gui.ui.choice_page import ChoicePage, ChoiceSession
from mimi_gui.ui.listening_widgets import StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme

_BUTTONS: tuple[Button, ...] = ("A", "X", "B")


class XSessionLike(ChoiceSession, Protocol):
    """ABX and staircase sessions."""

    def play(self, button: Button) -> int: ...
    def answer(self, choice: Literal["A", "B"], underruns: int = 0) -> bool | None: ...


class ABXPage(ChoicePage):
    """See the module's docstring.

    Args:
        stimulus_of: which stimulus signal 0 (the reference) or 1 (the take) is at the moment.
        training: right or wrong is told after each answer.
    """

    session: XSessionLike  # pyright: ignore[reportIncompatibleVariableOverride] - it stays the one it was made with
    hint = "Listen to A, B and X. X is one of the two: which one?"
    urging = "Say which one X is first, then confirm."

    def __init__(
        self,
        session: XSessionLike,
        sound: StimulusPlayer,
        theme: Theme,
        stimulus_of: Callable[[int], int] = int,
        *,
        training: bool = False,
    ) -> None:
        super().__init__(session, sound, theme)
        self._stimulus_of, self._training = stimulus_of, training
        self._right = self._told = 0
        if training:
            self.unit = "Training, trial"
            self.question.setText("End the training now? Nothing of it is logged.")
            self.end.setText("End the training")
        row = QHBoxLayout()
        row.setSpacing(26)
        row.addStretch(1)
        for button in _BUTTONS:
            made = self.buttons[button] = StimulusButton(button, theme, size=136)
            made.clicked.connect(getattr(self, f"play_{button.lower()}"))
            row.addWidget(made)
        row.addStretch(1)
        answers = QHBoxLayout()
        answers.setSpacing(12)
        answers.addStretch(1)
        answers.addWidget(self.add_choice("A", "X is A", "keys: 1, Left"))
        answers.addWidget(self.confirm)
        answers.addWidget(self.add_choice("B", "X is B", "keys: 2, Right"))
        answers.addStretch(1)
        keys = QLabel(
            "Keys:  A, X, B play   ·   1 or ←  X is A   ·   2 or →  X is B   ·   Enter confirms   ·   "
            "Space pauses   ·   R starts over   ·   Esc stops"
        )
        keys.setProperty("faint", True)
        keys.setAlignment(Qt.AlignmentFlag.AlignCenter)
        middle = QVBoxLayout()
        middle.setSpacing(20)
        middle.addStretch(1)
        middle.addLayout(row)
        middle.addLayout(answers)
        middle.addWidget(keys)
        middle.addStretch(1)
        self.body.addLayout(middle)
        self.set_theme(theme)

    def play(self, button: Button) -> None:
        """Play what stands behind a button."""
        if self.session.is_finished or self.asks:
            return
        if not self.heard and not any(self.session.plays.values()):
            self.tell(self.hint)
        self.hear(button, self._stimulus_of(self.session.play(button)))

    def play_a(self) -> None:
        self.play("A")

    def play_b(self) -> None:
        self.play("B")

    def play_x(self) -> None:
        self.play("X")

    def answer(self, choice: str, gaps: int) -> None:
        correct = self.session.answer(cast('Literal["A", "B"]', choice), gaps)
        self.tell("")
        if correct is not None and not gaps:
            self._teach(choice, correct)
        self._tell_gaps(gaps)

    def _teach(self, choice: str, correct: bool) -> None:
        self._told += 1
        self._right += correct
        truth = choice if correct else "B" if choice == "A" else "A"
        words = f"{'Right' if correct else 'Wrong'}: X was {truth}. {self._right} of {self._told} right so far."
        self.tell(words, "semantic" if correct else "warning")

    def keys(self) -> dict[Qt.Key, Callable[[], None]]:
        return {
            **super().keys(),
            Qt.Key.Key_A: self.play_a,
            Qt.Key.Key_B: self.play_b,
            Qt.Key.Key_X: self.play_x,
            Qt.Key.Key_1: lambda: self.choose("A"),
            Qt.Key.Key_Left: lambda: self.choose("A"),
            Qt.Key.Key_2: lambda: self.choose("B"),
            Qt.Key.Key_Right: lambda: self.choose("B"),
            Qt.Key.Key_Return: self.give_answer,
            Qt.Key.Key_Enter: self.give_answer,
        }
