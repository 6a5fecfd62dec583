"""A spectrogram of a sound that is still coming, on a time axis that moves with it. GUI thread only."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis import spectrogram
from mimi_gui.analysis.running_spectrogram import RunningSpectrogram
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.plot_strip import Columns
from mimi_gui.ui.theme import Theme, level_table
from mimi_gui.ui.time_axis import TimeAxis

_TICKS_HZ = (100, 500, 1000, 2000, 4000, 8000, 12_000)


class RunningLane(Lane):
    """Shows the newest seconds of a :class:`RunningSpectrogram`; call ``refresh`` when it has grown."""

    def __init__(self, axis: TimeAxis, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, name, parent)
        self._running: RunningSpectrogram | None = None

    def set_running(self, running: RunningSpectrogram | None) -> None:
        """Show this one from now on."""
        self._running = running
        self.refresh_frame()

    def is_empty(self) -> bool:
        return self._running is None

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        running = self._running
        if running is None:
            return False
        places = np.round(columns.middles_s * running.sample_rate / running.settings.hop_samples).astype(np.int64)
        levels = _rows(running.read(places), columns.height)
        pixels[...] = np.take(level_table(self.theme), levels, mode="clip")
        return True

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        running = self._running
        if running is None:
            return
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        last_y = float("inf")
        for hz in _TICKS_HZ:
            share = spectrogram.row_of(hz, running.sample_rate, running.settings) / running.num_rows
            y = rect.top() + rect.height() * (1 - share)
            if last_y - y < 15 or hz >= running.sample_rate / 2:
                continue
            last_y = y
            text = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
            painter.drawText(QRect(0, round(y) - 8, rect.width() - 9, 16), flags, text)
            painter.drawLine(rect.width() - 6, round(y), rect.width() - 2, round(y))


def _rows(levels: np.ndarray, height: int) -> np.ndarray:
    """Spread rows (uint8 [F, n], low frequencies first) over ``height`` pixels, high ones on top: the loudest of
    those that share a pixel, so that no thin partial vanishes."""
    num_rows = levels.shape[0]
    if num_rows <= height:
        picked = (np.arange(height) * num_rows) // height
        return levels[picked][::-1]
    edges = (np.arange(height) * num_rows) // height
    return np.maximum.reduceat(levels, edges, axis=0)[::-1]
