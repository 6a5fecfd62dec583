"""The level match of the free A/B: what the switch says of it, and what is forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QObject, Signal
from pytestqt.qtbot import QtBot

from mimi_gui.analysis.loudness import LoudnessMatch
from mimi_gui.clip import Clip
from mimi_gui.ui.level_match import LevelMatch, match_words
from mimi_gui.ui.settings import SettingsStore


@pytest.mark.parametrize(
    ("match", "on", "both", "words", "tip"),
    [
        (LoudnessMatch(-3.2, -0.1, -17.0, -20.1, -1.0, -1.0), True, True, "A −3.1 dB", "turned by −3.2 dB"),
        (LoudnessMatch(0.0, -0.8, -20.0, -19.2, -9.0, -1.5), True, True, "B −0.8 dB", "A −20.0 LUFS"),
        (LoudnessMatch(-1.0, -1.02, -20.0, -19.98, 0.0, 0.0), True, True, "Level match", "turned by −1.0 dB"),
        (LoudnessMatch(0.0, -0.8, -20.0, -19.2, -9.0, -1.5), False, True, "As decoded", "the louder one"),
        (LoudnessMatch(0.0, 0.0, -20.0, float("-inf"), -9.0, -9.0, "B is silent: no match"), True, True, "No match",
         "B is silent"),
        (None, True, True, "Level match", "being measured"),
        (None, True, False, "Level match", "one side only"),
    ],
)  # fmt: skip
def test_every_state_is_explained(match: LoudnessMatch | None, on: bool, both: bool, words: str, tip: str) -> None:
    said, explained = match_words(match, on, both=both)
    assert said == words
    assert tip in explained
    assert "key: M" in explained or "M:" in explained


class PaperThread(QObject):
    finished = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[int | None] = []
        self.number = 0

    def submit(self, job: object) -> int:
        self.number += 1
        return self.number

    def cancel(self, number: int | None) -> None:
        self.cancelled.append(number)


def test_what_was_measured_of_another_sound_is_not_applied(qtbot: QtBot, tmp_path: Path) -> None:
    """A measurement that ends after another recording was opened says nothing about that one."""
    thread = PaperThread()
    levels = LevelMatch(thread, SettingsStore(tmp_path / "s.ini"), thread)  # pyright: ignore[reportArgumentType]
    clip = Clip.from_samples(np.ones(4800, np.float32), 48_000, 48_000)
    levels.ask()
    assert levels.is_wanted
    levels.measure(clip, clip, (0, 4800), is_mono=False)
    assert not levels.is_wanted
    levels.forget()
    assert thread.cancelled[-1] == 1
    found = LoudnessMatch(-6.0, 0.0, -14.0, -20.0, -1.0, -7.0)
    thread.finished.emit(1, found)  # it was quicker than the wish to end
    assert levels.result is None
    assert levels.gains_db == (0.0, 0.0)
    levels.measure(clip, clip, (0, 4800), is_mono=False)
    thread.finished.emit(2, found)
    assert levels.gains_db == (-6.0, 0.0)


def test_a_listening_test_need_not_wait_for_the_measurement(qtbot: QtBot, tmp_path: Path) -> None:
    thread = PaperThread()
    levels = LevelMatch(thread, SettingsStore(tmp_path / "s.ini"), thread)  # pyright: ignore[reportArgumentType]
    clip = Clip.from_samples(np.ones(4800, np.float32), 48_000, 48_000)
    levels.put_off()  # nothing is measured
    assert not levels.is_wanted
    levels.measure(clip, clip, (0, 4800), is_mono=False)
    levels.put_off()
    assert thread.cancelled[-1] == 1
    assert levels.is_wanted  # later
    levels.measure(clip, clip, (0, 4800), is_mono=False)
    thread.finished.emit(2, LoudnessMatch(-6.0, 0.0, -14.0, -20.0, -1.0, -7.0))
    levels.put_off()  # it is measured
    assert not levels.is_wanted
    assert levels.result is not None
