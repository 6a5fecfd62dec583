"""One sentence on a page about what is wrong there, with a way to read more. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme


class Remark(QFrame):
    """Hidden while there is nothing to say.

    Signals:
        help_requested(str): a heading of TROUBLESHOOTING.md.
    """

    help_requested = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._said = ("", "", "")
        self.setObjectName("remark")
        self._mark = QLabel()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.help = QPushButton("Help")
        self.help.clicked.connect(self._ask)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 7, 8, 7)
        row.setSpacing(10)
        row.addWidget(self._mark)
        row.addWidget(self.text, 1)
        row.addWidget(self.help)
        self.hide()

    @property
    def words(self) -> str:
        """What is said, "" while nothing is."""
        return self._said[1]

    def say(self, level: str, words: str, hint: str = "") -> None:
        """Say this ("info", "warning" or "error") until something else is; "" hides."""
        if (level, words, hint) == self._said:
            return
        self._said = (level, words, hint)
        self._show()

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = theme
        self._show()

    def _show(self) -> None:
        level, words, hint = self._said
        theme = self._theme
        self.setVisible(bool(words))
        self.text.setText(words)
        self.setAccessibleName(f"{level}: {words}" if words else "")
        self.help.setVisible(bool(hint))
        color = {"error": "error", "warning": "warning"}.get(level, "accent")
        self._mark.setPixmap(icon("help" if level == "info" else "warning", theme, color).pixmap(20, 20))
        ground = {"error": theme.error_panel, "warning": theme.warning_panel}.get(level, theme.panel)
        edge = getattr(theme, color)
        self.setStyleSheet(f"QFrame#remark {{ background: {ground}; border: 1px solid {edge}; border-radius: 8px; }}")

    def _ask(self) -> None:
        self.help_requested.emit(self._said[2])
