"""Mouth to ear, measured: one number, and the parts it is made of as a bar. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from mimi_gui.live import LiveFigures
from mimi_gui.ui.theme import Theme, figures_font

_SCALE_MS = 400.0  # the bar's length, unless the latency is more
_PARTS = (("frame", "side_a"), ("codec", "semantic"), ("devices", "side_b"))


class LatencyBar(QWidget):
    """Shows ``LiveFigures``; empty until a frame was heard."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._parts_ms: tuple[float, ...] = ()
        self._total_ms: float | None = None
        self.setFixedHeight(52)
        self.setMinimumWidth(460)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Latency from mouth to ear")
        self.setToolTip(
            "Measured for each frame, from when it was said to when it is heard: the frame has to be full (80 ms),\n"
            "the codec has to encode and decode it, and the devices have buffers. Bluetooth adds 100 to 300 ms."
        )

    def set_figures(self, figures: LiveFigures) -> None:
        """Show these."""
        if figures.latency_s is None or figures.device_s is None:
            self._parts_ms, self._total_ms = (), None
        else:
            parts_s = (figures.frame_s, figures.compute_s, max(figures.device_s, 0.0))
            self._parts_ms = tuple(1000 * part for part in parts_s)
            self._total_ms = 1000 * figures.latency_s
        self.setAccessibleDescription(self.words)
        self.update()

    @property
    def words(self) -> str:
        """What is shown, for a screen reader."""
        if self._total_ms is None:
            return "not measured yet"
        parts = ", ".join(f"{name} {ms:.0f}" for (name, _), ms in zip(_PARTS, self._parts_ms, strict=True))
        return f"{self._total_ms:.0f} milliseconds: {parts}"

    def sizeHint(self) -> QSize:
        return QSize(480, 52)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setFont(figures_font(self.font(), scale=1.9, bold=True))
            painter.setPen(theme.color("text" if self._total_ms is not None else "text_faint"))
            number = "— ms" if self._total_ms is None else f"{self._total_ms:.0f} ms"
            flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, 0, 128, self.height()), flags, number)
            groove = QRectF(128, 10, max(self.width() - 132, 1), 12)
            painter.setPen(QPen(theme.color("border"), 1))
            painter.setBrush(theme.color("plot"))
            painter.drawRoundedRect(groove, 4, 4)
            scale = groove.width() / max(_SCALE_MS, self._total_ms or 0.0)
            small = figures_font(self.font(), scale=0.9)
            painter.setFont(small)
            metrics = painter.fontMetrics()
            left, words_left = groove.left(), groove.left()
            for (name, color), ms in zip(_PARTS, self._parts_ms, strict=False):
                part = QRectF(left, groove.top(), max(ms * scale - 1, 1), groove.height())
                painter.fillRect(part, theme.color(color))
                left += ms * scale
                painter.fillRect(QRectF(words_left, groove.bottom() + 11, 8, 8), theme.color(color))
                words = f"{name} {ms:.0f} ms"
                painter.setPen(theme.color("text_dim"))
                painter.drawText(QRectF(words_left + 13, groove.bottom() + 4, 130, 22), flags, words)
                words_left += 13 + metrics.horizontalAdvance(words) + 14
