"""KeptSound: an hour of sound that grows at its end and lies on disk, so that a long session costs no memory."""

from __future__ import annotations

import logging
import mmap
import shutil
import tempfile
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

LARGE_SAMPLES = 1 << 24  # 64 MB: 12 minutes at 24 kHz


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
            base.madvise(mmap.MADV_DONTNEED)


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
                return np.memmap(file, np.float32, "w+", shape=(num_samples,))
        except OSError as error:
            log.warning("no room for a live session in %s: %s", folder, error)
    return np.zeros(num_samples, np.float32)
