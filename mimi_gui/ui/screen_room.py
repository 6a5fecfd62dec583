"""How large a window may be at first, so that all of it is on the screen. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import QSize

_FRAME = QSize(8, 40)  # what a window manager puts around a window, at the most


def fitting(size: QSize, room: QSize) -> QSize:
    """``size``, made smaller where it and its frame have no room on the screen; both in pixels."""
    return size.boundedTo(room - _FRAME)
