"""The two sides as they are played: a clip for each, filled from the document while that grows, or a row of spans.

Lives in the GUI thread. Clips are filled a bounded piece per call of :meth:`Sides.advance`, so that a long
recording never holds the window up.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Slot

from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.clip import Clip
from mimi_gui.playback import ABPlayer
from mimi_gui.ui.codec_jobs import Preview
from mimi_gui.ui.document import Take
from mimi_gui.ui.feed import Feed
from mimi_gui.ui.row import Row
from mimi_gui.ui.session import Session
from mimi_gui.ui.sound_output import SoundOutput
from mimi_gui.ui.stand_in import take_over

_READ_AHEAD_S = 0.02  # what the sound card's block and a late callback may read beyond the latency


class Sides(QObject):
    """See the module's docstring.

    Attributes:
        a, b: what each side's clip is filled from; None where that side has nothing.
        take: what is heard as A instead of the original, or None.
        row: the spans that are played instead of the whole, or None.
        rate: of the clips, in Hz; the player's may be another one after its device has changed.
    """

    def __init__(self, session: Session, output: SoundOutput, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._output = session, output
        self.a: Feed | None = None
        self.b: Feed | None = None
        self.take: Take | None = None
        self.row: Row | None = None
        self.rate = output.player.sample_rate

    @property
    def has_a(self) -> bool:
        """Whether there is an original to hear."""
        return self.a is not None

    @property
    def has_b(self) -> bool:
        """Whether there is some reconstruction to hear already."""
        return self.b is not None and self.b.done > 0

    @property
    def fits(self) -> bool:
        """Whether the clips are at the player's rate."""
        return self._output.player.sample_rate == self.rate

    @property
    def position_s(self) -> float:
        """What is heard now, in seconds of the recording."""
        here = self._output.player.position_s
        return here if self.row is None else self.row.source_s(here)

    def fill(self, *, a: bool = False, b: bool = False) -> None:
        """Begin clips at the player's rate for what is open; no row may be playing."""
        document, self.rate = self._session.document, self._output.player.sample_rate
        if a:
            self.a = None
            if self.take is not None:
                self.a = Feed(self.take.samples, self.take.sample_rate or document.info.sample_rate, self.rate)
            elif document.recording is not None:
                waveform = document.recording.waveform
                self.a = Feed(waveform.samples, waveform.sample_rate, self.rate)
        if b:
            self.b = None
            if document.sound is not None:
                self.b = Feed(document.sound, document.info.sample_rate, self.rate)
        self._use_clips()

    def whole_clips(self) -> tuple[Clip, Clip] | None:
        """Both sides' clips of the whole recording, once there is nothing more to fill; None before."""
        if self.a is None or self.b is None or not self._session.document.is_complete:
            return None
        return (self.a.clip, self.b.clip) if self.a.is_finished and self.b.is_finished else None

    def forget(self) -> None:
        """Another recording is open: what is heard as A is its own again, and nothing is B."""
        self.a = self.b = self.take = self.row = None

    def replace_b(self) -> bool:
        """Let another mix take B's place, which goes on as before wherever the new one is not there yet.

        False where that cannot be: then fill it.
        """
        sound = self._session.document.sound
        return self.fits and self.b is not None and sound is not None and self.b.replace(sound)

    @Slot(object)
    def preview(self, preview: Preview) -> None:
        """Hear a stretch of the next mix before its turn comes."""
        if self.b is not None:
            self.b.preview(preview.start, preview.samples, preview.lead, self._busy())

    def advance(self) -> bool:
        """Fill by a piece what is not full; returns whether there is more to take now."""
        more, busy = False, self._busy()
        for feed, ready in ((self.a, None), (self.b, self._session.document.num_samples)):
            if feed is not None and not feed.is_finished:
                more |= feed.advance(len(feed.samples) if ready is None else ready, busy)
        return more | (self.row is not None and self.row.advance())

    def dress(self, player: ABPlayer, like: ABPlayer, loop: tuple[float, float] | None) -> None:
        """Give ``player``, which is the output's now, the clips and the state of ``like``; ``loop`` in seconds."""
        clips = None
        if self.fits:
            clips = (self.a.clip if self.a is not None else None, self.b.clip if self.b is not None else None)
        else:
            self.fill(a=True, b=True)  # at this player's rate
        take_over(player, like, clips, loop)

    def play_row(self, spans: Excerpts) -> None:
        """Play these spans, of which there is one at least, one after the other from the first."""
        document, player = self._session.document, self._output.player
        player.clear_loop()
        row = self.row = Row(spans, self.a, self.b, document.info.sample_rate, player.sample_rate)
        player.set_clips(row.clip_a, row.clip_b)
        player.seek(0.0)
        player.play()

    def end_row(self) -> bool:
        """Back to the whole recording, at the place that was heard, going on if it was playing.

        Returns whether there was a row; the loop has to be set again then.
        """
        if self.row is None:
            return False
        here, self.row = self.position_s, None
        if self._output.player.ended:
            self._output.player.pause()
        if self.fits:
            self._use_clips()
        self._output.player.seek(here)
        return True

    def _busy(self) -> tuple[int, int] | None:
        """The samples of B's clip that may be on their way to the ear just now."""
        player = self._output.player
        if not player.is_playing:
            return None
        here = player.position_s
        return int(here * self.rate), int((here + player.latency_s + _READ_AHEAD_S) * self.rate)

    def _use_clips(self) -> None:
        self._output.player.set_clips(*(feed.clip if feed is not None else None for feed in (self.a, self.b)))
