"""The ear's side of the session: what is wished of the player, the loop, the level match, and one clock.

Lives in the GUI thread. The player is asked, never waited for: opening a device, listing devices and measuring
loudness happen elsewhere, and one timer looks at the answers.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.document import Take
from mimi_gui.ui.level_match import LevelMatch
from mimi_gui.ui.original_file import OriginalFile
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.sides import Sides
from mimi_gui.ui.sound_output import SoundOutput
from mimi_gui.ui.worker import WorkerThread

_LIVELY_MS = 20  # while something moves
_IDLE_MS = 200  # a device may vanish


class Transport(QObject):
    """Play, switch, loop, match. Signals tell facts; the attributes hold the rest.

    Attributes:
        output: where the sound goes.
        sides: the clips of A and B.
        loop: the selected region in seconds, or None; loops: whether it is played again and again.
        levels: how loud both are beside each other.
        difference_gain_db: how much louder than it is A minus B is played.
    """

    position_changed = Signal(object, object)  # seconds, playing
    changed = Signal()  # side, playing, loop, match, what can be heard
    take_changed = Signal()
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
        self._session, self._settings = session, settings
        self.output = SoundOutput(measuring, settings, player if player is not None else ABPlayer(), self)
        self.sides = Sides(session, self.output, self)
        self.loop: tuple[float, float] | None = None
        self.levels = LevelMatch(measuring, settings, self)
        self._file = OriginalFile(session, measuring, self)
        self.loops, self.difference_gain_db = False, 0.0
        self._told: tuple[object, ...] = ()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self.output.asked.connect(self._wake)
        self.output.noticed.connect(self.noticed)
        self.output.settled.connect(self.settled)
        self.levels.wanted.connect(self._wake)
        self.levels.changed.connect(self._apply_match)
        self._file.read.connect(self.use_take)
        self._file.noticed.connect(self.noticed)
        session.source_changed.connect(self._new_document)
        session.sound_changed.connect(self._new_sound)
        session.sound_grew.connect(self._wake)
        session.sound_previewed.connect(self.sides.preview)
        session.finished.connect(self.levels.ask)

    # The device

    @property
    def player(self) -> ABPlayer:
        """What plays just now."""
        return self.output.player

    def lend(self) -> ABPlayer:
        """Give the player away, paused: until :meth:`take_back` all that the window does stays silent and still.

        A listening test must have it alone: nothing in this window may move with what is heard.
        """
        self._end_row()
        self.levels.put_off()
        lent = self.output.lend()
        self.sides.dress(self.player, lent, self.loop if self.loops else None)
        self._wake()
        return lent

    def take_back(self, player: ABPlayer) -> None:
        """The player comes back, falls silent, and stands where the window stands."""
        self._end_row()
        stand_in = self.output.take_back(player)
        self.sides.dress(player, stand_in, self.loop if self.loops else None)
        player.set_volume(self._settings.value.volume)
        self._wake()

    def close(self) -> None:
        """Fall silent and let the device go."""
        self._timer.stop()
        self.levels.close()
        self.output.close()

    # Wishes

    @property
    def position_s(self) -> float:
        """What is heard now, in seconds of the recording."""
        return self.sides.position_s

    def toggle_play(self) -> None:
        """Play, or pause."""
        if self.player.is_playing:
            self.player.pause()
        elif self.sides.a is not None or self.sides.b is not None:
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
        if side == "A" and self.sides.a is None and self.sides.b is not None:
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
        return self.sides.row is not None

    def play_row(self, spans: Excerpts) -> None:
        """Play these spans one after the other, on the side that is heard; a seek, a loop or a stop ends it.

        Nothing happens while the reconstruction still grows, or where there is no span.
        """
        if spans.spans and self._session.document.is_complete:
            self._end_row()
            self.sides.play_row(spans)
            self._wake()

    def _end_row(self) -> None:
        """Back to the whole recording and its loop."""
        if self.sides.end_row():
            self._apply_loop()

    def set_loop_edge(self, edge: int) -> None:
        """Put the loop's start (0) or end (1) where the playhead is."""
        duration_s = self._session.document.duration_s
        start, end = self.loop or (0.0, duration_s)
        start, end = (self.position_s, end) if edge == 0 else (start, self.position_s)
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

    @property
    def take(self) -> Take | None:
        """What is heard as A instead of the original."""
        return self.sides.take

    def pin(self) -> None:
        """Keep what is heard as B, as side A: to compare two states of the codebooks with each other."""
        take = self._session.document.as_take()
        if take is not None:
            self.use_take(take)

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
        self._end_row()
        self.sides.take = take
        self.sides.fill(a=True)
        self.levels.forget()
        self.take_changed.emit()
        self.changed.emit()
        self.levels.ask()

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
        return self.sides.has_a

    @property
    def has_b(self) -> bool:
        """Whether there is some reconstruction to hear already."""
        return self.sides.has_b

    @property
    def has_difference(self) -> bool:
        """Whether A minus B can be heard: both are there."""
        return self.has_a and self.has_b

    @Slot()
    def _new_document(self) -> None:
        self.player.stop()
        self.player.clear_loop()
        self.player.set_gains_db(0.0, 0.0)
        self.loop, self.loops = None, False
        self.levels.forget()
        self.sides.forget()
        self.sides.fill(a=True)
        self.player.seek(0.0)
        self.player.set_side("A" if self.has_a else "B")
        self._wake()

    @Slot()
    def _new_sound(self) -> None:
        self.levels.forget()
        self._end_row()
        if not self.sides.replace_b():
            self.sides.fill(b=True)
        self._wake()

    # Loudness

    def _measure(self) -> None:
        """Measure what is looped, or all, once both sides are whole; not while a listening test has the sound."""
        clips = self.sides.whole_clips()
        if clips is None or self.output.is_lent:
            return
        a, b = clips
        start, stop = 0, max(a.length, b.length)
        if self.loop is not None and self.loops:
            start, stop = (round(edge * self.sides.rate) for edge in self.loop)
        self.levels.measure(a, b, (start, stop), is_mono=self.output.is_mono)

    @Slot()
    def _apply_match(self) -> None:
        self.player.set_gains_db(*self.levels.gains_db)
        self.changed.emit()

    # The clock

    @Slot()
    def _wake(self) -> None:
        self._tick()
        if self._timer.interval() != _LIVELY_MS or not self._timer.isActive():
            self._timer.start(_LIVELY_MS)

    @Slot()
    def _tick(self) -> None:
        if not self.sides.fits:
            self.sides.end_row()
            self.sides.fill(a=True, b=True)
            self._apply_loop()
        more = self.sides.advance()
        if self.levels.is_wanted:
            self._measure()
        player = self.player
        if player.ended:
            self._end_row()
        self.output.check()
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
