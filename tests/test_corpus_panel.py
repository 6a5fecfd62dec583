"""A corpus in the window: the list, its search and order, opening, figures, what stands out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from mimi_gui.codec import MimiCodec
from mimi_gui.corpus import decode_corpus, encode_corpus
from mimi_gui.corpus_list import is_corpus, read_listing
from mimi_gui.corpus_stats import corpus_stats
from mimi_gui.errors import MimiGuiError
from mimi_gui.ui import sound_output
from mimi_gui.ui.corpus_panel import CorpusPanel
from mimi_gui.ui.theme import LIGHT
from tests.test_main_window import House

LENGTHS = {"a": 20000, "deep/b": 50000, "deep/c": 9000, "quiet": 30000}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_codec: MimiCodec) -> Path:
    """Four recordings, one of them silent, and one that is none."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for name, length in LENGTHS.items():
        path = folder / "in" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.standard_normal(length) * (1e-5 if name == "quiet" else 0.1), 24000, subtype="FLOAT")
    (folder / "in" / "bad.wav").write_bytes(b"no audio")
    encode_corpus(folder / "in", folder / "out", num_codebooks=8, codec=tiny_codec)
    return folder / "out"


def test_the_list_is_what_the_manifest_says(corpus: Path, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    assert is_corpus(corpus)
    assert is_corpus(corpus / "manifest.jsonl")
    assert not is_corpus(corpus.parent / "in")
    listing = read_listing(corpus / "manifest.jsonl")
    assert [line.name for line in listing.lines] == ["a.npz", "bad.npz", "deep/b.npz", "deep/c.npz", "quiet.npz"]
    assert listing.lines[2].tokens == corpus / "deep" / "b.npz"
    assert listing.lines[2].audio == corpus.parent / "in" / "deep" / "b.wav"
    assert listing.lines[2].length_s == pytest.approx(50000 / 24000, abs=1e-5)
    assert (listing.num_failed, listing.lines[1].state, listing.lines[1].tokens) == (1, "failed", None)
    assert listing.about.startswith("8 codebooks of ")
    decode_corpus(corpus, tmp_path / "audio", codec=tiny_codec)
    decoded = read_listing(tmp_path / "audio")
    assert decoded.lines[0].tokens == corpus / "a.npz"
    assert len(decoded.lines) == 4
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "corpus.json").write_text("{}")
    with pytest.raises(MimiGuiError, match="holds no corpus yet"):
        read_listing(tmp_path / "empty")


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


def names(panel: CorpusPanel) -> list[str]:
    model = panel.view.model()
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def states(panel: CorpusPanel) -> dict[str, str]:
    model = panel.view.model()
    return {str(model.index(row, 0).data()): str(model.index(row, 2).data()) for row in range(model.rowCount())}


def test_a_corpus_opens_as_a_list(house: House, corpus: Path) -> None:
    window, session = house.window, house.window.session
    session.open([corpus])
    house.until(lambda: session.document.is_complete and "corpus" in window.panels.widgets)
    panel = window.panels.widgets["corpus"]
    assert isinstance(panel, CorpusPanel)
    assert window.panels.docks["corpus"].isVisible()
    assert not window._recordings_dock.isVisible()
    assert names(panel) == ["a", "bad", "deep/b", "deep/c", "quiet"]
    assert session.document.title == "a.npz"
    assert session.document.recording is not None  # found by the manifest, in another folder
    assert "5 recordings, 1 failed, 0:05" in panel._counts.text()
    assert "8 codebooks of " in panel._counts.text()

    # By length, as a number and not as words.
    header = panel.view.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(1) + 5, header.height() // 2)
    house.qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    first = names(panel)
    house.qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    longest = sorted(LENGTHS, key=lambda name: -LENGTHS[name])
    by_length = [*longest, "bad"]
    assert sorted([first, names(panel)]) == sorted([by_length, by_length[::-1]])

    # Search, go down, Enter.
    house.qtbot.keyClicks(panel.search, "DEEP c")
    assert names(panel) == ["deep/c"]
    assert "1 of 5 recordings" in panel._counts.text()
    house.qtbot.keyClick(panel.search, Qt.Key.Key_Return)
    house.qtbot.keyClick(panel.view, Qt.Key.Key_Return)
    house.until(lambda: session.document.title == "c.npz" and session.document.is_complete)
    panel.search.clear()

    # Previous and next go through the corpus in its own order, leaving out what failed.
    window.commands.previous_recording()
    house.until(lambda: session.document.title == "b.npz")
    assert panel.view.currentIndex().siblingAtColumn(0).data() == "deep/b"
    window.commands.previous_recording()
    house.until(lambda: session.document.title == "a.npz")

    # What failed says why.
    panel.search.setText("failed")
    assert names(panel) == ["bad"]
    panel.view.selectRow(0)
    house.qtbot.keyClick(panel.view, Qt.Key.Key_Return)
    house.until(lambda: any("not a recording" in label.text() for label in window.banners.findChildren(QLabel)))
    assert session.document.title == "a.npz"


def test_a_corpus_takes_the_place_of_the_list_of_recordings(house: House, corpus: Path) -> None:
    window, session = house.window, house.window.session
    session.open([corpus / "a.npz", corpus / "quiet.npz"])
    house.until(lambda: session.document.is_complete and window._recordings_dock.isVisible())
    session.open([corpus])
    house.until(lambda: session.document.is_complete and session.corpus is not None)
    assert window.panels.docks["corpus"].isVisible()
    assert not window._recordings_dock.isVisible()
    window._recordings_dock.show()  # whoever wants both has both
    before = session.document
    window.commands.next_recording()
    house.until(lambda: session.document is not before)
    assert window._recordings_dock.isVisible()


def test_figures_and_what_stands_out(
    house: House, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, session = house.window, house.window.session
    session.open([corpus / "manifest.jsonl"])
    house.until(lambda: session.document.is_complete and "corpus" in window.panels.widgets)
    panel = window.panels.widgets["corpus"]
    assert isinstance(panel, CorpusPanel)
    panel._measure.click()
    assert panel._measure.text() == "Cancel"
    house.until(lambda: panel._measure.text() == "Statistics")
    expected = corpus_stats(corpus)
    assert f"{expected.num_frames:,} frames" in panel._words.text()
    assert "Standing out: 1 failed, 1 silent" in panel._words.text()
    assert panel.chart.words(3).startswith(f"Codebook 3: {expected.entropy_bits[3]:.2f} of 11 bits")
    assert states(panel)["quiet"] == "silent"
    assert states(panel)["bad"] == "failed"
    assert panel.chart.isVisible()
    panel.view.sortByColumn(2, Qt.SortOrder.AscendingOrder)  # trouble first
    assert names(panel)[:2] == ["bad", "quiet"]
    panel.set_theme(LIGHT)
    panel.chart.grab()

    # An outlier opens at its moment.
    line = next(line for line in session.corpus.lines if line.name == "deep/b.npz") if session.corpus else None
    assert line is not None
    silent = next(outlier for outlier in expected.outliers if outlier.kind == "silent")
    there = replace(silent, path="deep/b.npz", kind="rare codes", words="9 bits a code", at_s=1.28)
    loud = replace(silent, path="deep/b.npz", kind="clipped", words="9 % at full scale")
    panel.set_figures(replace(expected, outliers=(loud, there)))
    assert states(panel)["deep/b"] == "clipped, rare codes"
    panel.search.setText("rare")
    assert names(panel) == ["deep/b"]
    panel.view.selectRow(0)
    house.qtbot.keyClick(panel.view, Qt.Key.Key_Return)
    house.until(lambda: session.document.title == "b.npz")
    assert window.transport.position_s == pytest.approx(1.28, abs=0.01)


def test_a_run_that_goes_on_is_read_again(house: House, corpus: Path, tmp_path: Path) -> None:
    window, session = house.window, house.window.session
    growing = tmp_path / "growing"
    growing.mkdir()
    lines = sorted((corpus / "manifest.jsonl").read_text().splitlines(), key=lambda line: json.loads(line)["path"])
    (growing / "a.npz").write_bytes((corpus / "a.npz").read_bytes())
    (growing / "manifest.jsonl").write_text(lines[0] + "\n")
    session.open([growing])
    house.until(lambda: session.document.is_complete and "corpus" in window.panels.widgets)
    panel = window.panels.widgets["corpus"]
    assert isinstance(panel, CorpusPanel)
    assert names(panel) == ["a"]
    (growing / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    panel._again.click()
    house.until(lambda: len(names(panel)) == 5)
    assert session.current == [entry.tokens for entry in session.recordings].index(growing / "a.npz")
    assert len(session.recordings) == 4
