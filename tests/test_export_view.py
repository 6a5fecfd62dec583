"""Pictures of views: the size asked for, the pixels of the data, an SVG that any reader can parse."""

from __future__ import annotations

import base64
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo
from mimi_gui.errors import OutputError
from mimi_gui.ui import sound_output
from mimi_gui.ui.export_dialog import ExportDialog, SavePicture
from mimi_gui.ui.heatmap_view import code_indices
from mimi_gui.ui.ladder_panel import LadderChart
from mimi_gui.ui.picture import Look, Subject, image_of, png_bytes, subjects, svg_of
from mimi_gui.ui.theme import DARK, LIGHT, code_table
from mimi_gui.ui.timeline import Wall
from tests.test_main_window import House

RATE = 24_000
SVG = "{http://www.w3.org/2000/svg}"
rng = np.random.default_rng(2)


def array_of(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def png_facts(data: bytes) -> tuple[int, int, float]:
    """Width, height and dots per inch as the file's own chunks have them."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    place = data.index(b"pHYs") + 4
    per_meter, _, unit = struct.unpack(">IIB", data[place : place + 9])
    assert unit == 1
    return width, height, per_meter * 0.0254


@pytest.fixture
def wall(qtbot: QtBot) -> Wall:
    made = Wall(DARK)
    qtbot.addWidget(made)
    made.resize(900, 600)
    made.show()
    step = np.where(np.arange(RATE * 4) < RATE * 2, 0.8, 0.1) * np.sign(rng.standard_normal(RATE * 4))
    envelope = Envelope.from_samples(step.astype(np.float32), RATE)
    made.set_duration(4.0)
    made.set_source(envelope, "Original, as Mimi hears it")
    made.set_reconstruction(envelope, "Reconstruction from 8 codebooks")
    made.set_codes(rng.integers(0, 2048, (32, 50), dtype=np.int16), CodecInfo())
    return made


@pytest.mark.parametrize(("width", "height", "ratio"), [(1000, 700, 1.0), (800, 500, 2.0), (640, 480, 300 / 96)])
def test_a_png_has_the_size_asked_for(wall: Wall, width: int, height: int, ratio: float, tmp_path: Path) -> None:
    path = tmp_path / "wall.png"
    path.write_bytes(png_bytes(image_of(subjects(wall, [])[0], Look(width, height, LIGHT, ratio))))
    facts = png_facts(path.read_bytes())
    assert facts[:2] == (round(width * ratio), round(height * ratio))
    assert facts[2] == pytest.approx(96 * ratio, rel=0.01)
    corner = array_of(QImage(str(path)))[-1, 1].tolist()
    assert corner == [LIGHT.color("panel").red(), LIGHT.color("panel").green(), LIGHT.color("panel").blue()]


def test_nothing_on_the_screen_is_another_afterwards(wall: Wall) -> None:
    before = wall.grab().toImage()
    sizes = [lane.geometry() for lane in wall.shown_lanes()]
    image_of(subjects(wall, [])[0], Look(2000, 1500, LIGHT, 1.0, axes=False))
    svg_of(subjects(wall, [])[1], Look(700, 300, LIGHT))
    assert [lane.geometry() for lane in wall.shown_lanes()] == sizes
    assert wall.theme is DARK
    assert wall.grab().toImage() == before


def test_a_bare_waveform_s_pixels_are_its_samples(wall: Wall) -> None:
    wave = next(s for s in subjects(wall, []) if s.name == "Original, as Mimi hears it")
    pixels = array_of(image_of(wave, Look(400, 200, DARK, 1.0, axes=False))).astype(int)
    ink = np.array([DARK.color("side_a").red(), DARK.color("side_a").green(), DARK.color("side_a").blue()])
    is_ink = np.abs(pixels - ink).max(axis=2) < 40
    tall, small = is_ink[:, 20:180].sum(axis=0), is_ink[:, 220:380].sum(axis=0)
    limit = wall.source.limit
    np.testing.assert_allclose(tall, 0.8 / limit * 200, atol=3)
    np.testing.assert_allclose(small, 0.1 / limit * 200, atol=3)


def test_a_bare_heatmap_s_pixels_are_its_codes(wall: Wall) -> None:
    heat = next(s for s in subjects(wall, []) if s.lanes == (wall.heatmap,))
    pixels = array_of(image_of(heat, Look(1000, 660, LIGHT, 1.0, axes=False)))
    codes = wall.heatmap._codes
    assert codes is not None
    table = code_table(LIGHT)
    for row, frame in ((1, 0), (7, 13), (31, 49)):
        y = round((2 + row - 1 + 0.5) * 660 / 33)  # the semantic row is twice as tall
        x = frame * 20 + 4
        packed = int(table[code_indices(2048, semantic=False)[codes[row, frame]]])
        assert pixels[y, x].tolist() == [packed >> 16 & 255, packed >> 8 & 255, packed & 255]


def test_an_svg_parses_has_the_size_and_holds_letters_and_shapes(wall: Wall) -> None:
    wall.set_loop((1.0, 2.0))
    root = ET.fromstring(svg_of(subjects(wall, [])[0], Look(1200, 800, LIGHT)))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["viewBox"] == "0 0 1200 800"
    assert float(root.attrib["width"].removesuffix("mm")) == pytest.approx(1200 / 96 * 25.4, abs=0.1)
    words = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
    for expected in ("Original, as Mimi hears it", "Tokens", "semantic", "0:02"):
        assert expected in words
    assert "listening" not in words  # what is heard just now is no part of a picture
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 1  # the heatmap; waveforms are shapes
    href = images[0].attrib["{http://www.w3.org/1999/xlink}href"]
    assert base64.b64decode(href.split(",", 1)[1])[1:4] == b"PNG"
    shapes = [e.attrib.get("points") or e.attrib.get("d", "") for tag in ("polygon", "path", "polyline")
              for e in root.iter(SVG + tag)]  # fmt: skip
    assert max(len(re.findall(r"[-\d.]+,[-\d.]+", shape)) for shape in shapes) > 1000


def test_a_chart_of_a_panel(qtbot: QtBot) -> None:
    chart = LadderChart(DARK)
    qtbot.addWidget(chart)
    (chosen,) = [s for s in subjects(Wall(DARK), [chart]) if s.widget is not None]
    assert chosen.name == "K-ladder"
    assert image_of(chosen, Look(640, 400, LIGHT, 2.0)).width() == 1280
    assert chart.theme is DARK
    words = [e.text or "" for e in ET.fromstring(svg_of(chosen, Look(640, 400, LIGHT))).iter(f"{SVG}text")]
    assert any("Measure" in word for word in words)


def test_what_cannot_be_is_said(wall: Wall) -> None:
    whole = subjects(wall, [])[0]
    with pytest.raises(OutputError, match="too small"):
        image_of(whole, Look(900, 120, DARK))
    with pytest.raises(OutputError, match="too many"):
        image_of(whole, Look(20_000, 20_000, DARK))


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


def test_the_dialog_saves_and_copies(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE * 2) * 0.3), RATE)
    house.open(path)
    window = house.window
    window.panels.lanes.show("spectrogram_a")
    found: list[Subject] = subjects(window.workspace.wall, [])
    assert any("Spectrogram" in subject.name for subject in found)
    dialog = ExportDialog(found, DARK, house.settings, window.files_thread, "clip", window)
    dialog.unit.setCurrentIndex(1)
    dialog.width_box.setValue(150)
    dialog.height_box.setValue(140)
    dialog.dpi.setValue(200)
    assert dialog.look.pixels.width() == pytest.approx(150 / 25.4 * 200, abs=3)
    target = tmp_path / "figure"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    dialog._save.click()
    house.until(lambda: target.with_suffix(".png").exists())
    facts = png_facts(target.with_suffix(".png").read_bytes())
    assert facts[:2] == (dialog.look.pixels.width(), dialog.look.pixels.height())
    house.until(lambda: dialog._words.text().startswith("Saved"))
    before = target.with_suffix(".png").read_bytes()
    dialog._save.click()  # nobody was asked about the name with its suffix
    house.until(lambda: "exists already" in dialog._words.text())
    assert target.with_suffix(".png").read_bytes() == before
    dialog.what.setCurrentIndex(1)
    dialog._copy.click()
    house.until(lambda: dialog._words.text() == "Copied")
    assert QGuiApplication.clipboard().image().width() == dialog.look.pixels.width()
    dialog.reject()
    dialog.deleteLater()
    window.commands.copy_view()
    assert QGuiApplication.clipboard().image().width() >= window.workspace.wall.width()


def test_the_tiles_of_a_large_picture_are_waited_for(house: House, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * rng.standard_normal(RATE * 20).clip(-1, 1), RATE)
    house.open(path)
    window = house.window
    window.panels.lanes.show("spectrogram_a")
    found = subjects(window.workspace.wall, [])
    place = next(i for i, subject in enumerate(found) if "Spectrogram" in subject.name)
    dialog = ExportDialog(found, DARK, house.settings, window.files_thread, "clip", window)
    dialog.what.setCurrentIndex(place)
    dialog.width_box.setValue(6000)
    dialog.height_box.setValue(400)
    dialog._copy.click()
    house.until(lambda: dialog._words.text() == "Copied")
    first = QGuiApplication.clipboard().image()
    assert image_of(found[place], dialog.look) == first  # as sharp as it gets: nothing came later
    dialog.reject()
    dialog.deleteLater()


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "there.svg"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        SavePicture(path, b"<svg/>").run(None)  # type: ignore[arg-type]
    assert path.read_text() == "mine"
    SavePicture(path, b"<svg/>", overwrite=True).run(None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"<svg/>"
    assert list(tmp_path.iterdir()) == [path]
