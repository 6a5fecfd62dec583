"""What the window shows while nothing is open: where to drop, a sample to play with, and how to get the model.

GUI thread only. It shows what it is told and wishes by one signal, with the names that banners use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.codec_jobs import DEFAULT_MODEL, DEMO_MODEL, DOWNLOAD_MB, ModelChoice, ModelReady
from mimi_gui.ui.icons import icon
from mimi_gui.ui.status_bar import model_words, progress_words
from mimi_gui.ui.theme import Theme, heading_font
from mimi_gui.ui.worker import Progress

_RECENT = 5
_WIDTH = 760


class DropArea(QWidget):
    """A dashed frame that says what may be dropped; the whole window takes drops."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.is_hot = False
        self.setMinimumHeight(190)

    def set_hot(self, hot: bool) -> None:
        """Light up while something is dragged over the window."""
        self.is_hot = hot
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme = self.theme
        rect = QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5)
        pen = QPen(theme.color("accent" if self.is_hot else "text_faint", 1.0 if self.is_hot else 0.55), 1.6)
        pen.setDashPattern([5, 4])
        painter.setPen(pen)
        painter.setBrush(theme.color("accent", 0.10) if self.is_hot else theme.color("panel"))
        painter.drawRoundedRect(rect, 14, 14)
        painter.end()
        super().paintEvent(event)


class WelcomePage(QWidget):
    """See the module's docstring.

    Signals:
        action_requested(str): the name of an action, as in banners.
        path_requested(object): a recent file, as a Path.
    """

    action_requested = Signal(str)
    path_requested = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._title = QLabel("Hear what Mimi keeps")
        self._subtitle = QLabel(
            "Mimi turns speech into 12.5 frames of tokens a second. Drop a recording: see its tokens, hear what comes"
            " back from them, and switch between the two at the same place."
        )
        self._subtitle.setWordWrap(True)
        self._subtitle.setProperty("dim", True)

        self.drop_area = DropArea(theme)
        self._mark = QLabel()
        self._mark.setAlignment(Qt.AlignmentFlag.AlignCenter)
        here = QLabel("Drop a recording or a token file here")
        here.setAlignment(Qt.AlignmentFlag.AlignCenter)
        here.setFont(heading_font(here.font(), 1.25))
        kinds = QLabel("wav, flac, mp3, ogg, opus, aiff … at any rate, or .npz tokens")
        kinds.setAlignment(Qt.AlignmentFlag.AlignCenter)
        kinds.setProperty("dim", True)
        self._open = self._button("Open …", "open", "Choose files (Ctrl+O)")
        self._record = self._button("Record …", "record", "Use a microphone (Ctrl+N)")
        self._sample = self._button("Try the sample", "open-sample", "A clip of read English comes along")
        self._sample.setProperty("primary", True)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self._open)
        buttons.addWidget(self._record)
        buttons.addWidget(self._sample)
        buttons.addStretch(1)
        inside = QVBoxLayout(self.drop_area)
        inside.setContentsMargins(24, 22, 24, 22)
        inside.setSpacing(8)
        inside.addWidget(self._mark)
        inside.addWidget(here)
        inside.addWidget(kinds)
        inside.addSpacing(6)
        inside.addLayout(buttons)

        self._card = QFrame()
        self._card.setObjectName("card")
        self._card_title = QLabel()
        bold = QFont(self._card_title.font())
        bold.setBold(True)
        self._card_title.setFont(bold)
        self._card_text = QLabel()
        self._card_text.setWordWrap(True)
        self._card_text.setProperty("dim", True)
        self._bar = QProgressBar()
        self._bar.setAccessibleName("Progress of the model")
        self._bar_text = QLabel()
        self._bar_text.setProperty("dim", True)
        self._cancel = self._button("Cancel", "cancel", "Stop the download; what is there already is kept")
        self._download = self._button(f"Download ({DOWNLOAD_MB} MB)", "download", "From huggingface.co/kyutai/mimi")
        self._file = self._button("Choose a file …", "choose-model", "A .safetensors file")
        self._folder = self._button("Choose a folder …", "choose-model-folder", "A folder with config.json")
        self._demo = self._button("Use the built-in demo codec", "use-demo", "Works at once, sounds far worse")
        self._help = self._button("Help", "help-model", "What to do when the model cannot be had")
        self._download.setProperty("primary", True)
        ways = QHBoxLayout()
        for button in (self._download, self._file, self._folder, self._demo):
            ways.addWidget(button)
        ways.addStretch(1)
        ways.addWidget(self._help)
        running = QHBoxLayout()
        running.addWidget(self._bar, 1)
        running.addWidget(self._bar_text)
        running.addWidget(self._cancel)
        card = QVBoxLayout(self._card)
        card.setContentsMargins(18, 14, 18, 14)
        card.setSpacing(8)
        card.addWidget(self._card_title)
        card.addWidget(self._card_text)
        card.addLayout(running)
        card.addLayout(ways)

        self._recent_title = QLabel("Open again")
        self._recent_title.setFont(bold)
        self._recent = QVBoxLayout()
        self._recent.setSpacing(2)

        column = QVBoxLayout()
        column.setSpacing(16)
        column.addStretch(2)
        column.addWidget(self._title)
        column.addWidget(self._subtitle)
        column.addWidget(self.drop_area)
        column.addWidget(self._card)
        column.addWidget(self._recent_title)
        column.addLayout(self._recent)
        column.addStretch(3)
        middle = QWidget()
        middle.setMaximumWidth(_WIDTH)
        middle.setLayout(column)
        page = QWidget()
        row = QHBoxLayout(page)
        row.setContentsMargins(28, 20, 28, 20)
        row.addStretch(1)
        row.addWidget(middle, 100)
        row.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        self.set_recent(())
        self.set_theme(theme)

    def _button(self, words: str, action: str, tip: str) -> QPushButton:
        button = QPushButton(words)
        button.setToolTip(tip)
        button.setProperty("action", action)
        button.clicked.connect(self._act)
        return button

    def _act(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.action_requested.emit(str(sender.property("action")))

    def set_model(self, state: str, choice: ModelChoice, ready: ModelReady | None, error: str = "") -> None:
        """Show where the model stands: "loading", "ready", "missing", "failed" or "downloading"."""
        is_demo = choice.name == DEMO_MODEL
        name = "The built-in demo codec" if is_demo else choice.title
        title, text = {
            "loading": (f"Loading {choice.title} …", "You can open a recording meanwhile."),
            "ready": (f"{name} is ready", model_words(ready) if ready is not None else ""),
            "downloading": (f"Downloading {choice.title} …", "You can go on meanwhile; it is kept for the next time."),
            "missing": (
                f"{name} is not on this computer yet",
                f"Download it once ({DOWNLOAD_MB} MB, from huggingface.co), point to a copy you have, or try the demo"
                " codec that comes along. It is tiny and sounds far below Kyutai's, but everything works with it."
                if choice.name == DEFAULT_MODEL
                else "Choose another copy, or try the demo codec that comes along.",
            ),
        }.get(state, ("The model could not be loaded", error))
        self._card_title.setText(title)
        self._card_text.setText(error if state == "failed" and error else text)
        self._card_text.setVisible(bool(self._card_text.text()))
        busy = state in ("loading", "downloading")
        for widget in (self._bar, self._bar_text):
            widget.setVisible(busy)
        self._cancel.setVisible(state == "downloading")
        if busy:
            self._bar.setRange(0, 0)
            self._bar_text.setText("")
        wanting = state in ("missing", "failed")
        offers_kyutai = wanting or (state == "ready" and is_demo)
        self._download.setVisible(offers_kyutai and (is_demo or choice.name == DEFAULT_MODEL))
        self._download.setText(f"Download {'Kyutai Mimi ' if is_demo else ''}({DOWNLOAD_MB} MB)")
        self._file.setVisible(offers_kyutai)
        self._folder.setVisible(offers_kyutai)
        self._demo.setVisible(wanting and not is_demo)
        self._help.setVisible(state == "failed")

    def set_progress(self, progress: Progress) -> None:
        """Show how far a download is."""
        self._bar.setRange(0, 1000 if progress.total else 0)
        if progress.total:
            self._bar.setValue(round(1000 * progress.done / progress.total))
        self._bar_text.setText(progress_words(progress))

    def set_recent(self, paths: Sequence[str]) -> None:
        """List the files that were open before."""
        while (item := self._recent.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        for text in paths[:_RECENT]:
            path = Path(text)
            button = QPushButton(f"{path.name}   —   {path.parent}")
            button.setFlat(True)
            button.setToolTip(text)
            button.setProperty("path", text)
            button.setStyleSheet("QPushButton { text-align: left; border: none; background: transparent; }")
            button.clicked.connect(self._reopen)
            self._recent.addWidget(button)
        self._recent_title.setVisible(bool(paths))

    def _reopen(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.path_requested.emit(Path(str(sender.property("path"))))

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        self.drop_area.theme = theme
        self.drop_area.update()
        self._mark.setPixmap(icon("save", theme, "accent").pixmap(48, 48))
        self._title.setStyleSheet(f"font-size: 26pt; font-weight: 700; color: {theme.text};")
        self._card.setStyleSheet(
            f"QFrame#card {{ background: {theme.panel}; border: 1px solid {theme.border}; border-radius: 12px; }}"
        )
