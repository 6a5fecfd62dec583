"""Which tokens are lit up on the heatmap: every occurrence of one code, or what differs from other tokens.

GUI thread only. Counting a row of an hour's tokens takes a tenth of a millisecond, and comparing all of them a few, so
both are done here and not behind a job that a long measurement would hold up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.analysis.codebooks import Agreement, CodeFacts, agreement, code_facts, occurrences, runs
from mimi_gui.analysis.excerpts import Excerpts
from mimi_gui.codes import Codes
from mimi_gui.errors import CodesMismatch
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.session import Session
from mimi_gui.ui.timeline import Wall
from mimi_gui.ui.token_jobs import LoadOther, OtherTokens
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Failure, WorkerThread

_TOPIC = "tokens"


def check_grids(codes: Codes, other: Codes, name: str) -> None:
    """Raises CodesMismatch where a cell of one has no cell of the other over it."""
    a, b = codes.info, other.info
    if (a.cardinality, a.frame_size, a.sample_rate) != (b.cardinality, b.frame_size, b.sample_rate):
        raise CodesMismatch(
            f"{name} has {b.cardinality} codes and frames of {1000 * b.frame_to_s(1):g} ms, these tokens"
            f" {a.cardinality} codes and {1000 * a.frame_to_s(1):g} ms: choose tokens of the same codec."
        )
    if not codes.num_frames or not other.num_frames:
        raise CodesMismatch(f"{name if not other.num_frames else 'What is open'} holds no frame to compare.")


class TokenMarks(QObject):
    """See the module's docstring.

    Attributes:
        code: the codebook and code that is lit up, or None. facts: how common it is.
        frames: int64 [n], where it occurs.
        other, agreement: the tokens that these are compared with, cell by cell, or None.

    Signals:
        code_changed(): another code, or its occurrences changed.
        comparison_changed(): another comparison, or none.
        more_requested(): the person wants to know more about the code.
        noticed(object), settled(object): as the session's.
    """

    code_changed = Signal()
    comparison_changed = Signal()
    more_requested = Signal()
    noticed = Signal(object)  # Notice
    settled = Signal(object)  # topic

    def __init__(
        self, session: Session, transport: Transport, wall: Wall, files: WorkerThread, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._files = files
        self._loading: int | None = None
        self._session, self._transport, self._wall = session, transport, wall
        self.code: tuple[int, int] | None = None
        self.facts: CodeFacts | None = None
        self.frames = np.zeros(0, np.int64)
        self.other: OtherTokens | None = None
        self.agreement: Agreement | None = None
        wall.heatmap.cell_clicked.connect(self._clicked)
        wall.heatmap.cell_requested.connect(self._double_clicked)
        session.source_changed.connect(self._forget)
        session.codes_changed.connect(self._count_again)
        session.finished.connect(self._count_again)
        files.finished.connect(self._loaded)
        files.failed.connect(self._not_loaded)

    # One code

    def select(self, codebook: int, code: int) -> None:
        """Light up this code of this codebook."""
        self.code = (codebook, code)
        self._count()

    def select_at(self, codebook: int, frame: int) -> None:
        """Light up the code that stands there; nothing where there is none yet."""
        codes = self._session.document.codes_array
        if codes is not None and codebook < codes.shape[0] and 0 <= frame < self._session.document.num_frames:
            self.select(codebook, int(codes[codebook, frame]))

    def select_here(self) -> None:
        """Light up the code at the playhead, in the codebook that was looked at last."""
        codebook = self.code[0] if self.code is not None else 0
        self.select_at(codebook, self._session.document.info.s_to_frame(self._transport.position_s))

    def clear(self) -> bool:
        """Light up no code; returns whether one was."""
        was = self.code is not None
        self.code = None
        self._count()
        return was

    def excerpts(self, context_frames: int, first: int = 0) -> Excerpts:
        """Every occurrence from the one numbered ``first`` on; frames that follow each other are one."""
        info = self._session.document.info
        sound = self._session.document.sound
        return Excerpts.of_frames(
            runs(self.frames)[first:], frame_size=info.frame_size, sample_rate=info.sample_rate,
            num_samples=0 if sound is None else len(sound), context_frames=context_frames,
        )  # fmt: skip

    def play_all(self, context_frames: int = 3, first: int = 0) -> None:
        """Play the occurrences one after the other, on the side that is heard."""
        if not len(self.frames):
            self._tell_nothing()
            return
        self.settled.emit(_TOPIC)
        self._transport.play_row(self.excerpts(context_frames, first))

    # Two sets of tokens

    def compare_file(self, path: Path) -> None:
        """Read a token file and mark what differs between the open tokens and those."""
        self._loading = self._files.submit(LoadOther(path))

    def compare_take(self) -> None:
        """Mark what differs between the open tokens and those that the take was decoded from."""
        take = self._transport.take
        if take is None or take.codes is None:
            self._tell("There is no take to compare with: keep one first (Playback, Keep B as Take A; key P).")
        else:
            self.compare_with(OtherTokens(take.codes, f"the take of {take.title}"))

    def compare_with(self, other: OtherTokens) -> None:
        """Mark what differs between the open tokens and ``other``; where they cannot be compared, a notice says so."""
        codes = self._session.document.codes
        try:
            if codes is None:
                raise CodesMismatch("There are no complete tokens yet that others could be compared with.")
            check_grids(codes, other.codes, other.name)
        except CodesMismatch as error:
            self._tell(error.message, error.hint)
            return
        self.settled.emit(_TOPIC)
        self.other, self.code = other, None
        self._compare()
        self._count()

    def _tell(self, words: str, hint: str = "") -> None:
        self.noticed.emit(Notice("error", words, hint, topic=_TOPIC))

    def _tell_nothing(self) -> None:
        words = "No token is lit up: click one on the heatmap (key T: at the playhead), or compare with other tokens."
        if self.other is not None:
            words = f"No token differs from {self.other.name}."
        self.noticed.emit(Notice("info", words, topic=_TOPIC))

    @Slot(object, object)
    def _loaded(self, number: int, result: object) -> None:
        if number == self._loading and isinstance(result, OtherTokens):
            self._loading = None
            self.compare_with(result)

    @Slot(object, object)
    def _not_loaded(self, number: int, failure: Failure) -> None:
        if number == self._loading:
            self._loading = None
            self.noticed.emit(Notice("error", failure.message, failure.hint, failure.details, topic=_TOPIC))

    def stop_comparing(self) -> bool:
        """Mark no differences any more; returns whether some were."""
        was = self.other is not None
        self.other = None
        self._compare()
        self._show()
        return was

    # Steps

    @property
    def marked_frames(self) -> np.ndarray:
        """The frames that the step keys visit, int64 [n]: of the code, else those that differ."""
        if self.code is not None:
            return self.frames
        if self.agreement is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero(~self.agreement.mask.all(axis=0))

    def step(self, by: int) -> None:
        """Put the playhead on the next (1) or previous (-1) marked stretch of frames; from the last on the first."""
        starts = np.array([first for first, _ in runs(self.marked_frames)], np.int64)
        if not len(starts):
            self._tell_nothing()
            return
        self.settled.emit(_TOPIC)
        here = self._session.document.info.s_to_frame(self._transport.position_s)
        place = np.searchsorted(starts, here, side="right") if by > 0 else np.searchsorted(starts, here) - 1
        self.go_to(int(starts[place % len(starts)]))

    def go_to(self, frame: int) -> None:
        """Put the playhead on a frame, in sight."""
        self._transport.seek(self._session.document.info.frame_to_s(frame))
        self._wall.show_position()

    # Inside

    @Slot()
    def _forget(self) -> None:
        self.code = self.other = None
        self._compare()

    @Slot()
    def _count_again(self) -> None:
        codes = self._session.document.codes
        if self.other is not None and codes is not None:
            try:
                check_grids(codes, self.other.codes, self.other.name)
            except CodesMismatch:
                self.other = None  # encoded again by another codec
            self._compare()
        self._count()

    def _count(self) -> None:
        document = self._session.document
        codes = document.codes_array
        if self.code is not None and codes is not None and self.code[0] < codes.shape[0]:
            ready = codes[:, : document.num_frames]
            self.frames = occurrences(ready, *self.code)
            self.facts = code_facts(ready, *self.code)
        else:
            self.code, self.facts, self.frames = None, None, np.zeros(0, np.int64)
        self._show()
        self.code_changed.emit()

    def _compare(self) -> None:
        codes = self._session.document.codes
        both = self.other is not None and codes is not None
        self.agreement = agreement(codes.array, self.other.codes.array) if both else None  # pyright: ignore
        heatmap = self._wall.heatmap
        if self.other is not None:
            heatmap.set_other(self.other.codes.array, self.other.name)
        else:
            heatmap.set_other(None)
        self.comparison_changed.emit()

    def _show(self) -> None:
        codes, heatmap = self._session.document.codes_array, self._wall.heatmap
        if codes is None or (self.code is None and self.agreement is None):
            heatmap.set_marks(None)
            return
        mask = np.zeros(codes.shape, bool)
        if self.code is not None:
            mask[self.code[0], self.frames] = True
            heatmap.set_marks(mask, words=self._code_words())
        elif self.agreement is not None:
            rows, frames = self.agreement.mask.shape
            mask[:rows, :frames] = ~self.agreement.mask
            count = int(np.count_nonzero(mask))
            heatmap.set_marks(mask, "side_b", f"lit up: {count:,} tokens that differ   ·   N: next   ·   Esc: off")

    def _code_words(self) -> str:
        facts = self.facts
        if facts is None:
            return ""
        where = f"token {facts.code} of codebook {facts.codebook}"
        return f"lit up: {where}, {facts.count:,} of {facts.num_frames:,} frames   ·   N: next   ·   Esc: off"

    @Slot(int, int)
    def _clicked(self, codebook: int, frame: int) -> None:
        codes = self._session.document.codes_array
        if codes is not None and self.code == (codebook, int(codes[codebook, frame])):
            self.clear()  # a click on what is lit up already puts the light out
        else:
            self.select_at(codebook, frame)

    @Slot(int, int)
    def _double_clicked(self, codebook: int, frame: int) -> None:
        self.select_at(codebook, frame)
        self.more_requested.emit()
