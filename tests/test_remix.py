"""Another mix while it plays: what the ear needs first, the exact sound in the end, and never a click on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pytestqt.qtbot import QtBot

from mimi_gui.clip import Clip
from mimi_gui.codec import MimiCodec
from mimi_gui.overdub import Overdub
from mimi_gui.remix import CONTEXT_FRAMES, URGENT_FRAMES, Block, Ear, Remix
from mimi_gui.ui import sound_output
from tests.test_main_window import House
from tests.test_mixer import Pump, playing

RATE, FRAME = 24_000, 1920
rng = np.random.default_rng(11)


class Counter:
    """A stream whose sound says which frames it was given, and how many it had seen before."""

    def __init__(self) -> None:
        self.seen = 0

    def push(self, codes: np.ndarray) -> np.ndarray:
        sound = np.repeat(codes[0].astype(np.float32), FRAME)
        sound[::FRAME] = self.seen + np.arange(codes.shape[1])
        self.seen += codes.shape[1]
        return sound


def run(num_frames: int, ear: Ear) -> list[Block]:
    codes = np.arange(num_frames, dtype=np.int16)[None]
    return list(Remix(Counter, codes, 12.5, ear).blocks())


def test_a_resting_ear_gets_the_exact_sound_from_the_front() -> None:
    blocks = run(300, Ear(10.0))
    assert all(block.is_exact for block in blocks)
    assert [block.start_frame for block in blocks] == sorted(block.start_frame for block in blocks)
    sound = np.concatenate([block.samples for block in blocks]).reshape(300, FRAME)
    np.testing.assert_array_equal(sound[:, 0], np.arange(300))  # one stream without a gap
    np.testing.assert_array_equal(sound[:, 1], np.arange(300))


def test_what_is_ahead_of_the_ear_comes_first_then_the_rest_of_the_loop() -> None:
    ear = Ear(20.0, (16.0, 24.0), True)
    blocks = run(1000, ear)
    first = blocks[0]
    assert not first.is_exact
    assert first.start_frame == 251  # 20.08 s: what is heard until it can be there is left alone
    assert first.lead_frames == CONTEXT_FRAMES
    np.testing.assert_array_equal(first.samples[1::FRAME], np.arange(251 - CONTEXT_FRAMES, 253))
    previews = [block for block in blocks if not block.is_exact]
    frames = [
        f for b in previews for f in range(b.start_frame, b.start_frame + len(b.samples) // FRAME - b.lead_frames)
    ]
    assert frames == [*range(251, 300), *range(200, 251)]  # to the loop's end, then from its start, each once
    exact = [block for block in blocks if block.is_exact]
    assert blocks.index(exact[0]) == len(previews)  # nothing else before the loop is whole
    assert sum(len(block.samples) for block in exact) == 1000 * FRAME
    assert sum(block.lead_frames > 0 for block in previews) == 2  # two streams, each with its warm-up


def test_what_is_urgent_has_few_sizes_and_steps_are_short() -> None:
    """A codec orders its weights for each size that it has not seen yet, and a mute waits for the step that runs."""
    blocks = run(1000, Ear(20.0, (16.0, 24.0), True))
    sizes = [len(block.samples) // FRAME for block in blocks]
    odd = [size for size in sizes if size not in URGENT_FRAMES]
    assert odd == []
    assert max(sizes) == CONTEXT_FRAMES + 2  # the first preview of a stretch
    assert all(size <= 3 for size, block in zip(sizes, blocks, strict=True) if block.lead_frames == 0)


def test_the_ear_is_followed_where_it_goes() -> None:
    ear = Ear(1.0, None, True)
    steps = Remix(Counter, np.zeros((1, 2000), np.int16), 12.5, ear).blocks()
    assert next(steps).start_frame == 13
    ear.position_s = 100.0  # a seek
    assert next(steps).start_frame == 1251
    ear.is_playing = False
    assert next(steps).is_exact


def test_the_last_frames_and_a_loop_s_end() -> None:
    assert run(20, Ear(1.59, None, True))[0].is_exact  # nothing is left to be heard
    assert run(100, Ear(3.99, (2.0, 4.0), True))[0].start_frame == 25  # the next thing is the loop's start


@pytest.mark.parametrize("rate", [24_000, 48_000, 44_100])
def test_an_overdub_ends_as_a_fresh_clip_would_be(rate: int) -> None:
    old, new = (rng.uniform(-0.5, 0.5, 5 * RATE - 77).astype(np.float32) for _ in range(2))
    clip = Clip.from_samples(old, RATE, rate)
    overdub = Overdub(clip, RATE, len(new))
    overdub.preview(48_000, new[48_000 - 5760 : 60_000], 5760, None)
    overdub.preview(60_000, new[60_000:70_000], 0, None)
    fresh = Clip.from_samples(new, RATE, rate).samples
    inside = slice(round(2.02 * rate), round(2.8 * rate))
    np.testing.assert_allclose(clip.samples[inside], fresh[inside], atol=2e-4)
    before = Clip.from_samples(old, RATE, rate).samples
    np.testing.assert_array_equal(clip.samples[: 2 * rate], before[: 2 * rate])
    np.testing.assert_array_equal(clip.samples[3 * rate :], before[3 * rate :])
    for start in range(0, len(new), 17_000):
        overdub.append(new[start : start + 17_000], (0, rate))  # being read all the while
    assert not overdub.is_finished
    overdub.catch_up(None)
    assert overdub.is_finished
    np.testing.assert_allclose(clip.samples, fresh, atol=1e-6)


def test_an_overdub_of_what_plays_never_clicks() -> None:
    t = np.arange(4 * RATE) / RATE
    old, new = (np.sin(2 * np.pi * 300 * t + p).astype(np.float32)[:, None] * g for p, g in ((0.0, 0.9), (1.9, 0.7)))
    clip = Clip.from_samples(old, RATE, RATE)
    pump = Pump(playing(None, clip, side=1))
    pump.mixer = type(pump.mixer)(RATE, 1)
    pump.mixer.plan = playing(None, clip, side=1)
    overdub, done, at = Overdub(clip, RATE, len(new)), 0, None
    while len(pump.heard) < len(new) - 1:
        pump.pump(256)
        here = pump.mixer.position
        busy = (here, here + 480)
        if len(pump.heard) == 256 * 100:
            at = here + 960
            overdub.preview(at, new[at - 5760 : at + 7680, 0], 5760, busy)
        elif at is not None and len(pump.heard) == 256 * 110:
            overdub.preview(at + 7680, new[at + 7680 : at + 30_000, 0], 0, busy)
        elif len(pump.heard) > 256 * 120 and done < len(new):
            overdub.append(new[done : done + 6000, 0], busy)
            done += 6000
        else:
            overdub.catch_up(busy)
    heard = pump.heard[: len(new)]
    own = np.abs(np.diff(old[:, 0])).max()
    assert np.abs(np.diff(heard[300:-300, 0])).max() < 1.35 * own
    assert at is not None
    late = slice(at + 1000, len(new) - 300)
    np.testing.assert_allclose(heard[late], new[late], atol=1e-6)
    np.testing.assert_array_equal(heard[300 : 256 * 100], old[300 : 256 * 100])
    np.testing.assert_allclose(clip.samples, new, atol=1e-6)


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(sound_output, "list_devices", lambda: [])
    made = House(qtbot, tmp_path, str(tiny_checkpoint))
    made.window.start([])
    yield made
    made.close()


def test_a_mute_is_heard_while_it_plays(house: House, tmp_path: Path, tiny_codec: MimiCodec) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, (0.2 * rng.standard_normal(RATE * 6)).clip(-1, 1), RATE)
    house.open(path)
    session, moves = house.window.session, house.window.transport
    feed = moves.sides.b
    assert feed is not None
    house.until(lambda: feed.is_finished)
    moves.set_side("B")
    moves.play_loop((1.0, 5.0))
    before = feed.clip.samples.copy()
    previews: list[object] = []
    session.sound_previewed.connect(previews.append)
    house.until(lambda: session.ear.is_playing)
    session.set_mix((0, 1, 2))
    house.until(lambda: session.document.codebooks == (0, 1, 2))
    assert moves.sides.b is feed  # the same clip goes on
    assert not moves.player.is_waiting
    house.until(lambda: session.document.is_complete)
    assert previews
    assert moves.player.is_playing
    house.until(lambda: feed.is_finished)
    document = session.document
    assert document.codes is not None
    exact = tiny_codec.decode(document.codes, codebooks=[0, 1, 2])
    np.testing.assert_allclose(document.sound, exact, atol=1e-5)
    wanted = Clip.from_samples(exact, RATE, moves.player.sample_rate).samples
    np.testing.assert_allclose(feed.clip.samples, wanted, atol=1e-4)
    assert np.abs(feed.clip.samples - before).max() > 0.01
