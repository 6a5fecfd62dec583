"""Tokens over time: one row per codebook, one column per 80 ms frame, one colour per code.

Codes are names. From near every cell is painted in its code's own colour; nothing is interpolated. Where
several frames share a pixel no single code could stand for them (picking one would invent patterns), so the
view changes to usage: how many *different* tokens occur in each bin, from one repeated token to all
different. The title says which of the two is shown. GUI thread only.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QImage, QPainter, QPen
from PySide6.QtWidgets import QWidget

from mimi_gui.ui.lane import Lane
from mimi_gui.ui.theme import Theme, code_indices, code_table, figures_font, usage_table
from mimi_gui.ui.time_axis import TimeAxis, format_time

_GAP_PX = 3  # between the semantic row and the acoustic ones
_MIN_GRID_PX = 7  # cells this large stand apart


class FrameGrid(Protocol):
    """What the heatmap needs of :class:`mimi_gui.codes.CodecInfo`."""

    @property
    def cardinality(self) -> int: ...
    @property
    def num_semantic_codebooks(self) -> int: ...
    def frame_to_s(self, frame: float) -> float: ...
    def s_to_frame(self, seconds: float) -> int: ...


class HeatmapView(Lane):
    """The token heatmap, drawn from an array that may still be filling."""

    def __init__(self, axis: TimeAxis, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(axis, theme, "Tokens", parent)
        self._codes: np.ndarray | None = None
        self._grid: FrameGrid | None = None
        self._ready = 0
        self._active = 0
        self._usage: dict[int, tuple[int, np.ndarray]] = {}
        self.tints_loop = False
        self.setMinimumHeight(120)
        self.setToolTip(
            "Each cell is one token: what a codebook chose for 80 ms of sound.\n"
            "Equal colour in a row = equal token.\n"
            "The first row is semantic: what is said. The others are acoustic: how it sounds.\n"
            "Click: play from here. Drag: select a loop. Wheel: zoom at the pointer."
        )

    def set_codes(
        self, codes: np.ndarray | None, grid: FrameGrid | None, num_ready: int | None = None
    ) -> None:
        """Show ``codes`` (integer [K, T], referred to, not copied); ``num_ready`` frames hold codes so
        far."""
        self._codes, self._grid = codes, grid
        self._usage.clear()
        self._ready = 0 if codes is None else codes.shape[1] if num_ready is None else num_ready
        self.refresh_frame()

    def set_ready(self, num_frames: int) -> None:
        """The first ``num_frames`` frames hold codes now; they never change again."""
        self._ready = num_frames
        self.refresh()

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Dim the rows beyond the first ``num_codebooks``: they are not decoded. 0 dims none."""
        if num_codebooks != self._active:
            self._active = num_codebooks
            self.refresh_frame()

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
        per_bin = self.frames_per_bin(self._frames_per_px())
        if per_bin > 1:
            first = frame // per_bin * per_bin
            part = self._codes[row, first : min(first + per_bin, self._ready)]
            words += f"   ({len(np.unique(part))} different tokens in these {len(part)} frames)"
        if self._active and row >= self._active:
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
            QRectF(rect.width() - 4, rect.top(), 2, bottom - _GAP_PX), self.theme.color("semantic")
        )

    def draw_plot(self, painter: QPainter, size: QSize, ratio: float) -> None:
        codes, grid = self._codes, self._grid
        if codes is None or grid is None:
            return
        width, height = size.width(), size.height()
        times = self.axis.start_s + (np.arange(width) + 0.5) * (self.axis.span_s / width)
        frame_s = grid.frame_to_s(1)
        frames = np.floor(times / frame_s).astype(np.int64)
        per_bin = self.frames_per_bin(self.axis.span_s / width / frame_s)
        inside = frames < self._ready
        num_inside = int(np.count_nonzero(inside))
        frames = frames[:num_inside]
        num_rows = codes.shape[0]
        if per_bin == 1:
            cells = self._token_cells(frames)
        else:
            cells = self._usage_of(per_bin)[:, frames // per_bin]
        edges = np.round(self._row_edges(height / ratio) * ratio).astype(int)
        active = self._active or num_rows
        semantic = min(grid.num_semantic_codebooks, num_rows)
        gap = round(_GAP_PX * ratio) if semantic < num_rows else 0
        table = code_table if per_bin == 1 else usage_table
        for first, last, dimmed in ((0, active, False), (active, num_rows, True)):
            for begin, end in ((first, min(last, semantic)), (max(first, semantic), last)):
                if end <= begin or num_inside == 0:
                    continue
                heights = np.diff(edges[begin : end + 1])
                if begin < semantic:
                    heights[-1] -= gap
                image = _indexed(np.repeat(cells[begin:end], heights, axis=0))
                image.setColorTable(table(self.theme, dimmed=dimmed))
                painter.drawImage(0, int(edges[begin]), image)
        self._draw_cell_lines(painter, size, edges, semantic, gap)
        if active < num_rows:
            y = int(edges[active])
            painter.setPen(QPen(self.theme.color("text_dim"), max(round(ratio), 1), Qt.PenStyle.DashLine))
            painter.drawLine(0, y, width, y)
        if num_inside < width and self._ready < codes.shape[1]:
            painter.setPen(QPen(self.theme.color("accent"), max(round(ratio), 1)))
            painter.drawLine(num_inside, 0, num_inside, height)

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
        return cells[:, frames - first]

    def _usage_of(self, per_bin: int) -> np.ndarray:
        """Share of different tokens in each bin of ``per_bin`` frames, uint8 [K, num_bins], 1..255."""
        assert self._codes is not None
        num_rows = self._codes.shape[0]
        done, known = self._usage.get(per_bin, (0, np.zeros((num_rows, 0), np.uint8)))
        if done < self._ready:
            whole = done // per_bin  # a bin that was cut short by the end is counted again
            fresh = usage_per_bin(self._codes[:, whole * per_bin : self._ready], per_bin)
            known = np.concatenate([known[:, :whole], fresh], axis=1)
            self._usage[per_bin] = (self._ready, known)
        return known

    def _draw_cell_lines(
        self, painter: QPainter, size: QSize, edges: np.ndarray, semantic: int, gap: int
    ) -> None:
        assert self._grid is not None
        frame_s = self._grid.frame_to_s(1)
        cell_px = frame_s / self.axis.span_s * size.width()
        painter.setPen(QPen(self.theme.color("plot"), 1))
        if cell_px >= _MIN_GRID_PX:
            first = math.ceil(self.axis.start_s / frame_s)
            last = min(math.floor(self.axis.end_s / frame_s), self._ready)
            for frame in range(first, last + 1):
                x = int((frame * frame_s - self.axis.start_s) / self.axis.span_s * size.width())
                painter.drawLine(x, 0, x, size.height())
        if len(edges) > 1 and edges[-1] - edges[-2] >= _MIN_GRID_PX and cell_px >= _MIN_GRID_PX:
            for y in edges[semantic:]:
                painter.drawLine(0, int(y), size.width(), int(y))
        if cell_px >= 34 and edges[1] - edges[0] - gap >= 13:
            self._draw_names(painter, size, edges, cell_px, gap)

    def _draw_names(
        self, painter: QPainter, size: QSize, edges: np.ndarray, cell_px: float, gap: int
    ) -> None:
        """Write each token's number into cells that have room for it."""
        assert self._codes is not None
        assert self._grid is not None
        frame_s = self._grid.frame_to_s(1)
        font = QFont(figures_font(self.font()))
        first = math.floor(self.axis.start_s / frame_s)
        last = min(math.ceil(self.axis.end_s / frame_s), self._ready)
        for row in range(self._codes.shape[0]):
            room = int(edges[row + 1] - edges[row]) - (gap if self._is_semantic(row) else 0)
            if room < 13:
                break
            font.setPixelSize(min(room - 3, round(cell_px / 3.4), 22))
            painter.setFont(font)
            table = code_table(self.theme, dimmed=bool(self._active) and row >= self._active)
            indices = code_indices(self._grid.cardinality, semantic=self._is_semantic(row))
            for frame in range(first, last):
                code = int(self._codes[row, frame])
                painter.setPen(_ink_on(table[indices[code]]))
                x = (frame * frame_s - self.axis.start_s) / self.axis.span_s * size.width()
                painter.drawText(
                    QRectF(x, edges[row], cell_px, room), Qt.AlignmentFlag.AlignCenter, str(code)
                )


def usage_per_bin(codes: np.ndarray, per_bin: int) -> np.ndarray:
    """Measure how varied the tokens of each bin are.

    Args:
        codes: integer [K, T].
        per_bin: frames per bin; the last bin may be shorter.

    Returns:
        uint8 [K, ceil(T / per_bin)]: 1 where one token fills the bin, 255 where all of them differ.
    """
    num_rows, num_frames = codes.shape
    num_whole = num_frames // per_bin
    parts = []
    for block in (
        codes[:, : num_whole * per_bin].reshape(num_rows, num_whole, per_bin),
        codes[:, num_whole * per_bin :].reshape(num_rows, -1, num_frames - num_whole * per_bin)
        if num_frames > num_whole * per_bin
        else None,
    ):
        if block is None or block.size == 0:
            continue
        ordered = np.sort(block, axis=-1)
        steps = np.count_nonzero(ordered[..., 1:] != ordered[..., :-1], axis=-1)
        parts.append(1 + np.round(254 * steps / max(block.shape[-1] - 1, 1)))
    if not parts:
        return np.zeros((num_rows, 0), np.uint8)
    return np.concatenate(parts, axis=1).astype(np.uint8)


def _indexed(cells: np.ndarray) -> QImage:
    """Wrap uint8 [H, W] as an indexed image; Qt wants rows padded to four bytes."""
    height, width = cells.shape
    stride = (width + 3) // 4 * 4
    pixels = np.zeros((height, stride), np.uint8)
    pixels[:, :width] = cells
    image = QImage(pixels.data, width, height, stride, QImage.Format.Format_Indexed8)
    image.pixels = pixels  # pyright: ignore[reportAttributeAccessIssue]
    return image


def _ink_on(packed: int) -> Qt.GlobalColor:
    red, green, blue = packed >> 16 & 255, packed >> 8 & 255, packed & 255
    return Qt.GlobalColor.black if 0.3 * red + 0.59 * green + 0.11 * blue > 120 else Qt.GlobalColor.white
