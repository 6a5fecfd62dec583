"""Play, stop, loop, the A/B switch, level match, volume and the output device, in one bar.

It shows what it is told and wishes by signals. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QActionGroup,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme, figures_font, heading_font
from mimi_gui.ui.time_axis import format_time

_MATCH_TIP = (
    "Play A and B equally loud (BS.1770 loudness), so that the louder one does not win by that\n"
    "alone (key: M). The louder one is turned down; off: as decoded."
)


class Device(Protocol):
    """What the bar shows of :class:`mimi_gui.playback.OutputDevice`."""

    @property
    def name(self) -> str: ...
    @property
    def host_api(self) -> str: ...
    @property
    def is_default(self) -> bool: ...


_SIDES = ("A", "B", "D")
_MARGIN, _LETTER = 11, 25  # pixels in front of the letter, and that it takes


class ABSwitch(QWidget):
    """Two large parts, A what Mimi heard and B what came back, and a small one, A minus B. The heard one is filled.

    Signals:
        side_requested(str): "A", "B" or "D".
    """

    side_requested = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._side = "A"
        self._labels = {"A": ("Original", ""), "B": ("Reconstruction", ""), "D": ("A − B", "as it is")}
        self._ready = {"A": False, "B": False, "D": False}
        self._under: str | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setFixedHeight(46)
        self.setMinimumWidth(236)
        self.setMaximumWidth(520)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "What you listen to: A the original as Mimi heard it, B the reconstruction, D their difference, A − B\n"
            "(keys: A, B, D; Tab changes). The switch keeps the position and fades for 10 ms. The difference is\n"
            "sample by sample and at its own level; Shift+D plays it 12 or 24 dB louder, and says so."
        )
        self._name()

    def set_side(self, side: str) -> None:
        """Show what is heard."""
        if side != self._side:
            self._side = side
            self._name()
            self.update()

    def set_labels(self, a: tuple[str, str], b: tuple[str, str]) -> None:
        """Show ``(name, facts)`` in each half."""
        self._labels |= {"A": a, "B": b}
        self._name()
        self.update()

    def set_difference(self, ready: bool, gain_db: float) -> None:
        """Whether A minus B can be heard, and how much louder than it is."""
        label = ("A − B", f"+{gain_db:g} dB" if gain_db else "as it is")
        if (ready, label) != (self._ready["D"], self._labels["D"]):
            self._ready["D"], self._labels["D"] = ready, label
            self._name()
            self.update()

    def set_ready(self, a: bool, b: bool) -> None:
        """Which halves have sound to play."""
        self._ready |= {"A": a, "B": b}
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(440, 46)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._draw(painter)

    def _draw(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme = self.theme
        whole = QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5)
        painter.setPen(QPen(theme.color("border"), 1))
        painter.setBrush(theme.color("plot"))
        painter.drawRoundedRect(whole, 9, 9)
        for side in _SIDES:
            self._draw_half(painter, side, self._half(side))
        if self.hasFocus():
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 9, 9)

    def _half(self, side: str) -> QRectF:
        whole = QRectF(self.rect()).adjusted(4, 4, -4, -4)
        small = min(max(0.22 * whole.width(), 90.0), 100.0)
        name_px = QFontMetrics(heading_font(self.font())).horizontalAdvance(self._labels["B"][0])
        if (whole.width() - small - 6) / 2 < name_px + 2 * _MARGIN + _LETTER:
            small = 56.0  # the difference as a letter, before B loses the end of its name; A's may be any file's
        half = (whole.width() - small - 6) / 2
        left = {"A": whole.left(), "B": whole.left() + half + 3}.get(side, whole.right() - small)
        return QRectF(left, whole.top(), small if side == "D" else half, whole.height())

    def _draw_half(self, painter: QPainter, side: str, rect: QRectF) -> None:
        theme, heard, ready = self.theme, side == self._side, self._ready[side]
        color = theme.side(side)
        if heard:
            painter.setPen(Qt.PenStyle.NoPen)
            if not ready:
                color.setAlphaF(0.55)
            painter.setBrush(color)
            painter.drawRoundedRect(rect, 6, 6)
        elif self._under == side:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("hover"))
            painter.drawRoundedRect(rect, 6, 6)
        ink = theme.color("side_text") if heard else theme.color("text" if ready else "text_faint")
        large = heading_font(self.font())
        large.setPixelSize(20)
        painter.setFont(large)
        painter.setPen(ink if heard else color if ready else theme.color("text_faint"))
        indent = _MARGIN if side != "D" else 7
        is_alone = rect.width() < (80 if side == "D" else 100)  # no room for words: the letter, and the tooltip
        letter = QRectF(rect) if is_alone else QRectF(rect.left() + indent, rect.top(), 22, rect.height())
        middle = Qt.AlignmentFlag.AlignHCenter if is_alone else Qt.AlignmentFlag.AlignLeft
        painter.drawText(letter, Qt.AlignmentFlag.AlignVCenter | middle, side)
        if is_alone:
            return
        name, facts = self._labels[side]
        before = indent + _LETTER
        area = QRectF(rect.left() + before, rect.top() + 2, rect.width() - before - 3, rect.height() - 4)
        bold = heading_font(self.font())
        small = figures_font(self.font(), scale=0.85)
        painter.setPen(ink)
        painter.setFont(bold)
        flag = Qt.AlignmentFlag.AlignTop if facts else Qt.AlignmentFlag.AlignVCenter
        elide = Qt.TextElideMode.ElideRight
        painter.drawText(area, flag, QFontMetrics(bold).elidedText(name, elide, int(area.width())))
        if facts:
            if not heard:
                painter.setPen(theme.color("text_dim" if ready else "text_faint"))
            painter.setFont(small)
            facts = QFontMetrics(small).elidedText(facts, elide, int(area.width()))
            painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom, facts)

    def _name(self) -> None:
        name, facts = self._labels.get(self._side, ("", ""))
        self.setAccessibleName(f"Listening to {self._side}: {name} {facts}".strip())

    def _side_at(self, x: float) -> str:
        return next((side for side in _SIDES if x <= self._half(side).right() + 1.5), "D")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.side_requested.emit(self._side_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._under = self._side_at(event.position().x())
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._under = None
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            place = _SIDES.index(self._side) + (1 if key == Qt.Key.Key_Right else -1)
            self.side_requested.emit(_SIDES[min(max(place, 0), 2)])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.side_requested.emit("B" if self._side == "A" else "A")
        else:
            super().keyPressEvent(event)


class TransportBar(QWidget):
    """The bar under the wall.

    Signals:
        play_toggled(): play, or pause.
        stop_requested(): stop and go back.
        seek_requested(float): reserved for the position display; a second.
        loop_toggled(bool): play the loop region again and again, or not.
        side_requested(str): "A", "B" or "D".
        match_toggled(bool): play both equally loud, or as decoded.
        volume_changed(float): 0..1.
        device_requested(object): a device's name, or None for the system's own choice.
        rescan_requested(): look for devices again.
    """

    play_toggled = Signal()
    stop_requested = Signal()
    seek_requested = Signal(float)
    loop_toggled = Signal(bool)
    side_requested = Signal(str)
    match_toggled = Signal(bool)
    volume_changed = Signal(float)
    device_requested = Signal(object)
    rescan_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._playing = False
        self._volume_before = 1.0
        self._duration_s = 0.0
        self.setProperty("bar", True)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._stop = self._button("Stop", "Stop and go back to the start (key: Shift+Space)")
        self._play = self._button("Play", "Play (key: Space)", size=30)
        self._loop = self._button("Loop", "Play the selected part again and again (key: L)", checkable=True)
        self._stop.clicked.connect(self.stop_requested)
        self._play.clicked.connect(self.play_toggled)
        self._loop.toggled.connect(self.loop_toggled)
        self._time = QLabel("0:00.000")
        self._time.setFont(figures_font(self.font(), scale=1.55, bold=True))
        self._time.setAccessibleName("Position")
        self._time.setMinimumWidth(self._time.fontMetrics().horizontalAdvance("00:00.000"))
        self._total = QLabel("")
        self._total.setProperty("faint", True)
        self._total.setAccessibleName("Duration")
        self._total.setFont(figures_font(self.font()))
        self.switch = ABSwitch(theme)
        self.switch.side_requested.connect(self.side_requested)
        self._match = self._button("Level match", _MATCH_TIP, checkable=True)
        self._match.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._match.toggled.connect(self.match_toggled)
        self._mute = self._button("Mute", "Mute, or back to the volume before")
        self._mute.clicked.connect(self._toggle_mute)
        self._volume = QSlider(Qt.Orientation.Horizontal)
        self._volume.setRange(0, 100)
        self._volume.setValue(100)
        self._volume.setPageStep(10)
        self._volume.setFixedWidth(92)
        self._volume.setAccessibleName("Volume")
        self._volume.setToolTip("Volume (keys: Ctrl+Up, Ctrl+Down)")
        self._volume.valueChanged.connect(self._volume_moved)
        self._device = self._button("Output device", "Where the sound goes; the menu can look for new devices")
        self._device.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self._device.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._device.setProperty("framed", True)
        self._device.setFixedWidth(150)
        self._menu = QMenu(self._device)
        self._device.setMenu(self._menu)
        self._group: QActionGroup | None = None
        self._health = QLabel("")
        self._health.setProperty("faint", True)
        self._health.setFont(figures_font(self.font(), scale=0.85))
        self._health.setAccessibleName("Latency and dropouts")
        self._lay_out()
        self._draw_icons()
        self.set_match(True, "Level match", _MATCH_TIP)
        self.set_devices([], None)
        self.set_enabled_sides(False, False)
        self.setMinimumWidth(640)  # not the layout's own: it leaves words away, see resizeEvent

    def _lay_out(self) -> None:
        times = QHBoxLayout()
        times.setSpacing(7)
        times.addWidget(self._time)
        times.addWidget(self._total)
        output = QVBoxLayout()
        output.setSpacing(1)
        output.addWidget(self._device)
        output.addWidget(self._health)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 7, 12, 7)
        layout.setSpacing(6)
        for widget in (self._stop, self._play, self._loop):
            layout.addWidget(widget)
        layout.addSpacing(6)
        layout.addLayout(times)
        layout.addSpacing(10)
        layout.addStretch(1)
        layout.addWidget(self.switch, 80)
        layout.addWidget(self._match)
        layout.addStretch(1)
        layout.addSpacing(6)
        layout.addWidget(self._mute)
        layout.addWidget(self._volume)
        layout.addSpacing(6)
        layout.addLayout(output)

    def _button(self, name: str, tip: str, *, checkable: bool = False, size: int = 22) -> QToolButton:
        button = QToolButton()
        button.setText(name)
        button.setToolTip(tip)
        button.setAccessibleName(name)
        button.setCheckable(checkable)
        button.setIconSize(QSize(size, size))
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    # --- state ------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Beside open docks there is less room: leave words away before anything is cut."""
        width = self.width()
        self._total.setVisible(width >= 1150)
        words = Qt.ToolButtonStyle.ToolButtonTextBesideIcon if width >= 1100 else Qt.ToolButtonStyle.ToolButtonIconOnly
        self._match.setToolButtonStyle(words)
        self._device.setFixedWidth(150 if width >= 1000 else 100)
        self._volume.setFixedWidth(92 if width >= 960 else 56)
        self._show_device()

    def set_playing(self, playing: bool) -> None:
        """Show pause while playing."""
        if playing != self._playing:
            self._playing = playing
            self._play.setText("Pause" if playing else "Play")
            self._play.setAccessibleName(self._play.text())
            self._play.setToolTip(f"{self._play.text()} (key: Space)")
            self._draw_icons()

    def set_position(self, seconds: float) -> None:
        """Show where the sound is."""
        self._time.setText(format_time(seconds, 0.001))

    def set_duration(self, seconds: float) -> None:
        """Show how long the recording is."""
        self._duration_s = seconds
        self._total.setText(f"/ {format_time(seconds, 0.001)}" if seconds > 0 else "")

    def set_loop(self, on: bool) -> None:
        """Show whether the loop is on, without announcing it."""
        _quietly(self._loop, on)

    def set_side(self, side: str) -> None:
        """Show what is heard."""
        self.switch.set_side(side)

    def set_labels(self, a: tuple[str, str], b: tuple[str, str]) -> None:
        """Say what A and B are: ``(name, facts)`` each, e.g. ``("Reconstruction", "8 codebooks, 1.1
        kbit/s")``."""
        self.switch.set_labels(a, b)

    def set_difference(self, ready: bool, gain_db: float) -> None:
        """Whether A minus B can be heard, and how much louder than it is."""
        self.switch.set_difference(ready, gain_db)

    def set_enabled_sides(self, a: bool, b: bool) -> None:
        """Which sides have sound; without any there is nothing to play."""
        self.switch.set_ready(a, b)
        for button in (self._play, self._stop, self._loop, self._match):
            button.setEnabled(a or b)

    def set_match(self, on: bool, words: str, tip: str) -> None:
        """Show whether levels are matched, and say what is done to them."""
        _quietly(self._match, on)
        self._match.setText(words)
        self._match.setToolTip(tip)

    def set_volume(self, volume: float) -> None:
        """Show a volume 0..1 without announcing it."""
        self._volume.blockSignals(True)
        self._volume.setValue(round(volume * 100))
        self._volume.blockSignals(False)
        self._draw_icons()

    def set_devices(self, devices: Sequence[Device], current: str | None) -> None:
        """List the output devices; ``current`` is a name, None for the system's own choice."""
        self._menu.clear()
        group = QActionGroup(self._menu)
        self._group = group
        entries: list[tuple[str, str | None]] = [("System default", None)]
        many_hosts = len({device.host_api for device in devices}) > 1
        for device in devices:
            words = f"{device.name}   ({device.host_api})" if many_hosts else device.name
            entries.append((words, device.name))
        shown = "System default" if devices else "No output device"
        for words, name in entries:
            action = self._menu.addAction(words)
            action.setCheckable(True)
            action.setChecked(name == current)
            action.setData(name)
            group.addAction(action)
            if name == current and name is not None:
                shown = words
        self._menu.addSeparator()
        self._menu.addAction("Look for devices again").triggered.connect(self.rescan_requested)
        group.triggered.connect(self._device_chosen)
        self._device.setAccessibleDescription(shown)
        self._show_device()

    def _show_device(self) -> None:
        metrics, shown = self._device.fontMetrics(), self._device.accessibleDescription()
        room = self._device.maximumWidth() - 28
        self._device.setText(metrics.elidedText(shown, Qt.TextElideMode.ElideRight, room))

    def set_health(self, latency_s: float | None, underruns: int) -> None:
        """Show the output's latency (None without a device) and how often it ran dry."""
        if latency_s is None:
            self._health.setText("no sound, silent clock")
            return
        drops = "no dropouts" if underruns == 0 else f"{underruns} dropout{'s' if underruns > 1 else ''}"
        late = " (high)" if latency_s > 0.1 else ""
        self._health.setText(f"{latency_s * 1000:.0f} ms{late} · {drops}")

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.theme = theme
        self.switch.theme = theme
        self.switch.update()
        self._draw_icons()

    # --- inside -----------------------------------------------------------------------------------------

    def _draw_icons(self) -> None:
        theme = self.theme
        self._stop.setIcon(icon("stop", theme))
        self._play.setIcon(icon("pause" if self._playing else "play", theme))
        self._loop.setIcon(icon("loop", theme))
        self._match.setIcon(icon("match", theme))
        self._mute.setIcon(icon("speaker" if self._volume.value() else "muted", theme, "text_dim"))

    def _volume_moved(self, value: int) -> None:
        self._draw_icons()
        self.volume_changed.emit(value / 100)

    def _toggle_mute(self) -> None:
        if self._volume.value():
            self._volume_before = self._volume.value() / 100
            self._volume.setValue(0)
        else:
            self._volume.setValue(round(self._volume_before * 100) or 100)

    def _device_chosen(self) -> None:
        action = self._group.checkedAction() if self._group is not None else None
        if action is not None:
            self.device_requested.emit(action.data())


def _quietly(button: QToolButton, on: bool) -> None:
    button.blockSignals(True)
    button.setChecked(on)
    button.blockSignals(False)
