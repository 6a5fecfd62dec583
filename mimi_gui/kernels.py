"""The arithmetic of Mimi as pure functions of (input, state): what the streams are made of.

Every operator here holds weights prepared once from a MimiModel and is never written to afterwards, so that any number
of streams, in any number of threads, share one. Activations are time-major, ``[B, T, C]``: the context that a causal
convolution needs is then a few rows in front, and a transposed convolution is a plain product whose rows already lie
in the order of time. State is a value: ``run(x, state)`` returns the new one and leaves the old one whole, so that an
error, a cancel or a second try on a smaller chunk starts from where it stood.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Packed:
    """A convolution or linear layer with its weights in the order that oneDNN computes in, on the CPU only.

    Measured on two cores of an Intel Xeon with AVX-512: 250-320 GFLOP/s, where ``F.conv1d`` reorders weights and data
    at each call and reaches 30-240. Same arithmetic, float32.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, dilation: int) -> None:
        kernel = weight[:, :, None].contiguous(memory_format=torch.channels_last)  # [C_out, C_in, 1, K]
        self.geometry = ([0, 0], [1, stride], [1, dilation], 1)
        rows = (weight.shape[-1] - 1) * dilation + 1 + 63 * stride
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            kernel, *self.geometry, [1, weight.shape[1], 1, rows]
        )
        self.bias = bias

    @staticmethod
    def suits(weight: Tensor, groups: int) -> bool:
        """Whether this torch and this place have it, and it is worth it (one channel in or out is not)."""
        return (
            weight.device.type == "cpu"
            and groups == 1
            and min(weight.shape[:2]) > 1
            and torch.backends.mkldnn.is_available()
            and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
            and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
        )

    def run(self, x: Tensor) -> Tensor:
        """``[B, T, C_in]`` -> ``[B, T', C_out]``, both contiguous: time-major is what oneDNN calls channels-last."""
        y = torch.ops.mkldnn._convolution_pointwise(
            x.transpose(1, 2)[:, :, None], self.weight, self.bias, *self.geometry, "none", [], ""
        )
        return y[:, :, 0].transpose(1, 2)

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total += run(x)`` in one pass over memory; ``total`` is written to."""
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total.transpose(1, 2)[:, :, None],
            x.transpose(1, 2)[:, :, None],
            self.weight,
            self.bias,
            *self.geometry,
            "add",
            1.0,
            None,
            [],
            None,
        )
        return total


class Linear:
    """``x @ weight.T + bias``, with what follows it (gelu, adding to a residual) in the same pass where oneDNN can."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        weight, bias = weight.detach().contiguous(), None if bias is None else bias.detach().contiguous()
        self.bias, self.num_outputs = bias, weight.shape[0]
        self.packed = (
            weight.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
            and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        )
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 64) if self.packed else weight

    def run(self, x: Tensor) -> Tensor:
        """``[..., C_in]`` -> ``[..., C_out]``."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)

    def run_gelu(self, x: Tensor) -> Tensor:
        """``gelu(run(x))``, the exact gelu."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")
        return F.gelu(F.linear(x, self.weight, self.bias))

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total + run(x)``; ``total`` is left as it is."""
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise.binary(x, total, self.weight, self.bias, "add")
        return total + F.linear(x, self.weight, self.bias)


class Convolution:
    """A causal Conv1d with an optional ELU in front.

    Args:
        weight: ``[C_out, C_in / groups, kernel]``.
        replicate: the context before the first sample repeats it (else zeros).
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        elu: bool = False,
        replicate: bool = False,
    ) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.elu, self.replicate = elu, replicate
        self.context = (weight.shape[-1] - 1) * dilation + 1 - stride  # rows
        self.packed = Packed(weight, bias, stride, dilation) if Packed.suits(weight, groups) else None
        self.weight, self.bias = (None, None) if self.packed else (weight, bias)
        # To one channel: all taps of a row are one narrow product, read once; then their shifted sum.
        self.taps = weight[0].T.contiguous() if len(weight) == 1 and stride == 1 and groups == 1 else None

    def run(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``[B, T, C_in]`` -> ``[B, T / stride, C_out]``; T is a multiple of stride."""
        padded, state = with_context(x, state, self.context, elu=self.elu, replicate=self.replicate)
        if self.packed is not None:
            return self.packed.run(padded), state
        if self.taps is not None:
            num_rows = x.shape[1]
            shares = padded @ self.taps.T  # [B, context + T, kernel]
            y = shares[:, :num_rows, 0]
            for k in range(1, self.taps.shape[0]):
                y = y + shares[:, k * self.dilation : k * self.dilation + num_rows, k]
            return (y if self.bias is None else y + self.bias)[..., None], state
        assert self.weight is not None
        y = F.conv1d(padded.transpose(1, 2), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return y.transpose(1, 2), state

    def add_to(self, total: Tensor, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``run`` and add to ``total``, which may be written to."""
        if self.packed is None or not total.is_contiguous():
            y, state = self.run(x, state)
            return total + y, state
        padded, state = with_context(x, state, self.context, elu=self.elu, replicate=self.replicate)
        return self.packed.add_to(total, padded), state


class TransposedConvolution:
    """A causal ConvTranspose1d whose kernel is twice its stride, with an optional ELU in front.

    Each output block of ``stride`` samples depends on one input row and the one before it: a convolution with two
    taps and ``stride * C_out`` outputs, whose result read row by row is already in the order of time.

    Args:
        weight: ``[C_in, C_out / groups, 2 * stride]``.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, *, stride: int, groups: int = 1, elu: bool = False
    ) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.stride, self.elu = stride, elu
        self.num_channels = weight.shape[1] * groups
        self.taps: Tensor | None = None
        if groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1:
            self.taps = weight[:, 0].T.contiguous()  # [2 * stride, C]: each channel on its own, no product needed
            self.bias = bias
            return
        if groups > 1:
            weight = _dense(weight, groups)
        now, before = (half.permute(2, 1, 0).reshape(-1, weight.shape[0]) for half in weight.split(stride, dim=2))
        self.convolution = Convolution(
            torch.stack((before, now), dim=2), None if bias is None else bias.repeat(stride), elu=elu
        )

    def run(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``[B, T, C_in]`` -> ``[B, T * stride, C_out]``."""
        if self.taps is None:
            y, state = self.convolution.run(x, state)
        else:
            padded, state = with_context(x, state, 1, elu=self.elu)
            now, before = self.taps.split(self.stride)
            y = padded[:, 1:, None] * now + padded[:, :-1, None] * before
            y = y if self.bias is None else y + self.bias
        return y.reshape(x.shape[0], -1, self.num_channels), state


def with_context(
    x: Tensor, state: Tensor | None, context: int, *, elu: bool = False, replicate: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Put the ``context`` rows that came before in front of ``x`` and take the ones that the next call needs.

    The ELU writes straight into the padded buffer: no separate padding, no concatenation.
    """
    num_rows = x.shape[1]
    if context == 0 and not elu:
        return x, None
    padded = x.new_empty((x.shape[0], context + num_rows, x.shape[2]))
    body = padded[:, context:]
    if elu:
        elu_into(x, body)
    else:
        body.copy_(x)
    if context == 0:
        return padded, None
    if state is not None:
        padded[:, :context] = state
    elif replicate:
        padded[:, :context] = body[:, :1]
    else:
        padded[:, :context] = 0
    return padded, padded[:, num_rows:].clone()  # a clone: a view would keep the whole chunk alive


def elu_into(x: Tensor, out: Tensor) -> None:
    """``out = elu(x)``. On the CPU as max(x, exp(min(x, 0)) - 1): within 1e-7 of it and twice as fast as expm1."""
    if x.device.type != "cpu":
        torch.ops.aten.elu.out(x, out=out)
        return
    torch.clamp_max(x, 0.0, out=out)
    out.exp_().sub_(1.0)
    torch.maximum(x, out, out=out)


def _dense(weight: Tensor, groups: int) -> Tensor:
    """A grouped transposed kernel as an ungrouped one with zeros between the groups."""
    c_in, per_group, kernel = weight.shape
    dense = weight.new_zeros((c_in, per_group * groups, kernel))
    step = c_in // groups
    for g in range(groups):
        dense[g * step : (g + 1) * step, g * per_group : (g + 1) * per_group] = weight[g * step : (g + 1) * step]
    return dense


class ResidualBlock:
    """``x + second(elu(first(elu(x))))``, the residual branch of SEANet."""

    def __init__(self, first: Convolution, second: Convolution, shortcut: Convolution | None) -> None:
        self.first, self.second, self.shortcut = first, second, shortcut

    def run(self, x: Tensor, state: tuple | None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``; ``x`` may be written to."""
        a, b, c = state or (None, None, None)
        y, a = self.first.run(x, a)
        if self.shortcut is not None:
            x, c = self.shortcut.run(x, c)
        x, b = self.second.add_to(x, y, b)
        return x, (a, b, c)


class TransformerLayer:
    """Weights of one layer, fused where the arithmetic stays the same."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        bias = None if attention.q_proj.bias is None else torch.cat([p.bias.detach() for p in projections])
        self.qkv = Linear(torch.cat([p.weight.detach() for p in projections]), bias)
        self.out = _scaled(attention.o_proj, layer.self_attn_layer_scale.scale)
        self.up = Linear(mlp.fc1.weight, mlp.fc1.bias)
        self.down = _scaled(mlp.fc2, layer.mlp_layer_scale.scale)
        self.norm1 = _norm(layer.input_layernorm)
        self.norm2 = _norm(layer.post_attention_layernorm)
        self.activation: Callable[[Tensor], Tensor] = mlp.activation_fn
        exact_gelu = isinstance(mlp.activation_fn, torch.nn.GELU) and mlp.activation_fn.approximate == "none"
        self.is_gelu = exact_gelu or type(mlp.activation_fn).__name__ == "GELUActivation"
        for linear in (*projections, attention.o_proj, mlp.fc1, mlp.fc2):
            linear.weight = None  # not twice in memory

    def feed_forward(self, x: Tensor) -> Tensor:
        """``[B, T, C]`` -> ``[B, T, C]``, with the residual."""
        hidden = F.layer_norm(x, *self.norm2)
        hidden = self.up.run_gelu(hidden) if self.is_gelu else self.activation(self.up.run(hidden))
        return self.down.add_to(x, hidden)


def _scaled(linear: Any, scale: Tensor) -> Linear:
    scale = scale.detach()
    return Linear(linear.weight.detach() * scale[:, None], None if linear.bias is None else linear.bias * scale)


def _norm(module: Any) -> tuple:
    return (module.normalized_shape, module.weight.detach(), module.bias.detach(), module.eps)


class Transformer:
    """A causal transformer with rotary positions that sees ``window`` steps, itself included.

    State: ``(position, keys, values)``; keys and values are a tuple per layer, float32 ``[B, H, up to window - 1, D]``.
    """

    def __init__(self, module: Any, config: Any) -> None:
        self.layers = [TransformerLayer(layer) for layer in module.layers]
        self.inverse_frequencies = module.rotary_emb.inv_freq.detach().float()
        self.rotary_scaling = float(module.rotary_emb.attention_scaling)
        self.num_heads, self.num_kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim, self.window = config.head_dim, config.sliding_window

    def run(self, x: Tensor, state: tuple | None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``, any T."""
        position, past_keys, past_values = state or (0, None, None)
        steps = torch.arange(position, position + x.shape[1], device=x.device).float()
        angles = steps[:, None] * self.inverse_frequencies  # as MimiRotaryEmbedding computes them, to the last bit
        cos, sin = angles.cos() * self.rotary_scaling, angles.sin() * self.rotary_scaling
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        num_past = 0 if past_keys is None else past_keys[0].shape[2]
        blocks = self._blocks(x.shape[1], num_past, x.device)
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            past = None if past_keys is None or past_values is None else (past_keys[i], past_values[i])
            x, key, value = self._layer(layer, x, cos, sin, past, blocks)
            keys.append(key)
            values.append(value)
        return x, (position + steps.shape[0], tuple(keys), tuple(values))

    def _blocks(self, num_steps: int, num_past: int, device: torch.device) -> list[tuple]:
        """Queries in blocks that see little more than their window: cost grows with T, not with its square."""
        size = max(64, self.window // 2)
        blocks = []
        for start in range(0, num_steps, size):
            stop = min(start + size, num_steps)
            first = max(0, num_past + start - (self.window - 1))
            last = num_past + stop
            query = torch.arange(num_past + start, last, device=device)[:, None]
            key = torch.arange(first, last, device=device)[None]
            blocks.append((start, stop, first, last, (key <= query) & (query - key < self.window)))
        return blocks

    def _layer(
        self, layer: TransformerLayer, x: Tensor, cos: Tensor, sin: Tensor, past: tuple | None, blocks: list
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_batch, num_steps, _ = x.shape
        qkv = layer.qkv.run(F.layer_norm(x, *layer.norm1))
        qkv = qkv.view(num_batch, num_steps, -1, self.head_dim).transpose(1, 2)  # [B, H, T, D]
        query, key, value = qkv.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), dim=1)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        if past is not None:
            key, value = torch.cat((past[0], key), 2), torch.cat((past[1], value), 2)
        heads = [
            self._attend(query[:, :, start:stop], key[:, :, first:last], value[:, :, first:last], mask)
            for start, stop, first, last, mask in blocks
        ]
        joined = heads[0] if len(heads) == 1 else torch.cat(heads, 2)
        joined = joined.transpose(1, 2).reshape(num_batch, num_steps, -1)
        x = layer.feed_forward(layer.out.add_to(x, joined))
        keep = max(0, key.shape[2] - (self.window - 1))
        return x, key[:, :, keep:].clone(), value[:, :, keep:].clone()


    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        if query.device.type != "cpu" or self.num_heads != self.num_kv_heads:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, enable_gqa=self.num_heads != self.num_kv_heads
            )
        # 1.5 ms a layer and call, where the fused kernel, made for long sequences and no mask, takes 2.3.
        scores = (query * self.head_dim**-0.5) @ key.transpose(2, 3)
        scores.masked_fill_(~mask, -torch.inf)
        return torch.softmax(scores, -1) @ value


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((x[..., half:], x[..., :half]), -1) * sin


class ResidualQuantizer:
    """One residual quantizer: the nearest codeword is the one with the largest ``x.e - |e|^2 / 2``."""

    def __init__(self, module: Any) -> None:
        books = [layer.codebook for layer in module.layers]
        tables = [b.embed_sum / b.cluster_usage.clamp(min=b.epsilon)[:, None] for b in books]
        self.table = torch.stack([t.detach().float() for t in tables])  # [K, N, D]
        for book in books:
            book.embed_sum = book._embed = None
        half_norms = self.table.square().sum(-1).mul_(-0.5)  # [K, N]
        del tables
        self.scores = [Linear(table, norms) for table, norms in zip(self.table, half_norms, strict=True)]
        self.project_in = None if module.input_proj is None else module.input_proj.weight.detach()[..., 0]
        self.project_out = None if module.output_proj is None else module.output_proj.weight.detach()[..., 0]
        self.num_codebooks, self.cardinality = self.table.shape[:2]

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """``[B, T, C]`` -> int64 ``[K, B, T]``."""
        residual = latents if self.project_in is None else F.linear(latents, self.project_in)
        shape = residual.shape[:2]
        residual = residual.reshape(-1, residual.shape[-1])
        codes = residual.new_empty((num_codebooks, len(residual)), dtype=torch.int64)
        for k in range(num_codebooks):
            codes[k] = self.scores[k].run(residual).max(1).indices  # of equals the first; faster than argmax
            if k + 1 < num_codebooks:
                residual = residual - F.embedding(codes[k], self.table[k])
        return codes.view(num_codebooks, *shape)

    def decode(self, codes: Tensor, rows: list[int]) -> Tensor:
        """int64 ``[len(rows), B, T]``, the codes of codebooks ``rows`` -> their share of the latents, ``[B, T, C]``."""
        offsets = torch.tensor(rows, device=codes.device) * self.cardinality
        flat = (codes.flatten(1) + offsets[:, None]).T
        total = F.embedding_bag(flat, self.table.view(-1, self.table.shape[-1]), mode="sum")
        total = total.view(*codes.shape[1:], -1)
        return total if self.project_out is None else F.linear(total, self.project_out)
