"""The arithmetic of Mimi at its slow end, between the convolutions: the transformers and the quantizers.

As in ``kernels``: weights prepared once, never written to, shared by all streams; state is a value.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimi_gui.compiled import Search
from mimi_gui.packed import Linear
from mimi_gui.tf32 import tf32


class TransformerLayer:
    """Weights of one layer, fused where the arithmetic stays the same."""

    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        bias = None if attention.q_proj.bias is None else torch.cat([p.bias.detach() for p in projections])
        self.qkv = Linear(torch.cat([p.weight.detach() for p in projections]), bias, dtype)
        self.out = _scaled(attention.o_proj, layer.self_attn_layer_scale.scale, dtype)
        self.up = Linear(mlp.fc1.weight, mlp.fc1.bias, dtype)
        self.down = _scaled(mlp.fc2, layer.mlp_layer_scale.scale, dtype)
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


def _scaled(linear: Any, scale: Tensor, dtype: torch.dtype) -> Linear:
    scale = scale.detach()
    bias = None if linear.bias is None else linear.bias * scale
    return Linear(linear.weight.detach() * scale[:, None], bias, dtype)


def _norm(module: Any) -> tuple:
    return (module.normalized_shape, module.weight.detach(), module.bias.detach(), module.eps)


class Transformer:
    """A causal transformer with rotary positions that sees ``window`` steps, itself included.

    State: ``(position, keys, values)``; keys and values are a tuple per layer, float32 ``[B, H, up to window - 1, D]``.
    """

    def __init__(self, module: Any, config: Any, dtype: torch.dtype = torch.float32) -> None:
        """``dtype``: of the linear layers' products; all between them is float32."""
        self.layers = [TransformerLayer(layer, dtype) for layer in module.layers]
        self.inverse_frequencies = module.rotary_emb.inv_freq.detach().float()
        self.rotary_scaling = float(module.rotary_emb.attention_scaling)
        self.num_heads, self.num_kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim, self.window = config.head_dim, config.sliding_window
        linears = [part for layer in self.layers for part in (layer.qkv, layer.out, layer.up, layer.down)]
        attention = 2 * self.window * self.num_heads * self.head_dim * len(self.layers)  # scores and their sums
        self.num_weights = sum(linear.num_weights for linear in linears) + attention
        self.any_size = all(linear.any_size for linear in linears)  # as of kernels.Convolution
        self._last_blocks: dict[tuple[int, int], list[tuple]] = {}

    def run(self, x: Tensor, state: tuple | None, valid: int | None = None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``, any T; ``valid`` as in ``kernels``."""
        position, past_keys, past_values = state or (0, None, None)
        steps = (torch.arange(x.shape[1], device=x.device) + position).float()  # a CUDA graph has it as a tensor
        angles = steps[:, None] * self.inverse_frequencies  # as MimiRotaryEmbedding computes them, to the last bit
        cos, sin = angles.cos() * self.rotary_scaling, angles.sin() * self.rotary_scaling
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
        num_past = 0 if past_keys is None else past_keys[0].shape[2]
        blocks = self._remembered_blocks(x.shape[1], num_past, x.device)
        keys, values = [], []
        for i, layer in enumerate(self.layers):
            past = None if past_keys is None or past_values is None else (past_keys[i], past_values[i])
            x, key, value = self._layer(layer, x, cos, sin, past, blocks, valid)
            keys.append(key)
            values.append(value)
        return x, (position + (x.shape[1] if valid is None else valid), tuple(keys), tuple(values))

    def _remembered_blocks(self, num_steps: int, num_past: int, device: torch.device) -> list[tuple]:
        """``_blocks``; on the CPU those of the last sizes, which a stream asks for again and again."""
        if device.type != "cpu":
            return self._blocks(num_steps, num_past, device)
        key = num_steps, num_past
        blocks = self._last_blocks.get(key)
        if blocks is None:
            if len(self._last_blocks) >= 8:
                self._last_blocks = {}
            blocks = self._last_blocks[key] = self._blocks(num_steps, num_past, device)
        return blocks

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
            seen = (key <= query) & (query - key < self.window)
            if self._by_hand(device):
                mask = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
            else:
                mask = seen
            blocks.append((start, stop, first, last, mask))
        return blocks

    def _layer(
        self,
        layer: TransformerLayer,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        past: tuple | None,
        blocks: list,
        valid: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_batch, num_steps, _ = x.shape
        qkv = layer.qkv.run(F.layer_norm(x, *layer.norm1))
        qkv = qkv.view(num_batch, num_steps, -1, self.head_dim).transpose(1, 2)  # [B, H, T, D]
        rotated, value = qkv.split((self.num_heads + self.num_kv_heads, self.num_kv_heads), dim=1)
        query, key = _rotate(rotated, cos, sin).split((self.num_heads, self.num_kv_heads), dim=1)
        if past is not None:
            key, value = torch.cat((past[0], key), 2), torch.cat((past[1], value), 2)
        heads = [
            self._attend(query[:, :, start:stop], key[:, :, first:last], value[:, :, first:last], mask)
            for start, stop, first, last, mask in blocks
        ]
        joined = heads[0] if len(heads) == 1 else torch.cat(heads, 2)
        joined = joined.transpose(1, 2).reshape(num_batch, num_steps, -1)
        x = layer.feed_forward(layer.out.add_to(x, joined))
        end = key.shape[2] - (0 if valid is None else num_steps - valid)
        kept = slice(max(0, end - (self.window - 1)), end)
        return x, key[:, :, kept].clone(), value[:, :, kept].clone()

    def _by_hand(self, device: torch.device) -> bool:
        return device.type == "cpu" and self.num_heads == self.num_kv_heads

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """``mask``: by hand what is added to the scores, float32; else true where a query sees a key."""
        if not self._by_hand(query.device):
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, enable_gqa=self.num_heads != self.num_kv_heads
            )
        # 1.3 ms a layer and call, where the fused kernel, made for long sequences and no mask, takes 2.3.
        num_batch, num_heads = query.shape[:2]
        query, key, value = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
        scores = torch.baddbmm(mask.expand(len(query), -1, -1), query, key.transpose(1, 2), alpha=self.head_dim**-0.5)
        return (torch.softmax(scores, -1) @ value).unflatten(0, (num_batch, num_heads))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.addcmul(x * cos, torch.cat((x[..., half:], x[..., :half]), -1), sin)


class ResidualQuantizer:
    """One residual quantizer: the nearest codeword is the one with the largest ``x.e - |e|^2 / 2``."""

    def __init__(self, module: Any) -> None:
        books = [layer.codebook for layer in module.layers]
        tables = [b.embed_sum / b.cluster_usage.clamp(min=b.epsilon)[:, None] for b in books]
        self.table = torch.stack([t.detach().float() for t in tables])  # [K, N, D]
        for book in books:
            book.embed_sum = book._embed = None
        self.scores: list[Linear] = []
        self.search: Search | None = None
        self.project_in = None if module.input_proj is None else module.input_proj.weight.detach()[..., 0]
        self.project_out = None if module.output_proj is None else module.output_proj.weight.detach()[..., 0]
        self.num_codebooks, self.cardinality = self.table.shape[:2]
        self._offsets = torch.arange(self.num_codebooks, device=self.table.device) * self.cardinality

    def prepare_search(self) -> None:
        """What only encoding needs: the codewords once more, as a product wants them."""
        if not self.scores and self.search is None:
            half_norms = self.table.square().sum(-1).mul_(-0.5)  # [K, N]
            if Search.suits(self.table):
                self.search = Search(self.table, half_norms)
                return
            self.scores = [Linear(table, norms) for table, norms in zip(self.table, half_norms, strict=True)]

    @property
    def any_size(self) -> bool:
        """As of ``kernels.Convolution``, of encoding; decoding sums rows of a table."""
        return all(score.any_size for score in self.scores)

    def encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        """``[B, T, C]`` -> int64 ``[K, B, T]``; after ``prepare_search``. Float32 at any precision."""
        with _float32(latents.device):
            return self._encode(latents, num_codebooks)

    def _encode(self, latents: Tensor, num_codebooks: int) -> Tensor:
        residual = latents if self.project_in is None else F.linear(latents, self.project_in)
        shape = residual.shape[:2]
        residual = residual.reshape(-1, residual.shape[-1])
        if self.search is not None:
            return self.search.run(residual, num_codebooks).view(num_codebooks, *shape)
        codes = residual.new_empty((num_codebooks, len(residual)), dtype=torch.int64)
        for k in range(num_codebooks):
            codes[k] = _first_largest(self.scores[k].run(residual))
            if k + 1 < num_codebooks:
                residual = residual - F.embedding(codes[k], self.table[k])
        return codes.view(num_codebooks, *shape)

    def decode(self, codes: Tensor, rows: list[int]) -> Tensor:
        """int64 ``[len(rows), B, T]``, the codes of codebooks ``rows`` -> their share of the latents, ``[B, T, C]``.

        Float32 at any precision.
        """
        # No list of numbers goes to the device here: a CUDA graph could not record that.
        if rows == list(range(rows[0], rows[0] + len(rows))):
            flat = codes.flatten(1) + self._offsets[rows[0] : rows[0] + len(rows), None]
        else:
            flat = torch.stack([codes[i].flatten() + row * self.cardinality for i, row in enumerate(rows)])
        flat = flat.T.contiguous()
        total = F.embedding_bag(flat, self.table.view(-1, self.table.shape[-1]), mode="sum")
        total = total.view(*codes.shape[1:], -1)
        if self.project_out is None:
            return total
        with _float32(total.device):
            return F.linear(total, self.project_out)


def _float32(device: torch.device) -> AbstractContextManager[None]:
    """No TF32 in here where the device has it: which codeword is the nearest is a matter of the last digits."""
    return nullcontext() if device.type == "cpu" else tf32(False)


def _first_largest(scores: Tensor) -> Tensor:
    """Per row the index of the largest, of equals the first. numpy's search is 7 times as fast as torch's max."""
    if scores.device.type != "cpu":
        return scores.max(1).indices
    return torch.from_numpy(scores.numpy().argmax(1))
