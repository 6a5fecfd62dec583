"""A list of inputs or outputs to choose from by name, with the system's own choice on top. GUI thread only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from mimi_gui.ui.icons import icon
from mimi_gui.ui.theme import Theme


class Device(Protocol):
    """What the list shows of an input or output."""

    @property
    def name(self) -> str: ...
    @property
    def host_api(self) -> str: ...


class DevicePicker(QWidget):
    """The list and a button that looks again.

    A device that was chosen and is not there stays in the list and stays chosen: it may come back.

    Signals:
        chosen(str): another name; "" is the system's default.
        rescan_requested(): look again.
    """

    chosen = Signal(str)
    rescan_requested = Signal()

    def __init__(self, what: str, theme: Theme, parent: QWidget | None = None) -> None:
        """``what`` is "Microphone" or "Output"."""
        super().__init__(parent)
        self._what = what
        self._shown: tuple[object, ...] = ()
        self.box = QComboBox()
        self.box.setAccessibleName(what)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(22)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.again = QToolButton()
        self.again.setToolTip("Look for devices again")
        self.again.setAccessibleName(f"{what}: look for devices again")
        self.again.setIconSize(QSize(18, 18))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.box, 1)
        row.addWidget(self.again)
        self.box.activated.connect(self._activated)
        self.again.clicked.connect(self.rescan_requested)
        self.setFocusProxy(self.box)
        self.set_theme(theme)
        self.set_devices((), "", "")

    @property
    def name(self) -> str:
        """The chosen name, "" for the system's default."""
        return str(self.box.currentData() or "")

    def set_devices(self, devices: Sequence[Device], chosen: str, default: str) -> None:
        """List these; ``default`` is what the system's default means just now, "" where nobody knows."""
        names = list(dict.fromkeys(device.name for device in devices))
        shown = (tuple((device.name, device.host_api) for device in devices), chosen, default)
        if shown == self._shown:
            return  # a list that is open must not jump
        self._shown = shown
        apis = Counter(device.name for device in devices)
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem(f"System default ({default})" if default else "System default", "")
        for name in names:
            kind = next(device.host_api for device in devices if device.name == name)
            self.box.addItem(name if apis[name] > 1 or kind == "Core Audio" else f"{name}   ({kind})", name)
        if chosen and chosen not in names:
            self.box.addItem(f"{chosen}   (not connected)", chosen)
        self.box.setCurrentIndex(max(self.box.findData(chosen), 0))
        self.box.blockSignals(False)
        self._explain()

    def _explain(self) -> None:
        """The name is often longer than the box."""
        self.box.setToolTip(f"{self.box.currentText()}\n{self._what}: kept by name, also while it is not connected")

    def set_theme(self, theme: Theme) -> None:
        """Draw in the colours of ``theme``."""
        self.again.setIcon(icon("rescan", theme))

    def _activated(self) -> None:
        self._explain()
        self.chosen.emit(self.name)
