"""How much of each codebook a corpus uses, as bars: its entropy, and the share of its codes that occur. GUI thread
only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from mimi_gui.ui.theme import Theme, figures_font

if TYPE_CHECKING:
    from mimi_gui.corpus_stats import CorpusStats

_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 34, 8, 18, 20
_MOST_BITS = 11.0


class CorpusChart(QWidget):
    """A bar per codebook: height is the entropy in bits, the line across it the share of codes that occur.

    Signals:
        pointed(str): the codebook under the pointer, in words; "" when it left.

    Attributes:
        export_name: what it is called where pictures are saved.
    """

    pointed = Signal(str)
    export_name = "Codebooks of the corpus"

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._bits: tuple[float, ...] = ()
        self._shares: tuple[float, ...] = ()
        self.setMouseTracking(True)
        self.setMinimumSize(200, 110)
        self.setAccessibleName("Entropy and use of each codebook of the corpus")
        self.setToolTip(
            "Bar: bits of entropy of a codebook. Line: share of its codes that occur. Point at one to read it"
        )

    def set_stats(self, stats: CorpusStats | None) -> None:
        """Show these figures, or nothing."""
        self._bits = () if stats is None else stats.entropy_bits
        self._shares = () if stats is None else stats.used_share
        self.setAccessibleDescription("; ".join(self.words(k) for k in range(len(self._bits))))
        self.update()

    def words(self, codebook: int) -> str:
        """Say what one bar shows."""
        bits, share = self._bits[codebook], self._shares[codebook]
        return f"Codebook {codebook}: {bits:.2f} of {_MOST_BITS:.0f} bits, {share:.1%} of its codes occur"

    def sizeHint(self) -> QSize:
        return QSize(280, 130)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(figures_font(self.font()))
        area = self._area()
        painter.fillRect(area, self.theme.color("plot"))
        metrics = painter.fontMetrics()
        for bits in (0, 5, 11):
            y = area.bottom() - bits / _MOST_BITS * area.height()
            painter.setPen(QPen(self.theme.color("grid"), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(self.theme.color("text_dim"))
            label = QRectF(0, y - 8, _LEFT_PX - 6, 16)
            painter.drawText(label, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, str(bits))
        painter.drawText(QPointF(2, metrics.ascent()), "bits")
        if not self._bits:
            return
        width = area.width() / len(self._bits)
        for k, (bits, share) in enumerate(zip(self._bits, self._shares, strict=True)):
            height = min(bits / _MOST_BITS, 1.0) * area.height()
            left = area.left() + k * width
            bar = QRectF(left + 0.12 * width, area.bottom() - height, 0.76 * width, height)
            painter.fillRect(bar, self.theme.color("semantic" if k == 0 else "accent", 0.85))
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(self.theme.color("warning"), 2))
            painter.drawLine(QPointF(left + 0.05 * width, y), QPointF(left + 0.95 * width, y))
        painter.setPen(self.theme.color("text_dim"))
        step = 1 if width >= 18 else 4 if width >= 6 else 8
        for k in range(0, len(self._bits), step):
            label = QRectF(area.left() + k * width - 12 + width / 2, area.bottom() + 3, 24, 14)
            painter.drawText(label, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, str(k))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        area = self._area()
        inside = self._bits and area.left() <= event.position().x() < area.right()
        column = int((event.position().x() - area.left()) / area.width() * len(self._bits)) if inside else -1
        self.pointed.emit(self.words(column) if inside else "")

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit("")

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT_PX, _TOP_PX, -_RIGHT_PX, -_BOTTOM_PX)
