"""Overdub: another version of a sound, written over a clip that may be playing, in any order and without a click.

The clip goes on sounding as before wherever the new version is not there yet. Each stretch that is written fades in
from what was there and, at its end, back into it, until the next stretch takes over; what is just being read is left
alone and caught up with later. One thread writes, the one that owns the clip.
"""

from __future__ import annotations

import numpy as np
import soxr

from mimi_gui.clip import Clip, scaled_length

FADE_S = 0.010


class _Stretch:
    """Consecutive blocks at the source's rate, on their way to the clip's."""

    def __init__(self, clip: Clip, source_rate: int, start: int) -> None:
        self.at = scaled_length(start, source_rate, clip.sample_rate)  # of the next sample that comes out
        self.expects = start
        self.tail = np.zeros(0, np.float32)  # the last samples, written as a fade so far
        self.is_new = True
        self._resampler: soxr.ResampleStream | None = None
        if source_rate != clip.sample_rate:
            self._resampler = soxr.ResampleStream(source_rate, clip.sample_rate, 1, dtype="float32", quality="HQ")

    def push(self, samples: np.ndarray, *, last: bool = False) -> np.ndarray:
        self.expects += len(samples)
        if self._resampler is None:
            return np.asarray(samples, np.float32)
        return self._resampler.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)


class Overdub:
    """Writes a sound of the same length over ``clip`` (one channel, finished).

    Raises:
        ValueError: the clip is not finished, or has two channels.
    """

    def __init__(self, clip: Clip, source_rate: int, num_samples: int) -> None:
        if not clip.is_finished or clip.num_channels != 1:
            raise ValueError("only a finished clip of one channel can be overdubbed")
        self._clip, self._source_rate, self._num_samples = clip, source_rate, num_samples
        self._exact = _Stretch(clip, source_rate, 0)
        self._exact.is_new = False  # the first sample is exact too: no fade into it
        self._preview: _Stretch | None = None
        self._held: list[tuple[int, np.ndarray]] = []  # what could not be written, as it is just being read
        fade = round(FADE_S * clip.sample_rate)
        self._rise = (0.5 - 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1))).astype(np.float32)

    @property
    def num_exact(self) -> int:
        """Samples at the source's rate that :meth:`append` has taken."""
        return self._exact.expects

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left of the version before."""
        return self._exact.expects >= self._num_samples and not self._held

    def preview(self, start: int, samples: np.ndarray, lead: int, busy: tuple[int, int] | None) -> None:
        """Write float32 [n] that begin at source sample ``start``; the first ``lead`` only warm the resampler up.

        ``busy``: the samples ``[first, last)`` of the clip that are being read just now, None while it rests.
        """
        self.catch_up(busy)
        room = self._num_samples - start
        if room <= 0:
            return
        stretch = self._preview
        if stretch is None or lead or stretch.expects != start:
            stretch = self._preview = _Stretch(self._clip, self._source_rate, start - lead)
        skip = scaled_length(start, self._source_rate, self._clip.sample_rate) if lead else 0
        block = stretch.push(samples[: lead + room])
        if lead:  # nothing of the warm-up is heard
            drop = min(max(skip - stretch.at, 0), len(block))
            stretch.at += drop
            block = block[drop:]
        self._write(stretch, block, busy, last=False)

    def append(self, samples: np.ndarray, busy: tuple[int, int] | None) -> None:
        """Write the next float32 [n] of the exact version, from the front on."""
        self.catch_up(busy)
        stretch = self._exact
        last = stretch.expects + len(samples) >= self._num_samples
        block = stretch.push(samples, last=last)
        room = self._clip.length - stretch.at
        self._write(stretch, block[: max(room, 0)], busy, last=last)
        if last:  # the sample or two that the resampler's rounding left out
            self._clip.samples[stretch.at : self._clip.length] = 0.0

    def catch_up(self, busy: tuple[int, int] | None) -> None:
        """Write what was held back, where it is not read any more."""
        held, self._held = self._held, []
        for at, samples in held:
            self._put(at, samples, busy, fades=False)

    def _write(self, stretch: _Stretch, block: np.ndarray, busy: tuple[int, int] | None, *, last: bool) -> None:
        start = stretch.at - len(stretch.tail)
        samples = np.concatenate((stretch.tail, block))
        stretch.at += len(block)
        if not len(samples):
            return
        fade = 0 if last else min(len(self._rise), len(samples))
        stretch.tail = samples[len(samples) - fade :].copy()
        shown = samples.copy()
        if fade:
            self._blend(shown, len(samples) - fade, start, self._rise[:fade][::-1])
        if stretch.is_new:
            rise = self._rise[: len(shown)]
            before = self._clip.samples[start : start + len(rise), 0]
            n = len(before)
            shown[:n] = before + rise[:n] * (shown[:n] - before)
            stretch.is_new = False
        self._put(start, shown, busy, fades=True)

    def _blend(self, shown: np.ndarray, first: int, start: int, weights: np.ndarray) -> None:
        """Let ``shown`` from ``first`` on go over into what the clip holds at ``start + first``."""
        before = self._clip.samples[start + first : start + len(shown), 0]
        n = len(before)
        shown[first : first + n] = before + weights[:n] * (shown[first : first + n] - before)

    def _put(self, start: int, samples: np.ndarray, busy: tuple[int, int] | None, *, fades: bool) -> None:
        clip = self._clip.samples[: self._clip.length, 0]
        samples = samples[: max(len(clip) - start, 0)]
        stop = start + len(samples)
        if busy is None or busy[1] <= start or busy[0] >= stop:
            clip[start:stop] = samples
            return
        first, last = max(busy[0], start), min(busy[1], stop)
        clip[start:first] = samples[: first - start]
        late = stop
        if fades and last < stop:  # what is read next goes over from the version before
            rise = self._rise[: stop - last]
            late = last + len(rise)
            piece = samples[last - start : late - start]
            clip[last:late] += rise * (piece - clip[last:late])
            clip[late:stop] = samples[late - start :]
        self._held.append((first, samples[first - start : late - start].copy()))
