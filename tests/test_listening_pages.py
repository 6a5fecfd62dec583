"""The pages of the listening tests, driven by keys and mouse; the ear is a look at which clip the player was given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.abx import ABXSession
from mimi_gui.analysis.blind import BlindSession
from mimi_gui.analysis.envelope import Envelope
from mimi_gui.analysis.rating_session import RatingSession
from mimi_gui.analysis.ratings import ANCHOR, REFERENCE, PreferenceSession
from mimi_gui.analysis.staircase import StaircaseSession
from mimi_gui.clip import Clip
from mimi_gui.listening_log import verify_log
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.abx_page import ABXPage
from mimi_gui.ui.mushra_page import MushraPage
from mimi_gui.ui.preference_page import PreferencePage
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import DARK, LIGHT
from mimi_gui.ui.trial_page import TrialPage

RATE = 48000
rng = np.random.default_rng(5)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class OpenPlayer(ABPlayer):
    """A player with a device, as far as the page can tell; its sound is the silent clock, turned by hand."""

    gaps = 0
    is_there = True

    def open(self, *args: object, **options: object) -> None:
        self.is_there = True

    @property
    def is_open(self) -> bool:
        return self.is_there

    @property
    def underruns(self) -> int:
        return self.gaps


class Ear:
    """Which of the clips is heard: by the clip in the slot that sounds, not by anything the page knows."""

    def __init__(self, num_clips: int = 2, seconds: float = 1.0) -> None:
        self.clock = Clock()
        self.player = OpenPlayer(clock=self.clock)
        self.clips = [
            Clip.from_samples(rng.uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32), RATE, RATE)
            for _ in range(num_clips)
        ]
        self.sound = StimulusPlayer(self.player, self.clips)

    @property
    def heard(self) -> int:
        plan = self.player._plan
        assert plan.playing
        clip = plan.b if plan.side else plan.a
        return next(i for i, one in enumerate(self.clips) if one is clip)


def shown(qtbot: QtBot, page: TrialPage, theme: str = "dark") -> TrialPage:
    page.set_theme(DARK if theme == "dark" else LIGHT)
    page.resize(900, 620)
    envelope = Envelope.from_samples((0.5 * np.sin(np.arange(24000) / 50)).astype(np.float32), 24000)
    page.set_scene(envelope, (0.0, 1.0), 1.0, "Headphones", 0.5)
    qtbot.addWidget(page)
    page.show()
    qtbot.waitExposed(page)
    page.timer.stop()  # the test ticks by hand
    return page


def key(qtbot: QtBot, widget: QWidget, *keys: Qt.Key) -> None:
    for one in keys:
        qtbot.keyClick(widget, one)


PLAY = {"A": Qt.Key.Key_A, "B": Qt.Key.Key_B, "X": Qt.Key.Key_X}
CHOOSE = {"A": Qt.Key.Key_1, "B": Qt.Key.Key_2}


def abx_page(qtbot: QtBot, ear: Ear, trials: int = 10, **options: Any) -> tuple[ABXPage, ABXSession]:
    training = options.pop("training", False)
    session = ABXSession({}, trials, training=training, **options)
    page = ABXPage(session, ear.sound, DARK, training=training)
    shown(qtbot, page)
    return page, session


def listen(qtbot: QtBot, page: ABXPage, ear: Ear, hit_rate: float = 1.0) -> None:
    """One trial by keys: hear all three, compare, answer."""
    heard = {}
    for button in ("A", "X", "B"):
        key(qtbot, page, PLAY[button])
        heard[button] = ear.heard
    right = "A" if heard["A"] == heard["X"] else "B"
    wrong = "B" if right == "A" else "A"
    key(qtbot, page, CHOOSE[right if rng.random() < hit_rate else wrong], Qt.Key.Key_Return)


def verified(session: BlindSession) -> dict[str, Any]:
    log = json.loads(json.dumps(session.log_so_far()))
    assert verify_log(log) == []
    return log


def test_abx_by_keys(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear, 16)
    ends: list[int] = []
    page.finished.connect(lambda: ends.append(1))
    while not session.is_finished:
        assert page.count.text() == f"Trial {session.num_answered + 1} of 16"
        listen(qtbot, page, ear)
    assert ends == [1]
    assert not ear.player.is_playing
    assert session.result().correct == 16
    assert verified(session)["result"]["state"] == "complete"


def test_abx_by_mouse(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    left = Qt.MouseButton.LeftButton
    while not session.is_finished:
        heard = {}
        assert not page.confirm.isEnabled()
        for button, widget in page.buttons.items():
            qtbot.mouseClick(widget, left)
            heard[button] = ear.heard
        assert not page.confirm.isEnabled()
        qtbot.mouseClick(page.choices["A" if heard["A"] == heard["X"] else "B"], left)
        qtbot.mouseClick(page.confirm, left)
    assert session.result().correct == 10
    verified(session)


@pytest.mark.parametrize("hit_rate", [0.5, 0.8])
def test_simulated_listeners_at_the_page(qtbot: QtBot, hit_rate: float) -> None:
    """Few here, since they use real widgets; two hundred each in test_abx.py. Rates within 4 sigma."""
    right, trials = 0, 3 * 25
    for _ in range(3):
        ear = Ear(seconds=0.5)
        page, session = abx_page(qtbot, ear, 25)
        while not session.is_finished:
            listen(qtbot, page, ear, hit_rate)
        right += session.result().correct
        verified(session)
    low, high = scipy.stats.binom.ppf([3e-5, 1 - 3e-5], trials, hit_rate)
    assert low <= right <= high


def drawn(page: QWidget) -> QImage:
    return page.grab().toImage()


def walk(qtbot: QtBot, draws: tuple[int, int], theme: str) -> Iterator[tuple[str, QImage, str]]:
    """What the screen and a screen reader show through two trials, with the sides and X as drawn."""
    ear = Ear()
    order = itertools.cycle(draws)
    session = ABXSession({}, 10, draw=lambda n: next(order), clock=Clock())
    page = ABXPage(session, ear.sound, DARK)
    shown(qtbot, page, theme)

    def seen(moment: str) -> tuple[str, QImage, str]:
        page.tick()
        names = [widget.accessibleName() + widget.toolTip() for widget in page.findChildren(QWidget)]
        words = [label.text() for label in page.findChildren(QLabel)]
        return moment, drawn(page), "\n".join([*names, *words, page.windowTitle(), str(page.cursor().shape())])

    yield seen("before the first press")
    for trial in range(2):
        for button in "AXBXAB":
            key(qtbot, page, PLAY[button])
            yield seen(f"trial {trial}: {button} pressed")
            ear.clock.now += 0.13
            yield seen(f"trial {trial}: {button} sounds")
        key(qtbot, page, Qt.Key.Key_Space)
        yield seen(f"trial {trial}: paused")
        key(qtbot, page, Qt.Key.Key_Space, Qt.Key.Key_2)
        yield seen(f"trial {trial}: chosen")
        key(qtbot, page, Qt.Key.Key_Return)
        yield seen(f"trial {trial}: answered")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_on_the_page_tells_what_x_is(qtbot: QtBot, theme: str) -> None:
    """Every pixel and every word, through whole trials, for X = A and X = B and both orders of the sides."""
    first = list(walk(qtbot, (0, 0), theme))
    assert len({bytes(image.constBits()) for _, image, _ in first}) > 10  # it does show what the listener does
    for draws in ((0, 1), (1, 0), (1, 1)):
        for (moment, image, words), (_, other, other_words) in zip(first, walk(qtbot, draws, theme), strict=True):
            assert image == other, (draws, moment)
            assert words == other_words, (draws, moment)


def test_a_gap_voids_the_trial_at_once(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    closed: list[int] = []
    page.trial_closed.connect(lambda: closed.append(1))
    ear.player.gaps = 5  # before anything plays: nobody heard it
    page.tick()
    assert session.num_void == 0
    key(qtbot, page, Qt.Key.Key_A, Qt.Key.Key_B)
    ear.player.gaps += 2
    page.tick()
    assert (session.num_void, session.num_answered, closed) == (1, 0, [1])
    assert "does not count" in page.message.text()
    assert not ear.player.is_playing
    key(qtbot, page, Qt.Key.Key_Return)  # meant for the trial that was lost: the reason stays in sight
    assert page.message.text().endswith("drawn anew. Listen to A, B and X first.")
    while not session.is_finished:
        listen(qtbot, page, ear)
    log = verified(session)
    assert (log["trials"][0]["void"], log["trials"][0]["underruns"]) == ("the sound had gaps", 2)
    assert log["result"]["correct"] == 10


def test_the_device_goes_and_comes_back(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    key(qtbot, page, Qt.Key.Key_A)
    ear.player.is_there = False
    page.tick()
    page.tick()
    assert session.num_void == 1
    assert page.again.isVisible()
    assert "device is gone" in page.message.text()
    wishes: list[int] = []
    page.rescan_requested.connect(lambda: wishes.append(1))
    qtbot.mouseClick(page.again, Qt.MouseButton.LeftButton)
    assert wishes == [1]
    ear.player.is_there = True
    page.tick()
    assert not page.again.isVisible()
    listen(qtbot, page, ear)
    assert verified(session)["trials"][0]["void"] == "the sound device was lost"


def test_pause_is_no_listening_time(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    moment = Clock()
    page._clock = moment
    key(qtbot, page, Qt.Key.Key_Space, Qt.Key.Key_A, Qt.Key.Key_Space)  # the first: nothing to pause yet
    assert not ear.player.is_playing
    assert page.pause.text() == "Go on"
    moment.now += 30
    key(qtbot, page, Qt.Key.Key_Space)
    assert ear.player.is_playing
    listen(qtbot, page, ear)
    assert verified(session)["trials"][0]["paused_seconds"] == 30.0


def test_stopping_asks_and_keeps_the_log(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    ends: list[int] = []
    page.finished.connect(lambda: ends.append(1))
    for _ in range(3):
        listen(qtbot, page, ear)
    place = page.strip.geometry()
    key(qtbot, page, Qt.Key.Key_A, Qt.Key.Key_Escape)
    assert page.asks
    assert not ear.player.is_playing
    qtbot.wait(1)  # for the layout
    assert page.strip.geometry() == place  # nothing moves under the hands
    key(qtbot, page, Qt.Key.Key_B, Qt.Key.Key_Space)  # nothing plays behind the question
    assert not ear.player.is_playing
    assert not any(button.isEnabled() for button in page.buttons.values())
    key(qtbot, page, Qt.Key.Key_Escape)
    assert not page.asks
    assert ear.player.is_playing  # as before the question
    assert all(button.isEnabled() for button in page.buttons.values())
    assert not session.is_finished
    key(qtbot, page, Qt.Key.Key_Space, Qt.Key.Key_Escape, Qt.Key.Key_Escape)
    assert not ear.player.is_playing  # it was paused by hand
    key(qtbot, page, Qt.Key.Key_Escape, Qt.Key.Key_Return)
    assert ends == [1]
    log = verified(session)
    assert (log["result"]["state"], log["result"]["stopped_early"]) == ("aborted", True)
    assert log["result"]["answered"] == 3


def test_the_log_of_a_running_test_verifies_and_says_so(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    listen(qtbot, page, ear)
    log = verified(session)
    assert log["result"]["state"] == "running"
    log["result"]["state"] = "complete"
    assert verify_log(log)


def test_training_tells(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear, training=True)
    listen(qtbot, page, ear, 1.0)
    assert page.message.text().startswith("Right: X was ")
    listen(qtbot, page, ear, 0.0)
    assert page.message.text().startswith("Wrong: X was ")
    assert "1 of 2" in page.message.text()
    key(qtbot, page, Qt.Key.Key_A)
    assert "Right" not in page.message.text()
    assert not session.is_finished


def test_a_press_goes_on_at_the_same_place_or_starts_over(qtbot: QtBot) -> None:
    ear = Ear()
    page, _ = abx_page(qtbot, ear)
    key(qtbot, page, Qt.Key.Key_A)
    ear.clock.now += 0.4
    key(qtbot, page, Qt.Key.Key_X)
    assert ear.player.position_s == pytest.approx(0.4, abs=0.02)
    key(qtbot, page, Qt.Key.Key_R)
    assert page.restarts.isChecked()
    key(qtbot, page, Qt.Key.Key_B)
    assert ear.player.position_s == pytest.approx(0.0, abs=0.02)
    ear.clock.now += 1.2  # over the seam
    assert 0.1 < ear.player.position_s < 0.3


def test_a_staircase_asks_at_the_level_in_doubt(qtbot: QtBot) -> None:
    levels = (1, 4, 8)
    ear = Ear(1 + len(levels))
    session = StaircaseSession({}, levels, 20)
    page = ABXPage(session, ear.sound, DARK, lambda signal: 1 + levels.index(session.level) if signal else 0)
    shown(qtbot, page)
    while not session.is_finished:
        level, heard = session.level, set()
        for button in "ABX":
            key(qtbot, page, PLAY[button])
            heard.add(ear.heard)
        assert heard == {0, 1 + levels.index(level)}
        at = {}
        for button in ("A", "X"):
            key(qtbot, page, PLAY[button])
            at[button] = ear.heard
        same = at["A"] == at["X"]
        hears = level < 8 or rng.random() < 0.5  # hears up to 4 codebooks, guesses at 8
        key(qtbot, page, CHOOSE["A" if same == hears else "B"], Qt.Key.Key_Enter)
    log = verified(session)
    assert log["result"]["smallest_not_told"] == 8
    assert not any(str(level) in page.message.text() for level in levels)


def test_preference_by_keys(qtbot: QtBot) -> None:
    ear = Ear()
    session = PreferenceSession({}, 10)
    page = PreferencePage(session, ear.sound, DARK)
    shown(qtbot, page)
    for i in range(10):
        at = {}
        for button in "AB":
            key(qtbot, page, PLAY[button])
            at[button] = ear.heard
        likes = "A" if at["A"] == 1 else "B"
        key(qtbot, page, Qt.Key.Key_0 if i < 2 else CHOOSE[likes], Qt.Key.Key_Return)
    result = session.result()
    assert (result.first, result.second, result.ties) == (0, 8, 2)
    assert result.p == pytest.approx(scipy.stats.binomtest(8, 8).pvalue)
    verified(session)


def mushra(qtbot: QtBot, rounds: int = 2) -> tuple[MushraPage, RatingSession, Ear, list[str]]:
    names = ["8 codebooks", "2 codebooks"]
    ear = Ear(4)  # reference, two takes, anchor
    session = RatingSession({}, names, rounds)
    stimuli = {REFERENCE: 0, names[0]: 1, names[1]: 2, ANCHOR: 3}
    page = MushraPage(session, ear.sound, DARK, stimuli)
    shown(qtbot, page)
    return page, session, ear, [REFERENCE, *names, ANCHOR]


def test_mushra_by_keys(qtbot: QtBot) -> None:
    page, session, ear, names = mushra(qtbot)
    wanted = {REFERENCE: 100, "8 codebooks": 80, "2 codebooks": 45, ANCHOR: 30}
    digits = (Qt.Key.Key_1, Qt.Key.Key_2, Qt.Key.Key_3, Qt.Key.Key_4)
    orders = []
    while not session.is_finished:
        key(qtbot, page, Qt.Key.Key_R)
        assert ear.heard == 0
        order = []
        for i, digit in enumerate(digits):
            assert not page.sliders[i].isEnabled()
            key(qtbot, page.focusWidget() or page, digit)
            name = names[ear.heard]
            order.append(name)
            slider = page.sliders[i]
            assert page.focusWidget() is slider
            steps, single = divmod(abs(wanted[name] - 50), 10)
            up = wanted[name] > 50
            key(qtbot, slider, *[Qt.Key.Key_PageUp if up else Qt.Key.Key_PageDown] * steps)
            key(qtbot, slider, *[Qt.Key.Key_Up if up else Qt.Key.Key_Down] * single)
            assert page.figures[i].text() == str(wanted[name])
        orders.append(order)
        assert session.may_answer
        key(qtbot, page.sliders[-1], Qt.Key.Key_Return)
    log = verified(session)
    assert log["result"]["means"] == {name: float(score) for name, score in wanted.items()}
    assert [[entry["name"] for entry in log["trials"][4 * i : 4 * i + 4]] for i in range(2)] == orders
    assert [row.name for row in session.result().rows] == [REFERENCE, "8 codebooks", "2 codebooks", ANCHOR]


def test_mushra_by_mouse_and_a_gap(qtbot: QtBot) -> None:
    page, session, ear, _ = mushra(qtbot, 1)
    left = Qt.MouseButton.LeftButton
    for i in range(4):
        qtbot.mouseClick(page.sounds[i], left)
        slider = page.sliders[i]
        qtbot.mouseClick(slider, left, pos=QPoint(slider.width() // 2, 12))
        assert page.figures[i].text() == "100"
    qtbot.mouseClick(page.sliders[0], left, pos=QPoint(10, page.sliders[0].height() // 2))
    assert page.figures[0].text() == "50"
    ear.player.gaps += 1
    page.tick()  # while number 4 sounds
    assert page.figures[3].text() == "–"
    assert not session.may_answer
    assert not page.next.isEnabled()
    qtbot.mouseClick(page.sounds[3], left)
    qtbot.mouseClick(page.sliders[3], left, pos=QPoint(10, page.sliders[3].height() // 2))
    qtbot.mouseClick(page.next, left)
    assert session.is_finished
    assert {entry["underruns"] for entry in verified(session)["trials"]} == {1}


def test_a_key_that_comes_too_early_says_what_is_missing(qtbot: QtBot) -> None:
    ear = Ear()
    page, session = abx_page(qtbot, ear)
    hint = page.message.text()
    key(qtbot, page, Qt.Key.Key_Return)
    assert page.message.text() == "Listen to A, B and X first."
    key(qtbot, page, Qt.Key.Key_X)
    assert page.message.text() == hint
    key(qtbot, page, Qt.Key.Key_1)
    assert page.message.text() == "Listen to A and B first."
    assert not page.choices["A"].isChecked()
    key(qtbot, page, Qt.Key.Key_A, Qt.Key.Key_B, Qt.Key.Key_Return)
    assert page.message.text() == "Say which one X is first, then confirm."
    key(qtbot, page, Qt.Key.Key_2)
    assert (page.message.text(), session.num_answered) == (hint, 0)
    key(qtbot, page, Qt.Key.Key_Return)
    assert session.num_answered == 1


def test_a_round_that_is_not_rated_says_what_is_missing(qtbot: QtBot) -> None:
    page, session, _, _ = mushra(qtbot, 1)
    assert "play it first" in page.sliders[1].toolTip()
    page.play(1)
    assert "play it first" not in page.sliders[1].toolTip()
    page.rate(1, 70)
    key(qtbot, page, Qt.Key.Key_Return)
    assert page.message.text() == "Play and rate 1, 3 and 4 first."
    page.play(0)
    assert page.message.text() == page.hint
    assert session.num_answered == 0


def test_mushra_shows_the_same_whatever_the_order(qtbot: QtBot) -> None:
    def pictures(draw: Callable[[int], int]) -> list[QImage]:
        ear = Ear(4)
        session = RatingSession({}, ["8 codebooks", "2 codebooks"], 1, draw=draw)
        stimuli = {REFERENCE: 0, "8 codebooks": 1, "2 codebooks": 2, ANCHOR: 3}
        page = MushraPage(session, ear.sound, DARK, stimuli)
        shown(qtbot, page)
        found = [drawn(page)]
        for i in (0, 2, 1, 3):
            page.play(i)
            page.rate(i, 20 * i)
            ear.clock.now += 0.1
            page.tick()
            found.append(drawn(page))
        return found

    assert pictures(lambda n: 0) == pictures(lambda n: n - 1)
