"""What every view on the shared time axis has in common: gestures, margins, title, loop region, cached
drawing.

Gestures, the same in every view: wheel zooms at the pointer, Shift + wheel or a sideways wheel pans, Ctrl +
wheel scales the values; a click seeks, a drag selects a loop, an edge of the loop can be dragged (also
while playing); a drag with Shift or with the middle button pans, on the ruler a plain drag does.

GUI thread only.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QImage,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import TimeAxis

GUTTER_PX = 62  # scales left of every plot: one number, so that all plots line up
MARGIN_PX = 10
HEADER_PX = 26
MIN_LOOP_S = 0.02
_EDGE_PX = 5
_DRAG_PX = 4


class _Drag(Enum):
    NONE = 0
    PRESSED = 1
    SELECT = 2
    EDGE = 3
    PAN = 4


class TimeCanvas(QWidget):
    """A strip of the shared time axis that answers the pointer.

    Signals:
        seek_requested(float): play from this second.
        loop_requested(object): loop ``(start_s, end_s)``; sent all through a drag.
        dragging_changed(bool): a drag began or ended; the view must not turn its page meanwhile.
        navigated(): the person zoomed or panned.
        pointed(object): the second under the pointer, or None when it left.
    """

    seek_requested = Signal(float)
    loop_requested = Signal(object)
    dragging_changed = Signal(bool)
    navigated = Signal()
    pointed = Signal(object)

    def __init__(self, axis: TimeAxis, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axis = axis
        self.theme = theme
        self.drag_pans = False
        self.tints_loop = True
        self._drag = _Drag.NONE
        self._pressed_at = QPointF()
        self._fixed_s = 0.0
        self._pan_from_s = 0.0
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        axis.changed.connect(self.refresh)
        axis.loop_changed.connect(self.update)

    # --- where things stand ------------------------------------------------------------------------------

    def plot_rect(self) -> QRect:
        """The rectangle that the time axis spans, in logical pixels of this widget."""
        return QRect(GUTTER_PX, 0, max(self.width() - GUTTER_PX - MARGIN_PX, 1), self.height())

    def time_at(self, position: QPointF) -> float:
        """The second under a point of this widget, within the recording."""
        return self.axis.clamp(self.axis.x_to_s(position.x() - self.plot_rect().left()))

    def x_at(self, seconds: float) -> float:
        """The logical x of a second in this widget."""
        return self.plot_rect().left() + self.axis.s_to_x(seconds)

    def refresh(self) -> None:
        """Draw anew: the data or the axis changed."""
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme`` from now on."""
        self.theme = theme
        self.refresh()

    def scale_values(self, factor: float) -> None:
        """Ctrl + wheel: enlarge the values; a canvas without a value axis does nothing."""

    # --- gestures ----------------------------------------------------------------------------------------

    @property
    def is_dragging(self) -> bool:
        """Whether a selection, an edge or the view is being dragged in this canvas."""
        return self._drag not in (_Drag.NONE, _Drag.PRESSED)

    @property
    def is_pressed(self) -> bool:
        """Whether the button is down and nothing has been dragged yet: its release is a click."""
        return self._drag is _Drag.PRESSED

    @property
    def selects(self) -> bool:
        """Whether a new loop is being dragged in this canvas."""
        return self._drag is _Drag.SELECT

    def _loop_edge_at(self, position: QPointF) -> int | None:
        """0 or 1 for the loop edge within reach, the nearer one first."""
        if self.axis.loop is None:
            return None
        distances = [abs(self.x_at(edge) - position.x()) for edge in self.axis.loop]
        nearest = 0 if distances[0] < distances[1] else 1
        return nearest if distances[nearest] <= _EDGE_PX else None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self._pressed_at = event.position()
        if self.axis.duration_s <= 0:
            return
        if event.button() == Qt.MouseButton.MiddleButton or (event.button() == Qt.MouseButton.LeftButton and shift):
            self._begin(_Drag.PAN)
        elif event.button() == Qt.MouseButton.LeftButton:
            edge = self._loop_edge_at(event.position())
            if edge is not None and self.axis.loop is not None:
                self._fixed_s = self.axis.loop[1 - edge]
                self._begin(_Drag.EDGE)
            else:
                self._drag = _Drag.PRESSED

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.pointed.emit(self.axis.x_to_s(event.position().x() - self.plot_rect().left()))
        if self._drag is _Drag.NONE:
            near = self._loop_edge_at(event.position()) is not None
            self.setCursor(Qt.CursorShape.SizeHorCursor if near else Qt.CursorShape.ArrowCursor)
            return
        if self._drag is _Drag.PRESSED:
            if abs(event.position().x() - self._pressed_at.x()) < _DRAG_PX:
                return
            self._fixed_s = self.time_at(self._pressed_at)
            self._begin(_Drag.PAN if self.drag_pans else _Drag.SELECT)
        if self._drag is _Drag.PAN:
            moved = event.position().x() - self._pressed_at.x()
            self.axis.pan(self._pan_from_s - moved * self.axis.seconds_per_px - self.axis.start_s)
            self.navigated.emit()
        else:
            self.loop_requested.emit(self._loop_between(self._fixed_s, self.time_at(event.position())))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        was = self._drag
        self._drag = _Drag.NONE
        if was is _Drag.PRESSED:
            self.seek_requested.emit(self.time_at(event.position()))
        elif was is not _Drag.NONE:
            self.setCursor(Qt.CursorShape.ArrowCursor)
            self.dragging_changed.emit(False)

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit(None)

    def _begin(self, drag: _Drag) -> None:
        self._drag = drag
        self._pan_from_s = self.axis.start_s
        pans = drag is _Drag.PAN
        self.setCursor(Qt.CursorShape.ClosedHandCursor if pans else Qt.CursorShape.SizeHorCursor)
        self.dragging_changed.emit(True)

    def _loop_between(self, first_s: float, second_s: float) -> tuple[float, float]:
        start_s, end_s = min(first_s, second_s), max(first_s, second_s)
        if end_s - start_s < MIN_LOOP_S:
            end_s = min(start_s + MIN_LOOP_S, self.axis.duration_s)
            start_s = max(end_s - MIN_LOOP_S, 0.0)
        return start_s, end_s

    def wheelEvent(self, event: QWheelEvent) -> None:
        turn, pixels = event.angleDelta(), event.pixelDelta()
        sideways = abs(turn.x()) > abs(turn.y())
        if sideways or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            if pixels.isNull():
                notches = (turn.x() if sideways else turn.y()) / 120
                self.axis.pan(-notches * 0.1 * self.axis.span_s)
            else:
                self.axis.pan(-(pixels.x() or pixels.y()) * self.axis.seconds_per_px)
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.scale_values(1.25 ** (turn.y() / 120))
        else:
            x = event.position().x() - self.plot_rect().left()
            self.axis.zoom(1.25 ** (turn.y() / 120), self.axis.x_to_s(x))
        self.navigated.emit()
        event.accept()

    def event(self, event: QEvent) -> bool:
        """Pinch on a touchpad zooms at the pointer."""
        pinch = Qt.NativeGestureType.ZoomNativeGesture
        if isinstance(event, QNativeGestureEvent) and event.gestureType() == pinch:
            x = event.position().x() - self.plot_rect().left()
            self.axis.zoom(max(1.0 + event.value(), 0.1), self.axis.x_to_s(x))
            self.navigated.emit()
            return True
        return super().event(event)

    # --- drawing -----------------------------------------------------------------------------------------

    def draw_loop(self, painter: QPainter, rect: QRect) -> None:
        """Tint the loop region in ``rect`` (not where colours are data) and mark its edges."""
        if self.axis.loop is None:
            return
        left, right = (round(self.x_at(edge)) for edge in self.axis.loop)
        inside = QRect(QPoint(left, rect.top()), QPoint(right, rect.bottom())) & rect
        if inside.width() > 0 and self.tints_loop:
            painter.fillRect(inside, self.theme.color("loop", 0.16 if self.theme.is_dark else 0.13))
        painter.setPen(QPen(self.theme.color("loop"), 1))
        for x in (left, right):
            if rect.left() <= x <= rect.right():
                painter.drawLine(x, rect.top(), x, rect.bottom())


class Lane(TimeCanvas):
    """A titled view on the time axis. Children draw the plot and the scale; this class caches both.

    Signals:
        read_out(str): what lies under the pointer, in words; "" when it left.
    """

    read_out = Signal(str)

    def __init__(self, axis: TimeAxis, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, parent)
        self._title = name
        self._facts = ""
        self._side = ""
        self._heard = False
        self._frame: QPixmap | None = None
        self._plot: QImage | None = None
        self._pixels = np.zeros((0, 0), np.uint32)
        self.pose = ""  # "axes" or "bare" while a picture is taken of it, see picture.py
        self.placeholder = ""
        self.note = ""  # at the right end of the title: how to read what is shown
        self.setMinimumHeight(HEADER_PX + 24)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)

    def set_title(self, title: str) -> None:
        """Show "Name — facts" above the plot."""
        name, _, facts = title.partition(" — ")
        if (name, facts) != (self._title, self._facts):
            self._title, self._facts = name, facts
            self.setAccessibleName(name)
            self.setAccessibleDescription(facts)
            self.refresh_frame()

    def set_side(self, side: str, *, heard: bool) -> None:
        """Mark this lane as side "A" or "B" ("" for neither), and whether it is the one that is heard."""
        if (side, heard) != (self._side, self._heard):
            self._side, self._heard = side, heard
            self.refresh_frame()

    @property
    def heard(self) -> bool:
        """Whether this lane shows what is heard."""
        return self._heard

    # --- for children ------------------------------------------------------------------------------------

    def plot_pixels(self, size: QSize, ratio: float) -> np.ndarray | None:
        """Return the data as uint32 [height, width] 0xffRRGGBB of ``size`` device pixels; None: plain ground.

        Qt takes a millisecond to draw an indexed image; a table look-up in numpy takes a fifth of it.
        """
        return None

    def canvas(self, height: int, width: int) -> np.ndarray:
        """Memory for :meth:`plot_pixels`, uint32 [height, width], the same again while the size stays.

        Fresh memory of this size costs a page fault for each 4 kB, which on a fine screen is more than the drawing.
        """
        if self._pixels.shape != (height, width) or not self._pixels.flags.writeable:
            self._pixels = np.empty((height, width), np.uint32)
        return self._pixels

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        """Draw what stands over the pixels, in device pixels with the origin at 0,0."""

    def draw_vector(self, painter: QPainter, rect: QRect) -> bool:
        """Draw the data as shapes instead of pixels, in logical pixels of this widget; False where pixels are it."""
        return False

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        """Draw the labels left of the plot, in logical pixels."""

    def is_empty(self) -> bool:
        """Whether there is nothing to draw, so that the placeholder shows."""
        return False

    def describe(self, position: QPointF) -> str:
        """Say what lies under a point of this widget."""
        return ""

    # --- drawing -----------------------------------------------------------------------------------------

    def plot_rect(self) -> QRect:
        if self.pose == "bare":
            return self.rect()
        return QRect(
            GUTTER_PX, HEADER_PX, max(self.width() - GUTTER_PX - MARGIN_PX, 1),
            max(self.height() - HEADER_PX - 6, 1),
        )  # fmt: skip

    def refresh(self) -> None:
        self._plot = None
        self.update()

    def refresh_frame(self) -> None:
        """Draw title and scale anew too."""
        self._frame = None
        self.refresh()

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.refresh_frame()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.refresh_frame()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        inside = self.plot_rect().contains(event.position().toPoint())
        self.read_out.emit(self.describe(event.position()) if inside else "")

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.read_out.emit("")

    def paintEvent(self, event: QPaintEvent) -> None:
        ratio = self.devicePixelRatioF()
        rect = self.plot_rect()
        if self._frame is None or self._frame.devicePixelRatio() != ratio:
            self._frame = self._drawn_frame(ratio)
            self._plot = None
        if self._plot is None:
            self._plot = self._drawn_plot(rect, ratio)
        with QPainter(self) as painter:
            if ratio != int(ratio):
                painter.fillRect(self.rect(), self.theme.color("panel"))  # a rounded pixmap may be a row short
            for strip in self._frame_strips(rect, ratio):
                painter.drawPixmap(strip.topLeft(), self._frame, _scaled(strip, ratio))
            painter.drawImage(rect.topLeft(), self._plot)
            self.draw_loop(painter, rect)

    def _frame_strips(self, rect: QRect, ratio: float) -> list[QRect]:
        """What of the frame the plot leaves to see, in logical pixels."""
        whole = self.rect()
        if ratio != int(ratio):
            return [whole]  # the strips' edges would fall between pixels and leave gaps
        below = rect.bottom() + 1
        return [
            QRect(0, 0, whole.width(), rect.top()),
            QRect(0, rect.top(), rect.left(), rect.height()),
            QRect(rect.right() + 1, rect.top(), whole.width() - rect.right() - 1, rect.height()),
            QRect(0, below, whole.width(), max(whole.height() - below, 0)),
        ]

    def _drawn_plot(self, rect: QRect, ratio: float) -> QImage:
        size = QSize(max(round(rect.width() * ratio), 1), max(round(rect.height() * ratio), 1))
        pixels = None if self.is_empty() else self.plot_pixels(size, ratio)
        if pixels is None:
            image = QImage(size, QImage.Format.Format_RGB32)
            image.fill(self.theme.color("plot"))
        else:
            self._pixels = np.ascontiguousarray(pixels, np.uint32)  # the image borrows this memory
            stride = self._pixels.strides[0]
            rgb = QImage.Format.Format_RGB32
            image = QImage(self._pixels.data, size.width(), size.height(), stride, rgb)
        # Left by an error too: an image that dies under an open painter takes the process with it.
        with QPainter(image) as painter:
            if self.is_empty():
                font = QFont(self.font())
                font.setPixelSize(round(QFontMetrics(self.font()).height() * 0.82 * ratio))
                painter.setFont(font)
                painter.setPen(self.theme.color("text_faint"))
                painter.drawText(image.rect(), Qt.AlignmentFlag.AlignCenter, self.placeholder)
            else:
                self.draw_plot(painter, size, ratio)
        image.setDevicePixelRatio(ratio)
        return image

    def _drawn_frame(self, ratio: float) -> QPixmap:
        pixmap = QPixmap(QSize(max(round(self.width() * ratio), 1), max(round(self.height() * ratio), 1)))
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(self.theme.color("panel"))
        with QPainter(pixmap) as painter:
            self.draw_frame(painter)
        return pixmap

    def draw_frame(self, painter: QPainter) -> None:
        """Draw title and scale, in logical pixels."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_header(painter)
        painter.setFont(figures_font(self.font(), scale=0.85))
        painter.setPen(self.theme.color("text_faint"))
        self.draw_scale(painter, QRect(0, HEADER_PX, GUTTER_PX, self.plot_rect().height()))

    def _draw_header(self, painter: QPainter) -> None:
        theme, heard = self.theme, self._heard and not self.pose
        x = 12
        middle = HEADER_PX / 2 + 1
        if self._side:
            color = theme.side(self._side)
            if heard:
                painter.fillRect(QRectF(0, 0, 3, self.height()), color)
            badge = QRectF(x, middle - 8, 16, 16)
            painter.setPen(QPen(color, 1.2))
            painter.setBrush(color if heard else Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(badge, 4, 4)
            painter.setFont(figures_font(self.font(), scale=0.85, bold=True))
            painter.setPen(theme.color("side_text") if heard else color)
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, self._side)
            x += 24
        note, ink = ("listening", theme.side(self._side)) if heard else (self.note, theme.color("text_faint"))
        small = figures_font(self.font(), scale=0.85)
        note_width = QFontMetrics(small).horizontalAdvance(note) + 14 if note else 0
        bold = QFont(self.font())
        bold.setBold(True)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        for font, color, text in ((bold, "text", self._title), (self.font(), "text_dim", self._facts)):
            metrics = QFontMetrics(font)
            room = self.width() - x - MARGIN_PX - note_width
            if not text or room < 30:
                continue
            text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
            painter.setFont(font)
            painter.setPen(theme.color(color))
            width = metrics.horizontalAdvance(text)
            painter.drawText(QRectF(x, 1, width + 2, HEADER_PX), flags, text)
            x += width + 10
        if note:
            painter.setFont(small)
            painter.setPen(ink)
            rect = QRectF(self.width() - MARGIN_PX - note_width, 1, note_width, HEADER_PX)
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, note)


def _scaled(rect: QRect, ratio: float) -> QRect:
    """The device pixels of a logical rectangle."""
    left, top = round(rect.left() * ratio), round(rect.top() * ratio)
    right, bottom = round((rect.right() + 1) * ratio), round((rect.bottom() + 1) * ratio)
    return QRect(left, top, right - left, bottom - top)
