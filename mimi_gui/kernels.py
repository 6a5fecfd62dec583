"""The arithmetic of Mimi as pure functions of (input, state): what the streams are made of.

Every operator here holds weights prepared once from a MimiModel and is never written to afterwards, so that any number
of streams, in any number of threads, share one. Activations are time-major, ``[B, T, C]``: the context that a causal
convolution needs is then a few rows in front, and a transposed convolution is a plain product whose rows already lie
in the order of time. State is a value: ``run(x, state)`` returns the new one and leaves the old one whole, so that an
error, a cancel or a second try on a smaller chunk starts from where it stood. Where only the first ``valid`` rows of
``x`` count, the new state is the one after these; what comes out for the rows behind them is of no use.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor
from torch.nn import functional as F

LOG2_E = math.log2(math.e)
_ZERO, _MINUS_LOG2_E = torch.zeros(()), torch.tensor(-LOG2_E)
_BF16_ERROR = 0.02  # relative; rounding gives 0.003 to 0.006, a wrong kernel 1
_FEW_ROWS = 4  # a call more costs as much as the slower gelu of so many
_MOST_LAYOUTS = 4  # of one layer's weights in memory; a processor was seen to want 3
_MD_PADDING = 27  # the word between data type and padded dimensions in oneDNN's dnnl_memory_desc, never written to


class Packed:
    """A convolution with its weights in the order that oneDNN computes in, on the CPU only.

    Which order that is depends on the processor, on the number of threads and on the size of the input, and weights in
    the wrong one are computed by a reference loop: one frame then takes 30 times as long (780 ms instead of 22, seen on
    a Zen 3). So an order is asked for per size of input and number of threads when these first come, and kept;
    different sizes share it where it is the same.

    Measured on two cores, float32: 250-320 GFLOP/s of an Intel Xeon's 354, 170-195 of a Zen 3's 200; ``F.conv1d``
    reorders weights and data at each call and reaches 30-240 and 6-150. Same arithmetic, float32; or bfloat16, rounded
    once at the end of each sum.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        self.bias = None if bias is None else bias.to(dtype)
        self.geometry = ([0, 0], [1, stride], [1, dilation], 1)
        # [C_out, C_in, 1, K]; until the first input comes
        self._plain: Tensor | None = weight.to(dtype)[:, :, None].contiguous(memory_format=torch.channels_last)
        self._by_layout: dict[bytes, Tensor] = {}  # oldest first
        self._by_size: dict[tuple[int, int, int], Tensor] = {}  # rows, samples, threads
        self._lock = threading.Lock()

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

    @classmethod
    def checked(cls, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, dtype: torch.dtype) -> Packed:
        """In ``dtype`` if this processor's result agrees with float32's, else in float32.

        oneDNN in torch 2.13 gives noise for 24 -> 48 channels, kernel 16, stride 8 in bfloat16 with AMX.
        """
        exact = cls(weight, bias, stride, dilation)
        if dtype == torch.float32:
            return exact
        other = cls(weight, bias, stride, dilation, dtype)
        context = (weight.shape[-1] - 1) * dilation + 1 - stride
        generator = torch.Generator().manual_seed(0)
        for num_rows in (2 * stride, 50 * stride, 400 * stride):
            x = torch.randn((1, context + num_rows, weight.shape[1]), generator=generator)
            wanted, got = exact.run(x), other.run(x)
            if not (got - wanted).norm() <= _BF16_ERROR * wanted.norm():
                return cls(weight, bias, stride, dilation)
        return cls(weight, bias, stride, dilation, dtype)

    def _packed(self, x: Tensor) -> Tensor:
        """The weights in the order for an input of the size of ``x``, ``[B, T, C_in]``."""
        size = (x.shape[0], x.shape[1], torch.get_num_threads())
        packed = self._by_size.get(size)
        return self._pack(size, x.shape[2]) if packed is None else packed

    def _pack(self, size: tuple[int, int, int], channels: int) -> Tensor:
        with self._lock:
            plain = self._plain if self._plain is not None else next(iter(self._by_layout.values())).to_dense()
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                plain.contiguous(memory_format=torch.channels_last), *self.geometry, [size[0], channels, 1, size[1]]
            )
            packed = self._by_layout.setdefault(_layout(packed), packed)
            if len(self._by_layout) > _MOST_LAYOUTS:
                oldest = next(iter(self._by_layout))
                gone = self._by_layout.pop(oldest)
                self._by_size = {key: kept for key, kept in self._by_size.items() if kept is not gone}
            self._plain = None
            self._by_size[size] = packed
            return packed

    def run(self, x: Tensor) -> Tensor:
        """``[B, T, C_in]`` -> ``[B, T', C_out]``, both contiguous: time-major is what oneDNN calls channels-last."""
        if x.dtype != self.dtype:
            return self.run(x.to(self.dtype)).to(x.dtype)
        y = torch.ops.mkldnn._convolution_pointwise(
            x.transpose(1, 2)[:, :, None], self._packed(x), self.bias, *self.geometry, "none", [], ""
        )
        return y[:, :, 0].transpose(1, 2)

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total += run(x)`` in one pass over memory; ``total`` is written to."""
        if not x.dtype == total.dtype == self.dtype:
            return total.add_(self.run(x))
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total.transpose(1, 2)[:, :, None],
            x.transpose(1, 2)[:, :, None],
            self._packed(x),
            self.bias,
            *self.geometry,
            "add",
            1.0,
            None,
            [],
            None,
        )
        return total


def _layout(packed: Tensor) -> bytes:
    """oneDNN's own description of the order of the weights: equal for equal orders."""
    description = getattr(torch.ops.mkldnn, "_get_mkldnn_serialized_md", None)
    if description is None:
        return b""  # of an unknown order: the first is kept for all
    words = description(packed).view(torch.int32).clone()
    if len(words) > _MD_PADDING:
        words[_MD_PADDING] = 0
    return words.numpy().tobytes()


class Linear:
    """``x @ weight.T + bias``, with what follows it (gelu, adding to a residual) in the same pass where oneDNN can.

    In bfloat16 (``dtype``) only the product is: what comes in is rounded to it, what goes out is float32 again, save
    from ``run_gelu``, whose result another product takes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        weight, bias = weight.detach().to(dtype).contiguous(), None if bias is None else bias.detach().to(dtype)
        self.bias, self.num_weights, self.dtype = bias, weight.numel(), dtype
        self.packed = (
            weight.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
            and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        )
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 64) if self.packed else weight

    def run(self, x: Tensor) -> Tensor:
        """``[..., C_in]`` -> float32 ``[..., C_out]``."""
        return self._product(x, "none").float()

    def run_gelu(self, x: Tensor) -> Tensor:
        """``gelu(run(x))``, the exact gelu; of the weights' own type."""
        if self.dtype == torch.float32 and x.shape[-2] > _FEW_ROWS:
            return F.gelu(self._product(x, "none"))  # oneDNN's own takes seven times as long where there is no AVX-512
        return self._product(x, "gelu")

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total + run(x)``; ``total`` is left as it is."""
        if self.packed and self.dtype == total.dtype == x.dtype:
            return torch.ops.mkldnn._linear_pointwise.binary(x, total, self.weight, self.bias, "add")
        return total + self._product(x, "none")

    def _product(self, x: Tensor, after: str) -> Tensor:
        x = x.to(self.dtype)
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], "none")
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if after == "gelu" else y


class Convolution:
    """A causal Conv1d with an optional ELU in front.

    Args:
        weight: ``[C_out, C_in / groups, kernel]``.
        elu: 0.0: none; else the factor that everything that comes in has, 1.0 or ``LOG2_E`` (see ``elu_into``).
        replicate: the context before the first sample repeats it (else zeros).
        dtype: of the products and of what comes out, where this layer can; to or from one channel is float32.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        elu: float = 0.0,
        replicate: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.dtype = dtype
        self.num_weights = weight.numel()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.elu, self.replicate = elu, replicate
        self.context = (weight.shape[-1] - 1) * dilation + 1 - stride  # rows
        suits = Packed.suits(weight, groups)
        self.packed = Packed.checked(weight, bias, stride, dilation, dtype) if suits else None
        self.weight, self.bias = (None, None) if self.packed else (weight, bias)
        # To one channel: all taps of a row are one narrow product, read once; then their shifted sum.
        self.taps = Linear(weight[0].T) if len(weight) == 1 and stride == 1 and groups == 1 else None
        self.kernel = weight.shape[-1]

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``[B, T, C_in]`` -> ``[B, T / stride, C_out]``; T is a multiple of stride. ``valid``: see the module."""
        padded, state = with_context(x, state, self.context, elu=self.elu, replicate=self.replicate, valid=valid)
        if self.packed is not None:
            return self.packed.run(padded.to(self.dtype)), state
        padded = padded.float()
        if self.taps is not None:
            num_rows = x.shape[1]
            shares = self.taps.run(padded)  # [B, context + T, kernel]
            y = shares[:, :num_rows, 0]
            for k in range(1, self.kernel):
                y = y + shares[:, k * self.dilation : k * self.dilation + num_rows, k]
            return (y if self.bias is None else y + self.bias)[..., None], state
        assert self.weight is not None
        y = F.conv1d(padded.transpose(1, 2), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return y.transpose(1, 2).to(self.dtype), state

    def add_to(
        self, total: Tensor, x: Tensor, state: Tensor | None, valid: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """``run`` and add to ``total``, which may be written to."""
        if self.packed is None or not total.is_contiguous() or not x.dtype == total.dtype == self.dtype:
            y, state = self.run(x, state, valid)
            return total + y, state
        padded, state = with_context(x, state, self.context, elu=self.elu, replicate=self.replicate, valid=valid)
        return self.packed.add_to(total, padded), state


class TransposedConvolution:
    """A causal ConvTranspose1d whose kernel is twice its stride, with an optional ELU in front.

    Each output block of ``stride`` samples depends on one input row and the one before it: a convolution with two
    taps and ``stride * C_out`` outputs, whose result read row by row is already in the order of time.

    Args:
        weight: ``[C_in, C_out / groups, 2 * stride]``.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int,
        groups: int = 1,
        elu: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.stride, self.elu, self.num_weights = stride, elu, weight.numel()
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
            torch.stack((before, now), dim=2), None if bias is None else bias.repeat(stride), elu=elu, dtype=dtype
        )

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``[B, T, C_in]`` -> ``[B, T * stride, C_out]``."""
        if self.taps is None:
            y, state = self.convolution.run(x, state, valid)
        else:
            padded, state = with_context(x, state, 1, elu=self.elu, valid=valid)
            now, before = self.taps.split(self.stride)
            y = padded[:, 1:, None] * now + padded[:, :-1, None] * before
            y = y if self.bias is None else y + self.bias
        return y.reshape(x.shape[0], -1, self.num_channels), state


def with_context(
    x: Tensor,
    state: Tensor | None,
    context: int,
    *,
    elu: float = 0.0,
    replicate: bool = False,
    valid: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Put the ``context`` rows that came before in front of ``x`` and take the ones that the next call needs.

    The ELU writes straight into the padded buffer: no separate padding, no concatenation. ``valid``: so many of the
    rows count, those behind them only fill up; None: all.
    """
    num_rows = x.shape[1]
    kept = num_rows if valid is None else valid
    if context == 0 and not elu:
        return x, None
    padded = x.new_empty((x.shape[0], context + num_rows, x.shape[2]))
    body = padded[:, context:]
    if elu:
        elu_into(x, body, elu)
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
    return padded, padded[:, kept : kept + context].clone()  # a clone: a view would keep the whole chunk alive


def elu_into(x: Tensor, out: Tensor, scale: float = 1.0) -> None:
    """``out = scale * elu(x / scale)``: scale 1.0 is the ELU itself.

    On the CPU in float32 as the smaller of ``scale * (e^(x / scale) - 1)`` and max(x, 0), within 1e-7 of it. With the
    scale log2(e) the power is 2^x, and that of e costs twice as much: 0.48 ns a value, against 0.78 with the scale 1.0
    and 1.3 of torch's own (expm1), on two cores of a Zen 3.
    """
    # In bfloat16 exp(x) - 1 has no digits left near 0; torch's own computes in float32 inside.
    if x.device.type != "cpu" or x.dtype != torch.float32:
        assert scale == 1.0
        torch.ops.aten.elu.out(x, out=out)
        return
    # Infinite for a large x, and then not chosen.
    if scale == LOG2_E:
        torch.exp2(x, out=out)
        torch.add(_MINUS_LOG2_E, out, alpha=LOG2_E, out=out)
    else:
        assert scale == 1.0
        torch.exp(x, out=out)
        out.sub_(1.0)
    torch.clamp(x, _ZERO.expand_as(x), out, out=out)


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
        self.num_weights = first.num_weights + second.num_weights

    def run(self, x: Tensor, state: tuple | None, valid: int | None = None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``; ``x`` may be written to."""
        a, b, c = state or (None, None, None)
        y, a = self.first.run(x, a, valid)
        if self.shortcut is not None:
            x, c = self.shortcut.run(x, c, valid)
        x, b = self.second.add_to(x, y, b, valid)
        return x, (a, b, c)
