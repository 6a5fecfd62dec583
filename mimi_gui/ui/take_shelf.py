"""The states of the codebooks that were kept of the open recording: any of them can be heard as A, and as B again.

The transport holds the one take that is heard as A; every one it is given stays here until another recording is
opened. GUI thread only.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.ui.document import Take
from mimi_gui.ui.session import Session
from mimi_gui.ui.transport import Transport

MOST_TAKES = 12  # an hour is 350 MB a take, on disk


@dataclass(frozen=True, eq=False)
class KeptTake:
    """A take with its number, from 1, and the codebooks (from 0) that sound in it."""

    number: int
    take: Take
    codebooks: tuple[int, ...]

    @property
    def name(self) -> str:
        """What it is called in the window."""
        return f"{self.number}: {self.take.title}"


class TakeShelf(QObject):
    """See the module's docstring.

    Signals:
        changed(): other takes are kept, or another one is heard as A.
    """

    changed = Signal()

    def __init__(self, session: Session, transport: Transport, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._transport = session, transport
        self._takes: tuple[KeptTake, ...] = ()
        self._count = 0
        session.source_changed.connect(self._clear)
        session.finished.connect(self.changed)
        transport.take_changed.connect(self._take_in)

    @property
    def takes(self) -> tuple[KeptTake, ...]:
        """What is kept, in the order of keeping."""
        return self._takes

    @property
    def heard_as_a(self) -> KeptTake | None:
        """The take that is A; None for the original."""
        return next((kept for kept in self._takes if kept.take is self._transport.take), None)

    @property
    def hears_original(self) -> bool:
        """Whether A is what Mimi heard: no take, and not the untouched file."""
        return self._transport.take is None

    def is_heard_as_b(self, kept: KeptTake) -> bool:
        """Whether B is decoded from the same tokens and codebooks."""
        document = self._session.document
        return kept.take.codes is document.codes and kept.codebooks == document.codebooks and document.is_complete

    def can_be_b(self, kept: KeptTake) -> bool:
        """Whether its tokens are still the open ones, so that it can be decoded again."""
        return kept.take.codes is not None and kept.take.codes is self._session.document.codes

    def keep(self) -> None:
        """Keep what is heard as B, and hear it as A."""
        self._transport.pin()

    def hear_as_a(self, kept: KeptTake | None) -> None:
        """Hear this one as A; None: the original again."""
        take = None if kept is None else kept.take
        if take is not self._transport.take:
            self._transport.use_take(take)

    def hear_as_b(self, kept: KeptTake) -> None:
        """Decode its codebooks again as B."""
        if not self.can_be_b(kept):
            return
        if kept.codebooks == tuple(range(len(kept.codebooks))):
            self._session.set_num_codebooks(len(kept.codebooks))
        else:
            self._session.set_mix(kept.codebooks)

    def next_as_a(self) -> None:
        """Hear the next take as A; after the last one the original."""
        heard = self.heard_as_a
        place = 0 if heard is None else self._takes.index(heard) + 1
        self.hear_as_a(self._takes[place] if place < len(self._takes) else None)

    def remove(self, kept: KeptTake) -> None:
        """Keep it no more."""
        if kept is self.heard_as_a:
            self.hear_as_a(None)
        self._takes = tuple(other for other in self._takes if other is not kept)
        self.changed.emit()

    @Slot()
    def _take_in(self) -> None:
        take = self._transport.take
        if take is not None and not take.is_file and self.heard_as_a is None:
            self._count += 1
            kept = KeptTake(self._count, take, self._session.document.codebooks)
            self._takes = (*self._takes, kept)[-MOST_TAKES:]
        self.changed.emit()

    @Slot()
    def _clear(self) -> None:
        self._takes, self._count = (), 0
        self.changed.emit()
