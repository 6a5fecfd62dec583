"""LiveLoop: hear yourself through the codec, and see how late.

Microphone and loudspeaker belong to a process of their own (``duplex``); the codec's thread calls ``run`` and
moves whole frames from one ring to the other: encode, choose codebooks, decode. What cannot be done in time
is skipped by whole frames and counted; the delay never grows. The latency is measured, not added up: for each
frame, the time at which its first sample is heard less the time at which it was captured.

``run`` belongs to the codec's thread and blocks; everything else may be called from any other thread while it
runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soxr

from mimi_gui.codes import Codes
from mimi_gui.duplex import (
    CAPTURED,
    DUPLEX_BYTES,
    FADE_S,
    HOLD_S,
    MUTED,
    PLAYED,
    STARVED,
    WRITTEN,
    Rings,
    copy_in,
    copy_out,
)
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.kept_sound import KeptSound
from mimi_gui.priority import hurried
from mimi_gui.sound_child import OPEN_WAIT_S, SoundChild, sentence

HINT = "Nothing is recorded"
MOST_BEHIND = 3  # frames waiting for the codec: beyond that all but the newest are skipped
WATCH_FRAMES = 12  # sound that lay in the ring unused for so long is trimmed
POLL_S = 0.003
LONGEST_S = 3600.0


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
    compute_s: float = 0.0  # the last second's mean
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


@dataclass(frozen=True)
class LiveTake:
    """What a session kept: float32 [T] at the codec's rate each, read-only. Skipped frames are in neither.

    ``reconstruction`` is what was heard, with whatever codebooks sounded at the time; ``codes`` holds all of them.
    """

    codes: Codes
    source: np.ndarray
    reconstruction: np.ndarray


class LiveLoop:
    """One session from ``open`` to ``close``. Keeps tokens and both sounds, up to an hour."""

    def __init__(self, codec: LiveCodec, *, longest_s: float = LONGEST_S) -> None:
        info = codec.info
        self._codec = codec
        self._info = info
        frames = max(1, int(longest_s * info.frame_rate))
        self.source, self.reconstruction = (KeptSound(frames * info.frame_size) for _ in range(2))
        self._kept = np.zeros((info.num_codebooks, frames), np.int16)  # codes [K, T]
        self._num_kept = 0
        self._codebooks = tuple(range(info.num_codebooks))
        self._child: SoundChild | None = None
        self._rings: Rings | None = None
        self._facts: dict = {}
        self._figures = LiveFigures(frame_s=info.frame_size / info.sample_rate)
        self._error: str | None = None

    def open(
        self, input_name: str | None = None, output_name: str | None = None, *, host_api: str | None = None
    ) -> None:
        """Open microphone and loudspeaker (None = the system's default); silence is heard until ``run``.

        Raises:
            PlaybackUnavailable: one of them is missing or refuses.
        """
        self.close()
        self._error = None
        child = SoundChild("--live", DUPLEX_BYTES)
        child.send(
            {"open": {"input": input_name, "output": output_name, "host_api": host_api,
                      "sample_rate": self._info.sample_rate}}
        )  # fmt: skip
        answer = child.wait_for_answer(OPEN_WAIT_S)
        if "opened" not in answer:
            child.close()
            kind, detail = answer.get("failed", "lost"), answer.get("detail") or answer.get("lost", "")
            text = sentence(kind, detail, answer.get("direction") or "input")
            raise PlaybackUnavailable(text, hint=HINT)
        self._child, self._rings, self._facts = child, Rings(child.memory.map), answer["opened"]

    def close(self) -> None:
        """Let the devices go; call it when ``run`` has returned."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def run(self, cancel: Callable[[], bool], on_frame: Callable[[], None] | None = None) -> None:
        """Pass frames through the codec until ``cancel()``, an hour is full, or the devices go (see
        ``error``). ``on_frame`` is called after each, when its sound is on its way.

        Raises:
            PlaybackUnavailable: not open.
        """
        child, rings = self._child, self._rings
        if child is None or rings is None:
            raise PlaybackUnavailable("No microphone is open: choose one first.", hint=HINT)
        self._warm_up()
        passage = _Passage(self, rings, self._facts["sample_rate"])
        with hurried():
            while not (cancel() or self._has_lost(child) or self._num_kept >= self._kept.shape[1]):
                if not passage.step():
                    time.sleep(POLL_S)
                elif on_frame is not None:
                    on_frame()

    def _has_lost(self, child: SoundChild) -> bool:
        """Whether the devices are gone; says why."""
        while not child.answers.empty():
            answer = child.answers.get_nowait()
            if "lost" in answer:
                self._error = sentence("lost", answer["lost"].strip().splitlines()[-1], "live")
                return True
        return False

    def _warm_up(self) -> None:
        """Let the libraries choose their kernels on silence, in streams that are thrown away."""
        encoder, decoder = self._codec.stream_encoder(), self._codec.stream_decoder()
        for _ in range(3):
            decoder.push(encoder.push(np.zeros(self._info.frame_size, np.float32)))

    def set_codebooks(self, codebooks: Iterable[int]) -> None:
        """From the next frame on, decode these (numbers from 0; none = silence); all are kept."""
        self._codebooks = tuple(sorted({k for k in codebooks if 0 <= k < self._info.num_codebooks}))

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """From the next frame on, decode the first ``num_codebooks``; all are kept."""
        self.set_codebooks(range(max(int(num_codebooks), 1)))

    def set_muted(self, muted: bool) -> None:
        """Go on without sound, against feedback from a loudspeaker."""
        if self._rings is not None:
            self._rings.fields[MUTED] = float(muted)

    @property
    def is_muted(self) -> bool:
        return self._rings is not None and bool(self._rings.fields[MUTED])

    @property
    def codebooks(self) -> tuple[int, ...]:
        """What sounds, by number from 0, in rising order."""
        return self._codebooks

    @property
    def devices(self) -> tuple[str, str]:
        """Names of microphone and loudspeaker; "" before ``open``."""
        microphone, loudspeaker = (self._facts.get(side, {}).get("name", "") for side in ("input", "output"))
        return microphone, loudspeaker

    @property
    def device_rate(self) -> int:
        """The rate that both devices run at, in Hz; 0 before ``open``."""
        return self._facts.get("sample_rate", 0)

    @property
    def codes(self) -> np.ndarray:
        """int16 [K, T], the frames so far; a view that later frames do not change."""
        view = self._kept[:, : self._num_kept]
        view.flags.writeable = False
        return view

    @property
    def all_codes(self) -> np.ndarray:
        """int16 [K, T] for the longest session; the frames so far are its first. Not to be written to."""
        return self._kept

    @property
    def figures(self) -> LiveFigures:
        return self._figures

    @property
    def error(self) -> str | None:
        """Why the loop ended by itself: one sentence, or None."""
        return self._error

    def take(self) -> LiveTake | None:
        """What was kept, once ``run`` has returned; None if that is not a single frame."""
        if self._num_kept == 0:
            return None
        length = self._num_kept * self._info.frame_size
        source, reconstruction = self.source.kept(), self.reconstruction.kept()
        metadata = {**self._codec.metadata(), "live": {"num_skipped": self._figures.num_skipped}}
        return LiveTake(Codes(self.codes.copy(), length, self._info, metadata), source, reconstruction)

    def keep(self, samples: np.ndarray, codes: np.ndarray, decoded: np.ndarray) -> None:
        """Keep one frame: float32 [n], int16 [K, 1], float32 [n]. Only ``run``'s thread."""
        self.source.append(samples)
        self.reconstruction.append(decoded)
        self._kept[:, self._num_kept] = codes[:, 0]
        self._num_kept += 1

    def show(self, figures: LiveFigures) -> None:
        """Replace the figures. Only ``run``'s thread."""
        self._figures = figures


class _Passage:
    """From the captured ring to the ring to be played, frame by frame."""

    def __init__(self, loop: LiveLoop, rings: Rings, device_rate: int) -> None:
        info = loop._info
        self._loop, self._rings, self._rate = loop, rings, device_rate
        self._frame_size, self._codec_rate = info.frame_size, info.sample_rate
        self._encoder = loop._codec.stream_encoder()
        self._decoder = loop._codec.stream_decoder()
        same = device_rate == info.sample_rate
        self._down = None if same else soxr.ResampleStream(device_rate, info.sample_rate, 1, dtype="float32")
        self._up = None if same else soxr.ResampleStream(info.sample_rate, device_rate, 1, dtype="float32")
        self._waiting = np.zeros(0, np.float32)  # at the codec's rate
        self._origin = self._read = int(rings.fields[CAPTURED])  # what came before the start is not for us
        self._written_origin = int(rings.fields[WRITTEN])
        self._num_frames = self._num_skipped = 0
        self._num_written = 0  # frames
        self._trimmed = 0  # samples at the device's rate that were never written
        self._unheard: deque[tuple[int, int]] = deque(maxlen=64)  # (captured frame, first written sample)
        self._latency_s: float | None = None
        self._compute_s: deque[float] = deque(maxlen=12)
        self._idle: deque[int] = deque(maxlen=WATCH_FRAMES)
        self._skipped_at = -1e9
        self._peak = 0.0

    def step(self) -> bool:
        """Do what is due; return whether there was a frame."""
        self._take_captured()
        ready = len(self._waiting) // self._frame_size
        self._measure()
        if not ready:
            return False
        if ready > MOST_BEHIND:
            self._waiting = self._waiting[(ready - 1) * self._frame_size :]
            self._num_frames += ready - 1
            self._skip(ready - 1)
        frame, self._waiting = np.split(self._waiting, [self._frame_size])
        started = time.monotonic()
        codes = self._encoder.push(frame)
        decoded = self._decode(codes)
        self._peak = float(np.abs(frame).max())
        self._compute_s.append(time.monotonic() - started)
        self._loop.keep(frame, codes, decoded)
        self._play(decoded)
        self._num_frames += 1
        self._show()
        return True

    def _decode(self, codes: np.ndarray) -> np.ndarray:
        """What sounds of ``codes`` (int16 [K, 1]), float32 [n]."""
        chosen = self._loop.codebooks
        if not chosen:
            return np.zeros(self._frame_size, np.float32)
        self._decoder.set_codebooks(chosen)
        return self._decoder.push(codes)

    def _take_captured(self) -> None:
        fields = self._rings.fields
        due = int(fields[CAPTURED]) - self._read
        most = len(self._rings.captured) // 2
        if due > most:  # away for seconds: only whole frames may be left out, so that the frames stay in step
            per_frame = self._frame_size * self._rate // self._codec_rate
            frames = (due - per_frame) // per_frame
            self._read += frames * per_frame
            self._num_frames += frames
            self._skip(frames)
            due -= frames * per_frame
        if due <= 0:
            return
        block = copy_out(self._rings.captured, self._read, due)
        self._read += due
        if self._down is not None:
            block = self._down.resample_chunk(block)
        self._waiting = np.concatenate([self._waiting, block])

    def _play(self, decoded: np.ndarray) -> None:
        fields = self._rings.fields
        left = int(fields[WRITTEN]) - int(fields[PLAYED])
        per_frame = self._frame_size * self._rate // self._codec_rate
        if left > 4 * per_frame:
            self._idle.clear()
            self._skip(1)
            return
        block = np.asarray(decoded if self._up is None else self._up.resample_chunk(decoded), np.float32)
        self._idle.append(left)
        if len(self._idle) == self._idle.maxlen:
            block = self._trim(block)
        copy_in(self._rings.to_play, int(fields[WRITTEN]), block)
        self._unheard.append((self._num_frames, self._num_written * per_frame - self._trimmed))
        fields[WRITTEN] += len(block)
        self._num_written += 1

    def _trim(self, block: np.ndarray) -> np.ndarray:
        """Leave out, by a short cross-fade, what has lain in the ring unused for a second: it is only delay."""
        fade, margin = round(FADE_S * self._rate), round(HOLD_S * self._rate)
        excess = min(min(self._idle) - margin, len(block) - fade)
        if excess < margin:
            return block
        self._idle.clear()
        self._trimmed += excess
        up = np.arange(fade, dtype=np.float32) / fade
        trimmed = block[excess:].copy()
        trimmed[:fade] = trimmed[:fade] * up + block[:fade] * (1 - up)
        return trimmed

    def _skip(self, frames: int) -> None:
        self._num_skipped += frames
        self._skipped_at = time.monotonic()

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

    def _show(self) -> None:
        self._loop.show(
            LiveFigures(
                num_frames=self._num_frames,
                num_skipped=self._num_skipped,
                num_late=int(self._rings.fields[STARVED]),
                latency_s=self._latency_s,
                frame_s=self._frame_size / self._codec_rate,
                compute_s=sum(self._compute_s) / len(self._compute_s),
                is_behind=time.monotonic() - self._skipped_at < 1.0,
                peak=self._peak,
            )
        )
