"""CUDA graphs of fixed chunks: one launch where a chunk is some four hundred kernels.

A graph works on buffers of its own: what comes in and the state are copied to them, the graph is replayed, and what
comes out is copied from them. To the streams it stays a function of (input, state) that leaves the old state whole;
streams and threads may share a graph, one at a time. Without CUDA the same code runs the same buffers without a graph,
which is how it is tested.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mimi_gui.transfers import is_out_of_memory

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]

_log = logging.getLogger(__name__)
_MOST_GRAPHS = 6
_RECENT, _OFTEN = 8, 2  # calls; a shape that came so often among the last ones comes again and again
_WARM_UPS = 3  # libraries choose their kernels and take their workspaces, which a capture must not see


class GraphCache:
    """Graphs by what is computed and by the shapes of input and state.

    To record one costs as much as five chunks, so it is done only for shapes that stay: those that go out are those
    that came in, and they came twice among the last eight calls. The first ten seconds of every stream, in which its
    state grows chunk by chunk, and the ends of many recordings, each of another length, get none.

    Args:
        capture: record CUDA graphs; else run the same buffers without (the CPU, tests).
    """

    def __init__(self, *, capture: bool) -> None:
        self._capture = capture
        self._graphs: OrderedDict[Hashable, _Fixed] = OrderedDict()
        self._recent: deque[Hashable] = deque(maxlen=_RECENT)
        self._recorder: _Recorder | None = None
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
        shapes = _shapes(state)
        key = (what, x.shape, x.dtype, shapes)
        with self._lock:
            fixed = self._graphs.get(key)
            if fixed is None and self._recent.count(key) >= _OFTEN:
                fixed = self._make(key, step, x, state)
            if fixed is not None:
                self._graphs.move_to_end(key)
                with nullcontext() if self._recorder is None else self._recorder.turn():
                    return fixed.run(x, state)
            y, after = step(x, state)
            self._recent.append(key if _shapes(after) == shapes else None)
            return y, after

    def clear(self) -> None:
        """Let go of all graphs and their memory: the device has none left."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._graphs.clear()
        self._recent.clear()
        self._recorder = None

    def _make(self, key: Hashable, step: Step, x: Tensor, state: Any) -> _Fixed | None:
        if len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.popitem(last=False)
        try:
            if self._capture and self._recorder is None:
                self._recorder = _Recorder(x.device)
            fixed = self._graphs[key] = _Fixed(step, x, state, self._recorder)
        except RuntimeError as error:
            self._forget()
            if is_out_of_memory(error):
                raise  # the stream tries again with a smaller chunk
            self._broken = True
            _log.warning("CUDA graphs cannot be used here, chunks run kernel by kernel: %s", error)
            return None
        return fixed


class _Recorder:
    """Where the graphs of one device are recorded: a stream of its own, and memory that they share.

    What comes out of a graph is copied before the next one is replayed, which may then write to the same memory: all
    graphs together take what the largest takes, beside their inputs and outputs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # torch's own for all captures is one of the first device used
        self._pool = torch.cuda.graph_pool_handle()
        self._done = torch.cuda.Event()

    def record(self, compute: Callable[[], tuple[Tensor, Any]]) -> tuple[Any, tuple[Tensor, Any]]:
        """A graph of ``compute``, and what its replay writes to."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):  # which is left here also where a capture that fails does not leave it
            for _ in range(_WARM_UPS):
                compute()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                result = compute()
        current.wait_stream(self._stream)
        return graph, result

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One replay after the other on the device too, where the callers' threads use streams of their own."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(self._done)
        yield
        self._done.record(current)


class _Fixed:
    """One computation on buffers that never move."""

    def __init__(self, step: Step, x: Tensor, state: Any, recorder: _Recorder | None) -> None:
        self._step = step
        self._x = x.clone()
        self._state = _map(state, lambda value: _as_tensor(value, x.device))
        self._inputs = tensors_of(self._state)
        self._graph: Any = None
        if recorder is None:
            self._y, self._after = step(self._x, self._state)
        else:
            self._graph, (self._y, self._after) = recorder.record(lambda: step(self._x, self._state))

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


def _shapes(state: Any) -> tuple:
    return tuple(tuple(getattr(value, "shape", ())) for value in _values_of(state))


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
