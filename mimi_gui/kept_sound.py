"""KeptSound: an hour of sound that grows at its end and lies on disk, so that a long session costs no memory."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


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


def _mapped(num_samples: int) -> np.ndarray:
    """Zeros, float32 [num_samples], of which the disk holds what is written."""
    import platformdirs

    for folder in (platformdirs.user_cache_dir("mimi-gui", appauthor=False), tempfile.gettempdir()):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, prefix="live-") as file:  # the map outlives the handle
                return np.memmap(file, np.float32, "w+", shape=(num_samples,))
        except OSError as error:
            log.warning("no room for a live session in %s: %s", folder, error)
    return np.zeros(num_samples, np.float32)
