"""Clip: a recording at the sound card's rate, in memory that the playing process can see too.

One writer appends (any one thread), any number of readers in this process or another read. The samples are
written first and the ``ready`` counter last, so a reader that stays below ``ready`` never sees half-written
sound: no lock. The memory is anonymous: a memfd on Linux (for hours of sound an unlinked file of the cache
folder, whose pages the system can take back), an unlinked temporary file on other POSIX systems,
a page-file section on Windows. It is gone when both processes have let go of it, whatever way they ended.
"""

from __future__ import annotations

import itertools
import mmap
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable

import numpy as np
import soxr

from mimi_gui.kept_sound import PAGES, cache_folders

LARGE_BYTES = 128 << 20  # a clip of 12 minutes at 48 kHz
_HEADER_BYTES = 64  # int64 [8], the samples start on a cache line of their own
_LET_GO_SAMPLES = 1 << 20
_READY, _FINISHED, _LENGTH, _IDENTITY = 0, 1, 2, 3
_serials = itertools.count(1)


class SharedMemory:
    """``num_bytes`` zeroed bytes that another process can map by ``name``.

    Raises:
        OSError: the memory cannot be had.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.is_file = False
        if sys.platform == "win32":
            self.name = f"mimi-gui-{os.getpid()}-{next(_serials)}"
            self.map = mmap.mmap(-1, num_bytes, tagname=self.name)
            return
        if sys.platform == "linux" and num_bytes >= LARGE_BYTES and self._map_file(num_bytes):
            return
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("mimi-gui-sound")
            self.name = f"/proc/{os.getpid()}/fd/{fd}"
            weakref.finalize(self, os.close, fd)
        else:
            # The file keeps its name only as long as this object lives: the other process opens it by name.
            fd, self.name = tempfile.mkstemp(prefix="mimi-gui-sound-")
            weakref.finalize(self, os.close, fd)
            weakref.finalize(self, os.unlink, self.name)
        os.truncate(fd, num_bytes)
        self.map = mmap.mmap(fd, num_bytes)

    def _map_file(self, num_bytes: int) -> bool:
        """Use an unnamed file on disk: hours of sound then lie in pages that the system can take back."""
        for folder in cache_folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if shutil.disk_usage(folder).free < 2 * num_bytes:
                    continue
                fd, path = tempfile.mkstemp(dir=folder, prefix="clip-")
                os.unlink(path)
            except OSError:
                continue
            self.name = f"/proc/{os.getpid()}/fd/{fd}"
            weakref.finalize(self, os.close, fd)
            os.truncate(fd, num_bytes)
            self.map = mmap.mmap(fd, num_bytes)
            self.is_file = True
            PAGES.watch(self.map)
            return True
        return False

    def let_go(self, start: int, stop: int) -> None:
        """Bytes ``[start, stop)`` are written and not looked at soon: they need not stay in this process's memory."""
        if self.is_file:
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            last = stop // mmap.PAGESIZE * mmap.PAGESIZE
            if last > first:
                self.map.madvise(mmap.MADV_DONTNEED, first, last - first)

    @staticmethod
    def attach(name: str, num_bytes: int) -> mmap.mmap:
        """Map the memory another process named ``name``.

        Raises:
            OSError: it has been let go meanwhile.
            ValueError: another memory has taken its name and is smaller.
        """
        if sys.platform == "win32":
            return mmap.mmap(-1, num_bytes, tagname=name)
        fd = os.open(name, os.O_RDWR)
        try:
            return mmap.mmap(fd, num_bytes)
        finally:
            os.close(fd)


class Clip:
    """float32 [T, C] at ``sample_rate``, written once from the front while others read.

    Attributes:
        samples: float32 [T, C]; zeros beyond ``ready``.
        sample_rate: the sound card's rate in Hz.
        source_rate: rate in Hz of the blocks that ``append`` takes.
    """

    samples: np.ndarray
    _header: np.ndarray

    def __init__(self, num_samples: int, sample_rate: int, num_channels: int = 1, source_rate: int = 0) -> None:
        """Allocate ``num_samples`` samples at ``sample_rate``; see ``for_samples`` for the usual way in.

        Raises:
            ValueError: not one sample, or other than one or two channels.
        """
        if num_samples < 1 or num_channels not in (1, 2):
            raise ValueError(f"a clip of {num_samples} samples and {num_channels} channels cannot be played")
        self.sample_rate = sample_rate
        self.source_rate = source_rate or sample_rate
        self.identity = (os.getpid() << 32) | next(_serials)
        self.memory = SharedMemory(_HEADER_BYTES + 4 * num_samples * num_channels)
        self._let_go: Callable[[int, int], None] | None = self.memory.let_go
        self._map_views(self.memory.map, num_samples, num_channels)
        self._header[_LENGTH] = num_samples
        self._header[_IDENTITY] = self.identity
        self._start_writing()

    def _start_writing(self) -> None:
        self._num_source_samples = 0  # appended so far
        self._written = 0  # samples since memory was let go last
        self._resampler: soxr.ResampleStream | None = None
        if self.source_rate != self.sample_rate:
            self._resampler = soxr.ResampleStream(
                self.source_rate, self.sample_rate, self.num_channels, dtype="float32", quality="HQ"
            )

    def _map_views(self, memory: mmap.mmap, num_samples: int, num_channels: int) -> None:
        self._header = np.frombuffer(memory, dtype=np.int64, count=_HEADER_BYTES // 8)
        flat = np.frombuffer(memory, dtype=np.float32, count=num_samples * num_channels, offset=_HEADER_BYTES)
        self.samples = flat.reshape(num_samples, num_channels)

    @classmethod
    def for_samples(cls, num_samples: int, source_rate: int, sample_rate: int, num_channels: int = 1) -> Clip:
        """Return an empty clip for ``num_samples`` samples at ``source_rate``, to be played at
        ``sample_rate``.
        """
        length = max(1, scaled_length(num_samples, source_rate, sample_rate))
        return cls(length, sample_rate, num_channels, source_rate)

    @classmethod
    def for_duration(cls, duration_s: float, source_rate: int, sample_rate: int, num_channels: int = 1) -> Clip:
        """Return an empty clip for ``duration_s`` seconds; see ``for_samples``."""
        return cls.for_samples(round(duration_s * source_rate), source_rate, sample_rate, num_channels)

    @classmethod
    def from_samples(cls, samples: np.ndarray, source_rate: int, sample_rate: int) -> Clip:
        """Return a finished clip of ``samples`` (float32 [T] or [T, C] at ``source_rate``)."""
        block = as_columns(samples)
        clip = cls.for_samples(len(block), source_rate, sample_rate, block.shape[1])
        clip.append(block)
        clip.finish()
        return clip

    @classmethod
    def attach(cls, ticket: dict, source_rate: int = 0) -> Clip:
        """Return another process's clip; ``ticket`` is that clip's ``ticket()``.

        With ``source_rate`` this process becomes its one writer, appending blocks at that rate.

        Raises:
            OSError, ValueError: that process has let go of the clip meanwhile.
        """
        clip = cls.__new__(cls)
        num_samples, num_channels = ticket["num_samples"], ticket["num_channels"]
        clip.sample_rate = ticket["sample_rate"]
        clip.source_rate = source_rate or clip.sample_rate
        clip.identity = ticket["identity"]
        memory = SharedMemory.attach(ticket["name"], _HEADER_BYTES + 4 * num_samples * num_channels)
        clip._map_views(memory, num_samples, num_channels)
        clip._let_go = None
        if clip._header[_IDENTITY] != clip.identity:
            raise ValueError("the memory belongs to another clip by now")
        clip._start_writing()
        return clip

    def ticket(self) -> dict:
        """Return what another process needs to attach: JSON-able, valid while this clip lives."""
        return {
            "name": self.memory.name,
            "identity": self.identity,
            "num_samples": len(self.samples),
            "num_channels": self.num_channels,
            "sample_rate": self.sample_rate,
        }

    @property
    def num_channels(self) -> int:
        return self.samples.shape[1]

    @property
    def ready(self) -> int:
        """Samples that are final, counted from the front."""
        return int(self._header[_READY])

    @property
    def is_finished(self) -> bool:
        return bool(self._header[_FINISHED])

    @property
    def length(self) -> int:
        """Samples the clip has, or will have once finished (a source that ended early makes it shorter)."""
        return int(self._header[_LENGTH])

    @property
    def duration_s(self) -> float:
        return self.length / self.sample_rate

    def append(self, block: np.ndarray) -> None:
        """Resample ``block`` (float32 [n] or [n, C] at ``source_rate``) and put it behind what is there.

        Raises:
            ValueError: the clip is finished, or ``block`` has another number of channels.
        """
        if self.is_finished:
            raise ValueError("the clip is finished: nothing can be appended")
        block = as_columns(block)
        if block.shape[1] != self.num_channels:
            raise ValueError(f"got {block.shape[1]} channels, the clip has {self.num_channels}")
        self._num_source_samples += len(block)
        if self._resampler is not None:
            block = as_columns(self._resampler.resample_chunk(block))
        self._write(block)

    def finish(self) -> None:
        """Flush the resampler. The clip then has exactly round(n * sample_rate / source_rate) samples."""
        if self.is_finished:
            return
        if self._resampler is not None:
            silence = np.zeros((0, self.num_channels), np.float32)
            self._write(as_columns(self._resampler.resample_chunk(silence, last=True)))
            self._resampler = None
        length = scaled_length(self._num_source_samples, self.source_rate, self.sample_rate)
        # The last sample or two that the resampler's rounding left out stay zero; `ready` says they are
        # final.
        self._header[_LENGTH] = min(len(self.samples), length)
        self._header[_READY] = self._header[_LENGTH]
        self._header[_FINISHED] = 1

    def seal(self) -> None:
        """End a clip whose writer is gone: what is ready is all there is."""
        if not self.is_finished:
            self._header[_LENGTH] = self._header[_READY]
            self._header[_FINISHED] = 1

    def _write(self, block: np.ndarray) -> None:
        start = self.ready
        block = block[: len(self.samples) - start]
        self.samples[start : start + len(block)] = block
        self._header[_READY] = start + len(block)  # last: this is what publishes the samples
        width = 4 * self.num_channels
        self._written += len(block)
        if self._written >= _LET_GO_SAMPLES and self._let_go is not None:
            end = _HEADER_BYTES + width * (start + len(block))
            self._let_go(max(end - width * self._written, mmap.PAGESIZE), end)
            self._written = 0


def scaled_length(num_samples: int, source_rate: int, sample_rate: int) -> int:
    """Return round(num_samples * sample_rate / source_rate), halves upwards, without float rounding."""
    return (2 * num_samples * sample_rate + source_rate) // (2 * source_rate)


def as_columns(samples: np.ndarray) -> np.ndarray:
    """Return float32 [T, C], C-contiguous, from [T] or [T, C]; more than two channels become their mean."""
    block = np.asarray(samples, dtype=np.float32)
    if block.ndim == 1:
        block = block[:, None]
    if block.shape[1] > 2:
        block = block.mean(axis=1, dtype=np.float32)[:, None]
    return np.ascontiguousarray(block)
