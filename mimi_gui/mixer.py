"""Mixer: what the loudspeaker gets, sample by sample. A state machine in numpy, with no clock and no device.

``render(out)`` is called by whoever owns the clock: PortAudio's callback in the playing process, the silent
clock when there is no sound card, or a test. It reads one immutable ``Plan`` (replaced, never edited, by the
controlling thread), copies slices into memory that was there before, and is the only writer of the cursor. It
never locks, logs, raises on purpose or allocates sound-sized memory, and takes any block length.

Nothing clicks: whatever interrupts the sound (pause, seek, loop seam, end, a clip that is not decoded yet)
lets it fade out over 5 ms first and fade in again over 5 ms. A free A/B switch cross-fades over 10 ms, both
clips read at the same sample index; an ABX press ("gap switch") fades out and in for every press, so that the
transition tells nothing. The third thing to hear, A minus B, is the same two reads subtracted, and comes and goes
by the same cross-fade.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mimi_gui.clip import Clip

FADE_S = 0.005
CROSSFADE_S = 0.010
GLIDE_S = 0.020  # a gain takes this long from silence to full
RESUME_S = 0.1  # a clip that was overtaken goes on when this much more is there
MIN_LOOP_S = 0.5
_CHUNK = 2048  # samples mixed at once; longer blocks take several turns


class Plan(NamedTuple):
    """What shall be heard. Positions are samples at the mixer's rate; serials grow with each wish."""

    a: Clip | None = None
    b: Clip | None = None
    side: int = 0  # 0 = A, 1 = B
    playing: bool = False
    play_serial: int = 0  # one for each press of play: playing again after the end needs a new one
    seek_serial: int = 0  # the one-slot mailbox: a new serial means `seek_to` has not been visited yet
    seek_to: int = 0
    press_serial: int = 0  # one for each ABX press
    gap_switch: bool = False  # True: the side changes only at a press, through silence
    loop: tuple[int, int] | None = None
    volume: float = 1.0
    gain_a: float = 1.0
    gain_b: float = 1.0
    difference: bool = False  # hear A minus B, sample by sample, without gain_a and gain_b; never with gap_switch
    gain_difference: float = 1.0

    @property
    def num_samples(self) -> int:
        """Length of the longer clip."""
        return num_samples(self.a, self.b)


class Mixer:
    """Renders a ``Plan``. ``plan`` may be replaced from any thread; all other state belongs to the rendering
    thread.

    Attributes:
        position: sample index of the next sample to be read.
        seek_serial: the last seek that was visited.
        ended_serial: the ``play_serial`` that ran into the end (0: none).
        is_waiting: the cursor stands at the end of what is decoded and waits for more.
        num_loops: times the loop seam was passed.
    """

    def __init__(self, sample_rate: int, num_channels: int = 2) -> None:
        if num_channels not in (1, 2):
            raise ValueError(f"the mixer renders one or two channels, not {num_channels}")
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.plan = Plan()
        self.position = 0
        self.seek_serial = 0
        self.ended_serial = 0
        self.is_waiting = False
        self.num_loops = 0
        self._a: Clip | None = None  # the clips in use; the plan's follow when a change cannot click
        self._b: Clip | None = None
        self._num_samples = 0
        self._press_serial = 0
        self._gap_side = 0  # the side that the last ABX press brought
        fade, cross = round(FADE_S * sample_rate), round(CROSSFADE_S * sample_rate)
        self._fade_samples, self._cross_samples = fade, cross
        # Fade tables: entry i is the gain after i samples of fading in; the padding makes every slice long
        # enough.
        ones, zeros = np.ones(_CHUNK + 1, np.float32), np.zeros(_CHUNK + 1, np.float32)
        self._fade_in = np.concatenate([raised_cosine(fade), ones])[:, None]
        self._fade_out = np.concatenate([raised_cosine(fade)[::-1], zeros])[:, None]
        self._cross_in = np.concatenate([raised_cosine(cross), ones])[:, None]
        self._cross_out = np.concatenate([raised_cosine(cross)[::-1], zeros])[:, None]
        self._level = 0  # samples of fading in done: 0 = silent, fade = full
        self._cross = 0  # samples of cross-fading to B done: 0 = A alone, cross = B alone
        self._minus = 0  # samples of cross-fading to the difference done: 0 = none of it, cross = it alone
        self._gains = np.ones(4)  # volume, gain of A, of B, of the difference as they are, on their way to the plan's
        self._glide_step = 1.0 / (GLIDE_S * sample_rate)
        self._steps = np.arange(1, _CHUNK + 1, dtype=np.float64)
        self._ramp = np.empty(_CHUNK)
        self._ramp32 = np.empty((_CHUNK, 1), np.float32)
        self._other = np.empty((_CHUNK, num_channels), np.float32)
        self._third = np.empty((_CHUNK, num_channels), np.float32)
        self._resume_samples = round(RESUME_S * sample_rate)

    @property
    def is_sounding(self) -> bool:
        """True while the cursor moves."""
        return self._level > 0

    def render(self, out: np.ndarray) -> None:
        """Fill ``out`` (float32 [n, C], any n) with the next n samples."""
        plan = self.plan
        if not plan.gap_switch:
            self._gap_side = plan.side
        self._num_samples = num_samples(self._a, self._b)
        done, total = 0, len(out)
        while done < total:
            done += self._segment(plan, out[done : done + _CHUNK])

    def _segment(self, plan: Plan, out: np.ndarray) -> int:
        """Render the longest run in which nothing changes its direction; return its length (1 or more)."""
        target = self._cross_target(plan)
        self._adopt_clips(plan, target)
        if self._level == 0:
            self._arrive(plan)
            self._cross = target = self._cross_target(plan)
            self._minus = self._minus_target(plan)
            self._gains[:] = plan.volume, plan.gain_a, plan.gain_b, plan.gain_difference
        elif self._cross != target or self._minus != self._minus_target(plan):
            # The sample after a cross-fade is the clip's own.
            left = (abs(target - self._cross), abs(self._minus_target(plan) - self._minus))
            out = out[: min(n for n in left if n)]
        loop = plan.loop
        end = loop[1] if loop is not None else self._num_samples
        bound = min(end, self._available(plan))
        left = bound - self.position
        jump = (
            plan.seek_serial != self.seek_serial
            or plan.press_serial != self._press_serial
            or plan.a is not self._a
            or plan.b is not self._b
        )
        up = plan.playing and not jump and self.ended_serial != plan.play_serial and not self.is_waiting
        level, fade = self._level, self._fade_samples
        if level == 0 and not (up and left > 0):
            out[:] = 0.0
            return len(out)
        if not up or left <= level:
            n = min(len(out), level)
            self._mix(plan, out[:n])
            np.multiply(out[:n], self._fade_out[fade - level + 1 : fade - level + 1 + n], out=out[:n])
            self._level -= n
        elif level < fade and left > level + 1:
            n = min(len(out), fade - level, (left - level) // 2)
            self._mix(plan, out[:n])
            np.multiply(out[:n], self._fade_in[level + 1 : level + 1 + n], out=out[:n])
            self._level += n
        else:
            n = min(len(out), left - level)
            self._mix(plan, out[:n])
            if level < fade:
                np.multiply(out[:n], self._fade_in[level, 0], out=out[:n])
        self.position += n
        return n

    def _adopt_clips(self, plan: Plan, target: int) -> None:
        """Take over replaced clips: at once where they are not heard, else in the silence that `jump`
        brings.
        """
        if plan.a is self._a and plan.b is self._b:
            return
        alone = self._minus == self._minus_target(plan) == 0  # the difference sounds as both
        a_is_silent = self._level == 0 or (alone and self._cross == target and target > 0)
        b_is_silent = self._level == 0 or (alone and self._cross == target and target == 0)
        if a_is_silent:
            self._a = plan.a
        if b_is_silent:
            self._b = plan.b
        self._num_samples = num_samples(self._a, self._b)

    def _arrive(self, plan: Plan) -> None:
        """In silence: visit the mailbox, wrap the loop, notice the end, wait for a clip that is still
        growing.
        """
        if plan.press_serial != self._press_serial:
            self._press_serial = plan.press_serial
            self._gap_side = plan.side
        if plan.seek_serial != self.seek_serial:
            self.seek_serial = plan.seek_serial
            self.position = max(0, min(plan.seek_to, self._num_samples))
            self.is_waiting = False
        if not plan.playing or self.ended_serial == plan.play_serial:
            return
        if plan.loop is not None and self.position >= min(plan.loop[1], self._num_samples):
            self.position = plan.loop[0]
            self.num_loops += 1
        elif plan.loop is None and self.position >= self._num_samples:
            self.ended_serial = plan.play_serial
            self.is_waiting = False
            return
        available = self._available(plan)
        wanted = self.position + (self._resume_samples if self.is_waiting else 1)
        self.is_waiting = available < min(wanted, self._num_samples)

    def _available(self, plan: Plan) -> int:
        """First sample that must not be played yet on the side that is heard."""
        if self._minus_target(plan):
            return min(self._ready(self._a), self._ready(self._b))
        return self._ready(self._b if self._side(plan) else self._a)

    def _ready(self, clip: Clip | None) -> int:
        return self._num_samples if clip is None or clip.is_finished else clip.ready

    def _side(self, plan: Plan) -> int:
        return self._gap_side if plan.gap_switch else plan.side

    def _cross_target(self, plan: Plan) -> int:
        return self._cross_samples if self._side(plan) else 0

    def _minus_target(self, plan: Plan) -> int:
        return self._cross_samples if plan.difference and not plan.gap_switch else 0

    def _mix(self, plan: Plan, out: np.ndarray) -> None:
        """Write len(out) samples from ``position`` on, with cross-fades and gains, without the fades."""
        target = self._minus_target(plan)
        if self._minus == target == 0:
            self._mix_sides(plan, out)
        elif self._minus == target:
            self._subtract(plan, out)
            self._cross = self._cross_target(plan)
            self._gains[1:3] = plan.gain_a, plan.gain_b
        else:
            third = self._third[: len(out)]
            self._mix_sides(plan, out)
            self._subtract(plan, third)
            self._minus = self._blend(out, third, self._minus, target)
        self._glide(0, plan.volume, out)

    def _subtract(self, plan: Plan, out: np.ndarray) -> None:
        """Write A minus B from ``position`` on, silence where one of them has ended, and the told gain."""
        a, b, position = self._a, self._b, self.position
        other = self._other[: len(out)]
        read(a, position, out)
        read(b, position, other)
        np.subtract(out, other, out=out)
        shorter = min(a.length if a is not None else 0, b.length if b is not None else 0)
        out[max(shorter - position, 0) :] = 0.0
        self._glide(3, plan.gain_difference, out)

    def _blend(self, out: np.ndarray, other: np.ndarray, done: int, target: int) -> int:
        """Go from ``done`` samples of fading ``other`` into ``out`` towards ``target``; return how many are done."""
        n = len(out)
        if target:
            weights = self._cross_in[done + 1 : done + 1 + n]
            after = min(target, done + n)
        else:
            start = self._cross_samples - done
            weights = self._cross_out[start + 1 : start + 1 + n]
            after = max(0, done - n)
        # out + w (other - out): equal gain, and exactly out where both are equal.
        np.subtract(other, out, out=other)
        np.multiply(other, weights, out=other)
        np.add(out, other, out=out)
        return after

    def _mix_sides(self, plan: Plan, out: np.ndarray) -> None:
        """A, B or what lies between them, with their gains."""
        n, position, target = len(out), self.position, self._cross_target(plan)
        if self._cross == target:
            read(self._b if target else self._a, position, out)
            self._glide(2 if target else 1, plan.gain_b if target else plan.gain_a, out)
            self._gains[1 if target else 2] = plan.gain_a if target else plan.gain_b
        else:
            other = self._other[:n]
            read(self._a, position, out)
            read(self._b, position, other)
            self._glide(1, plan.gain_a, out)
            self._glide(2, plan.gain_b, other)
            self._cross = self._blend(out, other, self._cross, target)

    def _glide(self, which: int, target: float, out: np.ndarray) -> None:
        """Multiply ``out`` by a gain that moves towards ``target`` by a fixed slope (no zipper noise)."""
        gain = self._gains[which]
        if gain == target:
            if target != 1.0:
                np.multiply(out, np.float32(target), out=out)
            return
        n = len(out)
        ramp, ramp32 = self._ramp[:n], self._ramp32[:n]
        if gain < target:
            np.multiply(self._steps[:n], self._glide_step, out=ramp)
            np.add(ramp, gain, out=ramp)
            np.minimum(ramp, target, out=ramp)
        else:
            np.multiply(self._steps[:n], -self._glide_step, out=ramp)
            np.add(ramp, gain, out=ramp)
            np.maximum(ramp, target, out=ramp)
        self._gains[which] = ramp[-1]
        ramp32[:, 0] = ramp
        np.multiply(out, ramp32, out=out)


def num_samples(a: Clip | None, b: Clip | None) -> int:
    """Return the length of the longer clip, 0 without clips."""
    return max(a.length if a is not None else 0, b.length if b is not None else 0)


def raised_cosine(num_samples: int) -> np.ndarray:
    """Return float32 [num_samples + 1] rising from exactly 0 to exactly 1."""
    curve = 0.5 - 0.5 * np.cos(np.pi * np.arange(num_samples + 1) / num_samples)
    curve[-1] = 1.0
    return curve.astype(np.float32)


def read(clip: Clip | None, position: int, out: np.ndarray) -> None:
    """Copy ``clip``'s samples from ``position`` on into ``out`` (float32 [n, C]); zeros where it has none.

    One channel goes to all; two channels to one as their mean.
    """
    if clip is None or position >= clip.length:
        out[:] = 0.0
        return
    n = min(len(out), clip.length - position)
    source = clip.samples[position : position + n]
    if source.shape[1] == 2 and out.shape[1] == 1:
        np.add(source[:, :1], source[:, 1:], out=out[:n])
        np.multiply(out[:n], np.float32(0.5), out=out[:n])
    else:
        out[:n] = source
    out[n:] = 0.0
