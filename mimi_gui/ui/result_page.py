"""After a listening test: what it shows and what it does not, its interval, its log. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices, QFont, QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.analysis.abx import ABXResult
from mimi_gui.analysis.listening import ALPHA, clopper_pearson
from mimi_gui.analysis.rating_session import RatingResult
from mimi_gui.analysis.ratings import PreferenceResult
from mimi_gui.analysis.staircase import StaircaseResult
from mimi_gui.ui.listening_jobs import LogRead
from mimi_gui.ui.listening_sources import codebook_words
from mimi_gui.ui.listening_style import page_style
from mimi_gui.ui.listening_widgets import Interval, IntervalPlot
from mimi_gui.ui.theme import Theme, heading_font

_PERCENT = tuple((float(value), f"{value} %") for value in range(0, 101, 25))


@dataclass(frozen=True)
class Outcome:
    """A result in words and as intervals."""

    title: str
    text: str
    rows: tuple[Interval, ...] = ()
    ticks: tuple[tuple[float, str], ...] = _PERCENT
    mark: tuple[float, str] | None = None
    is_log: bool = False
    full: str = ""  # what is copied, where the text leaves out what the picture shows


def short(name: str) -> str:
    """A take's name where many stand together."""
    return name.removeprefix("Reconstruction, ")


def abx_outcome(result: ABXResult) -> Outcome:
    """Of an ABX run; never that something cannot be heard."""
    if result.training:
        return Outcome("Training over", f"{result.text} Nothing was logged.")
    if not result.answered:
        return Outcome("No trial was answered", result.text)
    if result.stopped_early:
        title = "Stopped early"
    elif result.p <= ALPHA:
        title = "You heard a difference on this clip"
    else:
        title = "Not shown to be audible to you on this clip"
    low, high = (100 * edge for edge in result.interval)
    row = Interval("Your hit rate", low, 100 * result.correct / result.answered, high, f"{low:.0f} to {high:.0f} %")
    text = result.text.removesuffix(f" {title}.")  # it stands above already
    return Outcome(title, text, (row,), _PERCENT, (50.0, "guessing"), full=result.text)


def staircase_outcome(result: StaircaseResult, levels: Sequence[int], planned: int) -> Outcome:
    """Of a staircase."""
    if not result.num_trials:
        return Outcome("No trial was answered", "Nothing can be said.")
    most = result.smallest_not_told
    if most is None:
        title = "You told even the most codebooks from the reference"
    else:
        title = f"From {codebook_words(most)} on: not shown to be audible to you"
    if result.num_trials < planned:
        title = "Stopped early"
    low, high = result.interval
    row = Interval("Codebooks", low, result.threshold, high, _levels_words(low, high, levels))
    ticks = [(float(level), str(level)) for level in levels]
    ticks = [(levels[0] / 2, ""), *ticks, (levels[-1] * 2.0, "")]
    text = result.text
    if result.num_trials < planned:
        text += f" Stopped early: {planned} trials were planned."
    return Outcome(title, text, (row,), tuple(ticks), None, is_log=True)


def _levels_words(low: float, high: float, levels: Sequence[int]) -> str:
    """An interval in numbers of codebooks; beyond those that were tried nothing more exact is known."""
    least, most = levels[0], levels[-1]
    if high < least:
        return f"below {least}"
    if low > most:
        return f"above {most}"
    first = f"below {least}" if low < least else f"{low:.1f}"
    return f"{first} to {f'above {most}' if high > most else f'{high:.1f}'}"


def preference_outcome(result: PreferenceResult, names: tuple[str, str]) -> Outcome:
    """Of a preference run."""
    votes = result.first + result.second
    full = f"First: {names[0]}. Second: {names[1]}. {result.text}"
    if not votes:
        return Outcome("No preference was shown", full)
    if result.stopped_early:
        title = "Stopped early"
    elif result.p > ALPHA:
        title = "No preference was shown"
    else:
        title = f"You preferred: {names[0] if result.first > result.second else names[1]}"
    low, high = (100 * edge for edge in clopper_pearson(result.second, votes))
    row = Interval(
        "Votes for the second", low, 100 * result.second / votes, high,
        f"{result.second} of {votes}, {result.ties} tie{'' if result.ties == 1 else 's'}",
    )  # fmt: skip
    text = full.removesuffix(f" {title}.")  # it stands above already
    return Outcome(title, text, (row,), _PERCENT, (50.0, "no preference"), full=full)


def mushra_outcome(result: RatingResult) -> Outcome:
    """Of a MUSHRA-style run."""
    title = "Your ratings" if result.rounds else "No round was finished"
    rows = tuple(Interval(short(row.name), row.low, row.mean, row.high, f"{row.mean:.0f}") for row in result.rows)
    ticks = tuple((float(value), str(value)) for value in range(0, 101, 20))
    if not result.rounds:
        return Outcome(title, result.text)
    text = f"Means over {result.rounds} round{'s' if result.rounds > 1 else ''}.{result.remarks}"
    return Outcome(title, text, rows, ticks, full=result.text)


class ResultPage(QWidget):
    """See the module's docstring.

    Signals:
        again_requested(): set another test up.
        log_requested(): read the log and show it.
        close_requested(): leave.
        save_requested(object): write the log to this Path, since its own place refused it.
    """

    again_requested = Signal()
    log_requested = Signal()
    close_requested = Signal()
    save_requested = Signal(object)

    def __init__(self, theme: Theme, outcome: Outcome, compared: str, path: Path | None) -> None:
        super().__init__()
        self.theme = theme
        self._outcome, self._compared, self._path = outcome, compared, path
        self.title = QLabel(outcome.title)
        self.title.setWordWrap(True)
        self.title.setFont(heading_font(self.title.font(), 1.9))
        self.text = QLabel(outcome.text)
        self.text.setWordWrap(True)
        self.text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        larger = QFont(self.text.font())
        larger.setPointSizeF(larger.pointSizeF() * 1.12)
        self.text.setFont(larger)
        self.compared = QLabel(compared)
        self.compared.setWordWrap(True)
        self.compared.setProperty("dim", True)
        self.where = QLabel()
        self.where.setWordWrap(True)
        self.where.setProperty("dim", True)
        self.where.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.log.setAccessibleName("Log")
        self.log.hide()
        self.plot: IntervalPlot | None = None
        card = self._card = QFrame()
        card.setObjectName("card")
        inside = QVBoxLayout(card)
        inside.setContentsMargins(26, 22, 26, 20)
        inside.setSpacing(14)
        inside.addWidget(self.title)
        inside.addWidget(self.text)
        if outcome.rows:
            self.plot = IntervalPlot(outcome.rows, outcome.ticks, theme, mark=outcome.mark, is_log=outcome.is_log)
            inside.addSpacing(6)
            inside.addWidget(self.plot)
        inside.addWidget(self.compared)
        inside.addWidget(self.where)
        self.copy = self._button("Copy result", "Copy the result as text (key: Ctrl+C)", self.copy_result)
        self.show_log = self._button(
            "Show log", "Read the log back, verify it, and show every trial; or the result again", self._toggle_log
        )
        self.open_folder = self._button("Open the folder", "Show the log in the file manager", self._open_folder)
        self.save_as = self._button("Save the log elsewhere …", "Choose another place for the log", self._ask_place)
        self.again = self._button("Another test", "Back to the setup", self.again_requested.emit)
        self.close_button = self._button("Close", "Back to the window (key: Esc)", self.close_requested.emit)
        self.close_button.setProperty("primary", True)
        row = QHBoxLayout()
        row.setSpacing(10)
        for button in (self.copy, self.show_log, self.open_folder, self.save_as):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.again)
        row.addWidget(self.close_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(28, 24, 28, 16)
        layout.setSpacing(14)
        layout.addWidget(card)
        layout.addWidget(self.log, 10)
        layout.addStretch(1)
        layout.addLayout(row)
        self.set_saved(path, "")
        self.set_theme(theme)

    def _button(self, words: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.clicked.connect(act)
        return button

    def set_saved(self, path: Path | None, error: str) -> None:
        """Where the log is, or why there is none."""
        self._path = path if not error else None
        for button in (self.show_log, self.open_folder):
            button.setVisible(self._path is not None)
        self.save_as.setVisible(bool(error))
        self.where.setText(error or (f"Log: {path}" if path is not None else ""))
        self.where.setVisible(bool(self.where.text()))

    def _ask_place(self) -> None:
        text, _ = QFileDialog.getSaveFileName(self, "Save the log", "listening-test.json", "Logs (*.json)")
        if text:
            self.save_requested.emit(Path(text))

    def _toggle_log(self) -> None:
        if self.log.isVisible():
            self._show_log(False)
        else:
            self.log_requested.emit()

    def show_lines(self, read: LogRead) -> None:
        """The log as it stands on the disk, and whether it verifies."""
        self.log.setPlainText("\n".join(read.lines))
        self._show_log(True)
        self.log.setFocus()

    def _show_log(self, on: bool) -> None:
        self.log.setVisible(on)
        self._card.setVisible(not on)
        self.show_log.setText("Show result" if on else "Show log")

    def result_text(self) -> str:
        """What "copy" puts on the clipboard."""
        parts = [self._outcome.title, self._outcome.full or self._outcome.text, self._compared]
        if self._path is not None:
            parts.append(f"Log: {self._path}")
        return "\n".join(part for part in parts if part) + "\n"

    def copy_result(self) -> None:
        """Put the result on the clipboard."""
        QGuiApplication.clipboard().setText(self.result_text())
        self.copy.setText("Copied")

    def _open_folder(self) -> None:
        if self._path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._path.parent)))

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.theme = theme
        self.setStyleSheet(page_style(theme))
        if self.plot is not None:
            self.plot.theme = theme
            self.plot.update()
