"""Asks before unsaved edits would be lost, and goes on with what was wished once that is settled. GUI thread only."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from mimi_gui.surgery import edits
from mimi_gui.ui.editing import Editing, edit_words
from mimi_gui.ui.session import Session

_MOST_LINES = 6


class UnsavedGuard(QObject):
    """Call it with what would lose edits: it is carried out at once, after a question, or not at all.

    Attributes:
        box: the question, while it is on the screen.
    """

    def __init__(self, window: QWidget, session: Session, editing: Editing, save: Callable[[], None]) -> None:
        super().__init__(window)
        self._window, self._session, self._editing, self._save = window, session, editing, save
        self._go_on: Callable[[], None] | None = None
        self._waits_for_save = False
        self.box: QMessageBox | None = None
        session.saved.connect(self._saved)

    def __call__(self, go_on: Callable[[], None]) -> None:
        """Carry ``go_on`` out as soon as no edit can be lost by it."""
        if not self._editing.is_dirty or self._editing.codes is None:
            go_on()
            return
        self._go_on, self._waits_for_save = go_on, False
        if self.box is not None:
            self.box.raise_()
            return
        lines = [f"• {edit_words(dict(entry))}" for entry in edits(self._editing.codes)]
        if len(lines) > _MOST_LINES:
            lines = [f"• {len(lines) - _MOST_LINES + 1} more before", *lines[-_MOST_LINES + 1 :]]
        box = self.box = QMessageBox(self._window)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Unsaved edits")
        box.setText(f"The edited tokens of {self._session.document.title} are not saved.")
        box.setInformativeText("\n".join(lines))
        buttons = QMessageBox.StandardButton
        box.setStandardButtons(buttons.Save | buttons.Discard | buttons.Cancel)
        box.setDefaultButton(buttons.Save)
        box.setEscapeButton(buttons.Cancel)
        box.button(buttons.Save).setText("Save …")
        box.button(buttons.Discard).setText("Discard the Edits")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowModality(Qt.WindowModality.WindowModal)
        box.finished.connect(self._answered)
        box.open()

    @Slot(int)
    def _answered(self, answer: int) -> None:
        self.box = None
        go_on, self._go_on = self._go_on, None
        if go_on is None:
            return
        if answer == QMessageBox.StandardButton.Discard:
            go_on()
        elif answer == QMessageBox.StandardButton.Save:
            self._go_on, self._waits_for_save = go_on, True
            self._save()

    @Slot()
    def _saved(self) -> None:
        if self._waits_for_save and not self._editing.is_dirty and self._go_on is not None:
            go_on, self._go_on, self._waits_for_save = self._go_on, None, False
            go_on()
