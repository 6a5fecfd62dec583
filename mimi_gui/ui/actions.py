"""Every action of the window in one table: its menu, words, keys and tooltip. Menus and the keys list grow from it.

An action's name is the name of the method of :class:`mimi_gui.ui.commands.Commands` that carries it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar

MENUS = ("File", "Edit", "View", "Playback", "Codec", "Tokens", "Listening", "Help")
SEPARATOR = "-"
SUBMENUS = ("recent", "views", "panels")


@dataclass(frozen=True)
class Spec:
    """One action.

    ``needs`` names what must be there: "", "open", "sound", "codes" (complete tokens), "tokens" (and their whole
    sound), "list", "undo", "redo".
    """

    menu: str
    name: str
    text: str
    keys: tuple[str, ...]
    tip: str
    needs: str = ""
    is_checkable: bool = False


def _line(menu: str) -> Spec:
    return Spec(menu, SEPARATOR, "", (), "")


SPECS = (
    Spec("File", "open", "&Open …", ("Ctrl+O",), "Open recordings, token files or a checkpoint"),
    Spec("File", "open_folder", "Open &Folder …", ("Ctrl+Shift+O",), "Open all recordings of a folder as a list"),
    Spec("File", "record", "&Record …", ("Ctrl+N",), "Record with a microphone, then encode and compare"),
    Spec("File", "open_sample", "Open the Bundled &Sample", ("Ctrl+Shift+D",), "Open a clip of read English"),
    Spec("File", "recent", "Open &Recent", (), "Files that were open before"),
    _line("File"),
    Spec("File", "save_tokens", "&Save Tokens …", ("Ctrl+S",), "Save the tokens that are heard as .npz", "tokens"),
    Spec(
        "File", "export_audio", "&Export Reconstruction …", ("Ctrl+Shift+E",),
        "Save what came back from the tokens as wav, flac or ogg", "tokens",
    ),
    Spec("File", "export_view", "Export &View …", ("Ctrl+Shift+G",), "Save a view as PNG or SVG, at any size", "open"),
    Spec(
        "File", "save_report", "Save a Re&port …", ("Ctrl+Shift+R",),
        "One HTML page with figures, numbers and both sounds to switch between, for any browser", "tokens",
    ),
    _line("File"),
    Spec("File", "quit", "&Quit", ("Ctrl+Q",), "Close the window"),
    Spec("Edit", "escape", "Cancel, or &Clear Selection", ("Esc",), "Stop what is going on, or clear the loop"),
    Spec("Edit", "undo", "&Undo", ("Ctrl+Z",), "Take the last edit of the tokens back", "undo"),
    Spec("Edit", "redo", "&Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Bring back what was undone", "redo"),
    _line("Edit"),
    Spec("Edit", "select_all", "Select &All", ("Ctrl+A",), "Select the whole recording as loop region", "open"),
    Spec("Edit", "copy_view", "Copy &View", ("Ctrl+Shift+C",), "Copy the wall as a picture, as it is shown", "open"),
    Spec("Edit", "copy_position", "Copy &Position", ("Ctrl+C",), "Copy the playhead's time and frame", "open"),
    _line("Edit"),
    Spec("Edit", "preferences", "P&references …", ("Ctrl+,",), "Model, device, output, look"),
    Spec("View", "fit", "&Fit", ("F", "Ctrl+0"), "Show the whole recording", "open"),
    Spec("View", "zoom_to_selection", "Zoom to &Selection", ("Ctrl+E",), "Show the loop region only", "open"),
    Spec("View", "zoom_in", "Zoom &In", ("+", "=", "Ctrl++"), "See less, larger (wheel: at the pointer)", "open"),
    Spec("View", "zoom_out", "Zoom &Out", ("-", "Ctrl+-"), "See more, smaller", "open"),
    Spec("View", "follow", "Follow &Playhead", ("Ctrl+F",), "Turn the page when the playhead leaves it", "", True),
    _line("View"),
    Spec("View", "previous_recording", "Pre&vious Recording", ("Ctrl+PgUp",), "Open the one above in the list", "list"),
    Spec("View", "next_recording", "&Next Recording", ("Ctrl+PgDown",), "Open the one below in the list", "list"),
    Spec("View", "views", "&Views over Time", (), "Spectrograms, the difference and the error, on the time axis"),
    Spec("View", "panels", "Pane&ls", (), "Numbers, mixer, surgery and the other panels"),
    _line("View"),
    Spec("View", "next_control", "Next &Control", ("F6",), "Move the keyboard to the next control"),
    Spec("View", "previous_control", "Previous Con&trol", ("Shift+F6",), "Move the keyboard to the control before"),
    Spec("View", "full_screen", "Full Scr&een", ("F11",), "Fill the screen", "", True),
    Spec("Playback", "play", "&Play or Pause", ("Space",), "Play from the playhead, or pause", "sound"),
    Spec("Playback", "stop", "S&top", ("Shift+Space",), "Pause and go back to the start", "sound"),
    _line("Playback"),
    Spec("Playback", "hear_a", "Hear &A, the Original", ("A",), "Switch to what Mimi heard", "sound"),
    Spec("Playback", "hear_b", "Hear &B, the Reconstruction", ("B",), "Switch to what came back", "sound"),
    Spec("Playback", "switch", "&Switch Sides", ("Tab", "X"), "Hear the other side", "sound"),
    Spec(
        "Playback", "hear_difference", "Hear the &Difference, A − B", ("D",),
        "Switch to what the codec changed: A minus B, sample by sample, at its own level", "sound",
    ),
    Spec("Playback", "difference_gain", "Difference &Louder", ("Shift+D",), "A − B by 0, 12 or 24 dB", "sound"),
    Spec("Playback", "match", "&Match Loudness", ("M",), "Play both sides equally loud (BS.1770)", "", True),
    Spec("Playback", "pin", "&Keep B as Take A", ("P",), "Compare other codebooks with what is heard now", "tokens"),
    Spec("Playback", "next_take", "Ne&xt Take as A", ("Shift+A",), "Hear the next kept take as A", "tokens"),
    Spec("Playback", "unpin", "&Original as A Again", ("Shift+P",), "Put the take away", "tokens"),
    Spec(
        "Playback", "hear_file", "Untouched &File as A", ("Shift+O",),
        "Hear the file itself as A, at its own rate and in stereo, or again what Mimi heard", "sound",
    ),
    _line("Playback"),
    Spec("Playback", "loop", "&Loop", ("L",), "Play the selected region again and again", "sound", True),
    Spec("Playback", "loop_start", "Loop Sta&rt Here", ("[",), "The loop begins at the playhead", "sound"),
    Spec("Playback", "loop_end", "Loop E&nd Here", ("]",), "The loop ends at the playhead", "sound"),
    Spec("Playback", "next_moment", "Next &Worst Moment", ("W",), "Loop the next moment where it hurts", "tokens"),
    Spec(
        "Playback", "previous_moment", "Previo&us Worst Moment", ("Shift+W",), "Loop the moment before where it hurts",
        "tokens",
    ),
    _line("Playback"),
    Spec("Playback", "go_start", "Go to Start", ("Home",), "Put the playhead at the start", "sound"),
    Spec("Playback", "go_end", "Go to End", ("End",), "Put the playhead at the end", "sound"),
    Spec("Playback", "previous_frame", "One Frame Back", (",",), "Move by one token frame (80 ms)", "sound"),
    Spec("Playback", "next_frame", "One Frame On", (".",), "Move by one token frame (80 ms)", "sound"),
    Spec("Playback", "louder", "Louder", ("Ctrl+Up",), "Turn the volume up"),
    Spec("Playback", "softer", "Softer", ("Ctrl+Down",), "Turn the volume down"),
    Spec("Codec", "fewer_codebooks", "&Fewer Codebooks", ("Alt+Down",), "Decode with one codebook less", "open"),
    Spec("Codec", "more_codebooks", "&More Codebooks", ("Alt+Up",), "Decode with one codebook more", "open"),
    *(
        Spec(
            "Codec", f"codebooks_{count}", f"{count} Codebook{'s' if count > 1 else ''}", (str(i + 1),),
            f"Decode with {count} of the codebooks", "open",
        )
        for i, count in enumerate((1, 2, 4, 8, 16, 32))
    ),
    Spec("Codec", "encode_again", "&Encode Again", ("Ctrl+R",), "Start over with what is open", "open"),
    _line("Codec"),
    Spec("Codec", "live", "&Live: Hear Yourself …", ("Ctrl+L",), "Speak, and hear and see what Mimi makes of it"),
    _line("Codec"),
    Spec("Codec", "use_kyutai", "Use &Kyutai Mimi", (), "Load Kyutai's own checkpoint"),
    Spec("Codec", "use_demo", "Use the Built-in &Demo Codec", (), "Load the small codec that comes along"),
    Spec("Codec", "choose_model", "&Choose a Checkpoint …", (), "Load a .safetensors file"),
    Spec("Codec", "choose_model_folder", "Choose a Checkpoint F&older …", (), "Load a folder with config.json"),
    Spec("Codec", "download", "D&ownload Kyutai Mimi …", (), "Fetch the checkpoint (385 MB) from the Hugging Face hub"),
    Spec("Tokens", "select_code", "&Light Up the Token Here", ("T",), "Mark every occurrence of the code at the"
         " playhead; a click on the heatmap does the same", "open"),
    Spec("Tokens", "play_occurrences", "Play &Its Occurrences in a Row", ("Shift+T",), "One after the other, on the"
         " side that is heard", "sound"),
    Spec("Tokens", "next_mark", "&Next Marked Frame", ("N",), "Go to the next occurrence, or the next frame that"
         " differs", "open"),
    Spec("Tokens", "previous_mark", "Pre&vious Marked Frame", ("Shift+N",), "Go to the occurrence before, or the frame"
         " before that differs", "open"),
    _line("Tokens"),
    Spec("Tokens", "compare_tokens", "&Compare with a Token File …", ("Ctrl+D",), "Mark what differs from other tokens,"
         " cell by cell", "codes"),
    Spec("Tokens", "compare_take", "Compare with the Ta&ke", ("Ctrl+Shift+T",), "Mark what differs from the tokens that"
         " the take was decoded from", "codes"),
    Spec("Tokens", "stop_comparing", "&Stop Comparing", (), "Light up no differences (Esc)", "codes"),
    _line("Tokens"),
    Spec("Tokens", "surgery", "Su&rgery …", (), "Swap, shift, drop, shuffle or replace the selected tokens", "open"),
    Spec("Tokens", "copy_tokens", "Cop&y Tokens", ("Shift+C",), "Copy the selected tokens", "codes"),
    Spec("Tokens", "paste_tokens", "&Paste Tokens", ("Shift+V",), "Put the copied tokens over the selection's"
         " start", "codes"),
    Spec("Tokens", "donor", "Take Rows of an&other File …", (), "Choose a token file to swap words or voice with",
         "open"),
    Spec("Tokens", "save_edits", "Save the &Edited Tokens …", (), "All codebooks, as a new file that tells the edits",
         "codes"),
    _line("Tokens"),
    Spec("Listening", "test_abx", "&ABX Test …", ("Ctrl+Shift+X",), "Blind test: can a difference be heard?", "tokens"),
    Spec(
        "Listening", "test_staircase", "&Staircase …", ("Ctrl+Shift+K",),
        "Blind test: from how many codebooks on is no difference shown?", "tokens",
    ),
    Spec(
        "Listening", "test_preference", "&Preference …", ("Ctrl+Shift+P",),
        "Blind test: which of two takes sounds better?", "tokens",
    ),
    Spec(
        "Listening", "test_mushra", "&MUSHRA Ratings …", ("Ctrl+Shift+M",),
        "Blind ratings of up to eight takes, with hidden reference and anchor", "tokens",
    ),
    _line("Listening"),
    Spec("Listening", "open_listening_log", "Show a &Log …", ("Ctrl+Shift+L",), "Read a test's log and verify it"),
    Spec("Help", "keys", "&Keys", ("F1", "F2"), "List all keys"),
    Spec("Help", "troubleshooting", "&Troubleshooting", ("Shift+F1",), "What to do when something does not work"),
    Spec("Help", "open_log", "Show the &Log File", (), "Open the folder of the log in the file manager"),
    _line("Help"),
    Spec("Help", "about", "&About Mimi GUI", (), "Version, licence, where things come from"),
)  # fmt: skip

LISTENING_KEYS = (
    ("A, B, X", "Play it, at the same place of the loop"),
    ("1 or Left, 2 or Right", "X is A, X is B; in a preference test 3 or 0: neither"),
    ("Enter", "Confirm the answer, or go to the next round"),
    ("1 to 9, 0; R", "Play a sound, the reference (MUSHRA)"),
    ("Up, Down, PgUp, PgDown", "Rate what was played last (MUSHRA)"),
    ("Space", "Pause, or go on"),
    ("R", "Start over at each press, or not"),
    ("Esc", "Stop the test; it asks first"),
)

POINTER_KEYS = (
    ("Click", "Put the playhead there"),
    ("Drag", "Select a loop region"),
    ("Shift+Drag, middle drag", "Move along"),
    ("Wheel", "Zoom at the pointer"),
    ("Shift+Wheel", "Scroll along"),
    ("Ctrl+Wheel", "Larger amplitudes; zoom in frequency"),
    ("Wheel, over the scales at the left", "Scroll through the views that do not fit"),
    ("Left, Right", "Scroll along (when the views have the keyboard)"),
    ("Shift+Up, Shift+Down", "Scroll to the next view up or down (likewise)"),
)


class Actions(QObject):
    """The QActions of the window, by name, with their menus.

    Attributes:
        menus: the :data:`SUBMENUS`, for their owners to fill.
    """

    def __init__(self, commands: QObject, menu_bar: QMenuBar) -> None:
        super().__init__(menu_bar)
        self._actions: dict[str, QAction] = {}
        self._needs: dict[str, str] = {}
        self.menus: dict[str, QMenu] = {}
        for title in MENUS:
            menu = menu_bar.addMenu(f"&{title}")
            menu.setToolTipsVisible(True)
            for spec in SPECS:
                if spec.menu != title:
                    continue
                if spec.name == SEPARATOR:
                    menu.addSeparator()
                elif not spec.keys and spec.name in SUBMENUS:
                    self.menus[spec.name] = menu.addMenu(spec.text)
                    self.menus[spec.name].setToolTip(spec.tip)
                else:
                    menu.addAction(self._action(spec, commands))

    def _action(self, spec: Spec, commands: QObject) -> QAction:
        action = QAction(spec.text, self)
        action.setObjectName(spec.name)
        action.setCheckable(spec.is_checkable)
        action.setShortcuts([QKeySequence(key) for key in spec.keys])
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        keys = f" ({', '.join(spec.keys)})" if spec.keys else ""
        action.setToolTip(spec.tip + keys)
        action.setStatusTip(spec.tip)
        if spec.name == "quit":
            action.setMenuRole(QAction.MenuRole.QuitRole)
        elif spec.name == "preferences":
            action.setMenuRole(QAction.MenuRole.PreferencesRole)
        elif spec.name == "about":
            action.setMenuRole(QAction.MenuRole.AboutRole)
        handler: Callable[..., None] = getattr(commands, spec.name)
        action.triggered.connect(handler)
        self._actions[spec.name] = action
        self._needs[spec.name] = spec.needs
        return action

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def all(self) -> list[QAction]:
        """Every action, in the order of the table."""
        return list(self._actions.values())

    def set_available(self, available: set[str]) -> None:
        """Enable what has all it needs."""
        for name, action in self._actions.items():
            needs = self._needs[name]
            action.setEnabled(not needs or needs in available)

    def set_checked(self, name: str, on: bool) -> None:
        """Show a state without announcing it."""
        action = self._actions[name]
        action.blockSignals(True)
        action.setChecked(on)
        action.blockSignals(False)


def plain(text: str) -> str:
    """The words of an action without mnemonic and dots."""
    return text.replace("&", "").removesuffix(" …")
