"""The head of a page with sound: the way back, the page's name, and on the right what it lets choose."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme, heading_font


class PageHead(QHBoxLayout):
    """A row for the top of a page; GUI thread only.

    Attributes:
        back: the button; its icon comes with ``draw_icons``.
    """

    def __init__(self, name: str, back_tip: str, choices: Sequence[tuple[str, QWidget]]) -> None:
        """``choices``: what a label says, and the widget that it belongs to."""
        super().__init__()
        self.setSpacing(10)
        self.back = QToolButton()
        self.back.setToolTip(back_tip)
        self.back.setAccessibleName("Back")
        self.back.setIconSize(QSize(20, 20))
        title = QLabel(name)
        title.setFont(heading_font(title.font(), 1.5))
        self.addWidget(self.back)
        self.addWidget(title)
        self.addStretch(1)
        for words, widget in choices:
            label = QLabel(words)
            label.setProperty("dim", True)
            label.setBuddy(widget)
            self.addWidget(label)
            self.addWidget(widget)

    def draw_icons(self, theme: Theme) -> None:
        """Again when the theme changes."""
        self.back.setIcon(icon("back", theme))
