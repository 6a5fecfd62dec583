"""The engine of :mod:`mimi_gui.engine` on OpenVINO: the same calls, tokens and sound; ``backend="openvino"``.

Measured on two cores of an Intel Xeon, one frame at a time: 50 ms encoded and decoded, where torch took 80 in the same
minute (medians). In long chunks it costs the processor what torch does, so nothing is gained; and its threads, which
wait for each other busily, are three to five times slower than torch's where other programs want the cores. Peak memory
is 1,310 MB both ways (torch: 1,100), mapped files included. So it is asked for, never chosen by itself.
A checkpoint's graphs are built once and kept on disk (:mod:`mimi_gui.openvino_store`); from then on its weights are
not read as a MimiModel any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimi_gui.codes import CodecInfo
from mimi_gui.engine import model_parts
from mimi_gui.openvino_graphs import Graph, decoder_graph, encoder_graph, quantizer_graph
from mimi_gui.openvino_store import Store, give_back_pages

_BLOCK_FRAMES = 25  # at once: 2 s of 24 kHz activations are 50 MB; twice as many gain 4 % and take 200 MB more
_LEVELS_PER_GRAPH = 8
_BOTH = ("semantic", "acoustic")


class OpenVinoEngine:
    """What :class:`mimi_gui.engine.Engine` is, for the CPU. Streams and threads share it; calls take turns.

    A direction's graphs are read or built when it is first used.

    Args:
        model: a MimiModel on the CPU, float32; ``openvino_graphs.why_not`` finds nothing against its config.
        info: of its checkpoint.
        fill: called with a part's name (``weights.PARTS``) before it is read; None: the model is whole. Parts that were
            filled are emptied when their graph is built.
        precision: ``"exact"``: float32 throughout; ``"fast"``: bfloat16 where the CPU has it, the quantizer in float32.
        root: where graphs are kept; None: the user's cache.
    """

    name = "openvino"

    def __init__(
        self,
        model: Any,
        info: CodecInfo,
        fill: Callable[[str], None] | None = None,
        *,
        precision: str = "exact",
        root: Path | None = None,
    ) -> None:
        self.info, self.precision = info, precision
        self.device = torch.device("cpu")
        self._model, self._fill = model, fill or (lambda _part: None)
        self._store = Store(info.digest, root)
        self._lock = threading.RLock()
        self._encoder: _Encoder | None = None
        self._decoder: _Decoder | None = None
        self._quantizer: _Quantizer | None = None

    def prepare(self, *, encode: bool = True, decode: bool = True) -> None:
        """Build or read the graphs now instead of at the first use (some seconds the first time, one later)."""
        if encode:
            self._encoding()
        if decode:
            self._decoding()

    def encode(self, samples: Tensor, state: Any, num_codebooks: int) -> tuple[Tensor, Any]:
        """As :meth:`mimi_gui.engine.Engine.encode`: float32 ``[B, n * frame_size]`` -> int64 ``[B, K, n]``."""
        encoder = self._encoding()
        latents = []
        for block in samples.split(self._block(samples.shape[0]) * self.info.frame_size, dim=1):
            y, state = encoder.run(block, state)
            latents.append(y)
        codes = self._quantizing().encode(np.concatenate(latents, axis=1), num_codebooks)
        return torch.from_numpy(codes), state

    def decode(self, codes: Tensor, state: Any, codebooks: Sequence[int]) -> tuple[Tensor, Any]:
        """As :meth:`mimi_gui.engine.Engine.decode`: int64 ``[B, len(codebooks), n]`` -> ``[B, n * frame_size]``."""
        decoder = self._decoding()
        parts = []
        for block in codes.split(self._block(codes.shape[0]), dim=2):
            y, state = decoder.run(self._quantizing().sums(block.numpy(), codebooks), state)
            parts.append(y)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1), state

    def centroids(self, level: int) -> Tensor:
        """The codewords of codebook ``level``, float32 ``[cardinality, D]``; a copy."""
        return torch.from_numpy(np.array(self._quantizing().table(level)))

    def free_memory(self) -> None:
        """Nothing is held back."""

    @staticmethod
    def _block(rows: int) -> int:
        return max(1, _BLOCK_FRAMES // rows)

    def _encoding(self) -> _Encoder:
        if self._encoder is None:
            with self._lock:  # a thread that comes second waits, and finds it done
                if self._encoder is None:
                    names = ("encoder", "encoder_transformer", "downsample")
                    compiled = self._compiled("encoder", names, encoder_graph)
                    self._encoder = _Encoder(self._model, compiled, self.info)
        return self._encoder

    def _decoding(self) -> _Decoder:
        if self._decoder is None:
            with self._lock:
                if self._decoder is None:
                    quantizer = self._quantizing()
                    names = ("upsample", "decoder_transformer", "decoder")

                    def build(parts: dict[str, Any], config: Any) -> Graph:
                        return decoder_graph(parts, config, quantizer.projections("out"), quantizer.width)

                    compiled = self._compiled("decoder", names, build)
                    self._decoder = _Decoder(self._model, compiled, self.info)
        return self._decoder

    def _quantizing(self) -> _Quantizer:
        if self._quantizer is None:
            with self._lock:
                if self._quantizer is None:

                    def build() -> dict[str, np.ndarray]:
                        self._fill("quantizer")
                        return _quantizer_arrays(self._model.quantizer)

                    arrays = self._store.arrays("quantizer", build)
                    _empty(self._model.quantizer)
                    width = int(self._model.config.hidden_size)
                    self._quantizer = _Quantizer(arrays, self.info.num_semantic_codebooks, width)
        return self._quantizer

    def _compiled(self, name: str, names: Sequence[str], build: Callable[[dict[str, Any], Any], Graph]) -> _Compiled:
        parts = model_parts(self._model)

        def filled() -> Graph:
            for part in names:
                self._fill(part)
            return build(parts, self._model.config)

        graph, weights = self._store.graph(name, filled)
        if weights is not None:
            for part in names:
                _empty(parts[part])
        return _Compiled(graph, self.precision, weights)


class _Compiled:
    """One compiled graph and the one request that runs it: callers in other threads wait their turn."""

    def __init__(self, graph: Graph, precision: str, weights: Path | None = None) -> None:
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "fast" else "f32",  # else AMX makes it bf16 by itself
            "EXECUTION_MODE_HINT": "PERFORMANCE" if precision == "fast" else "ACCURACY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.graph = graph
        self._request = openvino.Core().compile_model(graph.model, "CPU", settings).create_infer_request()
        self._keep = None if weights else graph.model  # arrays that the graph reads in place
        graph.model = None
        self._tensor = openvino.Tensor
        self._weights, self._num_calls = weights, 0
        give_back_pages(weights)
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All inputs by name -> all outputs, copies."""
        with self._lock:
            tensors = {
                name: self._tensor(np.ascontiguousarray(array), shared_memory=True) for name, array in inputs.items()
            }
            for name, tensor in tensors.items():
                self._request.set_tensor(name, tensor)
            self._request.infer()
            answers = {name: self._request.get_tensor(name).data.copy() for name in self.graph.outputs}
            self._num_calls += 1
            if self._num_calls == 2:  # start and middle of a recording have other shapes: both are reordered now
                give_back_pages(self._weights)
        return answers


class _Direction:
    """The transformer's side of a direction: masks, rotary positions, and the window of keys and values."""

    def __init__(self, model: Any, transformer: str, compiled: _Compiled, info: CodecInfo) -> None:
        config, parts = model.config, model_parts(model)
        self._compiled, self._graph, self._info = compiled, compiled.graph, info
        self._window = int(config.sliding_window)
        self._past_shape = (config.num_attention_heads, self._window - 1, config.head_dim)
        self._num_layers = int(config.num_hidden_layers)
        self._steps_per_frame = 1 if parts["downsample"] is None else int(parts["downsample"].conv.stride[0])
        rotary = parts[transformer].rotary_emb
        self._inverse_frequencies = rotary.inv_freq.detach().float()
        self._rotary_scaling = float(rotary.attention_scaling)
        self._masks: dict[int, np.ndarray] = {}

    def start(self, rows: int) -> tuple[int, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Position, keys and values of no step, and the zeros before the first row of each convolution."""
        nothing = torch.zeros((rows, *self._past_shape))
        states = tuple(torch.zeros((rows, *shape)) for shape in self._graph.states)
        return 0, (nothing,) * (2 * self._num_layers), states

    def inputs(self, position: int, num_frames: int, past: Sequence[Tensor], states: Sequence[Tensor]) -> dict:
        num_steps = num_frames * self._steps_per_frame
        steps = torch.arange(position, position + num_steps).float()
        angles = steps[:, None] * self._inverse_frequencies  # as MimiRotaryEmbedding computes them, to the last bit
        cos, sin = angles.cos() * self._rotary_scaling, angles.sin() * self._rotary_scaling
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        mask = self._mask(position, num_steps)
        named = {"mask": mask, "cos": cos[None, None].numpy(), "sin": sin[None, None].numpy()}
        for i in range(self._num_layers):
            named[f"key{i}"], named[f"value{i}"] = past[2 * i].numpy(), past[2 * i + 1].numpy()
        return named | {f"state{i}": state.numpy() for i, state in enumerate(states)}

    def after(
        self, position: int, num_frames: int, past: Sequence[Tensor], out: Mapping[str, np.ndarray]
    ) -> tuple[int, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What :meth:`start` gives, for the next call."""
        names = [f"new_{kind}{i}" for i in range(self._num_layers) for kind in ("key", "value")]
        return (
            position + num_frames * self._steps_per_frame,
            tuple(_joined(before, out[name]) for before, name in zip(past, names, strict=True)),
            tuple(torch.from_numpy(out[f"after_state{i}"]) for i in range(len(self._graph.states))),
        )

    def _mask(self, position: int, num_steps: int) -> np.ndarray:
        num_past = min(position, self._window - 1)
        mask = self._masks.get(num_steps) if num_past == self._window - 1 else None
        if mask is None:
            query = np.arange(num_steps)[:, None]
            key = np.arange(1 - self._window, num_steps)[None]
            seen = (key <= query) & (query - key < self._window) & (key >= -num_past)
            mask = np.where(seen, np.float32(0), np.float32(-np.inf))[None, None]
            if num_past == self._window - 1 and len(self._masks) < 8:
                self._masks[num_steps] = mask
        return mask


class _Encoder(_Direction):
    def __init__(self, model: Any, compiled: _Compiled, info: CodecInfo) -> None:
        super().__init__(model, "encoder_transformer", compiled, info)

    def run(self, samples: Tensor, state: Any) -> tuple[np.ndarray, Any]:
        """``[B, n * frame_size]`` -> latents ``[B, n, C]``."""
        graph, num_frames = self._graph, samples.shape[1] // self._info.frame_size
        before, position, past, states = state or (samples[:, None, :0], *self.start(len(samples)))
        array = np.concatenate((before.numpy(), samples[:, None].numpy()), axis=2)
        named = self.inputs(position, num_frames, past, states)
        named["samples"] = array
        named["drop"] = np.array([before.shape[2] // graph.samples_per_row], np.int64)
        named["first"] = np.full((1, 1, 1), float(position == 0), np.float32)
        out = self._compiled.run(named)
        kept = torch.from_numpy(array[:, :, array.shape[2] - graph.context :].copy())
        return out["latents"], (kept, *self.after(position, num_frames, past, out))


class _Decoder(_Direction):
    def __init__(self, model: Any, compiled: _Compiled, info: CodecInfo) -> None:
        super().__init__(model, "decoder_transformer", compiled, info)

    def run(self, sums: Sequence[np.ndarray], state: Any) -> tuple[Tensor, Any]:
        """Sums of codewords, ``[B, n, D]`` per quantizer -> ``[B, n * frame_size]``."""
        graph = self._graph
        rows, num_frames = sums[0].shape[:2]
        before, position, past, states = state or (torch.zeros((rows, graph.channels, 0)), *self.start(rows))
        named = self.inputs(position, num_frames, past, states)
        named["rows"] = before.numpy()
        named |= {f"sum{i}": array for i, array in enumerate(sums)}
        out = self._compiled.run(named)
        samples = out["samples"][:, 0, before.shape[2] * graph.samples_per_row :]
        kept = torch.from_numpy(out["after_rows"])
        return torch.from_numpy(samples), (kept, *self.after(position, num_frames, past, out))


class _Quantizer:
    """Both residual quantizers as one list of codebooks; float32 whatever the precision."""

    def __init__(self, arrays: Mapping[str, np.ndarray], num_semantic: int, width: int) -> None:
        self._arrays, self._num_semantic, self._latent_width = arrays, num_semantic, width
        self._tables = [arrays[f"{name}_table"] for name in _BOTH]
        self.width = int(self._tables[0].shape[2])
        self._graphs: list[_Compiled] = []
        self._lock = threading.Lock()

    def projections(self, way: str) -> list[np.ndarray | None]:
        """Per quantizer, ``way`` is ``"in"`` (``[D, C]``) or ``"out"`` (``[C, D]``); None where there is none."""
        return [self._arrays.get(f"{name}_{way}") for name in _BOTH]

    def table(self, level: int) -> np.ndarray:
        """The codewords of one level, ``[N, D]``."""
        which = int(level >= self._num_semantic)
        return self._tables[which][level - which * self._num_semantic]

    def sums(self, codes: np.ndarray, codebooks: Sequence[int]) -> list[np.ndarray]:
        """int64 ``[B, len(codebooks), n]`` -> per quantizer the sum of the codewords, float32 ``[B, n, D]``."""
        sums = [np.zeros((codes.shape[0], codes.shape[2], self.width), np.float32) for _ in _BOTH]
        for row, level in enumerate(codebooks):
            sums[int(level >= self._num_semantic)] += self.table(level)[codes[:, row]]
        return sums

    def encode(self, latents: np.ndarray, num_codebooks: int) -> np.ndarray:
        """``[B, n, C]`` -> int64 ``[B, K, n]``. Levels that nobody asked for are neither computed nor built."""
        parts: list[np.ndarray] = []
        rest, num_levels = latents.reshape(-1, latents.shape[2]), 0
        while num_levels < num_codebooks:
            out = self._graph(len(parts)).run({"x": rest})
            parts.append(out["codes"])
            rest = out["rest"]
            num_levels += parts[-1].shape[1]
        codes = np.concatenate(parts, axis=1)[:, :num_codebooks].astype(np.int64)
        return np.ascontiguousarray(codes.reshape(*latents.shape[:2], -1).transpose(0, 2, 1))

    def _graph(self, index: int) -> _Compiled:
        with self._lock:
            while len(self._graphs) <= index:
                semantic, acoustic = self._tables
                # The first graph has both quantizers' beginnings, the others go on with the second's.
                first = max(1, _LEVELS_PER_GRAPH - len(semantic))
                if not self._graphs:
                    books = [list(semantic), list(acoustic[:first])]
                    graph = quantizer_graph(self.projections("in"), books, self._latent_width)
                else:
                    start = first + (len(self._graphs) - 1) * _LEVELS_PER_GRAPH
                    graph = quantizer_graph([None], [list(acoustic[start : start + _LEVELS_PER_GRAPH])], self.width)
                self._graphs.append(_Compiled(graph, "exact"))
            return self._graphs[index]


def _joined(past: Tensor, new: np.ndarray) -> Tensor:
    """The last steps of both, as many as ``past`` has; ``[B, H, T, D]``."""
    size, num_new = past.shape[2], new.shape[2]
    if num_new >= size:
        return torch.from_numpy(new[:, :, num_new - size :].copy())
    return torch.from_numpy(np.concatenate((past.numpy()[:, :, num_new:], new), axis=2))


def _quantizer_arrays(module: Any) -> dict[str, np.ndarray]:
    """``<quantizer>_table`` float32 ``[K, N, D]``, and ``<quantizer>_in`` ``[D, C]`` and ``_out`` ``[C, D]`` if any."""
    arrays: dict[str, np.ndarray] = {}
    for name in _BOTH:
        quantizer = getattr(module, f"{name}_residual_vector_quantizer")
        books = [layer.codebook for layer in quantizer.layers]
        tables = [b.embed_sum / b.cluster_usage.clamp(min=b.epsilon)[:, None] for b in books]
        arrays[f"{name}_table"] = torch.stack([t.detach().float() for t in tables]).numpy()
        for way, projection in (("in", quantizer.input_proj), ("out", quantizer.output_proj)):
            if projection is not None:
                arrays[f"{name}_{way}"] = projection.weight.detach()[..., 0].numpy()
    return arrays


def _empty(module: Any) -> None:
    """Let go of a module's weights; the small buffers of its rotary positions stay."""
    for parameter in [] if module is None else module.parameters():
        parameter.data = torch.empty(0)
    for layer in [] if module is None else module.modules():
        for name in ("embed_sum", "_embed"):
            if getattr(layer, name, None) is not None:
                setattr(layer, name, None)
