"""The ladder's chart: points where the numbers say, a click that asks for a rung."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.ladder import Ladder, Rung
from mimi_gui.analysis.metrics import METRICS, MetricResult
from mimi_gui.codes import CodecInfo
from mimi_gui.ui.ladder_panel import LadderChart, LadderPanel, round_ticks
from mimi_gui.ui.theme import DARK, LIGHT

INFO = CodecInfo()


def ladder_of(values: dict[int, float | None], key: str = "log_mel") -> Ladder:
    ladder = Ladder()
    for k, value in values.items():
        result = MetricResult(METRICS[key], value, "" if value is not None else "too short")
        ladder = ladder.with_rung(Rung(k, INFO.bitrate_kbps(k), (result,)))
    return ladder


def test_points_stand_in_proportion(qtbot: QtBot) -> None:
    chart = LadderChart(DARK)
    qtbot.addWidget(chart)
    chart.resize(600, 300)
    chart.set_ladder(ladder_of({1: 2.0, 8: 1.0, 32: 0.0, 16: None}))
    points = dict(chart.points())
    assert sorted(points) == [1, 8, 32]  # what could not be measured is not drawn as if it were zero
    assert (points[8].x() - points[1].x()) / (points[32].x() - points[1].x()) == pytest.approx(7 / 31)
    assert points[8].y() == pytest.approx((points[1].y() + points[32].y()) / 2)
    assert points[1].y() < points[32].y()
    assert not chart.grab().isNull()


def test_a_click_asks_for_the_nearest_rung(qtbot: QtBot) -> None:
    panel = LadderPanel(LIGHT)
    qtbot.addWidget(panel)
    panel.resize(700, 400)
    panel.show()
    panel.set_ladder(ladder_of({k: float(np.exp(-k / 5)) for k in range(1, 33)}))
    place = dict(panel.chart.points())[12]
    with qtbot.waitSignal(panel.num_codebooks_requested) as asked:
        QTest.mouseClick(panel.chart, Qt.MouseButton.LeftButton, pos=QPoint(round(place.x()), 40))
    assert asked.args == [12]
    panel.set_num_codebooks(12)
    for key, wanted in ((Qt.Key.Key_Right, 13), (Qt.Key.Key_Left, 11)):
        with qtbot.waitSignal(panel.num_codebooks_requested) as asked:
            QTest.keyClick(panel.chart, key)
        assert asked.args == [wanted]
    assert "Knee at" in panel._words.text()


@pytest.mark.parametrize("values", [{}, {5: 1.0}, {1: 3.0, 2: 3.0}, {1: None, 2: None}, {1: -1e-9, 2: 1e9}])
def test_odd_ladders_draw(qtbot: QtBot, values: dict[int, float | None]) -> None:
    panel = LadderPanel(DARK)
    qtbot.addWidget(panel)
    panel.set_ladder(ladder_of(values))
    assert not panel.grab().isNull()
    QTest.mouseClick(panel.chart, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))


def test_the_button_starts_and_cancels(qtbot: QtBot) -> None:
    panel = LadderPanel(DARK)
    qtbot.addWidget(panel)
    with qtbot.waitSignal(panel.start_requested):
        panel._button.click()
    panel.set_ladder(ladder_of({1: 1.0}), 1, 32)
    assert panel._button.text() == "Cancel"
    with qtbot.waitSignal(panel.cancel_requested):
        panel._button.click()
    panel.set_ladder(ladder_of({1: 1.0, 2: 0.5}))
    assert panel._button.text() == "Measure again"


def test_every_measured_metric_can_be_shown(qtbot: QtBot) -> None:
    panel = LadderPanel(DARK)
    qtbot.addWidget(panel)
    results = (MetricResult(METRICS["stoi"], 0.5), MetricResult(METRICS["si_sdr"], 2.0))
    panel.set_ladder(Ladder((Rung(4, 0.55, results), Rung(8, 1.1, results))))
    names = [panel._metric.itemText(i) for i in range(panel._metric.count())]
    assert names == [METRICS["stoi"].name, METRICS["si_sdr"].name]
    panel._metric.setCurrentIndex(1)
    panel._metric.activated.emit(1)
    assert "2.0" in panel.chart.words(8)


@pytest.mark.parametrize(("low", "high"), [(0, 4.4), (-3, 17), (0.1234, 0.1235), (-1e9, 1e9), (0, 1e-12)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    ticks = round_ticks(low, high, 5)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] >= low - 1e-9 * abs(low)
    assert ticks[-1] <= high + 1e-9 * abs(high)
    assert len(round_ticks(1.0, 1.0, 5)) == 1
