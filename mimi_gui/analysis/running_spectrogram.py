"""A spectrogram that grows with a sound: its newest seconds, column by column, in memory that does not grow.

One thread advances, others read: ``num_columns`` is published last, and a column is overwritten only when the ring
has come round, long after it left the screen.
"""

from __future__ import annotations

import numpy as np

from mimi_gui.analysis import spectrogram
from mimi_gui.analysis.spectrogram import SpectrogramSettings


class RunningSpectrogram:
    """Column c is centred on sample ``c * settings.hop_samples``, as in a spectrogram of the whole sound."""

    def __init__(self, sample_rate: int, settings: SpectrogramSettings | None = None, *, span_s: float = 30.0) -> None:
        """Keep the newest ``span_s`` seconds."""
        self.sample_rate = sample_rate
        self.settings = settings if settings is not None else SpectrogramSettings()
        self.num_rows = len(spectrogram.row_edges(sample_rate, self.settings)) - 1
        capacity = int(span_s * sample_rate / self.settings.hop_samples) + 1
        self._ring = np.zeros((self.num_rows, capacity), np.uint8)
        self.num_columns = 0

    def advance(self, samples: np.ndarray, num_ready: int) -> None:
        """Add the columns whose window lies within the first ``num_ready`` of ``samples`` (float32 [T])."""
        settings = self.settings
        stop = max((num_ready - settings.window_samples // 2) // settings.hop_samples + 1, 0)
        fresh = np.arange(max(self.num_columns, stop - self._ring.shape[1]), stop)
        if len(fresh):
            levels = spectrogram.columns(samples, fresh * settings.hop_samples, self.sample_rate, settings)
            self._ring[:, fresh % self._ring.shape[1]] = levels
            self.num_columns = stop

    def read(self, columns: np.ndarray) -> np.ndarray:
        """Levels uint8 ``[F, n]`` of these columns (int64 [n]); 0 where there are none yet, or none any more."""
        total, capacity = self.num_columns, self._ring.shape[1]
        levels = self._ring[:, columns % capacity]
        levels[:, (columns < 0) | (columns >= total) | (columns < total - capacity)] = 0
        return levels
