"""Spectrograms, the difference and the error strip on the wall: pixels, gestures, the tile thread."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.analysis.error_strip import ErrorStrip, Moment
from mimi_gui.analysis.spectrogram import SpectrogramSettings
from mimi_gui.ui.analysis_lanes import LANE_KINDS, AnalysisLanes
from mimi_gui.ui.error_view import ErrorView
from mimi_gui.ui.lane import GUTTER_PX
from mimi_gui.ui.spectrogram_panel import SpectrogramPanel
from mimi_gui.ui.spectrogram_view import FrequencyRange, SpectrogramView
from mimi_gui.ui.theme import DARK, difference_table, level_table
from mimi_gui.ui.tile_store import TileStore
from mimi_gui.ui.timeline import Wall

RATE = 24_000
SECONDS = 4.0
LINEAR = SpectrogramSettings(scale="linear", window_samples=1024, hop_samples=240)


def tone(hz: float, amplitude: float = 0.5) -> np.ndarray:
    t = np.arange(int(SECONDS * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def make(qtbot: QtBot) -> tuple[Wall, AnalysisLanes]:
    wall = Wall(DARK)
    qtbot.addWidget(wall)
    wall.set_duration(SECONDS)
    lanes = AnalysisLanes(wall)
    wall.resize(1000 + GUTTER_PX + 10, 800)
    wall.show()
    return wall, lanes


def settle(qtbot: QtBot, lane: SpectrogramView) -> None:
    """Wait until every tile in sight is there."""

    def settled() -> bool:
        lane.grab()
        return all(lane._store.get(key) is not None for key, _ in lane._store._wanted.get(lane, []))

    qtbot.waitUntil(settled, timeout=10_000)


def spectrogram(lanes: AnalysisLanes, key: str) -> SpectrogramView:
    lane = lanes._lanes[key]
    assert isinstance(lane, SpectrogramView)
    return lane


def test_a_tone_is_bright_at_its_frequency_only(qtbot: QtBot) -> None:
    _, lanes = make(qtbot)
    lanes.set_settings(LINEAR, "grey")
    lanes.show("spectrogram_a")
    lanes.set_sounds(tone(3000), tone(3000), RATE)
    lane = spectrogram(lanes, "spectrogram_a")
    settle(qtbot, lane)
    image = lane.grab().toImage()
    rect = lane.plot_rect()
    column = [image.pixelColor(GUTTER_PX + 500, y).lightness() for y in range(rect.top(), rect.bottom() + 1)]
    brightest = rect.top() + int(np.argmax(column))
    assert lane.hz_at(brightest + 0.5) == pytest.approx(3000, abs=12_000 / rect.height() + 24)
    dark = [level for y, level in enumerate(column) if abs(lane.hz_at(rect.top() + y + 0.5) - 3000) > 600]
    assert max(dark) < 0.3 * max(column)
    assert "3" in lane.describe(QPointF(GUTTER_PX + 500, brightest))
    lanes.close()


def test_the_read_out_names_time_frequency_level_and_note(qtbot: QtBot) -> None:
    _, lanes = make(qtbot)
    lanes.set_settings(LINEAR, "ember")
    lanes.show("spectrogram_a")
    lanes.set_sounds(tone(440 * 4), None, RATE)
    lane = spectrogram(lanes, "spectrogram_a")
    rect = lane.plot_rect()
    ys = range(rect.top(), rect.bottom())
    y = min(ys, key=lambda y: abs(lane.hz_at(y) - 1760))
    words = lane.describe(QPointF(GUTTER_PX + 250, y))
    assert "0:01.000" in words
    assert "Hz" in words
    assert "A6" in words
    level = float(words.rsplit(" dB", 1)[0].rsplit(" ", 1)[1])
    assert level > -30  # a tone of -6 dBFS, read in the nearest bin to the pointer's row
    lanes.close()


def test_the_difference_is_ground_where_both_agree(qtbot: QtBot) -> None:
    _, lanes = make(qtbot)
    lanes.set_settings(LINEAR, "ember")
    lanes.show("spectrogram_difference")
    lane = spectrogram(lanes, "spectrogram_difference")
    a = tone(3000)
    lanes.set_sounds(a, a.copy(), RATE)
    settle(qtbot, lane)
    rect = lane.plot_rect()
    image = lane.grab().toImage()
    ground = int(difference_table(DARK)[128])
    assert {image.pixel(GUTTER_PX + 400, y) for y in range(rect.top(), rect.bottom())} == {ground}
    lanes.set_sounds(a, (a * 0.1).astype(np.float32), RATE)  # 20 dB lost at the tone
    settle(qtbot, lane)
    image = lane.grab().toImage()
    y = min(range(rect.top(), rect.bottom()), key=lambda y: abs(lane.hz_at(y + 0.5) - 3000))
    lost = image.pixelColor(GUTTER_PX + 400, y)
    assert lost.blue() > lost.red()  # the original's colour
    lanes.close()


def test_dragging_the_scale_zooms_all_spectrograms(qtbot: QtBot) -> None:
    _, lanes = make(qtbot)
    lanes.set_settings(LINEAR, "ember")
    lanes.show("spectrogram_a")
    lanes.show("spectrogram_b")
    lanes.set_sounds(tone(3000), tone(3000), RATE)
    a, b = spectrogram(lanes, "spectrogram_a"), spectrogram(lanes, "spectrogram_b")
    QTest.qWait(1)
    y = a.plot_rect().center().y()
    at = a.hz_at(y)
    QTest.mousePress(a, Qt.MouseButton.LeftButton, pos=QPoint(20, y))
    QTest.mouseMove(a, QPoint(20, y - 60))
    QTest.mouseRelease(a, Qt.MouseButton.LeftButton, pos=QPoint(20, y - 60))
    frequencies = a._frequencies
    assert frequencies.high - frequencies.low == pytest.approx(0.5, abs=0.01)
    assert a.hz_at(y) == pytest.approx(at, rel=0.05)
    assert b.hz_at(b.plot_rect().bottom()) > 1000
    QTest.mouseDClick(a, Qt.MouseButton.LeftButton, pos=QPoint(20, y))
    assert (frequencies.low, frequencies.high) == (0.0, 1.0)
    lanes.close()


def test_frequencies_stay_inside() -> None:
    frequencies = FrequencyRange()
    rng = np.random.default_rng(0)
    for _ in range(300):
        frequencies.zoom(float(rng.choice([0.1, 0.5, 2.0, 30.0])), float(rng.uniform(-0.5, 1.5)))
        assert 0 <= frequencies.low < frequencies.high <= 1 + 1e-9


@pytest.mark.parametrize("scale", ["linear", "mel", "log"])
def test_every_zoom_of_every_scale_draws(qtbot: QtBot, scale: str) -> None:
    wall, lanes = make(qtbot)
    lanes.set_settings(SpectrogramSettings(scale=scale), "sea")  # type: ignore[arg-type]
    for kind in LANE_KINDS:
        lanes.show(kind.key)
    short = tone(500)[:5000]
    lanes.set_sounds(short, short[:4000], RATE)
    for span in (SECONDS, 1.0, 0.05, 0.001):
        wall.axis.set_range(0.1, 0.1 + span)
        for key in ("spectrogram_a", "spectrogram_b", "spectrogram_difference"):
            settle(qtbot, spectrogram(lanes, key))
    lanes.set_sounds(None, None, RATE)
    wall.grab()
    for kind in LANE_KINDS:
        lanes.show(kind.key, False)
        assert not lanes.is_shown(kind.key)
    lanes.close()


def test_lanes_stand_under_what_they_belong_to(qtbot: QtBot) -> None:
    wall, lanes = make(qtbot)
    for kind in reversed(LANE_KINDS):
        lanes.show(kind.key)
    order = sorted([*lanes._lanes, "source", "reconstruction", "heatmap"], key=lambda key: wall.place_of(
        lanes._lanes.get(key) or getattr(wall, key)))  # fmt: skip
    assert order.index("spectrogram_a") == order.index("source") + 1
    assert order.index("spectrogram_b") > order.index("reconstruction")
    assert order[-1] == "error"
    lanes.close()


def test_the_wall_starts_without_scipy() -> None:
    code = (
        "import sys, mimi_gui.ui.analysis_lanes, mimi_gui.ui.transport_bar, mimi_gui.ui.codebooks_control;"
        "print([name for name in ('scipy', 'torch', 'pyqtgraph') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# --- the tile thread -------------------------------------------------------------------------------


def test_tiles_are_made_elsewhere_and_the_newest_wish_wins(qtbot: QtBot) -> None:
    store = TileStore()
    gate = threading.Event()
    made: list[tuple[int, str]] = []

    def recipe(number: int) -> np.ndarray:
        gate.wait(5)
        made.append((number, threading.current_thread().name))
        return np.full((2, 2), number, np.uint8)

    store.want(store, [(n, lambda n=n: recipe(n)) for n in range(50)])  # the view is here ...
    store.want(store, [(100, lambda: recipe(100))])  # ... and is scrolled on before the first tile is done
    gate.set()
    qtbot.waitUntil(lambda: store.get(100) is not None, timeout=5000)
    assert [number for number, _ in made] == [0, 100]
    assert all(name.startswith("tiles") for _, name in made)
    store.close()


def test_tiles_rest_between_each_other_while_the_views_are_moved(qtbot: QtBot) -> None:
    store = TileStore()
    rests: list[bool] = []

    def look() -> None:
        rests.append(store._pause.isActive())

    def want(keys: range) -> None:
        store.want(store, [(n, lambda: np.zeros((2, 2), np.uint8)) for n in keys])
        qtbot.waitUntil(lambda: all(store.get(n) is not None for n in keys), timeout=5000)

    store._pause.timeout.connect(look)
    want(range(3))
    assert rests == []
    store._moved_at = float("inf")  # moved just now, however slow this machine is
    want(range(10, 13))
    assert len(rests) >= 2  # one between each two
    store._moved_at = -1.0
    store.move()
    assert store._moved_at > 0
    store.close()


def test_the_cache_is_bounded(qtbot: QtBot) -> None:
    store = TileStore(max_bytes=10_000)
    for start in range(0, 40, 4):
        keys = range(start, start + 4)
        store.want(store, [(n, lambda: np.zeros((40, 40), np.uint8)) for n in keys])
        qtbot.waitUntil(lambda keys=keys: all(store.get(n) is not None for n in keys), timeout=5000)
    assert store._bytes <= 10_000
    assert store.get(0) is None
    store.close()


def test_a_tile_that_fails_is_not_tried_for_ever(qtbot: QtBot, caplog: pytest.LogCaptureFixture) -> None:
    store = TileStore()
    tries: list[int] = []

    def recipe() -> np.ndarray:
        tries.append(1)
        raise ValueError("no such tile")

    store.want(store, [("bad", recipe)])
    qtbot.waitUntil(lambda: store.get("bad") is not None, timeout=5000)
    store.want(store, [("bad", recipe)])
    qtbot.wait(20)
    assert len(tries) == 1
    assert "could not be made" in caplog.text
    store.close()


# --- errors ------------------------------------------------------------------------------------------


def test_the_error_strip_shows_the_worst_of_a_pixel(qtbot: QtBot) -> None:
    wall, lanes = make(qtbot)
    values = np.zeros(50, np.float32)
    values[30] = 2.0
    strip = ErrorStrip("log_mel", "Log-mel distance", "Np", values, 0.08)
    lanes.show("error")
    lanes.set_error_strip(strip, [Moment(2.24, 2.72, 30, 2.0)])
    lane = lanes._lanes["error"]
    assert isinstance(lane, ErrorView)
    rect = lane.plot_rect()
    ground = DARK.color("plot").rgb()

    def tall() -> list[int]:
        image = lane.grab().toImage()
        y = rect.bottom() - 6
        return [x for x in range(rect.left(), rect.right()) if image.pixel(x, y) != ground]

    columns = tall()
    assert columns[0] == pytest.approx(GUTTER_PX + 600, abs=2)
    assert columns[-1] == pytest.approx(GUTTER_PX + 620, abs=2)
    wall.set_duration(4000.0)
    wall.fit()  # fifty frames on one pixel: the bad one still shows
    assert len(tall()) >= 1
    wall.set_duration(SECONDS)
    wall.fit()
    assert "2 Np" in lane.describe(QPointF(GUTTER_PX + 610, rect.center().y()))
    assert "worst moment 1" in lane.describe(QPointF(GUTTER_PX + 610, rect.center().y()))
    with qtbot.waitSignal(lanes.moment_requested) as asked:
        QTest.mouseDClick(lane, Qt.MouseButton.LeftButton, pos=QPoint(GUTTER_PX + 610, rect.center().y()))
    assert asked.args[0] == (2.24, 2.72)
    lanes.close()


def test_what_is_missing_is_asked_for(qtbot: QtBot) -> None:
    _, lanes = make(qtbot)
    asked: list[str] = []
    lanes.missing.connect(asked.append)
    lanes.set_sounds(tone(400), tone(400), RATE)
    lanes.show("error")
    lanes.show("difference")
    assert asked == ["error", "difference"]
    lanes.set_difference(Envelope.from_samples(tone(400) * 0, RATE))
    assert asked == ["error", "difference"]
    lanes.close()


def test_the_panel_keeps_darkest_under_brightest(qtbot: QtBot) -> None:
    panel = SpectrogramPanel()
    qtbot.addWidget(panel)
    chosen: list[tuple[SpectrogramSettings, str]] = []
    panel.changed.connect(lambda settings, colors: chosen.append((settings, colors)))
    panel.set_settings(SpectrogramSettings(window_samples=8192, floor_db=-90), "sea")
    assert chosen == []
    panel._floor.setValue(-5)
    settings, colors = chosen[-1]
    assert settings.floor_db <= settings.ceiling_db - 10
    assert settings.window_samples == 8192
    assert colors == "sea"
    panel._reset()
    assert chosen[-1] == (SpectrogramSettings(), "ember")


@pytest.mark.parametrize("name", ["ember", "sea", "grey"])
def test_levels_grow_steadily_in_lightness(name: str) -> None:
    table = level_table(DARK, name)
    rgb = np.stack([table >> 16 & 255, table >> 8 & 255, table & 255]) / 255
    lightness = (0.2126 * rgb[0] ** 2.2 + 0.7152 * rgb[1] ** 2.2 + 0.0722 * rgb[2] ** 2.2)[1:]
    assert np.all(np.diff(lightness) > -0.004)
    assert lightness[-1] - lightness[0] > 0.7
