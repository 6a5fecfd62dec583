"""MUSHRA-style ratings in front of the listener: the open reference, and numbered sounds with a slider each.

Among the numbered ones are the hidden reference and the 3.5 kHz anchor; their order is drawn anew each round.
GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel

from mimi_gui.analysis.rating_session import RatingSession
from mimi_gui.ui.listening_widgets import RatingSlider, ScaleWords, StimulusButton
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.trial_page import TrialPage, joined

_HINT = (
    "Play the reference, then rate each sound by how close it comes. One of them is the reference itself: it"
    " deserves 100."
)
_REFERENCE = "Reference"


class MushraPage(TrialPage):
    """See the module's docstring.

    Args:
        stimuli: which stimulus each name of the session stands for; 0 is the open reference.
    """

    unit = "Round"
    hint = _HINT
    session: RatingSession

    def __init__(self, session: RatingSession, sound: StimulusPlayer, theme: Theme, stimuli: dict[str, int]) -> None:
        super().__init__(session, sound, theme)
        self._stimuli = stimuli
        num_sounds = len(session.page)
        self.reference = StimulusButton(_REFERENCE, theme, key="R", size=74)
        self.reference.clicked.connect(self.play_reference)
        self.sounds: list[StimulusButton] = []
        self.sliders: list[RatingSlider] = []
        self.figures: list[QLabel] = []
        self.words = ScaleWords(theme)
        columns = QGridLayout()
        columns.setSpacing(0)
        columns.setVerticalSpacing(4)
        columns.addWidget(self.words, 1, 0)
        columns.setRowStretch(1, 1)
        for i in range(num_sounds):
            self._add_column(columns, i)
        columns.setColumnMinimumWidth(num_sounds + 1, 24)
        self.next = self._button("Next round", "Take these ratings (key: Enter)", self.take_ratings)
        self.next.setProperty("primary", True)
        self.next.setMinimumWidth(150)
        digits = f"1 to {num_sounds}" if num_sounds < 10 else "1 to 9, 0"
        keys = QLabel(
            f"Keys:  R reference   ·   {digits} play   ·   ↑ ↓ PgUp PgDown rate what played last   ·"
            "   Enter goes on   ·   Space pauses   ·   Esc stops"
        )
        keys.setProperty("faint", True)
        keys.setWordWrap(True)
        head = QHBoxLayout()
        head.addStretch(1)
        head.addWidget(self.reference)
        head.addStretch(1)
        last = QHBoxLayout()
        last.addWidget(keys, 1)
        last.addWidget(self.next)
        self.strip.setMaximumHeight(76)
        self.restarts.setToolTip("Each press begins at the loop's start, instead of going on at the same place")
        self.body.addLayout(head)
        self.body.addLayout(columns, 1)
        self.body.addLayout(last)
        self.set_theme(theme)

    def _add_column(self, columns: QGridLayout, i: int) -> None:
        name = str((i + 1) % 10 if i < 10 else i + 1)
        button = StimulusButton(str(i + 1), self.theme, key=name, size=66)
        slider = RatingSlider(f"sound {i + 1}", self.theme)
        figure = QLabel("–")
        figure.setFont(figures_font(self.font(), scale=1.2, bold=True))
        figure.setAlignment(Qt.AlignmentFlag.AlignCenter)
        figure.setFixedHeight(26)
        for widget in (button, slider):
            widget.setProperty("number", i)
        button.clicked.connect(self._pressed)
        slider.valueChanged.connect(self._moved)
        slider.sliderMoved.connect(self._moved)
        self.sounds.append(button)
        self.sliders.append(slider)
        self.figures.append(figure)
        columns.addWidget(button, 0, i + 1, Qt.AlignmentFlag.AlignHCenter)
        columns.addWidget(slider, 1, i + 1)
        columns.addWidget(figure, 2, i + 1)
        columns.setColumnStretch(i + 1, 1)

    def begin_trial(self) -> None:
        for slider, figure in zip(self.sliders, self.figures, strict=True):
            slider.blockSignals(True)
            slider.setValue(50)
            slider.blockSignals(False)
            slider.set_rated(False)
            figure.setText("–")
        is_last = self.session.num_answered + 1 >= self.session.num_trials
        self.next.setText("Finish" if is_last else "Next round")
        super().begin_trial()
        if not self.message.text():
            self.tell(_HINT)

    def show_state(self) -> None:
        super().show_state()
        page, playing = self.session.page, self.sound.is_playing
        plays, given = page.plays, page.given
        self.reference.set_state(sounds=playing and self.heard == _REFERENCE, heard=False)
        for i, (button, slider) in enumerate(zip(self.sounds, self.sliders, strict=True)):
            button.set_state(sounds=playing and self.heard == str(i), heard=bool(plays[i]))
            slider.setEnabled(bool(plays[i]) and not self.asks)
            slider.set_rated(given[i] is not None)
            self.figures[i].setText("–" if given[i] is None else str(given[i]))
        self.next.setEnabled(self.session.may_answer and not self.asks)

    def play_reference(self) -> None:
        """Play the open reference."""
        if not self.session.is_finished and not self.asks:
            self.hear(_REFERENCE, 0)

    def play(self, number: int) -> None:
        """Play a numbered sound and give its slider the keyboard."""
        if self.session.is_finished or self.asks or number >= len(self.sounds):
            return
        self.hear(str(number), self._stimuli[self.session.page.play(number)])
        self.sliders[number].setFocus()

    @Slot()
    def _pressed(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.play(cast("int", sender.property("number")))

    @Slot(int)
    def _moved(self, value: int) -> None:
        sender = self.sender()
        if sender is not None:
            self.rate(cast("int", sender.property("number")), value)

    def rate(self, number: int, score: int) -> None:
        """Give a score to a sound that was heard."""
        if self.session.page.plays[number]:
            self.end_urging()
            self.session.page.rate(number, score)
            self.sliders[number].blockSignals(True)
            self.sliders[number].setValue(score)
            self.sliders[number].blockSignals(False)
            self.show_state()

    def take_ratings(self) -> None:
        """This round is done."""
        if self.asks or self.session.is_finished:
            return
        unrated = [str(i + 1) for i, score in enumerate(self.session.page.given) if score is None]
        if unrated:
            self.urge(f"Play and rate {joined(unrated)} first.")
            return
        self.session.next_round()
        self.tell("")
        self.move_on()
        if not self.session.is_finished:
            self.setFocus()

    def lose(self, reason: str, gaps: int) -> None:
        number = int(self.heard) if self.heard.isdigit() else -1
        self.session.note_gap(number, gaps)
        if number >= 0:
            self.sliders[number].blockSignals(True)
            self.sliders[number].setValue(50)
            self.sliders[number].blockSignals(False)
            self.tell(f"The sound had a gap: listen to {number + 1} again and rate it anew.", "warning")
        elif gaps:
            self.tell("The sound had a gap: listen to the reference again.", "warning")
        self.show_state()

    def keys(self) -> dict[Qt.Key, Callable[[], None]]:
        digits = (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4, Qt.Key.Key_5, Qt.Key.Key_6, Qt.Key.Key_7,
                  Qt.Key.Key_8, Qt.Key.Key_9, Qt.Key.Key_0)  # fmt: skip

        def player(number: int) -> Callable[[], None]:
            return lambda: self.play(number)

        return {
            **super().keys(),
            **{key: player(i) for i, key in enumerate(digits)},
            Qt.Key.Key_R: self.play_reference,
            Qt.Key.Key_Return: self.take_ratings,
            Qt.Key.Key_Enter: self.take_ratings,
        }

    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        for widget in (self.words, *self.sliders):
            widget.theme = theme
            widget.update()
