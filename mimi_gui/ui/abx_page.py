"""ABX and the staircase in front of the listener: A, B and X, "X is A" or "X is B", confirm. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from mimi_gui.analysis.blind import Button
from mimi_gui.ui.listening_widgets import StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.trial_page import RunningSession, TrialPage, joined

_BUTTONS: tuple[Button, ...] = ("A", "X", "B")
_HINT = "Listen to A, B and X. X is one of the two: which one?"


class XSessionLike(RunningSession, Protocol):
    """ABX and staircase sessions."""

    @property
    def plays(self) -> object: ...
    def play(self, button: Button) -> int: ...
    def answer(self, choice: Literal["A", "B"], underruns: int = 0) -> bool | None: ...
    def void(self, reason: str, underruns: int = 0) -> None: ...


class ABXPage(TrialPage):
    """See the module's docstring.

    Args:
        stimulus_of: which stimulus signal 0 (the reference) or 1 (the take) is at the moment.
        training: right or wrong is told after each answer.
    """

    session: XSessionLike
    hint = _HINT

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
        self.buttons: dict[Button, StimulusButton] = {}
        row = QHBoxLayout()
        row.setSpacing(26)
        row.addStretch(1)
        for button in _BUTTONS:
            made = self.buttons[button] = StimulusButton(button, theme, size=136)
            made.clicked.connect(getattr(self, f"play_{button.lower()}"))
            row.addWidget(made)
        row.addStretch(1)
        self.choices = {"A": self._choice("X is A", "1", "Left"), "B": self._choice("X is B", "2", "Right")}
        group = QButtonGroup(self)
        for choice in self.choices.values():
            group.addButton(choice)
        self._group = group
        self.confirm = self._button("Confirm", "Give this answer (key: Enter)", self.give_answer)
        self.confirm.setProperty("primary", True)
        self.confirm.setProperty("confirm", True)
        self.confirm.setMinimumWidth(150)
        answers = QHBoxLayout()
        answers.setSpacing(12)
        answers.addStretch(1)
        answers.addWidget(self.choices["A"])
        answers.addWidget(self.confirm)
        answers.addWidget(self.choices["B"])
        answers.addStretch(1)
        keys = QLabel("Keys:  A, X, B play   ·   1 or ←  X is A   ·   2 or →  X is B   ·   Enter confirms   ·   "
                      "Space pauses   ·   R starts over   ·   Esc stops")
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

    def _choice(self, words: str, key: str, arrow: str) -> QPushButton:
        button = QPushButton(words)
        button.setCheckable(True)
        button.setAutoDefault(False)
        button.setProperty("choice", True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setToolTip(f"{words} (keys: {key}, {arrow}); then confirm")
        button.clicked.connect(self.mark)
        return button

    def begin_trial(self) -> None:
        self._group.setExclusive(False)
        for choice in self.choices.values():
            choice.setChecked(False)
        self._group.setExclusive(True)
        super().begin_trial()
        if not self.message.text():
            self.tell(_HINT)

    def show_state(self) -> None:
        super().show_state()
        plays = self.session.plays
        assert isinstance(plays, dict)
        playing = self.sound.is_playing
        for button, widget in self.buttons.items():
            widget.set_state(sounds=playing and button == self.heard, heard=bool(plays[button]))
        may = self.session.may_answer and not self.asks
        for choice in self.choices.values():
            choice.setEnabled(may)
        self.confirm.setEnabled(may and any(choice.isChecked() for choice in self.choices.values()))

    def play(self, button: Button) -> None:
        """Play what stands behind a button."""
        if self.session.is_finished or self.asks:
            return
        if not self.heard and not any(self.session.plays.values()):  # type: ignore[attr-defined]
            self.tell(_HINT)
        self.hear(button, self._stimulus_of(self.session.play(button)))

    def play_a(self) -> None:
        self.play("A")

    def play_b(self) -> None:
        self.play("B")

    def play_x(self) -> None:
        self.play("X")

    def choose(self, choice: str) -> None:
        """Put the mark at "X is A" or "X is B"; nothing is given away before it is confirmed."""
        if not self.asks and not self._lacks_sounds():
            self.choices[choice].setChecked(True)
            self.mark()

    def _lacks_sounds(self) -> bool:
        """Say what has to be heard before an answer; whether there is something."""
        plays = self.session.plays
        assert isinstance(plays, dict)
        unheard = [button for button in _BUTTONS if not plays[button]]
        if unheard:
            self.urge(f"Listen to {joined(sorted(unheard))} first.")
        return bool(unheard)

    def _lacks(self) -> bool:
        """Say what is missing for an answer to be given; whether there is something."""
        if self._lacks_sounds():
            return True
        if not any(choice.isChecked() for choice in self.choices.values()):
            self.urge("Say which one X is first, then confirm.")
            return True
        return False

    def give_answer(self) -> None:
        """Answer as marked."""
        if self.asks or self._lacks():
            return
        choice: Literal["A", "B"] = "A" if self.choices["A"].isChecked() else "B"
        gaps = self.sound.take_gaps()
        correct = self.session.answer(choice, gaps)
        self.tell("")
        if gaps:
            self._tell_gaps()
        elif correct is not None:
            self._teach(choice, correct)
        self._close_trial()

    def _teach(self, choice: str, correct: bool) -> None:
        self._told += 1
        self._right += correct
        truth = choice if correct else "B" if choice == "A" else "A"
        words = f"{'Right' if correct else 'Wrong'}: X was {truth}. {self._right} of {self._told} right so far."
        self.tell(words, "semantic" if correct else "warning")

    def _close_trial(self) -> None:
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
            Qt.Key.Key_X: self.play_x,
            Qt.Key.Key_1: lambda: self.choose("A"),
            Qt.Key.Key_Left: lambda: self.choose("A"),
            Qt.Key.Key_2: lambda: self.choose("B"),
            Qt.Key.Key_Right: lambda: self.choose("B"),
            Qt.Key.Key_Return: self.give_answer,
            Qt.Key.Key_Enter: self.give_answer,
        }
