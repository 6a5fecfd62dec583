"""A sound card made of PulseAudio and a null sink: what is played can be recorded, to the bit.

The server is private (its own runtime folder, no configuration files) and ends with the test session. ALSA's
default device, and so PortAudio's, is that sink; the sink's monitor doubles as a microphone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

PROGRAMS = ("pulseaudio", "parec", "pacat", "pactl")
ALSA_CONFIG = """
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


class Recording:
    """What a source delivers while it is open. ``samples`` is float32 [T, C]."""

    def __init__(self, child: subprocess.Popen[bytes], num_channels: int, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._child = child
        self._num_channels = num_channels
        self._blocks: list[bytes] = []
        self._num_bytes = 0  # counted as they come: there may be hours of them
        self._started_at = float("inf")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        while block := os.read(self._child.stdout.fileno(), 65536):
            self._blocks.append(block)
            self._num_bytes += len(block)
            # The promptest delivery tells best when the first sample was taken.
            self._started_at = min(self._started_at, time.monotonic() - self.num_samples / self.sample_rate)

    @property
    def num_samples(self) -> int:
        return self._num_bytes // (4 * self._num_channels)

    @property
    def samples(self) -> np.ndarray:
        return np.frombuffer(b"".join(self._blocks), dtype="<f4").reshape(-1, self._num_channels)

    def time_of(self, index: int) -> float:
        """Return when sample ``index`` was taken, on the monotonic clock, but for the recorder's constant
        delay.
        """
        return self._started_at + index / self.sample_rate

    def wait_for(self, num_samples: int, timeout_s: float = 10.0) -> None:
        """Wait until so many more samples have come."""
        target = self.num_samples + num_samples
        deadline = time.monotonic() + timeout_s
        while self.num_samples < target:
            assert time.monotonic() < deadline, "the recorder delivers nothing"
            time.sleep(0.005)

    def close(self) -> None:
        self._child.terminate()
        self._child.wait(timeout=5)
        self._thread.join(timeout=5)
        assert self._child.stdout is not None
        self._child.stdout.close()


class SoundCard:
    """A PulseAudio server with the sink "card" (float32, ``sample_rate``, ``num_channels``)."""

    def __init__(self, sample_rate: int = 48000, num_channels: int = 2) -> None:
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.folder = Path(tempfile.mkdtemp(prefix="sound-card-"))
        socket = self.folder / "native"
        config = self.folder / "asound.conf"
        config.write_text(ALSA_CONFIG)
        self.environment = {"PULSE_SERVER": f"unix:{socket}", "ALSA_CONFIG_PATH": str(config)}
        private = {"XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        # norewinds: else the sink, idle, has already rendered two seconds of silence when a stream comes.
        sink = f"format=float32le rate={sample_rate} channels={num_channels} norewinds=1"
        self._log = (self.folder / "log").open("wb")
        self._child = subprocess.Popen(
            [
                "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                "--realtime=yes", "--high-priority=yes", "--log-target=stderr",
                "-L", f"module-null-sink sink_name=card {sink}",
                "-L", f"module-null-sink sink_name=mouth {sink}",
                "-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            ],
            env={**os.environ, **private}, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while self._pactl("info").returncode:
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"pulseaudio does not answer: {(self.folder / 'log').read_text()[-800:]}")
            time.sleep(0.05)
        _at_once(self._child, 6)
        self._pactl("set-default-sink", "card")
        self._pactl("set-default-source", "mouth.monitor")

    def _client(self) -> dict[str, str]:
        private = {"XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        return {**os.environ, **self.environment, **private}

    def _pactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *arguments], env=self._client(), capture_output=True, text=True, check=False, timeout=20
        )

    def _format(self) -> list[str]:
        return ["--format=float32le", f"--rate={self.sample_rate}", f"--channels={self.num_channels}"]

    @contextmanager
    def recording(self, source: str = "card.monitor") -> Iterator[Recording]:
        """Record a source; the body runs once samples arrive. A tail of 0.2 s is kept after it."""
        child = subprocess.Popen(
            ["parec", "-d", source, *self._format(), "--latency-msec=10"],
            env=self._client(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _at_once(child, 4)
        recording = Recording(child, self.num_channels, self.sample_rate)
        try:
            recording.wait_for(1)
            yield recording
            recording.wait_for(self.sample_rate // 5)
        finally:
            recording.close()

    def record(self, seconds: float) -> np.ndarray:
        """Return the next ``seconds`` of what is heard, float32 [T, C]."""
        with self.recording() as recording:
            recording.wait_for(round(seconds * self.sample_rate), timeout_s=seconds + 10)
        return recording.samples[: round(seconds * self.sample_rate)]

    @contextmanager
    def speaking(self, samples: np.ndarray) -> Iterator[subprocess.Popen[bytes]]:
        """Play ``samples`` (float32 [T, C] at the card's rate) into the microphone ("mouth.monitor")."""
        path = self.folder / "speech.raw"
        np.ascontiguousarray(samples, dtype="<f4").tofile(path)
        child = subprocess.Popen(
            ["pacat", "--playback", "-d", "mouth", *self._format(), "--latency-msec=20", str(path)],
            env=self._client(), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _at_once(child, 4)
        try:
            yield child
        finally:
            child.terminate()
            child.wait(timeout=5)

    def kill(self) -> None:
        """Pull the plug: the server dies at once."""
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _at_once(child: subprocess.Popen[bytes], priority: int) -> None:
    """A real card's interrupts, a voice and an ear do not queue behind other programs: where it is allowed, neither
    does ``child``."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.sched_setscheduler(child.pid, os.SCHED_RR, os.sched_param(priority))


def need_programs() -> None:
    """Skip where PulseAudio is not installed; on CI that is a failure."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        reason = f"no {', '.join(missing)}: install pulseaudio, pulseaudio-utils and libasound2-plugins"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def plugged_in(card: SoundCard, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """Make ``card`` the default output of the processes started meanwhile."""
    with monkeypatch.context() as patch:
        for name, value in card.environment.items():
            patch.setenv(name, value)
        yield card


@pytest.fixture(scope="session")
def sound_server() -> Iterator[SoundCard]:
    need_programs()
    card = SoundCard()
    yield card
    card.close()


@pytest.fixture
def sound_card(sound_server: SoundCard, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    """The default output of every process started by this test: a 48 kHz stereo null sink."""
    with plugged_in(sound_server, monkeypatch) as card:
        yield card
