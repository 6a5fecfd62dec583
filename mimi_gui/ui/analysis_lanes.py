"""The wall's further views: spectrograms, the difference as a waveform, the error per frame.

They are built when first shown and dropped from drawing when hidden. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QObject, Signal

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.analysis.error_strip import ErrorStrip, Moment
from mimi_gui.analysis.spectrogram import SpectrogramSettings
from mimi_gui.ui.error_view import ErrorView
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.spectrogram_view import FrequencyRange, SpectrogramView
from mimi_gui.ui.tile_store import TileStore
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.waveform_view import WaveformView


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
        self._store = TileStore(self)
        self.frequencies = FrequencyRange(self)
        self._lanes: dict[str, Lane] = {}
        self._settings = SpectrogramSettings()
        self._color_map = "ember"
        self._sounds: tuple[np.ndarray | None, np.ndarray | None, int] = (None, None, 1)
        self._difference: Envelope | None = None
        self._strip: tuple[ErrorStrip | None, Sequence[Moment]] = (None, ())

    @property
    def settings(self) -> tuple[SpectrogramSettings, str]:
        """How spectrograms are drawn, and the colour map's key."""
        return self._settings, self._color_map

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
        elif isinstance(self._lanes[key], SpectrogramView):
            self._store.want(self._lanes[key], [])
        self.shown_changed.emit(key, shown)

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
        self._settings, self._color_map = settings, color_map
        for lane in self._lanes.values():
            if isinstance(lane, SpectrogramView):
                lane.set_settings(settings, color_map)

    def close(self) -> None:
        """End the thread that makes the pictures; called when the window closes."""
        self._store.close()

    def _built(self, kind: LaneKind) -> Lane:
        wall = self._wall
        if kind.key == "error":
            lane: Lane = ErrorView(wall.axis, wall.theme)
            lane.moment_requested.connect(self.moment_requested)
        elif kind.key == "difference":
            lane = WaveformView(wall.axis, wall.theme, "Difference")
            lane.set_title("Difference — reconstruction minus original, as decoded")
            lane.set_color("text_dim")
            wall.follow_scale(lane)
            lane.placeholder = "The difference appears here once the reconstruction is complete"
        else:
            lane = SpectrogramView(wall.axis, wall.theme, "Spectrogram", self._store, self.frequencies)
            lane.set_settings(self._settings, self._color_map)
            lane.placeholder = "The spectrogram appears here once the sound is complete"
            title = {
                "spectrogram_a": "Spectrogram — original, what Mimi heard",
                "spectrogram_b": "Spectrogram — reconstruction",
                "spectrogram_difference": "Spectrogram — difference: blue is lost, orange is added, ±30 dB",
            }[kind.key]
            lane.set_title(title)
        wall.add_lane(lane, stretch=_STRETCH.get(kind.key, 3.6), index=self._place(kind))
        return lane

    def _place(self, kind: LaneKind) -> int:
        """Below the lane it belongs to and below those of its kind that come before it."""
        order = [other.key for other in LANE_KINDS if other.under == kind.under]
        before = order[: order.index(kind.key)]
        anchors = [self._lanes[key] for key in before if key in self._lanes]
        return self._wall.place_of(anchors[-1] if anchors else getattr(self._wall, kind.under)) + 1

    def _feed(self, key: str) -> None:
        lane = self._lanes[key]
        a, b, rate = self._sounds
        if isinstance(lane, ErrorView):
            lane.set_strip(*self._strip)
            if self._strip[0] is None and a is not None and b is not None:
                self.missing.emit("error")
        elif isinstance(lane, WaveformView):
            lane.set_envelope(self._difference)
            if self._difference is None and a is not None and b is not None:
                self.missing.emit("difference")
        elif isinstance(lane, SpectrogramView):
            if key == "spectrogram_difference":
                lane.set_difference(a, b, rate)
            else:
                lane.set_sound(a if key == "spectrogram_a" else b, rate)
