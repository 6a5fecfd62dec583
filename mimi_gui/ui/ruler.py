"""What stands over all views of the time axis: the ruler above them and the playhead through them.

GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QLine, QPoint, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import TimeAxis, format_time, tick_step
from mimi_gui.ui.time_canvas import TimeCanvas

RULER_PX = 34
HEAD_PX = 13  # width of the playhead's triangle
_LOOP_BAR_PX = 7


class Ruler(TimeCanvas):
    """Minutes and seconds; a plain drag pans, the loop's bar and its edges can be dragged."""

    def __init__(self, axis: TimeAxis, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, parent)
        self.drag_pans = True
        self._pointer_s: float | None = None
        self.setFixedHeight(RULER_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Time ruler")
        self.setToolTip(
            "Drag: move along. Click: play from here. Wheel: zoom at the pointer.\n"
            "Drag an end of the loop's bar to move it, also while playing."
        )

    def point_at(self, seconds: float | None) -> None:
        """Mark the second under the pointer, in whichever view it is."""
        if seconds != self._pointer_s:
            self._pointer_s = seconds
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self.draw(painter)

    def draw(self, painter: QPainter) -> None:
        """Draw the ruler from 0, 0 in logical pixels."""
        theme, axis = self.theme, self.axis
        painter.fillRect(self.rect(), theme.color("panel"))
        rect = self.plot_rect()
        painter.setFont(figures_font(self.font(), scale=0.88))
        metrics = painter.fontMetrics()
        room = metrics.horizontalAdvance("0:00:00.0000") + 8
        step, parts = tick_step(axis.span_s, rect.width(), room)
        minor = step / parts
        bottom = rect.bottom() - _LOOP_BAR_PX
        ticks = range(int(axis.start_s // minor), int(axis.end_s / minor) + 2)
        places = [(i, round(rect.left() + axis.s_to_x(i * minor))) for i in ticks]
        places = [(i, x) for i, x in places if rect.left() <= x <= rect.right() + 1]
        # All that has one pen at once: it is drawn anew with every movement.
        for opacity, height, major in ((0.45, 4, False), (1.0, 7, True)):
            lines = [QLine(x, bottom - height, x, bottom) for i, x in places if (i % parts == 0) is major]
            painter.setPen(QPen(theme.color("text_faint", opacity), 1))
            painter.drawLines(lines)
        painter.setPen(theme.color("text_dim"))
        for i, x in places:
            if i % parts:
                continue
            label = format_time(i * minor, step)
            if x + 4 + room < self.width() or x + 4 + metrics.horizontalAdvance(label) < self.width():
                painter.drawText(QPoint(x + 4, bottom - 5), label)
        painter.setPen(QPen(theme.color("border"), 1))
        painter.drawLine(0, self.height() - 1, self.width(), self.height() - 1)
        self._draw_loop_bar(painter, rect)
        if self._pointer_s is not None and 0 <= self._pointer_s <= axis.duration_s:
            painter.setPen(QPen(theme.color("text_dim"), 1))
            x = round(self.x_at(self._pointer_s))
            painter.drawLine(x, bottom - 3, x, self.height())

    def _draw_loop_bar(self, painter: QPainter, rect: QRect) -> None:
        if self.axis.loop is None:
            return
        left, right = (self.x_at(edge) for edge in self.axis.loop)
        bar = QRectF(QPointF(left, rect.bottom() - _LOOP_BAR_PX + 1), QPointF(right, rect.bottom()))
        painter.save()
        painter.setClipRect(rect)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("loop"))
        painter.drawRoundedRect(bar, 3, 3)
        painter.restore()


class Playhead(QWidget):
    """One line over every view. Moving it repaints a strip as wide as itself and nothing else."""

    def __init__(self, theme: Theme, parent: QWidget, bands: Callable[[], list[tuple[int, int]]]) -> None:
        super().__init__(parent)
        self._theme = theme
        self._bands = bands
        self.setObjectName("playhead")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFixedWidth(HEAD_PX)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = theme
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        color = self._theme.color("playhead")
        middle = HEAD_PX // 2
        top = RULER_PX - 15
        tip = QPointF(middle + 0.5, top + 9)
        with QPainter(self) as painter:
            # Faint over titles, which it would make hard to read; full over what it points at.
            painter.fillRect(QRectF(middle, top, 1, self.height()), self._theme.color("playhead", 0.22))
            for first, last in self._bands():
                painter.fillRect(QRectF(middle - 1, first, 3, last - first), self._theme.color("plot", 0.35))
                painter.fillRect(QRectF(middle, first, 1, last - first), color)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color)
            painter.drawPolygon(QPolygonF([QPointF(1, top), QPointF(HEAD_PX - 1, top), tip]))
