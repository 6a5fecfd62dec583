"""Remix: decode another choice of codebooks while the sound plays, what will be heard next first.

A mute on a mixing desk is heard at once; a decoder that starts at frame 0 is not. So frames ahead of the ear are
decoded from a few frames of context before them (a *preview*: Mimi's decoder looks back, most of all at the last
frames), and once nothing is missing ahead, everything is decoded from the start on, exactly, over the previews too.
The last word always has the exact pass: what is kept and saved is what ``MimiCodec.decode`` gives.

Qt-free and device-free: it takes a codec's stream decoders, codes and an ear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

CONTEXT_FRAMES = 3  # before a preview: 36 dB between it and the exact sound (mimi-tiny, speech); 0 frames: 14 dB
_FIRST_FRAMES = 2  # of a preview: as long as the device's buffer and the next preview need
_NEXT_FRAMES = 3  # a change of the mix waits for the step that runs, so steps are short
_AHEAD_S = 0.08  # what is heard until the first preview can be there
_LEAD_S = 10.0  # so far ahead of the ear nothing may be missing
_LONGEST_LOOP_S = 20.0  # a longer loop is no loop to listen to, but a part to play
_PLAYING_FRAMES = 3  # of an exact step while it plays: the next change of the mix waits for at most one
_CALM_GOAL_S = 0.35  # a longer step makes Cancel sluggish
_CALM_FRAMES, _MOST_FRAMES = 20, 100
# What is pushed while somebody listens, most often first. Each size costs a codec some work when it first comes.
URGENT_FRAMES = (CONTEXT_FRAMES + _FIRST_FRAMES, _NEXT_FRAMES, _FIRST_FRAMES, 1)


class Ear:
    """Where somebody listens. One thread writes, others read; each attribute is replaced whole.

    Attributes:
        position_s: what is heard now.
        loop_s: the part that is played again and again, or None.
        is_playing: False where nobody hears anything, and nothing is urgent.
    """

    def __init__(self, position_s: float = 0.0, loop_s: tuple[float, float] | None = None, is_playing: bool = False):
        self.position_s, self.loop_s, self.is_playing = position_s, loop_s, is_playing


@dataclass(frozen=True)
class Block:
    """Decoded frames.

    Attributes:
        start_frame: the first of them. lead_frames: how many frames of warm-up stand before it in ``samples``.
        samples: float32 [T], a multiple of the frame size.
        is_exact: as decoded from the start on; the blocks that are come in order and without gaps.
    """

    start_frame: int
    samples: np.ndarray
    is_exact: bool
    lead_frames: int = 0


class Remix:
    """One choice of codebooks of one set of codes, decoded in the order in which it is needed.

    Args:
        open_stream: gives a fresh ``StreamDecoder`` for the choice.
        codes: integer [K, T], all rows that the choice needs.
        frame_rate_hz: frames per second.
        ear: read before every step.
    """

    def __init__(self, open_stream: Callable[[], object], codes: np.ndarray, frame_rate_hz: float, ear: Ear) -> None:
        self._open_stream, self._codes, self._rate, self._ear = open_stream, codes, frame_rate_hz, ear
        self._num_frames = codes.shape[1]
        self._is_fresh = np.zeros(self._num_frames, bool)  # decoded anew, exactly or not
        self._exact = open_stream()
        self._preview: object | None = None
        self._next = -1  # the frame that `_preview` would give next
        self._chunk = _CALM_FRAMES
        self.num_exact = 0

    def blocks(self) -> Iterator[Block]:
        """Yield blocks until every frame was decoded exactly; the caller cancels by not asking for more."""
        while self.num_exact < self._num_frames:
            missing = self.missing_ahead()
            yield self._exact_step() if missing is None else self._preview_step(*missing)

    def missing_ahead(self) -> tuple[int, int] | None:
        """The next stretch ``[start, stop)`` of frames on the ear's way that still sounds as before, or None."""
        ear = self._ear
        if not ear.is_playing:
            return None
        here = int((ear.position_s + _AHEAD_S) * self._rate + 1e-9)
        loop, lead = ear.loop_s, round(_LEAD_S * self._rate)
        way = [(here, here + lead)]
        if loop is not None:
            first, last = int(loop[0] * self._rate), int(np.ceil(loop[1] * self._rate))
            if here >= last:  # so near the loop's end that the next thing is its start
                here = first
            if first <= here < last:
                most = first + round(_LONGEST_LOOP_S * self._rate)
                way = [(here, min(last, here + 2 * lead)), (first, min(here, most))]
        for start, stop in way:
            stop = min(stop, self._num_frames)
            stale = np.flatnonzero(~self._is_fresh[start:stop])
            if len(stale):
                begin = start + int(stale[0])
                fresh = np.flatnonzero(self._is_fresh[begin:stop])
                return begin, begin + int(fresh[0]) if len(fresh) else stop
        return None

    def _preview_step(self, start: int, stop: int) -> Block:
        lead = 0
        size = _NEXT_FRAMES
        if self._preview is None or self._next != start:
            self._preview = self._open_stream()
            lead, size = min(CONTEXT_FRAMES, start), _FIRST_FRAMES
        stop = min(stop, start + size)
        samples = self._preview.push(self._codes[:, start - lead : stop])  # type: ignore[attr-defined]
        self._is_fresh[start:stop] = True
        self._next = stop
        return Block(start, samples, False, lead)

    def _exact_step(self) -> Block:
        start = self.num_exact
        size = _PLAYING_FRAMES if self._ear.is_playing else self._chunk
        stop = min(start + size, self._num_frames)
        begun = time.monotonic()
        samples = self._exact.push(self._codes[:, start:stop])  # type: ignore[attr-defined]
        took_s = time.monotonic() - begun
        if size == self._chunk and took_s < _CALM_GOAL_S / 2:
            self._chunk = min(2 * size, _MOST_FRAMES)
        elif size == self._chunk and took_s > 2 * _CALM_GOAL_S:
            self._chunk = max(size // 2, _PLAYING_FRAMES)
        self._is_fresh[start:stop] = True
        self.num_exact = stop
        return Block(start, samples, True)
