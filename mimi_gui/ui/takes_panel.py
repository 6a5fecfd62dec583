"""The takes that were kept, as a list: which of them is A, which is B, at the press of a key. GUI thread only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import (
    QGridLayout,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.ui.buttons import push_button
from mimi_gui.ui.take_shelf import KeptTake, TakeShelf

if TYPE_CHECKING:
    from mimi_gui.ui.panel_context import PanelContext
    from mimi_gui.ui.session import Session

_WORDS = (
    "A take is a state of the codebooks (or of edited tokens) that is kept, to compare it with others. Keep some, then"
    " choose one as A and another as B; A, B and Tab switch between them at the same sample."
)


class TakesPanel(QWidget):
    """The original and every take, with marks for what is heard as A and as B."""

    def __init__(self, shelf: TakeShelf, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shelf, self._session = shelf, session
        self._list = QTreeWidget()
        self._list.setRootIsDecorated(False)
        self._list.setUniformRowHeights(True)
        self._list.setAccessibleName("Takes")
        self._list.setToolTip("Enter or double click: hear it as A")
        self._list.setHeaderLabels(["Take", "kbit/s", "Heard as"])
        self._list.header().setStretchLastSection(False)
        self._list.header().setMinimumSectionSize(30)
        self._list.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            self._list.header().setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._list.itemActivated.connect(self._as_a_clicked)
        self._list.currentItemChanged.connect(self._enable)
        self._keep = push_button("Keep B as a take", "Keep what is B now, and hear it as A (key: P)")
        self._keep.clicked.connect(shelf.keep)
        self._as_a = push_button("Hear as A", "A is this one (Shift+A: the next)")
        self._as_a.clicked.connect(self._as_a_clicked)
        self._as_b = push_button("Hear as B", "Decode its codebooks again as B")
        self._as_b.clicked.connect(self._as_b_clicked)
        self._remove = push_button("Remove", "Keep this take no more")
        self._remove.clicked.connect(self._remove_clicked)
        words = QLabel(_WORDS)
        words.setProperty("dim", True)
        words.setWordWrap(True)
        buttons = QGridLayout()
        for place, button in enumerate((self._keep, self._remove, self._as_a, self._as_b)):
            buttons.addWidget(button, place // 2, place % 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self._list, 1)
        layout.addLayout(buttons)
        layout.addWidget(words)
        shelf.changed.connect(self.refresh)
        session.sound_changed.connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """List what is kept now; the chosen line stays chosen while it is there."""
        chosen = self._chosen()
        document, heard = self._session.document, self._shelf.heard_as_a
        self._list.clear()
        rows: list[tuple[KeptTake | None, str, str, bool, bool]] = []
        if document.recording is not None:
            rows.append((None, "Original", "", self._shelf.hears_original, False))
        for kept in self._shelf.takes:
            kbps = f"{document.info.bitrate_kbps(len(kept.codebooks)):.2f}"
            rows.append((kept, kept.name, kbps, kept is heard, self._shelf.is_heard_as_b(kept)))
        for kept, name, kbps, is_a, is_b in rows:
            item = QTreeWidgetItem(self._list, [name, kbps, " ".join("A" * is_a + "B" * is_b)])
            item.setData(0, Qt.ItemDataRole.UserRole, kept)
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if kept is not None:
                numbers = ", ".join(str(k) for k in kept.codebooks)
                item.setToolTip(0, f"Codebooks {numbers}")
            if kept is chosen and kept is not None:
                self._list.setCurrentItem(item)
        self._enable()

    def _chosen(self) -> KeptTake | None:
        item = self._list.currentItem()
        return None if item is None else item.data(0, Qt.ItemDataRole.UserRole)

    @Slot()
    def _enable(self) -> None:
        chosen, document = self._chosen(), self._session.document
        self._keep.setEnabled(document.sound is not None and document.is_complete)
        self._as_a.setEnabled(self._list.currentItem() is not None)
        self._remove.setEnabled(chosen is not None)
        can_be_b = chosen is not None and self._shelf.can_be_b(chosen)
        self._as_b.setEnabled(can_be_b)
        since = chosen is not None and not can_be_b
        self._as_b.setToolTip(
            "The tokens were changed since: it can be heard as A" if since else "Decode its codebooks again as B"
        )

    @Slot()
    def _as_a_clicked(self) -> None:
        if self._list.currentItem() is not None:
            self._shelf.hear_as_a(self._chosen())

    @Slot()
    def _as_b_clicked(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._shelf.hear_as_b(chosen)

    @Slot()
    def _remove_clicked(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self._shelf.remove(chosen)


def build(context: PanelContext) -> TakesPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    return TakesPanel(context.shelf, context.session)
