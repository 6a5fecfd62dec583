"""The live loop through a null sink: nothing lost, and as late as it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import numpy as np
import pytest
import torch
from scipy import signal

from mimi_gui.codes import CodecInfo
from mimi_gui.duplex import DUPLEX_BYTES, PLAYED, STARVED, WRITTEN, Duplex, Rings, copy_in, copy_out
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.live import ALONE, SIDE_BY_SIDE, TOGETHER, LiveFigures, LiveLoop, way_of_work
from mimi_gui.threads import narrowed
from tests.sound_card import SoundCard, plugged_in
from tests.test_sound_card import noise, wait_until

RATE = 24000
FRAME = 1920


class Echo:
    """A codec that says what it hears; ``work_s`` for each frame."""

    def __init__(self, work_s: float = 0.0) -> None:
        self.info = CodecInfo()
        self.work_s = work_s
        self._frames: dict[int, np.ndarray] = {}

    def stream_encoder(self, num_codebooks: int | None = None) -> Echo:
        return Echo(self.work_s).sharing(self)

    def stream_decoder(self, codebooks: object = None) -> EchoDecoder:
        return EchoDecoder(self)

    def metadata(self) -> dict[str, object]:
        return {"device": "echo"}

    def sharing(self, other: Echo) -> Echo:
        self._frames = other._frames
        return self

    def push(self, samples: np.ndarray) -> np.ndarray:
        frames = samples.reshape(-1, FRAME).copy()
        time.sleep(self.work_s * len(frames))
        numbers = np.arange(len(self._frames), len(self._frames) + len(frames))
        self._frames |= dict(zip(numbers.tolist(), frames, strict=True))
        return np.repeat(numbers[None].astype(np.int16), 32, axis=0)


class EchoDecoder:
    def __init__(self, codec: Echo) -> None:
        self._codec = codec
        self._gain = 1.0

    def set_codebooks(self, codebooks: tuple[int, ...]) -> None:
        self._gain = len(codebooks) / 32

    def push(self, codes: np.ndarray) -> np.ndarray:
        return self._gain * np.concatenate([self._codec._frames[number] for number in codes[0].tolist()])


@contextmanager
def running(loop: LiveLoop) -> Iterator[LiveLoop]:
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop.is_set,))
    thread.start()
    try:
        yield loop
    finally:
        stop.set()
        thread.join(timeout=10)
        loop.close()
        assert not thread.is_alive()


def measure_latency(card: SoundCard, work_s: float) -> tuple[float, float, LiveFigures]:
    """Measured and told latency in seconds, and the last figures: both ends are recorded by the same program, and
    the lag between them is compared with the median of what the screen would show. The codec echoes, after
    ``work_s``."""
    loop = LiveLoop(Echo(work_s), longest_s=60)
    loop.open()
    spoken = np.asarray(signal.lfilter([1], [1, -0.95], noise(4.0)[:, 0]))
    spoken = np.repeat((0.9 * spoken / np.abs(spoken).max())[:, None], 2, axis=1)
    figures = []
    with running(loop), card.recording("mouth.monitor") as said, card.recording() as heard:
        with card.speaking(spoken) as child:
            while child.poll() is None:
                time.sleep(0.1)
                if (figure := loop.figures).latency_s is not None:
                    figures.append(figure)
        time.sleep(0.5)
    assert loop.error is None
    x, y = said.samples[:, 0], heard.samples[:, 0]
    first = int(np.nonzero(x)[0][0]) + 48000  # from the second second on
    piece = x[first : first + 96000]
    match = signal.correlate(y, piece, mode="valid", method="fft")
    measured = heard.time_of(0) + int(np.argmax(match)) / 48000 - (said.time_of(0) + first / 48000)
    return measured, float(np.median([f.latency_s for f in figures[10:]])), figures[-1]


@pytest.mark.sound
def test_the_measured_latency_is_what_the_screen_says(sound_card: SoundCard) -> None:
    measured, told, figures = measure_latency(sound_card, 0.01)
    assert figures.num_skipped == 0
    assert 0.08 < told < 0.3
    print(f"measured {1000 * measured:.1f} ms, told {1000 * told:.1f} ms")
    assert measured == pytest.approx(told, abs=0.010)
    assert figures.compute_s == pytest.approx(0.010, abs=0.01)
    assert figures.device_s is not None


@pytest.mark.sound
def test_what_is_kept_is_what_was_spoken(sound_card: SoundCard) -> None:
    loop = LiveLoop(Echo(), longest_s=60)
    loop.open()
    with running(loop):
        wait_until(lambda: loop.figures.num_frames > 5)
        loop.set_num_codebooks(8)
        with sound_card.speaking(noise(1.6, channels=2)) as child:
            for codebooks in ((3, 5), (), range(8)):
                time.sleep(0.4)
                loop.set_codebooks(codebooks)
            child.wait(timeout=10)
        time.sleep(0.3)
    codes = loop.codes
    assert codes.shape[1] == loop.source.length // FRAME > 15
    assert not codes.flags.writeable
    assert loop.codebooks == tuple(range(8))
    take = loop.take()
    assert take is not None
    assert take.codes.num_samples == len(take.source) == len(take.reconstruction) == codes.shape[1] * FRAME
    np.testing.assert_array_equal(take.codes.array, codes)
    assert np.abs(take.source).max() > 0.2
    gains = np.array([1.0, 8 / 32, 2 / 32, 0.0])
    frames = zip(take.source.reshape(-1, FRAME), take.reconstruction.reshape(-1, FRAME), strict=True)
    heard = [int(np.argmin([np.abs(y - g * x).max() for g in gains])) for x, y in frames if x.any()]
    # Each frame with one choice of codebooks, in the order they were asked for.
    assert [value for value, _ in groupby(heard)] == [1, 2, 3, 1]


@pytest.mark.sound
def test_a_codec_that_is_too_slow_skips_whole_frames_and_says_so(sound_card: SoundCard) -> None:
    loop = LiveLoop(Echo(0.12), longest_s=60)
    loop.open()
    latencies = []
    with running(loop):
        end = time.monotonic() + 7
        while time.monotonic() < end:
            time.sleep(0.1)
            if loop.figures.latency_s is not None:
                latencies.append(loop.figures.latency_s)
        figures = loop.figures
    assert figures.num_skipped > 5
    assert figures.is_behind
    assert max(latencies[2 * len(latencies) // 3 :]) < 1.2  # it does not grow
    assert 50 < figures.num_frames <= 88  # the rest waits for the codec


class Bus(Echo):
    """Takes 120 ms for one frame, and for three: those that wait have to go together."""

    def push(self, samples: np.ndarray) -> np.ndarray:
        time.sleep(0.12)
        return super().push(samples)


@pytest.mark.sound
def test_frames_that_wait_go_together_and_none_is_skipped(sound_card: SoundCard) -> None:
    loop = LiveLoop(Bus(), longest_s=60)
    loop.open()
    with running(loop), sound_card.speaking(noise(4.0, channels=2)):
        wait_until(lambda: loop.figures.num_frames > 60, 20)
        late = loop.figures.num_late
        wait_until(lambda: loop.figures.num_frames > 100, 20)
    figures = loop.figures
    assert figures.num_skipped == 0
    assert figures.num_late - late <= 8  # of 25 pushes: enough lies ready by now
    assert figures.num_frames == loop.codes.shape[1]
    assert figures.latency_s is not None
    assert figures.latency_s < 0.6
    assert figures.busy_s < 0.1
    np.testing.assert_array_equal(np.diff(loop.codes[0]), 1)
    np.testing.assert_array_equal(loop.source.kept(), loop.reconstruction.kept())


@pytest.mark.sound
def test_a_sound_card_that_goes_ends_it_and_what_was_heard_is_kept(
    sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SoundCard()
    loop = LiveLoop(Echo(), longest_s=60)
    try:
        with plugged_in(card, monkeypatch):
            loop.open()
        thread = threading.Thread(target=loop.run, args=(lambda: False,))
        thread.start()
        wait_until(lambda: loop.figures.num_frames > 5)
        card.kill()
        thread.join(timeout=10)
        assert not thread.is_alive()
        assert (loop.error or "").startswith("The live session stopped")
        take = loop.take()
        assert take is not None
        assert take.codes.num_frames >= 5
    finally:
        loop.close()
        card.close()


class Crew(Echo):
    """Takes ``alone_s`` to encode a frame with one of torch's threads, 5 ms with more; notes threads and numbers."""

    def __init__(self, alone_s: float) -> None:
        super().__init__()
        self.alone_s = alone_s
        self.seen: list[tuple[str, int]] = []

    def stream_encoder(self, num_codebooks: int | None = None) -> Crew:
        return self

    def push(self, samples: np.ndarray) -> np.ndarray:
        self.seen.append((threading.current_thread().name, torch.get_num_threads()))
        self.work_s = self.alone_s if self.seen[-1][1] == 1 else 0.005
        return super().push(samples)


@pytest.mark.sound
@pytest.mark.parametrize(
    ("alone_s", "side_by_side", "num_threads"), [(0.03, False, 1), (0.06, True, 1), (0.12, False, 2)]
)
def test_how_the_threads_share_the_work(
    sound_card: SoundCard, alone_s: float, side_by_side: bool, num_threads: int
) -> None:
    crew = Crew(alone_s)
    loop = LiveLoop(crew, longest_s=60)
    loop.open()
    with narrowed(2):
        loop.run(lambda: loop.figures.num_frames > 6)
        assert torch.get_num_threads() == 2
    loop.close()
    here = threading.current_thread().name
    assert {(here, 1), (here, 2)} <= set(crew.seen)  # both were tried
    (name, number) = crew.seen[-1]
    assert number == num_threads
    assert (name != here) is side_by_side


@pytest.mark.parametrize(
    ("alone_s", "together_s", "way"),
    [
        ((0.02, 0.019), 0.02, ALONE),
        ((0.02, 0.025), 0.02, SIDE_BY_SIDE),
        ((0.05, 0.04), 0.08, SIDE_BY_SIDE),
        ((0.3, 0.1), 0.4, SIDE_BY_SIDE),
        ((0.1, 0.2), 0.15, TOGETHER),
    ],
)
def test_how_a_frame_is_computed(alone_s: tuple[float, float], together_s: float, way: str) -> None:
    assert way_of_work(alone_s, together_s, frame_s=0.08) == way


class Twins(Echo):
    """Takes 60 ms to encode and 60 ms to decode: only two threads at a time are quick enough."""

    def stream_encoder(self, num_codebooks: int | None = None) -> Twins:
        return self

    def stream_decoder(self, codebooks: object = None) -> EchoDecoder:
        return SlowEchoDecoder(self)


class SlowEchoDecoder(EchoDecoder):
    def push(self, codes: np.ndarray) -> np.ndarray:
        time.sleep(0.06)
        return super().push(codes)


@pytest.mark.sound
def test_side_by_side_nothing_is_lost_or_swapped(sound_card: SoundCard) -> None:
    loop = LiveLoop(Twins(0.06), longest_s=60)
    loop.open()
    with narrowed(2), running(loop), sound_card.speaking(noise(3.0, channels=2)):
        wait_until(lambda: loop.figures.num_frames > 40, 20)
    figures = loop.figures
    assert figures.num_skipped == 0
    assert figures.compute_s > 0.119  # a frame's way through both
    assert 0.059 < figures.busy_s < 0.75 * figures.compute_s
    assert np.abs(loop.source.kept()).max() > 0.2
    np.testing.assert_array_equal(loop.source.kept(), loop.reconstruction.kept())
    numbers = loop.codes[0]
    np.testing.assert_array_equal(np.diff(numbers), 1)


@pytest.mark.sound
def test_an_error_in_either_half_ends_it(sound_card: SoundCard) -> None:
    class Broken(Twins):
        def push(self, samples: np.ndarray) -> np.ndarray:
            if len(self._frames) > 25:
                raise RuntimeError("no more")
            return super().push(samples)

    class Mute(Twins):
        def stream_decoder(self, codebooks: object = None) -> EchoDecoder:
            return Bad(self)

    class Bad(SlowEchoDecoder):
        def push(self, codes: np.ndarray) -> np.ndarray:
            if len(self._codec._frames) > 25:
                raise RuntimeError("no more")
            return super().push(codes)

    for codec in (Broken(0.06), Mute(0.06)):
        loop = LiveLoop(codec, longest_s=60)
        loop.open()
        with pytest.raises(RuntimeError, match="no more"):
            loop.run(lambda: False)
        loop.close()
        assert loop.take() is not None
        assert "live-encoder" not in {thread.name.rsplit("_", 1)[0] for thread in threading.enumerate()}


@pytest.mark.sound
def test_a_full_hour_ends_it_side_by_side(sound_card: SoundCard) -> None:
    loop = LiveLoop(Twins(0.06), longest_s=0.8)
    loop.open()
    loop.run(lambda: False)
    loop.close()
    assert loop.codes.shape == (32, 10)


@pytest.mark.sound
def test_the_real_codec_live(sound_card: SoundCard, tiny_codec) -> None:
    loop = LiveLoop(tiny_codec, longest_s=60)
    loop.open()
    with running(loop), sound_card.speaking(noise(2.0, channels=2)):
        wait_until(lambda: loop.figures.num_frames > 20, 20)
    from numpy.testing import assert_array_equal

    kept = np.array(loop.source.kept())
    assert_array_equal(tiny_codec.encode(kept).array, loop.codes)
    assert loop.reconstruction.length == loop.source.length


@pytest.mark.sound
def test_devices_that_are_not_there(sound_card: SoundCard) -> None:
    loop = LiveLoop(Echo(), longest_s=10)
    with pytest.raises(PlaybackUnavailable, match="The input 'Ear of Dionysius'"):
        loop.open("Ear of Dionysius")
    with pytest.raises(PlaybackUnavailable, match="The output 'Loudspeaker of Babel'"):
        loop.open(None, "Loudspeaker of Babel")
    with pytest.raises(PlaybackUnavailable, match="No microphone"):
        loop.run(lambda: False)
    loop.close()


class Times:
    currentTime, outputBufferDacTime, inputBufferAdcTime = 10.0, 10.03, 9.99  # PortAudio's names


class Flags:
    output_underflow = input_overflow = False


@pytest.fixture
def duplex() -> Duplex:
    duplex = Duplex(Rings(bytearray(DUPLEX_BYTES)))
    duplex._rate = RATE
    duplex._begin_silent()
    return duplex


def play(duplex: Duplex, num_samples: int) -> np.ndarray:
    out = np.full((num_samples, 2), np.nan, np.float32)
    duplex._play(out, num_samples, Times, Flags)
    assert not duplex.failure
    return out[:, 0]


def test_late_frames_are_waited_for_and_nothing_is_lost(duplex: Duplex) -> None:
    x = noise(0.4, RATE)[:, 0]
    fields = duplex.rings.fields
    assert not play(duplex, 240).any()
    heard = []
    for number in range(5):
        copy_in(duplex.rings.to_play, int(fields[WRITTEN]), x[number * FRAME : (number + 1) * FRAME])
        fields[WRITTEN] += FRAME
        heard += [play(duplex, 240) for _ in range(14 if number == 2 else 8)]  # after the third one: late
    heard += [play(duplex, 240) for _ in range(8)]
    sound = np.concatenate(heard)
    hold, fade = 480, 120
    assert not sound[:hold].any()
    np.testing.assert_array_equal(sound[hold + fade : 3 * FRAME], x[fade : 3 * FRAME - hold])
    gap = slice(hold + 3 * FRAME, 3 * FRAME + 6 * 240 + hold)
    assert not sound[gap].any()
    again = gap.stop + fade
    np.testing.assert_array_equal(sound[again : gap.stop + 2 * FRAME], x[3 * FRAME + fade :])
    assert fields[PLAYED] == 5 * FRAME
    assert fields[STARVED] == 2


def test_the_circles(duplex: Duplex) -> None:
    ring = np.zeros(10, np.float32)
    copy_in(ring, 7, np.arange(6, dtype=np.float32))
    np.testing.assert_array_equal(copy_out(ring, 7, 6), np.arange(6))
    copy_in(ring, 20, np.arange(10, dtype=np.float32))
    np.testing.assert_array_equal(copy_out(ring, 20, 10), np.arange(10))
    rings = duplex.rings
    for block in range(1, 400):
        rings.note(1, 240 * block, 5.0 + block / 100)
    assert rings.time_of(1, 240 * 390 + 120, RATE) == pytest.approx(5.0 + 3.905)
    assert rings.time_of(1, 240 * 400, RATE) is None


def test_figures() -> None:
    assert LiveFigures().device_s is None
    assert LiveFigures(latency_s=0.2, frame_s=0.08, compute_s=0.02).device_s == pytest.approx(0.1)
