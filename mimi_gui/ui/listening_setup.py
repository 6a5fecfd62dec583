"""Before a listening test: what is compared, where, how often, and what levels, delay and device are. GUI thread only.

It shows what it is told and wishes by signals; :mod:`mimi_gui.ui.listening_window` does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.listening_choice import TakesChoice
from mimi_gui.ui.listening_jobs import Source
from mimi_gui.ui.listening_plan import KINDS, Kind, Plan, outlook
from mimi_gui.ui.listening_sources import MAX_SPAN_S, MIN_SPAN_S
from mimi_gui.ui.listening_style import page_style
from mimi_gui.ui.loop_strip import LoopStrip, clamped
from mimi_gui.ui.theme import Theme, heading_font

_SETTLE_MS = 350
_LONG_SPAN_S = 15.0


class SetupPage(QWidget):
    """See the module's docstring.

    Signals:
        changed(): another plan; what was prepared no longer fits.
        start_requested(bool): begin; True for training.
        close_requested(): leave.
        listen_toggled(bool): play the reference over the loop, or fall silent.
    """

    changed = Signal()
    start_requested = Signal(bool)
    close_requested = Signal()
    listen_toggled = Signal(bool)

    def __init__(
        self,
        theme: Theme,
        kind: str,
        sources: Sequence[Source],
        levels: Sequence[Source],
        envelope: Envelope | None,
        duration_s: float,
        span_s: tuple[float, float],
        folder: Path,
        listener: str,
    ) -> None:
        super().__init__()
        self.theme = theme
        self._duration_s = duration_s
        self.kinds: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        self._kinds_row = QHBoxLayout()
        self._kinds_row.setSpacing(8)
        for one in KINDS.values():
            button = QPushButton(one.title)
            button.setCheckable(True)
            button.setAutoDefault(False)
            button.setProperty("segment", True)
            button.setProperty("kind", one.key)
            button.setToolTip(one.question)
            group.addButton(button)
            button.clicked.connect(self._kind_chosen)
            self.kinds[one.key] = button
            self._kinds_row.addWidget(button)
        self._kinds_row.addStretch(1)
        self.question = QLabel()
        self.question.setWordWrap(True)
        self.takes = TakesChoice(sources, levels)
        self.strip = LoopStrip(theme, editable=True)
        self.strip.set_recording(envelope, duration_s)
        self.strip.set_span(span_s)
        self.start_s, self.end_s = self._seconds("Loop start"), self._seconds("Loop end")
        self.listen = QPushButton("Listen")
        self.listen.setCheckable(True)
        self.listen.setAutoDefault(False)
        self.listen.setFixedWidth(84)
        self.listen.setToolTip("Play the reference over the loop, while its edges are placed")
        self.listen.toggled.connect(self._listen_toggled)
        self.length = QLabel()
        self.length.setProperty("dim", True)
        self.trials = QSpinBox()
        self.trials.setAccessibleName("Number of trials")
        self.trials.setFixedWidth(90)
        self.trials.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.trials_label = QLabel("Trials")
        self.trials_label.setBuddy(self.trials)
        self.power = QLabel()
        self.power.setWordWrap(True)
        self.power.setProperty("dim", True)
        self.match = QCheckBox("Match levels")
        self.match.setChecked(True)
        self.match.setToolTip(
            "Play all equally loud (BS.1770, within 0.1 LU over the loop), by turning the louder ones down.\n"
            "Off: as decoded. Then the louder one may win by that alone."
        )
        self.restarts = QCheckBox("Start over at each press")
        self.restarts.setToolTip("Each press begins at the loop's start, instead of going on at the same place")
        self.listener = QLineEdit(listener)
        self.listener.setPlaceholderText("optional")
        self.listener.setAccessibleName("Listener's name")
        self.notes = QLineEdit()
        self.notes.setPlaceholderText("optional, e.g. headphones and room")
        self.notes.setAccessibleName("Notes")
        self.folder = QLineEdit(str(folder))
        self.folder.setAccessibleName("Folder for logs")
        self.folder.setToolTip("The log of each test is written here as it runs")
        self.browse = self._button("…", "Choose the folder for logs", self._browse)
        self.browse.setFixedWidth(40)
        self.browse.setAccessibleName("Choose the folder for logs")
        self.device, self.levels, self.delay = self._fact("Output"), self._fact("Levels"), self._fact("Delay")
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setFixedWidth(120)
        self.bar.hide()
        self.close_button = self._button("Close", "Back to the window (key: Esc)", self.close_requested.emit)
        self.train = self._button(
            "Train first", "The same with right or wrong told; it is not scored and not logged", self._train
        )
        self.start = self._button(
            "Start the test", "Begin; the score is shown at the end (key: Ctrl+Enter)", self._start
        )
        self.start.setProperty("primary", True)
        self._lay_out()
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLE_MS)
        self._settling.timeout.connect(self.changed)
        self.takes.changed.connect(self._touched)
        self.strip.span_changed.connect(self._span_dragged)
        self.start_s.editingFinished.connect(self._span_typed)
        self.end_s.editingFinished.connect(self._span_typed)
        self.trials.valueChanged.connect(self._show_power)
        self.match.toggled.connect(self._touched)
        self._show_span()
        self.set_theme(theme)
        self.set_kind(kind)

    def _button(self, words: str, tip: str, act: object) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.clicked.connect(act)
        return button

    def _seconds(self, name: str) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setAccessibleName(name)
        box.setDecimals(2)
        box.setRange(0.0, max(self._duration_s, 0.01))
        box.setSingleStep(0.1)
        box.setSuffix(" s")
        box.setKeyboardTracking(False)
        box.setFixedWidth(104)
        box.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        return box

    def _fact(self, name: str) -> QLabel:
        label = QLabel("…")
        label.setWordWrap(True)
        label.setAccessibleName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        return label

    def _card(self, title: str) -> tuple[QFrame, QVBoxLayout]:
        card = QFrame()
        card.setObjectName("card")
        layout = QVBoxLayout(card)
        layout.setContentsMargins(16, 12, 16, 14)
        layout.setSpacing(9)
        head = QLabel(title)
        head.setFont(heading_font(head.font()))
        layout.addWidget(head)
        return card, layout

    def _lay_out(self) -> None:
        what, inside = self._card("What is compared")
        inside.addWidget(self.takes, 1)
        where, inside = self._card("Where: the loop")
        inside.addWidget(self.strip, 1)
        row = QHBoxLayout()
        row.setSpacing(8)
        for words, box in (("From", self.start_s), ("to", self.end_s)):
            row.addWidget(QLabel(words))
            row.addWidget(box)
        row.addWidget(self.length, 1)
        row.addWidget(self.listen)
        inside.addLayout(row)
        how, inside = self._card("How")
        row = QHBoxLayout()
        row.addWidget(self.trials_label)
        row.addWidget(self.trials)
        row.addStretch(1)
        inside.addLayout(row)
        inside.addWidget(self.power)
        row = QHBoxLayout()
        row.addWidget(self.match)
        row.addSpacing(8)
        row.addWidget(self.restarts)
        row.addStretch(1)
        inside.addLayout(row)
        inside.addStretch(1)
        who, inside = self._card("For the log")
        grid = QGridLayout()
        grid.setVerticalSpacing(7)
        for i, (words, box) in enumerate((("Listener", self.listener), ("Notes", self.notes), ("Folder", self.folder))):
            label = QLabel(words)
            label.setBuddy(box)
            grid.addWidget(label, i, 0)
            grid.addWidget(box, i, 1)
        grid.addWidget(self.browse, 2, 2)
        inside.addLayout(grid)
        sound, inside = self._card("Sound")
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(7)
        for i, (words, fact) in enumerate((("Output", self.device), ("Levels", self.levels), ("Delay", self.delay))):
            label = QLabel(words)
            label.setProperty("dim", True)
            grid.addWidget(label, i, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(fact, i, 1)
        inside.addLayout(grid)
        inside.addStretch(1)
        cards = QGridLayout()
        cards.setSpacing(12)
        cards.addWidget(what, 0, 0, 2, 1)
        cards.addWidget(who, 2, 0)
        cards.addWidget(where, 0, 1)
        cards.addWidget(how, 1, 1)
        cards.addWidget(sound, 2, 1)
        cards.setColumnStretch(0, 1)
        cards.setColumnStretch(1, 1)
        cards.setRowStretch(0, 1)
        foot = QHBoxLayout()
        foot.setSpacing(10)
        foot.addWidget(self.bar)
        foot.addWidget(self.message, 1)
        foot.addWidget(self.close_button)
        foot.addWidget(self.train)
        foot.addWidget(self.start)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 18, 24, 16)
        layout.setSpacing(12)
        layout.addLayout(self._kinds_row)
        layout.addWidget(self.question)
        layout.addLayout(cards, 1)
        layout.addLayout(foot)

    # What is chosen

    @property
    def kind(self) -> Kind:
        """The kind of test that is set up."""
        return next(KINDS[key] for key, button in self.kinds.items() if button.isChecked())

    def set_kind(self, key: str) -> None:
        """Set another kind up; the rest stays."""
        kind = KINDS[key]
        self.kinds[key].setChecked(True)
        self.question.setText(kind.question)
        self.takes.set_kind(key)
        self.trials_label.setText(kind.unit)
        self.trials.setAccessibleName(f"Number of {kind.unit.lower()}")
        self.trials.setRange(kind.least, kind.most)
        self.trials.setValue(kind.usual)
        self.trials.setToolTip(f"Fixed before the test begins: {kind.least} to {kind.most}")
        self.train.setVisible(key == "abx")
        self._show_power()
        self._touched()

    def plan(self) -> Plan:
        """What was chosen so far."""
        return Plan(
            self.kind.key, self.takes.sources(), self.strip.span_s, self.trials.value(), self.match.isChecked(),
            self.restarts.isChecked(), self.listener.text().strip(), self.notes.text().strip(),
            Path(self.folder.text().strip()).expanduser(),
        )  # fmt: skip

    def problem(self) -> str:
        """Why the plan cannot be carried out, "" when it can."""
        if self._duration_s < MIN_SPAN_S:
            return f"The recording has {self._duration_s:.2f} s; a loop needs at least {MIN_SPAN_S} s."
        if not self.folder.text().strip():
            return "Choose a folder for the log."
        return self.takes.problem()

    def _kind_chosen(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.set_kind(str(sender.property("kind")))

    def _touched(self) -> None:
        for fact in (self.levels, self.delay):
            fact.setText("…")
        self._settling.start()

    def _span_dragged(self) -> None:
        self._show_span()
        self._touched()

    def _span_typed(self) -> None:
        moves = "start" if self.sender() is self.start_s else "end"
        wish = (self.start_s.value(), self.end_s.value())
        span = clamped(wish, self._duration_s, (MIN_SPAN_S, MAX_SPAN_S), moves)
        if [round(edge, 2) for edge in span] != [round(edge, 2) for edge in self.strip.span_s]:
            self.strip.set_span(span)
            self._touched()
        self._show_span()

    def _show_span(self) -> None:
        start, end = self.strip.span_s
        for box, value in ((self.start_s, start), (self.end_s, end)):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)
        words = f"{end - start:.2f} s"
        if end - start > _LONG_SPAN_S:
            words += ": the ear compares best within a few seconds"
        self.length.setText(words)

    def _show_power(self) -> None:
        self.power.setText(outlook(self.kind.key, self.trials.value()))

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for logs", self.folder.text())
        if folder:
            self.folder.setText(folder)

    def _listen_toggled(self, on: bool) -> None:
        self.listen.setText("Silence" if on else "Listen")
        self.listen_toggled.emit(on)

    def _train(self) -> None:
        self.start_requested.emit(True)

    def _start(self) -> None:
        self.start_requested.emit(False)

    # What is told

    def show_device(self, words: str, *, is_there: bool) -> None:
        """The output and how late a press is heard; without one nothing can begin."""
        self.device.setText(words)
        for button in (self.start, self.train, self.listen):
            button.setEnabled(is_there)

    def show_measured(self, levels: str, delay: str) -> None:
        """What was measured over the loop."""
        self.levels.setText(levels)
        self.delay.setText(delay)

    def show_busy(self, words: str) -> None:
        """Something is being made; "" when it is done."""
        self.bar.setVisible(bool(words))
        self.message.setText(words)
        self.message.setStyleSheet(f"color: {self.theme.text_dim};")

    def show_error(self, words: str) -> None:
        """Why it did not begin."""
        self.bar.hide()
        self.message.setText(words)
        self.message.setStyleSheet(f"color: {self.theme.error};")

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.theme = theme
        self.strip.set_theme(theme)
        self.setStyleSheet(page_style(theme))
