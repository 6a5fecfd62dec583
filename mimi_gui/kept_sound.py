"""KeptSound: an hour of sound that grows at its end and lies on disk, so that a long session costs no memory.

Whatever is read or written of such files counts as this process's memory until the system takes it back, which it
does only when others need it. A thread hands it back before: see :class:`PageKeeper`.
"""

from __future__ import annotations

import logging
import mmap
import re
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

LARGE_SAMPLES = 1 << 24  # 64 MB: 12 minutes at 24 kHz
MOST_RESIDENT_BYTES = 512 << 20  # of files, before their pages are handed back
_LOOK_EVERY_S = 0.03  # 3 GB a second can be touched


class PageKeeper:
    """Hands the pages of mapped files back once there are many, whoever read or wrote them. Linux only.

    Its thread lives while the files that it knows could be too many. Handing back costs the next reader of a page
    a fraction of a microsecond; the content stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._floor = 0  # bytes of files in memory that are not ours: libraries above all

    def watch(self, mapped: mmap.mmap) -> None:
        """Know one more file, until it is closed or forgotten."""
        if not hasattr(mmap, "MADV_DONTNEED") or not Path("/proc/self/status").exists():
            return
        with self._lock:
            if not self._maps:
                self._floor = _resident_bytes()
            self._maps.add(mapped)
            if self._thread is None and self._num_bytes() > MOST_RESIDENT_BYTES:
                self._thread = threading.Thread(target=self._run, name="page-keeper", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Hand everything back if too much of files is in memory."""
        resident = _resident_bytes()
        self._floor = min(self._floor, resident)
        if resident - self._floor <= MOST_RESIDENT_BYTES:
            return
        with self._lock:
            maps = list(self._maps)
        for mapped in maps:
            _hand_back(mapped)
        self._floor = _resident_bytes()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_EVERY_S):
            self.look()
            with self._lock:
                if self._num_bytes() <= MOST_RESIDENT_BYTES:
                    self._thread = None
                    return

    def _num_bytes(self) -> int:
        return sum(0 if mapped.closed else len(mapped) for mapped in self._maps)


def _resident_bytes() -> int:
    """Of mapped files, libraries included, what this process has in memory; 0 where the system does not say."""
    found = re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 0 if found is None else int(found[1]) * 1024


PAGES = PageKeeper()


class KeptSound:
    """float32 [T] in an unnamed file of the cache folder; one thread appends, any thread reads below ``length``.

    The file is gone when the last array that looks into it is. Where no folder can be written to, it is memory.

    Attributes:
        samples: float32 [T] for the longest session, zeros beyond ``length``.
        length: samples that are there.
    """

    def __init__(self, num_samples: int) -> None:
        self.samples = _mapped(num_samples)
        self.length = 0

    def append(self, block: np.ndarray) -> None:
        """Put ``block`` (float32 [n]) behind what is there; what finds no room is left out."""
        block = block[: len(self.samples) - self.length]
        self.samples[self.length : self.length + len(block)] = block
        self.length += len(block)  # last: this is what publishes the samples

    def kept(self) -> np.ndarray:
        """Return what is there, float32 [length], read-only and not copied."""
        view = self.samples[: self.length]
        view.flags.writeable = False
        return view


def large_zeros(num_samples: int) -> np.ndarray:
    """Zeros, float32 [num_samples]: in memory, or from :data:`LARGE_SAMPLES` on in an unnamed file.

    Hours of sound then lie in pages that the system can take back when it needs them.
    """
    # A plain array that keeps the map: every slice of a memmap would be one, with its overhead.
    return np.zeros(num_samples, np.float32) if num_samples < LARGE_SAMPLES else np.asarray(_mapped(num_samples))


def let_go(*arrays: np.ndarray) -> None:
    """Hand the pages of arrays of :func:`large_zeros` back for now; reading them later looks at the disk's cache.

    Their content stays. Other arrays, and systems without ``madvise``, are left as they are.
    """
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            _hand_back(base)


def _hand_back(mapped: mmap.mmap) -> None:
    try:
        mapped.madvise(mmap.MADV_DONTNEED)
    except ValueError:
        log.debug("closed meanwhile")


def cache_folders() -> list[Path]:
    """Where unnamed files may lie, best first; the disk's cache folder, as many keep the temporary one in memory."""
    import platformdirs

    return [Path(platformdirs.user_cache_dir("mimi-gui", appauthor=False)), Path(tempfile.gettempdir())]


def _mapped(num_samples: int) -> np.ndarray:
    """Zeros, float32 [num_samples], of which the disk holds what is written."""
    for folder in cache_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder).free < 2 * 4 * num_samples:
                log.warning("no room for %d samples in %s", num_samples, folder)
                continue
            with tempfile.TemporaryFile(dir=folder, prefix="live-") as file:  # the map outlives the handle
                array = np.memmap(file, np.float32, "w+", shape=(num_samples,))
                if isinstance(array.base, mmap.mmap):
                    PAGES.watch(array.base)
                return array
        except OSError as error:
            log.warning("no room for a live session in %s: %s", folder, error)
    return np.zeros(num_samples, np.float32)
