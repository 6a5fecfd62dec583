"""Where the sound goes: the player and its output, the list of outputs, and what is said when there is no sound.

Lives in the GUI thread. The player is asked, never waited for: opening a device and listing devices happen elsewhere,
and whoever owns the clock calls :meth:`SoundOutput.check` to hear what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from PySide6.QtCore import QObject, Signal, Slot

from mimi_gui.errors import PlaybackUnavailable
from mimi_gui.playback import ABPlayer, OutputDevice, list_devices
from mimi_gui.ui.notices import Notice
from mimi_gui.ui.settings import SettingsStore
from mimi_gui.ui.stand_in import StandIn
from mimi_gui.ui.worker import Desk, Failure, Job, WorkerThread

_TOPIC = "sound"


@dataclass(frozen=True)
class ListDevices(Job):
    """Ask for the outputs; takes half a second. Result: a tuple of OutputDevice."""

    def run(self, desk: Desk) -> tuple[OutputDevice, ...]:
        return tuple(list_devices())


class SoundOutput(QObject):
    """See the module's docstring.

    Attributes:
        player: what plays; another one, on the silent clock, while the real one is lent.
        devices: the outputs there are, as last listed.

    Signals:
        asked(): the player was asked for something, and will answer in a moment.
        devices_changed(object): a tuple of OutputDevice.
        noticed(object): a Notice. settled(object): the topic of notices that no longer hold.
    """

    asked = Signal()
    devices_changed = Signal(object)
    noticed = Signal(object)
    settled = Signal(object)

    def __init__(
        self, listing: WorkerThread, settings: SettingsStore, player: ABPlayer, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._worker, self._settings = listing, settings
        self.player = player
        self.devices: tuple[OutputDevice, ...] = ()
        self._error = ""
        self._listing: int | None = None
        player.set_volume(settings.value.volume)
        listing.finished.connect(self._job_finished)
        listing.failed.connect(self._job_failed)

    def start(self) -> None:
        """Open the output that was used last and list the others; returns at once."""
        self._open()
        self.rescan()

    def rescan(self) -> None:
        """Look for devices again, and for sound where there is none."""
        self._listing = self._worker.submit(ListDevices())
        if not self.player.is_open and not self.player.is_opening:
            self.reopen()

    def use_device(self, name: str | None) -> None:
        """Send the sound to this device, or to the system's own choice (None)."""
        self._settings.update(output_device=name or "")
        self.reopen()

    def reopen(self) -> None:
        """Open the chosen output again; what plays goes on there."""
        self._error = ""
        self.settled.emit(_TOPIC)
        self._open()

    def _open(self) -> None:
        self.player.open(self._settings.value.output_device or None, wait_s=0)
        self.asked.emit()

    def take_in(self, devices: tuple[OutputDevice, ...]) -> None:
        """These are the outputs now."""
        self.devices = devices
        self.devices_changed.emit(devices)

    def lend(self) -> ABPlayer:
        """Give the player away, paused; a silent one stands in its place until :meth:`take_back`."""
        lent = self.player
        lent.pause()
        self.player = StandIn()
        return lent

    def take_back(self, player: ABPlayer) -> ABPlayer:
        """The player comes back and falls silent; returns the one that stood in its place."""
        stand_in, self.player = self.player, player
        player.pause()
        player.set_gap_switch(False)
        return stand_in

    @property
    def is_lent(self) -> bool:
        """Whether somebody else has the player."""
        return isinstance(self.player, StandIn)

    @property
    def is_mono(self) -> bool:
        """Whether there is one loudspeaker, which gets the mean of two channels."""
        device = self.player.device
        return device is not None and device.num_channels == 1

    def check(self) -> None:
        """Say what became of the output since the last look."""
        error = self.player.error
        if error and error != self._error:
            self._complain(error)
        elif self.player.is_open and self._error:
            self._error = ""
            self.settled.emit(_TOPIC)

    def close(self) -> None:
        """Let the device go."""
        self.player.close()

    def _complain(self, words: str) -> None:
        if words == self._error:
            return
        self._error = words
        actions = (("Look again", "rescan"),)
        self.noticed.emit(Notice("warning", words, "No sound", actions=actions, topic=_TOPIC))

    @Slot(object, object)
    def _job_finished(self, number: int, result: object) -> None:
        if number == self._listing:
            self.take_in(cast("tuple[OutputDevice, ...]", result))

    @Slot(object, object)
    def _job_failed(self, number: int, failure: Failure) -> None:
        if number == self._listing and isinstance(failure.error, PlaybackUnavailable):
            self.take_in(())
            self._complain(failure.message)
