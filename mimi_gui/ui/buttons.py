"""The push buttons of the panels: words on them, and a tip that a screen reader reads too. GUI thread only."""

from __future__ import annotations

from PySide6.QtWidgets import QPushButton


def push_button(words: str, tip: str) -> QPushButton:
    """A button with ``words`` on it; ``tip`` is also its name for a screen reader."""
    button = QPushButton(words)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button
