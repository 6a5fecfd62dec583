"""What each action does: one short method per line of the table in actions.py. GUI thread only.

A method asks the person where need be and passes the wish on; what it leads to is the session's or the transport's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMainWindow

from mimi_gui.resources import resource_path
from mimi_gui.ui.codec_jobs import DEFAULT_MODEL, DEMO_MODEL
from mimi_gui.ui.file_jobs import AUDIO_SUFFIXES
from mimi_gui.ui.help_dialog import AboutDialog, DetailsDialog, KeysDialog, TroubleshootingDialog
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.picture import Look, image_of, subjects
from mimi_gui.ui.preferences_dialog import PreferencesDialog
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.status_bar import StatusBar
from mimi_gui.ui.time_axis import format_time
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.transport import Transport

if TYPE_CHECKING:
    from mimi_gui.ui.actions import Actions
    from mimi_gui.ui.listening_desk import ListeningDesk
    from mimi_gui.ui.panels import Panels
    from mimi_gui.ui.theme import ThemeKeeper

_ZOOM = 1.5
_VOLUME_STEP = 0.05
_DIFFERENCE_STEP_DB = 12.0
_OPEN_TOKENS = "Token files (*.npz);;All files (*)"
_SAVE_TOKENS = "Token files (*.npz)"
_SAVE_REPORT = "Web pages (*.html)"
_SAVE_AUDIO = "WAV (*.wav);;FLAC (*.flac);;Ogg Vorbis (*.ogg)"


class Commands(QObject):
    """The verbs of one window.

    Signals:
        page_requested(str): "record", "live", or what a notice about takes offers: "open-take", "recover-takes".
    """

    page_requested = Signal(str)

    def __init__(
        self,
        window: QMainWindow,
        session: Session,
        transport: Transport,
        wall: Wall,
        panels: Panels,
        settings: SettingsStore,
        themes: ThemeKeeper,
        log_file: Path | None,
    ) -> None:
        super().__init__(window)
        self._window, self._session, self._transport, self._wall = window, session, transport, wall
        self._settings, self._themes, self._log_file = settings, themes, log_file
        self._panels, self._marks, self._editing = panels, panels.marks, panels.editing
        self.actions: Actions | None = None
        self.listening: ListeningDesk | None = None
        panels.comparison.report_saved.connect(self._report_saved)

    def perform(self, name: str) -> None:
        """Carry out what a banner or the welcome page offers: an action's name, or ``name:argument``."""
        verb, _, argument = name.partition(":")
        if verb == "use-model":
            self._session.use_model(argument)
        elif verb == "use-device":
            self._session.use_device(argument)
        else:
            getattr(self, verb.replace("-", "_"))()

    # File

    def open(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in sorted(AUDIO_SUFFIXES))
        paths, _ = QFileDialog.getOpenFileNames(
            self._window, "Open recordings, tokens or a checkpoint", self._settings.value.open_folder,
            f"Recordings and tokens ({patterns} *.npz);;Checkpoints (*.safetensors);;All files (*)",
        )  # fmt: skip
        self._session.open(paths)

    def open_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, "Open a folder", self._settings.value.open_folder)
        if folder:
            self._session.open([folder])

    def open_sample(self) -> None:
        self._session.open([resource_path("samples", "speech.wav")])

    def record(self) -> None:
        self.page_requested.emit("record")

    def open_take(self) -> None:
        self.page_requested.emit("open-take")

    def recover_takes(self) -> None:
        self.page_requested.emit("recover-takes")

    def save_tokens(self) -> None:
        path = self._ask_target("Save tokens", "tokens", _SAVE_TOKENS)
        if path is not None:
            self._session.save_codes(path, overwrite=True)  # the dialog has asked

    def export_audio(self) -> None:
        path = self._ask_target("Export the reconstruction", "audio", _SAVE_AUDIO)
        if path is not None:
            self._session.export_audio(path, overwrite=True)

    def _ask_target(self, title: str, kind: str, filters: str) -> Path | None:
        document = self._session.document
        if document.entry is None:
            return None
        folder = self._settings.value.save_folder
        start = Path(folder) if folder and Path(folder).is_dir() else document.entry.path.parent
        suggested = start / document.suggested_name(kind)
        text, chosen = QFileDialog.getSaveFileName(self._window, title, str(suggested), filters)
        if not text:
            return None
        path = Path(text)
        return path if path.suffix else path.with_suffix(chosen[chosen.index("*") + 1 : chosen.index(")")])

    def export_view(self) -> None:
        from mimi_gui.ui.export_dialog import ExportDialog

        entry = self._session.document.entry
        stem = entry.path.stem if entry is not None else "view"
        dialog = ExportDialog(
            subjects(self._wall, list(self._panels.widgets.values())), self._themes.theme, self._settings,
            self._panels.context.files, stem, self._window,
        )  # fmt: skip
        bar = self._window.statusBar()
        if isinstance(bar, StatusBar):
            dialog.told.connect(bar.tell)
        dialog.exec()
        dialog.deleteLater()

    def save_report(self) -> None:
        if not self._panels.comparison.can_report:
            words = "A report compares: open the recording too, beside its token file or by itself."
            self._panels.noticed.emit(Notice("info", words, topic="analysis"))
            return
        path = self._ask_target("Save a report", "report", _SAVE_REPORT)
        if path is not None:
            self._tell(f"Writing {path.name} …")
            self._panels.comparison.save_report(path, self._panels.lanes.settings[0])

    @Slot(object)
    def _report_saved(self, path: Path) -> None:
        self._settings.update(save_folder=str(path.parent))
        self._tell(f"Saved {path}: open it in a browser")

    def _tell(self, words: str) -> None:
        bar = self._window.statusBar()
        if isinstance(bar, StatusBar):
            bar.tell(words)

    def copy_view(self) -> None:
        wall = self._wall
        height = wall.ruler.height() + sum(lane.height() for lane in wall.shown_lanes())
        look = Look(wall.width(), height, self._themes.theme, wall.devicePixelRatioF())
        QGuiApplication.clipboard().setImage(image_of(subjects(wall, [])[0], look))
        self._tell("Copied the wall as a picture")

    def quit(self) -> None:
        self._window.close()

    # Edit

    def escape(self) -> None:
        if self._session.is_making:
            self._session.cancel()
        elif self._marks.clear() or self._marks.stop_comparing():
            return
        elif not self._transport.loop:
            self._session.cancel()
        else:
            self._transport.set_loop(None)

    def undo(self) -> None:
        self._editing.undo()

    def redo(self) -> None:
        self._editing.redo()

    def select_all(self) -> None:
        self._transport.set_loop((0.0, self._session.document.duration_s))

    def copy_position(self) -> None:
        seconds = self._transport.position_s
        frame = self._session.document.info.s_to_frame(seconds)
        QGuiApplication.clipboard().setText(f"{format_time(seconds, 0.001)} (frame {frame})")

    def preferences(self) -> None:
        PreferencesDialog(self._session, self._transport, self._settings, self._themes, self._window).exec()

    # View

    def fit(self) -> None:
        self._wall.fit()

    def zoom_to_selection(self) -> None:
        self._wall.zoom_to_selection()

    def zoom_in(self) -> None:
        self._wall.zoom(_ZOOM)

    def zoom_out(self) -> None:
        self._wall.zoom(1 / _ZOOM)

    def follow(self, on: bool) -> None:
        self._settings.update(follow_playhead=on)
        self._wall.set_follow(on)

    def previous_recording(self) -> None:
        self._session.show(self._session.current - 1)

    def next_recording(self) -> None:
        self._session.show(self._session.current + 1)

    def next_control(self) -> None:
        self._window.focusNextChild()

    def previous_control(self) -> None:
        self._window.focusPreviousChild()

    def full_screen(self, on: bool) -> None:
        if on:
            self._window.showFullScreen()
        else:
            self._window.showNormal()

    # Playback

    def play(self) -> None:
        self._transport.toggle_play()

    def stop(self) -> None:
        self._transport.stop()

    def hear_a(self) -> None:
        self._transport.set_side("A")

    def hear_b(self) -> None:
        self._transport.set_side("B")

    def hear_difference(self) -> None:
        self._transport.set_side("D")

    def difference_gain(self) -> None:
        gain_db = self._transport.difference_gain_db + _DIFFERENCE_STEP_DB
        self._transport.set_difference_gain(gain_db if gain_db <= 2 * _DIFFERENCE_STEP_DB else 0.0)

    def switch(self) -> None:
        self._transport.switch()

    def pin(self) -> None:
        self._transport.pin()

    def next_take(self) -> None:
        if not self._panels.shelf.takes:
            self._tell("No take is kept yet: P keeps what is heard as B")
        self._panels.shelf.next_as_a()

    def next_moment(self) -> None:
        self._panels.comparison.step_moment(1)

    def previous_moment(self) -> None:
        self._panels.comparison.step_moment(-1)

    def unpin(self) -> None:
        self._transport.unpin()

    def hear_file(self) -> None:
        self._transport.hear_file()

    def match(self, on: bool) -> None:
        self._transport.levels.set_on(on)

    def loop(self) -> None:
        self._transport.toggle_loop()

    def loop_start(self) -> None:
        self._transport.set_loop_edge(0)

    def loop_end(self) -> None:
        self._transport.set_loop_edge(1)

    def go_start(self) -> None:
        self._transport.seek(0.0)

    def go_end(self) -> None:
        self._transport.seek(self._session.document.duration_s)

    def previous_frame(self) -> None:
        self._transport.step(-1)

    def next_frame(self) -> None:
        self._transport.step(1)

    def louder(self) -> None:
        self._transport.set_volume(self._settings.value.volume + _VOLUME_STEP)

    def softer(self) -> None:
        self._transport.set_volume(self._settings.value.volume - _VOLUME_STEP)

    def rescan(self) -> None:
        self._transport.output.rescan()

    def use_default_output(self) -> None:
        self._transport.output.use_device(None)

    # Codec

    def fewer_codebooks(self) -> None:
        self._session.set_num_codebooks(self._session.num_codebooks - 1)

    def more_codebooks(self) -> None:
        self._session.set_num_codebooks(self._session.num_codebooks + 1)

    def codebooks_1(self) -> None:
        self._session.set_num_codebooks(1)

    def codebooks_2(self) -> None:
        self._session.set_num_codebooks(2)

    def codebooks_4(self) -> None:
        self._session.set_num_codebooks(4)

    def codebooks_8(self) -> None:
        self._session.set_num_codebooks(8)

    def codebooks_16(self) -> None:
        self._session.set_num_codebooks(16)

    def codebooks_32(self) -> None:
        self._session.set_num_codebooks(32)

    def live(self) -> None:
        self.page_requested.emit("live")

    def encode_again(self) -> None:
        self._session.make_again()

    def use_kyutai(self) -> None:
        self._session.use_model(DEFAULT_MODEL)

    def use_demo(self) -> None:
        self._session.use_model(DEMO_MODEL)

    def choose_model(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Choose a Mimi checkpoint", self._settings.value.open_folder,
            "Checkpoints (*.safetensors);;All files (*)",
        )  # fmt: skip
        if path:
            self._session.use_model(path)

    def choose_model_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, "Choose a folder with config.json and weights")
        if folder:
            self._session.use_model(folder)

    def download(self) -> None:
        self._session.download_model()

    # Tokens

    def select_code(self) -> None:
        self._marks.select_here()

    def play_occurrences(self) -> None:
        self._marks.play_all()

    def next_mark(self) -> None:
        self._marks.step(1)

    def previous_mark(self) -> None:
        self._marks.step(-1)

    def surgery(self) -> None:
        self._panels.show("surgery")

    def copy_tokens(self) -> None:
        self._editing.copy()

    def paste_tokens(self) -> None:
        self._editing.paste()

    def donor(self) -> None:
        folder = self._settings.value.open_folder
        path, _ = QFileDialog.getOpenFileName(self._window, "Take rows of other tokens", folder, _OPEN_TOKENS)
        if path:
            self._editing.load_donor(Path(path))
            self._panels.show("surgery")

    def save_edits(self) -> None:
        path = self._ask_target("Save the edited tokens, all codebooks", "tokens", _SAVE_TOKENS)
        if path is not None:
            self._session.save_codes(path, overwrite=True, whole=True)  # the dialog has asked

    def compare_tokens(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Compare the open tokens with …", self._settings.value.open_folder, _OPEN_TOKENS
        )
        if path:
            self._marks.compare_file(Path(path))
            self._panels.show("diff")

    def compare_take(self) -> None:
        self._marks.compare_take()
        if self._marks.other is not None:
            self._panels.show("diff")

    def stop_comparing(self) -> None:
        self._marks.stop_comparing()

    # Listening

    def test_abx(self) -> None:
        self._test("abx")

    def test_staircase(self) -> None:
        self._test("staircase")

    def test_preference(self) -> None:
        self._test("preference")

    def test_mushra(self) -> None:
        self._test("mushra")

    def _test(self, kind: str) -> None:
        if self.listening is not None:
            self.listening.open(kind)

    def open_listening_log(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Show the log of a listening test", self._settings.value.listening_folder,
            "Logs of listening tests (*.json)",
        )  # fmt: skip
        if path and self.listening is not None:
            self.listening.open_log(Path(path))

    # Help

    def keys(self) -> None:
        KeysDialog(self._window).exec()

    def cancel(self) -> None:
        self._session.cancel()

    def troubleshooting(self, heading: str | bool = "") -> None:
        TroubleshootingDialog(heading if isinstance(heading, str) else "", self._window).exec()

    def help_model(self) -> None:
        self.troubleshooting("The model cannot be loaded")

    def details(self, text: str) -> None:
        """Show a traceback with a way to copy it."""
        DetailsDialog(text, self._window).exec()

    def open_log(self) -> None:
        if self._log_file is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._log_file.parent)))

    def about(self) -> None:
        AboutDialog(self._window).exec()
