"""How far the reconstruction is off, one bar per 80 ms frame, with the worst moments marked. GUI thread only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis.error_strip import ErrorStrip, Moment
from mimi_gui.ui.lane import HEADER_PX, Lane
from mimi_gui.ui.plot_strip import Columns, paint_levels
from mimi_gui.ui.theme import Theme, blend, figures_font, hex_color, ramp_table
from mimi_gui.ui.time_axis import TimeAxis, format_time

_MARKS_PX = 16


class ErrorView(Lane):
    """The error strip. Where several frames share a pixel the worst of them is shown: nothing bad hides.

    Signals:
        moment_requested(object): a double click on a marked moment: loop its ``(start_s, end_s)``.
    """

    moment_requested = Signal(object)

    def __init__(self, axis: TimeAxis, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, "Error", parent)
        self._strip: ErrorStrip | None = None
        self._moments: tuple[Moment, ...] = ()
        self._low, self._high = 0.0, 1.0
        self.placeholder = "The error per frame appears here once the reconstruction is complete"
        self.draws_lightly = True
        self.setMinimumHeight(HEADER_PX + 34)
        self.sensible_height = HEADER_PX + 42
        self.setToolTip(
            "How far the reconstruction is off in each 80 ms frame; taller is worse.\n"
            "Numbers mark the worst moments, 1 the worst: double click loops one."
        )

    def set_strip(self, strip: ErrorStrip | None, moments: Sequence[Moment] = ()) -> None:
        """Show these errors and mark these moments, worst first."""
        self._strip, self._moments = strip, tuple(moments)
        if strip is None:
            self.set_title("Error")
        else:
            self.set_title(f"Error — {strip.name}, {strip.unit} per frame")
            values = strip.values
            # Noise to signal goes below zero; the others begin at none.
            self._low = float(min(values.min(), 0.0)) if len(values) else 0.0
            self._high = max(float(values.max()) if len(values) else 1.0, self._low + 1e-6)
        self.refresh_frame()

    def is_empty(self) -> bool:
        return self._strip is None

    def describe(self, position: QPointF) -> str:
        strip = self._strip
        if strip is None:
            return ""
        frame = int(self.time_at(position) / strip.frame_s + 1e-9)
        if not 0 <= frame < len(strip.values):
            return ""
        time = format_time(frame * strip.frame_s, 0.01)
        words = f"{strip.name}   frame {frame}   {time}   {strip.values[frame]:.3g} {strip.unit}"
        place = self._moment_at(position.x())
        return words if place is None else f"{words}   worst moment {place + 1}"

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        place = self._moment_at(event.position().x())
        if place is None:
            super().mouseDoubleClickEvent(event)
        else:
            moment = self._moments[place]
            self.moment_requested.emit((moment.start_s, moment.end_s))

    def _moment_at(self, x: float) -> int | None:
        for place, moment in enumerate(self._moments):
            if self.x_at(moment.start_s) <= x <= self.x_at(moment.end_s):
                return place
        return None

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        if self._strip is None:
            return
        flags = Qt.AlignmentFlag.AlignRight
        painter.drawText(rect.adjusted(0, _MARKS_PX - 4, -8, 0), flags | Qt.AlignmentFlag.AlignTop, f"{self._high:.2g}")
        if rect.height() < 44:
            return
        low = f"{self._low:.2g}".replace("-", "−")
        painter.drawText(rect.adjusted(0, 0, -8, -1), flags | Qt.AlignmentFlag.AlignBottom, low)

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        strip = self._strip
        if strip is None:
            return False
        theme, height = self.theme, columns.height
        ground = theme.color("plot").rgb()
        pixels[...] = ground
        edges = np.floor(columns.edges_s / strip.frame_s + 1e-9).astype(np.int64)
        num_inside = int(np.searchsorted(edges[:-1], len(strip.values)))
        if num_inside == 0:
            return True
        begin = edges[:num_inside]
        if columns.step_s < strip.frame_s:
            worst = strip.values[begin]
        else:
            # reduceat over rising edges; an index equal to the length is refused, so one value stands behind the last.
            span = strip.values[begin[0] : min(int(edges[num_inside]), len(strip.values))]
            worst = np.maximum.reduceat(np.append(span, -np.inf), begin - begin[0])
        tallest = max(height - round(_MARKS_PX * columns.ratio), 1)  # the moments' numbers stand above the bars
        heights = np.maximum(np.clip((worst - self._low) / (self._high - self._low), 0, 1) * tallest, 1)
        empty = (height - np.floor(heights)).astype(np.int32)  # rows above each bar
        ramp = ramp_table(theme.side_b, theme.error, 255)
        table = np.append(np.uint32(ground), ramp)
        share = np.clip((np.arange(height)[::-1] + 1) / tallest, 0, 1)
        of_row = (1 + np.round(share * (len(ramp) - 1))).astype(np.uint8)[:, None]
        levels = np.where(np.arange(height, dtype=np.int32)[:, None] >= empty, of_row, np.uint8(0))
        paint_levels(levels, table, pixels[:, :num_inside])
        if strip.frame_s / columns.step_s >= 7 * columns.ratio:  # bars stand apart like the cells above them
            x = columns.x_of(np.arange(edges[0], edges[-1] + 1) * strip.frame_s)
            pixels[:, x[(x >= 0) & (x < columns.num)]] = ground
        return True

    def draw_vector(self, painter: QPainter, rect: QRect) -> bool:
        strip = self._strip
        if strip is None or self.axis.span_s / strip.frame_s > rect.width():
            return False  # finer than the picture
        first = max(int(self.axis.start_s / strip.frame_s), 0)
        last = min(int(np.ceil(self.axis.end_s / strip.frame_s)), len(strip.values))
        width = strip.frame_s / self.axis.span_s * rect.width()
        gap = 0.8 if width >= 5 else 0.0
        for frame in range(first, last):
            share = float(np.clip((strip.values[frame] - self._low) / (self._high - self._low), 0, 1))
            height = max(share * max(rect.height() - _MARKS_PX, 1), 1.0)
            left = self.x_at(frame * strip.frame_s)
            color = hex_color(blend(self.theme.error, self.theme.side_b, share))
            painter.fillRect(QRectF(left, rect.bottom() + 1 - height, width - gap, height), QColor(color))
        return True

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        font = figures_font(self.font(), bold=True)
        font.setPixelSize(round(11 * ratio))
        painter.setFont(font)
        scale = size.width() / self.axis.span_s
        for place, moment in reversed(list(enumerate(self._moments))):
            left = (moment.start_s - self.axis.start_s) * scale
            right = (moment.end_s - self.axis.start_s) * scale
            if right < 0 or left > size.width():
                continue
            bar = QRect(round(left), round((_MARKS_PX - 3) * ratio), round(right - left), round(2 * ratio))
            painter.fillRect(bar, self.theme.color("text_faint"))
            if right - left < 14 * ratio and place > 0:
                continue
            painter.setPen(self.theme.color("text"))
            middle = round((left + right) / 2)
            box = QRect(middle - round(14 * ratio), 0, round(28 * ratio), round((_MARKS_PX - 2) * ratio))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(place + 1))
