"""The page that records: which microphone, how loud, a waveform that grows, and three buttons.

It shows what a :class:`~mimi_gui.ui.microphone.Microphone` says and passes wishes on to it. Keys: Space records,
pauses and goes on; Return stops and opens; Escape leaves. GUI thread only.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QHideEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.sound_watch import SoundDevices
from mimi_gui.ui import microphone as mic
from mimi_gui.ui.device_picker import DevicePicker
from mimi_gui.ui.elided_label import ElidedLabel
from mimi_gui.ui.icons import icon
from mimi_gui.ui.lane import GUTTER_PX, MARGIN_PX
from mimi_gui.ui.level_meter import LevelMeter
from mimi_gui.ui.microphone import Microphone
from mimi_gui.ui.page_head import PageHead
from mimi_gui.ui.remark import Remark
from mimi_gui.ui.ruler import Ruler
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import Theme, figures_font, heading_font
from mimi_gui.ui.time_axis import TimeAxis, format_time
from mimi_gui.ui.waveform_view import WaveformView, amplitude_limit

_SPAN_S = 15.0  # of the running waveform
_MARGINS_PX = 36  # of the page, left and right together
_COUNTDOWNS_S = (0, 3, 5, 10)
_KEYS = (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape)
HINT = "Nothing is recorded"
_SILENT = (
    "Only digital silence comes from this microphone: it is muted, or the system keeps it from Mimi GUI. Allow it in"
    " the system's privacy settings, or choose another one."
)
_CLIPPED = "The microphone was too loud: sound was cut off. Turn it down, or go further away."


class RecordPage(QWidget):
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
        self, microphone: Microphone, settings: SettingsStore, theme: Theme, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._microphone, self._settings, self._theme = microphone, settings, theme
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Record")
        self.picker = DevicePicker("Microphone", theme)
        self.picker.setMinimumWidth(300)
        self.countdown = QComboBox()
        self.countdown.setAccessibleName("Countdown")
        self.countdown.setToolTip("Time to get ready between the button and the recording")
        for seconds in _COUNTDOWNS_S:
            self.countdown.addItem(f"{seconds} s" if seconds else "none", seconds)
        self.countdown.setCurrentIndex(max(self.countdown.findData(settings.value.countdown_s), 0))
        choices = (("Microphone", self.picker), ("Countdown", self.countdown))
        self.head = PageHead("Record", "Back (Esc); a recording goes on meanwhile", choices)
        self.back = self.head.back
        self.back.clicked.connect(self.left)

        self.axis = TimeAxis(self)
        self.ruler = Ruler(self.axis, theme)
        self.ruler.setEnabled(False)
        self.ruler.setToolTip("")
        self.wave = WaveformView(self.axis, theme, "Recording")
        self.wave.setEnabled(False)  # it runs; there is nothing to point at yet
        self.wave.setToolTip("")
        self.wave.set_color("side_a")
        self.wave.placeholder = "What you say appears here"
        self.meter = LevelMeter(theme)
        self.remark = Remark(theme)
        self.remark.help_requested.connect(self._help)

        self.elapsed = QLabel()
        self.elapsed.setFont(figures_font(heading_font(self.font(), 2.6), bold=True))
        self.elapsed.setAccessibleName("Elapsed time")
        self.elapsed.setMinimumWidth(self.elapsed.fontMetrics().horizontalAdvance("0:00:00.0"))
        self.words = ElidedLabel()
        self.words.setProperty("dim", True)
        self.folder = QPushButton("Folder …")
        self.folder.clicked.connect(self._choose_folder)
        self.keeps = QCheckBox("Also keep what Mimi hears (24 kHz mono)")
        self.keeps.setToolTip("Beside the recording at the microphone's own rate, a second file as Mimi hears it")
        self.keeps.setChecked(settings.value.keeps_heard)
        self.main = QPushButton()
        self.main.setProperty("primary", True)
        self.done = QPushButton("Stop and open")
        self.done.setToolTip("End the recording, encode it and compare (Return)")
        for button in (self.main, self.done):
            button.setIconSize(QSize(20, 20))
            button.setMinimumHeight(38)
        self.main.setMinimumWidth(130)
        foot = QHBoxLayout()
        foot.setSpacing(12)
        foot.addWidget(self.elapsed)
        foot.addWidget(self.words, 1)
        foot.addWidget(self.main)
        foot.addWidget(self.done)
        keep = QHBoxLayout()
        keep.setSpacing(12)
        self.place = ElidedLabel(mode=Qt.TextElideMode.ElideMiddle, has_own_tip=True)
        self.place.setProperty("faint", True)
        keep.addWidget(self.keeps)
        keep.addWidget(self.place, 1)
        keep.addWidget(self.folder)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 14)
        layout.setSpacing(10)
        layout.addLayout(self.head)
        layout.addWidget(self.remark)
        layout.addWidget(self.ruler)
        layout.addWidget(self.wave, 1)
        layout.addWidget(self.meter)
        layout.addLayout(foot)
        layout.addLayout(keep)
        self.picker.chosen.connect(microphone.use_device)
        self.picker.rescan_requested.connect(self._look_again)
        self.countdown.activated.connect(self._countdown_chosen)
        self.keeps.toggled.connect(self._keeps_toggled)
        self.main.clicked.connect(microphone.record)
        self.done.clicked.connect(microphone.stop)
        microphone.changed.connect(self._changed)
        microphone.ticked.connect(self._ticked)
        self.set_theme(theme)
        self._changed()
        self._ticked()

    # Facts

    def set_devices(self, devices: SoundDevices) -> None:
        """List the microphones there are."""
        self.picker.set_devices(devices.inputs, self._settings.value.input_device, devices.default_input)

    @Slot()
    def _changed(self) -> None:
        state = self._microphone.state
        theme = self._theme
        words, name, color = {
            mic.COUNTDOWN: ("Cancel", "close", "accent_text"),
            mic.RECORDING: ("Pause", "pause", "accent_text"),
            mic.PAUSED: ("Go on", "record", "accent_text"),
        }.get(state, ("Record", "record", "accent_text"))
        self.main.setText(words)
        self.main.setIcon(icon(name, theme, color))
        self.main.setToolTip(f"{words} (Space)")
        self.main.setEnabled(state in (mic.READY, mic.COUNTDOWN, mic.RECORDING, mic.PAUSED))
        self.done.setEnabled(state in (mic.RECORDING, mic.PAUSED))
        self.picker.setEnabled(not self._microphone.is_taking)
        self.folder.setEnabled(not self._microphone.is_taking)
        self.place.setText(f"Kept in {self._microphone.folder()}")
        self.place.setToolTip(str(self._microphone.folder()))
        self._ticked()

    @Slot()
    def _ticked(self) -> None:
        microphone = self._microphone
        level = microphone.level
        self.meter.set_level(level.peak_db, level.rms_db, level.num_clipped)
        outline = microphone.outline
        if microphone.is_taking and outline is not None:
            seconds = outline.duration_s
            self.axis.set_duration(max(seconds, _SPAN_S))
            self.axis.set_range(self.axis.duration_s - _SPAN_S, self.axis.duration_s)
            self.wave.set_limit(amplitude_limit(max(outline.peak, 0.05)))
            self.wave.set_envelope(outline)
        self.elapsed.setText(self._big_words())
        self.words.setText(self._small_words())
        self._show_remark()

    def _big_words(self) -> str:
        microphone = self._microphone
        if microphone.state == mic.COUNTDOWN:
            return f"−{math.ceil(microphone.countdown_s)}"
        return format_time(microphone.duration_s if microphone.is_taking else 0.0, 0.1)

    def _small_words(self) -> str:
        microphone = self._microphone
        return {
            mic.CLOSED: "",
            mic.OPENING: "Opening the microphone …",
            mic.COUNTDOWN: "Get ready …",
            mic.RECORDING: f"Recording   ·   {microphone.facts}",
            mic.PAUSED: f"Paused: what is said now is left out   ·   {microphone.facts}",
            mic.STOPPING: "Saving …",
            mic.READY: f"Listening, nothing is kept yet   ·   {microphone.facts}",
            mic.FAILED: "No microphone",
        }[microphone.state]

    def _show_remark(self) -> None:
        microphone = self._microphone
        if microphone.problem:
            self.remark.say("error", microphone.problem, HINT)
        elif microphone.is_dead and microphone.state != mic.OPENING:
            self.remark.say("warning", _SILENT, HINT)
        elif self.meter.num_clipped:
            self.remark.say("warning", _CLIPPED)
        else:
            self.remark.say("", "")

    # Wishes

    def _countdown_chosen(self) -> None:
        self._settings.update(countdown_s=int(self.countdown.currentData()))

    def _keeps_toggled(self, on: bool) -> None:
        self._settings.update(keeps_heard=on)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Keep recordings in", str(self._microphone.folder()))
        if folder:
            self._settings.update(takes_folder=folder)
            self._changed()

    def _look_again(self) -> None:
        self.rescan_requested.emit()
        if self._microphone.state in (mic.FAILED, mic.CLOSED):
            self._microphone.open()

    def _help(self, hint: str) -> None:
        self.help_requested.emit(hint)

    def event(self, event: QEvent) -> bool:
        """Ask for this page's keys before the window's shortcuts take them."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and event.key() in _KEYS:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Space, Return and Escape, unless a control that has the keyboard wants them."""
        if event.key() == Qt.Key.Key_Space and not event.isAutoRepeat():
            self.main.click()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.done.click()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QShowEvent) -> None:
        """Listen while the page is in sight."""
        super().showEvent(event)
        if event.spontaneous():
            return
        if not self._microphone.is_taking:  # the last take is elsewhere by now
            self.wave.set_envelope(None)
            self.axis.set_duration(_SPAN_S)
            self.axis.fit()
        self._microphone.open()
        self.setFocus()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The axis is as wide as the plots."""
        super().resizeEvent(event)
        self.axis.set_width(self.width() - _MARGINS_PX - GUTTER_PX - MARGIN_PX)

    def hideEvent(self, event: QHideEvent) -> None:
        """Let the microphone go; a running take goes on. A window that is made small is not left."""
        super().hideEvent(event)
        if event.spontaneous():
            return
        if self._microphone.state == mic.COUNTDOWN:
            self._microphone.stop()
        self._microphone.close()

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self._theme = theme
        for part in (self.picker, self.ruler, self.wave, self.meter, self.remark):
            part.set_theme(theme)
        self.head.draw_icons(theme)
        self.done.setIcon(icon("stop", theme))
        self.folder.setIcon(icon("open", theme))
        self._changed()
