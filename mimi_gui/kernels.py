"""The arithmetic of Mimi as pure functions of (input, state): what the streams are made of.

Every operator here holds weights prepared once from a MimiModel and is never written to afterwards, so that any number
of streams, in any number of threads, share one. Activations are time-major, ``[B, T, C]``: the context that a causal
convolution needs is then a few rows in front, and a transposed convolution is a plain product whose rows already lie
in the order of time. State is a value: ``run(x, state)`` returns the new one and leaves the old one whole, so that an
error, a cancel or a second try on a smaller chunk starts from where it stood. Where only the first ``valid`` rows of
``x`` count, the new state is the one after these; what comes out for the rows behind them is of no use.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mimi_gui import compiled
from mimi_gui.compiled import LOG2_E, Filter, Product, ToOne, WideFilter
from mimi_gui.packed import Linear, Packed, PairedTaps

_ZERO, _MINUS_LOG2_E = torch.zeros(()), torch.tensor(-LOG2_E)


class Convolution:
    """A causal Conv1d with an optional ELU in front.

    Args:
        weight: ``[C_out, C_in / groups, kernel]``.
        elu: 0.0: none; else the factor that everything that comes in has, 1.0 or ``LOG2_E`` (see ``elu_into``).
        replicate: the context before the first sample repeats it (else zeros).
        frame_rows: outputs that one frame has, 0: not known (see ``compiled.Filter``).
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
        frame_rows: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.dtype = dtype
        self.num_weights = weight.numel()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.elu, self.replicate = elu, replicate
        self.context = (weight.shape[-1] - 1) * dilation + 1 - stride  # rows
        self.kernel = weight.shape[-1]
        exact = dtype == torch.float32 and groups == dilation == 1
        self.compiled = _compiled(weight, bias, stride, elu, frame_rows, replicate) if exact else None
        if self.compiled is not None:
            self.packed = self.pairs = self.weight = self.bias = self.taps = None
            return
        suits = Packed.suits(weight, groups)
        self.packed = Packed.checked(weight, bias, stride, dilation, dtype) if suits else None
        self.weight, self.bias = (None, None) if self.packed else (weight, bias)
        paired = dtype == torch.float32 and dilation == 1 and PairedTaps.suits(weight, stride)
        self.pairs = PairedTaps(self.packed, stride) if self.packed is not None and paired else None
        # To one channel: all taps of a row are one narrow product, read once; then their shifted sum.
        self.taps = Linear(weight[0].T) if len(weight) == 1 and stride == 1 and groups == 1 else None

    @property
    def any_size(self) -> bool:
        """Whether a new size of input costs nothing: no weights to be ordered anew."""
        return self.packed is None and (self.taps is None or self.taps.any_size)

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor | None]:
        """``[B, T, C_in]`` -> ``[B, T / stride, C_out]``; T is a multiple of stride. ``valid``: see the module."""
        fast = self.compiled
        if isinstance(fast, Filter | WideFilter | ToOne):
            return fast.run(x, state, valid)
        padded, state = with_context(x, state, self.context, elu=self.elu, replicate=self.replicate, valid=valid)
        if isinstance(fast, Product):
            return fast.run_overlapping(padded.flatten(1), self.stride * x.shape[2]), state
        if self.packed is not None:
            if self.pairs is not None and self.pairs.serves(padded):
                return self.pairs.run(padded), state
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


def _compiled(
    weight: Tensor, bias: Tensor | None, stride: int, elu: float, frame_rows: int, replicate: bool
) -> Filter | WideFilter | ToOne | Product | None:
    """What computes a plain convolution with ``weight``, ``[C_out, C_in, kernel]``, where compiled kernels do."""
    if not replicate and Filter.suits(weight, stride):
        return Filter(weight, bias, stride, elu, frame_rows)
    if not replicate and WideFilter.suits(weight, stride):
        return WideFilter(weight, bias, stride, elu)
    if not replicate and ToOne.suits(weight, stride):
        return ToOne(weight, bias, elu)
    if Product.suits(weight):
        return Product(weight.transpose(1, 2).flatten(1), bias)  # [C_out, kernel * C_in], as the input lies in memory
    return None


class TransposedConvolution:
    """A causal ConvTranspose1d whose kernel is twice its stride, with an optional ELU in front.

    Each output block of ``stride`` samples depends on one input row and the one before it: a convolution with two
    taps and ``stride * C_out`` outputs, whose result read row by row is already in the order of time.

    Args:
        weight: ``[C_in, C_out / groups, 2 * stride]``.
        frame_rows: inputs that one frame has, 0: not known.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int,
        groups: int = 1,
        elu: float = 0.0,
        frame_rows: int = 0,
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
            torch.stack((before, now), dim=2),
            None if bias is None else bias.repeat(stride),
            elu=elu,
            frame_rows=frame_rows,
            dtype=dtype,
        )

    @property
    def any_size(self) -> bool:
        """As of :class:`Convolution`."""
        return self.taps is not None or self.convolution.any_size

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
    and 1.3 of torch's own (expm1), on two cores of a Zen 3; 0.2 where the compiled kernels are.
    """
    # In bfloat16 exp(x) - 1 has no digits left near 0; torch's own computes in float32 inside.
    if x.device.type != "cpu" or x.dtype != torch.float32:
        assert scale == 1.0
        torch.ops.aten.elu.out(x, out=out)
        return
    if compiled.elu_into(x, out, scale):
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
        self.any_size = all(part is None or part.any_size for part in (first, second, shortcut))

    def run(self, x: Tensor, state: tuple | None, valid: int | None = None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``; ``x`` may be written to."""
        a, b, c = state or (None, None, None)
        y, a = self.first.run(x, a, valid)
        if self.shortcut is not None:
            x, c = self.shortcut.run(x, c, valid)
        x, b = self.second.add_to(x, y, b, valid)
        return x, (a, b, c)


class FusedBlock:
    """A :class:`ResidualBlock` whose shortcut is straight, in one pass (``compiled.Filter``)."""

    any_size = True

    def __init__(self, fused: Filter, num_weights: int) -> None:
        self._fused, self.num_weights = fused, num_weights

    def run(self, x: Tensor, state: tuple | None, valid: int | None = None) -> tuple[Tensor, tuple]:
        """``[B, T, C]`` -> ``[B, T, C]``; ``x`` is left as it is."""
        y, after = self._fused.run(x, None if state is None else state[0], valid)
        return y, (after, None, None)
