"""PortAudio's devices as a sound process sees them: listed, chosen by name, watched while they run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

STALLED_S = 3.0  # a stream without a callback for so long is dead


@dataclass(frozen=True)
class DeviceRow:
    """A device as PortAudio tells it, in one direction."""

    name: str
    host_api: str
    index: int
    sample_rate: int
    num_channels: int
    latency_s: float
    is_default: bool


class SoundError(Exception):
    """``kind`` is "missing" (no PortAudio), "none" (no device), "gone" (not that device) or "refused".

    ``direction`` is "input" or "output" where both could be meant, else "".
    """

    def __init__(self, kind: str, detail: str = "", direction: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.direction = direction


def load_portaudio() -> Any:
    """Import sounddevice, which looks for PortAudio and starts it.

    Raises:
        SoundError: "missing".
    """
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise SoundError("missing", str(error)) from error
    return sounddevice


def devices(sd: Any, direction: str) -> list[DeviceRow]:
    """Return the devices that can play ("output") or record ("input"), in PortAudio's order."""
    apis = sd.query_hostapis()
    default = -1
    with contextlib.suppress(sd.PortAudioError, ValueError):
        default = int(sd.query_devices(kind=direction)["index"])
    for api in apis:  # PortAudio's own default on Windows is MME's, which adds a tenth of a second
        if "WASAPI" in api["name"] and api[f"default_{direction}_device"] >= 0:
            default = int(api[f"default_{direction}_device"])
    return [
        DeviceRow(
            name=row["name"],
            host_api=apis[row["hostapi"]]["name"],
            index=int(row["index"]),
            sample_rate=round(row["default_samplerate"]),
            num_channels=int(row[f"max_{direction}_channels"]),
            latency_s=float(row[f"default_low_{direction}_latency"]),
            is_default=int(row["index"]) == default,
        )
        for row in sd.query_devices()
        if row[f"max_{direction}_channels"] > 0
    ]


def find_device(rows: list[DeviceRow], name: str | None, host_api: str | None) -> DeviceRow:
    """Choose by name and host API, never by index: indices move when a device comes or goes.

    Raises:
        SoundError: "none" or "gone".
    """
    if not rows:
        raise SoundError("none")
    if name is None:
        return next((row for row in rows if row.is_default), rows[0])
    named = sorted((row for row in rows if row.name == name), key=_preference)
    matches = [row for row in named if host_api in (None, row.host_api)] or named
    if not matches:
        raise SoundError("gone", name)
    return matches[0]


def _preference(row: DeviceRow) -> int:
    """Windows lists a device once per host API: the quick and shared ones first."""
    order = ("WASAPI", "DirectSound", "MME", "WDM-KS")
    return next((i for i, api in enumerate(order) if api in row.host_api), 0)


def rates_to_try(row: DeviceRow) -> list[int]:
    """Return sample rates in Hz, the best first.

    ALSA's plug-ins (default, pulse, pipewire) report 44.1 kHz whatever the sound card does; nearly all run at
    48 kHz.
    """
    usual = [48000, 44100]
    is_plugin = row.host_api == "ALSA" and "hw:" not in row.name
    return list(dict.fromkeys([*usual, row.sample_rate] if is_plugin else [row.sample_rate, *usual]))


class WatchedStream:
    """What every owner of a stream has; ``failure`` is the traceback of a callback that died."""

    stream: Any = None
    failure = ""
    num_callbacks = 0
    _seen = (-1, 0.0)  # number of callbacks, when it last grew
    _looked = 0.0

    def trouble(self) -> str | None:
        """Return why the stream does not run any more, None while it does."""
        if self.stream is None:
            return None
        if self.failure:
            return self.failure
        if not self.stream.active:
            return "the device stopped"
        count, since = self._seen
        now, calls = time.monotonic(), self.num_callbacks
        was_away = now - self._looked > STALLED_S / 2  # this process was stopped, and the stream with it
        self._looked = now
        if calls != count or was_away:
            self._seen = (calls, now)
        elif now - since > STALLED_S:
            return "the device went quiet: it neither takes nor gives sound"
        return None
