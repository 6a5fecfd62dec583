"""A player that stands where the window's player stood while a listening test has that one. GUI thread only."""

from __future__ import annotations

from mimi_gui.clip import Clip
from mimi_gui.playback import ABPlayer


class StandIn(ABPlayer):
    """On the silent clock, and never opened."""

    def open(self, *args: object, **options: object) -> None:
        """Not while a listening test has the sound."""


def take_over(
    player: ABPlayer,
    before: ABPlayer,
    clips: tuple[Clip | None, Clip | None] | None,
    loop: tuple[float, float] | None,
) -> None:
    """Let ``player`` stand where ``before`` stands: clips (None: it has them already), side, gains, loop in seconds."""
    player.clear_loop()
    if clips is not None:
        player.set_clips(*clips)
    player.set_side(before.side)
    player.set_gains_db(*before.gains_db)
    player.set_volume(before.volume)
    if loop is not None:
        player.set_loop(*loop)
    player.seek(before.position_s)
