"""The way of a frame: from the captured ring through the codec to the ring to be played, on time or not at all.

It has two halves, which two threads may own: the :class:`Intake` encodes, the :class:`Outlet` decodes. Frames that
wait for the codec go through it together, which takes little longer than one: most of a frame's time is the weights'
way from memory. Only what waits too long even so is skipped, by whole frames. What lies unused before the loudspeaker
is trimmed, the more reluctantly the more often sound came late. The latency is measured for each frame: when its first
sample is heard less when it was captured.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soxr

from mimi_gui.duplex import (
    CAPTURED,
    FADE_S,
    HOLD_S,
    PLAYED,
    STARVED,
    WRITTEN,
    Rings,
    copy_in,
    copy_out,
)

MOST_TOGETHER = 3  # frames at a time; with a full-size checkpoint they take 1.5 times as long as one
MOST_BEHIND = 10  # frames waiting for the codec: beyond that all but the newest few are skipped,
STILL_BEHIND, STILL_S = 5, 10.0  # and beyond so many if some were skipped a short while ago: it will not catch up
MOST_UNPLAYED = 16  # frames before a loudspeaker that takes none
WATCH_PUSHES = 12  # sound that lay in the ring unused for so long is trimmed,
MOST_SPARE = 3  # and what is more than so many frames at once: the codec was away for a moment and has caught up
MARGIN_STEP_S, MOST_MARGIN_S = 0.020, 0.120  # more of it is left for each time that sound came late, up to here,
CALM_S = 30.0  # and less again after so long without


class LiveCodec(Protocol):
    """What the loop needs of a ``MimiCodec``."""

    info: Any

    def metadata(self) -> dict[str, object]: ...
    def stream_encoder(self, num_codebooks: int | None = None) -> Any: ...
    def stream_decoder(self, codebooks: Any = None) -> Any: ...


@dataclass(frozen=True)
class LiveFigures:
    """What the screen shows. Times in seconds; ``latency_s`` is None until a frame was heard."""

    num_frames: int = 0  # captured frames, skipped ones included
    num_skipped: int = 0
    num_late: int = 0  # times the loudspeaker waited for the codec
    latency_s: float | None = None  # mouth to ear
    frame_s: float = 0.0
    compute_s: float = 0.0  # from when encoding began until it was decoded; the last second's mean
    busy_s: float = 0.0  # what the busiest thread of the codec computes for each frame
    is_behind: bool = False  # a frame was skipped within the last second
    peak: float = 0.0  # of the newest frame at the microphone, 1 = full scale

    @property
    def device_s(self) -> float | None:
        """What is neither frame nor codec: the devices and their safety margins."""
        return None if self.latency_s is None else self.latency_s - self.frame_s - self.compute_s

    @property
    def skipped_share(self) -> float:
        """Skipped frames over all that were captured, 0..1."""
        return self.num_skipped / self.num_frames if self.num_frames else 0.0


class Owner(Protocol):
    """Whoever keeps and shows what passes."""

    @property
    def codebooks(self) -> tuple[int, ...]: ...
    def keep(self, samples: np.ndarray, codes: np.ndarray, decoded: np.ndarray) -> None: ...
    def show(self, figures: LiveFigures) -> None: ...


@dataclass(frozen=True)
class Encoded:
    """Frames between the two halves, float32 [n * frame_size] and int16 [K, n]; the first one's number among all
    captured ones, when encoding began and how long it took, what was skipped so far before the codec, and when last."""

    number: int
    samples: np.ndarray
    codes: np.ndarray
    started: float
    encode_s: float
    num_skipped: int
    skipped_at: float

    @property
    def num_frames(self) -> int:
        return self.codes.shape[1]


class Intake:
    """From the captured ring to codes, frame by frame. One thread's."""

    def __init__(self, codec: LiveCodec, rings: Rings, device_rate: int) -> None:
        info = codec.info
        self._rings, self._rate = rings, device_rate
        self._frame_size, self._codec_rate = info.frame_size, info.sample_rate
        self._encoder = codec.stream_encoder()
        same = device_rate == info.sample_rate
        self._down = None if same else soxr.ResampleStream(device_rate, info.sample_rate, 1, dtype="float32")
        self._waiting = np.zeros(0, np.float32)  # at the codec's rate
        self.origin = self._read = int(rings.fields[CAPTURED])  # what came before the start is not for us
        self._num_frames = self._num_skipped = 0
        self._skipped_at = -1e9

    def next(self) -> Encoded | None:
        """Encode the frames that are there, at most :data:`MOST_TOGETHER`; None if there is no whole one yet."""
        self._take_captured()
        ready = len(self._waiting) // self._frame_size
        if not ready:
            return None
        if ready > (STILL_BEHIND if time.monotonic() - self._skipped_at < STILL_S else MOST_BEHIND):
            self._waiting = self._waiting[(ready - MOST_TOGETHER) * self._frame_size :]
            self._skip(ready - MOST_TOGETHER)
        ready = min(ready, MOST_TOGETHER)
        samples, self._waiting = np.split(self._waiting, [ready * self._frame_size])
        started = time.monotonic()
        codes = self._encoder.push(samples)
        number, self._num_frames = self._num_frames, self._num_frames + ready
        encode_s = time.monotonic() - started
        return Encoded(number, samples, codes, started, encode_s, self._num_skipped, self._skipped_at)

    def _take_captured(self) -> None:
        fields = self._rings.fields
        due = int(fields[CAPTURED]) - self._read
        most = len(self._rings.captured) // 2
        if due > most:  # away for seconds: only whole frames may be left out, so that the frames stay in step
            per_frame = self._frame_size * self._rate // self._codec_rate
            frames = (due - per_frame) // per_frame
            self._read += frames * per_frame
            self._skip(frames)
            due -= frames * per_frame
        if due <= 0:
            return
        block = copy_out(self._rings.captured, self._read, due)
        self._read += due
        if self._down is not None:
            block = self._down.resample_chunk(block)
        self._waiting = np.concatenate([self._waiting, block])

    def _skip(self, frames: int) -> None:
        self._num_frames += frames
        self._num_skipped += frames
        self._skipped_at = time.monotonic()


class Outlet:
    """From codes to the ring to be played, frame by frame. One thread's."""

    def __init__(
        self, codec: LiveCodec, owner: Owner, rings: Rings, device_rate: int, origin: int, *, side_by_side: bool
    ) -> None:
        """
        Args:
            origin: the intake's: number of the first captured sample that was for us.
            side_by_side: whether the intake belongs to another thread, which encodes the next frame meanwhile.
        """
        info = codec.info
        self._owner, self._rings, self._rate = owner, rings, device_rate
        self._frame_size, self._codec_rate = info.frame_size, info.sample_rate
        self._decoder = codec.stream_decoder()
        same = device_rate == info.sample_rate
        self._up = None if same else soxr.ResampleStream(info.sample_rate, device_rate, 1, dtype="float32")
        self._origin, self._side_by_side = origin, side_by_side
        self._written_origin = int(rings.fields[WRITTEN])
        self._num_skipped = 0
        self._num_written = 0  # frames
        self._trimmed = 0  # samples at the device's rate that were never written
        self._unheard: deque[tuple[int, int]] = deque(maxlen=64)  # (captured frame, first written sample)
        self._latency_s: float | None = None
        self._compute_s: deque[float] = deque(maxlen=12)
        self._busy_s: deque[float] = deque(maxlen=12)
        self._idle: deque[int] = deque(maxlen=WATCH_PUSHES)
        self._skipped_at = -1e9
        self._margin_s = HOLD_S
        self._num_late, self._late_at = 0, time.monotonic()

    def finish(self, frame: Encoded) -> None:
        """Decode, keep and play frames, and show the figures."""
        started = time.monotonic()
        decoded = self._decode(frame.codes)
        now = time.monotonic()
        decode_s = now - started
        self._compute_s.append(now - frame.started)
        busy_s = max(frame.encode_s, decode_s) if self._side_by_side else frame.encode_s + decode_s
        self._busy_s.append(busy_s / frame.num_frames)
        self._owner.keep(frame.samples, frame.codes, decoded)
        self._set_margin()
        self._play(frame, decoded)
        self._measure()
        self._show(frame)

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        """What sounds of ``codes`` (int16 [K, n]), float32 [n * frame_size]."""
        chosen = self._owner.codebooks
        if not chosen:
            return np.zeros(codes.shape[1] * self._frame_size, np.float32)
        self._decoder.set_codebooks(chosen)
        return self._decoder.push(codes)

    def _set_margin(self) -> None:
        """Leave more sound in the ring where some came late, and less again after a while."""
        now, num_late = time.monotonic(), int(self._rings.fields[STARVED])
        if num_late > self._num_late:
            self._margin_s = min(self._margin_s + MARGIN_STEP_S, MOST_MARGIN_S)
        elif now - self._late_at > CALM_S:
            self._margin_s = max(self._margin_s - MARGIN_STEP_S, HOLD_S)
        else:
            return
        self._num_late, self._late_at = num_late, now

    def _play(self, frame: Encoded, decoded: np.ndarray) -> None:
        fields = self._rings.fields
        left = int(fields[WRITTEN]) - int(fields[PLAYED])
        per_frame = self._frame_size * self._rate // self._codec_rate
        if left > MOST_UNPLAYED * per_frame:
            self._idle.clear()
            self._num_skipped += frame.num_frames
            self._skipped_at = time.monotonic()
            return
        block = np.asarray(decoded if self._up is None else self._up.resample_chunk(decoded), np.float32)
        self._idle.append(left)
        if left > MOST_SPARE * per_frame:
            block = self._trim(block, left)
        elif len(self._idle) == self._idle.maxlen:
            block = self._trim(block, min(self._idle))
        copy_in(self._rings.to_play, int(fields[WRITTEN]), block)
        for i in range(frame.num_frames):
            self._unheard.append((frame.number + i, (self._num_written + i) * per_frame - self._trimmed))
        fields[WRITTEN] += len(block)
        self._num_written += frame.num_frames

    def _trim(self, block: np.ndarray, spare: int) -> np.ndarray:
        """Leave out, by a short cross-fade, as much as lies in the ring unused, ``spare`` samples: it is only delay."""
        fade, margin = round(FADE_S * self._rate), round(self._margin_s * self._rate)
        excess = min(spare - margin, len(block) - fade)
        if excess < round(HOLD_S * self._rate):
            return block
        self._idle.clear()
        self._trimmed += excess
        up = np.arange(fade, dtype=np.float32) / fade
        trimmed = block[excess:].copy()
        trimmed[:fade] = trimmed[:fade] * up + block[:fade] * (1 - up)
        return trimmed

    def _measure(self) -> None:
        """Find the newest frame whose first sample's way to the ear is known."""
        while self._unheard:
            captured, written = self._unheard[0]
            ratio = self._frame_size * self._rate / self._codec_rate
            heard = self._rings.time_of(1, self._written_origin + written + 1, self._rate)
            if heard is None:
                return
            spoken = self._rings.time_of(0, self._origin + captured * ratio + 1, self._rate)
            if spoken is not None:
                self._latency_s = heard - spoken
            self._unheard.popleft()

    def _show(self, frame: Encoded) -> None:
        skipped_at = max(frame.skipped_at, self._skipped_at)
        self._owner.show(
            LiveFigures(
                num_frames=frame.number + frame.num_frames,
                num_skipped=frame.num_skipped + self._num_skipped,
                num_late=int(self._rings.fields[STARVED]),
                latency_s=self._latency_s,
                frame_s=self._frame_size / self._codec_rate,
                compute_s=sum(self._compute_s) / len(self._compute_s),
                busy_s=sum(self._busy_s) / len(self._busy_s),
                is_behind=time.monotonic() - skipped_at < 1.0,
                peak=float(np.abs(frame.samples).max()),
            )
        )
