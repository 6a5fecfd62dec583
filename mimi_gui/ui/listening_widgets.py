"""What the listening pages are drawn with: large buttons, dots of progress, rating sliders, intervals.

None of them knows a signal by name, and none has another colour for one signal than for another. GUI thread only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QSlider, QWidget

from mimi_gui.ui.theme import Theme, figures_font

SCALE_WORDS = ("Bad", "Poor", "Fair", "Good", "Excellent")  # 0-20 ... 80-100, as BS.1534 has them


class StimulusButton(QAbstractButton):
    """A large button that plays something: its letter, its key, whether it sounds and whether it was heard."""

    def __init__(self, letter: str, theme: Theme, *, key: str = "", size: int = 128) -> None:
        super().__init__()
        self.theme = theme
        self._letter, self._key, self._size = letter, key or letter, size
        self._sounds = self._heard = False
        self.setText(letter)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click must not give Space to this button
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Play {letter}")
        self.setToolTip(f"Play {letter} (key: {self._key})")
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_state(self, *, sounds: bool, heard: bool) -> None:
        """Show whether it is what sounds, and whether it was played in this trial."""
        if (sounds, heard) != (self._sounds, self._heard):
            self._sounds, self._heard = sounds, heard
            words = ", playing" if sounds else ", heard" if heard else ""
            self.setAccessibleName(f"Play {self._letter}{words}")
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(max(self._size, 8 * len(self._letter) + 40), self._size)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            rect = QRectF(self.rect()).adjusted(2.5, 2.5, -2.5, -2.5)
            ground = "accent" if self._sounds else "hover" if self.isDown() or self.underMouse() else "raised"
            painter.setPen(QPen(theme.color("accent" if self._sounds else "border"), 1.5))
            painter.setBrush(theme.color(ground))
            painter.drawRoundedRect(rect, 14, 14)
            if self.hasFocus():
                painter.setPen(QPen(theme.color("text"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(rect.adjusted(3, 3, -3, -3), 11, 11)
            ink = theme.color("accent_text" if self._sounds else "text" if self.isEnabled() else "text_faint")
            font = QFont(self.font())
            font.setBold(True)
            large = len(self._letter) <= 2
            font.setPixelSize(round(self._size * (0.42 if large else 0.2)))
            painter.setFont(font)
            painter.setPen(ink)
            lift = self._size * 0.1 if large else 0.0  # room for the dot
            painter.drawText(rect.adjusted(0, 0, 0, -lift), Qt.AlignmentFlag.AlignCenter, self._letter)
            if self._heard:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(ink)
                painter.drawEllipse(QPointF(rect.center().x(), rect.bottom() - self._size * 0.11), 3.2, 3.2)


class TrialDots(QWidget):
    """One dot per trial: answered, in hand, to come. Never right or wrong."""

    def __init__(self, num_trials: int, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self._total, self._done = num_trials, 0
        self.setFixedHeight(14)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.set_done(0)

    def set_done(self, done: int) -> None:
        """Fill so many."""
        self._done = done
        self.setAccessibleName(f"{done} of {self._total} answered")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(min(16 * self._total, 480), 14)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            step = min(self.width() / max(self._total, 1), 18.0)
            radius = min(step * 0.28, 4.5)
            for i in range(self._total):
                center = QPointF(step * (i + 0.5), self.height() / 2)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.color("accent") if i < self._done else theme.color("border"))
                if i == self._done:
                    painter.setPen(QPen(theme.color("accent"), 1.6))
                    painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawEllipse(center, radius, radius)


class RatingSlider(QSlider):
    """0 to 100, upright, with the five words of the scale as lines; a click goes there."""

    def __init__(self, name: str, theme: Theme) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self.theme = theme
        self._rated = False
        self.setRange(0, 100)
        self.setPageStep(10)
        self.setAccessibleName(f"Rating of {name}")
        self._name = name
        self._explain()
        self.setMinimumSize(44, 140)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def _explain(self) -> None:
        how = "0 bad, 100 excellent (keys: Up, Down, Page Up, Page Down)"
        self.setToolTip(f"Rating of {self._name}: {how if self.isEnabled() else 'play it first'}")

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.EnabledChange:
            self._explain()

    def set_rated(self, rated: bool) -> None:
        """Show the handle filled once the listener has placed it."""
        if rated != self._rated:
            self._rated = rated
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(64, 220)

    def _y(self, value: float) -> float:
        return 12 + (100 - value) / 100 * (self.height() - 24)

    def _value_at(self, y: float) -> int:
        return round(min(max(100 - (y - 12) / max(self.height() - 24, 1) * 100, 0), 100))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._set(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._set(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def _set(self, event: QMouseEvent) -> None:
        value = self._value_at(event.position().y())
        if value == self.value():
            self.sliderMoved.emit(value)  # a click on where it stands is a rating too
        self.setValue(value)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, on = self.theme, self.isEnabled()
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            center = self.width() / 2
            for value in range(0, 101, 20):
                painter.setPen(QPen(theme.color("grid"), 1))
                painter.drawLine(QPointF(0, self._y(value)), QPointF(self.width(), self._y(value)))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("border"))
            painter.drawRoundedRect(QRectF(center - 2.5, self._y(100), 5, self._y(0) - self._y(100)), 2.5, 2.5)
            y = self._y(self.value())
            if self._rated:
                painter.setBrush(theme.color("accent"))
                painter.drawRoundedRect(QRectF(center - 2.5, y, 5, self._y(0) - y), 2.5, 2.5)
            ink = "accent" if self._rated else "text_dim" if on else "border"
            painter.setPen(QPen(theme.color(ink), 2))
            painter.setBrush(theme.color("accent" if self._rated else "plot"))
            painter.drawRoundedRect(QRectF(center - 13, y - 7, 26, 14), 5, 5)
            if self.hasFocus():
                painter.setPen(QPen(theme.color("text"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(center - 17, y - 11, 34, 22), 8, 8)


class ScaleWords(QWidget):
    """The five words beside the sliders."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.setFixedWidth(70)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setFont(figures_font(self.font(), scale=0.9))
            height = self.height() - 24
            for i, word in enumerate(SCALE_WORDS):
                top = 12 + (4 - i) / 5 * height
                painter.setPen(self.theme.color("text_dim"))
                row = QRectF(0, top, self.width() - 8, height / 5)
                painter.drawText(row, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, word)
                painter.setPen(QPen(self.theme.color("grid"), 1))
                painter.drawLine(QPointF(8, top), QPointF(self.width(), top))


@dataclass(frozen=True)
class Interval:
    """A row of :class:`IntervalPlot`: NaN for ``low`` and ``high`` where there is none."""

    label: str
    low: float
    middle: float
    high: float
    words: str


class IntervalPlot(QWidget):
    """Means with their intervals on one scale, and a line for what guessing would give."""

    def __init__(
        self,
        rows: Sequence[Interval],
        ticks: Sequence[tuple[float, str]],
        theme: Theme,
        *,
        mark: tuple[float, str] | None = None,
        is_log: bool = False,
    ) -> None:
        super().__init__()
        self.theme = theme
        self._rows, self._ticks, self._mark = tuple(rows), tuple(ticks), mark
        self._is_log = is_log
        self._low, self._high = (self._scaled(ticks[0][0]), self._scaled(ticks[-1][0]))
        self._row_px = 30 if len(rows) <= 6 else 24
        self.setMinimumHeight(52 + self._row_px * len(rows))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("; ".join(f"{row.label}: {row.words}" for row in rows))

    def _scaled(self, value: float) -> float:
        return math.log2(value) if self._is_log else value

    def sizeHint(self) -> QSize:
        return QSize(620, 52 + self._row_px * len(self._rows))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            metrics = painter.fontMetrics()
            left = min(max((metrics.horizontalAdvance(row.label) for row in self._rows), default=0) + 20, 280)
            right = max((metrics.horizontalAdvance(row.words) for row in self._rows), default=0) + 24
            width = max(self.width() - left - right, 60)
            bottom = self.height() - 24

            def x(value: float) -> float:
                share = (self._scaled(value) - self._low) / (self._high - self._low)
                return left + min(max(share, 0.0), 1.0) * width

            painter.setFont(figures_font(self.font(), scale=0.85))
            for value, words in self._ticks:
                painter.setPen(QPen(theme.color("grid"), 1))
                painter.drawLine(QPointF(x(value), 16), QPointF(x(value), bottom))
                painter.setPen(theme.color("text_faint"))
                place = QRectF(x(value) - 40, bottom + 3, 80, 18)
                painter.drawText(place, Qt.AlignmentFlag.AlignHCenter, words)
            if self._mark is not None:
                value, words = self._mark
                painter.setPen(QPen(theme.color("text_dim"), 1.4, Qt.PenStyle.DashLine))
                painter.drawLine(QPointF(x(value), 16), QPointF(x(value), bottom))
                painter.drawText(QRectF(x(value) - 70, 0, 140, 16), Qt.AlignmentFlag.AlignHCenter, words)
            painter.setFont(self.font())
            middle = Qt.AlignmentFlag.AlignVCenter
            for i, row in enumerate(self._rows):
                y = 16 + (bottom - 16) * (i + 0.5) / len(self._rows)
                painter.setPen(theme.color("text"))
                label = metrics.elidedText(row.label, Qt.TextElideMode.ElideRight, left - 14)
                painter.drawText(QRectF(0, y - 12, left - 10, 24), Qt.AlignmentFlag.AlignRight | middle, label)
                painter.drawText(QRectF(left + width + 14, y - 12, right, 24), middle, row.words)
                if not math.isnan(row.low):
                    painter.setPen(QPen(theme.color("accent", 0.55), 6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
                    painter.drawLine(QPointF(x(row.low), y), QPointF(x(row.high), y))
                painter.setPen(QPen(theme.color("plot"), 1.5))
                painter.setBrush(theme.color("accent"))
                painter.drawEllipse(QPointF(x(row.middle), y), 6, 6)
