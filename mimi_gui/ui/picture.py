"""Pictures of views at any size: PNG with the pixels of a printer, SVG with shapes and letters. GUI thread only.

A view is posed, drawn and put back before the event loop goes on, so that nothing of it shows on the screen: a lane
gets the picture's size, its theme, and the time axis the picture's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QRegion
from PySide6.QtWidgets import QWidget

from mimi_gui.errors import OutputError
from mimi_gui.ui.lane import GUTTER_PX, MARGIN_PX, Lane
from mimi_gui.ui.plot_strip import Columns
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.timeline import Wall

MM_PER_INCH = 25.4
LOGICAL_DPI = 96.0  # a logical pixel is 1/96 inch, as on the web
MOST_PIXELS = 120_000_000
_RULER_PX = 34
_VECTOR_RATIO = 2.0  # pixels inside a vector picture are this much finer than its logical ones


@dataclass(frozen=True)
class Look:
    """How a picture shall look.

    Attributes:
        width, height: logical pixels; text and lines have their usual size in them.
        ratio: pixels of a PNG per logical pixel.
        axes: whether titles, scales and the ruler are drawn, or the data alone.
    """

    width: int
    height: int
    theme: Theme
    ratio: float = 1.0
    axes: bool = True

    @property
    def pixels(self) -> QSize:
        """Size of the PNG."""
        return QSize(max(round(self.width * self.ratio), 1), max(round(self.height * self.ratio), 1))


@dataclass(frozen=True)
class Subject:
    """What a picture can be taken of: lanes of one wall, or a widget that draws itself by a ``theme``."""

    key: str
    name: str
    lanes: tuple[Lane, ...] = ()
    wall: Wall | None = None
    widget: QWidget | None = None

    def least(self, axes: bool) -> QSize:
        """The smallest logical size that has room for it."""
        if self.widget is not None:
            return self.widget.minimumSize().expandedTo(QSize(120, 90))
        heights = sum(lane.minimumHeight() for lane in self.lanes)
        return QSize(240, heights + (_RULER_PX if axes else 0))


def subjects(wall: Wall, panels: Sequence[QWidget]) -> list[Subject]:
    """The whole wall, each of its lanes in sight, and the charts (``export_name``) in ``panels``."""
    lanes = wall.shown_lanes()
    found = [Subject("wall", "The whole wall", tuple(lanes), wall)]
    found += [Subject(f"lane{i}", lane.accessibleName(), (lane,), wall) for i, lane in enumerate(lanes)]
    for panel in panels:
        for widget in (panel, *panel.findChildren(QWidget)):
            name = getattr(widget, "export_name", "")
            if name:
                found.append(Subject(str(name), str(name), widget=widget))
    return found


def draw(painter: QPainter, subject: Subject, look: Look, *, vector: bool = False) -> None:
    """Draw ``subject`` from 0, 0 in logical pixels.

    Raises:
        OutputError: the size has no room for it.
    """
    least = subject.least(look.axes)
    if look.width < least.width() or look.height < least.height():
        raise OutputError(
            f"{look.width} × {look.height} is too small for {subject.name.lower()}: give it {least.width()} ×"
            f" {least.height()} or more, or smaller text."
        )
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(QRect(0, 0, look.width, look.height), look.theme.color("panel" if look.axes else "plot"))
    if subject.widget is not None:
        with _posed_widget(subject.widget, look):
            subject.widget.render(painter, QPoint(0, 0), QRegion(), QWidget.RenderFlag.DrawChildren)
        return
    assert subject.wall is not None
    with ExitStack() as stack:
        heights = _heights(subject.lanes, look)
        for lane, height in zip(subject.lanes, heights, strict=True):
            stack.enter_context(_posed_lane(lane, look, height))
        stack.enter_context(_posed_axis(subject.wall, look))
        y = 0
        if look.axes:
            subject.wall.ruler.draw(painter)
            y = _RULER_PX
        for lane, height in zip(subject.lanes, heights, strict=True):
            painter.save()
            painter.translate(0, y)
            _draw_lane(painter, lane, look, vector=vector)
            painter.restore()
            y += height


def _heights(lanes: Sequence[Lane], look: Look) -> list[int]:
    """Divide the height as it is divided on the screen, with no lane below its least."""
    room = look.height - (_RULER_PX if look.axes else 0)
    spare = room - sum(lane.minimumHeight() for lane in lanes)
    weights = np.array([max(lane.height() - lane.minimumHeight(), 1) for lane in lanes], float)
    heights = [lane.minimumHeight() + int(spare * w / weights.sum()) for lane, w in zip(lanes, weights, strict=True)]
    heights[-1] += room - sum(heights)
    return heights


def _draw_lane(painter: QPainter, lane: Lane, look: Look, *, vector: bool) -> None:
    rect = lane.plot_rect()
    if look.axes:
        painter.save()
        lane.draw_frame(painter)
        painter.restore()
    painter.save()
    painter.setClipRect(rect)
    painter.fillRect(rect, look.theme.color("plot"))
    if lane.is_empty():
        painter.setPen(look.theme.color("text_faint"))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, lane.placeholder)
        painter.restore()
        return
    ratio = _VECTOR_RATIO if vector else look.ratio
    size = QSize(max(round(rect.width() * ratio), 1), max(round(rect.height() * ratio), 1))
    if not (vector and lane.draw_vector(painter, rect)):
        pixels = np.empty((size.height(), size.width()), np.uint32)
        columns = Columns.in_sight(lane.axis, size.width(), size.height(), ratio)
        lane.prepare(columns)
        if lane.plot_pixels(columns, pixels):
            image = QImage(pixels.data, size.width(), size.height(), pixels.strides[0], QImage.Format.Format_RGB32)
            painter.drawImage(QRectF(rect), image.copy())
    painter.save()
    painter.translate(rect.topLeft())
    painter.scale(rect.width() / size.width(), rect.height() / size.height())
    lane.draw_plot(painter, size, ratio)
    painter.restore()
    if look.axes:
        lane.draw_loop(painter, rect)
    painter.restore()


@contextmanager
def _posed_lane(lane: Lane, look: Look, height: int) -> Iterator[None]:
    before, theme = lane.geometry(), lane.theme
    lane.pose, lane.theme = "axes" if look.axes else "bare", look.theme
    lane.resize(look.width, height)
    try:
        yield
    finally:
        lane.pose, lane.theme = "", theme
        lane.setGeometry(before)
        lane.refresh_frame()


@contextmanager
def _posed_axis(wall: Wall, look: Look) -> Iterator[None]:
    axis, ruler = wall.axis, wall.ruler
    width, geometry, theme = axis.width_px, ruler.geometry(), ruler.theme
    axis.set_width(look.width - GUTTER_PX - MARGIN_PX if look.axes else look.width)
    ruler.theme = look.theme
    ruler.resize(look.width, ruler.height())
    try:
        yield
    finally:
        axis.set_width(width)
        ruler.theme = theme
        ruler.setGeometry(geometry)
        ruler.update()


@contextmanager
def _posed_widget(widget: QWidget, look: Look) -> Iterator[None]:
    before, theme = widget.geometry(), getattr(widget, "theme", None)
    if theme is not None:
        widget.theme = look.theme  # pyright: ignore[reportAttributeAccessIssue] - asked the line before
    widget.resize(look.width, look.height)
    try:
        yield
    finally:
        if theme is not None:
            widget.theme = theme  # pyright: ignore[reportAttributeAccessIssue]
        widget.setGeometry(before)
        widget.update()


def image_of(subject: Subject, look: Look) -> QImage:
    """The picture in pixels, ``look.pixels`` large, with its dots per inch told.

    Raises:
        OutputError: more pixels than can be handled, or no room.
    """
    size = look.pixels
    if size.width() * size.height() > MOST_PIXELS:
        raise OutputError(
            f"{size.width()} × {size.height()} pixels are too many for one picture: stay below"
            f" {MOST_PIXELS // 1_000_000} million, or save an SVG."
        )
    image = QImage(size, QImage.Format.Format_RGB32)
    image.fill(look.theme.color("panel"))
    with QPainter(image) as painter:
        painter.scale(size.width() / look.width, size.height() / look.height)
        draw(painter, subject, look)
    per_meter = round(LOGICAL_DPI * look.ratio / MM_PER_INCH * 1000)
    image.setDotsPerMeterX(per_meter)
    image.setDotsPerMeterY(per_meter)
    return image


def svg_of(subject: Subject, look: Look) -> bytes:
    """The picture as an SVG document of ``look.width`` x ``look.height`` logical pixels.

    Raises:
        OutputError: no room.
    """
    from PySide6.QtSvg import QSvgGenerator

    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(QSize(look.width, look.height))
    generator.setViewBox(QRect(0, 0, look.width, look.height))
    generator.setResolution(round(LOGICAL_DPI))
    generator.setTitle(subject.name)
    with QPainter(generator) as painter:
        draw(painter, subject, look, vector=True)
    buffer.close()
    return bytes(data.data())


def png_bytes(image: QImage) -> bytes:
    """Encode; any thread."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not image.save(buffer, "PNG"):  # pyright: ignore[reportCallIssue, reportArgumentType] - the stubs say bytes
        raise OutputError("The picture could not be encoded as PNG: try a smaller size.")
    buffer.close()
    return bytes(data.data())
