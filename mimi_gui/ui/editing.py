"""Token surgery in the window: selection, clipboard, other tokens, undo and redo, and what is not saved yet.

GUI thread only. An edit copies the tokens once, some milliseconds for an hour of them; the sound is made again by the
session's own decoding, what is about to be heard first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui import surgery
from mimi_gui.codes import Codes
from mimi_gui.errors import CodesMismatch
from mimi_gui.surgery import Block, History, Selection
from mimi_gui.ui.document import Take
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.token_jobs import LoadOther, OtherTokens
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Failure, WorkerThread

_TOPIC = "edit"
UNTOUCHED = "untouched tokens"


def edit_words(entry: dict) -> str:
    """One line of the metadata's list of edits, for a person."""
    rows, (start, stop) = entry["rows"], entry["frames"]
    where = f"codebook {rows[0]}" if len(rows) == 1 else f"codebooks {rows[0]}–{rows[-1]}"
    if rows != list(range(rows[0], rows[-1] + 1)):
        where = f"codebooks {', '.join(str(row) for row in rows)}"
    what = {
        "swap": lambda: f"swapped with {entry.get('donor') or 'other tokens'}",
        "shift": lambda: f"shifted by {entry['by_frames']:+d} frames".replace("-", "−"),
        "drop": lambda: f"{entry['percent']:g} % dropped, {_FILLS.get(entry['fill'], entry['fill'])}",
        "shuffle": lambda: "shuffled, frames whole" if entry["together"] else "shuffled, each row by itself",
        "replace": lambda: f"{entry['old']} → {entry['new']}, {entry['count']} times",
        "paste": lambda: "pasted over",
    }.get(entry["edit"], lambda: str(entry["edit"]))()
    return f"{what}: {where}, frames {start}–{stop - 1}"


_FILLS = {"repeat": "the last repeated", "random": "random instead"}


class Editing(QObject):
    """See the module's docstring.

    Attributes:
        history: the states of the open tokens since the first edit, or None before it.
        rows: first and last codebook of the selection. block: what was copied, or None.
        donor: the other tokens that rows are taken from, or None.
        untouched: the reconstruction from before the first edit, or None.

    Signals:
        changed(): any of these, or what can be undone.
        noticed(object), settled(object): as the session's.
    """

    changed = Signal()
    noticed = Signal(object)
    settled = Signal(object)

    def __init__(
        self, session: Session, transport: Transport, wall: Wall, files: WorkerThread, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._session, self._transport, self._wall, self._files = session, transport, wall, files
        self.history: History | None = None
        self.rows = (0, 31)
        self.block: Block | None = None
        self.donor: OtherTokens | None = None
        self.untouched: Take | None = None
        self._first: Codes | None = None  # before the first edit
        self.plays_edits = True
        self._asked: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None)
        self._loading: int | None = None
        self._is_shown = False
        session.source_changed.connect(self._forget)
        session.codes_changed.connect(self._codes_changed)
        session.finished.connect(self._codes_changed)
        session.saved.connect(self._tell)
        transport.changed.connect(self._show_selection)
        wall.loop_requested.connect(self._loop_requested)  # after the transport, which is asked what it made of it
        wall.heatmap.rows_dragged.connect(self._rows_dragged)
        files.finished.connect(self._loaded)
        files.failed.connect(self._not_loaded)

    # The selection

    @property
    def codes(self) -> Codes | None:
        """The open tokens, once they are complete."""
        return self._session.document.codes

    @property
    def selection(self) -> Selection | None:
        """The loop's frames (all, without a loop) in the chosen codebooks; a frame counts if its middle lies inside."""
        codes = self.codes
        if codes is None:
            return None
        last = min(self.rows[1], codes.num_codebooks - 1)
        rows = tuple(range(min(self.rows[0], last), last + 1))
        loop = self._transport.loop
        if loop is not None and self._asked[1] == loop and self._asked[0] is not None:
            loop = self._asked[0]  # the player's loops last half a second at least, an edit may be one frame
        if loop is None:
            return Selection(rows, 0, codes.num_frames)
        start = min(round(loop[0] * codes.info.frame_rate), max(codes.num_frames - 1, 0))
        stop = min(max(round(loop[1] * codes.info.frame_rate), start + 1), codes.num_frames)
        return Selection(rows, start, stop)

    def set_frames(self, start: int, stop: int) -> None:
        """Choose the frames ``start`` to before ``stop``, and loop there."""
        info = self._session.document.info
        span = info.frame_to_s(min(start, stop - 1)), info.frame_to_s(stop)
        self._transport.set_loop(span)
        self._loop_requested(span)

    @Slot(object)
    def _loop_requested(self, span: tuple[float, float] | None) -> None:
        self._asked = (span, self._transport.loop)
        self._tell()

    def set_rows(self, first: int, last: int) -> None:
        """Choose the codebooks ``first`` to ``last``, in either order."""
        self.rows = (min(first, last), max(first, last))
        self._tell()

    @Slot(bool)
    def show_selection(self, shown: bool) -> None:
        """Frame the selection on the heatmap, and let a drag there choose codebooks too; or no longer."""
        self._is_shown = shown
        self._show_selection()

    @Slot()
    def _show_selection(self) -> None:
        selection = self.selection if self._is_shown else None
        self._wall.heatmap.set_selection(
            None if selection is None else (selection.rows[0], selection.rows[-1], selection.start, selection.stop)
        )

    @Slot(int, int)
    def _rows_dragged(self, first: int, last: int) -> None:
        if self._is_shown:
            self.set_rows(first, last)

    # Edits

    def copy(self) -> None:
        """Remember the selected tokens."""
        codes, selection = self.codes, self.selection
        if codes is not None and selection is not None:
            self._attempt(lambda: self._keep(surgery.copy(codes, selection)))

    def _keep(self, block: Block) -> None:
        self.block = block
        self._tell()

    def paste(self) -> None:
        """Put what was copied over the tokens from the selection's start on, or from the playhead on without a loop."""
        block = self.block
        if block is None:
            self._complain("Nothing was copied yet: select tokens and copy them first.")
            return

        def at(codes: Codes, selection: Selection) -> Codes:
            here = codes.info.s_to_frame(self._transport.position_s)
            return surgery.paste(codes, block, selection.start if self._transport.loop is not None else here)

        self.do(at)

    def swap(self, kind: str, donor_start: int | None = None) -> None:
        """Take the "semantic" rows, the "acoustic" rows or the "selected" ones from the other tokens.

        From their frame ``donor_start`` on, or None: from the same place.
        """
        donor = self.donor
        if donor is None:
            self._complain("There are no other tokens to take rows from: choose a file first.")
            return

        def swapped(codes: Codes, selection: Selection) -> Codes:
            rows = selection.rows
            if kind == "semantic":
                rows = surgery.semantic_rows(codes.info)
            elif kind == "acoustic":
                rows = surgery.acoustic_rows(codes.info, min(codes.num_codebooks, donor.codes.num_codebooks))
            place = Selection(rows, selection.start, selection.stop)
            start = selection.start if donor_start is None else donor_start
            return surgery.swap_rows(codes, donor.codes, place, donor_name=donor.name, donor_start=start)

        self.do(swapped)

    def do(self, edit: Callable[[Codes, Selection], Codes]) -> None:
        """Apply an edit to the selection and make it heard; one that cannot be done says why."""
        codes, selection = self.codes, self.selection
        if codes is None or selection is None:
            self._complain("There are no complete tokens to edit yet.")
            return
        self._attempt(lambda: self._done(codes, edit(codes, selection), selection))

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except CodesMismatch as error:
            self._complain(error.message, error.hint)
        except ValueError as error:
            words = str(error)
            self._complain(f"{words[0].upper()}{words[1:]}.")

    def _done(self, before: Codes, after: Codes, selection: Selection) -> None:
        if self.history is None:
            self._begin(before)
        assert self.history is not None
        self.history = self.history.do(after)
        self._use(selection)

    def _begin(self, codes: Codes) -> None:
        """The first edit: what is heard now stays to be compared with."""
        document = self._session.document
        self.history, self._first = History.of(codes), codes
        if document.is_complete and document.sound is not None and document.sound_envelope is not None:
            self.untouched = Take(document.sound, document.sound_envelope, UNTOUCHED, codes)
            self._transport.use_take(self.untouched)

    def _use(self, selection: Selection | None = None) -> None:
        assert self.history is not None
        self.settled.emit(_TOPIC)
        self._session.edit(self.history.codes)
        self._tell()
        if self.plays_edits and selection is not None:
            self._transport.set_side("B")
            info = self._session.document.info
            if self._transport.loop is not None:
                self._transport.play_loop(self._transport.loop)
            elif not self._transport.player.is_playing:
                self._transport.seek(info.frame_to_s(selection.start))
                self._transport.toggle_play()

    def undo(self) -> None:
        """Take the last edit back."""
        if self.can_undo and self.history is not None:
            self.history = self.history.undo()
            self._use()

    def redo(self) -> None:
        """Bring back what was undone."""
        if self.can_redo and self.history is not None:
            self.history = self.history.redo()
            self._use()

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return self.history is not None and self.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is an edit to bring back."""
        return self.history is not None and self.history.can_redo

    @property
    def is_dirty(self) -> bool:
        """Whether there are edits that no file holds whole."""
        if self.history is None or self.history.codes is self._first:
            return False
        saved = self._session.saved_codes
        return saved is None or not np.array_equal(saved.array, self.history.codes.array)

    @property
    def hears_untouched(self) -> bool:
        """Whether side A is the reconstruction from before the first edit."""
        return self.untouched is not None and self._transport.take is self.untouched

    def hear_untouched(self, on: bool) -> None:
        """Let side A be the reconstruction from before the first edit, or the original again."""
        if self.untouched is not None and on != self.hears_untouched:
            self._transport.use_take(self.untouched if on else None)
            self._tell()

    # The other tokens

    def load_donor(self, path: Path) -> None:
        """Read the token file that rows are taken from."""
        self._loading = self._files.submit(LoadOther(path))

    @Slot(object, object)
    def _loaded(self, number: int, result: object) -> None:
        if number == self._loading and isinstance(result, OtherTokens):
            self._loading, self.donor = None, result
            self.settled.emit(_TOPIC)
            self._tell()

    @Slot(object, object)
    def _not_loaded(self, number: int, failure: Failure) -> None:
        if number == self._loading:
            self._loading = None
            self._complain(failure.message, failure.hint)

    # Facts

    @Slot()
    def _forget(self) -> None:
        self.history = self._first = self.untouched = None
        self._tell()

    @Slot()
    def _codes_changed(self) -> None:
        codes = self.codes
        if self.history is not None and codes is not self.history.codes:
            self.hear_untouched(False)
            self.history = self._first = self.untouched = None  # encoded again
        self._tell()

    @Slot()
    def _tell(self) -> None:
        self._show_selection()
        self.changed.emit()

    def _complain(self, words: str, hint: str = "") -> None:
        self.noticed.emit(Notice("error", words, hint, topic=_TOPIC))
