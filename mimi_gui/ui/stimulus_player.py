"""The player in the hands of a listening test: many stimuli, one cursor, the same 5 ms out and 5 ms in each press.

GUI thread only. The player has two slots; with two stimuli each keeps its own, with more the one that is not heard
is filled with what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence

from mimi_gui.clip import Clip
from mimi_gui.playback import ABPlayer

_OTHER = {"A": "B", "B": "A"}


class StimulusPlayer:
    """Plays ``clips`` (all of one length) by number, over and over.

    Attributes:
        restarts: each press begins at the start, instead of going on at the same place.
    """

    def __init__(self, player: ABPlayer, clips: Sequence[Clip], *, restarts: bool = False) -> None:
        """Take ``player`` over, paused at the start.

        Raises:
            ValueError: the clips have another rate than the device.
        """
        self.restarts = restarts
        self._player = player
        self._clips = tuple(clips)
        self._slots = {"A": 0, "B": min(1, len(clips) - 1)}
        self._heard = "A"
        player.pause()
        player.clear_loop()
        player.set_gains_db(0.0, 0.0)  # the gains are in the samples
        player.set_gap_switch(True)
        self._fill()
        player.set_loop(0.0, clips[0].duration_s)
        player.seek(0.0)
        self._seen = player.underruns

    def _fill(self) -> None:
        self._player.set_clips(self._clips[self._slots["A"]], self._clips[self._slots["B"]])

    def hear(self, index: int) -> None:
        """Bring stimulus ``index`` to the ear, at the same position of the loop, and play."""
        side = next((side for side, held in self._slots.items() if held == index), None)
        if side is None:
            side = _OTHER[self._heard]
            self._slots[side] = index
            self._fill()
        self._heard = side
        self._player.press(side, restart=self.restarts)
        if not self._player.is_playing:
            self._seen = self._player.underruns
            self._player.play()

    def pause(self) -> None:
        """Fall silent; the position stays."""
        self._player.pause()

    def resume(self) -> None:
        """Go on with what was heard last."""
        self._seen = self._player.underruns
        self._player.play()

    def rewind(self) -> None:
        """Fall silent and go back to the loop's start: a trial begins."""
        self._player.stop()
        self._seen = self._player.underruns

    @property
    def is_playing(self) -> bool:
        return self._player.is_playing

    @property
    def is_there(self) -> bool:
        """Whether there is a device that the clips fit to."""
        return self._player.is_open and self._player.sample_rate == self._clips[0].sample_rate

    @property
    def is_elsewhere(self) -> bool:
        """Whether the sound came back at another rate, which these clips cannot be played at."""
        return self._player.is_open and not self.is_there

    @property
    def share(self) -> float:
        """Where in the loop the sound is, 0..1."""
        duration_s = self._clips[0].duration_s
        return min(self._player.position_s / duration_s, 1.0) if duration_s > 0 else 0.0

    def take_gaps(self) -> int:
        """Times the card ran dry since this was asked last, while it played."""
        now = self._player.underruns
        gaps, self._seen = max(now - self._seen, 0), now
        return gaps if self._player.is_playing else 0

    def release(self) -> None:
        """Fall silent and leave the player as an ordinary one."""
        player = self._player
        player.pause()
        player.clear_loop()
        player.set_gap_switch(False)
        player.set_clips(None, None)
