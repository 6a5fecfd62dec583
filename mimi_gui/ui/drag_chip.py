"""A result that can be dragged into a file manager or another program, or clicked to be saved. GUI thread only."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl, Signal
from PySide6.QtGui import QDrag, QEnterEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QToolButton, QWidget

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme


class DragChip(QToolButton):
    """Asks for its file when the pointer comes near, so that it lies ready when the drag begins.

    Signals:
        file_requested(str): write the file of this ``kind``; answer with :meth:`set_file`.
        clicked: (inherited) save it by a dialog.
    """

    file_requested = Signal(str)

    def __init__(self, kind: str, words: str, icon_name: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self._icon_name = icon_name
        self._path: Path | None = None
        self._pressed: QPoint | None = None
        self._dragging = False
        self._asked = False
        self.setText(words)
        self.setProperty("framed", True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.setIcon(icon(self._icon_name, theme))

    def set_file(self, path: Path | None) -> None:
        """The file is ready (or, with None, out of date)."""
        self._path = path
        self._asked = False
        if path is not None and self._dragging:
            self._drag()

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self._ask()

    def _ask(self) -> None:
        if self.isEnabled() and self._path is None and not self._asked:
            self._asked = True
            self.file_requested.emit(self.kind)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = event.position().toPoint() if event.button() == Qt.MouseButton.LeftButton else None
        self._dragging = False
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is None or self._dragging:
            return
        far = (event.position().toPoint() - self._pressed).manhattanLength()
        if far < QApplication.startDragDistance():
            return
        self._dragging = True
        if self._path is not None:
            self._drag()
        else:
            self._ask()  # the drag begins when it is written, if the button is still down

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        dragged, self._dragging, self._pressed = self._dragging, False, None
        if dragged:
            self.setDown(False)
        else:
            super().mouseReleaseEvent(event)

    def _drag(self) -> None:
        if self._path is None or not QApplication.mouseButtons() & Qt.MouseButton.LeftButton:
            return
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(self._path))])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.setPixmap(self.icon().pixmap(32, 32))
        drag.exec(Qt.DropAction.CopyAction)
        self._dragging, self._pressed = False, None
        self.setDown(False)
