"""A number field that keeps digits and its sign only: the window's letters and Space work while it has the keyboard."""

from __future__ import annotations

from PySide6.QtCore import QEvent
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QSizePolicy, QSpinBox


class NumberField(QSpinBox):
    """A spin box that announces a number once it is typed to its end, with name and tooltip."""

    def __init__(self, name: str, tip: str, least: int, most: int, *, narrow: bool = False) -> None:
        super().__init__()
        self.setRange(least, most)
        self.setAccessibleName(name)
        self.setToolTip(tip)
        self.setKeyboardTracking(False)
        if narrow:
            self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self.setMinimumWidth(60)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            text = event.text()
            if text and text.isprintable() and not text.isdigit() and not (text in "-−" and self.minimum() < 0):
                event.ignore()  # so that it is looked for among the shortcuts
                return True
        return super().event(event)
