"""Inline messages above the wall: one sentence, what can be done about it, Help, and a way to put it away.

GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.icons import icon
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.theme import Theme

_MOST = 3  # more would push the recording out of sight


class Banner(QFrame):
    """One notice."""

    action_requested = Signal(str)
    help_requested = Signal(str)
    details_requested = Signal(str)
    dismissed = Signal(object)  # self

    def __init__(self, notice: Notice, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.notice = notice
        self.setObjectName("banner")
        self.setAccessibleName(f"{notice.level}: {notice.text}")
        self._mark = QLabel()
        self._text = QLabel(notice.text)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setWordWrap(True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 8, 6)
        row.setSpacing(8)
        row.addWidget(self._mark)
        row.addWidget(self._text, 1)
        for i, (words, name) in enumerate(notice.actions):
            button = QPushButton(words)
            button.setProperty("primary", i == 0)
            button.setProperty("action", name)
            button.clicked.connect(self._act)
            row.addWidget(button)
        if notice.details:
            button = QPushButton("Details …")
            button.clicked.connect(self._show_details)
            row.addWidget(button)
        if notice.hint:
            button = QPushButton("Help")
            button.setToolTip("What to do about it")
            button.clicked.connect(self._help)
            row.addWidget(button)
        self._close = QToolButton()
        self._close.setToolTip("Put this message away")
        self._close.setAccessibleName("Put this message away")
        self._close.clicked.connect(self._dismiss)
        row.addWidget(self._close)
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Dress in the theme's colours for this level."""
        front = {"error": theme.error, "warning": theme.warning}.get(self.notice.level, theme.accent)
        back = {"error": theme.error_panel, "warning": theme.warning_panel}.get(self.notice.level, theme.panel)
        self.setStyleSheet(
            f"QFrame#banner {{ background: {back}; border: none; border-left: 4px solid {front};"
            f" border-bottom: 1px solid {theme.border}; }}"
        )
        name = "help" if self.notice.level == "info" else "warning"
        color = self.notice.level if self.notice.level in ("error", "warning") else "accent"
        self._mark.setPixmap(icon(name, theme, color).pixmap(20, 20))
        self._close.setIcon(icon("close", theme, "text_dim"))

    def _act(self) -> None:
        sender = self.sender()
        if sender is not None:
            self.action_requested.emit(str(sender.property("action")))

    def _help(self) -> None:
        self.help_requested.emit(self.notice.hint)

    def _show_details(self) -> None:
        self.details_requested.emit(self.notice.details)

    def _dismiss(self) -> None:
        self.dismissed.emit(self)


class BannerStack(QWidget):
    """The banners that stand, newest on top; one per topic.

    Signals:
        action_requested(str): the name of a notice's action. help_requested(str): a heading of TROUBLESHOOTING.md.
        details_requested(str): a traceback to show.
    """

    action_requested = Signal(str)
    help_requested = Signal(str)
    details_requested = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    @property
    def notices(self) -> list[Notice]:
        """What stands, newest first."""
        return [banner.notice for banner in self._banners()]

    def show_notice(self, notice: Notice) -> None:
        """Put a notice on top, in place of an older one on the same topic."""
        if notice.topic:
            self.settle(notice.topic)
        banner = Banner(notice, self._theme)
        banner.action_requested.connect(self.action_requested)
        banner.help_requested.connect(self.help_requested)
        banner.details_requested.connect(self.details_requested)
        banner.dismissed.connect(self._remove)
        self._layout.insertWidget(0, banner)
        for old in self._banners()[_MOST:]:
            self._remove(old)

    def settle(self, topic: str) -> None:
        """Take away what no longer holds."""
        for banner in self._banners():
            if banner.notice.topic == topic:
                self._remove(banner)

    def set_theme(self, theme: Theme) -> None:
        """Dress all in another theme."""
        self._theme = theme
        for banner in self._banners():
            banner.set_theme(theme)

    def _banners(self) -> list[Banner]:
        items = (self._layout.itemAt(i) for i in range(self._layout.count()))
        widgets = (item.widget() for item in items if item is not None)
        return [widget for widget in widgets if isinstance(widget, Banner)]

    def _remove(self, banner: Banner) -> None:
        self._layout.removeWidget(banner)
        banner.hide()
        banner.deleteLater()
