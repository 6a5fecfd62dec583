"""The wall: original, reconstruction and tokens stacked on one time axis, with one playhead through all of
them.

It shows what it is told and wishes by signals; it decides nothing about sound or files. GUI thread only.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QScrollBar, QVBoxLayout, QWidget

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.ui.heatmap_view import FrameGrid, HeatmapView
from mimi_gui.ui.lane import Lane
from mimi_gui.ui.lane_stack import LaneStack
from mimi_gui.ui.ruler import HEAD_PX, RULER_PX, Playhead, Ruler
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import TimeAxis
from mimi_gui.ui.time_canvas import GUTTER_PX, MARGIN_PX, TimeCanvas
from mimi_gui.ui.waveform_view import WaveformView, amplitude_limit

_SCROLL_STEPS = 1_000_000
_LEAD_SHARE = 0.06  # after a page turn the playhead stands this far from the left edge
_HINT = "Click to seek   ·   drag to loop   ·   wheel to zoom   ·   Shift+drag to move"
_SCROLL_HINT = "   ·   wheel at the left: more views"


class Wall(QWidget):
    """Stacked views on one time axis.

    Signals:
        seek_requested(float): a click: play from this second.
        loop_requested(object): ``(start_s, end_s)``, or None to clear it.
        read_out(str): what lies under the pointer; also shown in the strip at the bottom.
    """

    seek_requested = Signal(float)
    loop_requested = Signal(object)
    read_out = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.axis = TimeAxis(self)
        self._position_s = 0.0
        self._follows = True
        self._wandered = False
        self._dragging = False
        self._gain = 1.0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setProperty("bar", True)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAccessibleName("Recording, reconstruction and tokens over time")

        self.ruler = Ruler(self.axis, theme, self)
        self.source = WaveformView(self.axis, theme, "Original")
        self.source.placeholder = "Drop a recording here, or open one with Ctrl+O"
        self.reconstruction = WaveformView(self.axis, theme, "Reconstruction")
        self.reconstruction.placeholder = "What comes back from the tokens appears here"
        self.heatmap = HeatmapView(self.axis, theme)
        self.heatmap.placeholder = "The tokens appear here"
        self._stack = LaneStack(theme, self)
        self._canvases: list[TimeCanvas] = [self.ruler]
        self._connect(self.ruler)
        self.difference: Lane | None = None  # the optional lane that is marked while the difference is heard
        for lane, stretch in ((self.source, 3.0), (self.reconstruction, 3.0), (self.heatmap, 5.0)):
            self.add_lane(lane, stretch=stretch)
        self._same_scale = [self.source, self.reconstruction]
        for lane in self._same_scale:
            lane.scale_requested.connect(self._scale)

        self._bar = QScrollBar(Qt.Orientation.Horizontal)
        self._bar.setAccessibleName("Scroll along the recording")
        self._bar.valueChanged.connect(self._scrolled)
        self._strip = QLabel()
        self._strip.setProperty("dim", True)
        self._strip.setAccessibleName("Under the pointer")
        self._strip.setTextFormat(Qt.TextFormat.PlainText)
        self._hint = QLabel(_HINT)
        self._hint.setProperty("faint", True)
        foot = QHBoxLayout()
        foot.setContentsMargins(12, 1, MARGIN_PX, 4)
        foot.addWidget(self._strip, 1)
        foot.addWidget(self._hint)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.ruler)
        layout.addWidget(self._stack, 1)
        scroll_row = QHBoxLayout()
        scroll_row.setContentsMargins(GUTTER_PX, 1, MARGIN_PX, 1)
        scroll_row.addWidget(self._bar)
        layout.addLayout(scroll_row)
        layout.addLayout(foot)

        self._playhead = Playhead(theme, self, self._plot_bands)
        self._playhead.raise_()
        self._stack.arranged.connect(self._arranged)
        self._stack.overflowed.connect(self._overflowed)
        self.axis.changed.connect(self._axis_changed)
        self.set_side("A")
        self._axis_changed()

    # --- what is shown -----------------------------------------------------------------------------------

    def add_lane(self, lane: Lane, *, stretch: float = 3.0, index: int | None = None) -> None:
        """Stack one more view, built on this wall's ``axis``, at ``index`` from the top, else at the end."""
        self._stack.add(lane, stretch, index)
        lane.read_out.connect(self._show_read_out)
        self._connect(lane)
        self._canvases.append(lane)

    def shown_lanes(self) -> list[Lane]:
        """The lanes that are shown, from the top; not all need be in sight."""
        return self._stack.shown()

    def share_out(self) -> None:
        """Divide the height among the lanes that are shown, by their stretch; where it is too little, they scroll."""
        self._stack.share_out()

    def place_of(self, lane: Lane) -> int:
        """Where this lane stands from the top, 0 the first; hidden ones count."""
        return self._stack.place_of(lane)

    def bring_into_sight(self, lane: Lane) -> None:
        """Scroll until ``lane`` is seen."""
        self._stack.bring_into_sight(lane)

    def follow_scale(self, lane: WaveformView) -> None:
        """Show one more waveform with the amplitude scale of the others."""
        self._same_scale.append(lane)
        lane.scale_requested.connect(self._scale)
        self._set_limits()

    def set_duration(self, duration_s: float) -> None:
        """The recording is this long; 0 when nothing is open."""
        self.axis.set_duration(duration_s)

    def set_source(self, envelope: Envelope | None, title: str) -> None:
        """Show the original, e.g. titled "Original — jfk.flac, 44.1 kHz mono"; call again when it has
        grown."""
        self.source.set_title(title)
        self.source.set_envelope(envelope)
        self._set_limits()

    def set_reconstruction(self, envelope: Envelope | None, title: str) -> None:
        """Show the reconstruction; call again when it has grown."""
        self.reconstruction.set_title(title)
        self.reconstruction.set_envelope(envelope)
        self._set_limits()

    def set_codes(self, codes: np.ndarray | None, grid: FrameGrid | None, num_ready: int | None = None) -> None:
        """Show tokens, integer [K, T]; while they are made, a preallocated array of which ``num_ready`` are
        valid."""
        self.heatmap.set_codes(codes, grid, num_ready)

    def set_codes_title(self, title: str) -> None:
        """Title of the heatmap, e.g. "Tokens — 32 codebooks x 138 frames"."""
        self.heatmap.set_title(title)

    def set_codes_ready(self, num_frames: int) -> None:
        """The first ``num_frames`` frames of the tokens are valid now."""
        self.heatmap.set_ready(num_frames)

    def set_num_codebooks(self, num_codebooks: int) -> None:
        """Dim the rows that are not decoded."""
        self.heatmap.set_num_codebooks(num_codebooks)

    def set_side(self, side: str) -> None:
        """Highlight what is heard: "A" the original, "B" the reconstruction, "D" their difference, "" nothing told."""
        self.source.set_side("A", heard=side == "A")
        self.reconstruction.set_side("B", heard=side == "B")
        if self.difference is not None:
            self.difference.set_side("D", heard=side == "D")

    def set_theme(self, theme: Theme) -> None:
        """Draw everything in another theme."""
        self.theme = theme
        for canvas in self._canvases:
            canvas.set_theme(theme)
        self._stack.set_theme(theme)
        self._playhead.set_theme(theme)

    # --- where ------------------------------------------------------------------------------------------

    def set_position(self, seconds: float, *, playing: bool = True) -> None:
        """Move the playhead; called once per tick of the display."""
        self._position_s = seconds
        axis = self.axis
        in_sight = axis.start_s <= seconds < axis.end_s
        if in_sight:
            self._wandered = False
        elif playing and self._follows and not self._wandered and not self._dragging and not axis.is_fitted:
            axis.pan(seconds - _LEAD_SHARE * axis.span_s - axis.start_s)
        self._place_playhead()

    def set_loop(self, loop: tuple[float, float] | None) -> None:
        """Show this loop region, or none."""
        self.axis.set_loop(loop)

    def set_follow(self, follows: bool) -> None:
        """Turn the page when the playhead runs out of sight. Never while something is dragged, nor after the
        person went to look elsewhere, until the playhead is in sight again."""
        self._follows = follows
        self._wandered = False

    @property
    def follows(self) -> bool:
        """Whether the view follows the playhead."""
        return self._follows

    def show_position(self) -> None:
        """Bring the playhead into sight, whatever was looked at before."""
        self._wandered = False
        if not self.axis.start_s <= self._position_s < self.axis.end_s:
            self.axis.pan(self._position_s - self.axis.span_s / 2 - self.axis.start_s)

    def fit(self) -> None:
        """Show the whole recording."""
        self.axis.fit()

    def zoom_to_selection(self) -> None:
        """Show the loop region with a little air on both sides; without a loop nothing happens."""
        if self.axis.loop is not None:
            start_s, end_s = self.axis.loop
            air = 0.03 * (end_s - start_s)
            self.axis.set_range(start_s - air, end_s + air)
            self._wander()

    def zoom(self, factor: float) -> None:
        """Zoom by keys or menu: at the playhead while it is in sight, else at the middle."""
        axis = self.axis
        in_sight = axis.start_s <= self._position_s < axis.end_s
        axis.zoom(factor, self._position_s if in_sight else axis.start_s + axis.span_s / 2)

    def pan(self, share: float) -> None:
        """Move by this share of what is in sight; positive shows what comes later."""
        self.axis.pan(share * self.axis.span_s)
        self._wander()

    def save_state(self) -> bytes:
        """How the height is divided, to be kept in the settings."""
        return self._stack.save_state()

    def restore_state(self, state: bytes) -> None:
        """Divide the height as :meth:`save_state` found it; anything else changes nothing."""
        self._stack.restore_state(state)

    # --- inside -----------------------------------------------------------------------------------------

    def _plot_bands(self) -> list[tuple[int, int]]:
        """Top and bottom of the ruler's foot and of what is in sight of each plot, in this widget's pixels."""
        bands = [(RULER_PX - 6, RULER_PX)]
        view = self._stack.geometry()
        for lane in self._stack.shown():
            plot = lane.plot_rect()
            plot.moveTopLeft(lane.mapTo(self, plot.topLeft()))
            plot &= view
            if not plot.isEmpty():
                bands.append((plot.top(), plot.top() + plot.height()))
        return bands

    def _connect(self, canvas: TimeCanvas) -> None:
        canvas.seek_requested.connect(self._seek)
        canvas.loop_requested.connect(self.loop_requested)
        canvas.dragging_changed.connect(self._set_dragging)
        canvas.navigated.connect(self._wander)
        canvas.pointed.connect(self.ruler.point_at)
        canvas.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        canvas.setFocusProxy(self)

    def _seek(self, seconds: float) -> None:
        self._wandered = False
        self.seek_requested.emit(seconds)

    def _set_dragging(self, dragging: bool) -> None:
        self._dragging = dragging

    def _wander(self) -> None:
        self._wandered = not self.axis.start_s <= self._position_s < self.axis.end_s

    def _scale(self, factor: float) -> None:
        self._gain = min(max(self._gain * factor, 1.0), 1000.0)
        self._set_limits()

    def _set_limits(self) -> None:
        peak = max(self.source.peak, self.reconstruction.peak)
        limit = amplitude_limit(peak) / self._gain
        for lane in self._same_scale:
            lane.set_limit(limit)

    def _show_read_out(self, words: str) -> None:
        self._strip.setText(words)
        self._show_hint()
        self.read_out.emit(words)

    def _show_hint(self) -> None:
        """While nothing is read out: both would not fit."""
        self._hint.setVisible(self.width() > 900 and not self._strip.text())

    def _axis_changed(self) -> None:
        axis = self.axis
        hidden = max(axis.duration_s - axis.span_s, 0.0)
        self._bar.blockSignals(True)
        if hidden <= 0:
            self._bar.setRange(0, 0)
        else:
            unit = _SCROLL_STEPS / axis.duration_s
            self._bar.setRange(0, round(hidden * unit))
            self._bar.setPageStep(max(round(axis.span_s * unit), 1))
            self._bar.setSingleStep(max(round(axis.span_s * unit / 10), 1))
            self._bar.setValue(round(axis.start_s * unit))
        self._bar.blockSignals(False)
        self._place_playhead()

    def _scrolled(self, value: int) -> None:
        self.axis.pan(value * self.axis.duration_s / _SCROLL_STEPS - self.axis.start_s)
        self._wander()

    def _place_playhead(self) -> None:
        axis = self.axis
        x = GUTTER_PX + round(axis.s_to_x(self._position_s)) - HEAD_PX // 2
        shown = axis.duration_s > 0 and axis.start_s <= self._position_s <= axis.end_s
        if shown:
            self._playhead.move(x, 0)
        if self._playhead.isVisibleTo(self) != shown:
            self._playhead.setVisible(shown)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.axis.set_width(max(self.width() - GUTTER_PX - MARGIN_PX, 1))
        self._show_hint()
        self._place_playhead()

    def _arranged(self) -> None:
        self._playhead.resize(HEAD_PX, max(self._stack.geometry().bottom() + 1, RULER_PX))
        self._playhead.update()

    def _overflowed(self, overflows: bool) -> None:
        self._hint.setText(_HINT + _SCROLL_HINT if overflows else _HINT)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left/Right move along, Up/Down zoom, with Shift scroll the views, Home/End jump, Escape clears the loop."""
        key = Qt.Key(event.key())
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self.pan(0.1 if key == Qt.Key.Key_Right else -0.1)
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and shift:
            self._stack.step(down=key == Qt.Key.Key_Down)
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.zoom(1.5 if key == Qt.Key.Key_Up else 1 / 1.5)
        elif key in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            self.pan(0.9 if key == Qt.Key.Key_PageDown else -0.9)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            self._seek(0.0 if key == Qt.Key.Key_Home else self.axis.duration_s)
        elif key == Qt.Key.Key_Escape and self.axis.loop is not None:
            self.loop_requested.emit(None)
        else:
            super().keyPressEvent(event)
