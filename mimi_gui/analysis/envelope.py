"""A recording's outline at every zoom: a pyramid of minima and maxima, in powers of four.

Drawing reads a handful of values per pixel column however long the recording is. The samples themselves are
never copied: the pyramid refers to the caller's array and adds 0.17 bytes per sample (43 MB for three hours).

Threads: one thread appends, any thread may read at the same time. ``num_samples`` is published last, and
nothing below it ever changes, so a reader sees a whole prefix and never a half-written one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BLOCK_SAMPLES = 64  # below this, columns are read from the samples themselves
LEVEL_FACTOR = 4
_GROWTH_SAMPLES = 1 << 20


@dataclass
class _Level:
    """Minima and maxima of consecutive blocks of ``block_samples``; float32 [capacity] each."""

    block_samples: int
    lo: np.ndarray
    hi: np.ndarray
    num_blocks: int = 0

    def reserve(self, num_blocks: int) -> None:
        if num_blocks <= len(self.lo):
            return
        capacity = max(num_blocks, 2 * len(self.lo))
        # Replaced, not resized in place: a reader that holds the old arrays still sees its whole prefix.
        self.lo = np.concatenate([self.lo, np.zeros(capacity - len(self.lo), np.float32)])
        self.hi = np.concatenate([self.hi, np.zeros(capacity - len(self.hi), np.float32)])


@dataclass
class Envelope:
    """The outline of one waveform; made by :meth:`from_samples` or grown by :class:`EnvelopeBuilder`.

    Attributes:
        sample_rate: in Hz.
        num_samples: how many samples are valid so far.
        peak: the largest magnitude so far, linear (1.0 is full scale).
    """

    sample_rate: int
    num_samples: int = 0
    peak: float = 0.0
    _samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)
    _levels: list[_Level] = field(default_factory=list, repr=False)

    @classmethod
    def from_samples(cls, samples: np.ndarray, sample_rate: int) -> Envelope:
        """Outline a finished waveform, float32 [T]; the array is referred to, not copied."""
        builder = EnvelopeBuilder(sample_rate, samples=samples)
        builder.advance(len(samples))
        return builder.envelope

    @property
    def duration_s(self) -> float:
        """Length of the valid part in seconds."""
        return self.num_samples / self.sample_rate

    def sample_at(self, time_s: float) -> float | None:
        """Value of the sample nearest to ``time_s``, or None outside of the valid part."""
        index = round(time_s * self.sample_rate)
        return float(self._samples[index]) if 0 <= index < self.num_samples else None

    def visible(self, start_s: float, end_s: float, num_columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outline ``[start_s, end_s)`` in at most about ``num_columns`` columns.

        Returns:
            ``(t, lo, hi)``: float64 [n] seconds and float32 [n] extremes. With a sample or more per column,
            ``t`` is the left edge of each column that holds samples, and ``lo``/``hi`` bound **all** its
            samples (blocks that straddle an edge count on both sides, so no peak is ever lost; columns also
            touch their right neighbour's first sample, so a steep line has no gaps). With less than one
            sample per column, the samples themselves come back, one beyond each end, with ``lo is hi`` and
            ``t`` their instants.
        """
        num_samples = self.num_samples  # read first: everything below it is already written
        empty = np.zeros(0, np.float32)
        if num_samples == 0 or num_columns <= 0 or end_s <= start_s:
            return np.zeros(0), empty, empty
        rate = self.sample_rate
        samples_per_column = (end_s - start_s) * rate / num_columns
        if samples_per_column < 1.0:
            first = max(int(np.floor(start_s * rate)), 0)
            last = min(int(np.ceil(end_s * rate)) + 1, num_samples)
            values = self._samples[first:last] if last > first else empty
            return np.arange(first, first + len(values)) / rate, values, values
        times = start_s + np.arange(num_columns + 1) * ((end_s - start_s) / num_columns)
        edges = np.floor(times * rate + 1e-6).astype(np.int64)
        inside = (edges[:-1] < num_samples) & (edges[1:] > 0)
        if not inside.any():
            return np.zeros(0), empty, empty
        columns = np.flatnonzero(inside)
        begin = np.clip(edges[columns], 0, num_samples - 1)
        end = np.clip(edges[columns + 1], 1, num_samples)
        level = self._level_for(samples_per_column)
        if level is None:
            # One sample more, so that the line from column to column is drawn without a gap.
            lo, hi = _extremes(self._samples, self._samples, begin, np.minimum(end + 1, num_samples))
        else:
            lo, hi = self._from_level(level, begin, end, num_samples)
        return times[columns], lo, hi

    def _level_for(self, samples_per_column: float) -> _Level | None:
        best = None
        for level in self._levels:
            if level.block_samples <= samples_per_column / 2:
                best = level
        return best

    def _from_level(
        self, level: _Level, begin: np.ndarray, end: np.ndarray, num_samples: int
    ) -> tuple[np.ndarray, np.ndarray]:
        block = level.block_samples
        num_blocks = num_samples // block
        lo_blocks, hi_blocks = level.lo[:num_blocks], level.hi[:num_blocks]
        tail = self._samples[num_blocks * block : num_samples]
        if len(tail):  # the last, incomplete block
            lo_blocks = np.append(lo_blocks[begin[0] // block :], tail.min())
            hi_blocks = np.append(hi_blocks[begin[0] // block :], tail.max())
        else:
            lo_blocks, hi_blocks = lo_blocks[begin[0] // block :], hi_blocks[begin[0] // block :]
        offset = begin[0] // block
        return _extremes(lo_blocks, hi_blocks, begin // block - offset, -(-end // block) - offset)


def _extremes(lo: np.ndarray, hi: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum of ``lo`` and maximum of ``hi`` over each ``[begin, end)``; spans may overlap. float32 [n]
    each."""
    first, last = int(begin[0]), int(end[-1])
    lo, hi = lo[first:last], hi[first:last]
    # reduceat wants pairs (begin, end); the odd results are what lies between spans and is thrown away.
    pairs = np.empty(2 * len(begin), np.int64)
    pairs[0::2], pairs[1::2] = begin - first, np.maximum(end, begin + 1) - first
    # An index equal to the length is refused, so one value that changes nothing stands behind the last.
    lo, hi = np.append(lo, lo[-1]), np.append(hi, hi[-1])
    return (
        np.minimum.reduceat(lo, pairs)[0::2].astype(np.float32, copy=False),
        np.maximum.reduceat(hi, pairs)[0::2].astype(np.float32, copy=False),
    )


class EnvelopeBuilder:
    """Grows an :class:`Envelope` block by block, in one thread; ``envelope`` may be drawn meanwhile.

    Two ways to feed it: :meth:`append` copies blocks into an array that it owns; or, where the samples
    already have a home, pass that preallocated array as ``samples`` and call :meth:`advance` as it fills.
    """

    def __init__(self, sample_rate: int, *, samples: np.ndarray | None = None, expected_samples: int = 0) -> None:
        self._owns = samples is None
        store = np.zeros(max(expected_samples, 0), np.float32) if samples is None else samples
        self.envelope = Envelope(sample_rate, _samples=store)

    def append(self, block: np.ndarray) -> None:
        """Copy a block, float32 [n], behind what is there.

        Raises:
            ValueError: the builder was given an array of its own; call :meth:`advance` instead.
        """
        if not self._owns:
            raise ValueError("this builder follows an array it was given: fill it and call advance()")
        envelope = self.envelope
        total = envelope.num_samples + len(block)
        if total > len(envelope._samples):
            capacity = max(total, int(len(envelope._samples) * 1.5), _GROWTH_SAMPLES)
            grown = np.zeros(capacity, np.float32)
            grown[: envelope.num_samples] = envelope._samples[: envelope.num_samples]
            envelope._samples = grown
        envelope._samples[envelope.num_samples : total] = block
        self.advance(total)

    def advance(self, num_samples: int) -> None:
        """Take in the samples up to ``num_samples``, which are valid from now on and must not change."""
        envelope = self.envelope
        done = envelope.num_samples
        if num_samples <= done:
            return
        fresh = envelope._samples[done:num_samples]
        peak = max(envelope.peak, float(fresh.max()), -float(fresh.min()))
        lo = hi = envelope._samples
        below = 1
        index = 0
        while True:
            block = BLOCK_SAMPLES * LEVEL_FACTOR**index
            num_blocks = num_samples // block
            if num_blocks == 0:
                break
            if index == len(envelope._levels):
                envelope._levels.append(_Level(block, np.zeros(0, np.float32), np.zeros(0, np.float32)))
            level = envelope._levels[index]
            level.reserve(max(num_blocks, len(envelope._samples) // block))
            first, factor = level.num_blocks, block // below
            span = slice(first * factor, num_blocks * factor)
            level.lo[first:num_blocks] = lo[span].reshape(-1, factor).min(axis=1)
            level.hi[first:num_blocks] = hi[span].reshape(-1, factor).max(axis=1)
            level.num_blocks = num_blocks
            lo, hi, below, index = level.lo, level.hi, block, index + 1
        envelope.peak = peak
        envelope.num_samples = num_samples
