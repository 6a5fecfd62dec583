"""Short spans of a recording, played one after the other: every place where a token occurs, in a row.

Pure numpy, any thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

FADE_S = 0.005
GAP_S = 0.15


@dataclass(frozen=True)
class Excerpts:
    """Spans ``(first, past the last)`` in samples, each faded at both ends, with ``gap_samples`` of silence between.

    Attributes:
        spans: in the order in which they are heard; none is empty.
    """

    spans: tuple[tuple[int, int], ...]
    gap_samples: int = 0
    fade_samples: int = 0

    @classmethod
    def of_frames(
        cls,
        runs: Iterable[tuple[int, int]],
        *,
        frame_size: int,
        num_samples: int,
        sample_rate: int,
        context_frames: int = 0,
        most_s: float = 300.0,
    ) -> Excerpts:
        """One span for each run ``(first, past the last)`` of frames, with ``context_frames`` on both sides.

        Context stops at the recording's ends. No more spans are taken than last ``most_s`` seconds, but the first
        always is.
        """
        spans: list[tuple[int, int]] = []
        gap, total = round(GAP_S * sample_rate), 0
        for first, last in runs:
            start = max(first - context_frames, 0) * frame_size
            stop = min((last + context_frames) * frame_size, num_samples)
            if stop <= start:
                continue
            total += stop - start + gap
            if spans and total > most_s * sample_rate:
                break
            spans.append((start, stop))
        return cls(tuple(spans), gap, round(FADE_S * sample_rate))

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where each span begins in the row, and where the row ends, in samples."""
        lengths = [stop - start + self.gap_samples for start, stop in self.spans]
        starts = (0, *accumulate(lengths))
        return (*starts[:-1], max(starts[-1] - self.gap_samples, 0))

    @property
    def num_samples(self) -> int:
        """Length of the row."""
        return self._starts[-1]

    def joined(self, samples: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """The row out of ``samples``, float32 [T] or [T, C]; beyond T there is silence.

        Args:
            scale: how many of ``samples`` last as long as one sample of the spans does.

        Returns:
            float32 [round(num_samples * scale)], or with C channels.
        """
        row = np.zeros((round(self.num_samples * scale), *samples.shape[1:]), np.float32)
        fade_samples = round(self.fade_samples * scale)
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade_samples) + 0.5) / max(fade_samples, 1))
        ramp = ramp.reshape(-1, *[1] * (samples.ndim - 1))
        for at, (start, stop) in zip(self._starts, self.spans, strict=False):
            part = np.array(samples[round(start * scale) : round(stop * scale)], np.float32)
            fade = min(len(ramp), len(part) // 2)
            part[:fade] *= ramp[:fade]
            part[len(part) - fade :] *= ramp[:fade][::-1]
            begin = round(at * scale)
            row[begin : begin + len(part)] = part[: len(row) - begin]
        return row

    def place(self, position: int) -> int:
        """Which span is heard at this sample of the row; in a gap, the one before it."""
        return min(max(bisect_right(self._starts, position) - 1, 0), len(self.spans) - 1)

    def source_sample(self, position: int) -> int:
        """The sample of the recording that is heard at this sample of the row; in a gap, the end of the span."""
        place = self.place(position)
        start, stop = self.spans[place]
        return min(start + max(position - self._starts[place], 0), stop)
