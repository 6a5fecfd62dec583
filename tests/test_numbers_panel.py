"""The table of numbers: what could not be measured says why, and copies as text."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.metrics import METRICS, MetricResult
from mimi_gui.ui.numbers_panel import NumbersPanel
from mimi_gui.ui.theme import DARK, LIGHT

WHOLE = (
    MetricResult(METRICS["si_sdr"], 3.25, note="24 kHz"),
    MetricResult(METRICS["stoi"], None, "shorter than 0.4 s of speech"),
)


def rows(panel: NumbersPanel) -> list[list[str]]:
    table = panel._table
    items = [table.topLevelItem(place) for place in range(table.topLevelItemCount())]
    return [[item.text(column).strip() for column in range(3)] for item in items if item is not None]


def test_values_and_reasons(qtbot: QtBot) -> None:
    panel = NumbersPanel(DARK)
    qtbot.addWidget(panel)
    assert not panel._save.isEnabled()
    panel.set_results(WHOLE)
    found = {row[0]: row[1] for row in rows(panel)}
    assert found[METRICS["si_sdr"].name] == "3.25 dB"
    assert found[METRICS["stoi"].name] == "n/a"  # never 0.0
    table = panel._table
    items = [table.topLevelItem(place) for place in range(table.topLevelItemCount())]
    stoi = next(item for item in items if item is not None and METRICS["stoi"].name in item.text(0))
    assert "shorter than" in stoi.toolTip(1)
    assert METRICS["stoi"].definition in stoi.toolTip(0)
    assert table.isColumnHidden(2)
    panel.set_theme(LIGHT)
    assert not panel.grab().isNull()


def test_the_selection_stands_beside_the_whole(qtbot: QtBot) -> None:
    panel = NumbersPanel(DARK)
    qtbot.addWidget(panel)
    panel.set_results(WHOLE, (MetricResult(METRICS["si_sdr"], 1.0),), (1.0, 2.5))
    assert not panel._table.isColumnHidden(2)
    header = panel._table.headerItem()
    assert header is not None
    assert header.text(2) == "0:01.00 – 0:02.50"
    panel.copy()
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0].split("\t") == ["metric", "unit", "whole", "selection"]
    assert lines[1].split("\t") == [METRICS["si_sdr"].name, "dB", "3.25", "1"]
    assert "n/a (shorter" in lines[2]


def test_the_button_measures_or_cancels(qtbot: QtBot) -> None:
    panel = NumbersPanel(DARK)
    qtbot.addWidget(panel)
    with qtbot.waitSignal(panel.measure_requested):
        panel._measure.click()
    panel.set_running(True, 1, 4)
    with qtbot.waitSignal(panel.cancel_requested):
        panel._measure.click()
    panel.set_running(False)
    assert panel._progress.isHidden()
    panel.set_results(WHOLE)
    with qtbot.waitSignal(panel.save_requested):
        panel._save.click()
