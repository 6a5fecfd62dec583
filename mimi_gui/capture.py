"""The recording side of a sound process: microphone -> ring -> disk and shared memory.

PortAudio's callback copies each block into a ring of several seconds and counts; the main thread empties the
ring ten times a second into a WAV file (float32, the card's own rate and channels) whose header is true again
after every write, and, as mono at the codec's rate, into a shared clip that the window draws from. A crash of
the window loses nothing; a crash of this process or a power cut loses what came since the last write.
"""

from __future__ import annotations

import os
import struct
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mimi_gui.clip import Clip
from mimi_gui.sound_devices import (
    SoundError,
    WatchedStream,
    devices,
    find_device,
    load_portaudio,
    rates_to_try,
)
from mimi_gui.takes import hold

RING_S = 8.0
CLIPPED = 0.999
_FIELDS = 16
METER_BYTES = 8 * _FIELDS
(_HEARD, _PEAK, _LEVEL, _HELD, _CLIPPED, _ZEROS, _WRITTEN, _LOST, _FLAGS, _CALLBACKS) = range(10)


class Meter:
    """What the window reads while the microphone is open; one writer per field."""

    def __init__(self, memory: Any) -> None:
        self.fields = np.frombuffer(memory, dtype=np.float64, count=_FIELDS)

    num_samples = property(lambda self: int(self.fields[_HEARD]))
    peak = property(lambda self: float(self.fields[_PEAK]))
    level = property(lambda self: float(self.fields[_LEVEL]))
    held_peak = property(lambda self: float(self.fields[_HELD]))
    num_clipped = property(lambda self: int(self.fields[_CLIPPED]))
    num_zeros = property(lambda self: int(self.fields[_ZEROS]))
    num_written = property(lambda self: int(self.fields[_WRITTEN]))
    num_lost = property(lambda self: int(self.fields[_LOST]))
    num_overflows = property(lambda self: int(self.fields[_FLAGS]))
    num_callbacks = property(lambda self: int(self.fields[_CALLBACKS]))

    def measure(self, block: np.ndarray, *, counts: bool = True) -> None:
        """Add ``block`` (float32 [n, C]) to the figures; ``counts=False`` leaves the take's own figures alone."""
        magnitude = np.abs(block)
        peak = float(magnitude.max(initial=0.0))
        self.fields[_PEAK] = peak
        self.fields[_LEVEL] = float(np.sqrt(np.mean(np.square(block, dtype=np.float64))))
        if counts:
            self.fields[_HELD] = max(self.fields[_HELD], peak)
            self.fields[_CLIPPED] += np.count_nonzero(magnitude >= CLIPPED)
        self.fields[_ZEROS] = self.fields[_ZEROS] + len(block) if peak == 0.0 else 0


class GrowingWav:
    """A float32 WAV file that is valid after every ``write``, whenever the power goes.

    Raises:
        OSError: it cannot be created or written.
    """

    MOST_BYTES = (1 << 32) - 4096  # RIFF counts in 32 bits

    def __init__(self, path: Path, sample_rate: int, num_channels: int) -> None:
        self.num_bytes = 0
        self._frame_bytes = 4 * num_channels
        self._file = path.open("xb")
        hold(self._file)
        rate = sample_rate
        self._file.write(
            b"RIFF" + struct.pack("<I", 50) + b"WAVE"
            + b"fmt " + struct.pack("<IHHIIHHH", 18, 3, num_channels, rate, rate * 4 * num_channels,
                                    4 * num_channels, 32, 0)
            + b"fact" + struct.pack("<II", 4, 0) + b"data" + struct.pack("<I", 0)
        )  # fmt: skip
        self._synced = 0.0
        self.sync()

    def write(self, block: np.ndarray) -> int:
        """Append ``block`` (float32 [n, C]); return how many samples found room."""
        room = (self.MOST_BYTES - self.num_bytes) // self._frame_bytes
        block = block[:room]
        self._file.write(np.ascontiguousarray(block, "<f4").data)
        self.num_bytes += len(block) * self._frame_bytes
        for offset, value in (
            (4, 50 + self.num_bytes), (46, self.num_bytes // self._frame_bytes), (54, self.num_bytes)
        ):  # fmt: skip
            self._file.seek(offset)
            self._file.write(struct.pack("<I", value))
        self._file.seek(0, os.SEEK_END)
        self._file.flush()
        if time.monotonic() - self._synced > 0.5:
            self.sync()
        return len(block)

    def sync(self) -> None:
        """Let the disk have it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        self.sync()
        self._file.close()


class Capture(WatchedStream):
    """The input stream, its ring and the take that is being written. Main thread only but ``_callback``."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._wav: GrowingWav | None = None
        self._take: Clip | None = None
        self._read = 0  # samples taken out of the ring
        self._is_paused = False
        self._abort: type[Exception] = RuntimeError

    def open(self, wish: dict) -> dict:
        """Open the microphone; nothing is kept yet but the level.

        Raises:
            SoundError: any kind.
        """
        sd = load_portaudio()
        row = find_device(devices(sd, "input"), wish.get("name"), wish.get("host_api"))
        self._abort = sd.CallbackAbort
        channels = min(int(wish.get("num_channels") or 2), row.num_channels)
        problem = ""
        for rate in [wish["sample_rate"]] if wish.get("sample_rate") else rates_to_try(row):
            self._ring = np.zeros((round(RING_S * rate), channels), np.float32)
            self._rate = rate
            try:
                self.stream = sd.InputStream(
                    samplerate=rate, device=row.index, channels=channels, dtype="float32", latency="high",
                    blocksize=0, callback=self._callback,
                )  # fmt: skip
                self.stream.start()
            except sd.PortAudioError as error:
                problem = str(error)
                self.close()
                continue
            return {"device": asdict(row), "sample_rate": rate, "num_channels": channels,
                    "latency_s": float(self.stream.latency)}  # fmt: skip
        raise SoundError("refused", f"{row.name}: {problem}")

    def _callback(self, block: np.ndarray, num_samples: int, times: Any, flags: Any) -> None:
        try:
            fields, ring = self.meter.fields, self._ring
            start = int(fields[_HEARD]) % len(ring)
            first = min(num_samples, len(ring) - start)
            ring[start : start + first] = block[:first]
            ring[: num_samples - first] = block[first:]
            fields[_HEARD] += num_samples
            fields[_CALLBACKS] += 1
            if flags.input_overflow:
                fields[_FLAGS] += 1
        except BaseException:  # noqa: BLE001 - told by `trouble`; C code is the caller
            self.failure = traceback.format_exc()
            raise self._abort from None

    def start(self, path: str, ticket: dict | None) -> None:
        """Keep everything from now on: in the file ``path`` and, resampled to mono, in the window's clip.

        Raises:
            OSError: the file cannot be created.
        """
        self.pump()
        self._wav = GrowingWav(Path(path), self._rate, self._ring.shape[1])
        self._take = Clip.attach(ticket, source_rate=self._rate) if ticket is not None else None
        self.meter.fields[_WRITTEN] = self.meter.fields[_CLIPPED] = self.meter.fields[_LOST] = 0
        self.meter.fields[_HELD] = 0.0
        self._is_paused = False

    def pause(self, on: bool) -> None:
        """Leave out what comes from now on, or go on; the level shows meanwhile."""
        self.pump()
        self._is_paused = on

    def pump(self) -> str | None:
        """Move what came since the last call out of the ring; return why the take had to end, if it had."""
        heard = self.meter.num_samples
        due = heard - self._read
        if due > len(self._ring) - self._rate // 10:  # the disk was away for long: the oldest is overwritten
            skipped = due - len(self._ring) // 2
            self.meter.fields[_LOST] += skipped
            self._read += skipped
            due -= skipped
        if due <= 0:
            return None
        block = self._ring[np.arange(self._read, self._read + due) % len(self._ring)]
        self._read += due
        self.meter.measure(block, counts=not self._is_paused)
        if self._wav is None or self._is_paused:
            return None
        try:
            written = self._wav.write(block)
        except OSError as error:
            self.finish()
            return f"the disk refused it: {error.strerror or error}"
        if self._take is not None:
            self._take.append(block.mean(axis=1, dtype=np.float32))
        self.meter.fields[_WRITTEN] += written
        if written < len(block):
            self.finish()
            return "a WAV file cannot be longer"
        return None

    def finish(self) -> None:
        """End the take; the microphone stays open."""
        if self._wav is not None:
            wav, self._wav = self._wav, None
            wav.close()
        if self._take is not None:
            self._take.finish()
            self._take = None

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close(ignore_errors=True)
            self.stream = None
            self.pump()
            self.finish()

    def obey(self, command: dict, answer: Callable[[dict], None]) -> None:
        if "open" in command:
            self.close()
            answer({"opened": self.open(command["open"])})
        if "record" in command:
            try:
                self.start(command["record"]["path"], command["record"]["ticket"])
                answer({"recording": True})
            except OSError as error:
                answer({"failed": "disk", "detail": error.strerror or str(error)})
        if "pause" in command:
            self.pause(command["pause"])
        if "finish" in command:
            self.pump()
            self.finish()
            answer({"finished": True})
        if self.stream is not None:
            problem = self.pump()
            if problem is not None:
                answer({"ended": problem})

    @property
    def num_callbacks(self) -> int:
        return self.meter.num_callbacks
