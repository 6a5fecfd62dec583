"""A waveform on the shared time axis: its outline from far, its samples from near.

Only the columns in sight are drawn, from the pyramid of :mod:`mimi_gui.analysis.envelope`; an hour costs as
much as a second. GUI thread only.
"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.plot_strip import Columns
from mimi_gui.ui.theme import Theme, blend, hex_color, ramp_table
from mimi_gui.ui.time_axis import TimeAxis, format_time

_BAND_ROWS = 64
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

    @property
    def limit(self) -> float:
        """The amplitude at the upper edge of the plot."""
        return self._limit

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
        marks = ((0.8, 1), (0.0, 1), (0.8, -1)) if rect.height() >= 40 else ((0.8, 1), (0.8, -1))
        for share, sign in marks:
            value = _round_down(self._limit * share) * sign
            y = middle - round(value / self._limit * half)
            text = f"{value:+.2g}".replace("-", "−") if value else "0"
            painter.drawText(QRect(0, y - 8, rect.width() - 8, 16), flags, text)

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        if self._envelope is None:
            return False
        half = columns.height / 2
        t, lo, hi = self._envelope.visible(columns.start_s, columns.end_s, columns.num)
        is_line = lo is hi
        if is_line:
            x, lo, hi = _line(columns, t, lo)
            thin = np.full(len(x), columns.ratio / 2)
        else:
            x = np.round(t / columns.step_s).astype(np.int64) - columns.first
            thin = np.maximum(1.0 - (hi - lo) * (half / self._limit), 0.0) / 2  # silence is a line, not nothing
        top, bottom = half - hi * (half / self._limit) - thin, half - lo * (half / self._limit) + thin
        keep = (x >= 0) & (x < columns.num)
        ramp = ramp_table(self.theme.plot, self._wave_color())
        _bars(x[keep], top[keep], bottom[keep], pixels, ramp)
        ground, grid = ramp[0], np.uint32(self.theme.color("grid").rgb())
        for y in self._grid_rows(columns.height):
            pixels[y][pixels[y] == ground] = grid
        if not is_line:
            middle = pixels[columns.height // 2]  # the zero line shows through the wave
            middle[middle == ramp[-1]] = ramp[round(0.65 * (len(ramp) - 1))]
        return True

    def draws_over(self, columns: Columns) -> bool:
        rate = 1 if self._envelope is None else self._envelope.sample_rate
        return 1 / rate >= _DOT_SPACING_PX * columns.ratio * columns.step_s

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        step_s = self.axis.span_s / size.width()
        if self._envelope is None or 1 / self._envelope.sample_rate < _DOT_SPACING_PX * ratio * step_s:
            return
        t, values, _ = self._envelope.visible(self.axis.start_s, self.axis.end_s, size.width())
        half = size.height() / 2
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color("text"))
        for x, y in zip((t - self.axis.start_s) / step_s, half - values * (half / self._limit), strict=True):
            painter.drawEllipse(QPointF(float(x), float(y)), 2.2 * ratio, 2.2 * ratio)

    def draw_vector(self, painter: QPainter, rect: QRect) -> bool:
        if self._envelope is None:
            return False
        t, lo, hi = self._envelope.visible(self.axis.start_s, self.axis.end_s, 2 * rect.width())
        painter.setPen(QPen(self.theme.color("grid"), 1))
        for y in self._grid_rows(rect.height()):
            painter.drawLine(rect.left(), rect.top() + y, rect.right(), rect.top() + y)
        middle, scale = rect.top() + rect.height() / 2, rect.height() / 2 / self._limit
        x = rect.left() + (t - self.axis.start_s) * (rect.width() / self.axis.span_s)
        top, bottom = middle - hi * scale, middle - lo * scale
        if lo is hi:
            painter.setPen(QPen(QColor(self._wave_color()), 1))
            painter.drawPolyline([QPointF(a, b) for a, b in zip(x.tolist(), top.tolist(), strict=True)])
            return True
        thin = np.maximum(0.5 - (bottom - top), 0.0) / 2
        there = [QPointF(a, b) for a, b in zip(x.tolist(), (top - thin).tolist(), strict=True)]
        back = [QPointF(a, b) for a, b in zip(x[::-1].tolist(), (bottom + thin)[::-1].tolist(), strict=True)]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._wave_color()))
        painter.drawPolygon(QPolygonF(there + back))
        return True

    def _grid_rows(self, height: int) -> list[int]:
        half = height / 2
        value = _round_down(self._limit * 0.8) / self._limit
        return [min(int(half - share * half), height - 1) for share in (-value, 0.0, value)]

    def _wave_color(self) -> str:
        theme = self.theme
        if self._color:
            return getattr(theme, self._color)
        color = theme.side_a if self._side == "A" else theme.side_b
        if self._side and not self._heard and not self.pose:
            return hex_color(blend(color, theme.plot, 0.5))
        return color


def _line(columns: Columns, t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, and lowest and highest value in each, of the line through the samples ``values`` at ``t`` seconds."""
    if len(t) == 0:
        return np.zeros(0, np.int64), values, values
    edges = columns.edges_s
    at_edges = np.interp(edges, t, values)
    lo, hi = np.minimum(at_edges[:-1], at_edges[1:]), np.maximum(at_edges[:-1], at_edges[1:])
    x = columns.x_of(t)
    inside = (x >= 0) & (x < columns.num)
    np.minimum.at(lo, x[inside], values[inside])
    np.maximum.at(hi, x[inside], values[inside])
    there = np.flatnonzero((edges[1:] >= t[0]) & (edges[:-1] <= t[-1]))
    return there, lo[there], hi[there]


def _bars(columns: np.ndarray, top: np.ndarray, bottom: np.ndarray, pixels: np.ndarray, ramp: np.ndarray) -> None:
    """Paint vertical bars with soft ends into ``pixels``, uint32 [height, width], from ``ramp``'s first colour to its
    last.

    ``columns`` int64 [n]; ``top`` and ``bottom`` float [n] in pixels, at least one apart. Whole pixels by
    arithmetic on the mask, ends one by one: an eighth of the time of a look-up for every pixel.
    """
    height, width = pixels.shape
    top, bottom = (np.minimum(np.maximum(edge, 0), height) for edge in (top, bottom))
    first, last = np.ceil(top), np.floor(bottom)
    kind = np.uint8 if height < 256 else np.uint16
    firsts, lengths = np.zeros(width, kind), np.zeros(width, kind)
    firsts[columns], lengths[columns] = first, np.maximum(last - first, 0)
    rows = np.arange(height, dtype=kind)[:, None]
    ground, both = ramp[:1].view(np.int32), (ramp[:1] ^ ramp[-1:]).view(np.int32)
    for start in range(0, height, _BAND_ROWS):  # what is worked on at once stays in the processor's cache
        band = pixels[start : start + _BAND_ROWS].view(np.int32)
        # Above `first` the difference wraps to a large one. What is inside becomes a mask of ones, by its sign.
        band[...] = -((rows[start : start + _BAND_ROWS] - firsts) < lengths).view(np.int8)
        band &= both
        band ^= ground
    most = len(ramp) - 1
    for row, cover in ((first - 1, first - top), (last, bottom - last)):
        soft = (cover > 0) & (first <= last)
        pixels[row[soft].astype(np.int64), columns[soft]] = ramp[np.round(cover[soft] * most).astype(np.int64)]


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
