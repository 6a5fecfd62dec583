"""Spans of a recording as clips of their own, so that they can be played one after the other. GUI thread only."""

from __future__ import annotations

from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.ui.feed import Feed


class Row:
    """Both sides of some spans of the recording, one span after the other; spans are in samples at ``source_rate``.

    Attributes:
        clip_a, clip_b: to be played instead of the whole recording's; None where that side has none.
    """

    def __init__(self, spans: Excerpts, a: Feed | None, b: Feed | None, source_rate: int, clip_rate: int) -> None:
        self._spans, self._rate = spans, source_rate
        row_a, row_b = (
            Feed(spans.joined(feed.samples, feed.source_rate / source_rate), feed.source_rate, clip_rate)
            if feed is not None
            else None
            for feed in (a, b)
        )
        self._feeds = [feed for feed in (row_a, row_b) if feed is not None]
        self.clip_a = row_a.clip if row_a is not None else None
        self.clip_b = row_b.clip if row_b is not None else None

    def advance(self) -> bool:
        """Fill the clips by a piece; returns whether there is more to fill."""
        more = [feed.advance(len(feed.samples)) for feed in self._feeds if not feed.clip.is_finished]
        return any(more)

    def source_s(self, position_s: float) -> float:
        """Where in the recording lies what the row has here; both in seconds."""
        return self._spans.source_sample(round(position_s * self._rate)) / self._rate
