"""A line of words that ends in "…" where it has no room, instead of being cut through a letter. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget


class ElidedLabel(QLabel):
    """Takes the width that is left and asks for none; the tooltip has the whole, where that is not in sight.

    Args:
        mode: where the words give way: at the end, or in the middle for a path.
        has_own_tip: the tooltip is somebody else's, and says more than the words.
    """

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
        has_own_tip: bool = False,
    ) -> None:
        super().__init__(parent)
        self._mode, self._has_own_tip, self._whole = mode, has_own_tip, ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def setText(self, text: str) -> None:
        """Say this."""
        if text != self._whole:
            self._whole = text
            self._fit()

    def text(self) -> str:
        """The whole of what is said."""
        return self._whole

    def shown(self) -> str:
        """As much of it as is in sight."""
        return super().text()

    def _fit(self) -> None:
        shown = self.fontMetrics().elidedText(self._whole, self._mode, max(self.contentsRect().width(), 0))
        super().setText(shown)
        if not self._has_own_tip:
            self.setToolTip(self._whole if shown != self._whole else "")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()
