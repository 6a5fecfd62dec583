"""The mixer pumped by hand, against numpy: what is heard is the clip's own samples wherever nothing fades."""

from __future__ import annotations

import numpy as np
import pytest

from mimi_gui.clip import Clip
from mimi_gui.mixer import Mixer, Plan, raised_cosine

RATE = 48000
FADE, CROSS = 240, 480
rng = np.random.default_rng(7)


def clip_of(samples: np.ndarray) -> Clip:
    return Clip.from_samples(samples.astype(np.float32), RATE, RATE)


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    return rng.uniform(-0.9, 0.9, (round(seconds * RATE), channels)).astype(np.float32)


def sine(seconds: float, hz: float = 1000.0, amplitude: float = 0.8, phase: float = 0.3) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * t + phase)).astype(np.float32)[:, None]


class Pump:
    """A sound card turned by hand."""

    def __init__(self, plan: Plan, channels: int = 1, block: int | None = 256) -> None:
        self.mixer = Mixer(RATE, channels)
        self.mixer.plan = plan
        self.block = block
        self.heard = np.zeros((0, channels), np.float32)

    def change(self, **changes: object) -> None:
        self.mixer.plan = self.mixer.plan._replace(**changes)  # type: ignore[arg-type]

    def seek(self, position: int, **changes: object) -> None:
        self.change(seek_serial=self.mixer.plan.seek_serial + 1, seek_to=position, **changes)

    def pump(self, num_samples: int) -> np.ndarray:
        out = np.full((num_samples, self.mixer.num_channels), np.nan, np.float32)
        done = 0
        while done < num_samples:
            n = self.block or int(rng.integers(1, 3000))
            self.mixer.render(out[done : done + n])
            done += n
        assert np.isfinite(out).all()
        self.heard = np.concatenate([self.heard, out])
        return out


def playing(a: Clip | None, b: Clip | None = None, **more: object) -> Plan:
    return Plan(a=a, b=b, playing=True, play_serial=1, **more)  # type: ignore[arg-type]


def test_what_is_played_is_the_clip_itself() -> None:
    x = noise(1.0)
    pump = Pump(playing(clip_of(x)), block=None)
    out = pump.pump(len(x) + 5000)
    np.testing.assert_array_equal(out[FADE : len(x) - FADE], x[FADE : len(x) - FADE])
    rise = raised_cosine(FADE)[1:, None]
    np.testing.assert_allclose(out[:FADE], x[:FADE] * rise, atol=1e-7)
    np.testing.assert_array_equal(out[len(x) :], 0)
    assert pump.mixer.ended_serial == 1
    assert pump.mixer.position == len(x)


@pytest.mark.parametrize("block", [1, 7, 64, 480, 1000, 5000, None])
def test_a_switch_is_at_the_same_sample_for_any_block_length(block: int | None) -> None:
    a, b = noise(1.0), noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(b)), block=block)
    pump.pump(10000)
    switch = len(pump.heard)
    pump.change(side=1)
    pump.pump(10000)
    heard = pump.heard
    np.testing.assert_array_equal(heard[FADE:switch], a[FADE:switch])
    after = switch + CROSS
    np.testing.assert_array_equal(heard[after:], b[after : len(heard)])
    w = raised_cosine(CROSS)[1:, None].astype(np.float64)
    cross = slice(switch, after)
    np.testing.assert_allclose(heard[cross], a[cross] * (1 - w) + b[cross] * w, atol=2e-7)


def test_the_block_after_a_switch_is_b_at_that_index() -> None:
    """FIELD's criterion: a request at block n is audible in block n + 1, no sample lost or repeated."""
    a, b = noise(1.0), noise(1.0)
    block = 480
    pump = Pump(playing(clip_of(a), clip_of(b)), block=block)
    pump.pump(20 * block)
    pump.change(side=1)
    pump.pump(2 * block)
    np.testing.assert_array_equal(pump.heard[21 * block :], b[21 * block : 22 * block])


def test_equal_clips_give_equal_bits_through_any_switching() -> None:
    x = noise(2.0, 2)
    pump = Pump(playing(clip_of(x), clip_of(x)), channels=2, block=None)
    pump.pump(FADE)
    for _ in range(300):
        pump.change(side=int(rng.integers(0, 2)))
        pump.pump(int(rng.integers(1, 500)))
        if len(pump.heard) > len(x) - 2000:
            break
    n = len(pump.heard)
    np.testing.assert_array_equal(pump.heard[FADE:n], x[FADE:n])


def test_no_step_is_larger_than_the_sine_s_own() -> None:
    x, y = sine(3.0), sine(3.0, phase=0.3)
    own = np.abs(np.diff(x[:, 0])).max()
    pump = Pump(playing(clip_of(x), clip_of(y)), block=None)
    for i in range(60):
        pump.change(side=i % 2)
        pump.pump(int(rng.integers(50, 2000)))
        if i % 5 == 0:
            pump.seek(int(rng.integers(0, len(x) // 2)))
        if i % 7 == 0:
            pump.change(playing=False)
            pump.pump(int(rng.integers(10, 700)))
            pump.change(playing=True, play_serial=pump.mixer.plan.play_serial + 1)
    # A 5 ms raised cosine adds at most amplitude * pi / 2 / 240 to a step.
    fade_slope = 0.8 * np.pi / 2 / FADE
    assert np.abs(np.diff(pump.heard[:, 0])).max() <= own * 1.01 + fade_slope


def test_a_seek_fades_lands_and_loses_nothing() -> None:
    x = noise(2.0)
    pump = Pump(playing(clip_of(x)), block=None)
    pump.pump(5000)
    pump.seek(50000)
    out = pump.pump(4000)
    assert np.abs(out[FADE - 1]).max() < 1e-6
    np.testing.assert_array_equal(out[2 * FADE :], x[50000 + FADE : 50000 + 4000 - FADE])
    fall = raised_cosine(FADE)[::-1][1:, None]
    np.testing.assert_allclose(out[:FADE], x[5000 : 5000 + FADE] * fall, atol=1e-7)


def test_a_seek_in_pause_is_immediate_and_silent() -> None:
    pump = Pump(Plan(a=clip_of(noise(1.0))))
    pump.seek(1234)
    assert not pump.pump(256).any()
    assert pump.mixer.position == 1234


def test_pause_keeps_the_place_to_the_sample() -> None:
    x = noise(1.0)
    pump = Pump(playing(clip_of(x)), block=None)
    pump.pump(3000)
    pump.change(playing=False)
    pump.pump(5000)
    assert pump.mixer.position == 3000 + FADE
    pump.change(playing=True, play_serial=2)
    out = pump.pump(1000)
    np.testing.assert_array_equal(out[FADE:], x[3000 + 2 * FADE : 3000 + FADE + 1000])


def test_a_loop_repeats_exactly_with_a_faded_seam() -> None:
    x = noise(2.0)
    start, end = 10000, 40000
    pump = Pump(playing(clip_of(x), loop=(start, end)), block=None)
    pump.seek(start)
    pump.pump(3 * (end - start))
    rounds = pump.heard.reshape(3, end - start, 1)
    for one in rounds:
        np.testing.assert_array_equal(one[FADE:-FADE], x[start + FADE : end - FADE])
        assert np.abs(one[-1]).max() < 1e-6
        assert np.abs(one[0]).max() < 1e-3


def test_loop_edges_move_while_playing() -> None:
    x = sine(4.0, 200.0)
    own = np.abs(np.diff(x[:, 0])).max()
    pump = Pump(playing(clip_of(x), loop=(48000, 96000)), block=None)
    pump.seek(48000)
    pump.pump(40000)
    pump.change(loop=(48000, 72000))  # the cursor is beyond the new end
    pump.pump(2000)
    assert 48000 <= pump.mixer.position < 72000
    pump.change(loop=(100000, 150000))  # the cursor is before the new loop: play on into it
    before = pump.mixer.position
    pump.pump(1000)
    assert pump.mixer.position == before + 1000
    assert np.abs(np.diff(pump.heard[:, 0])).max() <= own * 1.01 + 0.8 * np.pi / 2 / FADE


def test_volume_and_gains_glide() -> None:
    ones = np.ones((3 * RATE, 1), np.float32)
    pump = Pump(playing(clip_of(ones), clip_of(ones)), block=None)
    pump.pump(1000)
    pump.change(volume=0.25)
    pump.pump(3000)
    np.testing.assert_array_equal(pump.heard[-1], np.float32(0.25))
    pump.change(volume=1.0, gain_a=0.5)
    pump.pump(3000)
    np.testing.assert_array_equal(pump.heard[-1], np.float32(0.5))
    pump.change(side=1)
    pump.pump(3000)
    np.testing.assert_array_equal(pump.heard[-1], np.float32(1.0))
    steps = np.abs(np.diff(pump.heard[FADE:, 0]))
    assert steps.max() <= 2.0 / (0.020 * RATE) + 1e-6


def test_a_growing_clip_is_waited_for_without_skipping() -> None:
    x = noise(3.0)
    clip = Clip.for_samples(len(x), RATE, RATE)
    clip.append(x[:20000])
    pump = Pump(playing(clip), block=None)
    out = pump.pump(40000)
    np.testing.assert_array_equal(out[FADE : 20000 - FADE], x[FADE : 20000 - FADE])
    assert not out[20000:].any()
    assert pump.mixer.position == 20000
    assert pump.mixer.is_waiting
    clip.append(x[20000:20100])
    pump.pump(5000)
    assert pump.mixer.position == 20000  # not for a mouthful
    clip.append(x[20100:])
    clip.finish()
    out = pump.pump(30000)
    np.testing.assert_array_equal(out[FADE:], x[20000 + FADE : 50000])
    assert not pump.mixer.is_waiting


def test_switching_to_a_side_that_is_not_there_yet_waits() -> None:
    a, b = noise(2.0), noise(2.0)
    growing = Clip.for_samples(len(b), RATE, RATE)
    growing.append(b[:10000])
    pump = Pump(playing(clip_of(a), growing), block=None)
    pump.pump(30000)
    pump.change(side=1)
    pump.pump(5000)
    place = pump.mixer.position
    assert place <= 30000 + FADE
    assert not pump.pump(5000).any()
    pump.change(side=0)
    out = pump.pump(2000)
    np.testing.assert_array_equal(out[FADE:], a[place + FADE : place + 2000])


def test_the_press_of_a_blind_test_tells_nothing() -> None:
    """Presses A->A, A->B, B->B on equal clips are the same bits: the way there carries no cue."""
    x = noise(2.0)
    shapes = []
    for first, second in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pump = Pump(playing(clip_of(x), clip_of(x), gap_switch=True), block=480)
        pump.change(side=first, press_serial=1)
        pump.pump(9600)
        pump.change(side=second, press_serial=2)
        shapes.append(pump.pump(9600))
    for shape in shapes[1:]:
        np.testing.assert_array_equal(shape, shapes[0])
    assert np.abs(shapes[0][FADE - 1]).max() < 1e-6
    np.testing.assert_array_equal(shapes[0][2 * FADE :], x[9600 + 2 * FADE : 19200])


def test_in_a_blind_test_the_side_changes_at_the_press_only() -> None:
    a, b = noise(1.0), noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(b), gap_switch=True), block=100)
    pump.pump(5000)
    pump.change(side=1)
    pump.pump(1000)
    np.testing.assert_array_equal(pump.heard[5000:6000], a[5000:6000])
    pump.change(press_serial=1)
    pump.pump(2000)
    np.testing.assert_array_equal(pump.heard[6000 + 2 * FADE :], b[6000 + 2 * FADE : 8000])


def test_a_clip_that_is_not_heard_can_be_replaced_unnoticed() -> None:
    a = noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(noise(1.0))), block=100)
    pump.pump(5000)
    b = noise(1.0)
    pump.change(b=clip_of(b))
    pump.pump(5000)
    np.testing.assert_array_equal(pump.heard[FADE:], a[FADE:10000])
    pump.change(side=1)
    pump.pump(2000)
    np.testing.assert_array_equal(pump.heard[10000 + CROSS :], b[10000 + CROSS : 12000])
    replaced = noise(1.0)
    pump.change(b=clip_of(replaced))  # heard: through silence
    out = pump.pump(2000)
    assert np.abs(out[FADE - 1]).max() < 1e-6
    np.testing.assert_array_equal(out[2 * FADE :], replaced[12000 + 2 * FADE : 14000])


def test_channels() -> None:
    stereo, mono = noise(0.5, 2), noise(0.5)
    two = Pump(playing(clip_of(stereo), clip_of(mono)), channels=2)
    two.pump(2560)
    np.testing.assert_array_equal(two.heard[FADE:], stereo[FADE:2560])
    two.change(side=1)
    two.pump(2560)
    np.testing.assert_array_equal(two.heard[2560 + CROSS :], np.repeat(mono[2560 + CROSS : 5120], 2, axis=1))
    one = Pump(playing(clip_of(stereo)), channels=1)
    one.pump(2560)
    np.testing.assert_allclose(one.heard[FADE:, 0], stereo[FADE:2560].mean(axis=1), atol=1e-7)


def test_clips_of_unlike_length_end_together() -> None:
    a, b = noise(0.5), noise(1.0)
    pump = Pump(playing(clip_of(a), clip_of(b)), block=None)
    out = pump.pump(RATE + 100)
    assert not out[len(a) :].any()
    assert pump.mixer.position == len(b)


def test_nothing_to_play_is_silence() -> None:
    pump = Pump(playing(None))
    assert not pump.pump(1000).any()
    assert pump.mixer.position == 0
    looped = Pump(playing(None, loop=(0, 24000)))
    assert not looped.pump(1000).any()


def test_rendering_allocates_no_sound_sized_memory() -> None:
    import tracemalloc

    pump = Pump(playing(clip_of(noise(2.0, 2)), clip_of(noise(2.0, 2))), channels=2)
    out = np.zeros((2048, 2), np.float32)
    pump.mixer.render(out)
    pump.change(side=1, volume=0.3)
    tracemalloc.start()
    for _ in range(20):
        pump.mixer.render(out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out.nbytes  # views and floats, whatever the block
