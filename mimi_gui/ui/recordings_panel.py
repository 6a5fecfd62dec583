"""The list of recordings that were dropped together: one is open, the others are a click away. GUI thread only."""

from __future__ import annotations

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QLabel, QListView, QStyledItemDelegate, QStyleOptionViewItem, QVBoxLayout, QWidget

from mimi_gui.ui.file_jobs import Entry

_Index = QModelIndex | QPersistentModelIndex


class _Entries(QAbstractListModel):
    """The list as Qt wants it; costs nothing per line until the line is seen."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._entries: tuple[Entry, ...] = ()
        self._current = -1

    def set_entries(self, entries: tuple[Entry, ...], current: int) -> None:
        if entries != self._entries:
            self.beginResetModel()
            self._entries = entries
            self.endResetModel()
        self._current = current
        if entries:
            self.dataChanged.emit(self.index(0), self.index(len(entries) - 1))

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        entry = self._entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            both = entry.audio is not None and entry.tokens is not None
            return f"{entry.path.name}{'  + tokens' if both else ''}"
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(str(path) for path in (entry.audio, entry.tokens) if path is not None)
        if role == Qt.ItemDataRole.FontRole and index.row() == self._current:
            font = QFont()
            font.setBold(True)
            return font
        return None


class _Narrow(QStyledItemDelegate):
    """As wide as the list, however long a name is: it gives way in the middle, and the list does not scroll aside."""

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        return QSize(1, super().sizeHint(option, index).height())


class RecordingsPanel(QWidget):
    """See the module's docstring.

    Signals:
        chosen(int): open this line.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _Entries(self)
        self._list = QListView()
        self._list.setModel(self._model)
        self._list.setItemDelegate(_Narrow(self._list))
        self._list.setUniformItemSizes(True)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setAccessibleName("Recordings")
        self._list.clicked.connect(self._chosen)
        self._list.activated.connect(self._chosen)
        self._count = QLabel()
        self._count.setProperty("dim", True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self._list)
        layout.addWidget(self._count)
        self.setMinimumWidth(180)

    def set_entries(self, entries: tuple[Entry, ...], current: int) -> None:
        """Show the list; ``current`` is open (-1: none of them)."""
        self._model.set_entries(entries, current)
        number = f"{current + 1} of " if current >= 0 else ""
        self._count.setText(f"{number}{len(entries):,} recording{'' if len(entries) == 1 else 's'}")
        if current >= 0:
            index = self._model.index(current)
            self._list.setCurrentIndex(index)
            self._list.scrollTo(index)

    def _chosen(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(index.row())
