"""The lines of a corpus as Qt's tables want them; a line costs nothing until it is seen. GUI thread only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QFont

from mimi_gui.corpus_list import Line
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import format_time

if TYPE_CHECKING:
    from mimi_gui.corpus_stats import Outlier

_Index = QModelIndex | QPersistentModelIndex
_HEADINGS = ("Recording", "Length", "State")
_TIPS = ("Its place in the corpus", "How long it lasts", "ok, failed, a warning, or why it stands out")
_SORTED = Qt.ItemDataRole.UserRole  # what a column is sorted by


class CorpusTable(QAbstractTableModel):
    """See the module's docstring.

    Attributes:
        outliers: what stands out, by the name of the line.
    """

    def __init__(self, theme: Theme, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._lines: Sequence[Line] = ()
        self._rows: dict[Path, int] = {}
        self._current = -1
        self.outliers: Mapping[str, Outlier] = {}

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these."""
        self.beginResetModel()
        self._lines, self._current, self.outliers = lines, -1, {}
        self._rows = {line.tokens or line.audio or Path(): row for row, line in enumerate(lines)}
        self.endResetModel()

    def set_outliers(self, outliers: Mapping[str, Outlier]) -> None:
        """Say of these why they stand out."""
        self.outliers = outliers
        self._changed()

    def set_current(self, tokens: Path | None, audio: Path | None) -> int | None:
        """Mark what is open; gives its row, None where it is not of this corpus."""
        row = self._rows.get(tokens or audio or Path("/"))
        self._current = -1 if row is None else row
        self._changed()
        return row

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self._theme = theme
        self._changed()

    def line(self, row: int) -> Line:
        """The line of a row."""
        return self._lines[row]

    def state(self, line: Line) -> str:
        """The state in a word or two."""
        outlier = self.outliers.get(line.name)
        return outlier.kind if outlier is not None and line.state != "failed" else line.state

    def words(self, line: Line) -> str:
        """Why a line is not simply ok, "" where it is."""
        outlier = self.outliers.get(line.name)
        return "; ".join(words for words in (line.words, outlier.words if outlier is not None else "") if words)

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self._lines)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008
        return len(_HEADINGS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _HEADINGS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:  # as what stands below
            side = Qt.AlignmentFlag.AlignRight if section == 1 else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return _TIPS[section] if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        line, column = self._lines[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            length = "" if line.length_s is None else format_time(line.length_s, 0.1)
            return (line.name.removesuffix(".npz"), length, self.state(line))[column]
        if role == _SORTED:
            length_s = -1.0 if line.length_s is None else line.length_s
            state = self.state(line)
            trouble = f"{0 if state == 'failed' else 2 if state == 'ok' else 1} {state}"  # the worst first
            return (line.name, length_s, trouble)[column]
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleDescriptionRole):
            return self.words(line) or str(line.tokens or line.audio or line.name)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == 1:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and column == 2:
            state = self.state(line)
            return self._theme.color("error" if state == "failed" else "text_dim" if state == "ok" else "warning")
        if role == Qt.ItemDataRole.FontRole and index.row() == self._current:
            font = QFont()
            font.setBold(True)
            return font
        return None

    def _changed(self) -> None:
        if self._lines:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._lines) - 1, len(_HEADINGS) - 1))


class Filtered(QSortFilterProxyModel):
    """The lines that hold all words of a search, sorted by a column; by length as a number."""

    def __init__(self, table: CorpusTable, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self._words: list[str] = []
        self.setSortRole(_SORTED)
        self.setSortCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setSourceModel(table)

    def set_words(self, text: str) -> None:
        """Show only lines with all of these words, in any case."""
        self._words = text.casefold().split()
        self.invalidate()

    def line(self, index: object) -> Line | None:
        """The line of an index of the view."""
        source = self.mapToSource(index)  # pyright: ignore[reportArgumentType]
        return self._table.line(source.row()) if source.isValid() else None

    def filterAcceptsRow(self, source_row: int, source_parent: _Index) -> bool:
        if not self._words:
            return True
        line = self._table.line(source_row)
        text = f"{line.name} {self._table.state(line)} {self._table.words(line)}".casefold()
        return all(word in text for word in self._words)
