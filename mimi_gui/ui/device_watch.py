"""The window's end of a SoundWatch: one list of devices that everybody shares, and a signal when it changes.

GUI thread only; the watch has threads of its own, whose news cross by a queued signal.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, Signal, Slot

from mimi_gui.sound_watch import SoundDevices, SoundWatch


class DeviceWatch(QObject):
    """See the module's docstring.

    Attributes:
        devices: the last look; empty before the first.

    Signals:
        looked(object, object): SoundDevices now and before; also after a look that found nothing new.
    """

    looked = Signal(object, object)
    _told = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.devices = SoundDevices()
        self._watch: SoundWatch | None = None
        self._told.connect(self._take, Qt.ConnectionType.QueuedConnection)

    def start(self) -> None:
        """Begin to watch; the first look follows soon."""
        if self._watch is None:
            self._watch = SoundWatch(self._told.emit)
            self._watch.start()

    def look(self) -> None:
        """Look now; returns at once."""
        self.start()
        if self._watch is not None:
            self._watch.look_soon()

    def set_polling(self, on: bool) -> None:
        """Where the system tells of no change (macOS, Windows): look every few seconds, while there is sound."""
        if self._watch is not None:
            self._watch.is_polling = on

    def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    @Slot(object)
    def _take(self, found: SoundDevices) -> None:
        before, self.devices = self.devices, found
        self.looked.emit(found, before)
