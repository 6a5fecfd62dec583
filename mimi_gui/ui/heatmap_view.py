"""Tokens over time: one row per codebook, one column per 80 ms frame, one colour per code.

Codes are names. From near every cell is painted in its code's own colour; nothing is interpolated. Where
several frames share a pixel no single code could stand for them (picking one would invent patterns), so the
view changes to usage: how many *different* tokens occur in each bin, from one repeated token to all
different. The title says which of the two is shown. GUI thread only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFont, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QWidget

from mimi_gui.analysis.token_usage import TokenUsage
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.plot_strip import Columns
from mimi_gui.ui.theme import Theme, code_indices, code_table, figures_font, usage_table
from mimi_gui.ui.time_axis import TimeAxis, format_time

_GAP_PX = 3  # between the semantic row and the acoustic ones
_MIN_GRID_PX = 7  # cells this large stand apart
_MIN_NAME_PX, _MIN_NAME_HEIGHT_PX = 34, 13  # cells this large show their token's number


class FrameGrid(Protocol):
    """What the heatmap needs of :class:`mimi_gui.codes.CodecInfo`."""

    @property
    def cardinality(self) -> int: ...
    @property
    def num_semantic_codebooks(self) -> int: ...
    def frame_to_s(self, frame: float) -> float: ...
    def s_to_frame(self, seconds: float) -> int: ...


class HeatmapView(Lane):
    """The token heatmap, drawn from an array that may still be filling.

    Signals:
        cell_clicked(int, int): a click on the token of this codebook and frame.
        cell_requested(int, int): a double click.
        rows_dragged(int, int): a drag that selects a loop went from this codebook to that one.
    """

    cell_clicked = Signal(int, int)
    cell_requested = Signal(int, int)
    rows_dragged = Signal(int, int)

    def __init__(self, axis: TimeAxis, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, "Tokens", parent)
        self._codes: np.ndarray | None = None
        self._grid: FrameGrid | None = None
        self._ready = 0
        self._active = 0
        self._heard_set: frozenset[int] | None = None
        self._mark_counts: np.ndarray | None = None  # int32 [K, T + 1]: marked cells before each frame
        self._mark_color = self._mark_words = ""
        self._selection: tuple[int, int, int, int] | None = None
        self._other: tuple[np.ndarray, str] | None = None
        self._usage: TokenUsage | None = None
        self.tints_loop = False
        self.setMinimumHeight(92)
        self.sensible_height = 152  # 32 rows of more than three pixels
        self.setToolTip(
            "Each cell is one token: what a codebook chose for 80 ms of sound.\n"
            "Equal colour in a row = equal token.\n"
            "The first row is semantic: what is said. The others are acoustic: how it sounds.\n"
            "Click: play from here, and light up the token wherever it occurs. Double click: more about it.\n"
            "Drag: select a loop. Wheel: zoom at the pointer."
        )

    def set_codes(self, codes: np.ndarray | None, grid: FrameGrid | None, num_ready: int | None = None) -> None:
        """Show ``codes`` (integer [K, T], referred to, not copied); ``num_ready`` frames hold codes so
        far."""
        self._codes, self._grid = codes, grid
        self._usage = None if codes is None else TokenUsage(codes)
        self._mark_counts = None
        self._ready = 0 if codes is None else codes.shape[1] if num_ready is None else num_ready
        self.refresh_frame()

    def set_ready(self, num_frames: int) -> None:
        """The first ``num_frames`` frames hold codes now; they never change again."""
        self._ready = num_frames
        self.refresh()

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Dim the rows beyond the first ``num_codebooks``: they are not decoded. 0 dims none."""
        if num_codebooks != self._active or self._heard_set is not None:
            self._active, self._heard_set = num_codebooks, None
            self.refresh_frame()

    def set_heard_codebooks(self, codebooks: Iterable[int]) -> None:
        """Dim all rows but these: what a mixer decodes. :meth:`set_num_codebooks` ends it."""
        self._heard_set = frozenset(codebooks)
        self.refresh_frame()

    def set_marks(self, mask: np.ndarray | None, color: str = "", words: str = "") -> None:
        """Light up the cells where ``mask`` (bool [K, T]) is True and dim all others; None ends it.

        ``color`` names a colour of the theme to paint them in (a diff); "" leaves them their codes' colours
        (the occurrences of a code). From afar a bin is marked if one of its cells is. ``words`` say what is marked,
        beside the title.
        """
        self._mark_color, self._mark_words = color, words if mask is not None else ""
        if mask is None:
            self._mark_counts = None
        else:
            self._mark_counts = np.zeros((mask.shape[0], mask.shape[1] + 1), np.int32)
            np.cumsum(mask, axis=1, out=self._mark_counts[:, 1:])
        self.refresh()

    def set_selection(self, cells: tuple[int, int, int, int] | None) -> None:
        """Put a frame around what an edit would change; None takes it away.

        ``cells``: first codebook, last codebook, first frame, past the last frame.
        """
        if cells != self._selection:
            self._selection = cells
            self.update()

    def set_other(self, codes: np.ndarray | None, name: str = "") -> None:
        """Tell what ``codes``, integer [K, T], have where the pointer is; ``name`` says whose they are."""
        self._other = None if codes is None else (codes, name)

    def axis_moved(self) -> None:
        self._name_view()
        super().axis_moved()

    def refresh(self) -> None:
        self._name_view()
        super().refresh()

    def _name_view(self) -> None:
        """Say beside the title what is marked, or that this is usage."""
        note = self._mark_words
        if not note and self._grid is not None and not self.is_empty():
            per_bin = self.frames_per_bin(self._frames_per_px())
            if per_bin > 1:
                seconds = self._grid.frame_to_s(per_bin)
                note = f"from afar: how many different tokens per {per_bin} frames ({seconds:g} s)"
        if note != self.note:
            self.note = note
            self._frame = None

    def is_empty(self) -> bool:
        return self._codes is None or self._codes.size == 0

    # --- geometry ----------------------------------------------------------------------------------------

    def _row_edges(self, height: float) -> np.ndarray:
        """Tops of the rows and the bottom of the last, float64 [K + 1]; the semantic rows stand apart."""
        assert self._codes is not None
        assert self._grid is not None
        num_rows = self._codes.shape[0]
        semantic = min(self._grid.num_semantic_codebooks, num_rows)
        if semantic == num_rows:
            return np.linspace(0, height, num_rows + 1)
        unit = height / (num_rows + semantic)  # a semantic row is twice as tall
        acoustic = 2 * semantic + np.arange(num_rows - semantic + 1)
        return np.concatenate([np.arange(semantic) * 2, acoustic]) * unit

    def _gap(self, edges: np.ndarray, ratio: float = 1.0) -> float:
        """Between the semantic rows and the others, in the pixels of ``edges``; less where rows are thin."""
        return min(_GAP_PX * ratio, 0.5 * float(edges[1] - edges[0]))

    def row_at(self, y: float) -> int | None:
        """The codebook under ``y`` logical pixels of this widget, or None."""
        rect = self.plot_rect()
        if self._codes is None or self._grid is None or not rect.top() <= y < rect.bottom() + 1:
            return None
        row = int(np.searchsorted(self._row_edges(rect.height()), y - rect.top(), side="right")) - 1
        return row if 0 <= row < self._codes.shape[0] else None

    def _is_semantic(self, row: int) -> bool:
        return self._grid is not None and row < self._grid.num_semantic_codebooks

    def frames_per_bin(self, frames_per_px: float) -> int:
        """1 while every frame gets a device pixel, else the power of two that fits a pixel."""
        return 1 if frames_per_px <= 1.0 else 2 ** math.ceil(math.log2(frames_per_px))

    def cell_at(self, position: QPointF) -> tuple[int, int] | None:
        """Codebook and frame under a point of this widget, where there is a token."""
        row = self.row_at(position.y())
        if row is None or self._grid is None:
            return None
        frame = self._grid.s_to_frame(self.time_at(position))
        return (row, frame) if 0 <= frame < self._ready else None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_at(event.position())
        if cell is not None:
            self.cell_requested.emit(*cell)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if self.selects and self._codes is not None:
            rect, last = self.plot_rect(), self._codes.shape[0] - 1
            ends = (self._pressed_at.y(), event.position().y())
            first, second = (self.row_at(min(max(y, rect.top()), rect.bottom())) for y in ends)
            self.rows_dragged.emit(first or 0, last if second is None else second)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        is_click = self.is_pressed and event.button() == Qt.MouseButton.LeftButton
        super().mouseReleaseEvent(event)
        cell = self.cell_at(event.position()) if is_click else None
        if cell is not None:
            self.cell_clicked.emit(*cell)

    # --- words -------------------------------------------------------------------------------------------

    def describe(self, position: QPointF) -> str:
        row = self.row_at(position.y())
        if row is None or self._codes is None or self._grid is None:
            return ""
        time_s = self.time_at(position)
        frame = self._grid.s_to_frame(time_s)
        kind = "semantic" if self._is_semantic(row) else "acoustic"
        words = f"codebook {row} ({kind})   frame {frame}   {format_time(self._grid.frame_to_s(frame), 0.01)}"
        if not 0 <= frame < self._ready:
            return words
        code = int(self._codes[row, frame])
        words = f"{words}   token {code}"
        if self._other is not None:
            other, name = self._other
            if row < other.shape[0] and frame < other.shape[1]:
                words += "   the same" if int(other[row, frame]) == code else f"   {int(other[row, frame])}"
                words += f" in {name}"
        per_bin = self.frames_per_bin(self._frames_per_px())
        if per_bin > 1:
            first = frame // per_bin * per_bin
            part = self._codes[row, first : min(first + per_bin, self._ready)]
            words += f"   ({len(np.unique(part))} different tokens in these {len(part)} frames)"
        if not self._heard_rows(self._codes.shape[0])[row]:
            words += "   not decoded"
        return words

    def _frames_per_px(self) -> float:
        assert self._grid is not None
        return self.axis.seconds_per_px / self.devicePixelRatioF() / self._grid.frame_to_s(1)

    # --- drawing -----------------------------------------------------------------------------------------

    def draw_scale(self, painter: QPainter, rect: QRect) -> None:
        if self._codes is None or self._grid is None:
            return
        edges = self._row_edges(rect.height())
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        num_rows = self._codes.shape[0]
        for row in range(num_rows):
            semantic = self._is_semantic(row)
            if not semantic and row % 8 and row != num_rows - 1:
                continue
            middle = rect.top() + (edges[row] + edges[row + 1]) / 2
            painter.setPen(self.theme.color("semantic" if semantic else "text_faint"))
            label = "semantic" if row == 0 and semantic else str(row)
            painter.drawText(QRectF(0, middle - 8, rect.width() - 8, 16), flags, label)
        bottom = edges[min(self._grid.num_semantic_codebooks, num_rows)]
        painter.fillRect(
            QRectF(rect.width() - 4, rect.top(), 2, bottom - min(_GAP_PX, bottom / 4)),
            self.theme.color("semantic"),
        )

    def plot_pixels(self, columns: Columns, pixels: np.ndarray) -> bool:
        codes, grid = self._codes, self._grid
        if codes is None or grid is None:
            return False
        frame_s = grid.frame_to_s(1)
        frames = np.floor(columns.middles_s / frame_s).astype(np.int64)
        num_inside = int(np.searchsorted(frames, self._ready))
        frames = frames[:num_inside]
        per_bin = self.frames_per_bin(columns.step_s / frame_s)
        if per_bin == 1:
            cells, table = self._token_cells(frames), code_table
        else:
            cells, table = self._usage_cells(frames // per_bin, per_bin), usage_table
        num_rows = codes.shape[0]
        colors = np.full((num_rows, columns.num), self.theme.color("plot").rgb(), np.uint32)
        heard = self._heard_rows(num_rows)
        bright = np.take(table(self.theme), cells, mode="clip")
        if not heard.all() or self._mark_counts is not None:
            faint = np.take(table(self.theme, dimmed=True), cells, mode="clip")
            marked = self._marked_cells(frames // per_bin, per_bin)
            if marked is not None and self._mark_color:
                bright[...] = self.theme.color(self._mark_color).rgb()
            shown = np.broadcast_to(heard[:, None], cells.shape) if marked is None else marked
            bright = np.where(shown, bright, faint)
        colors[:, :num_inside] = bright
        edges = self._pixel_edges(columns.height, columns.ratio)
        for row, color in enumerate(colors):
            pixels[edges[row] : edges[row + 1]] = color
        self._cut_cells(pixels, edges, columns)
        return True

    def _heard_rows(self, num_rows: int) -> np.ndarray:
        """Which rows are decoded, bool [K]."""
        heard = np.ones(num_rows, bool)
        if self._heard_set is not None:
            heard[:] = False
            heard[[row for row in self._heard_set if row < num_rows]] = True
        elif self._active:
            heard[self._active :] = False
        return heard

    def _marked_cells(self, bins: np.ndarray, per_bin: int) -> np.ndarray | None:
        """Which of these bins hold a marked cell, bool [K, n]; None while nothing is marked."""
        if self._mark_counts is None:
            return None
        most = self._mark_counts.shape[1] - 1
        begin, end = np.minimum(bins * per_bin, most), np.minimum((bins + 1) * per_bin, most)
        return np.take(self._mark_counts, end, axis=1) > np.take(self._mark_counts, begin, axis=1)

    def _pixel_edges(self, height: int, ratio: float) -> np.ndarray:
        return np.round(self._row_edges(height / ratio) * ratio).astype(int)

    def _cut_cells(self, pixels: np.ndarray, edges: np.ndarray, columns: Columns) -> None:
        """Part the semantic rows from the others, and large cells from each other."""
        assert self._grid is not None
        ground = self.theme.color("plot").rgb()
        semantic = min(self._grid.num_semantic_codebooks, len(edges) - 1)
        if semantic < len(edges) - 1:
            pixels[edges[semantic] - round(self._gap(edges, columns.ratio)) : edges[semantic]] = ground
        frame_s = self._grid.frame_to_s(1)
        if frame_s / columns.step_s < _MIN_GRID_PX * columns.ratio:
            return
        frames = np.arange(math.floor(columns.start_s / frame_s), math.ceil(columns.end_s / frame_s) + 1)
        x = columns.x_of(frames * frame_s)
        pixels[:, x[(x >= 0) & (x < columns.num)]] = ground
        if edges[-1] - edges[-2] >= _MIN_GRID_PX * columns.ratio:
            pixels[edges[semantic:-1]] = ground

    def draws_over(self, columns: Columns) -> bool:
        if self._codes is None or self._grid is None:
            return False
        marks_active = 0 < self._active < self._codes.shape[0] and self._heard_set is None
        grows = self._ready < self._codes.shape[1]
        return marks_active or grows or self._grid.frame_to_s(1) / columns.step_s >= _MIN_NAME_PX * columns.ratio

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        codes, grid = self._codes, self._grid
        if codes is None or grid is None:
            return
        width, height = size.width(), size.height()
        edges = self._pixel_edges(height, ratio)
        pen_width = max(round(ratio), 1)
        if 0 < self._active < codes.shape[0] and self._heard_set is None:
            y = int(edges[self._active])
            painter.setPen(QPen(self.theme.color("text_dim"), pen_width, Qt.PenStyle.DashLine))
            painter.drawLine(0, y, width, y)
        head_px = (grid.frame_to_s(self._ready) - self.axis.start_s) / self.axis.span_s * width
        if self._ready < codes.shape[1] and 0 <= head_px < width:
            painter.setPen(QPen(self.theme.color("accent"), pen_width))
            painter.drawLine(int(head_px), 0, int(head_px), height)
        cell_px = grid.frame_to_s(1) / self.axis.span_s * width
        if cell_px >= _MIN_NAME_PX * ratio:
            self._draw_names(painter, edges, cell_px, round(self._gap(edges, ratio)), ratio)

    def draw_loop(self, painter: QPainter, rect: QRect) -> None:
        super().draw_loop(painter, rect)
        if self._selection is None or self._codes is None or self._grid is None:
            return
        edges = self._row_edges(rect.height())
        first, last = (min(row, len(edges) - 2) for row in self._selection[:2])
        left, right = (self.x_at(self._grid.frame_to_s(frame)) for frame in self._selection[2:])
        bottom = edges[last + 1] - (self._gap(edges) if self._is_semantic(last) else 0)
        box = QRectF(left, rect.top() + edges[first], right - left, bottom - edges[first])
        painter.setClipRect(rect)
        for color, width in (("plot", 4.0), ("loop", 2.0)):
            painter.setPen(QPen(self.theme.color(color), width))
            painter.drawRect(box.adjusted(1, 1, -1, -1))
        painter.setClipping(False)

    def _token_cells(self, frames: np.ndarray) -> np.ndarray:
        """Colour indices uint8 [K, n] of the codes at these frames."""
        assert self._codes is not None
        assert self._grid is not None
        if len(frames) == 0:
            return np.zeros((self._codes.shape[0], 0), np.uint8)
        first, last = int(frames[0]), int(frames[-1]) + 1
        semantic = self._grid.num_semantic_codebooks
        part = self._codes[:, first:last]
        cells = np.empty(part.shape, np.uint8)
        cells[:semantic] = code_indices(self._grid.cardinality, semantic=True)[part[:semantic]]
        cells[semantic:] = code_indices(self._grid.cardinality, semantic=False)[part[semantic:]]
        return np.take(cells, frames - first, axis=1)

    def _usage_cells(self, bins: np.ndarray, per_bin: int) -> np.ndarray:
        """Usage uint8 [K, n] of these bins, rising."""
        if len(bins) == 0 or self._usage is None:
            return np.zeros((0 if self._codes is None else self._codes.shape[0], 0), np.uint8)
        first = int(bins[0])
        return np.take(self._usage.read(per_bin, first, int(bins[-1]) + 1, self._ready), bins - first, axis=1)

    def _draw_names(self, painter: QPainter, edges: np.ndarray, cell_px: float, gap: int, ratio: float) -> None:
        """Write each token's number into cells that have room for it."""
        assert self._codes is not None
        assert self._grid is not None
        frame_s = self._grid.frame_to_s(1)
        font = QFont(figures_font(self.font()))
        first = math.floor(self.axis.start_s / frame_s)
        last = min(math.ceil(self.axis.end_s / frame_s), self._ready)
        heard = self._heard_rows(self._codes.shape[0])
        for row in range(self._codes.shape[0]):
            room = int(edges[row + 1] - edges[row]) - (gap if self._is_semantic(row) else 0)
            if room < _MIN_NAME_HEIGHT_PX * ratio:
                break
            font.setPixelSize(min(room - round(3 * ratio), round(cell_px / 3.4), round(15 * ratio)))
            painter.setFont(font)
            if not heard[row] and self._mark_counts is None:
                continue
            table = code_table(self.theme)
            painted = self.theme.color(self._mark_color).rgb() if self._mark_color else None
            indices = code_indices(self._grid.cardinality, semantic=self._is_semantic(row))
            for frame in range(first, last):
                if self._mark_counts is not None and not np.diff(self._mark_counts[row, frame : frame + 2]).any():
                    continue  # dimmed
                code = int(self._codes[row, frame])
                painter.setPen(_ink_on(int(table[indices[code]]) if painted is None else painted))
                x = (frame * frame_s - self.axis.start_s) / frame_s * cell_px
                cell = QRectF(x, edges[row], cell_px, room)
                painter.drawText(cell, Qt.AlignmentFlag.AlignCenter, str(code))


def _ink_on(packed: int) -> Qt.GlobalColor:
    red, green, blue = packed >> 16 & 255, packed >> 8 & 255, packed & 255
    return Qt.GlobalColor.black if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else Qt.GlobalColor.white
