"""A titled view on the shared time axis: its frame and its plot, each drawn once and kept until it changes.

The plot is pixels (:mod:`mimi_gui.ui.plot_strip`): moving along the axis draws only what comes into sight. What a view
draws over its pixels is kept with them until the view moves. GUI thread only.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from mimi_gui.ui.plot_strip import Columns, PlotStrip
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import TimeAxis
from mimi_gui.ui.time_canvas import GUTTER_PX, MARGIN_PX, TimeCanvas

HEADER_PX = 26
_RESTS_AFTER_MS = 70  # without another zoom


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
        self._frame_ratio = 0.0
        self._kept = PlotStrip()
        self._step_s = self._duration_s = 0.0  # of the columns, and of the axis, that were drawn last
        self._over = QImage()
        self._coarse = np.zeros((0, 0), np.uint32)
        self._zooming = QTimer(self)
        self._zooming.setSingleShot(True)
        self._zooming.setInterval(_RESTS_AFTER_MS)
        self._zooming.timeout.connect(self._rest)
        self._plot: tuple[QImage, QRect] | None = None  # what is in sight, and where in the image it stands
        self.pose = ""  # "axes" or "bare" while a picture is taken of it, see picture.py
        self.placeholder = ""
        self.draws_lightly = False  # whether `draw_plot` is so quick that it need not be kept
        self.note = ""  # at the right end of the title: how to read what is shown
        self.sensible_height = HEADER_PX + 46  # lower it is made by a person only
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

    def prepare(self, columns: Columns | None) -> None:
        """These columns are about to be drawn: ask for what that takes. None: they are zoomed past, want nothing."""

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        """Paint ``columns`` of the data into ``pixels``, uint32 [height, num] 0xffRRGGBB.

        The same columns must give the same pixels until :meth:`refresh`. False, if this view has no pixels: the ground
        is plain, and :meth:`draw_plot` draws everything.
        """
        return False

    def draws_over(self, columns: Columns) -> bool:
        """Whether :meth:`draw_plot` draws anything over these columns."""
        return False

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

    def axis_moved(self) -> None:
        self._plot = None
        self._update_plot()

    def _update_plot(self) -> None:
        """Paint the plot, and the frame only where it changed: title and scale are a third of a low lane."""
        if self._frame is None:
            self.update()
            return
        ratio = self.devicePixelRatioF()
        edge = 0 if ratio == int(ratio) else 1  # the plot's edge may lie within a device pixel
        self.update(self.plot_rect().adjusted(-edge, -edge, edge, edge))

    def loop_moved(self) -> None:
        self._update_plot()

    def refresh(self) -> None:
        self._kept.forget()
        self._plot = None
        self.update()

    def refresh_span(self, start_s: float, end_s: float) -> None:
        """Draw these seconds anew: their data changed."""
        self._kept.forget_span(start_s, end_s)
        self._plot = None
        self._update_plot()

    @property
    def is_zooming(self) -> bool:
        """Whether it was zoomed a moment ago, so that what is in sight is about to change."""
        return self._zooming.isActive()

    def _rest(self) -> None:
        self._plot = None  # for the sharp picture, and to prepare it
        self._update_plot()

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
        whole, plot = _scaled(self.rect(), ratio), _scaled(self.plot_rect(), ratio)
        if self._frame is None or self._frame.size() != whole.size() or self._frame_ratio != ratio:
            self._frame, self._frame_ratio = self._drawn_frame(whole.size(), ratio), ratio
            self._plot = None
        if self._plot is None:
            self._plot = self._drawn_plot(plot.size(), ratio)
        image, source = self._plot
        with QPainter(self) as painter:
            if ratio != int(ratio):
                painter.fillRect(self.rect(), self.theme.color("panel"))  # the frame may be a row short
            # In device pixels: scaled by a ratio, Qt copies three times as slowly.
            painter.save()
            painter.scale(1 / ratio, 1 / ratio)
            if not self.plot_rect().contains(event.rect()):
                for strip in _around(plot, whole):
                    painter.drawPixmap(strip.topLeft(), self._frame, strip)
            if source.size() == plot.size():
                painter.drawImage(plot.topLeft(), image, source)
            else:
                painter.drawImage(plot, image, source)
            if self.draws_lightly and not self.is_empty():
                painter.setClipRect(plot)
                painter.translate(plot.topLeft())
                self.draw_plot(painter, plot.size(), ratio)
            painter.restore()
            painter.setClipRect(self.plot_rect())  # the ends of its lines are half a pixel long
            self.draw_loop(painter, self.plot_rect())

    def _drawn_plot(self, size: QSize, ratio: float) -> tuple[QImage, QRect]:
        """A picture of what is in sight of ``size`` device pixels, and where in it that stands."""
        columns = Columns.in_sight(self.axis, size.width(), size.height(), ratio)
        # What only grows, a recording that is being made, is not zoomed.
        if self._step_s > 0 and columns.step_s != self._step_s and self.axis.duration_s == self._duration_s:
            self._zooming.start()
        self._step_s, self._duration_s = columns.step_s, self.axis.duration_s
        self.prepare(None if self.is_zooming else columns)
        shown = None if self.is_empty() else self._shown_columns(columns)
        if shown is not None and (self.draws_lightly or not self.draws_over(columns)):
            return shown
        if self._over.size() != size:  # else the same memory again: fresh one costs more than the copy
            self._over = QImage(size, QImage.Format.Format_RGB32)
        image = self._over
        if shown is None:
            image.fill(self.theme.color("plot"))
        # Left by an error too: an image that dies under an open painter takes the process with it.
        with QPainter(image) as painter:
            if shown is not None:
                painter.drawImage(image.rect(), *shown)
            if self.is_empty():
                font = QFont(self.font())
                font.setPixelSize(round(QFontMetrics(self.font()).height() * 0.82 * ratio))
                painter.setFont(font)
                painter.setPen(self.theme.color("text_faint"))
                painter.drawText(image.rect(), Qt.AlignmentFlag.AlignCenter, self.placeholder)
            else:
                self.draw_plot(painter, size, ratio)
        return image, image.rect()

    def _shown_columns(self, columns: Columns) -> tuple[QImage, QRect] | None:
        if self.is_zooming and columns.ratio > 1:
            # Every second pixel while it is zoomed, all of them once it rests: on a fine screen a picture in time.
            half = columns.halved()
            self._coarse = np.empty((half.height, half.num), np.uint32)  # the image borrows this memory
            if not self.plot_pixels(half, self._coarse):
                return None
            rgb = QImage.Format.Format_RGB32
            image = QImage(self._coarse.data, half.num, half.height, self._coarse.strides[0], rgb)
            return image, image.rect()
        shown = self._kept.show(columns, self.plot_pixels)
        return None if shown is None else (shown[0], QRect(QPoint(shown[1], 0), QSize(columns.num, columns.height)))

    def _drawn_frame(self, size: QSize, ratio: float) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(self.theme.color("panel"))
        with QPainter(pixmap) as painter:
            painter.scale(ratio, ratio)
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


def _around(inner: QRect, outer: QRect) -> list[QRect]:
    """What ``inner`` leaves of ``outer``."""
    right, below = inner.right() + 1, inner.bottom() + 1
    return [
        QRect(outer.left(), outer.top(), outer.width(), inner.top() - outer.top()),
        QRect(outer.left(), inner.top(), inner.left() - outer.left(), inner.height()),
        QRect(right, inner.top(), outer.right() + 1 - right, inner.height()),
        QRect(outer.left(), below, outer.width(), max(outer.bottom() + 1 - below, 0)),
    ]


def _scaled(rect: QRect, ratio: float) -> QRect:
    """The device pixels of a logical rectangle."""
    left, top = round(rect.left() * ratio), round(rect.top() * ratio)
    right, bottom = round((rect.right() + 1) * ratio), round((rect.bottom() + 1) * ratio)
    return QRect(left, top, right - left, bottom - top)
