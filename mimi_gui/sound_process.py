"""The playing process: a PortAudio stream around a Mixer, in a process of its own.

Python's lock is why it exists: a codec, an import or a garbage collection in the main process can hold the
lock for longer than a sound card waits. Here the only Python threads are PortAudio's callback, this module's
main loop (asleep until a command comes) and the reader of commands. A PortAudio that hangs or crashes takes
no window with it.

Commands come as JSON lines on stdin, answers go as JSON lines to stdout; clips and the status block are
shared memory. The end of stdin is the end of the process, so it never outlives the window.

| thread | may |
|---|---|
| PortAudio callback | render, write the status block; never lock, log, raise |
| main | open and close the stream, replace the mixer's plan, watch over the stream |
| reader | read stdin |
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from mimi_gui.clip import Clip, SharedMemory
from mimi_gui.mixer import Mixer, Plan
from mimi_gui.priority import hurry
from mimi_gui.sound_devices import (
    SoundError,
    WatchedStream,
    devices,
    find_device,
    load_portaudio,
    rates_to_try,
)

LATENCY_S = 0.040  # four blocks of 10 ms: soon enough to switch by feel, patient on a busy machine
WATCH_S = 0.1
SLACK_S = 0.005  # how well a host API knows when its sound is heard
REST_S = 30.0  # a stream that only plays silence keeps the CPU and the sound card awake

_RING = 128
_FIELDS = 16
STATUS_BYTES = 8 * (_FIELDS + _RING * 4)
_HEAD, _UNDERRUNS, _ENDED, _SEEK, _WAITING, _CALLBACKS, _LOOPS, _LATE, _LEAD = range(9)
_T_END, _POS_END, _RATE, _SERIAL = range(4)


class Status:
    """What the callback tells the window, without a lock: counters, and when which sample will be heard.

    The writer fills a row of the ring and then moves the head; the reader looks only at rows behind the head.
    With 128 rows a row stays valid for over half a second.
    """

    def __init__(self, memory: Any) -> None:
        numbers = np.frombuffer(memory, dtype=np.float64)  # float64: counters stay exact up to 2**53
        self._fields = numbers[:_FIELDS]
        self._ring = numbers[_FIELDS:].reshape(_RING, 4)

    def post(self, mixer: Mixer, heard_until: float, moving: bool) -> None:
        """Write what the block just rendered will do; ``heard_until`` is on ``time.monotonic``'s clock."""
        fields = self._fields
        head = int(fields[_HEAD]) + 1
        row = self._ring[head % _RING]
        row[_T_END] = heard_until
        row[_POS_END] = mixer.position
        row[_RATE] = mixer.sample_rate if moving else 0.0
        row[_SERIAL] = mixer.seek_serial
        fields[_ENDED] = mixer.ended_serial
        fields[_SEEK] = mixer.seek_serial
        fields[_WAITING] = mixer.is_waiting
        fields[_LOOPS] = mixer.num_loops
        fields[_CALLBACKS] += 1
        fields[_HEAD] = head

    def count_underrun(self) -> None:
        self._fields[_UNDERRUNS] += 1

    def note_lead(self, seconds: float) -> None:
        """Follow the time from a callback to its sound, smoothly: what the device really takes."""
        before = self._fields[_LEAD]
        self._fields[_LEAD] = before + 0.02 * (seconds - before) if before else seconds

    def note_lateness(self, seconds: float) -> None:
        """Keep the longest time between two callbacks."""
        self._fields[_LATE] = max(self._fields[_LATE], seconds)

    underruns = property(lambda self: int(self._fields[_UNDERRUNS]))
    ended_serial = property(lambda self: int(self._fields[_ENDED]))
    is_waiting = property(lambda self: bool(self._fields[_WAITING]))
    num_callbacks = property(lambda self: int(self._fields[_CALLBACKS]))
    num_loops = property(lambda self: int(self._fields[_LOOPS]))
    longest_gap_s = property(lambda self: float(self._fields[_LATE]))
    lead_s = property(lambda self: float(self._fields[_LEAD]))

    def heard(self, now: float) -> tuple[float, int]:
        """Return (position in samples, seek serial) of what the loudspeaker plays at ``now``."""
        head = int(self._fields[_HEAD])
        if head == 0:
            return 0.0, 0
        row = self._ring[head % _RING]
        for age in range(min(head, _RING - 8)):
            candidate = self._ring[(head - age) % _RING]
            if age and candidate[_T_END] <= now:
                break  # this block is over: the one after it is being heard
            row = candidate
        ahead_s = max(0.0, float(row[_T_END]) - now)
        return max(0.0, float(row[_POS_END]) - ahead_s * float(row[_RATE])), int(row[_SERIAL])


class Player(WatchedStream):
    """The stream, its mixer and the clips it has seen. All methods run in the main thread but
    ``_callback``.
    """

    def __init__(self, status: Status) -> None:
        self.status = status
        self.mixer: Mixer | None = None
        self._clips: dict[int, Clip] = {}
        self._abort: type[Exception] = RuntimeError
        self._last_call = 0.0
        self._moved = False  # whether anything sounded in the block that was handed over last
        self._heard_until = 0.0
        self._usual_lead_s = 0.0
        self._rest_s = REST_S
        self._silent_since = time.monotonic()
        self._is_resting = False

    def open(self, wish: dict) -> dict:
        """Open and start the stream; return what the window wants to know.

        Raises:
            SoundError: any kind.
        """
        sd = load_portaudio()
        row = find_device(devices(sd, "output"), wish.get("name"), wish.get("host_api"))
        rates = [wish["sample_rate"]] if wish.get("sample_rate") else rates_to_try(row)
        channels = min(2, row.num_channels)
        latency = max(wish.get("latency_s") or LATENCY_S, row.latency_s)
        self._abort = sd.CallbackAbort
        self._rest_s = wish.get("rest_s") or REST_S
        problem = ""
        for extra in [None, sd.WasapiSettings(auto_convert=True)] if "WASAPI" in row.host_api else [None]:
            for rate in rates:
                self.mixer = Mixer(rate, channels)
                try:
                    self.stream = sd.OutputStream(
                        samplerate=rate, device=row.index, channels=channels, dtype="float32",
                        latency=latency, blocksize=0, callback=self._callback, extra_settings=extra,
                    )  # fmt: skip
                    self._usual_lead_s = float(self.stream.latency)
                    self._start()
                except sd.PortAudioError as error:
                    problem = str(error)
                    self.close()
                    continue
                return {
                    "device": asdict(row), "sample_rate": rate, "num_channels": channels,
                    "latency_s": float(self.stream.latency),
                }  # fmt: skip
        raise SoundError("refused", f"{row.name}: {problem}")

    def obey(self, command: dict, answer: Callable[[dict], None]) -> None:
        if "open" in command:
            self.close()
            answer({"opened": self.open(command["open"])})
        if "plan" in command:
            self.publish(command["plan"])
        self._rest_or_wake()

    def _start(self) -> None:
        self._last_call = 0.0
        self._is_resting = False
        self._silent_since = time.monotonic()
        self.stream.start()

    def _rest_or_wake(self) -> None:
        if self.stream is None or self.mixer is None:
            return
        now = time.monotonic()
        if self.mixer.plan.playing or self.mixer.is_sounding:
            self._silent_since = now
            if self._is_resting:
                try:
                    self._start()
                except Exception as error:  # noqa: BLE001 - PortAudioError, whose module may not be loaded here
                    self.failure = str(error)
        elif not self._is_resting and now - self._silent_since > self._rest_s:
            self._is_resting = True
            self.stream.stop()

    def trouble(self) -> str | None:
        if self._is_resting and not self.failure:
            return None
        return super().trouble()

    @property
    def num_callbacks(self) -> int:
        return self.status.num_callbacks

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close(ignore_errors=True)
            self.stream = None

    def publish(self, wish: dict) -> None:
        """Replace the mixer's plan; a clip that its owner has let go of meanwhile is silence."""
        if self.mixer is None:
            return
        a, b = (self._attach(wish[side]) for side in ("a", "b"))
        self._clips = {clip.identity: clip for clip in (a, b) if clip is not None}
        loop = tuple(wish["loop"]) if wish["loop"] is not None else None
        self.mixer.plan = Plan(**{**wish, "a": a, "b": b, "loop": loop})

    def _attach(self, ticket: dict | None) -> Clip | None:
        if ticket is None:
            return None
        known = self._clips.get(ticket["identity"])
        if known is not None:
            return known
        try:
            return Clip.attach(ticket)
        except (OSError, ValueError):  # a later plan without it is on its way
            return None

    def _callback(self, out: np.ndarray, num_samples: int, times: Any, flags: Any) -> None:
        try:
            now = time.monotonic()
            mixer = self.mixer
            assert mixer is not None
            before = mixer.position
            mixer.render(out)
            lead = times.outputBufferDacTime - times.currentTime
            if not 0.0 < lead < 2.0:  # some host APIs leave these at zero
                lead = self._usual_lead_s
            self.status.note_lead(lead)
            moving = mixer.position != before
            if self._last_call:
                self.status.note_lateness(now - self._last_call)
                # PulseAudio's ALSA plug-in reports none: one is when all that was handed over has been heard. Where
                # that was silence nothing was interrupted.
                if self._moved and (flags.output_underflow or now > self._heard_until + SLACK_S):
                    self.status.count_underrun()
            self._last_call, self._moved = now, moving
            self._heard_until = now + lead + num_samples / mixer.sample_rate
            self.status.post(mixer, self._heard_until, moving)
        except BaseException:  # noqa: BLE001 - told by `trouble`; C code is the caller
            self.failure = traceback.format_exc()
            raise self._abort from None


class Servant(Protocol):
    """Owner of a stream: obeys commands in the main thread."""

    def obey(self, command: dict, answer: Callable[[dict], None]) -> None: ...
    def trouble(self) -> str | None: ...
    def close(self) -> None: ...


def serve(servant: Servant, commands: queue.SimpleQueue[dict | None], answer: Callable[[dict], None]) -> None:
    """Carry out commands until None comes; an empty one comes by itself ten times a second."""
    while True:
        try:
            command = commands.get(timeout=WATCH_S)
        except queue.Empty:
            command = {}
        if command is None:
            break
        try:
            servant.obey(command, answer)
        except SoundError as error:
            answer({"failed": error.kind, "detail": error.detail, "direction": error.direction})
        trouble = servant.trouble()
        if trouble is not None:
            servant.close()
            answer({"lost": trouble})
    servant.close()


def list_all(answer: Callable[[dict], None]) -> None:
    """Answer with the devices in both directions."""
    try:
        sd = load_portaudio()
        answer({kind: [asdict(row) for row in devices(sd, kind)] for kind in ("output", "input")})
    except SoundError as error:
        answer({"failed": error.kind, "detail": error.detail})


def main(argv: list[str]) -> None:
    """``--list`` prints the devices; ``--play NAME`` and ``--record NAME`` serve a window (NAME: its
    memory).
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what C libraries print must not mix with the answers

    def answer(message: dict) -> None:
        answers.write(json.dumps(message) + "\n")

    if argv[0] == "--list":
        list_all(answer)
        return
    hurry()
    commands: queue.SimpleQueue[dict | None] = queue.SimpleQueue()

    def read_commands() -> None:
        for line in sys.stdin:
            commands.put(json.loads(line))
        commands.put(None)

    threading.Thread(target=read_commands, daemon=True, name="commands").start()
    servant: Servant
    if argv[0] == "--record":
        from mimi_gui.capture import METER_BYTES, Capture, Meter

        servant = Capture(Meter(SharedMemory.attach(argv[1], METER_BYTES)))
    elif argv[0] == "--live":
        from mimi_gui.duplex import DUPLEX_BYTES, Duplex, Rings

        servant = Duplex(Rings(SharedMemory.attach(argv[1], DUPLEX_BYTES)))
    else:
        servant = Player(Status(SharedMemory.attach(argv[1], STATUS_BYTES)))
    gc.freeze()
    with contextlib.suppress(BrokenPipeError):  # the window is gone: so are we
        serve(servant, commands, answer)


if __name__ == "__main__":
    main(sys.argv[1:])
