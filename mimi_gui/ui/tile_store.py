"""Pictures of a spectrogram, made in a thread of their own: what is in sight first, nothing that is not wanted.

The GUI thread says at every paint which tiles it wants, best first; one tile is made at a time, and when it is done
the *newest* wishes decide what comes next. So a view that was scrolled past costs at most one tile. The thread is
not the analysis worker's, because a long measurement must not hold back what the person looks at.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

log = logging.getLogger(__name__)

_PAUSE_MS, _MOVING_S = 50, 0.1

Recipe = Callable[[], np.ndarray]


class _Courier(QObject):
    """Carries a tile to the GUI thread. No widget owns it, so it outlives whoever waited for the tile."""

    made = Signal(object, object)


class TileStore(QObject):
    """A cache of tiles and the thread that fills it. Lives in the GUI thread.

    Signals:
        changed(object): the tile of this key is there now; draw again.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None, *, max_bytes: int = 192 << 20) -> None:
        super().__init__(parent)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tiles: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._wanted: dict[QObject, Sequence[tuple[Hashable, Recipe]]] = {}
        self._busy = False
        self._closed = False
        self._moved_at = -1.0
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._next)
        self._courier = _Courier()
        self._courier.made.connect(self._take)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tiles")

    def get(self, key: Hashable) -> np.ndarray | None:
        """The tile if it is there."""
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        return tile

    def has(self, key: Hashable) -> bool:
        """Whether the tile is there; asking does not count as using it."""
        return key in self._tiles

    def want(self, who: QObject, wishes: Sequence[tuple[Hashable, Recipe]]) -> None:
        """Replace what ``who`` wants by ``wishes``, best first: a key and how to make its tile (uint8 [F, N])."""
        self._wanted[who] = wishes
        self._next()

    def move(self) -> None:
        """The views are being moved: rest between tiles for a moment, so that the movement has the processor."""
        self._moved_at = time.monotonic()

    def wishes(self, who: QObject) -> Sequence[tuple[Hashable, Recipe]]:
        """What ``who`` wants at the moment."""
        return self._wanted.get(who, ())

    def drop(self, matches: Callable[[Hashable], bool]) -> None:
        """Forget the tiles whose key matches: what they showed has changed."""
        for key in [key for key in self._tiles if matches(key)]:
            self._bytes -= self._tiles.pop(key).nbytes

    def close(self) -> None:
        """End the thread; the tile in the making is not waited for."""
        self._closed = True
        self._pause.stop()
        self._wanted.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        if self._busy or self._closed or self._pause.isActive():
            return
        # One tile for each view in turn, so that the three spectrograms fill side by side.
        depth = max((len(wishes) for wishes in self._wanted.values()), default=0)
        for place in range(depth):
            for wishes in self._wanted.values():
                if place < len(wishes) and wishes[place][0] not in self._tiles:
                    self._busy = True
                    self._thread.submit(_make, self._courier, *wishes[place])
                    return

    def _take(self, key: Hashable, tile: np.ndarray | None) -> None:
        self._busy = False
        if self._closed:
            return
        # A failed tile is kept as an empty one, or it would be tried again for ever.
        self._tiles[key] = np.zeros((1, 1), np.uint8) if tile is None else tile
        self._bytes += self._tiles[key].nbytes
        while self._bytes > self._max_bytes and len(self._tiles) > 1:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        self.changed.emit(key)
        if time.monotonic() - self._moved_at < _MOVING_S:
            self._pause.start()
        else:
            self._next()


def _make(courier: _Courier, key: Hashable, recipe: Recipe) -> None:
    try:
        tile: np.ndarray | None = recipe()
    except (ValueError, IndexError, MemoryError):
        log.exception("tile %r could not be made", key)
        tile = None
    courier.made.emit(key, tile)
