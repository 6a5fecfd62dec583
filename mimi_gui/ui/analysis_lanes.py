"""The wall's further views: spectrograms, the difference as a waveform, the error per frame.

They are built when first shown, and only then is what they need imported (scipy takes a while, and the window
should not wait for it). GUI thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Signal

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.waveform_view import WaveformView

if TYPE_CHECKING:
    from mimi_gui.analysis.error_strip import ErrorStrip, Moment
    from mimi_gui.analysis.spectrogram import SpectrogramSettings
    from mimi_gui.ui.error_view import ErrorView
    from mimi_gui.ui.spectrogram_view import FrequencyRange, SpectrogramView
    from mimi_gui.ui.tile_store import TileStore


@dataclass(frozen=True)
class LaneKind:
    """One optional view: its key, its name in the View menu, and the lane of the wall that it stands under."""

    key: str
    name: str
    under: str


LANE_KINDS = (
    LaneKind("spectrogram_a", "Spectrogram of the original", "source"),
    LaneKind("spectrogram_b", "Spectrogram of the reconstruction", "reconstruction"),
    LaneKind("difference", "Difference waveform", "reconstruction"),
    LaneKind("spectrogram_difference", "Spectrogram of the difference", "reconstruction"),
    LaneKind("error", "Error per frame", "heatmap"),
)
_SPECTROGRAM_TITLES = {
    "spectrogram_a": "Spectrogram — original, what Mimi heard",
    "spectrogram_b": "Spectrogram — reconstruction",
    "spectrogram_difference": "Spectrogram — difference: blue is lost, orange is added, ±30 dB",
}
_STRETCH = {"difference": 2.0, "error": 2.0}


class AnalysisLanes(QObject):
    """Shows and feeds the optional lanes of one wall.

    Signals:
        shown_changed(str, bool): a lane was shown or hidden.
        moment_requested(object): loop ``(start_s, end_s)``, a worst moment.
        missing(str): a lane was shown that has no data yet; "error" wants an error strip computed.
    """

    shown_changed = Signal(str, bool)
    moment_requested = Signal(object)
    missing = Signal(str)

    def __init__(self, wall: Wall, parent: QObject | None = None) -> None:
        super().__init__(parent or wall)
        self._wall = wall
        self._store: TileStore | None = None
        self._frequencies: FrequencyRange | None = None
        self._lanes: dict[str, Lane] = {}
        self._spectrograms: dict[str, SpectrogramView] = {}
        self._error: ErrorView | None = None
        self._settings: tuple[SpectrogramSettings, str] | None = None
        self._sounds: tuple[np.ndarray | None, np.ndarray | None, int] = (None, None, 1)
        self._difference: Envelope | None = None
        self._strip: tuple[ErrorStrip | None, Sequence[Moment]] = (None, ())

    @property
    def settings(self) -> tuple[SpectrogramSettings, str]:
        """How spectrograms are drawn, and the colour map's key."""
        if self._settings is None:
            from mimi_gui.analysis.spectrogram import SpectrogramSettings

            self._settings = (SpectrogramSettings(), "ember")
        return self._settings

    def is_shown(self, key: str) -> bool:
        """Whether this lane stands on the wall."""
        return key in self._lanes and not self._lanes[key].isHidden()

    def show(self, key: str, shown: bool = True) -> None:
        """Show or hide the lane ``key`` of :data:`LANE_KINDS`.

        Raises:
            KeyError: no such lane.
        """
        kind = {kind.key: kind for kind in LANE_KINDS}[key]
        if shown == self.is_shown(key):
            return
        if key not in self._lanes:
            self._lanes[key] = self._built(kind)
        self._lanes[key].setVisible(shown)
        self._wall.share_out()
        if shown:
            self._feed(key)
        elif key in self._spectrograms and self._store is not None:
            self._store.want(self._spectrograms[key], [])
        self.shown_changed.emit(key, shown)

    def bring_into_sight(self, key: str) -> None:
        """Scroll the wall until the lane ``key`` is seen, if it is shown."""
        if self.is_shown(key):
            self._wall.bring_into_sight(self._lanes[key])

    def set_sounds(self, a: np.ndarray | None, b: np.ndarray | None, sample_rate: int) -> None:
        """What to draw: original and reconstruction, float32 [T], referred to and not copied.

        Give finished sounds: the pictures are made from them in another thread, and they must not change.
        """
        self._sounds = (a, b, sample_rate)
        self._difference = None
        for key in self._lanes:
            if self.is_shown(key):
                self._feed(key)

    def set_difference(self, envelope: Envelope | None) -> None:
        """The outline of reconstruction minus original, where it was made already (off the GUI thread)."""
        self._difference = envelope
        if self.is_shown("difference"):
            self._feed("difference")

    def set_error_strip(self, strip: ErrorStrip | None, moments: Sequence[Moment] = ()) -> None:
        """The error per frame and its worst moments, worst first."""
        self._strip = (strip, moments)
        if self.is_shown("error"):
            self._feed("error")

    def set_settings(self, settings: SpectrogramSettings, color_map: str) -> None:
        """Draw all spectrograms like this."""
        self._settings = (settings, color_map)
        for lane in self._spectrograms.values():
            lane.set_settings(settings, color_map)

    @property
    def heights(self) -> bytes:
        """How the wall's height is divided now, for :meth:`restore_heights`."""
        return self._wall.save_state()

    def restore_heights(self, state: bytes) -> None:
        """Divide the wall's height as it was when as many lanes were shown; anything else changes nothing."""
        self._wall.restore_state(state)

    def close(self) -> None:
        """End the thread that makes the pictures; called when the window closes."""
        if self._store is not None:
            self._store.close()

    def _built(self, kind: LaneKind) -> Lane:
        if kind.key == "error":
            lane = self._built_error()
        elif kind.key == "difference":
            lane = self._built_difference()
        else:
            lane = self._built_spectrogram(kind.key)
        self._wall.add_lane(lane, stretch=_STRETCH.get(kind.key, 3.6), index=self._place(kind))
        return lane

    def _built_error(self) -> Lane:
        from mimi_gui.ui.error_view import ErrorView

        self._error = ErrorView(self._wall.axis, self._wall.theme)
        self._error.moment_requested.connect(self.moment_requested)
        return self._error

    def _built_difference(self) -> Lane:
        lane = WaveformView(self._wall.axis, self._wall.theme, "Difference")
        lane.set_title("Difference — reconstruction minus original, as decoded")
        lane.set_color("text_dim")
        lane.placeholder = "The difference appears here once the reconstruction is complete"
        lane.set_side("D", heard=False)
        self._wall.difference = lane
        self._wall.follow_scale(lane)
        return lane

    def _built_spectrogram(self, key: str) -> Lane:
        from mimi_gui.ui.spectrogram_view import FrequencyRange, SpectrogramView
        from mimi_gui.ui.tile_store import TileStore

        if self._store is None or self._frequencies is None:
            self._store, self._frequencies = TileStore(self), FrequencyRange(self)
        lane = SpectrogramView(self._wall.axis, self._wall.theme, "Spectrogram", self._store, self._frequencies)
        lane.set_settings(*self.settings)
        lane.placeholder = "The spectrogram appears here once the sound is complete"
        lane.set_title(_SPECTROGRAM_TITLES[key])
        self._spectrograms[key] = lane
        return lane

    def _place(self, kind: LaneKind) -> int:
        """Below the lane it belongs to and below those of its kind that come before it."""
        order = [other.key for other in LANE_KINDS if other.under == kind.under]
        before = order[: order.index(kind.key)]
        anchors = [self._lanes[key] for key in before if key in self._lanes]
        return self._wall.place_of(anchors[-1] if anchors else getattr(self._wall, kind.under)) + 1

    def _feed(self, key: str) -> None:
        a, b, rate = self._sounds
        lane, spectrogram = self._lanes[key], self._spectrograms.get(key)
        complete = a is not None and b is not None
        if key == "spectrogram_difference" and spectrogram is not None:
            spectrogram.set_difference(a, b, rate)
        elif spectrogram is not None:
            spectrogram.set_sound(a if key == "spectrogram_a" else b, rate)
        elif self._error is not None and self._error is lane:
            self._error.set_strip(*self._strip)
            if self._strip[0] is None and complete:
                self.missing.emit("error")
        elif isinstance(lane, WaveformView):
            lane.set_envelope(self._difference)
            if self._difference is None and complete:
                self.missing.emit("difference")
