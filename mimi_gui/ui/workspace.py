"""The open recording: its line of facts, the wall of views and the transport, bound to session and player.

GUI thread only. Nothing is decided here: facts go to the views, wishes to the session and the transport.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from mimi_gui.audio import AudioInfo
from mimi_gui.codes import CodecInfo
from mimi_gui.ui.codebooks_control import CodebooksControl
from mimi_gui.ui.drag_chip import DragChip
from mimi_gui.ui.elided_label import ElidedLabel
from mimi_gui.ui.level_match import match_words
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.theme import Theme, heading_font
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.transport_bar import TransportBar


def rate_words(sample_rate: int) -> str:
    """44100 -> "44.1 kHz"."""
    return f"{sample_rate / 1000:g} kHz"


def channel_words(num_channels: int) -> str:
    """2 -> "stereo"."""
    return {1: "mono", 2: "stereo"}.get(num_channels, f"{num_channels} channels")


def format_words(source: AudioInfo | None, codec: CodecInfo) -> str:
    """What became of the file on its way to the codec, e.g. "44.1 kHz stereo → 24 kHz mono"."""
    heard = f"{rate_words(codec.sample_rate)} mono"
    if source is None:
        return heard
    came = f"{rate_words(source.sample_rate)} {channel_words(source.num_channels)}"
    return heard if came == heard else f"{came} → {heard}"


class Workspace(QWidget):
    """See the module's docstring.

    Signals:
        action_requested(str): the name of an action.
    """

    action_requested = Signal(str)

    def __init__(
        self,
        session: Session,
        transport: Transport,
        settings: SettingsStore,
        theme: Theme,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._transport, self._settings = session, transport, settings
        self.wall = Wall(theme)
        self.bar = TransportBar(theme)
        self.codebooks = CodebooksControl(theme, CodecInfo())
        self._title = ElidedLabel(has_own_tip=True)
        self._title.setFont(heading_font(self._title.font(), 1.1))
        self._title.setAccessibleName("Open recording")
        self._facts = ElidedLabel()
        self._facts.setProperty("dim", True)
        self._chips = {
            "tokens": DragChip("tokens", "Tokens", "save", theme),
            "audio": DragChip("audio", "Reconstruction", "export", theme),
        }
        self._chips["tokens"].setToolTip("Save the tokens (Ctrl+S), or drag them out as a file")
        self._chips["audio"].setToolTip("Save the reconstruction (Ctrl+Shift+E), or drag it out as a file")
        self._chips["tokens"].clicked.connect(self._save_tokens)
        self._chips["audio"].clicked.connect(self._export_audio)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._title)
        words.addWidget(self._facts)
        header = QWidget()
        header.setProperty("bar", True)
        header.setMinimumWidth(680)  # not the layout's own: see resizeEvent
        header.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        row = QHBoxLayout(header)
        row.setContentsMargins(14, 7, 12, 7)
        row.setSpacing(12)
        row.addLayout(words, 1)
        row.addWidget(self.codebooks)
        row.addSpacing(4)
        for chip in self._chips.values():
            row.addWidget(chip)
            chip.file_requested.connect(session.stage)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(header)
        layout.addWidget(self.wall, 1)
        layout.addWidget(self.bar)
        for spin in self.codebooks.findChildren(QSpinBox):
            spin.installEventFilter(self)  # it asks its line edit about shortcuts itself
        self._bind()
        self.wall.set_follow(settings.value.follow_playhead)
        self.bar.set_volume(settings.value.volume)
        self.codebooks.set_value(session.num_codebooks)

    def _bind(self) -> None:
        session, transport, wall, bar = self._session, self._transport, self.wall, self.bar
        session.source_changed.connect(self._source_changed)
        session.codes_changed.connect(self._codes_changed)
        session.codes_grew.connect(wall.set_codes_ready)
        session.sound_changed.connect(self._sound_changed)
        session.sound_grew.connect(self._sound_grew)
        session.finished.connect(self._finished)
        session.num_codebooks_changed.connect(self._num_codebooks_changed)
        session.model_changed.connect(self._model_changed)
        session.staged.connect(self._staged)
        transport.position_changed.connect(self._position_changed)
        transport.changed.connect(self._transport_changed)
        transport.take_changed.connect(self._show_side_a)
        transport.output.devices_changed.connect(self._devices_changed)
        wall.seek_requested.connect(transport.seek)
        wall.loop_requested.connect(transport.set_loop)
        bar.play_toggled.connect(transport.toggle_play)
        bar.stop_requested.connect(transport.stop)
        bar.seek_requested.connect(transport.seek)
        bar.loop_toggled.connect(self._loop_toggled)
        bar.side_requested.connect(transport.set_side)
        bar.match_toggled.connect(transport.levels.set_on)
        bar.volume_changed.connect(transport.set_volume)
        bar.device_requested.connect(transport.output.use_device)
        bar.rescan_requested.connect(transport.output.rescan)
        self.codebooks.value_changed.connect(session.set_num_codebooks)
        self._devices_changed(())
        self._transport_changed()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Beside open docks there is less room."""
        self.codebooks.set_compact(self.width() < 1000)

    # Facts

    @Slot()
    def _source_changed(self) -> None:
        document = self._session.document
        self._title.setText(document.title)
        self._title.setToolTip(str(document.entry.path) if document.entry is not None else "")
        self._show_facts()
        self.wall.set_duration(document.duration_s)
        if document.recording is None:
            self.wall.source.placeholder = "The recording that these tokens were made from is not open"
        self._show_side_a()
        self.wall.set_loop(None)
        self.wall.fit()
        self.bar.set_duration(document.duration_s)
        self.wall.setFocus()

    @Slot()
    def _show_side_a(self) -> None:
        take, recording = self._transport.take, self._session.document.recording
        if take is not None:
            self.wall.set_source(take.envelope, f"{'Original' if take.is_file else 'Take'}: {take.title}")
        else:
            self.wall.set_source(recording.envelope if recording else None, "Original, as Mimi hears it")

    def _show_facts(self) -> None:
        document = self._session.document
        recording = document.recording
        parts = []
        if recording is not None:
            parts.append(format_words(recording.waveform.source, document.info))
        elif document.codes is not None:
            parts.append("tokens only")
        if document.codes_array is not None:
            rows, frames = document.codes_array.shape
            parts.append(f"{rows} × {frames:,} tokens")
            if document.is_from_tokens and document.codes is not None and document.codes.info.model_name:
                parts.append(f"made by {document.codes.info.model_name}")
        self._facts.setText("   ·   ".join(parts))

    @Slot()
    def _codes_changed(self) -> None:
        document = self._session.document
        array = document.codes_array
        self.wall.set_codes(array, document.info if array is not None else None, document.num_frames)
        title = f"Tokens, {array.shape[0]} codebooks × {array.shape[1]:,} frames" if array is not None else "Tokens"
        self.wall.set_codes_title(title)
        self._show_facts()
        self._show_range()

    @Slot()
    def _sound_changed(self) -> None:
        document = self._session.document
        for chip in self._chips.values():
            chip.set_file(None)
            chip.setEnabled(False)
        self.wall.set_reconstruction(document.sound_envelope, self._reconstruction_title())
        self._show_labels()

    def _reconstruction_title(self) -> str:
        document = self._session.document
        if document.sound is None:
            return "Reconstruction"
        count = document.sounding
        if document.is_mix or count == 0:
            return f"Reconstruction from a mix of {count} codebook{'' if count == 1 else 's'}"
        kbps = document.info.bitrate_kbps(count)
        return f"Reconstruction from {count} codebook{'s' if count > 1 else ''}, {kbps:.2f} kbit/s"

    @Slot(object)
    def _sound_grew(self, num_samples: int) -> None:
        self.wall.set_reconstruction(self._session.document.sound_envelope, self._reconstruction_title())

    @Slot()
    def _finished(self) -> None:
        for chip in self._chips.values():
            chip.set_file(None)
            chip.setEnabled(True)
        self._show_facts()
        self._show_range()

    @Slot(object)
    def _num_codebooks_changed(self, num_codebooks: int) -> None:
        self.codebooks.set_value(num_codebooks)
        self.wall.set_num_codebooks(num_codebooks)
        for chip in self._chips.values():
            chip.set_file(None)

    @Slot()
    def _model_changed(self) -> None:
        self.codebooks.set_info(self._session.document.info)
        self._show_range()

    def _show_range(self) -> None:
        self.codebooks.set_range(self._session.max_codebooks)
        self.codebooks.set_value(min(self._session.num_codebooks, self._session.max_codebooks))

    @Slot(object, object)
    def _staged(self, kind: str, path: object) -> None:
        self._chips[kind].set_file(path)  # pyright: ignore[reportArgumentType] - a Path, by the signal's contract

    @Slot(object, object)
    def _position_changed(self, seconds: float, playing: bool) -> None:
        self.wall.set_position(seconds, playing=playing)
        self.bar.set_position(seconds)
        self.bar.set_playing(playing)

    @Slot()
    def _transport_changed(self) -> None:
        transport, player, bar = self._transport, self._transport.player, self.bar
        bar.set_side(player.side)
        self.wall.set_side(player.side)
        bar.set_loop(transport.loops)
        self.wall.set_loop(transport.loop)
        bar.set_enabled_sides(transport.has_a, transport.has_b)
        bar.set_difference(transport.has_difference, transport.difference_gain_db)
        bar.set_volume(self._settings.value.volume)
        bar.set_health(player.latency_s if player.is_open else None, player.underruns)
        self._show_match()
        self._show_labels()

    def _show_match(self) -> None:
        transport, on = self._transport, self._settings.value.level_match
        self.bar.set_match(on, *match_words(transport.levels.result, on, both=transport.has_difference))

    def _show_labels(self) -> None:
        document = self._session.document
        take = self._transport.take
        a = "as Mimi hears it" if document.recording is not None else "not open"
        b = "not decoded yet"
        if document.sound is not None:
            kbps = document.info.bitrate_kbps(document.sounding)
            count = document.sounding
            b = f"mix of {count}" if document.is_mix else f"{count} codebook{'s' * (count != 1)}, {kbps:.2f} kbit/s"
        name = "Original" if take is None or take.is_file else "Take"
        self.bar.set_labels((name, a if take is None else take.title), ("Reconstruction", b))

    @Slot(object)
    def _devices_changed(self, devices: object) -> None:
        self.bar.set_devices(self._transport.output.devices, self._settings.value.output_device or None)

    # Wishes

    @Slot(bool)
    def _loop_toggled(self, on: bool) -> None:
        if on != self._transport.loops:
            self._transport.toggle_loop()

    def _save_tokens(self) -> None:
        self.action_requested.emit("save-tokens")

    def _export_audio(self) -> None:
        self.action_requested.emit("export-audio")

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A number field keeps digits only: the window's letters and Space work while it has the keyboard."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            text = event.text()
            if text and not text.isdigit() and text.isprintable():
                event.ignore()
                return True
        return super().eventFilter(watched, event)

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.wall.set_theme(theme)
        self.bar.set_theme(theme)
        self.codebooks.set_theme(theme)
        for chip in self._chips.values():
            chip.set_theme(theme)
