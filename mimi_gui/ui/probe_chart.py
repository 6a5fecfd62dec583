"""How steady the tokens are, as a picture: lines for the semantic and the acoustic codebooks, a cell for each. GUI
thread only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from mimi_gui.ui.theme import Theme, figures_font, ramp_table

if TYPE_CHECKING:
    from mimi_gui.analysis.probe import Steadiness

_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 44, 12, 22, 42
_GAP_PX = 10  # between the kinds of disturbance
_TITLES = {"shift": "shift, samples", "gain": "gain, dB", "noise": "noise, dB below", "context": "context, frames"}


class ProbeChart(QWidget):
    """A column per disturbance: on top the share of equal tokens as lines, below a cell per codebook.

    Signals:
        pointed(str): the cell under the pointer, in words; "" when it left.

    Attributes:
        export_name: what it is called where pictures are saved.
    """

    pointed = Signal(str)
    export_name = "Stability probe"

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._results: tuple[Steadiness, ...] = ()
        self._num_semantic = 1
        self.setMinimumSize(300, 200)
        self.setMouseTracking(True)
        self.setAccessibleName("Share of tokens that stay the same")
        self.setToolTip("How many tokens stay the same when the recording is disturbed; point at a cell to read it")

    def set_results(self, results: Sequence[Steadiness], num_semantic: int = 1) -> None:
        """Show these, in their order; ``num_semantic``: how many codebooks from 0 are semantic."""
        self._results, self._num_semantic = tuple(results), num_semantic
        self.setAccessibleDescription("; ".join(self.words(i) for i in range(len(self._results))))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(460, 360)

    # --- words -------------------------------------------------------------------------------------------

    def words(self, column: int, codebook: int | None = None) -> str:
        """Say what one disturbance did, to all codebooks or to one."""
        result = self._results[column]
        if not result.num_frames:
            return f"{result.disturbance.label}: n/a, {result.reason}"
        if codebook is not None:
            share = result.share[codebook]
            return f"codebook {codebook}, {result.disturbance.label}: {share:.0%} of {result.num_frames} tokens stay"
        semantic, acoustic = self._means(result)
        rest = "" if acoustic is None else f", acoustic {acoustic:.0%}"
        return f"{result.disturbance.label}: semantic {semantic:.0%}{rest} of {result.num_frames} frames stay"

    def _means(self, result: Steadiness) -> tuple[float, float | None]:
        semantic, acoustic = result.share[: self._num_semantic], result.share[self._num_semantic :]
        return float(semantic.mean()), float(acoustic.mean()) if len(acoustic) else None

    # --- geometry ----------------------------------------------------------------------------------------

    def _columns(self) -> list[QRectF]:
        """Where each column stands, over the whole height of the plot, in logical pixels."""
        kinds = [result.disturbance.kind for result in self._results]
        gaps = sum(a != b for a, b in pairwise(kinds))
        area = QRectF(self.rect()).adjusted(_LEFT_PX, _TOP_PX, -_RIGHT_PX, -_BOTTOM_PX)
        width = (area.width() - gaps * _GAP_PX) / max(len(kinds), 1)
        rects, x = [], area.left()
        for i, kind in enumerate(kinds):
            if i and kind != kinds[i - 1]:
                x += _GAP_PX
            rects.append(QRectF(x, area.top(), width, area.height()))
            x += width
        return rects

    def _split(self, column: QRectF) -> tuple[QRectF, QRectF]:
        """The line part and the cell part of a column."""
        top = QRectF(column)
        top.setHeight(0.36 * column.height())
        return top, QRectF(column.left(), top.bottom() + 12, column.width(), column.height() - top.height() - 12)

    def _num_codebooks(self) -> int:
        return max((len(result.share) for result in self._results), default=0)

    def _cell_at(self, position: QPointF) -> tuple[int, int | None] | None:
        for column, rect in enumerate(self._columns()):
            if rect.contains(position):
                _, cells = self._split(rect)
                if not cells.contains(position) or not self._results[column].num_frames:
                    return column, None
                row = int((position.y() - cells.top()) / cells.height() * self._num_codebooks())
                return column, min(row, self._num_codebooks() - 1)
        return None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self._cell_at(event.position())
        self.pointed.emit("" if cell is None else self.words(*cell))

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit("")

    # --- drawing -----------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = self.theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setFont(figures_font(self.font(), scale=0.82))
            painter.setPen(QPen(theme.color("border"), 1))
            painter.setBrush(theme.color("plot"))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
            if not self._results:
                painter.setPen(theme.color("text_faint"))
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "Probe to see how steady the tokens are")
                return
            columns = self._columns()
            self._draw_scales(painter, columns)
            for result, column in zip(self._results, columns, strict=True):
                self._draw_cells(painter, result, self._split(column)[1])
            self._draw_lines(painter, columns)
            self._draw_amounts(painter, columns)

    def _draw_scales(self, painter: QPainter, columns: list[QRectF]) -> None:
        theme = self.theme
        top, cells = self._split(columns[0])
        right = columns[-1].right()
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share in (0.0, 0.5, 1.0):
            y = top.bottom() - share * top.height()
            painter.setPen(QPen(theme.color("grid"), 1))
            painter.drawLine(QPointF(top.left(), y), QPointF(right, y))
            painter.setPen(theme.color("text_faint"))
            painter.drawText(QRectF(0, y - 8, _LEFT_PX - 6, 16), flags, f"{share:.0%}")
        count = self._num_codebooks()
        for k in range(count):
            if k >= self._num_semantic and k % 8 and k != count - 1:
                continue
            y = cells.top() + (k + 0.5) * cells.height() / count
            painter.setPen(theme.color("semantic" if k < self._num_semantic else "text_faint"))
            painter.drawText(QRectF(0, y - 8, _LEFT_PX - 6, 16), flags, str(k))
        x = _LEFT_PX
        for color, words in (("semantic", "semantic"), ("side_b", "acoustic, mean")):
            painter.fillRect(QRectF(x, 10, 14, 3), theme.color(color))
            painter.setPen(theme.color("text_dim"))
            room = painter.fontMetrics().horizontalAdvance(words) + 4
            painter.drawText(QRectF(x + 19, 3, room, 16), Qt.AlignmentFlag.AlignVCenter, words)
            x += 19 + room + 12

    def _draw_cells(self, painter: QPainter, result: Steadiness, cells: QRectF) -> None:
        if not result.num_frames:
            painter.fillRect(cells.adjusted(1, 0, -1, 0), QColor(self.theme.color("grid")))
            return
        table = ramp_table(self.theme.raised, self.theme.accent)
        count = self._num_codebooks()
        height = cells.height() / count
        for k, share in enumerate(result.share):
            color = QColor.fromRgb(int(table[round(float(np.clip(share, 0, 1)) * 255)]))
            gap = 1.0 if height > 4 else 0.0
            cell = QRectF(cells.left() + 0.5, cells.top() + k * height, cells.width() - 1, height - gap)
            painter.fillRect(cell, color)

    def _draw_lines(self, painter: QPainter, columns: list[QRectF]) -> None:
        for color, which in (("side_b", 1), ("semantic", 0)):
            line: list[QPointF] = []
            kind = ""
            for result, column in zip(self._results, columns, strict=True):
                if result.disturbance.kind != kind:
                    self._draw_line(painter, line, color)
                    line, kind = [], result.disturbance.kind
                value = self._means(result)[which] if result.num_frames else None
                if value is not None:
                    top, _ = self._split(column)
                    line.append(QPointF(column.center().x(), top.bottom() - value * top.height()))
            self._draw_line(painter, line, color)

    def _draw_line(self, painter: QPainter, line: list[QPointF], color: str) -> None:
        painter.setPen(QPen(self.theme.color(color), 1.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if len(line) > 1:
            painter.drawPolyline(QPolygonF(line))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.theme.color(color))
        for point in line:
            painter.drawEllipse(point, 2.6, 2.6)

    def _draw_amounts(self, painter: QPainter, columns: list[QRectF]) -> None:
        theme = self.theme
        groups: dict[str, QRectF] = {}
        last_right = 0.0
        for result, column in zip(self._results, columns, strict=True):
            done = result.disturbance
            groups[done.kind] = groups.get(done.kind, column).united(column)
            text = f"{done.amount:+g}" if done.kind == "gain" else f"{done.amount:g}"
            text = text.replace("-", "−")
            half = painter.fontMetrics().horizontalAdvance(text) / 2 + 2
            if column.center().x() - half < last_right:
                continue  # no room beside its neighbour
            last_right = column.center().x() + half
            painter.setPen(theme.color("text_dim"))
            box = QRectF(column.center().x() - half, column.bottom() + 3, 2 * half, 15)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        for kind, rect in groups.items():
            painter.setPen(theme.color("text_faint"))
            words = painter.fontMetrics().elidedText(_TITLES[kind], Qt.TextElideMode.ElideRight, int(rect.width() + 8))
            box = QRectF(rect.left() - 6, rect.bottom() + 20, rect.width() + 12, 16)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)
