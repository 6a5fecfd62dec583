"""LiveLoop: hear yourself through the codec, and see how late.

Microphone and loudspeaker belong to a process of their own (``duplex``); the codec's thread calls ``run`` and
moves whole frames from one ring to the other: encode, choose codebooks, decode. What cannot be done in time
is skipped by whole frames and counted; the delay has a limit. The latency is measured, not added up: for each
frame, the time at which its first sample is heard less the time at which it was captured.

``run`` belongs to the codec's thread and blocks; everything else may be called from any other thread while it
runs. Where one thread alone would have little time to spare, a second one encodes while ``run``'s decodes.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mimi_gui.codes import Codes
from mimi_gui.duplex import DUPLEX_BYTES, MUTED, Rings
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.kept_sound import KeptSound
from mimi_gui.passage import MOST_TOGETHER, Encoded, Intake, LiveCodec, LiveFigures, Outlet
from mimi_gui.priority import hurried
from mimi_gui.sound_child import OPEN_WAIT_S, SoundChild, sentence
from mimi_gui.threads import narrowed

__all__ = ["LiveCodec", "LiveFigures", "LiveLoop", "LiveTake"]

HINT = "Nothing is recorded"
POLL_S = 0.003
TRIAL_FRAMES, MOST_TRIAL_FRAMES, TRIAL_S = 3, 10, 0.4
MOST_OF_A_FRAME = 0.5  # one computing thread is enough up to here; the rest is for drawing and for bad moments
MOST_OF_A_STAGE = 0.9  # of two threads side by side, the slower one may take so much at best
ALONE, SIDE_BY_SIDE, TOGETHER = ("alone", "side by side", "together")
LONGEST_S = 3600.0


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
        """Pass frames through the codec until ``cancel()``, an hour is full, or the devices go (see ``error``).
        ``on_frame`` is called after each, or after a few that went through it together, when their sound is on its way.

        Raises:
            PlaybackUnavailable: not open.
        """
        child, rings = self._child, self._rings
        if child is None or rings is None:
            raise PlaybackUnavailable("No microphone is open: choose one first.", hint=HINT)
        with hurried():
            way = self._way_of_work()
            with narrowed(1) if way != TOGETHER else contextlib.nullcontext():
                for num_frames in range(2, MOST_TOGETHER + 1):
                    self._try(num_frames)  # weights are put into the order for it now, not when there is no time
                rate, side_by_side = self._facts["sample_rate"], way == SIDE_BY_SIDE
                intake = Intake(self._codec, rings, rate)
                outlet = Outlet(self._codec, self, rings, rate, intake.origin, side_by_side=side_by_side)
                over = functools.partial(self._is_over, child, cancel)
                with contextlib.closing(_encoded(intake, over, side_by_side=side_by_side)) as frames:
                    for frame in frames:
                        outlet.finish(frame)
                        if on_frame is not None:
                            on_frame()
                        if self._is_full:
                            break

    def _is_over(self, child: SoundChild, cancel: Callable[[], bool]) -> bool:
        return cancel() or self._has_lost(child) or self._is_full

    @property
    def _is_full(self) -> bool:
        return self._num_kept >= self._kept.shape[1]

    def _has_lost(self, child: SoundChild) -> bool:
        """Whether the devices are gone; says why."""
        while not child.answers.empty():
            answer = child.answers.get_nowait()
            if "lost" in answer:
                self._error = sentence("lost", answer["lost"].strip().splitlines()[-1], "live")
                return True
        return False

    def _way_of_work(self) -> str:
        """Find out how the threads are best used here: see :func:`way_of_work`."""
        together_s = sum(self._trial())
        with narrowed(1):
            alone_s = self._trial()
        return way_of_work(alone_s, together_s, self._info.frame_size / self._info.sample_rate)

    def _trial(self) -> tuple[float, float]:
        """Seconds that encoding and decoding a frame of silence take at best: what else the machine does just now says
        nothing of the next hour. In the first one the libraries choose their kernels: it does not count.
        """
        taken: list[tuple[float, float]] = []
        end = time.monotonic() + TRIAL_S
        while len(taken) < TRIAL_FRAMES or (len(taken) < MOST_TRIAL_FRAMES and time.monotonic() < end):
            taken.append(self._try(1))
        encode_s, decode_s = zip(*taken[1:], strict=True)
        return min(encode_s), min(decode_s)

    def _try(self, num_frames: int) -> tuple[float, float]:
        """Encode and decode silence in streams that are thrown away; return the seconds of both."""
        started = time.monotonic()
        codes = self._codec.stream_encoder().push(np.zeros(num_frames * self._info.frame_size, np.float32))
        encoded = time.monotonic()
        self._codec.stream_decoder().push(codes)
        return encoded - started, time.monotonic() - encoded

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
        """Keep frames: float32 [n * frame_size], int16 [K, n], float32 [n * frame_size]. Only ``run``'s thread. What
        finds no room is left out.
        """
        self.source.append(samples)
        self.reconstruction.append(decoded)
        end = min(self._num_kept + codes.shape[1], self._kept.shape[1])
        self._kept[:, self._num_kept : end] = codes[:, : end - self._num_kept]
        self._num_kept = end

    def show(self, figures: LiveFigures) -> None:
        """Replace the figures. Only ``run``'s thread."""
        self._figures = figures


def way_of_work(alone_s: tuple[float, float], together_s: float, frame_s: float) -> str:
    """Return how to compute a frame of ``frame_s``: by one thread, by one that encodes beside one that decodes the
    frame before, or by all of them at once.

    Threads that work together wait for each other at every layer: where anything else wants one of the cores, and here
    the window draws, all of them wait. Measured with a full-size checkpoint on two busy cores: 70 ms a frame together,
    87 alone, and side by side a frame every 54.

    Args:
        alone_s: what one thread takes to encode and to decode a frame.
        together_s: what all threads take for both.
    """
    if sum(alone_s) <= MOST_OF_A_FRAME * frame_s:
        return ALONE
    return SIDE_BY_SIDE if max(alone_s) <= max(MOST_OF_A_STAGE * frame_s, together_s) else TOGETHER


def _encoded(intake: Intake, over: Callable[[], bool], *, side_by_side: bool) -> Generator[Encoded, None, None]:
    """Frames as they come, until ``over()``; side by side, a thread encodes the next while the caller has the last."""

    def wait_for_one() -> Encoded | None:
        while not (over() or stop.is_set()):
            frame = intake.next()
            if frame is not None:
                return frame
            time.sleep(POLL_S)
        return None

    def hurry_for_one() -> Encoded | None:
        with hurried(), narrowed(1):
            return wait_for_one()

    stop = threading.Event()
    if not side_by_side:
        while (frame := wait_for_one()) is not None:
            yield frame
        return
    with ThreadPoolExecutor(1, "live-encoder") as pool:
        try:
            coming = pool.submit(hurry_for_one)
            while (frame := coming.result()) is not None:
                coming = pool.submit(hurry_for_one)
                yield frame
        finally:
            stop.set()
