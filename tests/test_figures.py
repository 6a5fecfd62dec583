"""Oracle for the images: Qt's own PNG reader."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PySide6.QtGui import QImage

from mimi_gui import figures
from mimi_gui.analysis.spectrogram import SpectrogramSettings

RATE = 24_000


def pixels(data: bytes) -> np.ndarray:
    """RGB uint8 [H, W, 3]."""
    image = QImage.fromData(data, "PNG").convertToFormat(QImage.Format.Format_RGB888)  # type: ignore[call-overload]
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def image_of(svg: str) -> np.ndarray:
    found = re.search(r"base64,([^\"]+)", svg)
    assert found
    return pixels(base64.b64decode(found[1]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (32, 500)])
def test_png_there_and_back(shape: tuple[int, int]) -> None:
    indexes = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(pixels(figures.png(indexes, figures.HEAT)), figures.HEAT[indexes])


def test_bad_images() -> None:
    with pytest.raises(ValueError):
        figures.png(np.zeros((0, 5), np.uint8), figures.HEAT)
    with pytest.raises(ValueError):
        figures.png(np.zeros((5, 5), np.uint8), figures.HEAT[:10])


def test_ramp_goes_through_its_stops() -> None:
    palette = figures.ramp("#000000", "#ff0000", "#ffffff")
    assert palette[0].tolist() == [0, 0, 0]
    assert palette[255].tolist() == [255, 255, 255]
    assert palette[127].tolist() == [254, 0, 0]


def test_each_figure_is_xml() -> None:
    samples = (0.5 * np.sin(np.arange(RATE) * 0.2)).astype(np.float32)
    settings = SpectrogramSettings()
    codes = np.random.default_rng(0).integers(0, 2048, (8, 13))
    for svg in (
        figures.waveform(samples, "w", "wave-a"),
        figures.spectrogram_lane(samples, RATE, settings, "s"),
        figures.difference_lane(samples, samples, RATE, settings, "d"),
        figures.heatmap(codes, "h"),
        figures.bars(np.arange(5.0), "b"),
        figures.bars(np.array([-3.0, 2.0]), "b"),
        figures.curve([1, 2, 3], [5, 4, 1], 1, "c", "kbit/s"),
        figures.waveform(samples[:0], "w", "wave-a"),
        figures.waveform(samples[:1], "w", "wave-a"),
        figures.spectrogram_lane(samples[:0], RATE, settings, "s"),
        figures.heatmap(codes[:, :0], "h"),
        figures.bars(np.zeros(0), "b"),
    ):
        root = ET.fromstring(svg)
        assert root.get("aria-label")


def test_waveform_reaches_its_extremes() -> None:
    samples = np.zeros(50_000, np.float32)
    samples[25_000], samples[40_000] = 1.0, -0.5
    root = ET.fromstring(figures.waveform(samples, "w", "wave-a"))
    points = [tuple(map(float, p.split(","))) for p in root[0].attrib["points"].split()]
    top = min(points, key=lambda p: p[1])
    assert top == pytest.approx((500, 1), abs=1)
    assert max(points, key=lambda p: p[1]) == pytest.approx((800, 67.4), abs=1)


def test_heatmap_shows_each_token() -> None:
    codes = np.array([[5, 5, 9], [9, 261, 5]])  # 261 = 5 + 256: the palette is as long as it is
    picture = image_of(figures.heatmap(codes, "h"))
    assert picture.shape == (2, 3, 3)
    assert (picture[0, 0] == picture[0, 1]).all()
    assert (picture[0, 0] == picture[1, 2]).all()
    assert (picture[0, 2] != picture[0, 0]).any()
    assert image_of(figures.heatmap(np.zeros((2, 45_000), np.int16), "h")).shape[1] <= 16_000


def test_low_frequencies_are_at_the_foot() -> None:
    samples = (0.5 * np.sin(2 * np.pi * 200 * np.arange(RATE * 3) / RATE)).astype(np.float32)
    picture = image_of(figures.spectrogram_lane(samples, RATE, SpectrogramSettings(), "s")).astype(int)
    assert picture.sum(axis=(1, 2)).argmax() > 0.85 * picture.shape[0]


def test_an_hour_is_no_wider_than_a_page() -> None:
    quiet = np.zeros(RATE * 600, np.float32)
    assert image_of(figures.spectrogram_lane(quiet, RATE, SpectrogramSettings(), "s")).shape[1] <= 3300
