"""A corpus as a list: search, sort, open with Enter; its figures, and what stands out at the right moment. GUI thread
only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from mimi_gui.corpus_list import Line, Listing
from mimi_gui.ui.analysis_jobs import MeasureCorpus
from mimi_gui.ui.corpus_chart import CorpusChart
from mimi_gui.ui.corpus_table import CorpusTable, Filtered
from mimi_gui.ui.file_jobs import ReadCorpus, corpus_entries
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.time_axis import format_time
from mimi_gui.ui.worker import Failure, Progress

if TYPE_CHECKING:
    from mimi_gui.corpus_stats import CorpusStats, Outlier
    from mimi_gui.ui.panel_context import PanelContext

_NOTHING = "Open a folder that mimi-gui corpus has filled (File, Open Folder), or drop it here."


class CorpusPanel(QWidget):
    """The list with its search line, and the figures below it.

    Signals:
        chosen(object): open this Line. read_requested(): read the manifest again.
        measure_requested(), cancel_requested(): work out the figures, or stop that.
    """

    chosen = Signal(object)
    read_requested = Signal()
    measure_requested = Signal()
    cancel_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._listing: Listing | None = None
        self._figures = ""
        self._running = False
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search names, states and reasons")
        self.search.setAccessibleName("Search the corpus")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip(
            "Show only recordings whose name, state or reason holds these words (Ctrl+F in this panel)"
        )
        self._table = CorpusTable(theme, self)
        self._filtered = Filtered(self._table, self)
        self.view = QTableView()
        self.view.setModel(self._filtered)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setTextElideMode(Qt.TextElideMode.ElideLeft)  # names end in what differs
        self.view.setWordWrap(False)
        self.view.setShowGrid(False)
        self.view.setTabKeyNavigation(False)
        self.view.verticalHeader().hide()
        self.view.verticalHeader().setDefaultSectionSize(self.view.fontMetrics().height() + 10)
        header = self.view.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        self.view.setAccessibleName("Recordings of the corpus")
        self.view.setToolTip("Enter or double click: open this recording. A click on a heading sorts")
        self.view.activated.connect(self._activated)
        self._counts, self._words = QLabel(), QLabel()
        for label in (self._counts, self._words):
            label.setProperty("dim", True)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.chart = CorpusChart(theme)
        self._measure = _button("Statistics", "Read all token files: hours, use of the codebooks, what stands out")
        self._again = _button("Read Again", "Read the manifest again: a run may have gone on since")
        self._progress = QProgressBar()
        self._progress.setAccessibleName("Token files read")
        self._progress.hide()
        buttons = QHBoxLayout()
        buttons.addWidget(self._measure)
        buttons.addWidget(self._again)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 12, 12, 12)
        layout.setSpacing(8)
        layout.addWidget(self.search)
        layout.addWidget(self._counts)
        layout.addWidget(self.view, 1)
        layout.addLayout(buttons)
        layout.addWidget(self._progress)
        layout.addWidget(self.chart)
        layout.addWidget(self._words)
        self.setMinimumWidth(260)
        self.search.textChanged.connect(self._searched)
        self.search.returnPressed.connect(self._to_the_list)
        self._measure.clicked.connect(self._measure_pressed)
        self._again.clicked.connect(self.read_requested)
        self.chart.pointed.connect(self._point)
        find = QShortcut(QKeySequence.StandardKey.Find, self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self._find)
        self.set_listing(None)

    def sizeHint(self) -> QSize:
        return QSize(380, 600)

    def set_listing(self, listing: Listing | None) -> None:
        """Show the recordings of a corpus, without figures."""
        self._listing = listing
        self._table.set_lines(() if listing is None else listing.lines)
        for widget in (self.search, self.view, self._measure, self._again):
            widget.setEnabled(listing is not None)
        self.set_figures(None)
        self._searched()
        header = self.view.horizontalHeader()
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def set_current(self, tokens: Path | None, audio: Path | None) -> None:
        """Mark what is open."""
        row = self._table.set_current(tokens, audio)
        if row is not None:
            index = self._filtered.mapFromSource(self._table.index(row, 0))
            if index.isValid():
                self.view.setCurrentIndex(index)
                self.view.scrollTo(index)

    def set_figures(self, stats: CorpusStats | None) -> None:
        """Show what was worked out, and mark what stands out in the list."""
        self.set_progress(None)
        self.chart.setVisible(stats is not None)
        self.chart.set_stats(stats)
        outliers: Sequence[Outlier] = () if stats is None else stats.outliers
        self._table.set_outliers(_by_name(outliers))
        if stats is None:
            self._figures = _NOTHING if self._listing is None else ""
        else:
            hours = f"{stats.audio_s / 3600:,.2f} h" if stats.audio_s >= 360 else f"{stats.audio_s:.1f} s"
            kinds = [outlier.kind for outlier in outliers]
            counts = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds))
            self._figures = (
                f"{hours} in {stats.num_files:,} recordings, {stats.num_frames:,} frames; the longest"
                f" {format_time(stats.longest_s, 0.1)}, half of them up to {format_time(stats.median_s, 0.1)}."
                f" {stats.num_codebooks} codebooks at {stats.bitrate_kbps:.3g} kbit/s, {stats.entropy_kbps:.3g} kbit/s"
                f" of entropy. Standing out: {counts or 'nothing'}."
            )
        self._words.setText(self._figures)

    def set_progress(self, progress: Progress | None) -> None:
        """Show how far the figures are, None where they are not being worked out."""
        self._running = progress is not None
        self._measure.setText("Cancel" if self._running else "Statistics")
        self._measure.setAccessibleName(self._measure.text())
        self._progress.setVisible(self._running)
        if progress is not None:
            self._progress.setRange(0, max(progress.total, 1))
            self._progress.setValue(progress.done)

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.chart.theme = theme
        self.chart.update()
        self._table.set_theme(theme)

    def outlier(self, line: Line) -> Outlier | None:
        """Why a recording stands out, if it does."""
        return self._table.outliers.get(line.name)

    def _searched(self) -> None:
        self._filtered.set_words(self.search.text())
        listing = self._listing
        if listing is None:
            self._counts.setText("")
            return
        shown, total = self._filtered.rowCount(), len(listing.lines)
        found = f"{shown:,} of {total:,}" if shown != total else f"{total:,}"
        failed = f", {listing.num_failed:,} failed" if listing.num_failed else ""
        beyond = f" ({listing.num_left_out:,} more are not listed)" if listing.num_left_out else ""
        about = f"; {listing.about}" if listing.about else ""
        noun = "recording" if total == 1 else "recordings"
        length = format_time(listing.length_s, 1.0)
        self._counts.setText(f"{found} {noun}{beyond}{failed}, {length} in all{about}")
        self._counts.setToolTip(str(listing.folder))

    def _activated(self, index: object) -> None:
        line = self._filtered.line(index)
        if line is not None:
            self.chosen.emit(line)

    def _to_the_list(self) -> None:
        if self._filtered.rowCount():
            self.view.setFocus()
            if not self.view.currentIndex().isValid():
                self.view.selectRow(0)

    def _find(self) -> None:
        self.search.setFocus()
        self.search.selectAll()

    def _point(self, words: str) -> None:
        self._words.setText(words or self._figures)

    def _measure_pressed(self) -> None:
        (self.cancel_requested if self._running else self.measure_requested).emit()


def _by_name(outliers: Sequence[Outlier]) -> dict[str, Outlier]:
    """One outlier a recording: several reasons are told together, the moment is that of the last that has one."""
    found: dict[str, Outlier] = {}
    for outlier in outliers:
        if outlier.kind == "failed":
            continue  # the list says so already
        first = found.get(outlier.path)
        if first is not None:
            kind, words = f"{first.kind}, {outlier.kind}", f"{first.words}; {outlier.words}"
            outlier = replace(outlier, kind=kind, words=words, at_s=outlier.at_s or first.at_s)
        found[outlier.path] = outlier
    return found


def _button(words: str, tip: str) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tip)
    button.setAccessibleName(words)
    return button


class _Binding(QObject):
    """The panel's ties to the session and to the jobs it starts."""

    def __init__(self, panel: CorpusPanel, context: PanelContext) -> None:
        super().__init__(panel)
        self._panel, self._context, self._session = panel, context, context.session
        self._reading: int | None = None
        self._measuring: int | None = None
        self._moment: tuple[Path, float] | None = None  # to go to once these tokens are open
        panel.chosen.connect(self._open)
        panel.read_requested.connect(self._read)
        panel.measure_requested.connect(self._measure)
        panel.cancel_requested.connect(self._cancel)
        self._session.corpus_changed.connect(self._take)
        self._session.source_changed.connect(self._mark)
        self._session.sound_changed.connect(self._go)  # told last of a new recording
        for thread in (context.files, context.measuring):
            thread.finished.connect(self._finished)
            thread.failed.connect(self._failed)
            thread.cancelled.connect(self._ended)
        context.measuring.progressed.connect(self._progressed)
        self._take()

    @Slot()
    def _take(self) -> None:
        self._cancel()
        self._panel.set_listing(self._session.corpus)
        self._mark()

    @Slot()
    def _mark(self) -> None:
        entry = self._session.document.entry
        self._panel.set_current(entry.tokens if entry else None, entry.audio if entry else None)

    @Slot()
    def _go(self) -> None:
        entry = self._session.document.entry
        if self._moment is not None and entry is not None and entry.tokens == self._moment[0]:
            self._context.transport.seek(self._moment[1])
        self._moment = None

    @Slot(object)
    def _open(self, line: Line) -> None:
        if line.state == "failed":
            self._context.tell(Notice("warning", line.words or f"{line.name} failed.", topic="open"))
            return
        outlier = self._panel.outlier(line)
        if outlier is not None and outlier.at_s and line.tokens is not None:
            self._moment = (line.tokens, outlier.at_s)
        for number, entry in enumerate(self._session.recordings):
            if (entry.tokens, entry.audio) == (line.tokens, line.audio):
                self._session.show(number)
                return

    @Slot()
    def _read(self) -> None:
        if self._session.corpus is not None:
            self._reading = self._context.files.submit(ReadCorpus(self._session.corpus.folder))

    @Slot()
    def _measure(self) -> None:
        if self._session.corpus is not None:
            self._measuring = self._context.measuring.submit(MeasureCorpus(self._session.corpus.folder))
            self._panel.set_progress(Progress(""))

    @Slot()
    def _cancel(self) -> None:
        if self._measuring is not None:
            self._context.measuring.cancel(self._measuring)

    @Slot(object, object)
    def _progressed(self, number: int, progress: Progress) -> None:
        if number == self._measuring:
            self._panel.set_progress(progress)

    @Slot(object, object)
    def _finished(self, number: int, result: object) -> None:
        if number == self._reading and isinstance(result, Listing):
            self._reading = None
            self._session.set_corpus(result, corpus_entries(result))
        elif number == self._measuring:
            self._measuring = None
            self._panel.set_figures(result)  # pyright: ignore[reportArgumentType]

    @Slot(object, object)
    def _failed(self, number: int, failure: Failure) -> None:
        if number in (self._reading, self._measuring):
            self._context.tell(Notice("error", failure.message, failure.hint, failure.details, topic="corpus"))
            self._ended(number)

    @Slot(object)
    def _ended(self, number: int) -> None:
        if number == self._measuring:
            self._measuring = None
            self._panel.set_progress(None)
        elif number == self._reading:
            self._reading = None


def build(context: PanelContext) -> CorpusPanel:
    """The panel of one window, see :mod:`mimi_gui.ui.panels`."""
    panel = CorpusPanel(context.theme)
    _Binding(panel, context)
    return panel
