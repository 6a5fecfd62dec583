"""The pixels of a plot on the time axis, kept while it is moved along: only what comes into sight is drawn.

Columns of device pixels have numbers that do not depend on what is in sight, so a picture that is moved is the same
picture. Nothing here knows what is drawn. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtGui import QImage

from mimi_gui.ui.time_axis import TimeAxis

_ROOM = 2  # widths of the plot that are kept


@dataclass(frozen=True)
class Columns:
    """Columns of device pixels: column i of all spans the seconds ``[i * step_s, (i + 1) * step_s)``.

    Attributes:
        first, num: which of them.
        height: device pixels.
        ratio: device pixels per logical pixel.
    """

    first: int
    num: int
    step_s: float
    height: int
    ratio: float

    @classmethod
    def in_sight(cls, axis: TimeAxis, width: int, height: int, ratio: float) -> Columns:
        """What ``axis`` shows on ``width`` columns, moved by half a column at most."""
        step_s = axis.span_s / width
        return cls(round(axis.start_s / step_s), width, step_s, height, ratio)

    @property
    def past(self) -> int:
        """The first column after these."""
        return self.first + self.num

    @property
    def start_s(self) -> float:
        """Where the first begins."""
        return self.first * self.step_s

    @property
    def end_s(self) -> float:
        """Where the last ends."""
        return self.past * self.step_s

    @property
    def edges_s(self) -> np.ndarray:
        """Where each begins and the last ends, float64 [num + 1]."""
        return np.arange(self.first, self.past + 1) * self.step_s

    @property
    def middles_s(self) -> np.ndarray:
        """The middle of each, float64 [num]."""
        return (np.arange(self.first, self.past) + 0.5) * self.step_s

    def x_of(self, seconds: np.ndarray) -> np.ndarray:
        """In which of these columns these seconds lie, int64 [n]; outside of 0 .. num - 1 for others."""
        return np.floor(seconds / self.step_s + 1e-9).astype(np.int64) - self.first

    def halved(self) -> Columns:
        """Columns of twice the length that hold these, on half of the height."""
        first, past = self.first // 2, -(-self.past // 2)
        return Columns(first, past - first, 2 * self.step_s, -(-self.height // 2), self.ratio / 2)

    def between(self, first: int, past: int) -> Columns:
        """Other columns of the same plot."""
        return Columns(first, past - first, self.step_s, self.height, self.ratio)


class PlotStrip:
    """Pixels of more columns than are in sight, 0xffRRGGBB."""

    def __init__(self) -> None:
        self._columns = Columns(0, 0, 1.0, 0, 1.0)  # what is drawn
        self._stale: list[tuple[int, int]] = []  # first and past column of what is drawn but holds no more
        self._base = 0  # the column that the memory begins with
        self._pixels = np.zeros((0, 0), np.uint32)
        self._image = QImage()

    def forget(self) -> None:
        """Draw everything anew when it is shown next."""
        self._columns = self._columns.between(0, 0)

    def forget_span(self, start_s: float, end_s: float) -> None:
        """Draw the columns of this span anew when they are shown next."""
        first, past = (int(x) for x in np.floor(np.array([start_s, end_s]) / self._columns.step_s))
        self._stale.append((first, past + 1))

    def show(self, wanted: Columns, draw: Callable[[Columns, np.ndarray], bool]) -> tuple[QImage, int] | None:
        """Have ``wanted`` drawn as far as it is not there.

        Args:
            draw: paints columns into uint32 [height, num]; False if there are no pixels now, whichever is asked for.

        Returns:
            an image that holds until the next call, and the x in it where ``wanted`` begins; None if ``draw`` refused.
        """
        for part in self._missing(wanted):
            if not draw(part, self._pixels[:, part.first - self._base : part.past - self._base]):
                self.forget()
                return None
        return self._image, wanted.first - self._base

    def _missing(self, wanted: Columns) -> list[Columns]:
        """Make room; returns what of ``wanted`` must be drawn, and counts it as drawn."""
        have = self._columns
        same = have.num > 0 and wanted == have.between(wanted.first, wanted.past)
        same = same and self._pixels.shape[1] == _ROOM * wanted.num
        if not same or wanted.first > have.past or wanted.past < have.first:
            self._reserve(wanted)
            self._base = wanted.first - (self._pixels.shape[1] - wanted.num) // 2
            self._columns, self._stale = wanted, []
            return [wanted]
        width = self._pixels.shape[1]
        if wanted.first < self._base or wanted.past > self._base + width:
            # Move what will still be in sight to where there is room on both sides of it.
            kept = have.between(max(have.first, wanted.first), min(have.past, wanted.past))
            base = wanted.first - (width - wanted.num) // 2
            kept_pixels = self._pixels[:, kept.first - self._base : kept.past - self._base].copy()
            self._pixels[:, kept.first - base : kept.past - base] = kept_pixels
            self._base, have = base, kept
        parts = [wanted.between(wanted.first, have.first), wanted.between(have.past, wanted.past)]
        if self._stale:
            # Only what is in sight is kept, or what is out of sight would have to be remembered.
            have = have.between(max(have.first, wanted.first), min(have.past, wanted.past))
            parts += [have.between(max(a, have.first), min(b, have.past)) for a, b in self._stale]
            self._stale = []
        self._columns = have.between(min(have.first, wanted.first), max(have.past, wanted.past))
        return [part for part in parts if part.num > 0]

    def _reserve(self, wanted: Columns) -> None:
        shape = (wanted.height, _ROOM * wanted.num)
        if self._pixels.shape == shape:
            return  # fresh memory costs a page fault for each 4 kB, on a fine screen more than the drawing
        self._image = QImage()  # before the memory that it borrows
        self._pixels = np.zeros(shape, np.uint32)
        stride = self._pixels.strides[0]
        self._image = QImage(self._pixels.data, shape[1], shape[0], stride, QImage.Format.Format_RGB32)


def paint_levels(levels: np.ndarray, table: np.ndarray, pixels: np.ndarray) -> None:
    """Look up ``levels``, uint8 [height, num], in ``table``, uint32 [256], into ``pixels``, uint32 [height, num].

    Qt does it in half of numpy's time.
    """
    height, width = levels.shape
    indexed = QImage(levels.data, width, height, levels.strides[0], QImage.Format.Format_Indexed8)
    indexed.setColorTable(table.tolist())
    image = indexed.convertToFormat(QImage.Format.Format_RGB32)
    pixels[...] = np.frombuffer(image.constBits(), np.uint32).reshape(height, width)
