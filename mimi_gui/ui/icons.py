"""Icons of the actions: our own line drawings, in the colour that the theme asks for. GUI thread only."""

# ruff: noqa: E501 - a drawing stays on one line

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from mimi_gui.resources import resource_path
from mimi_gui.ui.theme import Theme

# On a 24 x 24 grid; "!" before a path fills it, otherwise it is a 1.8 wide round stroke.
_PATHS: dict[str, tuple[str, ...]] = {
    "play": ("!M8 5.2v13.6a1 1 0 0 0 1.52.85l11-6.8a1 1 0 0 0 0-1.7l-11-6.8A1 1 0 0 0 8 5.2z",),
    "pause": ("!M6.5 5h3.6v14H6.5z", "!M13.9 5h3.6v14h-3.6z"),
    "stop": ("!M7.5 6h9A1.5 1.5 0 0 1 18 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 6 16.5v-9A1.5 1.5 0 0 1 7.5 6z",),
    "loop": ("M17 3.5l3.5 3.5L17 10.5", "M3.5 11.5V10a3 3 0 0 1 3-3h14", "M7 20.5L3.5 17 7 13.5", "M20.5 12.5V14a3 3 0 0 1-3 3h-14"),
    "speaker": ("M11 5L6.5 9H3.5v6h3L11 19z", "M15 9.2a4 4 0 0 1 0 5.6", "M17.8 6.5a8 8 0 0 1 0 11"),
    "muted": ("M11 5L6.5 9H3.5v6h3L11 19z", "M16 9.5l5 5", "M21 9.5l-5 5"),
    "rescan": ("M20 11A8 8 0 0 0 6.2 6.6L3.5 9", "M3.5 4v5h5", "M4 13a8 8 0 0 0 13.8 4.4l2.7-2.4", "M20.5 20v-5h-5"),
    "match": ("M4 8h16", "M4 16h16", "!M9 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6z", "!M15 13.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6z"),
    "record": ("!M12 5.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z",),
    "microphone": ("M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3z", "M6 11a6 6 0 0 0 12 0", "M12 17v3.5", "M8.5 20.5h7"),
    "headphones": ("M4 14v-2a8 8 0 0 1 16 0v2", "M4 14h3v6H5.5A1.5 1.5 0 0 1 4 18.5z", "M20 14h-3v6h1.5a1.5 1.5 0 0 0 1.5-1.5z"),
    "back": ("M19.5 12h-15", "M11 5.5L4.5 12l6.5 6.5"),
    "open": ("M3.5 18.5v-12a1.5 1.5 0 0 1 1.5-1.5h4.5l2 2.5H19a1.5 1.5 0 0 1 1.5 1.5v9.5a1.5 1.5 0 0 1-1.5 1.5H5a1.5 1.5 0 0 1-1.5-1.5z",),
    "save": ("M12 3.5v11", "M7.5 10.5l4.5 4.5 4.5-4.5", "M4 17v2a1.5 1.5 0 0 0 1.5 1.5h13A1.5 1.5 0 0 0 20 19v-2"),
    "export": ("M12 15V3.8", "M7.5 8L12 3.5 16.5 8", "M4 17v2a1.5 1.5 0 0 0 1.5 1.5h13A1.5 1.5 0 0 0 20 19v-2"),
    "zoom-in": ("M10.5 4a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z", "M15.2 15.2L20.5 20.5", "M7.5 10.5h6", "M10.5 7.5v6"),
    "zoom-out": ("M10.5 4a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z", "M15.2 15.2L20.5 20.5", "M7.5 10.5h6"),
    "fit": ("M3.5 6v12", "M20.5 6v12", "M7 12h10", "M9.5 9L6.5 12l3 3", "M14.5 9l3 3-3 3"),
    "selection": ("M8 4.5v15", "M16 4.5v15", "!M9 8h6v8H9z", "M3.5 12h2.5", "M18 12h2.5"),
    "follow": ("M12 4v16", "M12 12h8", "M17 9l3 3-3 3", "M4 8v8", "M8 9.5v5"),
    "settings": ("M12 8.8a3.2 3.2 0 1 1 0 6.4a3.2 3.2 0 0 1 0-6.4z", "M12 3.2v3", "M12 17.8v3", "M3.2 12h3", "M17.8 12h3", "M5.8 5.8l2.1 2.1", "M16.1 16.1l2.1 2.1", "M5.8 18.2l2.1-2.1", "M16.1 7.9l2.1-2.1"),
    "help": ("M12 3.5a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17z", "M9.4 9.6a2.7 2.7 0 0 1 5.2.9c0 1.8-2.6 2.3-2.6 3.8", "M12 17.2v.1"),
    "warning": ("M12 4L2.8 19.5h18.4z", "M12 10v4.5", "M12 17v.1"),
    "close": ("M6 6l12 12", "M18 6L6 18"),
    "download": ("M7 18.5a4.5 4.5 0 0 1-.6-8.96 6 6 0 0 1 11.5-.9A4 4 0 0 1 18 18.5", "M12 11v9", "M8.8 17.2L12 20.4l3.2-3.2"),
    "model": ("M12 3l8 4.5v9L12 21l-8-4.5v-9z", "M4 7.5l8 4.5 8-4.5", "M12 12v9"),
}  # fmt: skip


def icon_names() -> list[str]:
    """Names that :func:`icon` knows."""
    return sorted(_PATHS)


def icon(name: str, theme: Theme, color: str = "text") -> QIcon:
    """The drawing ``name`` in a colour of the theme (faint where disabled), sharp at every screen scale.

    Raises:
        KeyError: no icon of that name.
    """
    return _icon(name, getattr(theme, color), theme.text_faint)


@lru_cache(maxsize=256)
def _icon(name: str, color: str, disabled: str) -> QIcon:
    made = QIcon()
    for size in (16, 20, 24, 32, 48):
        made.addPixmap(_drawn(name, color, size))
        made.addPixmap(_drawn(name, disabled, size), QIcon.Mode.Disabled)
    return made


def _drawn(name: str, color: str, size: int) -> QPixmap:
    body = "".join(
        f'<path d="{path[1:]}" fill="{color}"/>'
        if path.startswith("!")
        else f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-linecap="round"'
        ' stroke-linejoin="round"/>'
        for path in _PATHS[name]
    )
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{body}</svg>'
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap


def app_icon() -> QIcon:
    """The program's own icon, in every size that desktops ask for."""
    made = QIcon()
    for size in (16, 24, 32, 48, 64, 128, 256, 512):
        made.addFile(str(resource_path("icons", f"mimi-gui-{size}.png")), QSize(size, size))
    return made
