"""The reference's outline in plain grey: with edges to drag while a test is set up, with a playhead while it runs.

It shows nothing of the takes, so it can give no cue. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import format_time

_REACH_PX = 9  # how near an edge the pointer takes hold of it
_STEP_S = 0.1
_ZOOM = 1.3
_LABEL_PX = 18


class LoopStrip(QWidget):
    """See the module's docstring.

    Signals:
        span_changed(object): (start, end) in seconds, while an edge is dragged or moved by keys.
    """

    span_changed = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None, *, editable: bool = False) -> None:
        super().__init__(parent)
        self.theme = theme
        self._editable = editable
        self._envelope: Envelope | None = None
        self._duration_s = 0.0
        self._limits = (0.5, 60.0)
        self.span_s = (0.0, 1.0)
        self._view_s = (0.0, 1.0)
        self._share: float | None = None
        self._held: str | None = None  # "start", "end" or "middle"
        self._grip_s = 0.0
        self._picture: QPixmap | None = None
        self.setMinimumHeight(64)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        if editable:
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.setMouseTracking(True)
            self.setAccessibleName("Loop")
            self.setToolTip(
                "Drag the edges or the middle of the loop; wheel: zoom. Keys: Left and Right move it by 0.1 s, with"
                " Shift its end, with Ctrl its start."
            )
        else:
            self.setAccessibleName("Position in the loop")

    def sizeHint(self) -> QSize:
        return QSize(600, 110)

    def set_recording(self, envelope: Envelope | None, duration_s: float) -> None:
        """Show this outline (None: a bare line)."""
        self._envelope, self._duration_s = envelope, duration_s
        self._repaint()

    def set_span(self, span_s: tuple[float, float]) -> None:
        """Show the loop; a strip that cannot be edited shows nothing else."""
        self.span_s = span_s
        start, end = span_s
        if not self._editable:
            self._view_s = span_s
        elif not self._view_s[0] <= start < end <= self._view_s[1] or self._view_s == (0.0, 1.0):
            room = max(end - start, 15.0)
            self._view_s = (max(start - room, 0.0), min(end + room, self._duration_s))
        self._repaint()

    def set_share(self, share: float | None) -> None:
        """Where in the loop the sound is, 0..1; None hides the playhead."""
        if share != self._share:
            self._share = share
            self.update()

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.theme = theme
        self._repaint()

    def _repaint(self) -> None:
        self._picture = None
        self.update()

    # Drawing

    def _x(self, seconds: float) -> float:
        start, end = self._view_s
        return (seconds - start) / max(end - start, 1e-9) * self.width()

    def _s(self, x: float) -> float:
        start, end = self._view_s
        return start + x / max(self.width(), 1) * (end - start)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._picture = None

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._picture is None or self._picture.size() != self.size() * self.devicePixelRatioF():
            self._picture = self._drawn()
        theme = self.theme
        with QPainter(self) as painter:
            painter.drawPixmap(0, 0, self._picture)
            if self._share is not None:
                start, end = self.span_s
                x = self._x(start + self._share * (end - start))
                painter.setPen(QPen(theme.color("playhead", 0.85), 1.5))
                painter.drawLine(QPointF(x, 0), QPointF(x, self._plot_height()))
            if self.hasFocus():
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(QPen(theme.color("accent"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -_LABEL_PX - 1), 8, 8)

    def _plot_height(self) -> float:
        return self.height() - _LABEL_PX

    def _drawn(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        theme, height = self.theme, self._plot_height()
        with QPainter(picture) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(theme.color("border"), 1))
            painter.setBrush(theme.color("plot"))
            painter.drawRoundedRect(QRectF(0.5, 0.5, self.width() - 1, height - 1), 8, 8)
            start, end = (self._x(edge) for edge in self.span_s)
            if self._editable:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color("loop", 0.16))
                painter.drawRect(QRectF(start, 1, end - start, height - 2))
            self._draw_outline(painter, height)
            if self._editable:
                for x in (start, end):
                    painter.setPen(QPen(theme.color("loop"), 2))
                    painter.drawLine(QPointF(x, 1), QPointF(x, height - 1))
                    painter.setPen(Qt.PenStyle.NoPen)
                    painter.setBrush(theme.color("loop"))
                    painter.drawRoundedRect(QRectF(x - 4, height / 2 - 11, 8, 22), 3, 3)
            painter.setFont(figures_font(self.font(), scale=0.85))
            painter.setPen(theme.color("text_faint"))
            row = QRectF(2, height, self.width() - 4, _LABEL_PX)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(row, Qt.AlignmentFlag.AlignLeft | middle, format_time(self._view_s[0], 0.01))
            painter.drawText(row, Qt.AlignmentFlag.AlignRight | middle, format_time(self._view_s[1], 0.01))
        return picture

    def _draw_outline(self, painter: QPainter, height: float) -> None:
        center = height / 2
        painter.setPen(QPen(self.theme.color("text_faint", 0.8), 1))
        if self._envelope is None or self._envelope.peak <= 0:
            painter.drawLine(QPointF(4, center), QPointF(self.width() - 4, center))
            return
        t, low, high = self._envelope.visible(*self._view_s, self.width())
        scale = 0.44 * height / self._envelope.peak
        for x, bottom, top in zip(t.tolist(), low.tolist(), high.tolist(), strict=True):
            place = self._x(x)
            painter.drawLine(QPointF(place, center - top * scale), QPointF(place, center - bottom * scale + 0.5))

    # Hands

    def _part_at(self, x: float) -> str | None:
        start, end = (self._x(edge) for edge in self.span_s)
        if min(abs(x - start), abs(x - end)) <= _REACH_PX:
            return "start" if abs(x - start) < abs(x - end) else "end"
        return "middle" if start < x < end else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._editable and event.button() == Qt.MouseButton.LeftButton:
            self._held = self._part_at(event.position().x())
            self._grip_s = self._s(event.position().x()) - self.span_s[0]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if not self._editable:
            return
        x = event.position().x()
        if self._held is None:
            shape = {"start": Qt.CursorShape.SizeHorCursor, "end": Qt.CursorShape.SizeHorCursor,
                     "middle": Qt.CursorShape.OpenHandCursor}  # fmt: skip
            self.setCursor(shape.get(self._part_at(x) or "", Qt.CursorShape.ArrowCursor))
            return
        seconds = self._s(x)
        start, end = self.span_s
        if self._held == "start":
            self._wish(seconds, end, moves="start")
        elif self._held == "end":
            self._wish(start, seconds, moves="end")
        else:
            self._wish(seconds - self._grip_s, seconds - self._grip_s + end - start)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._held = None

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not self._editable or not event.angleDelta().y():
            return
        factor = _ZOOM ** (-event.angleDelta().y() / 120)
        here = self._s(event.position().x())
        start, end = (here + (edge - here) * factor for edge in self._view_s)
        if end - start >= 2 * self._limits[0]:
            self._view_s = (max(start, 0.0), min(end, self._duration_s))
            self._repaint()
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -_STEP_S, Qt.Key.Key_Right: _STEP_S}.get(Qt.Key(event.key()))
        if not self._editable or step is None:
            super().keyPressEvent(event)
            return
        start, end = self.span_s
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._wish(start, end + step, moves="end")
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._wish(start + step, end, moves="start")
        else:
            self._wish(start + step, end + step)

    def _wish(self, start: float, end: float, moves: str = "") -> None:
        """Take over a span, kept inside the recording and within its least and greatest length."""
        span = clamped((start, end), self._duration_s, self._limits, moves)
        if span != self.span_s:
            self.span_s = span
            self._repaint()
            self.span_changed.emit(span)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self._repaint()
        super().changeEvent(event)


def clamped(
    span_s: tuple[float, float], duration_s: float, limits: tuple[float, float], moves: str = ""
) -> tuple[float, float]:
    """``span_s`` inside [0, duration] with a length within ``limits``; ``moves`` names the edge that gives way."""
    least, most = min(limits[0], duration_s), min(limits[1], duration_s)
    start, end = span_s
    if moves == "start":
        start = min(max(start, 0.0, end - most), end - least)
    elif moves == "end":
        end = max(min(end, duration_s, start + most), start + least)
    length = min(max(end - start, least), most)
    start = min(max(start, 0.0), duration_s - length)
    return start, start + length
