"""What every strip of the shared time axis has in common: gestures, margins, the loop region.

Gestures, the same in every view: wheel zooms at the pointer, Shift + wheel or a sideways wheel pans, Ctrl +
wheel scales the values; over the scale at the left the wheel scrolls through views that do not fit; a click
seeks, a drag selects a loop, an edge of the loop can be dragged (also while playing); a drag with Shift or with
the middle button pans, on the ruler a plain drag does.

GUI thread only.
"""

from __future__ import annotations

from enum import Enum

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, Qt, Signal
from PySide6.QtGui import QMouseEvent, QNativeGestureEvent, QPainter, QPen, QWheelEvent
from PySide6.QtWidgets import QWidget

from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import TimeAxis

GUTTER_PX = 62  # scales left of every plot: one number, so that all plots line up
MARGIN_PX = 10
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
        self.scrolls_views = False  # whether the wheel over the scale is left to what this canvas lies in
        self.tints_loop = True
        self._drag = _Drag.NONE
        self._pressed_at = QPointF()
        self._fixed_s = 0.0
        self._pan_from_s = 0.0
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        axis.changed.connect(self.axis_moved)
        axis.loop_changed.connect(self.loop_moved)

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

    def axis_moved(self) -> None:
        """Other seconds are in sight, or the same on another width."""
        self.update()

    def loop_moved(self) -> None:
        """The loop region is another one."""
        self.update()

    def refresh(self) -> None:
        """Draw anew: the data changed."""
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
        if not sideways and self.leaves_wheel(event):
            event.ignore()
            return
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

    def leaves_wheel(self, event: QWheelEvent) -> bool:
        """Whether this turn of the wheel, over the scale and without a key, scrolls through the views."""
        keys = Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.ControlModifier
        at_scale = event.position().x() < self.plot_rect().left()
        return self.scrolls_views and at_scale and not event.modifiers() & keys

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
