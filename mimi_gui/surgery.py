"""Token surgery: codes in, codes out, and a line in the metadata for each cut.

Functions are pure: they return new :class:`~mimi_gui.codes.Codes` and never touch their arguments; any thread.
``History`` is a value too: an undo is another history, not a change of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.errors import CodesMismatch

EDITS_KEY = "edits"
_MOST_STATES = 100
_LEAST_STATES = 10
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Selection:
    """Codebooks ``rows`` (from 0) of the frames ``start`` to before ``stop``."""

    rows: tuple[int, ...]
    start: int
    stop: int

    @classmethod
    def everything(cls, codes: Codes) -> Selection:
        """All rows and frames."""
        return cls(tuple(range(codes.num_codebooks)), 0, codes.num_frames)

    def inside(self, codes: Codes) -> Selection:
        """What of it lies inside ``codes``.

        Raises:
            ValueError: nothing does.
        """
        rows = tuple(sorted({k for k in self.rows if 0 <= k < codes.num_codebooks}))
        start, stop = max(0, self.start), min(self.stop, codes.num_frames)
        if not rows or start >= stop:
            raise ValueError("the selection holds no token")
        return Selection(rows, start, stop)

    @property
    def num_frames(self) -> int:
        """Frames from start to stop."""
        return self.stop - self.start


@dataclass(frozen=True)
class Block:
    """Copied tokens: int16 ``[rows, frames]`` with their codebooks, and the codec that they belong to."""

    array: np.ndarray
    rows: tuple[int, ...]
    info: CodecInfo


def semantic_rows(info: CodecInfo) -> tuple[int, ...]:
    """The codebooks that carry what is said."""
    return tuple(range(info.num_semantic_codebooks))


def acoustic_rows(info: CodecInfo, num_codebooks: int) -> tuple[int, ...]:
    """The codebooks that carry how it sounds."""
    return tuple(range(info.num_semantic_codebooks, num_codebooks))


def copy(codes: Codes, selection: Selection) -> Block:
    """The tokens under ``selection``, for :func:`paste`.

    Raises:
        ValueError: the selection holds no token.
    """
    s = selection.inside(codes)
    array = codes.array[list(s.rows), s.start : s.stop].copy()
    array.flags.writeable = False
    return Block(array, s.rows, codes.info)


def paste(codes: Codes, block: Block, at_frame: int) -> Codes:
    """Put ``block`` over the tokens from ``at_frame`` on, each row into its own codebook; what does not fit is cut.

    Raises:
        CodesMismatch: the block is of another checkpoint.
        ValueError: nothing of it fits.
    """
    _check_alike(codes, block.info)
    s = Selection(block.rows, at_frame, at_frame + block.array.shape[1]).inside(codes)
    array = codes.array.copy()
    source = [block.rows.index(k) for k in s.rows]
    array[list(s.rows), s.start : s.stop] = block.array[source, s.start - at_frame : s.stop - at_frame]
    return _edited(codes, array, "paste", s)


def swap_rows(codes: Codes, donor: Codes, selection: Selection, *, donor_name: str = "", donor_start: int = 0) -> Codes:
    """Replace the selected tokens by those of ``donor`` from frame ``donor_start`` on.

    Give ``Selection(semantic_rows(info), ...)`` for another text in this voice, ``acoustic_rows`` for this text in
    another voice. Where the donor ends early, the rest stays.

    Raises:
        CodesMismatch: the donor is of another checkpoint or codec, or lacks the rows.
        ValueError: the selection, or the donor's part of it, holds no token.
    """
    _check_alike(codes, donor.info)
    s = selection.inside(codes)
    if s.rows[-1] >= donor.num_codebooks:
        raise CodesMismatch(f"The other tokens have {donor.num_codebooks} codebooks; row {s.rows[-1]} is not there.")
    frames = min(s.num_frames, donor.num_frames - donor_start)
    if frames <= 0 or donor_start < 0:
        raise ValueError("the other tokens have no frame there")
    s = replace(s, stop=s.start + frames)
    array = codes.array.copy()
    array[list(s.rows), s.start : s.stop] = donor.array[list(s.rows), donor_start : donor_start + frames]
    source = donor.metadata.get("source")
    return _edited(codes, array, "swap", s, donor=donor_name or source or "", donor_start=donor_start)


def shift(codes: Codes, selection: Selection, by_frames: int) -> Codes:
    """Move the selected tokens later (or earlier) in time; what leaves the selection comes in at its other end.

    Raises:
        ValueError: the selection holds no token.
    """
    s = selection.inside(codes)
    array = codes.array.copy()
    part = array[list(s.rows), s.start : s.stop]
    array[list(s.rows), s.start : s.stop] = np.roll(part, by_frames, axis=1)
    return _edited(codes, array, "shift", s, by_frames=by_frames)


def drop(
    codes: Codes, selection: Selection, percent: float, *, fill: Literal["repeat", "random"] = "repeat", seed: int = 0
) -> Codes:
    """Lose ``percent`` of the selected frames, as a network would.

    Mimi has no token for "nothing", so a lost frame repeats the last that arrived (``fill="repeat"``; a lost first
    frame stays), or gets random tokens. Frames are lost with all selected rows together.

    Raises:
        ValueError: not 0 to 100 per cent, or the selection holds no token.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} % cannot be dropped; expected 0 to 100")
    s = selection.inside(codes)
    rng = np.random.default_rng(seed)
    lost = np.zeros(s.num_frames, dtype=bool)
    lost[rng.permutation(s.num_frames)[: round(s.num_frames * percent / 100)]] = True
    array = codes.array.copy()
    rows = list(s.rows)
    part = array[rows, s.start : s.stop]
    if fill == "random":
        part[:, lost] = rng.integers(0, codes.info.cardinality, (len(rows), int(lost.sum())))
    else:
        arrived = np.maximum.accumulate(np.where(lost, -1, np.arange(s.num_frames)))
        before = array[rows, s.start - 1] if s.start else part[:, 0]
        part = np.where(arrived >= 0, part[:, np.maximum(arrived, 0)], before[:, None])
    array[rows, s.start : s.stop] = part
    return _edited(codes, array, "drop", s, percent=percent, fill=fill, seed=seed)


def shuffle(codes: Codes, selection: Selection, *, together: bool = True, seed: int = 0) -> Codes:
    """Put the selected frames into a random order: all rows alike (``together``), or each row by itself.

    Raises:
        ValueError: the selection holds no token.
    """
    s = selection.inside(codes)
    rng = np.random.default_rng(seed)
    array = codes.array.copy()
    part = array[list(s.rows), s.start : s.stop]
    part = part[:, rng.permutation(s.num_frames)] if together else rng.permuted(part, axis=1)
    array[list(s.rows), s.start : s.stop] = part
    return _edited(codes, array, "shuffle", s, together=together, seed=seed)


def replace_code(codes: Codes, selection: Selection, old: int, new: int) -> Codes:
    """Say ``new`` wherever the selection says ``old``.

    Raises:
        ValueError: the selection holds no such token, or the codebook has no code ``new``.
    """
    if not 0 <= new < codes.info.cardinality:
        raise ValueError(f"code {new} does not exist; the codebooks have 0 to {codes.info.cardinality - 1}")
    s = selection.inside(codes)
    array = codes.array.copy()
    part = array[list(s.rows), s.start : s.stop]
    count = int(np.count_nonzero(part == old))
    if not count:
        raise ValueError(f"the selection holds no token {old}")
    array[list(s.rows), s.start : s.stop] = np.where(part == old, np.int16(new), part)
    return _edited(codes, array, "replace", s, old=old, new=new, count=count)


def edits(codes: Codes) -> tuple[Mapping[str, object], ...]:
    """The edits that the metadata tells, first to last."""
    found = codes.metadata.get(EDITS_KEY)
    return tuple(found) if isinstance(found, list | tuple) else ()


@dataclass(frozen=True)
class History:
    """Undo and redo as a value: states of the codes and which one is shown.

    At most 100 states are kept, fewer where they would take more than 256 MB, but at least ten.
    """

    states: tuple[Codes, ...]
    index: int = 0

    @classmethod
    def of(cls, codes: Codes) -> History:
        """A history that begins here."""
        return cls((codes,))

    @property
    def codes(self) -> Codes:
        """The state that is shown."""
        return self.states[self.index]

    @property
    def can_undo(self) -> bool:
        """Whether there is an older state."""
        return self.index > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a newer state."""
        return self.index < len(self.states) - 1

    @property
    def undo_label(self) -> str:
        """The name of the edit that an undo takes back, "" without one."""
        return _last_edit(self.codes) if self.can_undo else ""

    @property
    def redo_label(self) -> str:
        """The name of the edit that a redo brings back, "" without one."""
        return _last_edit(self.states[self.index + 1]) if self.can_redo else ""

    def do(self, codes: Codes) -> History:
        """A history with ``codes`` as its newest state; what could be redone is forgotten."""
        most = max(_LEAST_STATES, min(_MOST_STATES, _MOST_BYTES // max(codes.array.nbytes, 1)))
        states = (*self.states[: self.index + 1], codes)[-most:]
        return History(states, len(states) - 1)

    def undo(self) -> History:
        """One state back; the oldest stays."""
        return replace(self, index=max(0, self.index - 1))

    def redo(self) -> History:
        """One state forward; the newest stays."""
        return replace(self, index=min(len(self.states) - 1, self.index + 1))


def _last_edit(codes: Codes) -> str:
    told = edits(codes)
    return str(told[-1].get("edit", "")) if told else ""


def _edited(codes: Codes, array: np.ndarray, edit: str, selection: Selection, **details: object) -> Codes:
    entry = {"edit": edit, "rows": list(selection.rows), "frames": [selection.start, selection.stop], **details}
    metadata = {**codes.metadata, EDITS_KEY: [*edits(codes), entry]}
    return replace(codes, array=array, metadata=metadata)


def _check_alike(codes: Codes, other: CodecInfo) -> None:
    if codes.info.same_checkpoint(other) is False:
        raise CodesMismatch(
            f"The other tokens are of {other.model_name or 'another checkpoint'}, these of"
            f" {codes.info.model_name or 'this one'}: their numbers do not mean the same sounds."
        )
    if (other.cardinality, other.frame_size) != (codes.info.cardinality, codes.info.frame_size):
        raise CodesMismatch("The other tokens are of another codec: their frames or codebooks are of another size.")
