"""The running spectrogram against the one of the whole sound."""

from __future__ import annotations

import numpy as np

from mimi_gui.analysis import spectrogram
from mimi_gui.analysis.running_spectrogram import RunningSpectrogram
from mimi_gui.analysis.spectrogram import SpectrogramSettings

RATE = 24000
SOUND = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)


def test_columns_are_those_of_the_whole_sound_however_it_comes() -> None:
    settings = SpectrogramSettings()
    running = RunningSpectrogram(RATE, settings)
    rng = np.random.default_rng(1)
    ready = 0
    while ready < len(SOUND):
        ready = min(ready + int(rng.integers(0, 4000)), len(SOUND))
        running.advance(SOUND, ready)
        assert (running.num_columns - 1) * settings.hop_samples + 512 <= ready or running.num_columns == 0
    whole = spectrogram.tile(SOUND, RATE, settings, 0)  # 256 columns, more than the two seconds have
    columns = np.arange(running.num_columns)
    assert running.num_columns > 190
    np.testing.assert_array_equal(running.read(columns), whole[:, : running.num_columns])


def test_what_is_not_there_is_empty_and_the_ring_forgets() -> None:
    running = RunningSpectrogram(RATE, span_s=0.5)
    running.advance(SOUND, 100)
    assert running.num_columns == 0
    running.advance(SOUND, len(SOUND))
    total = running.num_columns
    newest = running.read(np.arange(total - 40, total))
    whole = spectrogram.tile(SOUND, RATE, running.settings, 0)
    np.testing.assert_array_equal(newest, whole[:, total - 40 : total])
    for missing in ([-1], [total], [0], [total - 60]):
        assert not running.read(np.array(missing)).any()
