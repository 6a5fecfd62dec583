"""How many codebooks are decoded, with what that costs in kbit/s. GUI thread only."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from mimi_gui.ui.theme import Theme, figures_font

_MARKS = (8, 16, 32)


class Bitrates(Protocol):
    """What the control needs of :class:`mimi_gui.codes.CodecInfo`."""

    @property
    def frame_rate(self) -> float: ...
    def bitrate_kbps(self, num_codebooks: int) -> float: ...


class _MarkedSlider(QSlider):
    """A slider with labelled marks at the usual numbers of codebooks."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.theme = theme
        self.setFixedHeight(36)
        self.setMinimumWidth(150)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        handle = self.style().subControlRect(
            QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, self
        )
        with QPainter(self) as painter:
            self._draw_marks(painter, handle)

    def _draw_marks(self, painter: QPainter, handle: QRect) -> None:
        painter.setFont(figures_font(self.font(), scale=0.75))
        span = self.width() - handle.width()
        for mark in _MARKS:
            if not self.minimum() < mark <= self.maximum():
                continue
            x = handle.width() // 2 + QStyle.sliderPositionFromValue(self.minimum(), self.maximum(), mark, span)
            painter.setPen(self.theme.color("text_faint"))
            painter.drawLine(x, self.height() - 13, x, self.height() - 10)
            rect = QRect(min(x - 15, self.width() - 30), self.height() - 11, 30, 11)
            near_end = x + 15 > self.width()
            flag = Qt.AlignmentFlag.AlignRight if near_end else Qt.AlignmentFlag.AlignHCenter
            painter.drawText(rect, flag | Qt.AlignmentFlag.AlignVCenter, str(mark))


class CodebooksControl(QWidget):
    """Slider and number, 1..32, with kbit/s and tokens per second.

    Signals:
        value_changed(int): the person chose another number (not sent by :meth:`set_value`).
    """

    value_changed = Signal(int)

    def __init__(self, theme: Theme, info: Bitrates | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._info = info
        name = QLabel("Codebooks")
        self._slider = _MarkedSlider(theme)
        self._slider.setRange(1, 32)
        self._slider.setPageStep(8)
        self._slider.setAccessibleName("Number of codebooks")
        self._spin = QSpinBox()
        self._spin.setRange(1, 32)
        self._spin.setAccessibleName("Number of codebooks")
        self._spin.setKeyboardTracking(False)
        self._spin.setFixedWidth(64)
        self._spin.setAlignment(Qt.AlignmentFlag.AlignCenter)
        name.setBuddy(self._spin)
        self._cost = QLabel()
        self._cost.setProperty("dim", True)
        self._cost.setAccessibleName("Bitrate")
        self._cost.setFont(figures_font(self.font()))
        tip = (
            "How many of the token rows are decoded (keys: Alt+Up and Alt+Down, or 1 to 6 for 1, 2, 4, 8, 16, 32).\n"
            "The first row is semantic, the others refine the sound step by step; nothing is encoded again."
        )
        for widget in (self._slider, self._spin, self._cost, name):
            widget.setToolTip(tip)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(9)
        for widget in (name, self._slider, self._spin, self._cost):
            layout.addWidget(widget)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setFocusProxy(self._spin)
        self._slider.valueChanged.connect(self._chosen)
        self._spin.valueChanged.connect(self._chosen)
        self._is_compact = True
        self.set_compact(False)
        self.set_value(32)

    def set_compact(self, on: bool) -> None:
        """Say kbit/s only, where there is little room."""
        if on != self._is_compact:
            self._is_compact = on
            widest = "4.40 kbit/s" if on else "4.40 kbit/s · 400 tokens/s"
            self._cost.setMinimumWidth(self._cost.fontMetrics().horizontalAdvance(widest))
            self._show_cost()

    @property
    def value(self) -> int:
        """The number shown."""
        return self._spin.value()

    def set_value(self, num_codebooks: int) -> None:
        """Show a number without announcing it."""
        for widget in (self._slider, self._spin):
            widget.blockSignals(True)
            widget.setValue(num_codebooks)
            widget.blockSignals(False)
        self._show_cost()

    def set_range(self, maximum: int) -> None:
        """Allow 1..``maximum``: what the open tokens or the model have. The value shrinks if it must."""
        value = min(self.value, maximum)
        for widget in (self._slider, self._spin):
            widget.blockSignals(True)
            widget.setRange(1, max(maximum, 1))
            widget.blockSignals(False)
        self.set_value(value)
        self._slider.update()

    def set_info(self, info: Bitrates) -> None:
        """Take rates from this codec."""
        self._info = info
        self._show_cost()

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._slider.theme = theme
        self._slider.update()

    def _chosen(self, value: int) -> None:
        self.set_value(value)
        self.value_changed.emit(value)

    def _show_cost(self) -> None:
        if self._info is None:
            self._cost.setText("")
            return
        tokens = self.value * self._info.frame_rate
        cost = f"{self._info.bitrate_kbps(self.value):.2f} kbit/s"
        self._cost.setText(cost if self._is_compact else f"{cost} · {tokens:g} tokens/s")
