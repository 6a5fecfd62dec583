"""A waveform on the shared time axis: its outline from far, its samples from near.

Only the columns in sight are drawn, from the pyramid of :mod:`mimi_gui.analysis.envelope`; an hour costs as
much as a second. GUI thread only.
"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPen
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.theme import Theme, blend, hex_color, ramp_table
from mimi_gui.ui.time_axis import TimeAxis, format_time

_DOT_SPACING_PX = 7  # from here on single samples get a dot


class WaveformView(Lane):
    """One waveform with its amplitude scale.

    Signals:
        scale_requested(float): show amplitudes this much larger (Ctrl + wheel); the wall scales all waveforms
            alike, or a quieter reconstruction would look as loud as its original.
    """

    scale_requested = Signal(float)

    def __init__(self, axis: TimeAxis, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, name, parent)
        self._envelope: Envelope | None = None
        self._limit = 1.0
        self._color = ""
        self.setToolTip(
            "Click: play from here. Drag: select a loop. Wheel: zoom at the pointer.\n"
            "Shift + drag, middle drag or Shift + wheel: move along. Ctrl + wheel: larger amplitudes."
        )

    def set_envelope(self, envelope: Envelope | None) -> None:
        """Show this waveform; call again (or :meth:`refresh`) when it has grown."""
        self._envelope = envelope
        self.refresh()

    @property
    def peak(self) -> float:
        """The largest magnitude of what is shown, linear; 0 when nothing is."""
        return self._envelope.peak if self._envelope is not None else 0.0

    def set_limit(self, limit: float) -> None:
        """Show amplitudes from ``-limit`` to ``limit``; 1.0 is full scale."""
        if limit != self._limit:
            self._limit = limit
            self.refresh_frame()

    def set_color(self, name: str) -> None:
        """Draw in this colour of the theme instead of the side's."""
        self._color = name
        self.refresh()

    def scale_values(self, factor: float) -> None:
        self.scale_requested.emit(factor)

    def is_empty(self) -> bool:
        return self._envelope is None

    def describe(self, position: QPointF) -> str:
        time_s = self.time_at(position)
        step = max(self.axis.seconds_per_px, 1e-5)
        words = f"{self._title}   {format_time(time_s, min(step, 0.001))}"
        value = None if self._envelope is None else self._envelope.sample_at(time_s)
        if value is None:
            return words
        level = f"{20 * math.log10(abs(value)):.1f} dBFS" if value else "silent"
        return f"{words}   sample {value:+.4f}   {level}"

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        middle, half = rect.center().y(), rect.height() / 2
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share, sign in ((0.8, 1), (0.0, 1), (0.8, -1)):
            value = _round_down(self._limit * share) * sign
            y = middle - round(value / self._limit * half)
            text = f"{value:+.2g}".replace("-", "−") if value else "0"
            painter.drawText(QRect(0, y - 8, rect.width() - 8, 16), flags, text)

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        width, height = size.width(), size.height()
        self._draw_grid(painter, size)
        envelope = self._envelope
        if envelope is None or envelope.num_samples == 0:
            return
        step_s = self.axis.span_s / width
        # Columns stand on a grid fixed in time, so that panning shifts the outline and never reshapes it.
        first = math.floor(self.axis.start_s / step_s)
        t, lo, hi = envelope.visible(first * step_s, (first + width + 1) * step_s, width + 1)
        if len(t) == 0:
            return
        color = self._wave_color()
        half = height / 2
        if lo is hi:
            self._draw_samples(painter, t, lo, size, ratio, color)
            return
        columns = np.round(t / step_s).astype(np.int64) - first
        keep = (columns >= 0) & (columns < width)
        columns = columns[keep]
        top = half - hi[keep] * (half / self._limit)
        bottom = half - lo[keep] * (half / self._limit)
        thin = np.maximum(1.0 - (bottom - top), 0.0) / 2  # silence is a line, not nothing
        image = _coverage_image(columns, top - thin, bottom + thin, width, height)
        image.setColorTable(ramp_table(self.theme.plot, color))
        painter.drawImage(0, 0, image)
        painter.setPen(QPen(self.theme.color("plot", 0.35), 1))
        painter.drawLine(0, int(half), width, int(half))

    def _wave_color(self) -> str:
        theme = self.theme
        if self._color:
            return getattr(theme, self._color)
        color = theme.side_a if self._side == "A" else theme.side_b
        if self._side and not self._heard:
            return hex_color(blend(color, theme.plot, 0.5))
        return color

    def _draw_grid(self, painter: QPainter, size: QSize) -> None:
        painter.setPen(QPen(self.theme.color("grid"), 1))
        half = size.height() / 2
        value = _round_down(self._limit * 0.8)
        for level in (-value, 0.0, value):
            y = int(half - level / self._limit * half)
            painter.drawLine(0, y, size.width(), y)

    def _draw_samples(
        self, painter: QPainter, t: np.ndarray, values: np.ndarray, size: QSize, ratio: float, color: str
    ) -> None:
        half = size.height() / 2
        x = (t - self.axis.start_s) * (size.width() / self.axis.span_s)
        y = half - values * (half / self._limit)
        points = [QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(color), ratio))
        painter.drawPolyline(points)
        if len(x) > 1 and x[1] - x[0] >= _DOT_SPACING_PX * ratio:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("text"))
            for point in points:
                painter.drawEllipse(point, 2.2 * ratio, 2.2 * ratio)


def _coverage_image(
    columns: np.ndarray, top: np.ndarray, bottom: np.ndarray, width: int, height: int
) -> QImage:
    """Paint vertical bars with soft ends as coverage 0..255; ``columns`` int64 [n], edges float [n] in
    pixels."""
    stride = (width + 3) // 4 * 4
    pixels = np.zeros((height, stride), np.uint8)
    rows = np.arange(height, dtype=np.float32)[:, None]
    cover = np.minimum(bottom.astype(np.float32) - rows, 1.0)
    np.minimum(cover, rows + 1.0 - top.astype(np.float32), out=cover)
    np.clip(cover, 0.0, 1.0, out=cover)
    cover *= 255.0
    if len(columns) and columns[-1] - columns[0] + 1 == len(columns):
        pixels[:, columns[0] : columns[-1] + 1] = cover
    else:
        pixels[:, columns] = cover
    image = QImage(pixels.data, width, height, stride, QImage.Format.Format_Indexed8)
    # The image only borrows the memory: tie the array to it.
    image.pixels = pixels  # pyright: ignore[reportAttributeAccessIssue]
    return image


def _round_down(value: float) -> float:
    """The largest of 1, 2, 4, 5, 8 x 10^n that is not above ``value`` (> 0)."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return max(m for m in (1, 2, 4, 5, 8) if m * power <= value * (1 + 1e-9)) * power


def amplitude_limit(peak: float) -> float:
    """A round amplitude that holds ``peak``, for a scale that does not twitch while a recording grows."""
    for limit in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0):
        if peak <= limit * 0.98:
            return limit
    return max(peak, 1.0)
