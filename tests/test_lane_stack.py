"""More views than fit: they scroll, the ruler and the playhead stay right, and a person changes their heights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QScrollBar, QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo
from mimi_gui.ui import sound_output
from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.lane_stack import _Grip as Grip
from mimi_gui.ui.lane_stack import divided
from mimi_gui.ui.picture import Look, image_of, subjects
from mimi_gui.ui.spectrogram_view import SpectrogramView
from mimi_gui.ui.theme import DARK
from mimi_gui.ui.time_canvas import GUTTER_PX, MARGIN_PX
from mimi_gui.ui.timeline import Wall
from tests.test_main_window import House

RATE = 24_000
SECONDS = 4.0
LEFT = Qt.MouseButton.LeftButton
Many = tuple[Wall, AnalysisLanes]


@pytest.fixture
def many(qtbot: QtBot) -> Iterator[Many]:
    """A wall with all eight lanes and half of the height that they need."""
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal(int(SECONDS * RATE)) * 0.1).astype(np.float32)
    wall = Wall(DARK)
    qtbot.addWidget(wall)
    wall.set_duration(SECONDS)
    wall.set_source(Envelope.from_samples(samples, RATE), "Original — noise")
    wall.set_reconstruction(Envelope.from_samples(samples * 0.5, RATE), "Reconstruction — softer")
    wall.set_codes(rng.integers(0, 2048, (32, 50), dtype=np.int16), CodecInfo())
    wall.resize(1000 + GUTTER_PX + MARGIN_PX, 480)
    wall.show()
    lanes = AnalysisLanes(wall)
    lanes.set_sounds(samples, samples * np.float32(0.5), RATE)
    lanes.set_difference(Envelope.from_samples(samples * -0.5, RATE))
    for kind in LANE_KINDS:
        lanes.show(kind.key)
    QApplication.processEvents()
    yield wall, lanes
    lanes.close()


def view_of(wall: Wall) -> QRect:
    """Where lanes are seen, in the wall's pixels."""
    return wall._stack.geometry()


def place(wall: Wall, lane: QWidget) -> QRect:
    return QRect(lane.mapTo(wall, QPoint(0, 0)), lane.size())


def scroll_bar(wall: Wall) -> QScrollBar:
    (bar,) = [bar for bar in wall.findChildren(QScrollBar) if bar.orientation() == Qt.Orientation.Vertical]
    return bar


def turn(wall: Wall, widget: QWidget, at: QPoint, notches: int, keys: Qt.KeyboardModifier | None = None) -> None:
    """Turn the wheel at a point of ``widget``, as the window system tells it: to whoever is seen there."""
    point = widget.mapTo(wall, at)
    assert widget is scroll_bar(wall) or view_of(wall).contains(point)
    window = wall.windowHandle()
    assert window is not None
    keys = keys or Qt.KeyboardModifier.NoModifier
    QTest.wheelEvent(window, QPointF(point), QPoint(0, 120 * notches), QPoint(), keys)
    QApplication.processEvents()


def tiles_are_there(lane: SpectrogramView) -> bool:
    lane.grab()
    return all(lane.store.get(key) is not None for key, _ in lane.store.wishes(lane))


def drag_grip(wall: Wall, lane: Lane, by: int) -> None:
    """Drag the line under ``lane`` as a person does, in steps."""
    grip = next(grip for grip in wall.findChildren(Grip) if grip._lane is lane)
    assert grip.isVisible()
    edge = place(wall, lane).bottom()
    start = grip.mapToGlobal(QPoint(400, 3))
    assert abs(grip.mapTo(wall, QPoint(0, 3)).y() - edge) <= 3
    QTest.mousePress(grip, LEFT, pos=QPoint(400, 3))
    for step in (by // 3, by):
        QTest.mouseMove(grip, grip.mapFromGlobal(start + QPoint(0, step)))
    QTest.mouseRelease(grip, LEFT, pos=grip.mapFromGlobal(start + QPoint(0, by)))


def test_a_height_is_divided_by_weights_above_the_floors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        num = int(rng.integers(1, 9))
        weights, floors = rng.uniform(1, 6, num).tolist(), rng.integers(40, 160, num).tolist()
        room = int(rng.integers(100, 1500))
        heights = divided(room, weights, floors)
        assert sum(heights) == max(room, sum(floors))
        assert all(height >= floor for height, floor in zip(heights, floors, strict=True))
        per_weight = [h / w for h, w, floor in zip(heights, weights, floors, strict=True) if h > floor]
        lifted = [h / w for h, w, floor in zip(heights, weights, floors, strict=True) if h == floor]
        if per_weight:
            assert max(per_weight) - min(per_weight) <= 1.01  # a pixel, at the smallest weight
            assert all(share >= min(per_weight) - 1.01 for share in lifted)


def test_few_lanes_fill_the_height_and_nothing_scrolls(qtbot: QtBot) -> None:
    wall = Wall(DARK)
    qtbot.addWidget(wall)
    wall.resize(1000, 480)
    wall.show()
    QApplication.processEvents()
    heights = [lane.height() for lane in wall.shown_lanes()]
    assert sum(heights) == view_of(wall).height()
    assert heights[2] / heights[0] == pytest.approx(5 / 3, abs=0.02)
    assert heights[0] == pytest.approx(heights[1], abs=1)
    assert not scroll_bar(wall).isVisible()
    turn(wall, wall.source, QPoint(20, 40), -3)
    assert place(wall, wall.source).top() == view_of(wall).top()


def test_all_lanes_are_high_enough_and_scroll_past_a_ruler_that_stays(many: Many) -> None:
    wall, _ = many
    lanes, bar, view = wall.shown_lanes(), scroll_bar(wall), view_of(wall)
    assert len(lanes) == 8
    assert bar.isVisible()
    assert all(lane.plot_rect().height() >= 34 for lane in lanes)
    assert wall.heatmap.plot_rect().height() >= 3 * 33
    ruler = wall.ruler.plot_rect().translated(place(wall, wall.ruler).topLeft())
    for lane in lanes:
        plot = lane.plot_rect().translated(place(wall, lane).topLeft())
        assert (plot.left(), plot.right()) == (ruler.left(), ruler.right())
        assert plot.right() < bar.mapTo(wall, QPoint(0, 0)).x()
    above = wall.grab(QRect(0, 0, wall.width(), view.top())).toImage()
    seen: set[Lane] = set()
    for value in range(0, bar.maximum() + 1, 40):
        bar.setValue(value)
        assert place(wall, lanes[0]).top() == view.top() - value
        seen |= {lane for lane in lanes if view.contains(place(wall, lane))}
        assert wall.grab(QRect(0, 0, wall.width(), view.top())).toImage() == above
    bar.setValue(bar.maximum())
    assert place(wall, lanes[-1]).bottom() == view.bottom()
    assert seen | {lanes[-1]} == set(lanes)


@pytest.mark.parametrize("value", [0, 50, 131, 10_000])
def test_the_playhead_runs_through_what_is_in_sight_only(many: Many, value: int) -> None:
    wall, _ = many
    wall.set_position(1.5)
    scroll_bar(wall).setValue(value)
    QApplication.processEvents()
    image, view, x = wall.grab().toImage(), view_of(wall), GUTTER_PX + 375
    color = DARK.color("playhead").rgb()
    full = {y for y in range(view.top(), view.bottom() + 1) if image.pixel(x, y) == color}
    expected: set[int] = set()
    for lane in wall.shown_lanes():
        plot = lane.plot_rect().translated(place(wall, lane).topLeft())
        expected |= set(range(max(plot.top(), view.top()), min(plot.bottom(), view.bottom()) + 1))
    assert full == expected
    assert not [y for y in range(view.bottom() + 1, wall.height()) if image.pixel(x, y) == color]


class Count(QObject):
    """Which widgets were painted."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: set[QObject] = set()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            self.painted.add(watched)
        return False


def test_what_is_scrolled_past_is_neither_painted_nor_made(many: Many, qtbot: QtBot) -> None:
    wall, _ = many
    count = Count()
    for lane in wall.shown_lanes():
        lane.installEventFilter(count)
    for value in (0, scroll_bar(wall).maximum()):
        scroll_bar(wall).setValue(value)
        qtbot.wait(100)
        count.painted.clear()
        wall.axis.set_range(0.5 + value / 1000, 1.5 + value / 1000)
        in_sight = {lane for lane in wall.shown_lanes() if place(wall, lane).intersects(view_of(wall))}
        qtbot.waitUntil(lambda expected=in_sight: count.painted == expected, timeout=5000)
        assert len(in_sight) < 8
        for lane in wall.shown_lanes():
            if isinstance(lane, SpectrogramView) and lane not in in_sight:
                assert not lane.store.wishes(lane)


def test_a_lane_that_comes_into_sight_shows_the_seconds_of_now(many: Many, qtbot: QtBot) -> None:
    wall, _ = many
    qtbot.wait(100)
    wall.axis.set_range(1.0, 1.5)  # the heatmap is out of sight
    assert not place(wall, wall.heatmap).intersects(view_of(wall))
    wall.bring_into_sight(wall.heatmap)
    qtbot.waitUntil(lambda: not wall.heatmap.is_zooming, timeout=5000)
    image = wall.grab().toImage()
    fresh = image_of(next(s for s in subjects(wall, []) if s.lanes == (wall.heatmap,)),
                     Look(wall.width(), wall.heatmap.height() + 34, DARK))  # fmt: skip
    plot = wall.heatmap.plot_rect()
    top = place(wall, wall.heatmap).top()
    assert view_of(wall).contains(place(wall, wall.heatmap))
    for y in range(plot.top(), plot.bottom()):
        for x in range(plot.left(), plot.right(), 37):
            assert image.pixel(x, top + y) == fresh.pixel(x, 34 + y)


def test_the_wheel_scrolls_over_the_scales_and_zooms_over_the_plots(many: Many) -> None:
    wall, lanes = many
    bar = scroll_bar(wall)
    for lane in wall.shown_lanes():
        wall.bring_into_sight(lane)
        before = bar.value()
        notch = 1 if before > bar.maximum() / 2 else -1
        turn(wall, lane, QPoint(20, 45), notch)
        assert (before - bar.value()) * notch > 0
    assert wall.axis.is_fitted
    bar.setValue(0)
    turn(wall, bar, QPoint(5, 45), -1)
    assert bar.value() > 0
    view = lanes._lanes["spectrogram_a"]
    assert isinstance(view, SpectrogramView)
    wall.bring_into_sight(view)
    value = bar.value()
    for x in (20, GUTTER_PX + 100):
        before = view._frequencies.high - view._frequencies.low
        turn(wall, view, QPoint(x, 45), 1, Qt.KeyboardModifier.ControlModifier)
        assert view._frequencies.high - view._frequencies.low == pytest.approx(before / 1.25)
    assert wall.axis.is_fitted
    turn(wall, view, QPoint(GUTTER_PX + 500, 45), 1)
    assert wall.axis.span_s == pytest.approx(SECONDS / 1.25)
    assert bar.value() == value


def test_the_hint_makes_room_for_what_is_read_out(many: Many) -> None:
    wall, _ = many
    hint = next(label for label in wall.findChildren(QLabel) if label.text().startswith("Click to seek"))
    assert hint.isVisible()
    assert "wheel at the left" in hint.text()
    QTest.mouseMove(wall.source, QPoint(GUTTER_PX + 300, 45))
    assert "sample" in wall._strip.text()
    assert not hint.isVisible()
    wall.source.leaveEvent(QEvent(QEvent.Type.Leave))
    assert hint.isVisible()


def test_keys_go_from_lane_to_lane(many: Many) -> None:
    wall, _ = many
    tops = [lane.y() for lane in wall.shown_lanes()]
    last = scroll_bar(wall).maximum()
    wall.setFocus()
    for direction, stops in ((Qt.Key.Key_Down, [min(top, last) for top in tops[1:]]), (Qt.Key.Key_Up, tops[::-1])):
        wanted = [stop for stop in dict.fromkeys(stops) if stop < last] if direction == Qt.Key.Key_Up else stops
        for stop in dict.fromkeys(wanted):
            QTest.keyClick(wall, direction, Qt.KeyboardModifier.ShiftModifier)
            assert scroll_bar(wall).value() == stop
    assert scroll_bar(wall).value() == 0
    assert wall.axis.is_fitted


def test_a_grip_takes_from_below_while_all_fit(many: Many) -> None:
    wall, lanes = many
    for kind in LANE_KINDS:
        lanes.show(kind.key, False)
    before = [lane.height() for lane in wall.shown_lanes()]
    drag_grip(wall, wall.source, -40)
    assert [lane.height() for lane in wall.shown_lanes()] == [before[0] - 40, before[1] + 40, before[2]]
    drag_grip(wall, wall.source, 40)
    assert [lane.height() for lane in wall.shown_lanes()] == before
    assert not scroll_bar(wall).isVisible()
    drag_grip(wall, wall.source, 300)  # more than those below can give: it goes on below the edge
    assert wall.source.height() == before[0] + 300
    assert wall.reconstruction.height() == wall.reconstruction.minimumHeight()
    assert wall.heatmap.height() == wall.heatmap.minimumHeight()
    assert scroll_bar(wall).maximum() == sum(lane.height() for lane in wall.shown_lanes()) - view_of(wall).height()
    assert scroll_bar(wall).maximum() > 0
    grip = next(grip for grip in wall.findChildren(Grip) if grip._lane is wall.source)
    QTest.mouseDClick(grip, LEFT, pos=QPoint(400, 3))
    assert [lane.height() for lane in wall.shown_lanes()] == before


def test_a_grip_changes_the_whole_while_it_scrolls(many: Many) -> None:
    wall, _ = many
    before = {lane: lane.height() for lane in wall.shown_lanes()}
    for lane, by in ((wall.source, 90), (wall.heatmap, 200), (wall.shown_lanes()[-1], 45), (wall.source, -300)):
        wall.bring_into_sight(lane)
        drag_grip(wall, lane, by)
        before[lane] = max(before[lane] + by, lane.minimumHeight())
        assert {lane: lane.height() for lane in wall.shown_lanes()} == before
        assert scroll_bar(wall).maximum() == sum(before.values()) - view_of(wall).height()
    wall.resize(wall.width(), 400)  # a height that was chosen stays
    QApplication.processEvents()
    assert {lane: lane.height() for lane in wall.shown_lanes()} == before


def test_heights_that_scroll_are_kept(many: Many, qtbot: QtBot) -> None:
    wall, lanes = many
    drag_grip(wall, wall.source, 90)
    heights, state = [lane.height() for lane in wall.shown_lanes()], wall.save_state()
    wall.share_out()
    assert [lane.height() for lane in wall.shown_lanes()] != heights
    wall.restore_state(state)
    assert [lane.height() for lane in wall.shown_lanes()] == heights
    wall.resize(wall.width(), 2000)
    QApplication.processEvents()
    taller = [lane.height() for lane in wall.shown_lanes()]
    assert sum(taller) == view_of(wall).height()
    assert not scroll_bar(wall).isVisible()
    lanes.show("error", False)
    assert sum(lane.height() for lane in wall.shown_lanes()) == view_of(wall).height()


def test_pictures_hold_what_is_scrolled_past(many: Many, qtbot: QtBot) -> None:
    wall, _ = many
    (whole,) = [subject for subject in subjects(wall, []) if subject.key == "wall"]
    assert whole.lanes == tuple(wall.shown_lanes())
    heights = [lane.height() for lane in wall.shown_lanes()]
    look = Look(wall.width(), wall.ruler.height() + sum(heights), DARK)
    pictures: list[QImage] = []
    for lane in whole.lanes:
        if isinstance(lane, SpectrogramView):
            wall.bring_into_sight(lane)
            qtbot.waitUntil(lambda lane=lane: tiles_are_there(lane), timeout=10_000)
    for value in (0, 200):
        scroll_bar(wall).setValue(value)
        qtbot.wait(100)
        places = [lane.geometry() for lane in wall.shown_lanes()]
        screen = wall.grab().toImage()
        pictures.append(image_of(whole, look))
        assert [lane.geometry() for lane in wall.shown_lanes()] == places
        assert wall.grab().toImage() == screen
    assert pictures[0] == pictures[1]
    # The heatmap's pixels are the screen's, where it stands in the whole.
    wall.bring_into_sight(wall.heatmap)
    qtbot.wait(100)
    screen, plot = wall.grab().toImage(), wall.heatmap.plot_rect()
    on_screen = place(wall, wall.heatmap).top()
    in_picture = wall.ruler.height() + wall.heatmap.y()
    for y in range(plot.top(), plot.bottom()):
        assert screen.pixel(plot.left() + 700, on_screen + y) == pictures[0].pixel(plot.left() + 700, in_picture + y)


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 400 * np.arange(24_000) / 24_000), 24_000)
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.resize(1280, 720)
    made.window.start([])
    made.open(path)
    yield made
    made.close()


def test_a_view_that_is_switched_on_is_scrolled_into_sight(house: House) -> None:
    window = house.window
    wall, switches = window.workspace.wall, window.panels.switches
    assert (window.width(), window.height()) == (1280, 720)
    for key in ("spectrogram_a", "spectrogram_b", "difference", "spectrogram_difference", "error"):
        switches.actions[key].trigger()
        house.until(lambda key=key: window.panels.lanes.is_shown(key))
        lane = window.panels.lanes._lanes[key]
        assert view_of(wall).contains(place(wall, lane))
    assert scroll_bar(wall).isVisible()
    assert all(lane.plot_rect().height() >= 34 for lane in wall.shown_lanes())
