"""What a panel is given when it is built, so that it can bind itself. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMainWindow

from mimi_gui.ui.theme import Theme

if TYPE_CHECKING:
    from mimi_gui.ui.analysis_lanes import AnalysisLanes
    from mimi_gui.ui.comparison import Comparison
    from mimi_gui.ui.editing import Editing
    from mimi_gui.ui.notices import Notice
    from mimi_gui.ui.session import Session
    from mimi_gui.ui.settings import SettingsStore
    from mimi_gui.ui.take_shelf import TakeShelf
    from mimi_gui.ui.timeline import Wall
    from mimi_gui.ui.token_marks import TokenMarks
    from mimi_gui.ui.transport import Transport
    from mimi_gui.ui.worker import WorkerThread


@dataclass(frozen=True)
class PanelContext:
    """The parts of one window.

    Attributes:
        comparison: what was found out about the open recording; ask it with ``want``, ``measure`` and so on.
        wall, lanes: the views on the time axis, and the optional ones among them.
        codec, files, measuring: the three threads; keep the number that ``submit`` returns and compare it.
        shelf: the takes that were kept.
        marks: which tokens are lit up, or compared. editing: surgery on the tokens.
        theme: as it is now; a panel with a method ``set_theme(theme)`` is told of a change.
        tell: shows a banner. perform: carries out an action of the menus, by its name.
        show_panel: brings a dock to the front, by its key.
    """

    window: QMainWindow
    session: Session
    comparison: Comparison
    transport: Transport
    wall: Wall
    lanes: AnalysisLanes
    marks: TokenMarks
    editing: Editing
    shelf: TakeShelf
    codec: WorkerThread
    files: WorkerThread
    measuring: WorkerThread
    settings: SettingsStore
    theme: Theme
    tell: Callable[[Notice], None]
    perform: Callable[[str], None]
    show_panel: Callable[[str], None]
