"""Filling one side's clip from the sound of a document, a bounded piece at a time. GUI thread only."""

from __future__ import annotations

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.overdub import Overdub

_PIECE_SAMPLES = 120_000  # per tick: 5 s of sound, about 2 ms of work


class Feed:
    """A clip at the device's rate and the array at the codec's rate that it is filled from, which may still grow.

    Attributes:
        samples: float32 [T] or [T, 2] at ``source_rate``. done: how many of them the clip has.
    """

    def __init__(self, samples: np.ndarray, source_rate: int, clip_rate: int) -> None:
        self.samples = samples
        self.clip = Clip.for_samples(len(samples), source_rate, clip_rate, 1 if samples.ndim == 1 else samples.shape[1])
        self.done = 0
        self.source_rate = source_rate
        self._overdub: Overdub | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the clip holds all of the sound, and nothing of another version of it."""
        return self.clip.is_finished and self._overdub is None

    def replace(self, samples: np.ndarray) -> bool:
        """Let another version of the sound take the place of this one, wherever it is there already.

        False where that cannot be: then begin a new feed.
        """
        if not self.clip.is_finished or len(samples) != len(self.samples):
            return False
        self.samples = samples
        self._overdub = Overdub(self.clip, self.source_rate, len(samples))
        return True

    def preview(self, start: int, samples: np.ndarray, lead: int, busy: tuple[int, int] | None) -> None:
        """As :meth:`Overdub.preview`, while a version takes another's place."""
        if self._overdub is not None:
            self._overdub.preview(start, samples, lead, busy)

    def advance(self, ready: int, busy: tuple[int, int] | None = None) -> bool:
        """Take a piece of what is ready; returns whether there is more to take now.

        ``busy``: samples ``[first, last)`` of the clip that are being read just now.
        """
        if self._overdub is not None:
            return self._advance_overdub(self._overdub, ready, busy)
        stop = min(ready, self.done + _PIECE_SAMPLES)
        if stop > self.done:
            self.clip.append(self.samples[self.done : stop])
            self.done = stop
        if self.done == len(self.samples) and not self.clip.is_finished:
            self.clip.finish()
        return self.done < ready

    def _advance_overdub(self, overdub: Overdub, ready: int, busy: tuple[int, int] | None) -> bool:
        start = overdub.num_exact
        stop = min(ready, start + _PIECE_SAMPLES)
        if stop > start:
            overdub.append(self.samples[start:stop], busy)
        else:
            overdub.catch_up(busy)
        if overdub.is_finished:
            self._overdub = None
        return stop < ready
