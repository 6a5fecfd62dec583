"""One run of a listening test: its session, its page, its words, and the log that grows with it. GUI thread only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimi_gui.analysis.abx import ABXSession
from mimi_gui.analysis.alignment import CORRECTABLE_RATIO
from mimi_gui.analysis.blind import BlindSession, Draw
from mimi_gui.analysis.journal import ListeningSetup
from mimi_gui.analysis.listening import MAX_TRIALS
from mimi_gui.analysis.rating_session import RatingSession
from mimi_gui.analysis.ratings import ANCHOR, REFERENCE, PreferenceSession
from mimi_gui.analysis.staircase import StaircaseSession
from mimi_gui.analysis.stimuli import Stimuli, Stimulus
from mimi_gui.ui.abx_page import ABXPage
from mimi_gui.ui.listening_jobs import Prepared
from mimi_gui.ui.listening_plan import Plan
from mimi_gui.ui.mushra_page import MushraPage
from mimi_gui.ui.preference_page import PreferencePage
from mimi_gui.ui.result_page import (
    Outcome,
    abx_outcome,
    mushra_outcome,
    preference_outcome,
    short,
    staircase_outcome,
)
from mimi_gui.ui.stimulus_player import StimulusPlayer
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.trial_page import TrialPage

BLUETOOTH_S = 0.1  # a press that is heard later than this makes comparing hard


@dataclass(frozen=True)
class Surroundings:
    """What the log says beside the sounds."""

    device: str
    latency_s: float
    volume: float
    source: str
    checkpoint: str


@dataclass
class Run:
    """A session with the page in front of it; ``path`` is the log's, None in training."""

    session: BlindSession
    page: TrialPage
    plan: Plan
    stimuli: Stimuli
    path: Path | None

    def log(self) -> dict[str, Any]:
        """The log as it stands: complete, and valid, at any moment."""
        return self.session.log_so_far()

    def outcome(self) -> Outcome:
        """The result, once the session is finished."""
        session = self.session
        if isinstance(session, ABXSession):
            return abx_outcome(session.result())
        if isinstance(session, StaircaseSession):
            return staircase_outcome(session.result(), session.staircase.levels, session.num_trials)
        if isinstance(session, PreferenceSession):
            first, second = (one.name for one in self.stimuli.all[:2])
            return preference_outcome(session.result(), (first, second))
        assert isinstance(session, RatingSession)
        return mushra_outcome(session.result())

    def compared(self) -> str:
        """What was compared, for the result page and the clipboard."""
        names = [one.name for one in self.stimuli.all if one.name != ANCHOR]
        start, end = self.stimuli.span_s
        loop = f"loop {start:.2f} to {end:.2f} s"
        void = f", {self.session.num_void} void and repeated" if self.session.num_void else ""
        takes = ", ".join(names[1:] if len(names) == 2 else [short(name) for name in names[1:]])
        return f"{names[0]} against {takes}; {loop}; {level_words(self.stimuli)}{void}"


def begin(
    plan: Plan,
    prepared: Prepared,
    sound: StimulusPlayer,
    around: Surroundings,
    theme: Theme,
    *,
    training: bool,
    draw: Draw,
    clock: Callable[[], float] = time.time,
) -> Run:
    """A session of ``plan`` and its page; nothing sounds yet."""
    stimuli = prepared.stimuli
    setup = setup_record(plan, prepared, around)
    page: TrialPage
    session: BlindSession
    if plan.kind == "abx":
        num_trials = MAX_TRIALS if training else plan.num_trials
        session = ABXSession(setup, num_trials, training=training, draw=draw, clock=clock)
        page = ABXPage(session, sound, theme, training=training)
    elif plan.kind == "staircase":
        takes = {one.num_codebooks: i for i, one in enumerate(stimuli.all) if i > 0}
        session = staircase = StaircaseSession(setup, sorted(takes), plan.num_trials, draw=draw, clock=clock)
        page = ABXPage(session, sound, theme, lambda signal: takes[staircase.level] if signal else 0)
    elif plan.kind == "preference":
        session = PreferenceSession(setup, plan.num_trials, draw=draw, clock=clock)
        page = PreferencePage(session, sound, theme)
    else:
        takes = {one.name: i for i, one in enumerate(stimuli.all)}
        names = [one.name for one in stimuli.all[1:] if one.name != ANCHOR]
        session = RatingSession(setup, names, plan.num_trials, draw=draw, clock=clock)
        page = MushraPage(session, sound, theme, {**takes, REFERENCE: 0})
    path = None if training else log_path(plan.folder, plan.kind, clock())
    return Run(session, page, plan, stimuli, path)


def log_path(folder: Path, kind: str, now_s: float) -> Path:
    """A name that no log there has: kind, day and time."""
    stem = f"{kind}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now_s))}"
    path, number = folder / f"{stem}.json", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.json", number + 1
    return path


def setup_record(plan: Plan, prepared: Prepared, around: Surroundings) -> Mapping[str, object]:
    """What the log says about sounds and surroundings."""
    stimuli = prepared.stimuli
    return ListeningSetup(
        signals=tuple(one.as_dict() for one in stimuli.all),
        sample_rate=stimuli.sample_rate,
        loop_s=stimuli.span_s,
        level_matched=stimuli.is_matched,
        device=around.device,
        latency_ms=round(1000 * around.latency_s, 1),
        volume=around.volume,
        restarts=plan.restarts,
        source=around.source,
        source_sha256=prepared.source_sha256,
        checkpoint=around.checkpoint,
        listener=plan.listener,
        notes=plan.notes,
    ).as_dict()


def level_words(stimuli: Stimuli) -> str:
    """How loud all are beside each other, in one line."""
    if stimuli.reason:
        return f"levels as decoded ({stimuli.reason})"
    if not stimuli.is_matched:
        return "levels as decoded, not matched"
    return f"levels matched within {stimuli.largest_difference_lu:.2f} LU"


def gain_words(stimuli: Stimuli) -> str:
    """Who was turned down by how much."""
    parts = []
    for one in stimuli.all:
        level = "silent" if math.isinf(one.loudness) else f"{one.loudness:.1f} LUFS"
        gain = f"turned by {one.gain_db:+.1f} dB" if one.gain_db < -0.05 else "as it is"
        parts.append(f"{one.name}: {level}, {gain}".replace("-", "−"))
    return "\n".join([f"{level_words(stimuli)[0].upper()}{level_words(stimuli)[1:]}", *_shortened(parts)])


def delay_words(stimuli: Stimuli) -> str:
    """The delay of each take against the reference."""
    takes = [one for one in stimuli.all[1:] if one.name != ANCHOR]
    found = [_delay(one) for one in takes]
    if len(set(found)) == 1:
        return found[0][0].upper() + found[0][1:]
    return "\n".join(_shortened([f"{one.name}: {words}" for one, words in zip(takes, found, strict=True)]))


def _delay(one: Stimulus) -> str:
    lag = f"{one.delay.lag_samples:+d} samples at 24 kHz".replace("-", "−")
    if one.delay.lag_samples == 0:
        return "0 samples"
    if one.is_corrected:
        return f"{lag}, taken out"
    if one.delay.peak_ratio < CORRECTABLE_RATIO:
        return "not certain (too unlike the reference), nothing was moved"
    return f"{lag}, more than can be taken out"


def _shortened(lines: list[str], most: int = 4) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], f"and {len(lines) - most + 1} more"]


def device_words(name: str, sample_rate: int, latency_s: float) -> str:
    """The output and how late a press is heard."""
    words = f"{name}, {sample_rate / 1000:g} kHz, a press is heard after about {1000 * latency_s:.0f} ms"
    if latency_s > BLUETOOTH_S:
        words += ". That is late (Bluetooth?): a wired output makes comparing easier"
    return words
