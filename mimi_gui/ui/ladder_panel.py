"""The K-ladder: what each further codebook buys, as a curve of one metric against kbit/s. GUI thread only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from mimi_gui.analysis.ladder import Ladder
from mimi_gui.analysis.metrics import METRICS
from mimi_gui.ui.theme import Theme, figures_font

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext

_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 58, 18, 14, 40
_REACH_PX = 24  # a click takes the nearest point this close, sideways


def round_ticks(low: float, high: float, count: int) -> np.ndarray:
    """About ``count`` round numbers from ``low`` to ``high``; float64 [n], n >= 2 whenever ``high`` > ``low``."""
    if not high > low:
        return np.array([low])
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    ticks = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return ticks if len(ticks) >= 2 else np.array([low, high])


class LadderChart(QWidget):
    """The curve; its points can be clicked, and Left/Right step along them.

    Signals:
        num_codebooks_requested(int): decode with this many codebooks, in place.
        pointed(str): the point under the pointer, in words; "" when it left.
    """

    num_codebooks_requested = Signal(int)
    pointed = Signal(str)
    export_name = "K-ladder"  # where pictures are saved

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._ladder = Ladder()
        self._key = "log_mel"
        self._current = 0
        self._under: int | None = None
        self.setMinimumSize(280, 180)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("What each further codebook buys")
        self.setToolTip("Click a point to hear and see that many codebooks; keys: Left and Right.")

    def set_ladder(self, ladder: Ladder) -> None:
        """Show these rungs; call again as it grows."""
        self._ladder = ladder
        self._describe()
        self.update()

    def set_metric(self, key: str) -> None:
        """Show this metric, a key of :data:`mimi_gui.analysis.metrics.METRICS`."""
        self._key = key
        self._describe()
        self.update()

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Mark the number in use."""
        self._current = num_codebooks
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(420, 260)

    # --- geometry ----------------------------------------------------------------------------------------

    def _area(self) -> QRectF:
        return QRectF(self.rect()).adjusted(_LEFT_PX, _TOP_PX, -_RIGHT_PX, -_BOTTOM_PX)

    def _ranges(self) -> tuple[float, float, float]:
        """Largest kbit/s, and the lowest and highest value shown with some air."""
        _, kbps, values = self._ladder.curve(self._key)
        if len(values) == 0:
            return 1.0, 0.0, 1.0
        low, high = float(values.min()), float(values.max())
        air = 0.08 * (high - low) or max(abs(high), 1.0) * 0.1
        return float(kbps.max()) * 1.02, low - air, high + air

    def points(self) -> list[tuple[int, QPointF]]:
        """``(num_codebooks, place)`` of every point, in logical pixels."""
        ks, kbps, values = self._ladder.curve(self._key)
        area = self._area()
        most, low, high = self._ranges()

        def place(x: float, y: float) -> QPointF:
            up = (y - low) / (high - low)
            return QPointF(area.left() + x / most * area.width(), area.bottom() - up * area.height())

        rungs = zip(ks.tolist(), kbps.tolist(), values.tolist(), strict=True)
        return [(k, place(x, y)) for k, x, y in rungs]

    def _nearest(self, position: QPointF) -> int | None:
        points = self.points()
        if not points:
            return None
        k, place = min(points, key=lambda point: abs(point[1].x() - position.x()))
        return k if abs(place.x() - position.x()) <= _REACH_PX else None

    # --- gestures ----------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        k = self._nearest(event.position())
        if event.button() == Qt.MouseButton.LeftButton and k is not None:
            self.num_codebooks_requested.emit(k)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._under = self._nearest(event.position())
        self.setCursor(Qt.CursorShape.ArrowCursor if self._under is None else Qt.CursorShape.PointingHandCursor)
        self.pointed.emit("" if self._under is None else self.words(self._under))
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._under = None
        self.pointed.emit("")
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        ks = [k for k, _ in self.points()]
        key = Qt.Key(event.key())
        if key not in (Qt.Key.Key_Left, Qt.Key.Key_Right) or not ks:
            super().keyPressEvent(event)
            return
        if key == Qt.Key.Key_Right:
            wanted = next((k for k in ks if k > self._current), ks[-1])
        else:
            wanted = next((k for k in reversed(ks) if k < self._current), ks[0])
        self.num_codebooks_requested.emit(wanted)

    # --- words -------------------------------------------------------------------------------------------

    def words(self, num_codebooks: int) -> str:
        """Say what one rung measured."""
        rung = next((rung for rung in self._ladder.rungs if rung.num_codebooks == num_codebooks), None)
        if rung is None:
            return ""
        result = next((result for result in rung.results if result.metric.key == self._key), None)
        text = "not measured" if result is None else f"{result.metric.name} {result.text}"
        many = "codebook" if num_codebooks == 1 else "codebooks"
        return f"{num_codebooks} {many}   {rung.kbps:.2f} kbit/s   {text}"

    def _describe(self) -> None:
        metric, knee = METRICS[self._key], self._ladder.knee(self._key)
        bend = "no knee" if knee is None else f"knee at {knee} codebooks"
        self.setAccessibleDescription(f"{metric.name} for {len(self._ladder.rungs)} rungs, {bend}")

    # --- drawing -----------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setFont(figures_font(self.font(), scale=0.88))
            painter.setPen(QPen(self.theme.color("border"), 1))
            painter.setBrush(self.theme.color("plot"))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
            points = self.points()
            if not points:
                painter.setPen(self.theme.color("text_faint"))
                words = "Measure to see what each further codebook buys"
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, words)
                return
            self._draw_axes(painter)
            self._draw_curve(painter, points)
            if self.hasFocus():
                painter.setPen(QPen(self.theme.color("accent"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)

    def _draw_axes(self, painter: QPainter) -> None:
        theme, area = self.theme, self._area()
        most, low, high = self._ranges()
        for value in round_ticks(low, high, max(int(area.height() / 45), 2)):
            y = area.bottom() - (value - low) / (high - low) * area.height()
            painter.setPen(QPen(theme.color("grid"), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(theme.color("text_faint"))
            text = f"{value:.6g}".replace("-", "−")
            box = QRectF(0, y - 9, _LEFT_PX - 8, 18)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        for value in round_ticks(0.0, most, max(int(area.width() / 70), 2)):
            x = area.left() + value / most * area.width()
            painter.setPen(QPen(theme.color("grid"), 1))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            painter.setPen(theme.color("text_faint"))
            painter.drawText(QRectF(x - 30, area.bottom() + 4, 60, 16), Qt.AlignmentFlag.AlignCenter, f"{value:g}")
        metric = METRICS[self._key]
        painter.setPen(theme.color("text_dim"))
        line = QRect(0, self.height() - 19, self.width() - _RIGHT_PX, 16)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, "kbit/s")
        unit = f", {metric.unit}" if metric.unit else ""
        way = {"higher": "   higher is closer", "lower": "   lower is closer"}.get(metric.better, "")
        painter.drawText(line.adjusted(12, 0, 0, 0), Qt.AlignmentFlag.AlignLeft, f"{metric.name}{unit}{way}")

    def _draw_curve(self, painter: QPainter, points: list[tuple[int, QPointF]]) -> None:
        theme, area = self.theme, self._area()
        knee = self._ladder.knee(self._key)
        painter.setPen(QPen(theme.color("side_b"), 1.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF([place for _, place in points]))
        for k, place in points:
            if k == knee:
                painter.setPen(QPen(theme.color("semantic"), 1, Qt.PenStyle.DashLine))
                painter.drawLine(QPointF(place.x(), area.top()), QPointF(place.x(), area.bottom()))
                right = place.x() < area.center().x()
                box = QRectF(place.x() + (6 if right else -86), area.top(), 80, 16)
                side = Qt.AlignmentFlag.AlignLeft if right else Qt.AlignmentFlag.AlignRight
                painter.drawText(box, side, f"knee: {k}")
            current = k == self._current
            painter.setPen(QPen(theme.color("playhead"), 2) if current else Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("side_b"))
            size = 6.0 if current else 5.0 if k == self._under else 3.2
            painter.drawEllipse(place, size, size)


class LadderPanel(QWidget):
    """The chart with its metric chooser and the button that starts measuring.

    Signals:
        num_codebooks_requested(int): as of the chart.
        start_requested(): decode and measure every rung, in the background.
        cancel_requested(): stop that.
    """

    num_codebooks_requested = Signal(int)
    start_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chart = LadderChart(theme)
        self._running = False
        self._metric = QComboBox()
        self._metric.setAccessibleName("Metric")
        self._metric.activated.connect(self._metric_chosen)
        self._button = QPushButton("Measure")
        self._button.setAccessibleName("Measure the ladder")
        self._button.setToolTip("Decode with 1, 2, 3 … codebooks and measure each; nothing is encoded again")
        self._button.clicked.connect(self._pressed)
        self._words = QLabel()
        self._words.setProperty("dim", True)
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setMinimumHeight(2 * self._words.fontMetrics().height())
        self._words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._progress = QProgressBar()
        self._progress.setAccessibleName("Rungs measured")
        self._progress.hide()
        top = QHBoxLayout()
        top.addWidget(self._metric, 1)
        top.addWidget(self._button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addLayout(top)
        layout.addWidget(self._progress)
        layout.addWidget(self.chart, 1)
        layout.addWidget(self._words)
        self.chart.num_codebooks_requested.connect(self.num_codebooks_requested)
        self.chart.pointed.connect(self._point)
        self._ladder = Ladder()
        self._fill_metrics(["log_mel", "si_sdr", "stoi"])

    def set_ladder(self, ladder: Ladder, done: int = 0, total: int = 0) -> None:
        """Show the rungs so far; ``done`` of ``total`` while they are measured, 0 of 0 at the end."""
        self._ladder = ladder
        self._running = done < total
        self._button.setText("Cancel" if self._running else "Measure again" if ladder.rungs else "Measure")
        self._progress.setVisible(self._running)
        self._progress.setRange(0, max(total, 1))
        self._progress.setValue(done)
        keys = list(dict.fromkeys(result.metric.key for rung in ladder.rungs for result in rung.results))
        if keys:
            self._fill_metrics(keys)
        self.chart.set_ladder(ladder)
        self._point("")

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Mark the number in use."""
        self.chart.set_num_codebooks(num_codebooks)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.chart.theme = theme
        self.chart.update()

    def _fill_metrics(self, keys: list[str]) -> None:
        if keys == [self._metric.itemData(i) for i in range(self._metric.count())]:
            return
        chosen = self._metric.currentData() or "log_mel"
        self._metric.clear()
        for key in keys:
            self._metric.addItem(METRICS[key].name, key)
            self._metric.setItemData(self._metric.count() - 1, METRICS[key].tooltip, Qt.ItemDataRole.ToolTipRole)
        self._metric.setCurrentIndex(max(self._metric.findData(chosen), 0))
        self._metric_chosen()

    def _metric_chosen(self) -> None:
        key = self._metric.currentData()
        self._metric.setToolTip(METRICS[key].tooltip)
        self.chart.set_metric(key)
        self._point("")

    def _pressed(self) -> None:
        (self.cancel_requested if self._running else self.start_requested).emit()

    def _point(self, words: str) -> None:
        if not words and self._ladder.rungs:
            knee = self._ladder.knee(self._metric.currentData())
            words = (
                "No knee: each codebook buys about as much as the one before."
                if knee is None
                else f"Knee at {self.chart.words(knee)}: further codebooks buy less each."
            )
        self._words.setText(words)


class _Binding(QObject):
    """The panel's ties to the comparison that climbs, and to the session that decodes what is clicked."""

    def __init__(self, panel: LadderPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel = panel
        session, comparison = context.session, context.comparison
        panel.num_codebooks_requested.connect(session.set_num_codebooks)
        panel.start_requested.connect(comparison.climb)
        panel.cancel_requested.connect(comparison.cancel_climbing)
        session.num_codebooks_changed.connect(panel.set_num_codebooks)
        comparison.ladder_changed.connect(self._show)
        panel.set_num_codebooks(session.num_codebooks)
        self._show(comparison.ladder, 0, 0)

    @Slot(object, object, object)
    def _show(self, ladder: Ladder | None, done: int, total: int) -> None:
        self._panel.set_ladder(ladder or Ladder(), done, total)


def build(context: PanelContext) -> LadderPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = LadderPanel(context.theme)
    _Binding(panel, context)
    return panel
