"""The wall, the transport bar and the codebooks control, driven by the mouse and read back from pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QGuiApplication, QImage, QPalette, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.envelope import Envelope, EnvelopeBuilder
from mimi_gui.analysis.token_usage import usage_per_bin
from mimi_gui.codes import CodecInfo
from mimi_gui.ui import theme as theme_module
from mimi_gui.ui.codebooks_control import CodebooksControl
from mimi_gui.ui.icons import app_icon, icon, icon_names
from mimi_gui.ui.lane import GUTTER_PX, HEADER_PX
from mimi_gui.ui.theme import DARK, LIGHT, Theme, ThemeKeeper, code_indices, code_table, contrast
from mimi_gui.ui.time_axis import TimeAxis, format_time, tick_step
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.transport_bar import ABSwitch, TransportBar
from mimi_gui.ui.waveform_view import _bars as bars

RATE = 24_000
SECONDS = 8.0
INFO = CodecInfo()


def make_wall(qtbot: QtBot, theme: Theme = DARK, *, seconds: float = SECONDS) -> Wall:
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal(int(seconds * RATE)) * 0.1).astype(np.float32)
    wall = Wall(theme)
    qtbot.addWidget(wall)
    wall.set_duration(seconds)
    wall.set_source(Envelope.from_samples(samples, RATE), "Original — noise.wav, 24 kHz mono")
    wall.set_reconstruction(Envelope.from_samples(samples * 0.5, RATE), "Reconstruction — 32 codebooks")
    wall.set_codes(rng.integers(0, 2048, (32, round(seconds * 12.5)), dtype=np.int16), INFO)
    wall.resize(1000 + GUTTER_PX + 10, 700)
    wall.show()
    QApplication.processEvents()
    return wall


def turn(widget: QWidget, x: float, notches: int, *, modifiers: Qt.KeyboardModifier | None = None) -> None:
    position = QPointF(x, widget.height() / 2)
    QApplication.sendEvent(
        widget,
        QWheelEvent(
            position, widget.mapToGlobal(position), QPoint(), QPoint(0, 120 * notches),
            Qt.MouseButton.NoButton,
            modifiers or Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        ),
    )  # fmt: skip


def drag(
    widget: QWidget,
    xs: list[int],
    *,
    y: int | None = None,
    button: Qt.MouseButton = Qt.MouseButton.LeftButton,
    keys: Qt.KeyboardModifier | None = None,
) -> None:
    y = widget.height() // 2 if y is None else y
    keys = keys or Qt.KeyboardModifier.NoModifier
    QTest.mousePress(widget, button, keys, QPoint(xs[0], y))
    for x in xs[1:]:
        QTest.mouseMove(widget, QPoint(x, y))
        QApplication.processEvents()
    QTest.mouseRelease(widget, button, keys, QPoint(xs[-1], y))


def test_calls_into_qt_keep_their_references(qtbot: QtBot) -> None:
    """PySide6 6.12.0 lost a reference to None per call and aborted Python 3.11 after some thousands."""
    widget = QWidget()
    qtbot.addWidget(widget)
    before = sys.getrefcount(None)
    for _ in range(500):
        widget.update()
    assert abs(sys.getrefcount(None) - before) < 100


# --- the axis -------------------------------------------------------------------------------------


def test_zoom_keeps_the_second_under_the_pointer() -> None:
    axis = TimeAxis()
    axis.set_width(1000)
    axis.set_duration(3600)
    for factor in (1.25, 3.0, 0.9, 10.0):
        axis.zoom(factor, 1234.5)
        kept = axis.s_to_x(1234.5)
        axis.zoom(1.7, 1234.5)
        assert axis.s_to_x(1234.5) == pytest.approx(kept, abs=1e-6)


def test_the_axis_stays_inside_the_recording() -> None:
    axis = TimeAxis()
    axis.set_width(1000)
    axis.set_duration(60)
    rng = np.random.default_rng(1)
    for _ in range(500):
        axis.zoom(float(rng.choice([0.2, 0.8, 1.25, 8.0])), float(rng.uniform(-10, 70)))
        axis.pan(float(rng.uniform(-30, 30)))
        assert axis.start_s >= 0
        assert axis.end_s <= 60 + 1e-9
        assert axis.span_s >= 0.001
    axis.fit()
    assert (axis.start_s, axis.end_s, axis.is_fitted) == (0, 60, True)
    axis.set_duration(80)  # a view of everything goes on showing everything
    assert axis.end_s == 80
    axis.set_range(10, 20)
    axis.set_duration(90)
    assert (axis.start_s, axis.end_s) == (10, 20)


@pytest.mark.parametrize("span", [0.001, 0.013, 0.4, 3, 11, 70, 500, 3600, 10_800, 86_400])
def test_ruler_labels_never_crowd(span: float) -> None:
    step, parts = tick_step(span, 1000, 90)
    assert step / span * 1000 >= 90
    assert span / step >= 1 or span > 36_000
    assert parts in (2, 3, 4, 5, 6)


def test_times_are_written_as_people_read_them() -> None:
    assert format_time(62.35) == "1:02.350"
    assert format_time(3723, 1) == "1:02:03"
    assert format_time(59.9999, 0.01) == "1:00.00"
    assert format_time(0.0005, 0.0001) == "0:00.0005"
    assert format_time(-1.5, 0.1) == "-0:01.5"


# --- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_text_is_legible(theme: Theme) -> None:
    for ground in (theme.window, theme.panel, theme.plot, theme.raised):
        assert contrast(theme.text, ground) >= 7
        assert contrast(theme.text_dim, ground) >= 4.5
        assert contrast(theme.text_faint, ground) >= 3
    for mark in (theme.side_a, theme.side_b, theme.semantic, theme.playhead, theme.loop):
        assert contrast(mark, theme.plot) >= 3
    assert contrast(theme.side_text, theme.side_a) >= 4.5
    assert contrast(theme.side_text, theme.side_b) >= 4.5
    assert contrast(theme.accent_text, theme.accent) >= 4.5
    assert contrast(theme.warning, theme.warning_panel) >= 4.5
    assert contrast(theme.error, theme.error_panel) >= 4.5


def test_contrast_agrees_with_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the textbook's near miss


def test_codes_are_names_with_lasting_colours() -> None:
    acoustic, semantic = code_indices(2048, semantic=False), code_indices(2048, semantic=True)
    assert acoustic.dtype == np.uint8
    assert not set(acoustic) & set(semantic)
    assert theme_module.EMPTY_INDEX not in set(acoustic) | set(semantic)
    for indices in (acoustic, semantic):
        steps = np.abs(np.diff(indices.astype(int)))
        assert steps.min() >= 15  # numerically close codes look nothing alike
        counts = np.bincount(indices)[np.unique(indices)]
        assert counts.max() - counts.min() <= 4  # every colour is used alike
    # A change of this table would change the pictures that people remember.
    assert acoustic[[0, 1, 2, 1024, 2047]].tolist() == [53, 158, 93, 30, 73]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_code_colours_differ_in_brightness_too(theme: Theme) -> None:
    table = code_table(theme)
    for part in (table[1:171], table[171:256]):
        colours = [QColor.fromRgb(int(value)) for value in part]
        light = np.array([0.2126 * c.redF() + 0.7152 * c.greenF() + 0.0722 * c.blueF() for c in colours])
        assert light.max() - light.min() > 0.4
        smooth = np.convolve(light, np.ones(8) / 8, "valid")
        assert np.all(np.diff(smooth) > -0.01)


# --- the wall -------------------------------------------------------------------------------------


def test_a_click_seeks(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    for lane in (wall.source, wall.reconstruction, wall.heatmap, wall.ruler):
        with qtbot.waitSignal(wall.seek_requested) as seek:
            QTest.mouseClick(lane, Qt.MouseButton.LeftButton, pos=QPoint(GUTTER_PX + 250, 30))
        assert seek.args[0] == pytest.approx(2.0, abs=0.01)


def test_a_drag_selects_a_loop_and_its_edges_move(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    wall.loop_requested.connect(wall.set_loop)
    drag(wall.source, [GUTTER_PX + 500, GUTTER_PX + 400, GUTTER_PX + 250])
    assert wall.axis.loop == pytest.approx((2.0, 4.0), abs=0.01)
    drag(wall.heatmap, [GUTTER_PX + 251, GUTTER_PX + 200, GUTTER_PX + 125])
    assert wall.axis.loop == pytest.approx((1.0, 4.0), abs=0.01)
    drag(wall.ruler, [GUTTER_PX + 500, GUTTER_PX + 600, GUTTER_PX + 750])
    assert wall.axis.loop == pytest.approx((1.0, 6.0), abs=0.01)
    drag(wall.source, [GUTTER_PX + 750, GUTTER_PX + 400, -500])  # past the other edge and out of the window
    assert wall.axis.loop == pytest.approx((0.0, 1.0), abs=0.01)


def test_drags_that_pan(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    loops: list[object] = []
    wall.loop_requested.connect(loops.append)
    for widget, button, keys in (
        (wall.source, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier),
        (wall.heatmap, Qt.MouseButton.MiddleButton, None),
        (wall.ruler, Qt.MouseButton.LeftButton, None),
    ):
        wall.axis.set_range(2, 4)
        drag(widget, [GUTTER_PX + 500, GUTTER_PX + 450, GUTTER_PX + 250], button=button, keys=keys)
        assert wall.axis.start_s == pytest.approx(2.5, abs=0.01)
        assert wall.axis.span_s == pytest.approx(2.0)
    assert loops == []


def test_wheels(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    turn(wall.source, GUTTER_PX + 250, 4)
    assert wall.axis.span_s == pytest.approx(SECONDS / 1.25**4)
    assert wall.axis.x_to_s(250) == pytest.approx(2.0)
    start = wall.axis.start_s
    turn(wall.heatmap, GUTTER_PX + 250, -1, modifiers=Qt.KeyboardModifier.ShiftModifier)
    assert wall.axis.start_s == pytest.approx(start + 0.1 * wall.axis.span_s)
    before = wall.source.limit, wall.reconstruction.limit
    turn(wall.source, GUTTER_PX + 250, 2, modifiers=Qt.KeyboardModifier.ControlModifier)
    assert wall.source.limit == wall.reconstruction.limit  # or the quieter one would look as loud
    assert wall.source.limit < before[0] == before[1]


def test_the_playhead_is_one_line_through_everything(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    wall.set_position(3.0)
    QApplication.processEvents()
    image = wall.grab().toImage()
    x = GUTTER_PX + 375
    for lane in (wall.source, wall.reconstruction, wall.heatmap):
        y = lane.mapTo(wall, QPoint(0, lane.height() // 2)).y()
        assert image.pixelColor(x, y) == DARK.color("playhead")
    wall.axis.set_range(5, 6)
    QApplication.processEvents()
    assert not wall.findChild(QWidget, "playhead").isVisible()


def test_following_turns_the_page_but_never_under_the_hand(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    wall.axis.set_range(0, 2)
    wall.set_position(2.01)
    assert wall.axis.start_s == pytest.approx(2.01 - 0.12, abs=0.01)
    QTest.mousePress(wall.source, Qt.MouseButton.LeftButton, pos=QPoint(GUTTER_PX + 100, 60))
    QTest.mouseMove(wall.source, QPoint(GUTTER_PX + 300, 60))
    held = wall.axis.start_s
    wall.set_position(4.5)
    assert wall.axis.start_s == held
    QTest.mouseRelease(wall.source, Qt.MouseButton.LeftButton, pos=QPoint(GUTTER_PX + 300, 60))
    wall.set_position(4.51)
    assert wall.axis.start_s > held
    wall.pan(-1.5)  # the person looks elsewhere ...
    held = wall.axis.start_s
    wall.set_position(4.6)
    assert wall.axis.start_s == held
    wall.show_position()  # ... and comes back
    assert wall.axis.start_s < 4.6 < wall.axis.end_s
    wall.set_follow(False)
    held = wall.axis.start_s
    wall.set_position(7.9)
    assert wall.axis.start_s == held


def test_zoom_to_selection_and_fit(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    wall.zoom_to_selection()
    assert wall.axis.is_fitted
    wall.set_loop((3.0, 4.0))
    wall.zoom_to_selection()
    assert wall.axis.start_s == pytest.approx(2.97)
    assert wall.axis.end_s == pytest.approx(4.03)
    wall.fit()
    assert wall.axis.is_fitted


def test_a_click_in_silence_is_seen_at_its_second(qtbot: QtBot) -> None:
    wall = make_wall(qtbot, LIGHT)
    samples = np.zeros(int(SECONDS * RATE), np.float32)
    samples[5 * RATE] = 0.9
    wall.set_source(Envelope.from_samples(samples, RATE), "Original — a click")
    wall.set_side("A")
    image = wall.source.grab().toImage()
    y = HEADER_PX + 25
    hits = [x for x in range(GUTTER_PX, image.width()) if image.pixelColor(x, y) == LIGHT.color("side_a")]
    assert hits == [GUTTER_PX + 625]


@pytest.mark.parametrize(("back", "front"), [("#000000", "#ffffff"), ("#ffffff", "#000000")])
def test_bars_cover_what_geometry_says(back: str, front: str) -> None:
    ramp = theme_module.ramp_table(back, front)
    rng = np.random.default_rng(0)
    rows = np.arange(37)[:, None]
    for _ in range(50):
        columns = np.sort(rng.choice(50, 30, replace=False))
        top = rng.uniform(-5, 37, 30)
        bottom = top + rng.uniform(1, 37, 30)
        cover = np.zeros((37, 50))
        cover[:, columns] = np.clip(np.minimum(bottom, rows + 1) - np.maximum(top, rows), 0, 1)
        wanted = cover * 255 if front == "#ffffff" else 255 - cover * 255
        pixels = np.empty((37, 50), np.uint32)
        bars(columns, top, bottom, pixels, ramp)
        painted = (pixels & 255).astype(float)
        assert np.abs(painted - wanted).max() <= 1


def cell_color(image: QImage, frame: int, top: float) -> int:
    x = GUTTER_PX + round((frame + 0.5) * 0.08 / SECONDS * 1000)
    return image.pixel(x, round(top))


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_every_cell_has_its_codes_colour(qtbot: QtBot, theme: Theme) -> None:
    wall = make_wall(qtbot, theme)
    codes = np.random.default_rng(8).integers(0, 2048, (32, 100), dtype=np.int16)
    wall.set_codes(codes, INFO)
    wall.set_num_codebooks(16)
    image = wall.heatmap.grab().toImage()
    rect = wall.heatmap.plot_rect()
    unit = rect.height() / 33  # the semantic row is two units tall
    for row in (0, 1, 7, 15, 16, 31):
        middle = rect.top() + (1 if row == 0 else row + 1.5) * unit - (1 if row == 0 else 0)
        table = code_table(theme, dimmed=row >= 16)
        indices = code_indices(2048, semantic=row == 0)
        for frame in (0, 1, 50, 98, 99):
            assert cell_color(image, frame, middle) == int(table[indices[codes[row, frame]]])


def test_tokens_appear_as_they_come(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    codes = np.full((32, 100), 7, np.int16)
    wall.set_codes(codes, INFO, num_ready=0)
    middle = wall.heatmap.plot_rect().center().y()
    empty = DARK.color("plot").rgb()
    assert cell_color(wall.heatmap.grab().toImage(), 40, middle) == empty
    wall.set_codes_ready(50)
    image = wall.heatmap.grab().toImage()
    assert cell_color(image, 40, middle) != empty
    assert cell_color(image, 60, middle) == empty


def test_the_read_out_names_codebook_frame_time_and_code(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    codes = np.arange(3200, dtype=np.int16).reshape(32, 100) % 2048
    wall.set_codes(codes, INFO)
    rect = wall.heatmap.plot_rect()
    words = wall.heatmap.describe(QPointF(GUTTER_PX + 505, rect.top() + 3))
    assert "codebook 0 (semantic)" in words
    assert "frame 50" in words
    assert "0:04.00" in words
    assert "token 50" in words
    assert "codebook 31 (acoustic)" in wall.heatmap.describe(QPointF(GUTTER_PX + 505, rect.bottom() - 1))
    assert "dBFS" in wall.source.describe(QPointF(GUTTER_PX + 505, 60))


@pytest.mark.parametrize("per_bin", [2, 8, 64])
def test_usage_counts_different_tokens(per_bin: int) -> None:
    codes = np.random.default_rng(2).integers(0, 20, (5, 203)).astype(np.int16)
    usage = usage_per_bin(codes, per_bin)
    assert usage.shape == (5, -(-203 // per_bin))
    for row in range(5):
        for column in range(usage.shape[1]):
            part = codes[row, column * per_bin : (column + 1) * per_bin]
            share = (len(np.unique(part)) - 1) / max(len(part) - 1, 1)
            assert usage[row, column] == 1 + round(254 * share)


def test_far_away_the_heatmap_shows_usage(qtbot: QtBot) -> None:
    """4,000 frames on 1,000 pixels: no code is picked to stand for its neighbours."""
    wall = make_wall(qtbot, seconds=320.0)
    codes = np.zeros((32, 4000), np.int16)
    codes[:, 2000:] = np.arange(2000) % 2048
    wall.set_codes(codes, INFO)
    image = wall.heatmap.grab().toImage()
    table = theme_module.usage_table(DARK)
    y = wall.heatmap.plot_rect().center().y()
    assert image.pixel(GUTTER_PX + 100, y) == int(table[1])
    assert image.pixel(GUTTER_PX + 900, y) == int(table[255])
    assert "different tokens" in wall.heatmap.describe(QPointF(GUTTER_PX + 900, y))


def test_occurrences_light_up_and_the_rest_dims(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    codes = np.random.default_rng(8).integers(0, 2048, (32, 100), dtype=np.int16)
    codes[5, 40] = codes[5, 70] = 123
    wall.set_codes(codes, INFO)
    wall.heatmap.set_marks(codes == 123)
    rect = wall.heatmap.plot_rect()
    y = rect.top() + 6.5 * rect.height() / 33
    bright, faint = code_table(DARK), code_table(DARK, dimmed=True)
    indices = code_indices(2048, semantic=False)
    image = wall.heatmap.grab().toImage()
    assert cell_color(image, 40, y) == cell_color(image, 70, y) == int(bright[indices[123]])
    assert cell_color(image, 41, y) == int(faint[indices[codes[5, 41]]])
    wall.heatmap.set_marks(codes == 123, "error")
    assert cell_color(wall.heatmap.grab().toImage(), 40, y) == DARK.color("error").rgb()
    wall.heatmap.set_marks(None)
    assert cell_color(wall.heatmap.grab().toImage(), 41, y) == int(bright[indices[codes[5, 41]]])
    wall.heatmap.set_heard_codebooks((0, 5, 7))
    image = wall.heatmap.grab().toImage()
    assert cell_color(image, 41, y) == int(bright[indices[codes[5, 41]]])
    above = y - rect.height() / 33
    assert cell_color(image, 41, above) == int(faint[indices[codes[4, 41]]])
    assert "not decoded" in wall.heatmap.describe(QPointF(GUTTER_PX + 515, above))
    with qtbot.waitSignal(wall.heatmap.cell_requested) as asked:
        QTest.mouseDClick(wall.heatmap, Qt.MouseButton.LeftButton, pos=QPoint(GUTTER_PX + 515, round(y)))
    assert asked.args == [5, 51]


def test_a_mark_is_seen_from_afar(qtbot: QtBot) -> None:
    wall = make_wall(qtbot, seconds=3200.0)
    codes = np.zeros((32, 40_000), np.int16)
    mask = np.zeros(codes.shape, bool)
    mask[9, 20_020] = True  # one frame of forty on its pixel
    wall.set_codes(codes, INFO)
    wall.heatmap.set_marks(mask, "error")
    image = wall.heatmap.grab().toImage()
    red = DARK.color("error").rgb()
    rect = wall.heatmap.plot_rect()
    y = round(rect.top() + 10.5 * rect.height() / 33)
    hits = [x for x in range(rect.left(), rect.right()) if image.pixel(x, y) == red]
    assert 1 <= len(hits) <= 2
    assert abs(hits[0] - (GUTTER_PX + 500)) <= 2


def test_the_height_is_divided_as_before(qtbot: QtBot) -> None:
    wall, other = make_wall(qtbot), make_wall(qtbot)
    before = [lane.height() for lane in wall.shown_lanes()]
    wall._stack.resize_lane(wall.source, before, -70)
    heights = [lane.height() for lane in wall.shown_lanes()]
    assert heights == [before[0] - 70, before[1] + 70, before[2]]
    other.restore_state(wall.save_state())
    assert [lane.height() for lane in other.shown_lanes()] == heights
    wrong = (b"nonsense", b"\xff", b"[]", b'{"room": 5, "heights": [1, 2]}', b'{"room": 9, "heights": [true, 1, 2]}')
    for nonsense in wrong:
        other.restore_state(nonsense)
        assert [lane.height() for lane in other.shown_lanes()] == heights


def test_growing_data_draws_at_every_stage(qtbot: QtBot) -> None:
    wall = make_wall(qtbot)
    builder = EnvelopeBuilder(RATE)
    wall.set_source(builder.envelope, "Original — growing")
    for step in range(30):
        builder.append(np.full(700 * (step + 1), 0.3, np.float32))
        wall.set_source(builder.envelope, "Original — growing")
        wall.axis.set_range(0, 0.002 * 2**step)
        wall.grab()
    assert wall.source.limit >= 0.3


def test_an_empty_wall_draws_and_says_what_to_do(qtbot: QtBot) -> None:
    wall = Wall(LIGHT)
    qtbot.addWidget(wall)
    wall.resize(900, 500)
    assert not wall.grab().isNull()
    for call in (wall.fit, wall.zoom_to_selection, lambda: wall.zoom(2), lambda: wall.pan(1)):
        call()
    wall.set_position(1.0)
    QTest.mouseClick(wall.source, Qt.MouseButton.LeftButton, pos=QPoint(300, 60))
    wall.set_codes(np.zeros((0, 0), np.int16), INFO)
    assert not wall.grab().isNull()
    assert "Ctrl+O" in wall.source.placeholder


def test_a_wall_changes_its_theme(qtbot: QtBot) -> None:
    wall = make_wall(qtbot, DARK)
    wall.set_theme(LIGHT)
    image = wall.source.grab().toImage()
    assert image.pixelColor(GUTTER_PX + 3, HEADER_PX + 2) == LIGHT.color("plot")


# --- transport, codebooks, icons ------------------------------------------------------------------


class FakeDevice:
    host_api = "ALSA"
    is_default = False

    def __init__(self, name: str) -> None:
        self.name = name


def test_the_transport_wishes_and_setters_are_silent(qtbot: QtBot) -> None:
    bar = TransportBar(DARK)
    qtbot.addWidget(bar)
    heard: list[object] = []
    bar.side_requested.connect(heard.append)
    bar.loop_toggled.connect(lambda on: heard.append(("loop", on)))
    bar.match_toggled.connect(lambda on: heard.append(("match", on)))
    bar.volume_changed.connect(lambda volume: heard.append(("volume", volume)))
    bar.device_requested.connect(lambda name: heard.append(("device", name)))
    bar.set_enabled_sides(True, True)
    bar.set_loop(True)
    bar.set_match(False, "As decoded", "")
    bar.set_volume(0.5)
    bar.set_side("B")
    bar.set_devices([FakeDevice("Speakers"), FakeDevice("Headphones")], "Headphones")
    bar.set_position(61.5)
    bar.set_health(0.02, 3)
    assert heard == []
    bar.resize(1200, 60)
    bar.show()
    QTest.mouseClick(bar.switch, Qt.MouseButton.LeftButton, pos=QPoint(20, 20))
    QTest.mouseClick(bar.switch, Qt.MouseButton.LeftButton, pos=QPoint(bar.switch.width() - 20, 20))
    QTest.keyClick(bar.switch, Qt.Key.Key_Left)
    assert heard == ["A", "D", "A"]
    with qtbot.waitSignal(bar.play_toggled):
        QTest.mouseClick(bar._play, Qt.MouseButton.LeftButton)
    bar._loop.click()
    bar._match.click()
    bar._mute.click()
    bar._mute.click()
    assert heard[3:] == [("loop", False), ("match", True), ("volume", 0.0), ("volume", 0.5)]
    for action in bar._menu.actions():
        if action.text() == "Speakers":
            action.trigger()
    assert heard[-1] == ("device", "Speakers")
    with qtbot.waitSignal(bar.rescan_requested):
        bar._menu.actions()[-1].trigger()


def test_every_control_of_the_bars_has_a_name_and_a_tip(qtbot: QtBot) -> None:
    from PySide6.QtWidgets import QAbstractButton, QSlider, QSpinBox

    bar, control = TransportBar(DARK), CodebooksControl(DARK, INFO)
    for parent in (bar, control):
        qtbot.addWidget(parent)
        for kind in (QAbstractButton, QSlider, QSpinBox):
            for child in parent.findChildren(kind):
                assert child.accessibleName(), child
                assert child.toolTip(), child
    assert "B" in bar.switch.toolTip()
    bar.set_side("B")
    assert "Listening to B" in bar.switch.accessibleName()


def test_the_difference_gives_room_before_the_names_are_cut(qtbot: QtBot) -> None:
    switch = ABSwitch(DARK)
    qtbot.addWidget(switch)
    font = QFont(switch.font())
    font.setBold(True)
    words_px = QFontMetrics(font).horizontalAdvance("Reconstruction")
    seen = set()
    for width in range(236, 521):
        switch.resize(width, 46)
        is_worded = switch._half("D").width() >= 80
        seen.add(is_worded)
        assert not is_worded or switch._half("B").width() > words_px + 36
        assert switch._half("D").right() <= width - 4
    assert seen == {False, True}
    switch.set_labels(("a name of a file that is longer than any switch.wav", ""), ("Reconstruction", ""))
    assert switch._half("D").width() >= 80  # no name is cut for it that would not be cut anyway


def test_the_bar_fits_a_small_window(qtbot: QtBot) -> None:
    bar = TransportBar(DARK)
    qtbot.addWidget(bar)
    bar.set_duration(35_999)
    assert bar.minimumSizeHint().width() <= 1180


def test_codebooks_and_what_they_cost(qtbot: QtBot) -> None:
    control = CodebooksControl(DARK, INFO)
    qtbot.addWidget(control)
    control.show()
    chosen: list[int] = []
    control.value_changed.connect(chosen.append)
    control.set_value(8)
    assert "1.10 kbit/s" in control._cost.text()
    assert "100 tokens/s" in control._cost.text()
    control.set_range(16)
    control.set_value(20)
    assert control.value == 16
    assert chosen == []
    QTest.keyClick(control._slider, Qt.Key.Key_Left)
    QTest.keyClick(control._spin, Qt.Key.Key_Down)
    assert chosen == [15, 14]
    control.set_range(4)
    assert control.value == 4
    assert not control.grab().isNull()


def test_every_icon_draws_something() -> None:
    for name in icon_names():
        image = icon(name, DARK).pixmap(24, 24).toImage()
        assert sum(image.pixelColor(x, y).alpha() > 0 for x in range(24) for y in range(24)) > 20, name
    assert {16, 256} <= {size.width() for size in app_icon().availableSizes()}


@pytest.fixture
def dressed() -> Iterator[QApplication]:
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    before = QPalette(app.palette()), app.styleSheet()
    yield app
    app.setPalette(before[0])
    app.setStyleSheet(before[1])


def test_the_theme_can_be_chosen_and_follows_the_system(qtbot: QtBot, dressed: QApplication) -> None:
    keeper = ThemeKeeper(dressed, "dark")
    seen: list[Theme] = []
    keeper.changed.connect(seen.append)
    assert keeper.theme is DARK
    assert dressed.palette().color(QPalette.ColorRole.Window) == DARK.color("window")
    assert "@" not in dressed.styleSheet()
    keeper.set_choice("light")
    assert seen == [LIGHT]
    keeper.set_choice("anything else")
    assert keeper.choice == "system"
    hints = QGuiApplication.styleHints()
    hints.setColorScheme(Qt.ColorScheme.Dark)
    QApplication.processEvents()
    if hints.colorScheme() == Qt.ColorScheme.Dark:  # the offscreen platform of older Qt has no scheme at all
        assert keeper.theme is DARK
    hints.unsetColorScheme()
    keeper.deleteLater()


SCALED = """
import numpy as np
from PySide6.QtWidgets import QApplication
app = QApplication([])
from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo
from mimi_gui.ui.theme import LIGHT, apply_theme
from mimi_gui.ui.timeline import Wall
apply_theme(app, LIGHT)
wall = Wall(LIGHT)
wall.set_duration(2.0)
wall.set_source(Envelope.from_samples(np.zeros(48000, np.float32), 24000), "Original")
wall.set_codes(np.zeros((32, 25), np.int16), CodecInfo())
for height in range(500, 520):
    wall.resize(903, height)
    wall.show()
    app.processEvents()
    image = wall.grab().toImage()
    for x in (3, 40, image.width() // 2, image.width() - 3):
        for y in range(image.height()):
            assert image.pixel(x, y) & 0xFFFFFF, (height, x, y)
print("painted", image.devicePixelRatio())
"""


@pytest.mark.parametrize("scale", ["1.25", "1.5", "1.75", "2"])
def test_no_pixel_is_left_unpainted_at_any_scale(scale: str) -> None:
    environment = {**os.environ, "QT_SCALE_FACTOR": scale, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", SCALED], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["painted", str(float(scale))], done.stderr
