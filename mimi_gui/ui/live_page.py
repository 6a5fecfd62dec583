"""The live page: hear yourself through Mimi, see the tokens run by, and how late it is.

It shows what a :class:`~mimi_gui.ui.live_control.LiveControl` says and passes wishes on to it. Keys: Space starts and
ends, M mutes, 1 to 6 choose 1, 2, 4, 8, 16 or 32 codebooks, Alt+Up and Alt+Down one more or less, Return keeps,
Escape leaves. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QHideEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.codes import CodecInfo
from mimi_gui.sound_watch import SoundDevices
from mimi_gui.ui import live_control as live
from mimi_gui.ui.codebooks_control import CodebooksControl
from mimi_gui.ui.device_picker import DevicePicker
from mimi_gui.ui.elided_label import ElidedLabel
from mimi_gui.ui.heatmap_view import HeatmapView
from mimi_gui.ui.icons import icon
from mimi_gui.ui.lane import GUTTER_PX, MARGIN_PX
from mimi_gui.ui.latency_bar import LatencyBar
from mimi_gui.ui.live_card import LiveCard
from mimi_gui.ui.live_control import LiveControl
from mimi_gui.ui.mixer_panel import MixerPanel
from mimi_gui.ui.page_head import PageHead
from mimi_gui.ui.remark import Remark
from mimi_gui.ui.running_lane import RunningLane
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import Theme, figures_font
from mimi_gui.ui.time_axis import TimeAxis, format_time

_SPAN_S = 12.0
_MARGINS_PX = 36  # of the page, left and right together
_ROOMY_PX = 760  # a lower page has no room for the mixer beside the warning
_HIGH_S = 0.3  # beyond, speaking while hearing oneself is hard
_COUNTS = {
    Qt.Key.Key_1: 1, Qt.Key.Key_2: 2, Qt.Key.Key_3: 4, Qt.Key.Key_4: 8, Qt.Key.Key_5: 16, Qt.Key.Key_6: 32,
}  # fmt: skip
_KEYS = {
    Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape, Qt.Key.Key_M, Qt.Key.Key_Up,
    Qt.Key.Key_Down, *_COUNTS,
}  # fmt: skip
HINT = "Nothing is recorded"
SLOW_HINT = "Live falls behind"


class LivePage(QWidget):
    """See the module's docstring.

    Signals:
        left(): go back to where the person came from.
        help_requested(str): a heading of TROUBLESHOOTING.md.
        rescan_requested(): look for devices again.
    """

    left = Signal()
    help_requested = Signal(str)
    rescan_requested = Signal()

    def __init__(
        self, control: LiveControl, settings: SettingsStore, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._control, self._settings, self._theme = control, settings, theme
        self._info = CodecInfo()
        self._shown: object = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Live")
        self.microphone = DevicePicker("Microphone", theme)
        self.output = DevicePicker("Output", theme)
        for picker in (self.microphone, self.output):
            picker.setMinimumWidth(250)
        self.head = PageHead("Live", "Back (Esc)", (("Microphone", self.microphone), ("Output", self.output)))
        self.back = self.head.back
        self.back.clicked.connect(self.left)
        self.remark = Remark(theme)
        self.remark.help_requested.connect(self.help_requested)
        self.card = LiveCard(theme)
        self.axis = TimeAxis(self)
        self.heatmap = HeatmapView(self.axis, theme)
        self.said = RunningLane(self.axis, theme, "You")
        self.heard = RunningLane(self.axis, theme, "Mimi")
        self.said.set_side("A", heard=False)
        self.lanes = QSplitter(Qt.Orientation.Vertical)
        self.lanes.setHandleWidth(1)
        self.lanes.setChildrenCollapsible(False)
        for lane, weight in ((self.said, 3), (self.heatmap, 5), (self.heard, 3)):
            lane.setToolTip("")
            lane.setEnabled(False)  # it runs; there is nothing to point at
            lane.placeholder = "Nothing yet"
            self.lanes.addWidget(lane)
            self.lanes.setStretchFactor(self.lanes.count() - 1, weight)

        self.codebooks = CodebooksControl(theme, self._info)
        self.latency = LatencyBar(theme)
        self.counts = QLabel()
        self.counts.setProperty("dim", True)
        self.counts.setFont(figures_font(self.font()))
        self.counts.setAccessibleName("Frames")
        self.counts.setToolTip(
            "Dropped: skipped because the codec was too slow even for two or three frames at once.\n"
            "Late: a gap was heard because a frame came too late; nothing of it was lost.\n"
            "Busy: the share of a frame's 80 ms that the codec computes. Beyond 80 % every bad moment is heard."
        )
        self.counts.setMinimumWidth(self.counts.fontMetrics().horizontalAdvance("100,000 of 1,000,000 frames dropped"))
        measured = QHBoxLayout()
        measured.setSpacing(18)
        measured.addWidget(self.latency, 1)
        measured.addWidget(self.counts)
        self.mixer = MixerPanel(theme, can_pin=False)
        self.mixer.setFixedHeight(186)
        self.mixer.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.mixer.hide()  # until it is known how high the page is
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("End the session (Space)")
        self.mute = QPushButton("Mute")
        self.mute.setCheckable(True)
        self.mute.setToolTip("No sound from Mimi; everything else goes on (M)")
        self.keep = QPushButton("Keep and open")
        self.keep.setToolTip("Save the tokens and both sounds, and compare them (Return)")
        self.words = ElidedLabel()
        self.words.setProperty("dim", True)
        foot = QHBoxLayout()
        foot.setSpacing(12)
        foot.addWidget(self.codebooks)
        foot.addSpacing(6)
        foot.addWidget(self.words, 1)
        for button in (self.mute, self.stop, self.keep):
            button.setMinimumHeight(36)
            button.setIconSize(QSize(20, 20))
            foot.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.setSpacing(10)
        layout.addLayout(self.head)
        layout.addWidget(self.remark)
        layout.addWidget(self.card)
        layout.addWidget(self.lanes, 1)
        layout.addLayout(measured)
        layout.addWidget(self.mixer)
        layout.addLayout(foot)
        self.codebooks.set_value(len(control.codebooks))
        self.mixer.set_active(control.codebooks)
        self._bind()
        self.set_theme(theme)
        self._changed()
        self._ticked()

    def _bind(self) -> None:
        control = self._control
        control.changed.connect(self._changed)
        control.ticked.connect(self._ticked)
        self.card.start_requested.connect(self._start)
        self.stop.clicked.connect(control.stop)
        self.mute.toggled.connect(control.set_muted)
        self.keep.clicked.connect(control.keep)
        self.codebooks.value_changed.connect(self._count_chosen)
        self.mixer.mix_changed.connect(self._mix_chosen)
        self.microphone.chosen.connect(self._microphone_chosen)
        self.output.chosen.connect(self._output_chosen)
        for picker in (self.microphone, self.output):
            picker.rescan_requested.connect(self.rescan_requested)

    # Facts

    def set_devices(self, devices: SoundDevices) -> None:
        """List what there is."""
        value = self._settings.value
        self.microphone.set_devices(devices.inputs, value.input_device, devices.default_input)
        self.output.set_devices(devices.outputs, value.output_device, devices.default_output)

    @Slot()
    def _changed(self) -> None:
        control = self._control
        state = control.state
        if control.running is not self._shown:
            self._take_running()
        is_on = self._is_on
        if is_on:
            self.card.hide()  # never both, where the page is low: the window would grow
        self._show_mixer()
        self.card.setVisible(not is_on)
        self.card.set_again(state == live.ENDED)
        self.microphone.setEnabled(not is_on)
        self.output.setEnabled(not is_on)
        self.stop.setEnabled(state in (live.STARTING, live.RUNNING))
        self.keep.setEnabled(control.can_keep)
        self.keep.setProperty("primary", control.can_keep)
        self.keep.setIcon(icon("save", self._theme, "accent_text" if control.can_keep else "text"))
        self.keep.style().polish(self.keep)
        self.mute.blockSignals(True)
        self.mute.setChecked(control.is_muted)
        self.mute.blockSignals(False)
        self.mute.setEnabled(is_on)
        self.mute.setText("Unmute" if control.is_muted else "Mute")
        self.mute.setIcon(icon("muted" if control.is_muted else "speaker", self._theme))
        self.heatmap.set_heard_codebooks(control.codebooks)
        self.heard.set_side("B", heard=state == live.RUNNING and not control.is_muted)
        self.words.setText(self._state_words())
        self._show_remark()

    @property
    def _is_on(self) -> bool:
        return self._control.state in (live.STARTING, live.RUNNING, live.STOPPING)

    def _show_mixer(self) -> None:
        """Where the page is low, only while there is something to mix: the window must fit a screen of 720 rows."""
        self.mixer.setVisible(self._is_on or self.height() >= _ROOMY_PX)

    def _take_running(self) -> None:
        """Another session: its tokens and spectrograms from now on."""
        running = self._shown = self._control.running
        if running is None:
            self.heatmap.set_codes(None, None)
            self.said.set_running(None)
            self.heard.set_running(None)
            return
        self._info = running.info
        self.codebooks.set_info(running.info)
        self.codebooks.set_range(running.info.num_codebooks)
        self.mixer.set_num_codebooks(running.info.num_codebooks, running.info.num_semantic_codebooks)
        self.mixer.set_active(self._control.codebooks)
        self.heatmap.set_codes(running.loop.all_codes, running.info, 0)
        self.said.set_running(running.said)
        self.heard.set_running(running.heard)

    @Slot()
    def _ticked(self) -> None:
        control, figures = self._control, self._control.figures
        self.latency.set_figures(figures)
        dropped = f"{figures.num_skipped:,} of {figures.num_frames:,} frames dropped"
        share = f"{100 * figures.skipped_share:.2f} %, " if figures.num_skipped else ""
        times = "once" if figures.num_late == 1 else f"{figures.num_late:,} times"
        late = f"late {times}" if figures.num_late else "never late"
        busy = f", codec {100 * figures.busy_s / figures.frame_s:.0f} % busy" if figures.busy_s else ""
        self.counts.setText(f"{dropped}\n{share}{late}{busy}")
        frames = control.num_frames
        seconds = self._info.frame_to_s(frames)
        self.axis.set_duration(max(seconds, _SPAN_S))
        self.axis.set_range(self.axis.duration_s - _SPAN_S, self.axis.duration_s)
        if control.running is not None:
            self.heatmap.set_ready(frames)
            self.said.refresh()
            self.heard.refresh()
        self.words.setText(self._state_words())
        self._show_remark()

    def _state_words(self) -> str:
        control = self._control
        elapsed = format_time(self._info.frame_to_s(control.num_frames), 1)
        if control.state == live.RUNNING and control.running is not None:
            microphone, output = control.running.loop.devices
            rate = f"{control.running.loop.device_rate / 1000:g} kHz"
            return f"{elapsed}   ·   {microphone} → Mimi → {'muted' if control.is_muted else output}   ·   {rate}"
        if control.is_keeping:
            return "Saving …"
        return {
            live.STARTING: "Opening the devices …",
            live.STOPPING: "Ending …",
            live.ENDED: f"{elapsed} can be kept",
        }.get(control.state, "")

    def _show_remark(self) -> None:
        control, figures = self._control, self._control.figures
        latency_s = figures.latency_s
        if control.problem:
            self.remark.say("error", control.problem, HINT)
        elif control.state != live.RUNNING:
            self.remark.say("", "")
        elif figures.is_behind:
            self.remark.say(
                "warning",
                "The codec is slower than the sound: whole frames of 80 ms are skipped, so the delay does not grow."
                " Close other programs, or use a GPU.",
                SLOW_HINT,
            )
        elif figures.peak >= 0.999:
            self.remark.say("warning", "The microphone is too loud: turn it down, or mute, if it howls.", SLOW_HINT)
        elif latency_s is not None and latency_s - figures.compute_s > _HIGH_S:
            self.remark.say(
                "info",
                "You are heard late: Bluetooth devices and a busy computer do that. Use wired headphones, and close"
                " other programs.",
                SLOW_HINT,
            )
        else:
            self.remark.say("", "")

    # Wishes

    def _start(self, muted: bool) -> None:
        self._control.start(muted=muted)
        self.setFocus()

    def _count_chosen(self, count: int) -> None:
        self.mixer.set_active(range(count))
        self._control.set_codebooks(tuple(range(count)))

    def _mix_chosen(self, codebooks: object) -> None:
        self._control.set_codebooks(tuple(codebooks))  # pyright: ignore[reportArgumentType] - a tuple of int

    def _microphone_chosen(self, name: str) -> None:
        self._settings.update(input_device=name)

    def _output_chosen(self, name: str) -> None:
        self._settings.update(output_device=name)

    def _set_count(self, count: int) -> None:
        count = min(max(count, 1), self._info.num_codebooks)
        self.codebooks.set_value(count)
        self._count_chosen(count)

    def event(self, event: QEvent) -> bool:
        """Ask for this page's keys before the window's shortcuts take them."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and event.key() in _KEYS:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """See the module's docstring; a control that has the keyboard comes first."""
        key = Qt.Key(event.key())
        if key == Qt.Key.Key_Space and not event.isAutoRepeat():
            if self.stop.isEnabled():
                self._control.stop()
            elif self.card.isVisible():
                self.card.setFocus()  # never sound without a look at the warning
        elif key == Qt.Key.Key_M and self.mute.isEnabled():
            self.mute.toggle()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.keep.click()
        elif key == Qt.Key.Key_Escape:
            self.left.emit()
        elif key in _COUNTS:
            self._set_count(_COUNTS[key])
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self._set_count(self.codebooks.value + (1 if key == Qt.Key.Key_Up else -1))
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """The warning first: nothing sounds before it is answered."""
        super().showEvent(event)
        if not event.spontaneous():
            self.card.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        """Whoever leaves the page is not heard any more; a window that is made small is not left."""
        super().hideEvent(event)
        if not event.spontaneous():
            self._control.stop()

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        for part in (self.microphone, self.output, self.remark, self.card, self.heatmap, self.said, self.heard,
                     self.codebooks, self.mixer):  # fmt: skip
            part.set_theme(theme)
        self.latency.theme = theme
        self.latency.update()
        self.head.draw_icons(theme)
        self.stop.setIcon(icon("stop", theme))
        self._changed()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The axis is as wide as the plots."""
        super().resizeEvent(event)
        self.axis.set_width(self.width() - _MARGINS_PX - GUTTER_PX - MARGIN_PX)
        self._show_mixer()
