"""What is kept while a view is moved along: the same pixels as if they were drawn anew, and no more drawing."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, QRect
from PySide6.QtGui import QImage, QPaintEvent
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.analysis.error_strip import ErrorStrip, Moment
from mimi_gui.analysis.token_usage import BLOCK_FRAMES, TokenUsage
from mimi_gui.codes import CodecInfo
from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.plot_strip import Columns, PlotStrip, paint_levels
from mimi_gui.ui.theme import DARK
from mimi_gui.ui.time_axis import TimeAxis
from mimi_gui.ui.timeline import Wall

RATE = 24_000


class Painter:
    """Paints each column in a colour of its number and version, and writes down which it was asked for."""

    def __init__(self) -> None:
        self.version = 0
        self.asked: list[tuple[int, int]] = []

    def color(self, column: np.ndarray) -> np.ndarray:
        return (0xFF000000 | (column % 5000) << 4 | self.version).astype(np.uint32)

    def draw(self, columns: Columns, pixels: np.ndarray) -> bool:
        self.asked.append((columns.first, columns.past))
        pixels[...] = self.color(np.arange(columns.first, columns.past))
        return True


def row_of(shown: tuple[QImage, int] | None, num: int) -> np.ndarray:
    assert shown is not None
    image, x = shown
    return np.array([image.pixel(x + i, 1) for i in range(num)], np.uint32)


def test_only_what_comes_into_sight_is_drawn() -> None:
    strip, painter = PlotStrip(), Painter()
    rng = np.random.default_rng(0)
    first, seen = 1000, set(range(1000, 1100))
    strip.show(Columns(first, 100, 0.01, 3, 1.0), painter.draw)
    assert painter.asked == [(1000, 1100)]
    for _ in range(200):
        painter.asked.clear()
        step = int(rng.integers(-60, 61))
        first += step
        wanted = Columns(first, 100, 0.01, 3, 1.0)
        shown = strip.show(wanted, painter.draw)
        np.testing.assert_array_equal(row_of(shown, 100), painter.color(np.arange(first, first + 100)))
        drawn = sum(past - begin for begin, past in painter.asked)
        assert drawn <= abs(step)
        seen |= set(range(first, first + 100))


def test_another_zoom_size_or_far_place_is_drawn_anew() -> None:
    strip, painter = PlotStrip(), Painter()
    strip.show(Columns(0, 50, 0.01, 3, 1.0), painter.draw)
    for wanted in (Columns(0, 50, 0.02, 3, 1.0), Columns(0, 60, 0.02, 3, 1.0), Columns(0, 60, 0.02, 4, 1.0),
                   Columns(900, 60, 0.02, 4, 1.0), Columns(900, 60, 0.02, 4, 2.0)):  # fmt: skip
        painter.asked.clear()
        painter.version += 1
        shown = strip.show(wanted, painter.draw)
        assert painter.asked == [(wanted.first, wanted.past)]
        np.testing.assert_array_equal(row_of(shown, wanted.num), painter.color(np.arange(wanted.first, wanted.past)))


def test_a_span_that_changed_is_drawn_again_also_when_it_was_out_of_sight() -> None:
    strip, painter = PlotStrip(), Painter()
    strip.show(Columns(100, 50, 0.01, 3, 1.0), painter.draw)
    strip.show(Columns(120, 50, 0.01, 3, 1.0), painter.draw)  # 100 to 170 are kept
    painter.version, painter.asked = 1, []
    strip.forget_span(1.30, 1.3999)
    strip.forget_span(1.00, 1.0999)  # out of sight
    shown = row_of(strip.show(Columns(120, 50, 0.01, 3, 1.0), painter.draw), 50)
    np.testing.assert_array_equal(shown[10:20], painter.color(np.arange(130, 140)))
    assert sum(past - first for first, past in painter.asked) <= 12
    shown = row_of(strip.show(Columns(100, 50, 0.01, 3, 1.0), painter.draw), 50)
    np.testing.assert_array_equal(shown[:10], painter.color(np.arange(100, 110)))
    strip.forget()
    painter.asked.clear()
    strip.show(Columns(100, 50, 0.01, 3, 1.0), painter.draw)
    assert painter.asked == [(100, 150)]


def test_columns_do_not_move_with_what_is_in_sight() -> None:
    axis = TimeAxis()
    axis.set_duration(100.0)
    axis.set_range(10.0, 20.0)
    before = Columns.in_sight(axis, 500, 10, 1.0)
    axis.pan(0.02)  # a column
    after = Columns.in_sight(axis, 500, 10, 1.0)
    assert (after.first, after.step_s) == (before.first + 1, before.step_s)
    axis.pan(0.004)
    assert Columns.in_sight(axis, 500, 10, 1.0).first == after.first
    assert abs(after.start_s - 10.02) <= after.step_s / 2
    half = Columns(7, 4, 0.02, 5, 2.0).halved()
    assert (half.first, half.past, half.step_s, half.height, half.ratio) == (3, 6, 0.04, 3, 1.0)


def test_levels_are_looked_up() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    table = (0xFF000000 | rng.integers(0, 1 << 24, 256)).astype(np.uint32)
    pixels = np.zeros((5, 20), np.uint32)
    paint_levels(levels, table, pixels[:, 3:10])
    np.testing.assert_array_equal(pixels[:, 3:10], table[levels])
    assert not pixels[:, :3].any()
    assert not pixels[:, 10:].any()


def wall_with_everything(seconds: float = 60.0) -> tuple[Wall, AnalysisLanes]:
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)
    other = (0.7 * samples).astype(np.float32)
    codes = rng.integers(0, 2048, (8, int(seconds * 12.5)), dtype=np.int16)
    wall = Wall(DARK)
    wall.set_duration(seconds)
    wall.set_source(Envelope.from_samples(samples, RATE), "Original — noise")
    wall.set_reconstruction(Envelope.from_samples(other, RATE), "Reconstruction — softer")
    wall.set_codes(codes, CodecInfo())
    lanes = AnalysisLanes(wall)
    lanes.set_sounds(samples, other, RATE)
    lanes.set_difference(Envelope.from_samples(other - samples, RATE))
    values = rng.random(codes.shape[1], dtype=np.float32)
    lanes.set_error_strip(ErrorStrip("log_mel", "Log-mel distance", "Np", values, 0.08), [Moment(9.5, 10.2, 120, 1.0)])
    for kind in LANE_KINDS:
        lanes.show(kind.key)
    wall.resize(640, 900)
    wall.show()
    return wall, lanes


def pixels_of(lane: Lane) -> np.ndarray:
    image = lane.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1).copy()


def is_at_rest(wall: Wall, lanes: AnalysisLanes) -> bool:
    """Whether no view waits for a tile or for the end of a zoom."""
    views = wall.shown_lanes()
    return not any(view.is_zooming or (lanes._store is not None and lanes._store.wishes(view)) for view in views)


def assert_painted(wall: Wall) -> None:
    """What was painted bit by bit is what is painted at once."""
    # Of a scaled window the offscreen platform gives as many pixels from the top left as it has logical ones.
    shown = wall.screen().grabWindow(wall.winId()).toImage().convertToFormat(QImage.Format.Format_RGB32)
    whole = wall.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    shown.setDevicePixelRatio(1.0)
    whole.setDevicePixelRatio(1.0)
    assert shown == whole.copy(shown.rect())


def test_a_movement_paints_the_plots_and_a_title_only_when_it_changes(qtbot: QtBot) -> None:
    wall, lanes = wall_with_everything()
    qtbot.addWidget(wall)
    wall.axis.set_range(3.0, 6.0)  # the playhead stays out of sight
    painted: dict[object, list[QRect]] = {}

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if isinstance(event, QPaintEvent):
                painted.setdefault(watched, []).append(event.rect())
            return False

    watch = Watch()
    for lane in wall.shown_lanes():
        lane.installEventFilter(watch)
    for span in (4.0, 5.0, 55.0, 52.0, 2.0):  # from afar the heatmap says beside its title that it shows usage
        qtbot.wait(300)
        painted.clear()
        note = wall.heatmap.note
        wall.axis.set_range(3.0, 3.0 + span)
        qtbot.wait(300)
        assert set(painted) == set(wall.shown_lanes())
        for lane in wall.shown_lanes():
            title_too = lane is wall.heatmap and note != wall.heatmap.note
            wanted = lane.rect() if title_too else lane.plot_rect()
            assert painted[lane][0] == wanted, (lane.accessibleName(), span)
        qtbot.waitUntil(lambda: is_at_rest(wall, lanes), timeout=20_000)
        qtbot.wait(100)
        assert_painted(wall)
    assert len({note, wall.heatmap.note}) == 2
    lanes.close()


@pytest.mark.parametrize("span_s", [30.0, 8.0, 0.4, 0.02, 0.002])
def test_every_view_that_was_moved_looks_as_if_it_was_drawn_anew(qtbot: QtBot, span_s: float) -> None:
    wall, lanes = wall_with_everything()
    qtbot.addWidget(wall)
    wall.axis.set_range(9.0, 9.0 + span_s)
    views = wall.shown_lanes()
    assert len(views) == 3 + len(LANE_KINDS)
    store = lanes._store
    assert store is not None

    def is_sharp() -> bool:
        wall.grab()
        return not any(store.wishes(view) for view in views)

    for step in (0.3, 0.25, -0.6, 0.9, -0.05):
        qtbot.waitUntil(is_sharp, timeout=20_000)
        wall.axis.pan(step * span_s)
        wall.grab()
    qtbot.waitUntil(is_sharp, timeout=20_000)
    for view in views:
        moved = pixels_of(view)
        view.refresh_frame()
        np.testing.assert_array_equal(moved, pixels_of(view), err_msg=view.accessibleName())
    lanes.close()


def test_a_recording_that_grows_is_not_zoomed(qtbot: QtBot) -> None:
    wall, lanes = wall_with_everything(4.0)
    qtbot.addWidget(wall)
    wall.grab()
    wall.set_duration(5.0)  # and all of it in sight, as before
    wall.grab()
    assert not wall.source.is_zooming
    wall.axis.zoom(2.0, 1.0)
    wall.grab()
    assert wall.source.is_zooming
    qtbot.waitUntil(lambda: not wall.source.is_zooming, timeout=5000)
    lanes.close()


FINE = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from mimi_gui.ui.spectrogram_view import SpectrogramView
from tests.test_plot_strip import assert_painted, is_at_rest, pixels_of, wall_with_everything

app = QApplication([])
wall, lanes = wall_with_everything()

def rest(ms):
    loop = QEventLoop()
    QTimer.singleShot(ms, loop.quit)
    loop.exec()

while not is_at_rest(wall, lanes) or not wall.heatmap._step_s:
    rest(50)
picked = []
pick_rows = SpectrogramView._pick_rows
SpectrogramView._pick_rows = lambda self, tile, height: picked.append(height) or pick_rows(self, tile, height)
wall.axis.zoom(1.25, 20.0)
wall.grab()
assert all(view.is_zooming for view in wall.shown_lanes())
assert not picked, "tiles that are there wait for a zoom to be brought to its height"
wall.axis.set_range(9.0, 13.0)
tokens = wall.heatmap
while_zooming = pixels_of(tokens)
assert tokens.is_zooming
colors = set(np.unique(while_zooming))
rest(1500)
assert not any(view.is_zooming for view in wall.shown_lanes())
at_rest = pixels_of(tokens)
assert at_rest.shape[1] == round({scale} * 640), at_rest.shape
assert not np.array_equal(while_zooming, at_rest)
assert colors <= set(np.unique(at_rest)), "a colour that stands for no code"
for view in wall.shown_lanes():
    shown = pixels_of(view)
    view.refresh_frame()
    assert np.array_equal(shown, pixels_of(view)), view.accessibleName()
for span in (4.0, 55.0, 52.0, 2.0):
    wall.axis.set_range(3.0, 3.0 + span)
    rest(400)
    while not is_at_rest(wall, lanes):
        rest(50)
    rest(100)
    assert_painted(wall)
    wall.set_loop((3.2, 3.2 + span / 4))
    rest(100)
    assert_painted(wall)
    wall.set_loop(None)
lanes.close()
print("done")
"""


@pytest.mark.parametrize("scale", ["1.25", "2"])
def test_a_fine_screen_is_sharp_once_it_rests_and_never_mixes_codes(scale: str) -> None:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = dict(os.environ, QT_QPA_PLATFORM="offscreen", QT_SCALE_FACTOR=scale)
    code = FINE.format(root=root, scale=scale)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("cardinality", [40, 2048])
@pytest.mark.parametrize("per_bin", [2, 16, 128, 256, 1024, BLOCK_FRAMES, 2 * BLOCK_FRAMES])
def test_usage_is_the_number_of_different_tokens_however_it_is_asked_for(per_bin: int, cardinality: int) -> None:
    rng = np.random.default_rng(per_bin)
    codes = rng.integers(0, cardinality, (3, 2 * BLOCK_FRAMES + 777), dtype=np.int16)
    usage = TokenUsage(codes)

    def wanted(first: int, past: int, ready: int) -> np.ndarray:
        bins = [codes[:, i * per_bin : min((i + 1) * per_bin, ready)] for i in range(first, past)]
        counts = np.array([[len(np.unique(row)) for row in part] for part in bins]).T
        sizes = np.array([max(part.shape[1] - 1, 1) for part in bins])
        return 1 + np.round(254 * (counts - 1) / sizes)

    for ready in (BLOCK_FRAMES + 5, 2 * BLOCK_FRAMES, codes.shape[1]):
        num = -(-ready // per_bin)
        for first, past in ((0, num), (num - 1, num), (num // 2, num // 2 + 1), (num // 3, num)):
            if past > first:
                np.testing.assert_array_equal(usage.read(per_bin, first, past, ready), wanted(first, past, ready))
