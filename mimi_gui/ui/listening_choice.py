"""The signals of a listening test: two for ABX and preference, levels for a staircase, many for MUSHRA.

Other recordings can join them, by a button or dropped here: the same clip through another codec, say. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QWidget,
)

from mimi_gui.analysis.ratings import MAX_TAKES
from mimi_gui.ui.file_jobs import AUDIO_SUFFIXES
from mimi_gui.ui.listening_jobs import Source

_WIDER = (
    "The original file has a wider band or more channels than Mimi is given: what you hear may be that, and not"
    " the codec."
)
_MUSHRA_COUNTS = (1, 2, 4, 8, 16, 32)  # what is marked at first


class TakesChoice(QWidget):
    """See the module's docstring.

    Signals:
        changed(): something else is chosen.
    """

    changed = Signal()

    def __init__(self, sources: Sequence[Source], levels: Sequence[Source]) -> None:
        super().__init__()
        self._sources, self._levels = tuple(sources), tuple(levels)
        self._kind = "abx"
        self.first, self.second = QComboBox(), QComboBox()
        for box in (self.first, self.second):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            for source in self._sources:
                box.addItem(source.title)
        first, second = self._usual_pair()
        self.first.setCurrentIndex(first)
        self.second.setCurrentIndex(second)
        self.many = QListWidget()
        self.many.setAccessibleName("Takes")
        self.many.setMinimumHeight(92)
        self.count = QLabel()
        self.count.setProperty("dim", True)
        self.first_label, self.second_label, self.many_label = QLabel(), QLabel(), QLabel()
        self.first_label.setBuddy(self.first)
        self.second_label.setBuddy(self.second)
        self.many_label.setBuddy(self.many)
        self.remark = QLabel()
        self.remark.setWordWrap(True)
        self.remark.setProperty("dim", True)
        grid = self._grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        grid.addWidget(self.first_label, 0, 0)
        grid.addWidget(self.first, 0, 1)
        grid.addWidget(self.second_label, 1, 0)
        grid.addWidget(self.second, 1, 1)
        grid.addWidget(self.many_label, 2, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.many, 2, 1)
        self.add = QPushButton("Add a recording …")
        self.add.setAutoDefault(False)
        self.add.setToolTip(
            "Compare with another recording, e.g. the same clip through another codec; or drop it here.\n"
            "It is played as it is; its delay against the reference is measured."
        )
        self.add.clicked.connect(self._ask_for_files)
        grid.addWidget(self.remark, 3, 1)
        last = QHBoxLayout()
        last.addWidget(self.add)
        last.addStretch(1)
        last.addWidget(self.count)
        grid.addLayout(last, 4, 1)
        self.setAcceptDrops(True)
        self.first.activated.connect(self._reference_chosen)
        self.second.activated.connect(self._chosen)
        self.many.itemChanged.connect(self._mark_changed)

    # More recordings

    def _ask_for_files(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in sorted(AUDIO_SUFFIXES))
        paths, _ = QFileDialog.getOpenFileNames(self, "Add recordings", "", f"Recordings ({patterns});;All files (*)")
        self.add_files([Path(path) for path in paths])

    def add_files(self, paths: Iterable[Path]) -> None:
        """Let recordings join what can be compared; the last one is chosen."""
        for path in paths:
            if any(source.path == path for source in self._sources):
                continue
            title = path.name if path.name not in {source.title for source in self._sources} else str(path)
            source = Source(title, None, 0, path=path)
            self._sources += (source,)
            for box in (self.first, self.second):
                box.addItem(title)
            self.second.setCurrentIndex(len(self._sources) - 1)
            if self._kind == "mushra":
                self._add_row(len(self._sources) - 1, source, on=len(self._marked()) < MAX_TAKES)
            self._chosen()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self.add.isVisible() and any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.add_files([Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()])

    # What is chosen

    def _usual_pair(self) -> tuple[int, int]:
        """The original (where there is none, the most codebooks) and what is heard as B, or what is next to that."""
        counts = [source.num_codebooks for source in self._sources]
        if not counts:
            return -1, -1
        first = counts.index(0) if 0 in counts else counts.index(max(counts))
        ready = [i for i, source in enumerate(self._sources) if source.samples is not None and counts[i] and i != first]
        others = [i for i in range(len(counts)) if i != first]
        return first, next(iter(ready), others[-1] if others else first)

    def set_kind(self, kind: str) -> None:
        """Ask for what this kind of test needs."""
        self._kind = kind
        is_pair = kind in ("abx", "preference")
        self.first_label.setText("First" if kind == "preference" else "Reference")
        self.second_label.setText("Second" if kind == "preference" else "Take")
        self.many_label.setText("Levels" if kind == "staircase" else "Takes")
        self.first.setAccessibleName(self.first_label.text())
        self.second.setAccessibleName(self.second_label.text())
        for widget in (self.second, self.second_label):
            widget.setVisible(is_pair)
        for widget in (self.many, self.many_label, self.count):
            widget.setVisible(not is_pair)
        self._grid.setRowStretch(2, 0 if is_pair else 1)
        self._grid.setRowStretch(5, 1 if is_pair else 0)
        if not is_pair:
            self._fill_many()
        self.add.setVisible(kind != "staircase")
        self._show_remark()

    def _fill_many(self) -> None:
        self.many.blockSignals(True)
        self.many.clear()
        rows = self._levels if self._kind == "staircase" else self._sources
        marked = 0
        for i, source in enumerate(rows):
            added = source.path is not None and not source.title.startswith("Original file")
            on = self._kind == "staircase" or ((source.num_codebooks in _MUSHRA_COUNTS or added) and marked < MAX_TAKES)
            marked += on
            self._add_row(i, source, on=on)
        self.many.blockSignals(False)
        self._bar_reference()

    def _bar_reference(self) -> None:
        """The reference is no take beside itself: among them it hides anyway."""
        self.many.blockSignals(True)
        for i in range(self.many.count()):
            item = self.many.item(i)
            is_reference = self._kind == "mushra" and item.text() == self.first.currentText()
            flags = item.flags() | Qt.ItemFlag.ItemIsEnabled
            item.setFlags(flags ^ Qt.ItemFlag.ItemIsEnabled if is_reference else flags)
            item.setToolTip("This is the reference; hidden among the takes it is there anyway" if is_reference else "")
            if is_reference:
                item.setCheckState(Qt.CheckState.Unchecked)
        self.many.blockSignals(False)

    def _reference_chosen(self) -> None:
        self._bar_reference()
        self._chosen()

    def _add_row(self, i: int, source: Source, *, on: bool) -> None:
        item = QListWidgetItem(source.title)
        item.setData(Qt.ItemDataRole.UserRole, i)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self.many.addItem(item)

    def _mark_changed(self) -> None:
        self._chosen()

    def _chosen(self) -> None:
        self._show_remark()
        self.changed.emit()

    def _show_remark(self) -> None:
        self.remark.setText(_WIDER if any(source.is_wider for source in self.sources()) else "")
        self.remark.setVisible(bool(self.remark.text()))
        most = f", {MAX_TAKES} at most" if self._kind == "mushra" else ""
        rows = [self.many.item(i) for i in range(self.many.count())]
        possible = sum(bool(row.flags() & Qt.ItemFlag.ItemIsEnabled) for row in rows)
        self.count.setText(f"{len(self._marked())} of {possible} marked{most}")

    def _marked(self) -> list[Source]:
        rows = self._levels if self._kind == "staircase" else self._sources
        found = []
        for i in range(self.many.count()):
            item = self.many.item(i)
            if item.checkState() == Qt.CheckState.Checked:
                found.append(rows[item.data(Qt.ItemDataRole.UserRole)])
        return found

    def sources(self) -> tuple[Source, ...]:
        """What is chosen, the reference first."""
        if not self._sources:
            return ()
        first = self._sources[max(self.first.currentIndex(), 0)]
        if self._kind in ("abx", "preference"):
            return first, self._sources[max(self.second.currentIndex(), 0)]
        return first, *(source for source in self._marked() if source.title != first.title)

    def problem(self) -> str:
        """Why what is chosen cannot be compared, "" when it can."""
        chosen = self.sources()
        if not chosen:
            return "Nothing is open to compare."
        if self._kind in ("abx", "preference"):
            if chosen[0].title == chosen[1].title:
                return "Both are the same: choose another one to compare with."
        elif self._kind == "staircase":
            if len(chosen) < 3:
                return "A staircase needs at least two numbers of codebooks."
        elif not 1 <= len(chosen) - 1 <= MAX_TAKES:
            return f"{len(chosen) - 1} takes are marked; expected 1 to {MAX_TAKES} beside the reference."
        return ""
