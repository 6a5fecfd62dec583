"""The operators of one loaded checkpoint on one device: codes from samples and samples from codes, with a state.

The weights are the MimiModel's own. Each direction takes its part of the model over when it is first used, so that a
job that only encodes never holds a decoder.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimi_gui import compiled
from mimi_gui.codes import CodecInfo
from mimi_gui.graphs import GraphCache
from mimi_gui.kernels import LOG2_E, Convolution, FusedBlock, ResidualBlock, TransposedConvolution
from mimi_gui.latents import ResidualQuantizer, Transformer
from mimi_gui.tf32 import tf32

_BLOCK_FRAMES = 25  # on the CPU, of the fast end: 2 s of 24 kHz activations are 50 MB; the speed is that of 6 s
# In frames; beyond, multiples of the block. The last is the chunk that streams have by default on the CPU.
_SIZES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, _BLOCK_FRAMES, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 110, 125)
_SMALL_WEIGHTS = 2**19  # numbers; an operator with more is run for the whole chunk, its weights come from far away


class Engine:
    """Ready to run on one device. Streams and threads share it; what it computes depends on its arguments only.

    It takes the weights over: where it keeps a reordered copy, the model loses the original, so that they are never in
    memory twice. The model is of no use afterwards.
    """

    def __init__(
        self, model: Any, info: CodecInfo, fill: Callable[[str], None] | None = None, *, precision: str = "exact"
    ) -> None:
        """
        Args:
            model: a MimiModel on the device.
            fill: called with a part's name (``weights.PARTS``) before it is taken over; None: the model is whole.
            precision: ``exact`` is float32 throughout. ``fast`` has bfloat16 products on the CPU and TF32 on CUDA; the
                quantizer, the attention and all sums along the transformer stay float32.
        """
        self.info, self.precision = info, precision
        self.device = next(model.parameters()).device
        self._dtype = torch.bfloat16 if precision == "fast" and self.device.type == "cpu" else torch.float32
        self._model, self._fill = model, fill or (lambda _part: None)
        self._graphs = GraphCache(capture=True) if self.device.type == "cuda" else None
        self._lock = threading.RLock()
        self._encoder: _Encoder | None = None
        self._decoder: _Decoder | None = None
        self._quantizer: _Quantizer | None = None

    def prepare(self, *, encode: bool = True, decode: bool = True) -> None:
        """Take the weights over now instead of at the first use (half a second for each direction)."""
        if encode:
            self._encoding()
        if decode:
            self._decoding()

    def encode(self, samples: Tensor, state: Any, num_codebooks: int) -> tuple[Tensor, Any]:
        """Encode whole frames.

        Args:
            samples: float32 ``[B, n * frame_size]`` on the engine's device.
            state: what the previous call returned, None at the start.
            num_codebooks: K, at least the semantic ones.

        Returns:
            int64 codes ``[B, K, n]`` and the new state. ``state`` itself is left as it was.
        """
        encoder = self._encoding()

        def step(x: Tensor, before: Any, valid_frames: int | None = None) -> tuple[Tensor, Any]:
            return encoder.run(x, before, num_codebooks, valid_frames)

        num_frames = samples.shape[1] // self.info.frame_size
        return self._compute(("encode", num_codebooks), step, samples, state, num_frames, encoder.any_size)

    def decode(self, codes: Tensor, state: Any, codebooks: Sequence[int]) -> tuple[Tensor, Any]:
        """Decode frames.

        Args:
            codes: int64 ``[B, len(codebooks), n]`` on the engine's device: the rows of the named codebooks only.
            state: what the previous call returned, None at the start.
            codebooks: which codebooks the rows are; the others add nothing to the sum.

        Returns:
            float32 samples ``[B, n * frame_size]`` and the new state. ``state`` itself is left as it was.
        """
        decoder = self._decoding()

        def step(x: Tensor, before: Any, valid_frames: int | None = None) -> tuple[Tensor, Any]:
            return decoder.run(x, before, codebooks, valid_frames)

        return self._compute(("decode", *codebooks), step, codes, state, codes.shape[2], decoder.any_size)

    def _compute(
        self,
        key: tuple,
        step: Callable[..., tuple[Tensor, Any]],
        x: Tensor,
        state: Any,
        num_frames: int,
        any_size: bool,
    ) -> tuple[Tensor, Any]:
        """Run ``step`` on ``x``, whose last axis is that of time as it is in what comes out."""
        with arithmetic(self.device, self.precision):
            size = self._size(num_frames, any_size)
            if size > num_frames:
                filled = F.pad(x, (0, x.shape[-1] // num_frames * (size - num_frames)))
                y, state = step(filled, state, num_frames)
                return y[..., : y.shape[-1] // size * num_frames], state
            return step(x, state) if self._graphs is None else self._graphs.run(key, step, x, state)

    def _size(self, num_frames: int, any_size: bool) -> int:
        """Frames to compute where ``num_frames`` are wanted. With oneDNN a few sizes serve for all: every new one makes
        it order the weights anew, which takes longer than the frames that are added."""
        if any_size or self.device.type != "cpu":
            return num_frames
        if num_frames <= _SIZES[-1]:
            return next(size for size in _SIZES if size >= num_frames)
        return -(-num_frames // _BLOCK_FRAMES) * _BLOCK_FRAMES

    def work(self) -> tuple[float, float]:
        """Multiplications and additions of the products, in GFLOP per second of audio: (encoding, decoding)."""
        encoder, decoder = self._encoding(), self._decoding()
        rate = float(self.info.sample_rate)
        down = _flops([*encoder.operators, encoder.transformer, *encoder.after], rate)
        table = self._quantizing().num_weights
        up = _flops([*decoder.before, decoder.transformer, *decoder.operators], self.info.frame_rate)
        return (down + 2 * table * self.info.frame_rate) / 1e9, up / 1e9

    def free_memory(self) -> None:
        """Give back what the device can spare: it had none left for a chunk."""
        if self._graphs is not None:
            self._graphs.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def centroids(self, level: int) -> Tensor:
        """The codewords of codebook ``level``, float32 ``[cardinality, D]`` on the engine's device; not a copy."""
        return self._quantizing().table(level)

    def _encoding(self) -> _Encoder:
        if self._encoder is None:
            with self._lock:  # a thread that comes second waits, and finds it done
                if self._encoder is None:
                    self._quantizing().prepare_search()
                    self._encoder = _Encoder(self._model, self._fill, self._quantizing(), self.info, self._dtype)
        return self._encoder

    def _decoding(self) -> _Decoder:
        if self._decoder is None:
            with self._lock:
                if self._decoder is None:
                    self._decoder = _Decoder(self._model, self._fill, self._quantizing(), self.info, self._dtype)
        return self._decoder

    def _quantizing(self) -> _Quantizer:
        if self._quantizer is None:
            with self._lock:
                if self._quantizer is None:
                    self._fill("quantizer")
                    self._quantizer = _Quantizer(self._model.quantizer, self.info)
        return self._quantizer


class _Quantizer:
    """The semantic and the acoustic one as one list of codebooks."""

    def __init__(self, module: Any, info: CodecInfo) -> None:
        self._num_semantic = info.num_semantic_codebooks
        self._semantic = ResidualQuantizer(module.semantic_residual_vector_quantizer)
        self._acoustic = ResidualQuantizer(module.acoustic_residual_vector_quantizer)

    @property
    def any_size(self) -> bool:
        return self._semantic.any_size and self._acoustic.any_size

    @property
    def num_weights(self) -> int:
        return self._semantic.table.numel() + self._acoustic.table.numel()

    def prepare_search(self) -> None:
        self._semantic.prepare_search()
        self._acoustic.prepare_search()

    def table(self, level: int) -> Tensor:
        semantic = self._num_semantic
        return self._semantic.table[level] if level < semantic else self._acoustic.table[level - semantic]

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """``[B, T, C]`` -> int64 ``[K, B, T]``."""
        codes = self._semantic.encode(latents, min(num_codebooks, self._num_semantic))
        if num_codebooks > self._num_semantic:
            codes = torch.cat((codes, self._acoustic.encode(latents, num_codebooks - self._num_semantic)))
        return codes

    def decode(self, codes: Tensor, codebooks: Sequence[int]) -> Tensor:
        """int64 ``[len(codebooks), B, T]`` -> ``[B, T, C]``."""
        semantic = self._num_semantic
        at = [i for i, k in enumerate(codebooks) if k < semantic]
        total = None
        if at:
            total = self._semantic.decode(_rows(codes, at), [codebooks[i] for i in at])
        at = [i for i, k in enumerate(codebooks) if k >= semantic]
        if at:
            share = self._acoustic.decode(_rows(codes, at), [codebooks[i] - semantic for i in at])
            total = share if total is None else total + share
        assert total is not None  # the streams refuse an empty choice
        return total


def _rows(codes: Tensor, at: list[int]) -> Tensor:
    """``codes[at]`` without sending the numbers to the device."""
    if at == list(range(at[0], at[0] + len(at))):
        return codes[at[0] : at[0] + len(at)]
    return torch.stack([codes[i] for i in at])


class _Encoder:
    def __init__(
        self, model: Any, fill: Callable[[str], None], quantizer: _Quantizer, info: CodecInfo, dtype: torch.dtype
    ) -> None:
        parts = model_parts(model)
        self._quantizer = quantizer
        fill("encoder")
        operators = _operators(parts["encoder"].layers, dtype, info.frame_size)
        large = (i for i, operator in enumerate(operators) if operator.num_weights > _SMALL_WEIGHTS)
        split = next(large, len(operators))
        self._fast, self._slow = operators[:split], operators[split:]
        self._frame_size = info.frame_size
        fill("encoder_transformer")
        self.transformer = Transformer(parts["encoder_transformer"], model.config, dtype)
        fill("downsample")
        self._downsample = None if parts["downsample"] is None else _convolution(parts["downsample"])
        self.any_size = _any_size([*operators, self.transformer, *self.after, quantizer])  # as of kernels.Convolution

    @property
    def operators(self) -> list:
        return [*self._fast, *self._slow]

    @property
    def after(self) -> list:
        return [] if self._downsample is None else [self._downsample]

    def run(
        self, samples: Tensor, state: Any, num_codebooks: int, valid_frames: int | None = None
    ) -> tuple[Tensor, Any]:
        fast, slow, transformer, down = state or (None, None, None, None)
        num_frames = samples.shape[1] // self._frame_size
        valid = num_frames if valid_frames is None else valid_frames
        x, fast = _run_in_blocks(self._fast, samples[..., None], fast, self._frame_size, valid * self._frame_size)
        x, slow = _run(self._slow, x, slow, x.shape[1] // num_frames * valid)
        steps = x.shape[1] // num_frames * valid
        x, transformer = self.transformer.run(x.float(), transformer, steps)
        if self._downsample is not None:
            x, down = self._downsample.run(x, down, steps)
        codes = self._quantizer.encode(x, num_codebooks)
        return codes.transpose(0, 1), (fast, slow, transformer, down)


class _Decoder:
    def __init__(
        self, model: Any, fill: Callable[[str], None], quantizer: _Quantizer, info: CodecInfo, dtype: torch.dtype
    ) -> None:
        parts = model_parts(model)
        self._quantizer = quantizer
        fill("upsample")
        self._upsample = None if parts["upsample"] is None else _transposed(parts["upsample"])
        fill("decoder_transformer")
        self.transformer = Transformer(parts["decoder_transformer"], model.config, dtype)
        fill("decoder")
        operators = _operators(parts["decoder"].layers, dtype, 1 if self._upsample is None else self._upsample.stride)
        large = [i for i, operator in enumerate(operators) if operator.num_weights > _SMALL_WEIGHTS]
        split = large[-1] + 1 if large else 0
        self._slow, self._fast = operators[:split], operators[split:]
        self.any_size = _any_size([*self.before, self.transformer, *operators])

    @property
    def operators(self) -> list:
        return [*self._slow, *self._fast]

    @property
    def before(self) -> list:
        return [] if self._upsample is None else [self._upsample]

    def run(
        self, codes: Tensor, state: Any, codebooks: Sequence[int], valid_frames: int | None = None
    ) -> tuple[Tensor, Any]:
        up, transformer, slow, fast = state or (None, None, None, None)
        num_frames = codes.shape[2]
        valid = num_frames if valid_frames is None else valid_frames
        x = self._quantizer.decode(codes.transpose(0, 1), codebooks)
        if self._upsample is not None:
            x, up = self._upsample.run(x, up, valid)
        steps = x.shape[1] // num_frames * valid
        x, transformer = self.transformer.run(x, transformer, steps)
        x, slow = _run(self._slow, x, slow, steps)
        frame_rows = x.shape[1] // num_frames
        x, fast = _run_in_blocks(self._fast, x, fast, frame_rows, frame_rows * valid)
        return x[..., 0], (up, transformer, slow, fast)


def _any_size(operators: list) -> bool:
    return all(operator.any_size for operator in operators)


_precision_lock = threading.Lock()


@contextmanager
def arithmetic(device: torch.device, precision: str = "exact") -> Iterator[None]:
    """No gradients, and on CUDA TF32 or not while our own call runs: the flags are the whole process's, so they are put
    back, and two threads of ours take turns."""
    if device.type != "cuda":
        with torch.inference_mode():
            yield
        return
    with _precision_lock, tf32(precision == "fast"), torch.cuda.device(device), torch.inference_mode():
        yield


def model_parts(model: Any) -> dict[str, Any]:
    """The modules of a MimiModel by role, in the layouts of transformers 5.3 and of 5.23 and later."""
    if hasattr(model.encoder, "encoder_seanet"):
        return {
            "encoder": model.encoder.encoder_seanet,
            "encoder_transformer": model.encoder.encoder_transformer,
            "downsample": model.encoder.downsample,
            "upsample": model.decoder.upsample,
            "decoder_transformer": model.decoder.decoder_transformer,
            "decoder": model.decoder.decoder_seanet,
        }
    names = ("encoder", "encoder_transformer", "downsample", "upsample", "decoder_transformer", "decoder")
    return {name: getattr(model, name) for name in names}


def _run(operators: list, x: Tensor, states: tuple | None, valid: int) -> tuple[Tensor, tuple]:
    """One operator after the other; the first ``valid`` rows of ``x`` count."""
    after = []
    for i, operator in enumerate(operators):
        num_rows = x.shape[1]
        x, state = operator.run(x, None if states is None else states[i], valid)
        valid = valid * x.shape[1] // num_rows
        after.append(state)
    return x, tuple(after)


def _run_in_blocks(
    operators: list, x: Tensor, states: tuple | None, frame_rows: int, valid: int
) -> tuple[Tensor, tuple]:
    """``_run`` of a few frames at a time on the CPU, where memory counts; the same numbers in the same order."""
    rows = max(1, _BLOCK_FRAMES // x.shape[0]) * frame_rows
    if x.device.type != "cpu" or x.shape[1] <= rows:
        return _run(operators, x, states, valid)
    parts = []
    for block in x.split(rows, dim=1):
        y, states = _run(operators, block, states, min(max(valid, 0), block.shape[1]))
        parts.append(y)
        valid -= block.shape[1]
    assert states is not None
    return torch.cat(parts, 1), states


def _flops(operators: list, rate: float) -> float:
    """Per second, of operators one after the other, where ``rate`` rows a second go into the first."""
    total = 0.0
    for operator in operators:
        if isinstance(operator, TransposedConvolution):
            total += 2 * operator.num_weights * rate
            rate *= operator.stride
        elif isinstance(operator, Convolution):
            rate /= operator.stride
            total += 2 * operator.num_weights * rate
        else:
            total += 2 * operator.num_weights * rate
    return total


def _convolution(
    module: Any,
    *,
    elu: float = 0.0,
    dtype: torch.dtype = torch.float32,
    scales: tuple[float, float] = (1.0, 1.0),
    frame_rows: int = 0,
) -> Convolution:
    conv = module.conv
    weight, bias = _rescaled(conv, scales)
    operator = Convolution(
        weight,
        bias,
        stride=conv.stride[0],
        dilation=conv.dilation[0],
        groups=conv.groups,
        elu=elu,
        replicate=module.pad_mode == "replicate",
        frame_rows=frame_rows,
        dtype=dtype,
    )
    conv.weight = None
    return operator


def _transposed(
    module: Any,
    *,
    elu: float = 0.0,
    dtype: torch.dtype = torch.float32,
    scales: tuple[float, float] = (1.0, 1.0),
    frame_rows: int = 0,
) -> TransposedConvolution:
    conv = module.conv
    weight, bias = _rescaled(conv, scales)
    operator = TransposedConvolution(
        weight, bias, stride=conv.stride[0], groups=conv.groups, elu=elu, frame_rows=frame_rows, dtype=dtype
    )
    conv.weight = None
    return operator


def _residual_block(
    layer: Any, *, elu: float, dtype: torch.dtype, scales: tuple[float, float]
) -> ResidualBlock | FusedBlock:
    modules = (layer.block[1], layer.block[3])
    straight = isinstance(layer.shortcut, torch.nn.Identity)
    (first, bias), second = (_rescaled(module.conv, scales) for module in modules)
    plain = modules[0].conv.dilation[0] == 1 and modules[0].pad_mode != "replicate"
    if straight and plain and dtype == torch.float32 and compiled.Filter.suits_block(first, second[0]):
        for module in modules:
            module.conv.weight = None
        return FusedBlock(compiled.Filter(first, bias, 1, elu, second=second), first.numel() + second[0].numel())
    shortcut = None if straight else _convolution(layer.shortcut, dtype=dtype, scales=scales)
    one, two = (_convolution(module, elu=elu, dtype=dtype, scales=scales) for module in modules)
    return ResidualBlock(one, two, shortcut)


def _rescaled(conv: Any, scales: tuple[float, float]) -> tuple[Tensor, Tensor | None]:
    """Weights for an input that is ``scales[0]`` times what it was, and an output that shall be ``scales[1]`` times."""
    before, after = scales
    weight = conv.weight.detach() if before == after else conv.weight.detach() * (after / before)
    return weight, conv.bias if conv.bias is None or after == 1.0 else conv.bias.detach() * after


def _operators(layers: Any, dtype: torch.dtype, frame_rows: int) -> list:
    """The operators of a SEANet, into which ``frame_rows`` rows go for each frame.

    On the CPU in float32 all that flows between the first and the last convolution is log2(e) times what it is in the
    model, for the sake of the ELUs: that costs nothing, the factor is in the weights.
    """
    scaled = dtype == torch.float32 and layers[0].conv.weight.device.type == "cpu"
    inside = LOG2_E if scaled else 1.0
    operators: list = []
    elu = 0.0
    for layer in layers:
        if isinstance(layer, torch.nn.ELU):
            elu = inside
            continue
        scales = (inside if operators else 1.0, inside if layer is not layers[-1] else 1.0)
        if hasattr(layer, "block"):
            operators.append(_residual_block(layer, elu=inside, dtype=dtype, scales=scales))
        elif isinstance(layer.conv, torch.nn.ConvTranspose1d):
            operators.append(_transposed(layer, elu=elu, dtype=dtype, scales=scales, frame_rows=frame_rows))
            frame_rows *= operators[-1].stride
        else:
            frame_rows //= layer.conv.stride[0]
            operators.append(_convolution(layer, elu=elu, dtype=dtype, scales=scales, frame_rows=frame_rows))
        elu = 0.0
    return operators
