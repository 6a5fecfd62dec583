"""The lanes of a wall, one under the other: they fill the height, or scroll where it is too little for them.

A lane is never made so low that it says nothing: where the least sensible heights do not fit, the lanes get exactly
these and a scroll bar stands in their right margin, over no plot. A grip under each lane changes its height. GUI
thread only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QScrollBar, QSizePolicy, QWidget

from mimi_gui.ui.lane import Lane
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_canvas import MARGIN_PX

_GRIP_PX = 6  # what a lane leaves free under its plot
_LEAST_PX = 150
_WHEEL_STEP_PX = 20  # a notch is three of them
_MOST_PX = 20_000


def divided(room: int, weights: Sequence[float], floors: Sequence[int]) -> list[int]:
    """Heights that fill ``room`` in the ratio of ``weights`` (> 0), none below its floor; more than ``room`` if the
    floors are."""
    if sum(floors) >= room:
        return list(floors)
    free = list(range(len(floors)))
    while True:
        left = room - sum(floor for place, floor in enumerate(floors) if place not in free)
        total = sum(weights[place] for place in free)
        fits = [place for place in free if left * weights[place] / total >= floors[place]]
        if fits == free:
            break
        free = fits
    heights, given, so_far = list(floors), 0, 0.0
    for place in free:  # rounded so that they add up
        so_far += left * weights[place] / total
        heights[place] = int(so_far + 0.5) - given
        given += heights[place]
    return heights


class _Grip(QWidget):
    """The line under a lane, which drags its lower edge."""

    def __init__(self, stack: LaneStack, lane: Lane, parent: QWidget) -> None:
        super().__init__(parent)
        self._stack, self._lane = stack, lane
        self._dragged_from: tuple[float, list[int]] | None = None
        self.setCursor(Qt.CursorShape.SplitVCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setToolTip("Drag: height of the view above. Double click: all heights as at first.")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragged_from = (event.globalPosition().y(), self._stack.heights())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._dragged_from is not None:
            y, heights = self._dragged_from
            self._stack.resize_lane(self._lane, heights, round(event.globalPosition().y() - y))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._dragged_from = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._stack.share_out()

    def paintEvent(self, event: QPaintEvent) -> None:
        lit = self.underMouse() or self._dragged_from is not None
        with QPainter(self) as painter:
            color = self._stack.theme.color("accent" if lit else "border")
            painter.fillRect(0, self.height() - 1, self.width(), 1, color)


class LaneStack(QWidget):
    """Lanes from top to bottom.

    Signals:
        arranged(): lanes stand elsewhere or have other heights.
        overflowed(bool): whether they scroll has changed.
    """

    arranged = Signal()
    overflowed = Signal(bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._lanes: list[Lane] = []
        self._grips: dict[Lane, _Grip] = {}
        self._weights: dict[Lane, float] = {}  # as they were added
        self._shares: dict[Lane, float] = {}  # as the person wants them
        self._floors: dict[Lane, int] = {}
        self._inner = QWidget(self)
        self._bar = QScrollBar(Qt.Orientation.Vertical, self)
        self._bar.setProperty("bar", True)  # on a ground of its own, as the margin that it covers
        self._bar.setSingleStep(_WHEEL_STEP_PX)
        self._bar.setAccessibleName("Scroll through the views")
        self._bar.setToolTip(
            "There are more views than fit. Drag, or turn the wheel here or over the scales at the left.\n"
            "Keys: Shift+Up, Shift+Down."
        )
        self._bar.valueChanged.connect(self._place)
        self._bar.hide()
        self.setMinimumHeight(_LEAST_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def set_theme(self, theme: Theme) -> None:
        """Draw the lines in the colours of ``theme``; the lanes are told by others."""
        self.theme = theme
        for grip in self._grips.values():
            grip.update()

    # --- which -------------------------------------------------------------------------------------------

    def add(self, lane: Lane, weight: float, index: int | None = None) -> None:
        """Show one more lane, at ``index`` from the top (hidden ones count), else at the end."""
        lane.setParent(self._inner)
        self._lanes.insert(len(self._lanes) if index is None else index, lane)
        self._grips[lane] = _Grip(self, lane, self._inner)
        self._weights[lane] = weight
        lane.show()
        self.share_out()

    def place_of(self, lane: Lane) -> int:
        """Where this lane stands from the top, 0 the first; hidden ones count."""
        return self._lanes.index(lane)

    def shown(self) -> list[Lane]:
        """The lanes that are not hidden, from the top, in sight or scrolled past."""
        return [lane for lane in self._lanes if not lane.isHidden()]

    # --- heights -----------------------------------------------------------------------------------------

    def heights(self) -> list[int]:
        """Of the lanes shown, from the top, logical pixels."""
        return [lane.height() for lane in self.shown()]

    def share_out(self) -> None:
        """Divide the height anew among the lanes that are shown, by their weights."""
        self._shares = dict(self._weights)
        self._floors = {lane: lane.sensible_height for lane in self._lanes}
        self._arrange()

    def resize_lane(self, lane: Lane, before: Sequence[int], by: int) -> None:
        """Make ``lane`` lower or higher by so many pixels than in ``before``, the heights of all lanes shown.

        While the lanes fit, those below give or take; what they cannot give, and everything once the lanes scroll,
        changes the height of the whole.
        """
        lanes = self.shown()
        place, room = lanes.index(lane), self.height()
        heights = list(before)
        heights[place] = max(before[place] + by, lane.minimumHeight())
        owed = sum(heights) - room
        if sum(before) <= room:
            for below in range(place + 1, len(lanes)):
                left = max(heights[below] - owed, lanes[below].minimumHeight())
                owed -= heights[below] - left
                heights[below] = left
        if owed < 0:
            heights[min(place + 1, len(lanes) - 1)] -= owed
        self._keep(dict(zip(lanes, heights, strict=True)), room)

    def save_state(self) -> bytes:
        """The heights of the lanes that are shown."""
        return json.dumps({"room": self.height(), "heights": self.heights()}).encode()

    def restore_state(self, state: bytes) -> None:
        """Divide the height as :meth:`save_state` found it; what it did not write for as many lanes changes nothing."""
        try:
            saved = json.loads(state)
        except ValueError:  # not text, or not JSON
            return
        if not isinstance(saved, dict) or not isinstance(saved.get("heights"), list):
            return
        lanes, room, heights = self.shown(), saved.get("room"), saved["heights"]
        whole = all(type(value) is int and 0 < value <= _MOST_PX for value in (room, *heights))
        if isinstance(room, int) and whole and len(heights) == len(lanes):
            self._keep(dict(zip(lanes, heights, strict=True)), room)

    def _keep(self, heights: dict[Lane, int], room: int) -> None:
        """Have these heights from now on, which were made for ``room``."""
        overflows = sum(heights.values()) > room
        for lane, height in heights.items():
            self._shares[lane] = height
            self._floors[lane] = max(height if overflows else min(height, lane.sensible_height), lane.minimumHeight())
        self._arrange()

    def _arrange(self) -> None:
        lanes = self.shown()
        heights = divided(self.height(), [self._shares[lane] for lane in lanes], [self._floors[lane] for lane in lanes])
        hidden = max(sum(heights) - self.height(), 0)
        y = 0
        for lane, height in zip(lanes, heights, strict=True):
            lane.setGeometry(0, y, self.width(), height)
            lane.scrolls_views = hidden > 0
            y += height
            self._grips[lane].setGeometry(0, y - _GRIP_PX, self.width(), _GRIP_PX)
        for lane, grip in self._grips.items():
            grip.raise_()
            grip.setVisible(not lane.isHidden() and (lane is not lanes[-1] or hidden > 0))
        self._inner.resize(self.width(), max(y, self.height()))
        self._bar.setGeometry(self.width() - MARGIN_PX, 0, MARGIN_PX, self.height())
        self._bar.setPageStep(max(self.height(), 1))
        self._bar.setRange(0, hidden)
        if self._bar.isHidden() == (hidden > 0):
            self._bar.setVisible(hidden > 0)
            self.overflowed.emit(hidden > 0)
        self._place()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._arrange()

    # --- scrolling ---------------------------------------------------------------------------------------

    @property
    def overflows(self) -> bool:
        """Whether there are more lanes than fit, so that they scroll."""
        return self._bar.maximum() > 0

    def bring_into_sight(self, lane: Lane) -> None:
        """Scroll as little as it takes to see all of ``lane``, or its top where it is higher than the view."""
        top = max(self._bar.value(), lane.y() + lane.height() - self.height())
        self._bar.setValue(min(top, lane.y()))

    def step(self, down: bool) -> None:
        """Scroll until the next lane begins at the top, or the one before it."""
        tops, now = [lane.y() for lane in self.shown()], self._bar.value()
        if down:
            self._bar.setValue(min((top for top in tops if top > now), default=now))
        else:
            self._bar.setValue(max((top for top in tops if top < now), default=0))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """What the lanes leave to it: the wheel over their scales."""
        if self.overflows:
            QApplication.sendEvent(self._bar, event)
            event.accept()
        else:
            event.ignore()

    def _place(self) -> None:
        self._inner.move(0, -self._bar.value())
        self.arranged.emit()
