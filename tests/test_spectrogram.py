from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from mimi_gui.analysis import spectrogram as sp
from mimi_gui.analysis.spectrogram import SpectrogramSettings

RATE = 24_000


@pytest.fixture
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(9).standard_normal(RATE * 4)).astype(np.float32)


def sine(hz: float, amplitude: float = 1.0, seconds: float = 2.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("window", sp.WINDOWS)
def test_power_is_scipys(noise: np.ndarray, window: str) -> None:
    settings = SpectrogramSettings(window_samples=512, hop_samples=100, window=window, scale="linear")
    padded = np.pad(noise, (256, 256))
    spectrum = scipy.signal.stft(
        padded, window=window, nperseg=512, noverlap=412, boundary=None, padded=False, scaling="spectrum"
    )[2]  # divided by the window's sum: a sine of amplitude 1 is 0.5
    expected = 20 * np.log10(2 * np.abs(spectrum))
    found = np.concatenate([sp.tile_db(noise, RATE, settings, i) for i in range(sp.num_tiles(len(noise), settings))], 1)
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=2e-2)


@pytest.mark.parametrize("scale", ["linear", "log", "mel"])
@pytest.mark.parametrize("hz", [187.5, 1031.25, 6000.0, 11_015.625])  # bins of 1024 at 24 kHz
def test_a_sine_stands_where_it_belongs(scale, hz: float) -> None:
    settings = SpectrogramSettings(scale=scale, num_rows=128)
    db = sp.tile_db(sine(hz, 0.5), RATE, settings, 0)[:, 50]
    row = int(np.argmax(db))
    edges = sp.row_edges(RATE, settings)
    assert edges[row] - 24 <= hz <= edges[row + 1] + 24  # a bin is 23.4 Hz wide
    assert db[row] == pytest.approx(-6.02, abs=1.5)
    assert int(sp.row_of(hz, RATE, settings)) == pytest.approx(row, abs=1.01)


@pytest.mark.parametrize("scale", ["log", "mel"])
def test_no_frequency_falls_between_the_rows(scale) -> None:
    """Where a row is as wide as a bin or wider, a sine on any bin has its full level in some row."""
    settings = SpectrogramSettings(window_samples=512, scale=scale, num_rows=100)
    edges = sp.row_edges(RATE, settings)
    widths, bin_hz = np.diff(edges), RATE / 512
    first = int(np.ceil(edges[np.argmax(widths >= bin_hz)] / bin_hz)) + 1
    for index in range(first, 255):
        db = sp.tile_db(sine(index * bin_hz, 0.5, seconds=0.1), RATE, settings, 0)[:, 5]
        assert db.max() == pytest.approx(-6.02, abs=0.1), index * bin_hz
        row = int(np.argmax(db))
        assert edges[row] - bin_hz <= index * bin_hz <= edges[row + 1] + bin_hz


def test_full_scale_is_0_db() -> None:
    settings = SpectrogramSettings(scale="linear")
    assert sp.tile_db(sine(1500), RATE, settings, 0)[:, 60].max() == pytest.approx(0, abs=0.01)
    assert sp.read_db(sine(1500), RATE, settings, 1.0, 1503) == pytest.approx(0, abs=0.01)
    assert sp.read_db(np.zeros(RATE, np.float32), RATE, settings, 0.5, 1500) == pytest.approx(-150)


def test_bytes_are_the_range() -> None:
    settings = SpectrogramSettings(scale="linear", floor_db=-80, ceiling_db=0)
    tile = sp.tile(sine(1500), RATE, settings, 0)
    assert tile.dtype == np.uint8
    assert tile.shape == (513, 200)
    assert tile[64, 60] == 255  # 1500 Hz is bin 64
    assert tile[300, 60] == 0
    quiet = sp.tile(sine(1500, 0.01), RATE, settings, 0)
    assert quiet[64, 60] == round(255 / 2)  # -40 dB


def test_tiles_join(noise: np.ndarray) -> None:
    """A tile does not depend on where tiles begin: the same columns from a shifted recording."""
    settings = SpectrogramSettings()
    step = sp.TILE_COLUMNS * settings.hop_samples
    np.testing.assert_array_equal(
        sp.tile(noise, RATE, settings, 1)[:, 10:100], sp.tile(noise[step:], RATE, settings, 0)[:, 10:100]
    )
    total = sum(sp.tile(noise, RATE, settings, i).shape[1] for i in range(sp.num_tiles(len(noise), settings)))
    assert total == sp.num_columns(len(noise), settings) == -(-len(noise) // 240)


@pytest.mark.parametrize("level", [1, 2, 3, 6])
def test_coarse_levels_cover_the_same_time(level: int) -> None:
    samples = np.concatenate([np.zeros(RATE * 20, np.float32), sine(1500, seconds=20)])
    settings = SpectrogramSettings(scale="linear")
    db = np.concatenate(
        [sp.tile_db(samples, RATE, settings, i, level) for i in range(sp.num_tiles(len(samples), settings, level))],
        1,
    )
    assert db.shape[1] == sp.num_columns(len(samples), settings, level)
    onset = np.argmax(db[64] > -40)
    assert onset * (240 << level) / RATE == pytest.approx(20, abs=(240 << level) / RATE + 0.03)
    start, end = sp.tile_span_s(RATE, settings, 0, level)
    assert start == pytest.approx(-0.005)  # the first column is centred on the first sample
    assert end - start == pytest.approx(sp.TILE_COLUMNS * (240 << level) / RATE)


def test_coarse_level_shows_the_loudest_of_its_looks(noise: np.ndarray) -> None:
    settings = SpectrogramSettings(scale="linear")
    fine = np.concatenate([sp.tile_db(noise, RATE, settings, i) for i in range(2)], 1)[:, :400]
    np.testing.assert_allclose(
        sp.tile_db(noise, RATE, settings, 0, 2)[:, :100], fine.reshape(513, 100, 4).max(axis=2), atol=1e-3
    )


def test_difference() -> None:
    settings = SpectrogramSettings(scale="linear")
    a = sine(1500, 0.1)
    same = sp.difference_tile(a, a, RATE, settings, 0)
    assert (same == 128).all()
    louder = sp.difference_tile(a, a * 2, RATE, settings, 0)
    assert louder[64, 60] == round(128 + 6.0206 * 127 / 30)
    gone = sp.difference_tile(a, np.zeros_like(a), RATE, settings, 0)
    assert gone[64, 60] == 1
    assert gone[400, 60] == 128  # both under the floor


@pytest.mark.parametrize("length", [1, 100, 1023, 1024, 1025])
@pytest.mark.parametrize("scale", ["linear", "log", "mel"])
def test_short_recordings(length: int, scale) -> None:
    settings = SpectrogramSettings(scale=scale)
    tile = sp.tile(np.ones(length, np.float32), RATE, settings, 0)
    assert tile.shape[1] == -(-length // 240)
    with pytest.raises(IndexError):
        sp.tile(np.ones(length, np.float32), RATE, settings, 1)


def test_wild_settings_are_clamped() -> None:
    """A settings file or a slider may say anything; no view may crash for it."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        wild = rng.integers(-(10**6), 10**6, 6)
        settings = SpectrogramSettings(
            int(wild[0]),
            int(wild[1]),
            "nonsense",
            "nonsense",
            int(wild[2]),
            float(wild[3]),
            float(wild[4]),
            float(wild[5]),
        )  # type: ignore[arg-type]
        assert settings.floor_db < settings.ceiling_db
        assert 1 <= settings.hop_samples <= settings.window_samples
    wild_tile = sp.tile(np.ones(3000, np.float32), RATE, SpectrogramSettings(-1, -1, floor_db=9e9, ceiling_db=-9e9), 0)
    assert wild_tile.dtype == np.uint8


def test_axis_is_invertible() -> None:
    for scale in ("linear", "log", "mel"):
        settings = SpectrogramSettings(scale=scale)
        edges = sp.row_edges(RATE, settings)
        assert (np.diff(edges) > 0).all()
        for row in (0.0, 3.5, 100.25, len(edges) - 1.0):
            assert sp.row_of(sp.hz_of(row, RATE, settings), RATE, settings) == pytest.approx(row, abs=1e-6)


def test_level_for_a_zoom() -> None:
    settings = SpectrogramSettings()
    assert sp.level_for(0.001, RATE, settings) == 0
    assert sp.level_for(0.01, RATE, settings) == 0
    assert sp.level_for(0.02, RATE, settings) == 1
    assert sp.level_for(3600 / 1000, RATE, settings) == 8


@pytest.mark.parametrize(
    ("hz", "name"),
    [
        (440, "A4"),
        (261.6256, "C4"),
        (27.5, "A0"),
        (554.3653, "C#5"),
        (452.893, "A#4 -50 cents"),
        (445, "A4 +20 cents"),
        (0, ""),
        (-5, ""),
        (float("nan"), ""),
    ],
)
def test_notes(hz: float, name: str) -> None:
    assert sp.note_name(hz) == name
