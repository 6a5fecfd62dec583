"""The page while a blind test runs: what all kinds have in common.

It knows the session (which keeps the secret), the stimuli by number, and the hands of the listener. Nothing on it
depends on which signal is which: an outline of the reference in grey, a playhead, the buttons that were pressed.
GUI thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFont, QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.listening_style import page_style
from mimi_gui.ui.listening_widgets import StimulusButton, TrialDots
from mimi_gui.ui.loop_strip import LoopStrip
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme, heading_font

_TICK_MS = 20
_LOST = "the sound device was lost"


class RunningSession(Protocol):
    """What the page needs of any session."""

    num_trials: int

    @property
    def num_answered(self) -> int: ...
    @property
    def is_finished(self) -> bool: ...
    @property
    def may_answer(self) -> bool: ...
    def note_pause(self, seconds: float) -> None: ...
    def stop(self) -> None: ...


class TrialPage(QWidget):
    """See the module's docstring.

    Signals:
        trial_closed(): a trial was answered or voided; the log has grown.
        finished(): the session is at its end, or was stopped.
        rescan_requested(): the sound is gone; look for it again.
        volume_changed(float): 0..1.
    """

    trial_closed = Signal()
    finished = Signal()
    rescan_requested = Signal()
    volume_changed = Signal(float)

    unit = "Trial"
    hint = ""  # what is asked of the listener

    def __init__(
        self,
        session: RunningSession,
        sound: StimulusPlayer,
        theme: Theme,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.session, self.sound, self.theme = session, sound, theme
        self._clock = clock
        self._heard = ""  # the button pressed last
        self._paused_at: float | None = None
        self._said, self._is_urging = ("", "text"), False
        self._is_lost = self._told_elsewhere = self._goes_on_after = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.count = QLabel()
        self.count.setFont(heading_font(self.count.font(), 1.35))
        self.dots = TrialDots(session.num_trials, theme)
        self.pause = self._button("Pause", "Pause, or go on (key: Space)", self.toggle_pause)
        self.stop = self._button("Stop …", "End the test before its time (key: Esc)", self.ask_stop)
        self.strip = LoopStrip(theme)
        self.strip.setMaximumHeight(130)
        self.message = QLabel()
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setWordWrap(True)
        self.message.setMinimumHeight(34)
        larger = QFont(self.message.font())
        larger.setPointSizeF(larger.pointSizeF() * 1.12)
        self.message.setFont(larger)
        self.message.setAccessibleName("Message")
        self.again = self._button("Look for the sound again", "Open the output once more", self.rescan_requested.emit)
        self.again.hide()
        self.restarts = QCheckBox("Start over at each press")
        self.restarts.setToolTip(
            "Each press begins at the loop's start, instead of going on at the same place (key: R)"
        )
        self.restarts.setChecked(sound.restarts)
        self.restarts.toggled.connect(self._restarts_toggled)
        self.restarts.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.volume = QSlider(Qt.Orientation.Horizontal)
        self.volume.setRange(0, 100)
        self.volume.setFixedWidth(120)
        self.volume.setAccessibleName("Volume")
        self.volume.setToolTip("Volume, of everything alike")
        self.volume.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.volume.valueChanged.connect(self._volume_moved)
        self.facts = QLabel()
        self.facts.setProperty("dim", True)
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.body = QVBoxLayout()
        self.body.setSpacing(14)
        self._ask = self._question()
        self._lay_out()
        self.timer = QTimer(self)
        self.timer.setInterval(_TICK_MS)
        self.timer.timeout.connect(self.tick)

    def _button(self, words: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(act)
        return button

    def _question(self) -> QFrame:
        frame = QFrame()
        frame.setObjectName("question")
        words = self.question = QLabel("End the test now? What was answered is kept, marked as stopped early.")
        words.setWordWrap(True)
        self.end = self._button("End the test", "Show what there is (key: Enter)", self._end)
        self.go_on = self._button("Go on", "Back to the test (key: Esc)", self._go_on)
        row = QHBoxLayout(frame)
        row.setContentsMargins(14, 8, 8, 8)
        row.addWidget(words, 1)
        row.addWidget(self.go_on)
        row.addWidget(self.end)
        return frame

    def _lay_out(self) -> None:
        self._head = QWidget()
        head = QHBoxLayout(self._head)
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(14)
        head.addWidget(self.count)
        head.addWidget(self.dots, 1)
        head.addWidget(self.pause)
        head.addWidget(self.stop)
        self._top = QStackedWidget()  # the question stands where the buttons are that it is about; nothing moves
        self._top.addWidget(self._head)
        self._top.addWidget(self._ask)
        foot = QHBoxLayout()
        foot.setSpacing(14)
        foot.addWidget(self.facts, 1)
        foot.addWidget(self.restarts)
        foot.addWidget(QLabel("Volume"))
        foot.addWidget(self.volume)
        again = QHBoxLayout()
        again.addStretch(1)
        again.addWidget(self.again)
        again.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(28, 20, 28, 16)
        layout.setSpacing(12)
        layout.addWidget(self._top)
        layout.addWidget(self.strip, 2)
        layout.addSpacing(6)
        layout.addWidget(self.message)
        layout.addLayout(again)
        layout.addLayout(self.body, 5)
        layout.addLayout(foot)

    # What is shown

    def set_scene(
        self, envelope: Envelope | None, span_s: tuple[float, float], duration_s: float, facts: str, volume: float
    ) -> None:
        """The reference's outline, the loop, and one line about levels, delay and device."""
        self.strip.set_recording(envelope, duration_s)
        self.strip.set_span(span_s)
        self.facts.setText(facts)
        self.volume.blockSignals(True)
        self.volume.setValue(round(100 * volume))
        self.volume.blockSignals(False)
        self.begin_trial()

    def begin_trial(self) -> None:
        """A new trial: silent, at the loop's start, nothing pressed."""
        self._heard = ""
        self._paused_at = None
        self.sound.rewind()
        self.count.setText(
            f"{self.unit} {min(self.session.num_answered + 1, self.session.num_trials)} of {self.session.num_trials}"
        )
        self.dots.set_done(self.session.num_answered)
        self.show_state()

    def move_on(self) -> None:
        """This trial is over: on to the next one, or to the end."""
        self.trial_closed.emit()
        if self.session.is_finished:
            self.sound.pause()
            self.finished.emit()
        else:
            self.begin_trial()

    def show_state(self) -> None:
        """Bring buttons up to date; subclasses add theirs."""
        playing = self.sound.is_playing
        self.pause.setText("Pause" if playing or not self._heard else "Go on")
        self.pause.setEnabled(bool(self._heard))
        for button in self.findChildren(StimulusButton):
            button.setEnabled(not self.asks)

    def tell(self, words: str, tone: str = "text") -> None:
        """Say something in the line under the buttons; ``tone`` is a colour of the theme."""
        self._said, self._is_urging = (words, tone), False
        self.message.setText(words)
        self.message.setStyleSheet(f"color: {getattr(self.theme, tone)};")

    def urge(self, words: str) -> None:
        """Say what is still missing, behind a warning if there is one, until something is done."""
        warning = f"{self._said[0]} " if self._said[1] == "warning" else ""
        self.message.setText(warning + words)
        self._is_urging = True

    def end_urging(self) -> None:
        """Something was done."""
        if self._is_urging:
            told, tone = self._said
            self.tell(*((told, tone) if tone == "warning" else (self.hint, "text")))

    def mark(self) -> None:
        """An answer was marked, not given yet."""
        self.end_urging()
        self.show_state()

    # The sound

    def hear(self, button: str, index: int) -> None:
        """A button was pressed and brings stimulus ``index``."""
        self._end_pause()
        self.end_urging()
        self._heard = button
        self.sound.hear(index)
        self.show_state()

    @property
    def heard(self) -> str:
        """The button pressed last in this trial, "" before the first."""
        return self._heard

    def toggle_pause(self) -> None:
        """Fall silent, or go on."""
        if not self._heard:
            return
        if self.sound.is_playing:
            self.sound.pause()
            self._paused_at = self._clock()
        else:
            self._end_pause()
            self.sound.resume()
        self.show_state()

    def _space(self) -> None:
        if not self.asks:
            self.toggle_pause()

    def _end_pause(self) -> None:
        if self._paused_at is not None:
            self.session.note_pause(self._clock() - self._paused_at)
            self._paused_at = None

    @Slot()
    def tick(self) -> None:
        """Look at the sound: where it is, whether it had gaps, whether it is still there."""
        if self.session.is_finished:
            return
        lost = not self.sound.is_there
        if lost != self._is_lost:
            self._is_lost = lost
            self.again.setVisible(lost)
            if lost:
                self.sound.pause()
                self.lose(_LOST, 0)
                self.tell(
                    "The sound device is gone. This trial does not count and is repeated once it is back.", "warning"
                )
                self._told_elsewhere = False
            else:
                self.tell("The sound is back. The trial begins anew.")
        if lost and not self._told_elsewhere and self.sound.is_elsewhere:
            self._told_elsewhere = True
            self.tell(
                "The sound is back at another sample rate, so this test cannot go on: stop, and begin anew.", "warning"
            )
        gaps = self.sound.take_gaps()
        if gaps:
            self.sound.pause()
            self.lose("the sound had gaps", gaps)
        self.strip.set_share(self.sound.share)

    def lose(self, reason: str, gaps: int) -> None:
        """What was heard does not count; subclasses say what follows."""
        raise NotImplementedError

    @Slot(bool)
    def _restarts_toggled(self, on: bool) -> None:
        self.sound.restarts = on

    @Slot(int)
    def _volume_moved(self, value: int) -> None:
        self.volume_changed.emit(value / 100)

    # The end

    def ask_stop(self) -> None:
        """Ask whether to end before the time, in silence; a second time takes the question back."""
        if self.asks:
            self._go_on()
            return
        self._goes_on_after = self.sound.is_playing
        if self._goes_on_after:
            self.toggle_pause()
        self.setFocus()
        self._top.setCurrentWidget(self._ask)
        self.show_state()

    @property
    def asks(self) -> bool:
        """Whether the question stands."""
        return self._top.currentWidget() is self._ask

    def _go_on(self) -> None:
        self._top.setCurrentWidget(self._head)
        if self._goes_on_after and self._heard and self.sound.is_there:
            self.toggle_pause()
        self.setFocus()
        self.show_state()

    def _end(self) -> None:
        self._top.setCurrentWidget(self._head)
        self.sound.pause()
        self.session.stop()
        self.finished.emit()

    # Keys

    def keys(self) -> dict[Qt.Key, Callable[[], None]]:
        """What each key does; subclasses add theirs."""
        return {
            Qt.Key.Key_Space: self._space,
            Qt.Key.Key_Escape: self.ask_stop,
            Qt.Key.Key_R: self.restarts.toggle,
        }

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if self.asks and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._end()
            return
        act = self.keys().get(key)
        if (
            act is None
            or event.isAutoRepeat()
            or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier & ~(Qt.KeyboardModifier.ShiftModifier)
        ):
            super().keyPressEvent(event)
        else:
            act()

    def showEvent(self, event: QShowEvent) -> None:
        self.timer.start()
        self.setFocus()
        super().showEvent(event)
        for part in self._ask.findChildren(QWidget):
            part.ensurePolished()  # else the question's height is known only when it is first asked
        self._top.setFixedHeight(max(self._head.sizeHint().height(), self._ask.sizeHint().height()))

    def hideEvent(self, event: QHideEvent) -> None:
        self.timer.stop()
        super().hideEvent(event)

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.theme = theme
        self.strip.set_theme(theme)
        self.dots.theme = theme
        for button in self.findChildren(StimulusButton):
            button.theme = theme
            button.update()
        self.setStyleSheet(page_style(theme))


def joined(names: Sequence[str]) -> str:
    """Names as words: "A", "A and B", "A, B and X"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
