"""The ear's side of the session: the player, its two clips, the loop, the level match, and one clock.

Lives in the GUI thread. The player is asked, never waited for: opening a device, listing devices and measuring
loudness happen elsewhere, and one timer looks at the answers. Clips are filled a bounded piece per tick, so that a
long recording never holds the window up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.playback import ABPlayer, OutputDevice, list_devices
from mimi_gui.ui.codec_jobs import Preview
from mimi_gui.ui.document import Take
from mimi_gui.ui.feed import Feed
from mimi_gui.ui.level_match import LevelMatch
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.original_file import OriginalFile
from mimi_gui.ui.row import Row
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.stand_in import StandIn, take_over
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

_LIVELY_MS = 20  # while something moves
_IDLE_MS = 200  # a device may vanish
_READ_AHEAD_S = 0.02  # what the sound card's block and a late callback may read beyond the latency
_TOPIC = "sound"


@dataclass(frozen=True)
class ListDevices(Job):
    """Ask for the outputs; takes half a second. Result: a tuple of OutputDevice."""

    def run(self, desk: Desk) -> tuple[OutputDevice, ...]:
        return tuple(list_devices())


class Transport(QObject):
    """Play, switch, loop, match. Signals tell facts; the attributes hold the rest.

    Attributes:
        loop: the selected region in seconds, or None; loops: whether it is played again and again.
        levels: how loud both are beside each other.
        take: what is heard as A instead of the original, or None.
        difference_gain_db: how much louder than it is A minus B is played.
    """

    position_changed = Signal(object, object)  # seconds, playing
    changed = Signal()  # side, playing, loop, match, what can be heard
    take_changed = Signal()
    devices_changed = Signal(object)  # tuple of OutputDevice
    noticed = Signal(object)  # Notice
    settled = Signal(object)  # topic

    def __init__(
        self,
        session: Session,
        measuring: WorkerThread,
        settings: SettingsStore,
        player: ABPlayer | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._measuring, self._settings = session, measuring, settings
        self.player = player if player is not None else ABPlayer()
        self.player.set_volume(settings.value.volume)
        self.loop: tuple[float, float] | None = None
        self.loops = False
        self.levels = LevelMatch(measuring, settings, self)
        self._file = OriginalFile(session, measuring, self)
        self.take: Take | None = None
        self.difference_gain_db = 0.0
        self.devices: tuple[OutputDevice, ...] = ()
        self._a: Feed | None = None
        self._b: Feed | None = None
        self._row: Row | None = None
        self._clip_rate = self.player.sample_rate
        self._told: tuple[object, ...] = ()
        self._error = ""
        self._listing: int | None = None
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self.levels.due.connect(self._measure)
        self.levels.changed.connect(self._apply_match)
        self._file.read.connect(self.use_take)
        self._file.noticed.connect(self.noticed)
        session.source_changed.connect(self._new_document)
        session.sound_changed.connect(self._new_sound)
        session.sound_grew.connect(self._wake)
        session.sound_previewed.connect(self._preview)
        session.finished.connect(self._sound_complete)
        measuring.finished.connect(self._job_finished)
        measuring.failed.connect(self._job_failed)

    # The device

    def start(self) -> None:
        """Open the output that was used last and list the others; returns at once."""
        self.player.open(self._settings.value.output_device or None, wait_s=0)
        self.rescan()
        self._wake()

    def rescan(self) -> None:
        """Look for devices again, and for sound where there is none."""
        self._listing = self._measuring.submit(ListDevices())
        if not self.player.is_open and not self.player.is_opening:
            self.reopen()

    def use_device(self, name: str | None) -> None:
        """Send the sound to this device, or to the system's own choice (None)."""
        self._settings.update(output_device=name or "")
        self.reopen()

    def reopen(self) -> None:
        """Open the chosen output again; what plays goes on there."""
        self._error = ""
        self.settled.emit(_TOPIC)
        self.player.open(self._settings.value.output_device or None, wait_s=0)
        self._wake()

    def lend(self) -> ABPlayer:
        """Give the player away, paused: until :meth:`take_back` all that the window does stays silent and still.

        A listening test must have it alone: nothing in this window may move with what is heard.
        """
        self._end_row()
        lent = self.player
        lent.pause()
        self.player = StandIn()
        self._dress(self.player, lent)
        self._wake()
        return lent

    def take_back(self, player: ABPlayer) -> None:
        """The player comes back, falls silent, and stands where the window stands."""
        stand_in, self.player = self.player, player
        player.pause()
        player.set_gap_switch(False)
        self._dress(player, stand_in)
        player.set_volume(self._settings.value.volume)
        self._wake()

    def _dress(self, player: ABPlayer, like: ABPlayer) -> None:
        """Give ``player`` the clips and the state of ``like``."""
        clips = None
        if player.sample_rate == self._clip_rate:
            clips = (self._a.clip if self._a is not None else None, self._b.clip if self._b is not None else None)
        else:
            self._fill(a=True, b=True)  # at this player's rate
        take_over(player, like, clips, self.loop if self.loops else None)

    def close(self) -> None:
        """Fall silent and let the device go."""
        self._timer.stop()
        self.levels.close()
        self.player.close()

    # Wishes

    @property
    def position_s(self) -> float:
        """What is heard now, in seconds of the recording."""
        return self.player.position_s if self._row is None else self._row.source_s(self.player.position_s)

    def toggle_play(self) -> None:
        """Play, or pause."""
        if self.player.is_playing:
            self.player.pause()
        elif self._a is not None or self._b is not None:
            self.player.play()
        self._wake()

    def stop(self) -> None:
        """Pause and go back to the start."""
        self._end_row()
        self.player.stop()
        self._wake()

    def seek(self, position_s: float) -> None:
        """Go on from there."""
        self._end_row()
        self.player.seek(max(0.0, min(position_s, self._session.document.duration_s)))
        self._wake()

    def step(self, num_frames: int) -> None:
        """Move by whole token frames (80 ms each), landing on a frame's start."""
        info = self._session.document.info
        frame = info.s_to_frame(self.position_s) + num_frames
        self.seek(info.frame_to_s(max(frame, 0)))

    def set_side(self, side: str) -> None:
        """Listen to "A", "B" or their difference "D"; where only one is there, to that."""
        if side == "D" and not self.has_difference:
            return
        if side == "A" and self._a is None and self._b is not None:
            side = "B"
        self.player.set_side(side)
        self._wake()

    def switch(self) -> None:
        """Listen to the other side."""
        self.set_side("B" if self.player.side == "A" else "A")

    def set_difference_gain(self, gain_db: float) -> None:
        """Play A minus B this much louder than it is, in dB; said wherever the difference is named."""
        self.difference_gain_db = gain_db
        self.player.set_difference_gain_db(gain_db)
        self.changed.emit()

    def set_loop(self, loop: tuple[float, float] | None) -> None:
        """Select a region and play it again and again; None clears it."""
        self.loop = loop
        self.loops = loop is not None
        self._apply_loop()

    def play_loop(self, loop: tuple[float, float]) -> None:
        """Select a region and play it from its start."""
        self.set_loop(loop)
        self.seek(loop[0])
        self.player.play()
        self._wake()

    @property
    def plays_row(self) -> bool:
        """Whether spans are played one after the other just now."""
        return self._row is not None

    def play_row(self, spans: Excerpts) -> None:
        """Play these spans one after the other, on the side that is heard; a seek, a loop or a stop ends it.

        Nothing happens while the reconstruction still grows, or where there is no span.
        """
        document = self._session.document
        if not spans.spans or not document.is_complete:
            return
        self._end_row()
        self.player.clear_loop()
        a, rate = self._a, document.info.sample_rate
        if a is not None and a.source_rate != rate and document.recording is not None:
            # A row is cut out at the codec's rate.
            a = Feed(document.recording.waveform.samples, rate, self.player.sample_rate)
        row = self._row = Row(spans, a, self._b, rate, self.player.sample_rate)
        self.player.set_clips(row.clip_a, row.clip_b)
        self.player.seek(0.0)
        self.player.play()
        self._wake()

    def _end_row(self) -> None:
        """Back to the whole recording, at the place that was heard, going on if it was playing."""
        if self._row is not None:
            here, self._row = self.position_s, None
            if self.player.ended:
                self.player.pause()
            self._use_clips()
            self.player.seek(here)
            self._apply_loop()

    def set_loop_edge(self, edge: int) -> None:
        """Put the loop's start (0) or end (1) where the playhead is."""
        duration_s = self._session.document.duration_s
        start, end = self.loop or (0.0, duration_s)
        here = self.position_s
        start, end = (here, end) if edge == 0 else (start, here)
        if end > start:
            self.set_loop((start, end))

    def toggle_loop(self) -> None:
        """Loop the region (the whole recording where there is none), or play on to the end."""
        self.loops = not self.loops
        if self.loops and self.loop is None and self._session.document.duration_s > 0:
            self.loop = (0.0, self._session.document.duration_s)
        self._apply_loop()

    def _apply_loop(self) -> None:
        self._end_row()
        if self.loops and self.loop is not None:
            self.player.set_loop(*self.loop)
            self.loop = self.player.loop_s or self.loop
        else:
            self.player.clear_loop()
        self.levels.wait()
        self._wake()

    def pin(self) -> None:
        """Keep what is heard as B, as side A: to compare two states of the codebooks with each other."""
        document = self._session.document
        if document.sound is None or document.sound_envelope is None or not document.is_complete:
            return
        count = document.sounding
        title = f"{'mix of ' if document.is_mix else ''}{count} codebook{'' if count == 1 else 's'}"
        self.use_take(Take(document.sound, document.sound_envelope, title, document.codes))

    def unpin(self) -> None:
        """Hear the original as A again."""
        if self.take is not None:
            self.use_take(None)

    def hear_file(self) -> None:
        """Hear the recording's own file as A, at its own rate and with its channels; once more: what Mimi heard."""
        if self.take is not None and self.take.is_file:
            self.use_take(None)
        else:
            self._file.ask()

    @Slot(object)
    def use_take(self, take: Take | None) -> None:
        """Hear this as side A; None: the original again."""
        self.take = take
        self._fill(a=True)
        self.take_changed.emit()
        self._measure()
        self.changed.emit()
        self._wake()

    def set_volume(self, volume: float) -> None:
        """0 is silence, 1 as it is."""
        volume = max(0.0, min(volume, 1.0))
        self.player.set_volume(volume)
        self._settings.update(volume=volume)
        self._wake()

    # What can be heard

    @property
    def has_a(self) -> bool:
        """Whether there is an original to hear."""
        return self._a is not None

    @property
    def has_b(self) -> bool:
        """Whether there is some reconstruction to hear already."""
        return self._b is not None and self._b.done > 0

    @property
    def has_difference(self) -> bool:
        """Whether A minus B can be heard: both are there."""
        return self.has_a and self.has_b

    @Slot()
    def _new_document(self) -> None:
        self.player.stop()
        self.player.clear_loop()
        self.player.set_gains_db(0.0, 0.0)
        self.loop, self.loops, self.levels.result = None, False, None
        self.take = None
        self._a = self._b = None
        self._fill(a=True)
        self.player.seek(0.0)
        self.player.set_side("A" if self._a is not None else "B")
        self._wake()

    @Slot()
    def _new_sound(self) -> None:
        self.levels.result = None
        self._end_row()
        sound, feed = self._session.document.sound, self._b
        # B goes on as before, without a gap, wherever the new mix is not there yet.
        goes_on = self.player.sample_rate == self._clip_rate
        if not (goes_on and feed is not None and sound is not None and feed.replace(sound)):
            self._fill(b=True)
        self._wake()

    @Slot(object)
    def _preview(self, preview: Preview) -> None:
        if self._b is not None:
            self._b.preview(preview.start, preview.samples, preview.lead, self._busy())

    def _busy(self) -> tuple[int, int] | None:
        """The samples of B's clip that may be on their way to the ear just now."""
        player = self.player
        if not player.is_playing:
            return None
        rate, here = self._clip_rate, player.position_s
        return int(here * rate), int((here + player.latency_s + _READ_AHEAD_S) * rate)

    def _fill(self, *, a: bool = False, b: bool = False) -> None:
        """Begin clips at the device's rate for what is open."""
        document, rate = self._session.document, self.player.sample_rate
        self._end_row()
        self._clip_rate = rate
        if a:
            self._a = None
            if self.take is not None:
                self._a = Feed(self.take.samples, self.take.sample_rate or document.info.sample_rate, rate)
            elif document.recording is not None:
                waveform = document.recording.waveform
                self._a = Feed(waveform.samples, waveform.sample_rate, rate)
        if b:
            self._b = None
            if document.sound is not None:
                self._b = Feed(document.sound, document.info.sample_rate, rate)
        self._use_clips()

    def _use_clips(self) -> None:
        self.player.set_clips(*(feed.clip if feed is not None else None for feed in (self._a, self._b)))

    @Slot()
    def _sound_complete(self) -> None:
        self._measure()
        self._wake()

    # Loudness

    @Slot()
    def _measure(self) -> None:
        document = self._session.document
        if self._a is None or document.sound is None or not document.is_complete:
            return
        start, end = self.loop if self.loop is not None and self.loops else (0.0, document.duration_s)
        rate_a, rate_b = self._a.source_rate, document.info.sample_rate
        a, b = (x[round(start * rate) : round(end * rate)]
                for x, rate in ((self._a.samples, rate_a), (document.sound, rate_b)))  # fmt: skip
        self.levels.measure(a, b, rate_a, rate_b)

    @Slot()
    def _apply_match(self) -> None:
        self.player.set_gains_db(*self.levels.gains_db)
        self.changed.emit()

    @Slot(object, object)
    def _job_finished(self, number: int, result: object) -> None:
        if number == self._listing:
            self.devices = cast("tuple[OutputDevice, ...]", result)
            self.devices_changed.emit(result)

    @Slot(object, object)
    def _job_failed(self, number: int, failure: Failure) -> None:
        if number == self._listing and isinstance(failure.error, PlaybackUnavailable):
            self.devices = ()
            self.devices_changed.emit(())
            self._complain(failure.message)

    # The clock

    @Slot()
    def _wake(self) -> None:
        self._tick()
        if self._timer.interval() != _LIVELY_MS or not self._timer.isActive():
            self._timer.start(_LIVELY_MS)

    @Slot()
    def _tick(self) -> None:
        player, document = self.player, self._session.document
        if player.sample_rate != self._clip_rate:
            self._fill(a=True, b=True)
            self._apply_loop()
        more = False
        for feed, ready in ((self._a, None), (self._b, document.num_samples)):
            if feed is not None and not feed.is_finished:
                more |= feed.advance(len(feed.samples) if ready is None else ready, self._busy())
        more |= self._row is not None and self._row.advance()
        if player.ended:
            self._end_row()
        if player.error and player.error != self._error:
            self._complain(player.error)
        elif player.is_open and self._error:
            self._error = ""
            self.settled.emit(_TOPIC)
        playing = player.is_playing
        ear = self._session.ear
        here = self.position_s
        ear.position_s, ear.loop_s, ear.is_playing = here, player.loop_s, playing
        self.position_changed.emit(here, playing)
        told = (
            playing, player.side, self.loops, self.loop, player.is_open, self.has_a, self.has_b,
            player.underruns, round(player.latency_s, 3),
        )  # fmt: skip
        if told != self._told:
            self._told = told
            self.changed.emit()
        if not (playing or more or player.is_opening) and self._timer.interval() != _IDLE_MS:
            self._timer.start(_IDLE_MS)

    def _complain(self, words: str) -> None:
        if words == self._error:
            return
        self._error = words
        actions = (("Look again", "rescan"),)
        self.noticed.emit(Notice("warning", words, "No sound", actions=actions, topic=_TOPIC))
