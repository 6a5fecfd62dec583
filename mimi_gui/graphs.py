"""CUDA graphs of fixed chunks: one launch where a chunk is some four hundred kernels.

A graph works on buffers of its own: what comes in and the state are copied to them, the graph is replayed, and what
comes out is copied from them. To the streams it stays a function of (input, state) that leaves the old state whole;
streams and threads may share a graph, one at a time. Without CUDA the same code runs the same buffers without a graph,
which is how it is tested.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]

_log = logging.getLogger(__name__)
_MOST_GRAPHS = 6  # each keeps its activations
_WARM_UPS = 3  # libraries choose their kernels and take their workspaces, which a capture must not see


class GraphCache:
    """Graphs by what is computed and by the shapes of input and state; made at the second time that a shape comes.

    Args:
        capture: record CUDA graphs; else run the same buffers without (the CPU, tests).
    """

    def __init__(self, *, capture: bool) -> None:
        self._capture = capture
        self._graphs: OrderedDict[Hashable, _Fixed] = OrderedDict()
        self._seen: set[Hashable] = set()
        self._lock = threading.Lock()
        self._broken = False

    def run(self, what: Hashable, step: Step, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """``step(x, state)``, from a graph where there is one.

        Args:
            what: names the computation; equal names mean equal steps.
            step: a pure function. Its state is nested tuples of tensors, ints and None; it must take a 0-dim tensor
                for an int.
        """
        if state is None or self._broken:  # the first chunk has other shapes than all others
            return step(x, state)
        key = (what, x.shape, x.dtype, tuple(getattr(value, "shape", ()) for value in _values_of(state)))
        with self._lock:
            fixed = self._graphs.get(key)
            if fixed is None:
                if key not in self._seen:
                    self._seen.add(key)
                    return step(x, state)
                fixed = self._make(key, step, x, state)
                if fixed is None:
                    return step(x, state)
            self._graphs.move_to_end(key)
            return fixed.run(x, state)

    def clear(self) -> None:
        """Let go of all graphs and their memory: the device has none left."""
        with self._lock:
            self._graphs.clear()
            self._seen.clear()

    def _make(self, key: Hashable, step: Step, x: Tensor, state: Any) -> _Fixed | None:
        if len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.popitem(last=False)
        try:
            fixed = self._graphs[key] = _Fixed(step, x, state, capture=self._capture)
        except torch.OutOfMemoryError:
            self._graphs.clear()
            raise
        except RuntimeError as error:
            self._broken = True
            self._graphs.clear()
            _log.warning("CUDA graphs cannot be used here, chunks run kernel by kernel: %s", error)
            return None
        return fixed


class _Fixed:
    """One computation on buffers that never move."""

    def __init__(self, step: Step, x: Tensor, state: Any, *, capture: bool) -> None:
        self._step = step
        self._x = x.clone()
        self._state = _map(state, lambda value: _as_tensor(value, x.device))
        self._inputs = tensors_of(self._state)
        self._graph: Any = None
        if not capture:
            self._y, self._after = step(self._x, self._state)
            return
        side = torch.cuda.Stream(x.device)
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                step(self._x, self._state)
        torch.cuda.current_stream(x.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._y, self._after = step(self._x, self._state)
        self._graph = graph

    def run(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        self._x.copy_(x, non_blocking=True)
        for target, source in zip(self._inputs, _values_of(state), strict=True):
            if isinstance(source, Tensor):
                target.copy_(source, non_blocking=True)
            else:
                target.fill_(source)
        if self._graph is not None:
            self._graph.replay()
        else:
            y, after = self._step(self._x, self._state)
            self._y.copy_(y)
            for target, source in zip(tensors_of(self._after), tensors_of(after), strict=True):
                target.copy_(source)
        return self._y.clone(), _map(self._after, lambda value: value.clone())


def tensors_of(state: Any) -> list[Tensor]:
    """The tensors of a state, in order."""
    return [value for value in _values_of(state) if isinstance(value, Tensor)]


def _values_of(state: Any) -> list[Any]:
    """The tensors and ints of a state, in order."""
    if isinstance(state, tuple):
        return [value for part in state for value in _values_of(part)]
    return [] if state is None else [state]


def _map(state: Any, function: Callable[[Any], Tensor]) -> Any:
    if isinstance(state, tuple):
        return tuple(_map(part, function) for part in state)
    return None if state is None else function(state)


def _as_tensor(value: Any, device: torch.device) -> Tensor:
    return value.clone() if isinstance(value, Tensor) else torch.tensor(value, device=device)
