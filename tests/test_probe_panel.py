"""The stability probe in the window, against tokens that are encoded and compared here by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QPointF
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.probe import Disturbance, Steadiness, csv_table
from mimi_gui.codec import MimiCodec
from mimi_gui.ui import sound_output
from mimi_gui.ui.probe_chart import ProbeChart
from mimi_gui.ui.probe_panel import ProbePanel, summary
from mimi_gui.ui.theme import DARK, LIGHT
from tests.test_main_window import House


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


def opened(house: House) -> ProbePanel:
    house.window.panels.show("probe")
    house.until(lambda: "probe" in house.window.panels.widgets)
    panel = house.window.panels.widgets["probe"]
    assert isinstance(panel, ProbePanel)
    return panel


def test_the_shares_are_those_of_tokens_compared_by_hand(
    house: House, tmp_path: Path, tiny_codec: MimiCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.wav"
    sound = np.random.default_rng(1).uniform(-0.2, 0.2, int(24_000 * 1.9))
    soundfile.write(path, sound, 24_000, subtype="FLOAT")
    house.open(path)
    panel = opened(house)
    house.window.transport.set_loop((0.4, 1.7))
    panel._button.click()
    house.until(lambda: panel._button.text() == "Cancel")
    house.until(lambda: panel._button.text() == "Probe again")
    panel._copy.click()
    rows = list(csv.DictReader(io.StringIO(QGuiApplication.clipboard().text())))
    part = sound.astype(np.float32)[5 * 1920 : round(1.7 * 24_000)]
    plain = tiny_codec.encode(part).array
    louder = tiny_codec.encode(part * np.float32(10 ** (6 / 20))).array
    row = next(row for row in rows if row["kind"] == "gain" and row["amount"] == "6")
    whole = len(part) // 1920
    assert int(row["num_frames"]) == whole
    for k in (0, 1, 31):
        expected = np.mean(plain[k, :whole] == louder[k, :whole])
        assert float(row[f"codebook_{k}"]) == pytest.approx(expected)
    late = next(row for row in rows if row["kind"] == "context" and row["amount"] == "125")
    assert "too short" in late["reason"]
    assert late["codebook_0"] == ""
    assert "0:00.4 to 0:01.7" in panel._words.text()
    target = tmp_path / "out"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    panel._save.click()
    house.until(lambda: target.with_suffix(".csv").exists())
    assert target.with_suffix(".csv").read_text() == QGuiApplication.clipboard().text()


def test_it_can_be_cancelled_and_says_what_it_lacks(house: House, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    notices: list[str] = []
    house.window.panels.noticed.connect(lambda notice: notices.append(notice.text))
    panel = opened(house)
    panel.start_requested.emit()
    assert "only tokens are open" in notices[-1]
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.2, 0.2, 24_000 * 2), 24_000)
    house.open(path)
    panel._button.click()
    house.until(lambda: panel._copy.isEnabled())
    assert panel._button.text() == "Cancel"
    panel._button.click()
    assert panel._button.text() == "Probe again"
    house.until(lambda: not house.window.codec_thread.is_busy)
    assert panel._copy.isEnabled()  # what was found stays


def results() -> list[Steadiness]:
    shares = np.linspace(1.0, 0.0, 8)
    return [
        Steadiness(Disturbance("shift", 1), shares, 50),
        Steadiness(Disturbance("shift", 960), shares**4, 50),
        Steadiness(Disturbance("context", 12), np.ones(8), 48),
        Steadiness(Disturbance("context", 125), np.zeros(0), 0, "too short"),
    ]


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_the_chart_s_cells_are_the_shares(qtbot: QtBot, theme: object) -> None:
    chart = ProbeChart(theme)  # type: ignore[arg-type]
    qtbot.addWidget(chart)
    chart.resize(500, 400)
    chart.set_results(results())
    image = chart.grab().toImage()
    columns = chart._columns()
    _, cells = chart._split(columns[0])

    def color(column: int, codebook: int) -> np.ndarray:
        x, y = columns[column].center().x(), cells.top() + (codebook + 0.4) * cells.height() / 8
        found = image.pixelColor(int(x), int(y))
        return np.array([found.red(), found.green(), found.blue()])

    low, high = (np.array([c.red(), c.green(), c.blue()]) for c in map(chart.theme.color, ("raised", "accent")))
    for k in range(8):
        share = 1 - k / 7
        np.testing.assert_allclose(color(0, k), low + share * (high - low), atol=2)
    said: list[str] = []
    chart.pointed.connect(said.append)
    cell = chart._cell_at(QPointF(columns[1].center().x(), cells.top() + 3.5 * cells.height() / 8))
    assert cell == (1, 3)
    assert chart.words(1, 3) == f"codebook 3, shifted by 960 samples: {(4 / 7) ** 4:.0%} of 50 tokens stay"
    assert "n/a" in chart.words(3)


def test_words_and_table() -> None:
    text = summary(results(), 1, (0.0, 4.0))
    assert "shifts 100% semantic, 28% acoustic" in text  # (3 / 7 + 2275 / 16807) / 2
    assert "12 frames of context" in text
    lines = csv_table(results()).splitlines()
    assert lines[0].startswith("kind,amount,label,num_frames,codebook_0")
    assert lines[4].endswith("too short")
    assert len({line.count(",") for line in lines if '"' not in line}) == 1
