"""A trial with sounds behind buttons and an answer that is marked first and confirmed then: ABX, staircase, preference.

GUI thread only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from PySide6.QtWidgets import QButtonGroup, QPushButton

from mimi_gui.ui.listening_widgets import StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.trial_page import RunningSession, TrialPage, joined


class ChoiceSession(RunningSession, Protocol):
    """What these pages need of a session besides."""

    @property
    def plays(self) -> Mapping[str, int]: ...
    def void(self, reason: str, underruns: int = 0) -> None: ...


class ChoicePage(TrialPage):
    """See the module's docstring. Subclasses fill ``buttons``, add their choices, lay all of it out and answer.

    Attributes:
        buttons: what can be heard, by name.
        choices: the answers that can be marked, by name; ``confirm`` gives the one that is.
        urging: what is said where an answer is to be given and none is marked.
    """

    session: ChoiceSession
    urging = ""

    def __init__(self, session: ChoiceSession, sound: StimulusPlayer, theme: Theme) -> None:
        super().__init__(session, sound, theme)
        self.buttons: dict[str, StimulusButton] = {}
        self.choices: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        self.confirm = self._button("Confirm", "Give this answer (key: Enter)", self.give_answer)
        self.confirm.setProperty("primary", True)
        self.confirm.setProperty("confirm", True)
        self.confirm.setMinimumWidth(150)

    def add_choice(self, choice: str, words: str, keys: str) -> QPushButton:
        """One more answer; ``keys`` says how it is reached without the mouse."""
        button = self.choices[choice] = self._button(words, f"{words} ({keys}); then confirm", self.mark)
        button.setCheckable(True)
        button.setProperty("choice", True)
        self._group.addButton(button)
        return button

    @property
    def marked(self) -> str:
        """The answer that is marked, "" for none."""
        return next((choice for choice, button in self.choices.items() if button.isChecked()), "")

    @property
    def _unheard(self) -> list[str]:
        return sorted(button for button, count in self.session.plays.items() if not count)

    def begin_trial(self) -> None:
        self._group.setExclusive(False)
        for button in self.choices.values():
            button.setChecked(False)
        self._group.setExclusive(True)
        super().begin_trial()
        if not self.message.text():
            self.tell(self.hint)

    def show_state(self) -> None:
        super().show_state()
        playing, unheard = self.sound.is_playing, self._unheard
        for button, widget in self.buttons.items():
            widget.set_state(sounds=playing and button == self.heard, heard=button not in unheard)
        may = self.session.may_answer and not self.asks
        for button in self.choices.values():
            button.setEnabled(may)
        self.confirm.setEnabled(may and bool(self.marked))

    def choose(self, choice: str) -> None:
        """Put the mark at an answer; nothing is given away before it is confirmed."""
        if not self.asks and not self._lacks_sounds():
            self.choices[choice].setChecked(True)
            self.mark()

    def _lacks_sounds(self) -> bool:
        """Say what has to be heard before an answer; whether there is something."""
        unheard = self._unheard
        if unheard:
            self.urge(f"Listen to {joined(unheard)} first.")
        return bool(unheard)

    def give_answer(self) -> None:
        """Answer as marked, or say what is missing."""
        if self.asks or self._lacks_sounds():
            return
        if not self.marked:
            self.urge(self.urging)
            return
        self.answer(self.marked, self.sound.take_gaps())
        self.move_on()

    def answer(self, choice: str, gaps: int) -> None:
        """Hand the answer to the session and say what there is to say of it; ``gaps`` the sound had meanwhile."""
        raise NotImplementedError

    def lose(self, reason: str, gaps: int) -> None:
        self.session.void(reason, gaps)
        self.trial_closed.emit()
        self.begin_trial()
        self._tell_gaps(gaps)

    def _tell_gaps(self, gaps: int) -> None:
        if gaps:
            self.tell("The sound had a gap, so this trial does not count: here it is again, drawn anew.", "warning")
