"""How loud the microphone is: peak and average on a scale in dB, and a lamp that keeps saying that it was too loud.

GUI thread only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from mimi_gui.ui.theme import Theme, figures_font

FLOOR_DB = -60.0
HOT_DB = -6.0  # from here on there is little room left
_FALL_DB_PER_S = 24.0
_HOLD_S = 1.5
_TICKS_DB = (-60, -48, -36, -24, -18, -12, -6, 0)


class LevelBar(QWidget):
    """A bar for the average, a lighter one for the peak, and a mark that stays at the highest peak for a while."""

    def __init__(
        self, theme: Theme, parent: QWidget | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(parent)
        self.theme = theme
        self._clock = clock
        self._told_at = clock()
        self._peak_db = self._rms_db = self._held_db = -math.inf
        self._held_until = 0.0
        self.setFixedHeight(34)
        self.setMinimumWidth(160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Level of the microphone")
        self.setToolTip("The loudest moments should reach between −18 and −6 dB. At 0 dB sound is cut off.")

    @property
    def shown_db(self) -> tuple[float, float, float]:
        """Peak, average and held peak as they are drawn, in dB below full scale."""
        return self._peak_db, self._rms_db, self._held_db

    def set_level(self, peak_db: float, rms_db: float) -> None:
        """Rise at once, fall by 24 dB a second; -inf is digital silence."""
        now = self._clock()
        fall = _FALL_DB_PER_S * (now - self._told_at)
        self._told_at = now
        self._peak_db = max(peak_db, self._peak_db - fall)
        self._rms_db = max(rms_db, self._rms_db - fall)
        if peak_db >= self._held_db or now > self._held_until:
            self._held_db, self._held_until = self._peak_db, now + _HOLD_S
        words = "silence" if peak_db == -math.inf else f"peak {peak_db:.0f} dB, average {rms_db:.0f} dB"
        self.setAccessibleDescription(words)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(420, 34)

    def _x(self, level_db: float, rect: QRectF) -> float:
        share = (min(max(level_db, FLOOR_DB), 0.0) - FLOOR_DB) / -FLOOR_DB
        return rect.left() + share * rect.width()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        bar = QRectF(10, 4, self.width() - 20, 11)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(theme.color("border"), 1))
            painter.setBrush(theme.color("plot"))
            painter.drawRoundedRect(bar.adjusted(-1, -1, 1, 1), 4, 4)
            painter.setPen(Qt.PenStyle.NoPen)
            for level_db, opacity in ((self._peak_db, 0.45), (self._rms_db, 1.0)):
                self._draw_bar(painter, bar, level_db, opacity)
            if self._held_db > FLOOR_DB:
                color = "error" if self._held_db > -0.01 else "warning" if self._held_db > HOT_DB else "text"
                mark = QRectF(self._x(self._held_db, bar) - 1, bar.top(), 2, bar.height())
                painter.fillRect(mark, theme.color(color))
            painter.setFont(figures_font(self.font(), scale=0.78))
            for tick_db in _TICKS_DB:
                x = self._x(tick_db, bar)
                painter.setPen(QPen(theme.color("text_faint"), 1))
                painter.drawLine(round(x), round(bar.bottom()) + 2, round(x), round(bar.bottom()) + 4)
                words = f"{tick_db}".replace("-", "−")
                box = QRectF(x - 14, bar.bottom() + 4, 28, 13)
                painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, words)

    def _draw_bar(self, painter: QPainter, bar: QRectF, level_db: float, opacity: float) -> None:
        """Fill up to ``level_db``: what is above -6 dB in the warning's colour."""
        right = self._x(level_db, bar)
        hot = self._x(HOT_DB, bar)
        if right <= bar.left():
            return
        cool = QRectF(bar.left(), bar.top(), min(right, hot) - bar.left(), bar.height())
        painter.fillRect(cool, self.theme.color("semantic", opacity))
        if right > hot:
            painter.fillRect(QRectF(hot, bar.top(), right - hot, bar.height()), self.theme.color("warning", opacity))


class LevelMeter(QWidget):
    """The bar and the lamp.

    The lamp counts the samples at full scale since it was pressed the last time (or since a take began, when the
    count starts again); it never goes out by itself.
    """

    clip_reset = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = LevelBar(theme)
        self.lamp = QToolButton()
        self.lamp.setProperty("framed", True)
        self.lamp.setText("No clipping")
        self.lamp.setToolTip("Samples that were cut off because the microphone was too loud; press to start again")
        self.lamp.setMinimumWidth(self.lamp.fontMetrics().horizontalAdvance("0,000,000 clipped") + 30)
        self.lamp.clicked.connect(self.reset_clip)
        self._theme = theme
        self._counted = self._forgiven = 0
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(self.bar, 1)
        row.addWidget(self.lamp)
        self._show_lamp()

    @property
    def num_clipped(self) -> int:
        """Samples at full scale since the lamp was pressed."""
        return self._counted - self._forgiven

    def set_level(self, peak_db: float, rms_db: float, num_clipped: int) -> None:
        """Show a level; ``num_clipped`` counts since the microphone was opened or the take began."""
        self.bar.set_level(peak_db, rms_db)
        if num_clipped < self._counted:  # another count has begun; what was seen of the old one stays forgiven
            self._forgiven = 0
        if num_clipped != self._counted:
            self._counted = num_clipped
            self._show_lamp()

    def reset_clip(self) -> None:
        """Put the lamp out; it lights again at the next sample at full scale."""
        self._forgiven = self._counted
        self._show_lamp()
        self.clip_reset.emit()

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = self.bar.theme = theme
        self.bar.update()
        self._show_lamp()

    def _show_lamp(self) -> None:
        count, theme = self.num_clipped, self._theme
        self.lamp.setText(f"{count:,} clipped" if count else "No clipping")
        self.lamp.setAccessibleName(f"{count} samples clipped, press to reset" if count else "No clipping")
        self.lamp.setEnabled(bool(count))
        self.lamp.setStyleSheet(
            f"QToolButton {{ background: {theme.error}; color: {theme.window}; border: 1px solid {theme.error};"
            " font-weight: 600; border-radius: 6px; padding: 5px 12px; }"
            if count
            else ""
        )
