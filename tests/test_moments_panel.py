"""The list of worst moments: choosing one loops it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.error_strip import ErrorStrip, Moment
from mimi_gui.ui.moments_panel import MomentsPanel

STRIP = ErrorStrip("lsd", "Log-spectral distance", "dB", np.zeros(100, np.float32), 0.08)
MOMENTS = [Moment(4.0, 4.64, 54, 9.0), Moment(1.0, 1.64, 16, 7.5), Moment(6.0, 6.64, 79, 3.0)]


def test_the_buttons_step_and_a_chosen_line_is_told(qtbot: QtBot) -> None:
    panel = MomentsPanel()
    qtbot.addWidget(panel)
    steps: list[int] = []
    chosen: list[int] = []
    panel.step_requested.connect(steps.append)
    panel.moment_chosen.connect(chosen.append)
    panel.set_moments(STRIP, MOMENTS)
    assert panel._metric.currentData() == "lsd"
    panel.next()
    panel.previous()
    assert steps == [1, -1]
    panel.choose(2)
    current = panel._list.currentItem()
    assert current is not None
    assert current.text(0) == "3"
    panel._list.itemActivated.emit(panel._list.topLevelItem(1), 0)
    assert chosen == [1]


def test_enter_loops_the_chosen_one(qtbot: QtBot) -> None:
    panel = MomentsPanel()
    qtbot.addWidget(panel)
    panel.set_moments(STRIP, MOMENTS)
    panel.show()
    panel._list.setCurrentItem(panel._list.topLevelItem(1))
    with qtbot.waitSignal(panel.moment_requested) as asked:
        QTest.keyClick(panel._list, Qt.Key.Key_Return)
    assert asked.args[0] == (1.0, 1.64)
    first = panel._list.topLevelItem(0)
    assert first is not None
    assert [first.text(column) for column in range(4)] == ["1", "0:04.00", "0:04.64", "9.00 dB"]


def test_another_measure_can_be_asked_for(qtbot: QtBot) -> None:
    panel = MomentsPanel()
    qtbot.addWidget(panel)
    with qtbot.waitSignal(panel.metric_requested) as asked:
        panel._metric.setCurrentIndex(2)
        panel._metric.activated.emit(2)
    assert asked.args == ["noise"]
    panel.set_moments(None, ())
    assert not panel.grab().isNull()
