"""A spectrogram on the shared time axis, of one sound or of the difference between two.

Tiles come from :mod:`mimi_gui.analysis.spectrogram` by way of a :class:`~mimi_gui.ui.tile_store.TileStore`; while a
sharp tile is not there yet, a coarser one stands in. GUI thread only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from itertools import pairwise

import numpy as np
from PySide6.QtCore import QObject, QPointF, QRect, Qt, Signal, Slot
from PySide6.QtGui import QMouseEvent, QPainter, QWheelEvent
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis import spectrogram
from mimi_gui.analysis.spectrogram import SpectrogramSettings
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.plot_strip import Columns, paint_levels
from mimi_gui.ui.theme import Theme, difference_table, level_table
from mimi_gui.ui.tile_store import TileStore
from mimi_gui.ui.time_axis import TimeAxis, format_time
from mimi_gui.ui.time_canvas import GUTTER_PX

_COARSER_LEVELS, _FINER_LEVELS = 6, 2  # how far to look for a stand-in
_KEPT_TILES = 512
_TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 6000, 8000, 10_000, 12_000, 16_000, 20_000)
DIFFERENCE_RANGE_DB = 30.0


class FrequencyRange(QObject):
    """Which frequencies all spectrograms show, as shares 0..1 of the rows from low to high.

    Signals:
        changed(): another part is in sight.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.low = 0.0
        self.high = 1.0

    def set_range(self, low: float, high: float) -> None:
        """Show ``[low, high]``, kept inside 0..1 and at least a fiftieth wide."""
        span = min(max(high - low, 0.02), 1.0)
        low = min(max(low, 0.0), 1.0 - span)
        if (low, low + span) != (self.low, self.high):
            self.low, self.high = low, low + span
            self.changed.emit()

    def zoom(self, factor: float, anchor: float) -> None:
        """Show ``1 / factor`` of the rows; the share ``anchor`` stays where it is on screen."""
        span = (self.high - self.low) / factor
        place = (anchor - self.low) / (self.high - self.low)
        self.set_range(anchor - place * span, anchor - place * span + span)


class SpectrogramView(Lane):
    """One spectrogram. With two sounds it shows the second minus the first."""

    def __init__(
        self,
        axis: TimeAxis,
        theme: Theme,
        name: str,
        store: TileStore,
        frequencies: FrequencyRange,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(axis, theme, name, parent)
        self._store = store
        self._frequencies = frequencies
        self._settings = SpectrogramSettings()
        self._color_map = "ember"
        self._sounds: tuple[np.ndarray, ...] = ()
        self._sample_rate = 1
        self._version = 0
        self._gutter_drag: tuple[float, float] | None = None
        self._picked: OrderedDict[Hashable, np.ndarray] = OrderedDict()  # tiles on the rows of pixels in sight
        self._picked_for: tuple[object, ...] = ()
        self._zoom_height = 0  # of the pixels that are drawn while it is zoomed, where these are others than at rest
        self.tints_loop = False
        self.setMinimumHeight(58)
        self.sensible_height = 104
        self.setToolTip(
            "Loudness of each frequency over time. Wheel: zoom in time, at the pointer. Ctrl + wheel: in frequency.\n"
            "On the scale at the left: drag up and down zooms in frequency, double click shows all."
        )
        store.changed.connect(self._tile_made)
        frequencies.changed.connect(self.refresh_frame)

    def set_sound(self, samples: np.ndarray | None, sample_rate: int) -> None:
        """Show this sound, float32 [T], referred to and not copied; None for nothing."""
        self._set_sounds(() if samples is None else (samples,), sample_rate)

    def set_difference(self, first: np.ndarray | None, second: np.ndarray | None, sample_rate: int) -> None:
        """Show ``second`` minus ``first`` in dB, float32 [T] each, over the length that both have."""
        if first is None or second is None:
            self._set_sounds((), sample_rate)
        else:
            length = min(len(first), len(second))
            self._set_sounds((first[:length], second[:length]), sample_rate)

    def set_settings(self, settings: SpectrogramSettings, color_map: str) -> None:
        """Draw with these settings; ``color_map`` is a key of :data:`mimi_gui.ui.theme.COLOR_MAPS`."""
        if (settings, color_map) != (self._settings, self._color_map):
            self._settings, self._color_map = settings, color_map
            self.refresh_frame()

    @property
    def store(self) -> TileStore:
        """Where its tiles come from."""
        return self._store

    def is_empty(self) -> bool:
        return not self._sounds

    def _set_sounds(self, sounds: tuple[np.ndarray, ...], sample_rate: int) -> None:
        self._store.drop(lambda key: isinstance(key, tuple) and key[0] == id(self))
        self._version += 1
        self._sounds, self._sample_rate = sounds, sample_rate
        self.refresh_frame()

    # --- frequencies -------------------------------------------------------------------------------------

    def _share_at(self, y: float) -> float:
        rect = self.plot_rect()
        up = (rect.top() + rect.height() - y) / rect.height()
        return self._frequencies.low + up * (self._frequencies.high - self._frequencies.low)

    def _num_rows(self) -> int:
        return len(spectrogram.row_edges(self._sample_rate, self._settings)) - 1

    def hz_at(self, y: float) -> float:
        """The frequency at ``y`` logical pixels of this widget."""
        return spectrogram.hz_of(self._share_at(y) * self._num_rows(), self._sample_rate, self._settings)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.position().x() < GUTTER_PX and event.button() == Qt.MouseButton.LeftButton:
            self._gutter_drag = (event.position().y(), self._share_at(event.position().y()))
            self.setCursor(Qt.CursorShape.SizeVerCursor)
        else:
            super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._gutter_drag is None:
            super().mouseMoveEvent(event)
            if event.position().x() < GUTTER_PX:
                self.setCursor(Qt.CursorShape.SizeVerCursor)
            return
        last_y, anchor = self._gutter_drag
        self._frequencies.zoom(2.0 ** ((last_y - event.position().y()) / 60), anchor)
        self._gutter_drag = (event.position().y(), anchor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._gutter_drag is not None:
            self._gutter_drag = None
            self.setCursor(Qt.CursorShape.ArrowCursor)
        else:
            super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.position().x() < GUTTER_PX:
            self._frequencies.set_range(0.0, 1.0)
        else:
            super().mouseDoubleClickEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        at_scale = event.position().x() < GUTTER_PX and not self.leaves_wheel(event)
        if at_scale or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._frequencies.zoom(1.25 ** (event.angleDelta().y() / 120), self._share_at(event.position().y()))
            event.accept()
        else:
            super().wheelEvent(event)

    # --- words -------------------------------------------------------------------------------------------

    def describe(self, position: QPointF) -> str:
        if not self._sounds:
            return ""
        time_s, hz = self.time_at(position), max(self.hz_at(position.y()), 0.0)
        note = spectrogram.note_name(hz)
        words = f"{self._title}   {format_time(time_s, 0.001)}   {hz:.0f} Hz" + (f"   {note}" if note else "")
        if time_s * self._sample_rate >= len(self._sounds[0]):
            return words
        levels = [
            max(spectrogram.read_db(sound, self._sample_rate, self._settings, time_s, hz), -150.0)
            for sound in self._sounds
        ]
        if len(levels) == 1:
            return f"{words}   {levels[0]:.1f} dB"
        floored = [max(level, self._settings.floor_db) for level in levels]
        return f"{words}   {floored[1] - floored[0]:+.1f} dB  ({levels[0]:.1f} → {levels[1]:.1f})"

    # --- drawing -----------------------------------------------------------------------------------------

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        if not self._sounds:
            return
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        last_y = float("inf")
        span = self._frequencies.high - self._frequencies.low
        for hz in _TICKS_HZ:
            if hz > self._sample_rate / 2:
                break
            share = spectrogram.row_of(hz, self._sample_rate, self._settings) / self._num_rows()
            place = (share - self._frequencies.low) / span
            y = rect.top() + rect.height() * (1 - place)
            if not 0 <= place <= 1 or last_y - y < 15:
                continue
            last_y = y
            text = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
            painter.drawText(QRect(0, round(y) - 8, rect.width() - 9, 16), flags, text)
            painter.drawLine(rect.width() - 6, round(y), rect.width() - 2, round(y))

    def axis_moved(self) -> None:
        self._store.move()
        if self.visibleRegion().isEmpty():
            self._store.want(self, ())  # scrolled past: it asks when it is painted next
        super().axis_moved()

    @Slot(object)
    def _tile_made(self, key: object) -> None:
        if isinstance(key, tuple) and key[0] == id(self):
            _, _, level, index, settings = key
            if self._zoom_height:
                self._picked_tile(key, self._zoom_height)  # now, and not all of them in the first frame of a zoom
            self.refresh_span(*spectrogram.tile_span_s(self._sample_rate, settings, index, level))

    def prepare(self, columns: Columns | None) -> None:
        wishes: list[tuple[Hashable, Callable[[], np.ndarray]]] = []
        if self._sounds and columns is not None:
            settings = self._settings
            self._zoom_height = columns.halved().height if columns.ratio > 1 else 0
            level = spectrogram.level_for(columns.step_s, self._sample_rate, settings)
            ends_s = np.array([columns.start_s, columns.start_s + columns.step_s, columns.end_s])
            begin, end = self._tile_columns(ends_s, level)
            first, last = int(begin[0]) // spectrogram.TILE_COLUMNS, int(end[-1]) // spectrogram.TILE_COLUMNS
            most = spectrogram.num_tiles(len(self._sounds[0]), settings, level) - 1
            # What comes into sight next is made last.
            for index in (*range(first, last + 1), last + 1, first - 1):
                key = self._key(index, level)
                if 0 <= index <= most and self._store.get(key) is None:
                    wishes.append((key, self._recipe(index, level)))
        self._store.want(self, wishes)

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        if not self._sounds:
            return False
        is_difference = len(self._sounds) == 2
        table = difference_table(self.theme) if is_difference else level_table(self.theme, self._color_map)
        paint_levels(self._visible_levels(columns), table, pixels)
        return True

    def _visible_levels(self, columns: Columns) -> np.ndarray:
        """Levels uint8 [height, num], from the finest tiles that are there."""
        rate = self._sample_rate
        level = spectrogram.level_for(columns.step_s, rate, self._settings)
        upright = np.full((columns.num, columns.height), 128 if len(self._sounds) == 2 else 0, np.uint8)
        edges = columns.edges_s
        inside = np.flatnonzero((edges[:-1] < len(self._sounds[0]) / rate) & (edges[1:] > 0))
        # What has no sharp tile yet is filled from coarser ones, else from finer ones.
        for other in (
            *range(level, level + _COARSER_LEVELS + 1),
            *range(level - 1, max(level - _FINER_LEVELS, 0) - 1, -1),
        ):
            if len(inside) == 0:
                break
            ends = edges[[inside[0], inside[0] + 1, inside[-1], inside[-1] + 1]]
            if self._has_tiles(ends, other):
                inside = self._paint_level(upright, edges, inside, other)
        return np.ascontiguousarray(upright.T)

    def _has_tiles(self, ends_s: np.ndarray, level: int) -> bool:
        """Whether there is any of a level's tiles between the first and the last of these edges."""
        begin, _ = self._tile_columns(ends_s, level)
        first, last = int(begin[0]) // spectrogram.TILE_COLUMNS, int(begin[-1]) // spectrogram.TILE_COLUMNS
        return any(self._store.has(self._key(index, level)) for index in range(first, last + 1))

    def _tile_columns(self, edges_s: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        """First and last column of a level's tiles on each column of pixels, int64 [n] each."""
        settings = self._settings
        step, lead = settings.hop_samples << level, settings.hop_samples / 2
        last = spectrogram.num_columns(len(self._sounds[0]), settings, level) - 1
        places = np.floor((edges_s * self._sample_rate + lead) / step).astype(np.int64)
        begin = np.minimum(np.maximum(places[:-1], 0), last)
        return begin, np.minimum(np.maximum(places[1:] - 1, begin), last)

    def _paint_level(self, upright: np.ndarray, edges_s: np.ndarray, inside: np.ndarray, level: int) -> np.ndarray:
        """Paint the columns ``inside`` (rising) of ``upright``, uint8 [num, height], from the tiles of one level;
        returns those that lack a tile."""
        begin, end = (columns[inside] for columns in self._tile_columns(edges_s, level))
        tiles = begin // spectrogram.TILE_COLUMNS
        starts = [0, *(np.flatnonzero(tiles[1:] != tiles[:-1]) + 1).tolist()]
        missing = np.zeros(len(inside), bool)
        is_whole = int(inside[-1]) - int(inside[0]) == len(inside) - 1  # nothing in between was painted before
        for here in (slice(*pair) for pair in pairwise([*starts, len(tiles)])):
            index = int(tiles[here.start])
            tile = self._picked_tile(self._key(index, level), upright.shape[1])
            if tile is None:
                missing[here] = True
                continue
            first = index * spectrogram.TILE_COLUMNS
            part = np.take(tile, begin[here] - first, axis=0, mode="clip")
            if len(self._sounds) == 1 and np.any(end[here] > begin[here]):
                np.maximum(part, np.take(tile, end[here] - first, axis=0, mode="clip"), out=part)
            if is_whole:
                upright[int(inside[0]) + here.start : int(inside[0]) + here.stop] = part
            else:
                upright[inside[here]] = part
        return inside[missing]

    def _key(self, index: int, level: int) -> tuple[object, ...]:
        return id(self), self._version, level, index, self._settings

    def _recipe(self, index: int, level: int) -> Callable[[], np.ndarray]:
        settings, rate = self._settings, self._sample_rate
        if len(self._sounds) == 1:
            return partial(spectrogram.tile, self._sounds[0], rate, settings, index, level)
        first, second = self._sounds
        return partial(
            spectrogram.difference_tile, first, second, rate, settings, index, level,
            range_db=DIFFERENCE_RANGE_DB,
        )  # fmt: skip

    def _picked_tile(self, key: tuple[object, ...], height: int) -> np.ndarray | None:
        """A tile on its rows of pixels, uint8 [N, height], if it is there; kept while these stay."""
        now = (self._frequencies.low, self._frequencies.high, self._settings, self._version)
        if now != self._picked_for:
            self._picked.clear()
            self._picked_for = now
        place = (height, key)  # two heights: while it is zoomed, and at rest
        picked = self._picked.get(place)
        if picked is None:
            tile = self._store.get(key)
            if tile is None or tile.shape[0] != self._num_rows():
                return None  # not made yet, or it could not be made
            picked = self._picked[place] = np.ascontiguousarray(self._pick_rows(tile, height).T)
            if len(self._picked) > _KEPT_TILES:
                self._picked.popitem(last=False)
        return picked

    def _pick_rows(self, levels: np.ndarray, height: int) -> np.ndarray:
        """Spread the rows in sight over ``height`` pixels, high frequencies on top; uint8 [height, width]."""
        num_rows = levels.shape[0]
        shares = np.linspace(self._frequencies.high, self._frequencies.low, height + 1)
        edges = np.clip(shares * num_rows, 0, num_rows)
        bottom = np.minimum(np.floor(edges[1:]).astype(np.int64), num_rows - 1)
        if len(self._sounds) == 2 or num_rows * (shares[0] - shares[-1]) <= height:
            return np.take(levels, np.minimum(((edges[:-1] + edges[1:]) / 2).astype(np.int64), num_rows - 1), axis=0)
        # More rows than pixels: each pixel shows the loudest of its rows, so that no thin partial vanishes.
        top = np.maximum(np.ceil(edges[:-1]).astype(np.int64), bottom + 1)
        picked = np.take(levels, bottom, axis=0)
        for offset in range(1, int((top - bottom).max())):
            np.maximum(picked, np.take(levels, np.minimum(bottom + offset, top - 1), axis=0), out=picked)
        return picked
