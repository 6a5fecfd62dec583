"""What the presses of a listening test sound like, sample by sample: rendered here, and recorded from a sound card."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.abx import ABXSession
from mimi_gui.clip import Clip
from mimi_gui.mixer import Mixer, Plan
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.abx_page import ABXPage
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import DARK
from tests.sound_card import SoundCard

RATE = 48000
FADE = 240  # 5 ms
rng = np.random.default_rng(8)


def noise(seconds: float) -> np.ndarray:
    """Noise without a zero, so that no two places are alike and silence is a gap; float32 [T]."""
    n = round(seconds * RATE)
    return (rng.choice([-1, 1], n) * rng.uniform(0.05, 0.8, n)).astype(np.float32)


class Loudspeaker:
    """A Sound that renders when the test says so."""

    sample_rate = RATE
    latency_s = 0.0
    underruns = 0

    def __init__(self) -> None:
        self.mixer = Mixer(RATE, 1)

    def publish(self, plan: Plan) -> None:
        self.mixer.plan = plan

    def heard(self) -> tuple[float, int]:
        return float(self.mixer.position), self.mixer.seek_serial

    def close(self) -> None: ...

    @property
    def ended_serial(self) -> int:
        return self.mixer.ended_serial

    @property
    def is_waiting(self) -> bool:
        return self.mixer.is_waiting

    def render(self, num_samples: int) -> np.ndarray:
        out = np.empty((num_samples, 1), np.float32)
        for start in range(0, num_samples, 480):
            self.mixer.render(out[start : start + 480])
        return out[:, 0]


@pytest.fixture
def speaker() -> Loudspeaker:
    return Loudspeaker()


def player_on(speaker: Loudspeaker) -> ABPlayer:
    player = ABPlayer()
    player._sound = speaker
    player._publish()
    return player


def test_every_press_is_the_same_fade_out_and_in(speaker: Loudspeaker) -> None:
    """Five stimuli in two slots: after each press 5 ms out of the old and 5 ms into the new, at the same place."""
    stimuli = [noise(2.0) for _ in range(5)]
    sound = StimulusPlayer(player_on(speaker), [Clip.from_samples(x, RATE, RATE) for x in stimuli])
    fade_in = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, FADE + 1) / FADE)
    fade_out = 0.5 - 0.5 * np.cos(np.pi * np.arange(FADE - 1, -1, -1) / FADE)
    position, before = 0, None
    for index in (0, 1, 3, 3, 0, 4, 2, 2, 1):
        sound.hear(index)
        block = speaker.render(4800)
        at = 0
        if before is not None:
            np.testing.assert_allclose(block[:FADE], stimuli[before][position : position + FADE] * fade_out, atol=1e-6)
            position, at = position + FADE, FADE
        new = stimuli[index][position:]
        np.testing.assert_allclose(block[at : at + FADE], new[:FADE] * fade_in, atol=1e-6)
        rest = block[at + FADE :]
        np.testing.assert_array_equal(rest, new[FADE : FADE + len(rest)])
        position += 4800 - at
        before = index


def test_presses_in_a_hurry_end_with_the_last(speaker: Loudspeaker) -> None:
    stimuli = [noise(1.0) for _ in range(4)]
    sound = StimulusPlayer(player_on(speaker), [Clip.from_samples(x, RATE, RATE) for x in stimuli])
    sound.hear(0)
    speaker.render(960)
    for index in (1, 2, 3):  # faster than the fade
        sound.hear(index)
        speaker.render(48)
    heard = speaker.render(2400)[1200:]
    position = speaker.mixer.position
    np.testing.assert_array_equal(heard, stimuli[3][position - len(heard) : position])


def test_the_loop_seam_is_faded_and_starting_over_starts_there(speaker: Loudspeaker) -> None:
    x = noise(0.5)
    sound = StimulusPlayer(player_on(speaker), [Clip.from_samples(y, RATE, RATE) for y in (x, noise(0.5))])
    sound.hear(0)
    twice = speaker.render(2 * len(x))
    for turn in (twice[: len(x)], twice[len(x) :]):
        np.testing.assert_array_equal(turn[FADE:-FADE], x[FADE:-FADE])
        assert abs(turn[0]) < 1e-3
        assert abs(turn[-1]) < 1e-3
    speaker.render(7000)
    sound.restarts = True
    sound.hear(0)
    again = speaker.render(4800)
    np.testing.assert_array_equal(again[2 * FADE :], x[FADE : 4800 - FADE])
    sound.release()
    assert not speaker.mixer.plan.gap_switch


@pytest.mark.sound
def test_an_abx_trial_on_the_sound_card(sound_card: SoundCard, qtbot: QtBot) -> None:
    """The page, its keys, the playing process, a card: outside the fades each press is bit by bit what it should."""
    stimuli = [noise(3.0), noise(3.0)]
    player = ABPlayer()
    player.open()
    draws = iter([1, 0] * 20)  # A plays the take, X the reference
    session = ABXSession({}, 10, draw=lambda n: next(draws))
    sound = StimulusPlayer(player, [Clip.from_samples(x, RATE, player.sample_rate) for x in stimuli])
    page = ABXPage(session, sound, DARK)
    page.set_scene(None, (0.0, 3.0), 3.0, "", 1.0)
    qtbot.addWidget(page)
    page.show()
    expected = [1, 0, 0, 0, 1]  # A X X B A
    try:
        with sound_card.recording() as recording:
            for key in (Qt.Key.Key_A, Qt.Key.Key_X, Qt.Key.Key_X, Qt.Key.Key_B, Qt.Key.Key_A):
                qtbot.keyClick(page, key)
                qtbot.wait(300)
            qtbot.keyClick(page, Qt.Key.Key_Space)
            time.sleep(0.1)
        gaps = session.num_void
    finally:
        player.close()
    assert gaps == 0
    heard = recording.samples[:, 0]
    start = next(
        i - FADE for i in np.flatnonzero(heard == stimuli[1][FADE]) if np.array_equal(
            heard[i : i + 400], stimuli[1][FADE : FADE + 400])
    )  # fmt: skip
    sounding = heard[start : start + round(1.4 * RATE)]
    place = np.arange(len(sounding)) % len(stimuli[0])
    is_of = [sounding == x[place] for x in stimuli]
    runs = _runs(is_of)
    assert [which for which, _, _ in runs] == expected
    for (_, _, end), (_, begin, _) in itertools.pairwise(runs):
        assert 2 * FADE - 2 <= begin - end <= 2 * FADE + 2  # 5 ms out and 5 ms in, X after X too


def _runs(is_of: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """(stimulus, first, behind the last) of each stretch that is bit-exact for 50 ms or more."""
    found = []
    for which, same in enumerate(is_of):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        found += [(which, int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a > 2400]
    return sorted(found, key=lambda run: run[1])
