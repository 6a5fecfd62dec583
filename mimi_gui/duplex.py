"""The live side of a sound process: microphone -> ring -> (the window's codec) -> ring -> loudspeaker.

Two streams, two callbacks, one block of shared memory. The callbacks copy, count and note when each sample
was captured or will be heard; the window reads the first ring, fills the second and works out the latency
from the notes.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from mimi_gui.sound_devices import DeviceRow, SoundError, WatchedStream, devices, find_device, load_portaudio

RING = 1 << 18  # samples: 5 s at 48 kHz
HOLD_S = 0.020  # after running dry: patience for a frame that comes late
FADE_S = 0.005
INPUT_LATENCY_S = 0.020
OUTPUT_LATENCY_S = 0.040

_FIELDS = 32
_NOTES = 256
DUPLEX_BYTES = 8 * (_FIELDS + 4 * _NOTES) + 4 * 2 * RING
(CAPTURED, PLAYED, WRITTEN, STARVED, FLAGS, CALLS, CAPTURE_HEAD, PLAY_HEAD, MUTED) = range(9)


class Rings:
    """The shared block. Each field has one writer: the window WRITTEN and MUTED, the callbacks the others."""

    def __init__(self, memory: Any) -> None:
        numbers = np.frombuffer(memory, dtype=np.float64, count=_FIELDS + 4 * _NOTES)
        self.fields = numbers[:_FIELDS]
        notes = numbers[_FIELDS:].reshape(2, _NOTES, 2)  # (count after the block, time of its end)
        self.capture_notes, self.play_notes = notes
        sound = np.frombuffer(memory, dtype=np.float32, count=2 * RING, offset=numbers.nbytes)
        self.captured, self.to_play = sound[:RING], sound[RING:]

    def note(self, which: int, count: float, at: float) -> None:
        """Note that sample number ``count`` is due at ``at`` (monotonic seconds)."""
        head_field, notes = ((CAPTURE_HEAD, self.capture_notes), (PLAY_HEAD, self.play_notes))[which]
        head = int(self.fields[head_field]) + 1
        notes[head % _NOTES] = count, at
        self.fields[head_field] = head

    def time_of(self, which: int, count: float, sample_rate: int) -> float | None:
        """Return when sample number ``count`` was captured (0) or will be heard (1), None if not noted."""
        head_field, notes = ((CAPTURE_HEAD, self.capture_notes), (PLAY_HEAD, self.play_notes))[which]
        head = int(self.fields[head_field])
        found = None
        for age in range(min(head, _NOTES - 8)):
            total, at = notes[(head - age) % _NOTES]
            if total < count:
                break
            found = float(at - (total - count) / sample_rate)
        return found


def copy_out(ring: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    """Return ``num_samples`` of the circle ``ring`` (float32 [R]) from counter ``start`` on."""
    first = start % len(ring)
    head = ring[first : first + num_samples]
    return np.concatenate([head, ring[: num_samples - len(head)]])


def copy_in(ring: np.ndarray, start: int, block: np.ndarray) -> None:
    """Put ``block`` (float32 [n]) into the circle ``ring`` at counter ``start``."""
    first = start % len(ring)
    n = min(len(block), len(ring) - first)
    ring[first : first + n] = block[:n]
    ring[: len(block) - n] = block[n:]


def _find(sd: Any, direction: str, wish: dict) -> DeviceRow:
    try:
        return find_device(devices(sd, direction), wish.get(direction), wish.get("host_api"))
    except SoundError as error:
        raise SoundError(error.kind, error.detail, direction) from None


class Duplex(WatchedStream):
    """Owns both streams. Main thread only but the two callbacks."""

    def __init__(self, rings: Rings) -> None:
        self.rings = rings
        self.stream: Any = None
        self._input: Any = None
        self._abort: type[Exception] = RuntimeError
        self._rate = 0
        self._begin_silent()

    def _begin_silent(self) -> None:
        """Before the first frame and after running dry: wait a little, then fade in."""
        self._is_flowing = False
        self._hold = round(HOLD_S * self._rate)  # samples of silence still to play before what has come
        self._rise = round(FADE_S * self._rate)  # samples of the fade-in still to come

    def open(self, wish: dict) -> dict:
        """Open microphone and loudspeaker at one rate: the wished one, else another both can do.

        Raises:
            SoundError: any kind.
        """
        sd = load_portaudio()
        ear, mouth = (_find(sd, direction, wish) for direction in ("input", "output"))
        self._abort = sd.CallbackAbort
        problem = ""
        for rate in dict.fromkeys([wish["sample_rate"], 48000, ear.sample_rate, mouth.sample_rate]):
            auto = {"auto_convert": True}
            wasapi = [sd.WasapiSettings(**auto) if "WASAPI" in row.host_api else None for row in (ear, mouth)]
            self._rate = rate
            self._begin_silent()
            try:
                self._input = sd.InputStream(
                    samplerate=rate, device=ear.index, channels=min(2, ear.num_channels), dtype="float32",
                    latency=max(INPUT_LATENCY_S, ear.latency_s), blocksize=0, callback=self._capture,
                    extra_settings=wasapi[0],
                )  # fmt: skip
                self.stream = sd.OutputStream(
                    samplerate=rate, device=mouth.index, channels=min(2, mouth.num_channels), dtype="float32",
                    latency=max(OUTPUT_LATENCY_S, mouth.latency_s), blocksize=0, callback=self._play,
                    extra_settings=wasapi[1],
                )  # fmt: skip
                self._input.start()
                self.stream.start()
            except sd.PortAudioError as error:
                problem = str(error)
                self.close()
                continue
            return {
                "input": asdict(ear), "output": asdict(mouth), "sample_rate": rate,
                "input_latency_s": float(self._input.latency), "output_latency_s": float(self.stream.latency),
            }  # fmt: skip
        raise SoundError("refused", f"{ear.name}, {mouth.name}: {problem}")

    def _capture(self, block: np.ndarray, num_samples: int, times: Any, flags: Any) -> None:
        try:
            fields = self.rings.fields
            age = times.currentTime - times.inputBufferAdcTime  # of the block's first sample
            if not 0.0 < age < 2.0:
                age = INPUT_LATENCY_S
            now = time.monotonic()
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            copy_in(self.rings.captured, int(fields[CAPTURED]), mono)
            fields[CAPTURED] += num_samples
            self.rings.note(0, fields[CAPTURED], now - age + num_samples / self._rate)
            fields[CALLS] += 1
            if flags.input_overflow:
                fields[FLAGS] += 1
        except BaseException:  # noqa: BLE001 - told by `trouble`; C code is the caller
            self.failure = traceback.format_exc()
            raise self._abort from None

    def _play(self, out: np.ndarray, num_samples: int, times: Any, flags: Any) -> None:
        try:
            fields = self.rings.fields
            lead = times.outputBufferDacTime - times.currentTime
            if not 0.0 < lead < 2.0:
                lead = OUTPUT_LATENCY_S
            now = time.monotonic()
            out[:] = 0.0
            played = int(fields[PLAYED])
            ready = int(fields[WRITTEN]) - played
            start = 0
            if ready > 0 and self._hold:
                start = min(self._hold, num_samples)
                self._hold -= start
            n = max(0, min(ready, num_samples - start))
            if n > 0:
                block = copy_out(self.rings.to_play, played, n)
                fade = round(FADE_S * self._rate)
                if self._rise:
                    k = min(self._rise, n)
                    block[:k] *= np.arange(fade - self._rise, fade - self._rise + k, dtype=np.float32) / fade
                    self._rise -= k
                if start + n < num_samples:
                    k = min(n, fade)
                    block[n - k :] *= np.arange(k - 1, -1, -1, dtype=np.float32) / k
                if not fields[MUTED]:
                    out[start : start + n] = block[:, None]
                fields[PLAYED] = played + n
                self.rings.note(1, played + n, now + lead + (start + n) / self._rate)
                self._is_flowing = True
            if self._is_flowing and start + n < num_samples:  # dry: the next frame is late
                fields[STARVED] += 1
                self._begin_silent()
            fields[CALLS] += 1
            if flags.output_underflow:
                fields[FLAGS] += 1
        except BaseException:  # noqa: BLE001 - told by `trouble`; C code is the caller
            self.failure = traceback.format_exc()
            raise self._abort from None

    def obey(self, command: dict, answer: Callable[[dict], None]) -> None:
        if "open" in command:
            self.close()
            answer({"opened": self.open(command["open"])})

    @property
    def num_callbacks(self) -> int:
        return int(self.rings.fields[CALLS])

    def close(self) -> None:
        for stream in (self._input, self.stream):
            if stream is not None:
                stream.close(ignore_errors=True)
        self._input = self.stream = None
