"""Keeps the sound alive: devices that come, go, or become the system's default while the window plays.

It hears what the DeviceWatch sees and what the Transport complains about, opens the output again where that helps,
and says in one sentence what happened. GUI thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from mimi_gui.sound_watch import SoundDevices
from mimi_gui.ui.device_watch import DeviceWatch
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.transport import Transport

HIGH_LATENCY_S = 0.1  # beyond, a switch is no longer felt with the key
_STEADY_MS = 1500  # a latency that stays so long is the device's own
_REST_S = 5.0  # between two attempts to open an output that was lost
_TOPIC = "output"


class OutputKeeper(QObject):
    """See the module's docstring.

    Signals:
        noticed(object): a Notice.
        settled(object): the topic of notices that no longer hold.
    """

    noticed = Signal(object)
    settled = Signal(object)

    def __init__(
        self,
        transport: Transport,
        watch: DeviceWatch,
        settings: SettingsStore,
        parent: QObject | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self._transport, self._watch, self._settings = transport, watch, settings
        self._was_open = False
        self._slow_told = ""
        self._is_reviving = False
        self._clock = clock
        self._revived_at = -_REST_S
        self._steady = QTimer(self)
        self._steady.setSingleShot(True)
        self._steady.setInterval(_STEADY_MS)
        self._steady.timeout.connect(self._tell_latency)
        transport.changed.connect(self._transport_changed)
        watch.looked.connect(self._looked)

    @Slot()
    def _transport_changed(self) -> None:
        player = self._transport.player
        self._watch.set_polling(player.is_open)
        if self._was_open and not player.is_open and not player.is_opening and player.error:
            self._watch.look()  # it was lost: is there another?
        self._was_open = player.is_open
        if player.is_open and self._is_reviving:
            self._is_reviving = False
            where = self._name()
            words = f"The sound is on {where} now." if where else "The sound is back."
            self.noticed.emit(Notice("info", f"{words} Press Space to go on.", "No sound", topic=_TOPIC))
        if player.is_open and player.is_playing and player.latency_s > HIGH_LATENCY_S:
            if not self._steady.isActive():
                self._steady.start()
        else:
            self._steady.stop()

    @Slot()
    def _tell_latency(self) -> None:
        player = self._transport.player
        if not (player.is_open and player.latency_s > HIGH_LATENCY_S):
            return
        name = self._name()
        if name == self._slow_told:
            return
        self._slow_told = name
        words = (
            f"{name or 'The output'} is heard {1000 * player.latency_s:.0f} ms late, as Bluetooth is: a switch of sides"
            " comes that much after the key. The playhead shows what is heard; wired headphones are quicker."
        )
        self.noticed.emit(Notice("info", words, "No sound", topic=_TOPIC))

    @Slot(object, object)
    def _looked(self, found: SoundDevices, before: SoundDevices) -> None:
        transport, player = self._transport, self._transport.player
        transport.output.take_in(found.outputs)
        chosen = self._settings.value.output_device
        if not player.is_open and not player.is_opening:
            self._revive(found, chosen)
        elif not chosen and before.default_output and found.default_output not in ("", before.default_output):
            if not found.follows:  # it stays where it was opened: macOS, Windows
                transport.output.reopen()
            words = f"The system's output is now {found.default_output}: the sound has gone there."
            self.noticed.emit(Notice("info", words, "No sound", topic=_TOPIC))

    def _revive(self, found: SoundDevices, chosen: str) -> None:
        """There is no sound although somebody wanted it."""
        transport = self._transport
        if not transport.player.error:
            return
        names = [device.name for device in found.outputs]
        if self._clock() - self._revived_at < _REST_S:
            return  # it was opened just now and lost again: the person decides
        if chosen in names or (not chosen and names):
            self._revived_at = self._clock()
            self._is_reviving = True
            transport.output.reopen()
        elif names:
            words = f"The output {chosen!r} is not connected: connect it, or hear the system's own output meanwhile."
            actions = (("Use the system's output", "use-default-output"), ("Look again", "rescan"))
            self.noticed.emit(Notice("warning", words, "No sound", actions=actions, topic="sound"))

    def _name(self) -> str:
        chosen = self._settings.value.output_device
        return chosen or self._watch.devices.default_output
