"""Graphs and codewords on disk, one folder per checkpoint: the second start reads them instead of the model.

What is read is mapped, not loaded: pages that OpenVINO has reordered into its own copies are given back, so that the
weights are in memory once. ``$XDG_CACHE_HOME/mimi-gui/openvino`` (or the system's place for caches); about as large as
the checkpoint. Where nothing can be written, everything works from memory.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from mimi_gui.openvino_graphs import VERSION, Graph

log = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_CHECKPOINTS = 3  # the least recently used go


class Store:
    """The graphs of one checkpoint.

    Args:
        digest: ``"sha256:<hex>"`` of the weights; "" keeps nothing.
        root: the folder of all checkpoints; None: the user's cache.
    """

    def __init__(self, digest: str, root: Path | None = None) -> None:
        self._folder: Path | None = None
        if digest:
            self._folder = (root or _root()) / f"{digest.removeprefix('sha256:')[:32]}-{VERSION}"

    def graph(self, name: str, build: Callable[[], Graph]) -> tuple[Graph, Path | None]:
        """The graph of that name, from disk or built and kept; and the file that its weights are mapped from."""
        import openvino

        def write(folder: Path) -> None:
            graph = build()
            openvino.save_model(graph.model, str(folder / "graph.xml"), compress_to_fp16=False)
            facts = {
                "outputs": graph.outputs,
                "states": graph.states,
                "context": graph.context,
                "samples_per_row": graph.samples_per_row,
                "channels": graph.channels,
                "bytes": (folder / "graph.bin").stat().st_size,
            }
            (folder / "graph.json").write_text(json.dumps(facts), encoding="utf-8")

        def read(folder: Path) -> tuple[Graph, Path | None]:
            facts = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
            weights = folder / "graph.bin"
            if weights.stat().st_size != facts.pop("bytes"):
                raise ValueError(f"{weights} is damaged")
            facts["states"] = [(channels, rows) for channels, rows in facts["states"]]
            return Graph(openvino.Core().read_model(str(folder / "graph.xml")), **facts), weights

        return self._kept(name, write, read) or (build(), None)

    def arrays(self, name: str, build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays by name, mapped from disk, or built and kept."""

        def write(folder: Path) -> None:
            for title, array in build().items():
                np.save(folder / f"{title}.npy", array)

        def read(folder: Path) -> dict[str, np.ndarray]:
            return {path.stem: np.load(path, mmap_mode="c") for path in sorted(folder.glob("*.npy"))}

        return self._kept(name, write, read) or build()

    def _kept(self, name: str, write: Callable[[Path], None], read: Callable[[Path], T]) -> T | None:
        """Read, after writing it where it is not there; None where the disk does not let us."""
        if self._folder is None:
            return None
        target = self._folder / name
        if target.is_dir():
            try:
                answer = read(target)
                os.utime(self._folder)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                log.warning("%s is made anew: %s", target, error)
                shutil.rmtree(target, ignore_errors=True)
            else:
                return answer
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self._folder))
        except OSError as error:
            log.warning("no graphs are kept: %s", error)
            return None
        try:
            write(fresh)
            fresh.rename(target)
        except (OSError, RuntimeError) as error:  # RuntimeError: OpenVINO's word for a full disk
            shutil.rmtree(fresh, ignore_errors=True)
            if not target.is_dir():  # else another process was first
                log.warning("%s is not kept: %s", target, error)
                return None
        self._forget_old()
        return read(target)

    def _forget_old(self) -> None:
        assert self._folder is not None
        folders = [p for p in self._folder.parent.iterdir() if p.is_dir() and p != self._folder]
        folders.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        for folder in folders[_MOST_CHECKPOINTS - 1 :]:
            shutil.rmtree(folder, ignore_errors=True)


def give_back_pages(path: Path | None) -> None:
    """Let the system have the memory of a mapped file back; a page that is wanted again is read again. Linux only."""
    if path is None or sys.platform != "linux":
        return
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    advise = ctypes.CDLL(None).madvise
    for line in maps:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == str(path.resolve()) and "w" not in fields[1]:
            start, stop = (int(x, 16) for x in fields[0].split("-"))
            advise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), 4)  # MADV_DONTNEED


def _root() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("mimi-gui", appauthor=False)) / "openvino"
