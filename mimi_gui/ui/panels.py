"""The docks around the wall: a table of kinds, each built when it is first shown.

To add a panel, write ``mimi_gui/ui/<key>_panel.py`` with ``build(context: PanelContext) -> QWidget``, in which the
panel connects itself to what it needs, and add a line to :data:`KINDS`. A method ``set_theme(theme)`` is called when
the theme changes, ``close()`` when the window closes. What it imports of scipy is imported on the analysis thread
first, so that opening a panel does not hold the window up. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QDockWidget, QLabel, QMainWindow, QMenu, QWidget

from mimi_gui.ui.analysis_lanes import AnalysisLanes
from mimi_gui.ui.comparison import Comparison
from mimi_gui.ui.editing import Editing
from mimi_gui.ui.lane_switches import LaneSwitches
from mimi_gui.ui.panel_context import PanelContext
from mimi_gui.ui.session import Session
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.take_shelf import TakeShelf
from mimi_gui.ui.theme import Theme
from mimi_gui.ui.token_marks import TokenMarks
from mimi_gui.ui.transport import Transport
from mimi_gui.ui.worker import Desk, Job, WorkerThread
from mimi_gui.ui.workspace import Workspace

_WALL_PX, _LEAST_PX = 900, 340  # what the views should have beside docks, and what a dock should
_LEFT, _RIGHT, _BOTTOM = (
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
)


@dataclass(frozen=True)
class Kind:
    """One dock.

    Attributes:
        key: its name in the saved layout; its module is ``<key>_panel``.
        shortcut: the keys that show or hide it, "" for none.
        area: where it stands until the person moves it.
        group: its heading in View > Panels.
        tip: what it is for, one line.
        imports: heavy modules below ``mimi_gui`` without Qt, imported on the analysis thread before it is built.
    """

    key: str
    title: str
    shortcut: str
    area: Qt.DockWidgetArea
    group: str
    tip: str
    imports: tuple[str, ...] = ()


KINDS = (
    Kind("numbers", "Numbers", "Ctrl+1", _RIGHT, "Compare", "Metrics of the reconstruction", ("analysis.metrics",)),
    Kind("moments", "Worst Moments", "Ctrl+2", _RIGHT, "Compare", "Where it hurts", ("analysis.error_strip",)),
    Kind("ladder", "K-Ladder", "Ctrl+3", _RIGHT, "Compare", "What each codebook buys", ("analysis.ladder",)),
    Kind("mixer", "Mixer", "Ctrl+4", _BOTTOM, "Codebooks", "Mute and solo codebooks"),
    Kind("takes", "Takes", "Ctrl+T", _RIGHT, "Compare", "States of the codebooks that were kept, for A and for B"),
    Kind("tokens", "Tokens", "Ctrl+6", _RIGHT, "Codebooks", "One code: its share, neighbours and every occurrence"),
    Kind("diff", "Compare Tokens", "Ctrl+8", _RIGHT, "Codebooks", "Two token files or takes, cell by cell"),
    Kind("surgery", "Surgery", "Ctrl+9", _RIGHT, "Codebooks", "Swap, shift, drop, shuffle, replace tokens; undo; save"),
    Kind("probe", "Stability Probe", "Ctrl+7", _RIGHT, "Codebooks", "Do the tokens stay when the recording is shifted?",
         ("analysis.probe",)),
    Kind("spectrogram", "Spectrogram Settings", "Ctrl+5", _RIGHT, "Compare", "Window, scale, colours of the"
         " spectrograms", ("analysis.spectrogram",)),
    Kind("corpus", "Corpus", "Ctrl+Alt+C", _LEFT, "Files", "The recordings of a corpus, its figures, what stands out"),
)  # fmt: skip


@dataclass(frozen=True)
class ImportModules(Job):
    """Import modules below ``mimi_gui`` away from the window; none that imports Qt. Result: None."""

    names: tuple[str, ...]

    def run(self, desk: Desk) -> None:
        for name in self.names:
            import_module(f"mimi_gui.{name}")


class Panels(QObject):
    """See the module's docstring.

    Attributes:
        docks: every dock, by key, from the start. widgets: the panels that were built, by key.

    Signals:
        noticed(object), settled(object): as the session's.
        action_requested(str): the name of an action that a panel offers too.
    """

    noticed = Signal(object)
    settled = Signal(object)
    action_requested = Signal(str)

    def __init__(
        self,
        window: QMainWindow,
        session: Session,
        transport: Transport,
        workspace: Workspace,
        settings: SettingsStore,
        codec: WorkerThread,
        files: WorkerThread,
        measuring: WorkerThread,
        kinds: Iterable[Kind] = KINDS,
    ) -> None:
        super().__init__(window)
        self._window, self._measuring = window, measuring
        self.kinds = {kind.key: kind for kind in kinds}
        self.comparison = Comparison(session, codec, measuring, self)
        self.lanes = AnalysisLanes(workspace.wall, self)
        self.switches = LaneSwitches(self.lanes, self.comparison, session, transport, settings, measuring, self)
        self.marks = TokenMarks(session, transport, workspace.wall, files, self)
        self.editing = Editing(session, transport, workspace.wall, files, self)
        self.shelf = TakeShelf(session, transport, self)
        self.context = PanelContext(
            window, session, self.comparison, transport, workspace.wall, self.lanes, self.marks, self.editing,
            self.shelf, codec, files, measuring, settings, workspace.wall.theme, self.noticed.emit,
            self.action_requested.emit, self.show,
        )  # fmt: skip
        self.docks: dict[str, QDockWidget] = {}
        self.widgets: dict[str, QWidget] = {}
        self._imports: dict[int, str] = {}
        for kind in self.kinds.values():
            self.docks[kind.key] = self._shell(kind)
        for area in (_LEFT, _RIGHT, _BOTTOM):
            beside = [self.docks[kind.key] for kind in self.kinds.values() if kind.area == area]
            for first, second in pairwise(beside):
                window.tabifyDockWidget(first, second)
        self.comparison.noticed.connect(self.noticed)
        self.comparison.moment_stepped.connect(self._loop_moment)
        for source in (self.marks, self.editing):
            source.noticed.connect(self.noticed)
            source.settled.connect(self.settled)
        self.marks.more_requested.connect(self._show_tokens)
        session.corpus_changed.connect(self._corpus_changed)
        measuring.finished.connect(self._imported)

    def _shell(self, kind: Kind) -> QDockWidget:
        dock = QDockWidget(kind.title, self._window)
        dock.setObjectName(kind.key)
        waiting = QLabel("…")
        waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        dock.setWidget(waiting)
        self._window.addDockWidget(kind.area, dock)
        dock.hide()
        dock.visibilityChanged.connect(self._visibility_changed)
        return dock

    def show(self, key: str) -> None:
        """Bring the dock ``key`` to the front."""
        self.docks[key].show()
        self.docks[key].raise_()

    @Slot()
    def _corpus_changed(self) -> None:
        if self.context.session.corpus is not None:
            self.show("corpus")

    @Slot(object)
    def _loop_moment(self, place: int) -> None:
        errors = self.comparison.errors
        if errors is not None:
            moment = errors.moments[place]
            self.context.transport.play_loop((moment.start_s, moment.end_s))

    @Slot()
    def _show_tokens(self) -> None:
        self.show("tokens")

    def fill_menu(self, menu: QMenu) -> None:
        """Add an entry per dock, in groups, with keys and tooltips."""
        for group in dict.fromkeys(kind.group for kind in self.kinds.values()):
            heading = menu.addAction(group)  # a section's words are not drawn where a stylesheet draws its line
            heading.setEnabled(False)
            for kind in self.kinds.values():
                if kind.group != group:
                    continue
                action = self.docks[kind.key].toggleViewAction()
                action.setShortcut(kind.shortcut)
                keys = f" ({kind.shortcut})" if kind.shortcut else ""
                action.setToolTip(f"{kind.tip}{keys}")
                action.setStatusTip(kind.tip)
                action.triggered.connect(self.docks[kind.key].raise_)  # from behind its neighbours' tabs
                self._window.addAction(action)
                menu.addAction(action)

    @Slot(bool)
    def _visibility_changed(self, visible: bool) -> None:
        dock = self.sender()
        if not visible or not isinstance(dock, QDockWidget):
            return
        key = dock.objectName()
        if key not in self.widgets and key not in self._imports.values():
            self._imports[self._measuring.submit(ImportModules(self.kinds[key].imports))] = key

    @Slot(object, object)
    def _imported(self, number: int, result: object) -> None:
        key = self._imports.pop(number, None)
        if key is not None:
            widget = self.widgets[key] = import_module(f"mimi_gui.ui.{key}_panel").build(self.context)
            self.docks[key].setWidget(widget)
            self._leave_room(self.docks[key])

    def _leave_room(self, dock: QDockWidget) -> None:
        """A panel that asks for much must not press the views into a corner of a small window."""
        window, beside = self._window, (_LEFT, _RIGHT)
        is_beside = window.dockWidgetArea(dock) in beside and not dock.isFloating() and dock.isVisible()
        if is_beside and window.width() - dock.width() < _WALL_PX:
            window.resizeDocks([dock], [max(window.width() - _WALL_PX, _LEAST_PX)], Qt.Orientation.Horizontal)

    def set_theme(self, theme: Theme) -> None:
        """Dress in another theme."""
        self.context = replace(self.context, theme=theme)
        for widget in self.widgets.values():
            if hasattr(widget, "set_theme"):
                widget.set_theme(theme)  # pyright: ignore[reportAttributeAccessIssue] - asked the line before

    def close(self) -> None:
        """End what makes pictures; remember which views are shown. A panel that defines another close is told."""
        for widget in self.widgets.values():
            widget.close()
        self.lanes.close()
