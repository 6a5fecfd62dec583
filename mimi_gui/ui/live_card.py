"""What has to be read before one's own voice comes out of a loudspeaker. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme, heading_font


class LiveCard(QFrame):
    """The headphones warning and the two ways to begin.

    Signals:
        start_requested(bool): begin; True without sound.
    """

    start_requested = Signal(bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("card")
        self._mark = QLabel()
        self._title = QLabel()
        self._title.setFont(heading_font(self._title.font(), 1.15))
        text = QLabel(
            "From loudspeakers, what Mimi says goes back into the microphone and howls. Without sound you see tokens"
            " and spectrograms only; M unmutes."
        )
        text.setWordWrap(True)
        text.setProperty("dim", True)
        self.loud = QPushButton("I wear headphones: start")
        self.loud.setProperty("primary", True)
        self.loud.setToolTip("Open the microphone and hear yourself through Mimi")
        self.quiet = QPushButton("Start without sound")
        self.quiet.setToolTip("Open the microphone; Mimi stays mute")
        self.loud.clicked.connect(self._start_loud)
        self.quiet.clicked.connect(self._start_quiet)
        words = QVBoxLayout()
        words.setSpacing(3)
        words.addWidget(self._title)
        words.addWidget(text)
        row = QHBoxLayout(self)
        row.setContentsMargins(18, 14, 18, 14)
        row.setSpacing(16)
        row.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        for button in (self.quiet, self.loud):
            button.setMinimumHeight(36)
            row.addWidget(button)
        self.setFocusProxy(self.quiet)  # Space is the key that plays elsewhere: pressed here unseen, it must not howl
        self.set_again(False)
        self.set_theme(theme)

    def set_again(self, again: bool) -> None:
        """Word it for another session."""
        self._title.setText("Once more? Put on headphones" if again else "Put on headphones first")
        self.setAccessibleName(self._title.text())

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._mark.setPixmap(icon("headphones", theme, "accent").pixmap(32, 32))
        self.setStyleSheet(
            f"QFrame#card {{ background: {theme.panel}; border: 1px solid {theme.border}; border-radius: 12px; }}"
        )

    def _start_loud(self) -> None:
        self.start_requested.emit(False)

    def _start_quiet(self) -> None:
        self.start_requested.emit(True)
