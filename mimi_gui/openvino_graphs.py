"""Mimi as OpenVINO graphs, built from a MimiModel's own weights; no exporter, so that every layout is ours to choose.

Activations are ``[B, C, T]`` for convolutions, which the CPU plugin keeps time-major in memory. What came before a
chunk reaches a convolution in one of two ways, both exact:

* where rows are few (deep in the encoder, early in the decoder) its last rows are an input, and the new ones an output;
* where rows are many (above some 1,200 a second) a copy of everything to put two rows in front would cost more than
  computing a handful of rows again: the group is run with its convolutions' own zero padding over a few rows too many,
  and the rows that the padding has spoilt are dropped. At the very start there is nothing before, and the padding is
  what the model wants.

A transposed convolution is a convolution with two taps whose channels hold ``stride`` rows each. Float32 is asked for
by whoever compiles. Nothing here needs to know T or B beforehand: one compiled graph runs chunks of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Groups of convolutions with up to this many samples a row are computed again instead of copied.
_FINE_SAMPLES = 20

_ANY = -1


# Goes up with every change of the graphs: those on disk are then built again.
VERSION = 1


def why_not(config: Any) -> str:
    """What these graphs do not know of a model, in a few words; "" where they know it all. ``config``: MimiConfig."""
    if config.num_attention_heads != config.num_key_value_heads:
        return "its attention heads are grouped"
    if config.pad_mode != "constant":
        return f"its convolutions are padded by {config.pad_mode}"
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}"
    return ""


@dataclass
class Graph:
    """A graph before it is compiled, and what must be fed back to it.

    Attributes:
        model: ``openvino.Model``; its inputs and outputs go by name.
        outputs: their names; ``after_state0`` is what the next call gets as ``state0``.
        states: shapes ``(C, n)`` of ``state0``, ``state1`` ...: the rows that a convolution wants in front, zeros at
            the start.
        context: samples (encoder), or rows in front of the fine group (decoder), that are computed again.
        samples_per_row: behind the fine group (encoder), or in front of it (decoder).
        channels: of those rows.
    """

    model: Any
    outputs: list[str]
    states: list[tuple[int, int]]
    context: int = 0
    samples_per_row: int = 1
    channels: int = 1


@dataclass
class _Builder:
    """Collects inputs, outputs and states while a graph is put together."""

    ops: Any
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    states: list[tuple[int, int]] = field(default_factory=list)

    def constant(self, array: np.ndarray) -> Any:
        return self.ops.constant(np.ascontiguousarray(array), shared_memory=True)

    def integers(self, *values: int) -> Any:
        return self.ops.constant(np.array(values, np.int64))

    def input(self, name: str, shape: Sequence[int], dtype: type = np.float32) -> Any:
        self.inputs[name] = node = self.ops.parameter(list(shape), dtype)
        return node

    def last_rows(self, x: Any, count: int) -> Any:
        ops = self.ops
        return ops.slice(x, self.integers(-count), self.integers(2**31), self.integers(1), self.integers(2))

    def behind_state(self, x: Any, channels: int, rows: int, first: Any = None) -> Any:
        """``x`` with the ``rows`` before it in front; where ``first`` is 1.0, its own first row repeated."""
        name = f"state{len(self.states)}"
        front = self.input(name, [_ANY, channels, rows])
        if first is not None:
            ops = self.ops
            row = ops.slice(x, self.integers(0), self.integers(1), self.integers(1), self.integers(2))
            front = ops.add(front, ops.multiply(row, first))
        joined = self.ops.concat([front, x], 2)
        self.states.append((channels, rows))
        self.outputs[f"after_{name}"] = self.last_rows(joined, rows)
        return joined

    def graph(self, name: str, context: int = 0, samples_per_row: int = 1, channels: int = 1) -> Graph:
        import openvino

        make: Any = openvino.Model  # its type hints are those of another class
        for title, node in self.inputs.items():
            node.output(0).set_names({title})
        results = []
        for title, node in self.outputs.items():
            result = self.ops.result(node)
            result.output(0).set_names({title})
            results.append(result)
        model = make(results, list(self.inputs.values()), name)
        return Graph(model, list(self.outputs), self.states, context, samples_per_row, channels)


@dataclass(frozen=True)
class _Convolution:
    """One (possibly transposed) convolution of SEANet with the ELU in front of it."""

    weight: np.ndarray  # [C_out, C_in, kernel]; transposed: [C_in, C_out, 2 * stride]
    bias: np.ndarray | None
    stride: int
    dilation: int
    elu: bool
    transposed: bool = False

    @property
    def context(self) -> int:
        """Rows of its input that it wants before the first."""
        return 1 if self.transposed else (self.weight.shape[2] - 1) * self.dilation + 1 - self.stride

    @property
    def channels_in(self) -> int:
        return self.weight.shape[0] if self.transposed else self.weight.shape[1]


@dataclass(frozen=True)
class _Block:
    """``x + second(elu(first(elu(x))))``; with a shortcut convolution for the first ``x``."""

    first: _Convolution
    second: _Convolution
    shortcut: _Convolution | None

    @property
    def context(self) -> int:
        return self.first.context + self.second.context


def encoder_graph(parts: dict[str, Any], config: Any) -> Graph:
    """Samples to latents.

    Inputs: ``samples`` float32 ``[B, 1, context + T]`` (no context at the start), ``drop`` int64 ``[1]`` (rows that the
    context makes before the first), ``first`` float32 ``[1, 1, 1]`` (1.0 at the start), the transformer's and the
    states. Outputs: ``latents`` ``[B, T', C]``, the transformer's and the states.
    """
    from openvino import opset13

    b = _Builder(opset13)
    operators = _operators(parts["encoder"].layers)
    x = b.input("samples", [_ANY, 1, _ANY])
    drop = b.input("drop", [1], np.int64)
    first = b.input("first", [1, 1, 1])
    spacing, num_fine, context = 1, 0, 0
    for operator in operators:
        if spacing >= _FINE_SAMPLES:
            break
        context += operator.context * spacing
        spacing *= _stride(operator)
        num_fine += 1
    context = -(-context // spacing) * spacing
    x = _run(b, operators[:num_fine], x, fine=True)
    x = b.ops.slice(x, drop, b.integers(2**31), b.integers(1), b.integers(2))
    x = _run(b, operators[num_fine:], x, fine=False)
    x = _transformer(b, parts["encoder_transformer"], config, x)
    if parts["downsample"] is not None:
        down = _convolution(parts["downsample"], elu=False)
        replicate = parts["downsample"].pad_mode == "replicate"
        x = b.behind_state(x, down.channels_in, down.context, first if replicate else None)
        x = _convolve(b, x, down, pad=0)
    b.outputs["latents"] = b.ops.transpose(x, b.integers(0, 2, 1))
    return b.graph("encoder", context, spacing)


def decoder_graph(parts: dict[str, Any], config: Any, projections: Sequence[np.ndarray | None], width: int) -> Graph:
    """Sums of codewords to samples.

    Args:
        projections: per quantizer, ``[C, width]`` or None.
        width: D, of a codeword.

    Inputs: ``sum0``, ``sum1`` float32 ``[B, T, D]`` (one per quantizer), ``rows`` float32 ``[B, C, context]`` (before
    the fine group; none at the start), the transformer's and the states. Outputs: ``samples``
    ``[B, 1, context * samples_per_row + T']``, ``after_rows``, the transformer's and the states.
    """
    from openvino import opset13

    b = _Builder(opset13)
    total: Any = None
    for i, projection in enumerate(projections):
        share = b.input(f"sum{i}", [_ANY, _ANY, width])
        if projection is not None:
            share = b.ops.matmul(share, b.constant(projection), False, True)
        total = share if total is None else b.ops.add(total, share)
    x = b.ops.transpose(total, b.integers(0, 2, 1))
    if parts["upsample"] is not None:
        up = _convolution(parts["upsample"], elu=False)
        x = _transpose_convolve(b, b.behind_state(x, up.channels_in, 1), up, pad=0)
    x = _transformer(b, parts["decoder_transformer"], config, x)
    operators = _operators(parts["decoder"].layers)
    spacing, num_fine, context = 1, 0, 0
    for operator in reversed(operators):
        stride = _stride(operator)
        if spacing * stride > _FINE_SAMPLES:
            break
        # A row of a transposed convolution's output needs the input row that it lies in, and the one before.
        context = -(-context // stride) + operator.context
        spacing *= stride
        num_fine += 1
    num_coarse = len(operators) - num_fine
    x = _run(b, operators[:num_coarse], x, fine=False)
    channels = _channels_in(operators[num_coarse])
    rows = b.input("rows", [_ANY, channels, _ANY])
    x = b.ops.concat([rows, x], 2)
    b.outputs["after_rows"] = b.last_rows(x, context)
    b.outputs["samples"] = _run(b, operators[num_coarse:], x, fine=True)
    return b.graph("decoder", context, spacing, channels)


def quantizer_graph(
    projections: Sequence[np.ndarray | None], tables: Sequence[Sequence[np.ndarray]], width: int
) -> Graph:
    """Latents, or what earlier levels left of them, to the codes of some levels.

    The nearest codeword is the one with the largest ``x.e - |e|^2 / 2``; the next level gets what it leaves over.

    Args:
        projections: per quantizer, ``[D, width]`` or None.
        tables: per quantizer, its levels' codewords, ``[N, D]`` each; they are read in place.
        width: of the input.

    Inputs: ``x`` float32 ``[n, width]``. Outputs: ``codes`` int32 ``[n, levels]`` and ``rest`` ``[n, D]`` of the last
    quantizer.
    """
    from openvino import opset13

    b = _Builder(opset13)
    ops = b.ops
    x = b.input("x", [_ANY, width])
    codes: list[Any] = []
    rest: Any = x
    for projection, books in zip(projections, tables, strict=True):
        rest = x if projection is None else ops.matmul(x, b.constant(projection), False, True)
        for table in books:
            words = b.constant(table)
            half_norms = b.constant(-0.5 * np.square(table).sum(1)[None])
            scores = ops.add(ops.matmul(rest, words, False, True), half_norms)
            best = ops.topk(scores, ops.constant(np.int64(1)), 1, "max", "value", index_element_type="i32").output(1)
            codes.append(best)
            chosen = ops.gather(words, ops.reshape(best, b.integers(-1), False), b.integers(0))
            rest = ops.subtract(rest, chosen)
    b.outputs.update(codes=ops.concat(codes, 1), rest=rest)
    return b.graph("quantizer")


def _transformer(b: _Builder, module: Any, config: Any, x: Any) -> Any:
    """A causal transformer, ``[B, C, T]`` -> ``[B, C, T]``.

    Inputs: ``mask`` float32 ``[1, 1, T, window - 1 + T]`` (0, or minus infinity where a step must not look), ``cos``
    and ``sin`` ``[1, 1, T, D]`` (the first half of ``sin`` negated), per layer ``key0`` and ``value0`` ...
    ``[B, H, window - 1, D]`` of the steps before. Outputs: ``new_key0`` and ``new_value0`` ... of these steps,
    ``[B, H, T, D]``.
    """
    ops, heads, width = b.ops, config.num_attention_heads, config.head_dim
    mask = b.input("mask", [1, 1, _ANY, _ANY])
    cos, sin = (b.input(name, [1, 1, _ANY, width]) for name in ("cos", "sin"))
    x = ops.transpose(x, b.integers(0, 2, 1))  # [B, T, C]

    def rotate(y: Any) -> Any:
        first, second = ops.split(y, ops.constant(np.int64(3)), 2).outputs()
        swapped = ops.concat([second, first], 3)
        return ops.add(ops.multiply(y, cos), ops.multiply(swapped, sin))

    for i, layer in enumerate(module.layers):
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        y = _linear(b, _normalized(b, x, layer.input_layernorm), *projections, norm=layer.input_layernorm)
        y = ops.transpose(ops.reshape(y, b.integers(0, 0, 3 * heads, width), True), b.integers(0, 2, 1, 3))
        query, key, value = ops.split(y, ops.constant(np.int64(1)), 3).outputs()  # [B, H, T, D]
        query, key = rotate(query), rotate(key)
        past_key, past_value = (
            b.input(f"{name}{i}", [_ANY, heads, config.sliding_window - 1, width]) for name in ("key", "value")
        )
        b.outputs[f"new_key{i}"], b.outputs[f"new_value{i}"] = key, value
        all_keys, all_values = ops.concat([past_key, key], 2), ops.concat([past_value, value], 2)
        scale = ops.constant(np.float32(width**-0.5))
        y = ops.scaled_dot_product_attention(query, all_keys, all_values, mask, scale)
        y = ops.reshape(ops.transpose(y, b.integers(0, 2, 1, 3)), b.integers(0, 0, -1), True)
        x = ops.add(x, _linear(b, y, attention.o_proj, scale=layer.self_attn_layer_scale))
        y = _normalized(b, x, layer.post_attention_layernorm)
        y = ops.gelu(_linear(b, y, mlp.fc1, norm=layer.post_attention_layernorm), "erf")
        x = ops.add(x, _linear(b, y, mlp.fc2, scale=layer.mlp_layer_scale))
    return ops.transpose(x, b.integers(0, 2, 1))


def _normalized(b: _Builder, x: Any, norm: Any) -> Any:
    """Without the norm's own weight and bias, which :func:`_linear` folds into what follows."""
    return b.ops.mvn(x, b.integers(-1), True, float(norm.eps), "inside_sqrt")


def _linear(b: _Builder, x: Any, *linears: Any, norm: Any = None, scale: Any = None) -> Any:
    """``linears`` side by side; the norm before them and the layer scale behind them are in the weights."""
    weight = np.concatenate([_array(linear.weight) for linear in linears])
    bias = None if linears[0].bias is None else np.concatenate([_array(linear.bias) for linear in linears])
    if norm is not None:
        shift = (weight.astype(np.float64) @ _array(norm.bias).astype(np.float64)).astype(np.float32)
        bias = shift if bias is None else bias + shift
        weight = weight * _array(norm.weight)
    if scale is not None:
        factor = _array(scale.scale)
        weight, bias = weight * factor[:, None], None if bias is None else bias * factor
    y = b.ops.matmul(x, b.constant(weight), False, True)
    return y if bias is None else b.ops.add(y, b.constant(bias[None, None]))


def _run(b: _Builder, operators: Sequence[_Convolution | _Block], x: Any, *, fine: bool) -> Any:
    def conv(y: Any, c: _Convolution) -> Any:
        if c.elu:
            y = b.ops.elu(y, 1.0)
        if not fine and c.context:
            y = b.behind_state(y, c.channels_in, c.context)
        pad = c.context if fine else 0
        return (_transpose_convolve if c.transposed else _convolve)(b, y, c, pad=pad)

    for operator in operators:
        if isinstance(operator, _Convolution):
            x = conv(x, operator)
        else:
            y = conv(conv(x, operator.first), operator.second)
            x = b.ops.add(x if operator.shortcut is None else conv(x, operator.shortcut), y)
    return x


def _convolve(b: _Builder, x: Any, c: _Convolution, *, pad: int) -> Any:
    y = b.ops.convolution(x, b.constant(c.weight), [c.stride], [pad], [0], [c.dilation])
    return y if c.bias is None else b.ops.add(y, b.constant(c.bias[None, :, None]))


def _transpose_convolve(b: _Builder, x: Any, c: _Convolution, *, pad: int) -> Any:
    channels_in, channels_out, _ = c.weight.shape
    now, before = c.weight[..., : c.stride], c.weight[..., c.stride :]
    taps = np.stack((before.transpose(2, 1, 0), now.transpose(2, 1, 0)), -1)  # [stride, C_out, C_in, 2]
    taps = taps.reshape(c.stride * channels_out, channels_in, 2)
    bias = None if c.bias is None else np.tile(c.bias, c.stride)
    y = _convolve(b, x, _Convolution(taps, bias, 1, 1, False), pad=pad)
    return b.ops.depth_to_space(y, "blocks_first", c.stride)  # time-major in memory, this is a plain copy


def _stride(operator: _Convolution | _Block) -> int:
    return operator.stride if isinstance(operator, _Convolution) else 1


def _channels_in(operator: _Convolution | _Block) -> int:
    return operator.channels_in if isinstance(operator, _Convolution) else operator.first.channels_in


def _operators(layers: Any) -> list[_Convolution | _Block]:
    operators: list[_Convolution | _Block] = []
    elu = False
    for layer in layers:
        if type(layer).__name__ == "ELU":
            elu = True
            continue
        if hasattr(layer, "block"):
            first, second = (_convolution(layer.block[i], elu=True) for i in (1, 3))
            shortcut = None if type(layer.shortcut).__name__ == "Identity" else layer.shortcut
            operators.append(_Block(first, second, None if shortcut is None else _convolution(shortcut, elu=False)))
        else:
            operators.append(_convolution(layer, elu=elu))
        elu = False
    return operators


def _convolution(module: Any, *, elu: bool) -> _Convolution:
    conv = module.conv
    transposed = type(conv).__name__ == "ConvTranspose1d"
    weight = _dense(_array(conv.weight), conv.groups) if conv.groups > 1 else _array(conv.weight)
    bias = None if conv.bias is None else _array(conv.bias)
    return _Convolution(weight, bias, conv.stride[0], conv.dilation[0], elu, transposed)


def _dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """A grouped transposed kernel as an ungrouped one with zeros between the groups (of a Mimi: the upsampling)."""
    rows, columns, kernel = weight.shape
    dense = np.zeros((rows, columns * groups, kernel), np.float32)
    step = rows // groups
    for g in range(groups):
        dense[g * step : (g + 1) * step, g * columns : (g + 1) * columns] = weight[g * step : (g + 1) * step]
    return dense


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()
