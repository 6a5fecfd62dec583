"""Products with weights prepared for oneDNN: what convolutions and linear layers on the CPU are computed with where
there are no compiled kernels (``compiled``), and everywhere the linear layers of a few rows.

Activations are time-major, ``[B, T, C]``. Nothing here is written to after it was prepared, so any number of threads
share it; what is prepared for a size of input when that first comes is kept under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mimi_gui.compiled import Product

_BF16_ERROR = 0.02  # relative; rounding gives 0.003 to 0.006, a wrong kernel 1
_FEW_ROWS = 4  # a call more costs as much as the slower gelu of so many
_INNER_PRODUCT_ROWS = 6
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

    _known_layouts: ClassVar[dict[tuple, bytes]] = {}  # by kind of layer and size of input

    def __init__(
        self, weight: Tensor, bias: Tensor | None, stride: int, dilation: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        self.bias = None if bias is None else bias.to(dtype)
        self.geometry = ([0, 0], [1, stride], [1, dilation], 1)
        self.num_weights = weight.numel()
        self._kind = (*weight.shape, stride, dilation, dtype)  # layers of one kind have the same orders
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
            known = (*self._kind, *size)
            packed = self._by_layout.get(self._known_layouts.get(known, b"not known"))
            if packed is None:
                packed = torch.ops.mkldnn._reorder_convolution_weight(
                    self._dense().contiguous(memory_format=torch.channels_last),
                    *self.geometry,
                    [size[0], channels, 1, size[1]],
                )
                layout = self._known_layouts[known] = _layout(packed)
                packed = self._by_layout.setdefault(layout, packed)
            if len(self._by_layout) > _MOST_LAYOUTS:
                oldest = next(iter(self._by_layout))
                gone = self._by_layout.pop(oldest)
                self._by_size = {key: kept for key, kept in self._by_size.items() if kept is not gone}
            self._plain = None
            self._by_size[size] = packed
            return packed

    def _dense(self) -> Tensor:
        return self._plain if self._plain is not None else next(iter(self._by_layout.values())).to_dense()

    @property
    def weight(self) -> Tensor:
        """``[C_out, C_in, K]`` in the usual order; a copy where it is not kept so."""
        with self._lock:
            return self._dense()[:, :, 0]

    def run(self, x: Tensor) -> Tensor:
        """``[B, T, C_in]`` -> ``[B, T', C_out]``, both contiguous: time-major is what oneDNN calls channels-last."""
        if x.dtype != self.dtype:
            return self.run(x.to(self.dtype)).to(x.dtype)
        return self._run(x, "none")

    def run_gelu(self, x: Tensor) -> Tensor:
        """``gelu(run(x))``, the exact gelu, in the same pass; ``x`` of the weights' type."""
        return self._run(x, "gelu")

    def _run(self, x: Tensor, after: str) -> Tensor:
        y = torch.ops.mkldnn._convolution_pointwise(
            x.transpose(1, 2)[:, :, None], self._packed(x), self.bias, *self.geometry, after, [], "none"
        )
        return y[:, :, 0].transpose(1, 2)

    def added(self, total: Tensor, x: Tensor) -> Tensor:
        """``total + run(x)`` in one pass over memory, float32; ``total`` is left as it is."""
        y = torch.ops.mkldnn._convolution_pointwise.binary(
            x.transpose(1, 2)[:, :, None],
            total.transpose(1, 2)[:, :, None],
            self._packed(x),
            self.bias,
            *self.geometry,
            "add",
            None,
            None,
            [],
            None,
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


class PairedTaps:
    """A convolution whose kernel is twice its stride, two outputs at a time by three products instead of four.

    With the input in blocks ``x[t]`` of ``stride`` rows and the kernel's halves A and B, ``y[t] = A x[t] + B x[t + 1]``
    and ``y[t + 1] = A x[t + 1] + B x[t + 2]``. Both hold ``M = (A + B) x[t + 1]``: they are ``M + A (x[t] - x[t + 1])``
    and ``M - B (x[t + 1] - x[t + 2])`` (the minimal filter F(2, 2); S. Winograd, Arithmetic Complexity of Computations,
    1980). The error is up to twice that of the plain sum. Three halves of the weights are kept besides the plain ones,
    once they are used.

    Takes 8 to 20 % less time than the plain one (one core of a Zen 3), but for few channels, where the sums cost what
    the product saves, and for few rows, where the weights' way from memory counts and not the arithmetic.
    """

    MIN_PRODUCTS_PER_SUM = 115  # Mimi's layers have 102 (it loses), 128 (it gains), 213 and more
    MIN_PRODUCTS = 250_000_000  # weights times rows of the output

    def __init__(self, plain: Packed, stride: int) -> None:
        self._plain, self._stride = plain, stride
        self._parts: tuple[Packed, Packed, Packed] | None = None
        self._lock = threading.Lock()

    @classmethod
    def suits(cls, weight: Tensor, stride: int) -> bool:
        """Whether a convolution with ``weight``, ``[C_out, C_in, K]``, can gain by it at all."""
        c_out, c_in, kernel = weight.shape
        return kernel == 2 * stride and weight.numel() >= cls.MIN_PRODUCTS_PER_SUM * (stride * c_in + 2 * c_out)

    def serves(self, padded: Tensor) -> bool:
        """Whether this is the quicker way for an input of this size."""
        num_rows = padded.shape[1] // self._stride - 1
        return num_rows % 2 == 0 and num_rows * self._plain.num_weights >= self.MIN_PRODUCTS

    def run(self, padded: Tensor) -> Tensor:
        """``[B, (n + 1) * stride, C_in]`` -> ``[B, n, C_out]``, n even."""
        first, both, second = self._prepared()
        stride = self._stride
        steps = padded[:, :-stride] - padded[:, stride:]
        middle = both.run(padded[:, stride:])  # its own stride takes every second block
        y = middle.new_empty((*middle.shape[:2], 2, middle.shape[2]))
        torch.add(middle, first.run(steps), out=y[:, :, 0])
        torch.sub(middle, second.run(steps[:, stride:]), out=y[:, :, 1])
        return y.flatten(1, 2)

    def _prepared(self) -> tuple[Packed, Packed, Packed]:
        if self._parts is None:
            with self._lock:
                if self._parts is None:
                    a, b = self._plain.weight.split(self._stride, dim=2)
                    stride = 2 * self._stride
                    both = Packed(a + b, self._plain.bias, stride, 1)
                    self._parts = (Packed(a, None, stride, 1), both, Packed(b, None, stride, 1))
        return self._parts


class Linear:
    """``x @ weight.T + bias``, with what follows it (gelu, adding to a residual) in the same pass where oneDNN can.

    On the CPU oneDNN's inner product has the rows of one to three frames, where all depends on how the weights come
    from memory; more rows go to the compiled kernels, else to oneDNN as a convolution with one tap. With oneDNN a frame
    takes 9 % more the other way round and a few seconds 5 to 20 % (one core of a Zen 3); two and three frames take the
    same, and 300 MB less memory this way. One row, as a frame's search in a codebook has, is a sum of the weights'
    columns: 0.15 ms for 2,048 x 256 numbers, as fast as memory is, against 0.21. The weights are kept in the order of
    each of these ways once it is used.

    In bfloat16 (``dtype``) only the product is: what comes in is rounded to it, what goes out is float32 again, save
    from ``run_gelu``, whose result another product takes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        self.num_weights, self.num_outputs = weight.numel(), len(weight)
        self.packed = Packed.suits(weight[:, :, None], 1) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        if self.packed and dtype != torch.float32:
            dtype = Packed.checked(weight[:, :, None], bias, 1, 1, dtype).dtype
        self.dtype = dtype
        self.bias = None if bias is None else bias.to(dtype)
        self.any_size = not self.packed or (dtype == torch.float32 and Product.suits(weight))  # see Convolution
        # On the CPU until the first input comes, then in the order of one of these:
        self._weight: Tensor | None = weight.to(dtype).contiguous()
        self._many_rows: Packed | Product | None = None
        self._few_rows: Tensor | None = None  # of the inner product
        self._columns: Tensor | None = None  # [C_in, C_out], for a single row
        self._lock = threading.Lock()

    def run(self, x: Tensor) -> Tensor:
        """``[..., C_in]`` -> float32 ``[..., C_out]``."""
        return self._product(x, "none").float()

    def run_gelu(self, x: Tensor) -> Tensor:
        """``gelu(run(x))``, the exact gelu; of the weights' own type."""
        if not self.packed or (self.dtype == torch.float32 and x.shape[:-1].numel() > _FEW_ROWS):
            return F.gelu(self._product(x, "none"))  # oneDNN's own takes seven times as long where there is no AVX-512
        return self._product(x, "gelu")

    def add_to(self, total: Tensor, x: Tensor) -> Tensor:
        """``total + run(x)``; ``total`` is left as it is."""
        if not self.packed or not self.dtype == total.dtype == x.dtype:
            return total + self._product(x, "none")
        if x.shape[:-1].numel() <= _INNER_PRODUCT_ROWS:
            return torch.ops.mkldnn._linear_pointwise.binary(x, total, self._for_few(), self.bias, "add")
        many = self._for_many()
        if isinstance(many, Product):
            return many.run(x, total)
        return self._unfolded(many.added(self._folded(total), self._folded(x)), x)

    def _product(self, x: Tensor, after: str) -> Tensor:
        x = x.to(self.dtype)
        if not self.packed:
            assert self._weight is not None
            return F.linear(x, self._weight, self.bias)
        if x.shape[:-1].numel() == 1 and after == "none" and self.dtype == torch.float32:
            columns, row = self._for_one().t(), x.flatten()
            y = columns.mv(row) if self.bias is None else torch.addmv(self.bias, columns, row)
            return y.view(*x.shape[:-1], -1)
        if x.shape[:-1].numel() <= _INNER_PRODUCT_ROWS:
            return torch.ops.mkldnn._linear_pointwise(x, self._for_few(), self.bias, after, [], "none")
        many, rows = self._for_many(), self._folded(x)
        if isinstance(many, Product):
            return many.run(x) if after == "none" else F.gelu(many.run(x))
        return self._unfolded(many.run(rows) if after == "none" else many.run_gelu(rows), x)

    def _for_one(self) -> Tensor:
        return self._columns if self._columns is not None else self._once("_columns", self._transposed)

    def _for_few(self) -> Tensor:
        return self._few_rows if self._few_rows is not None else self._once("_few_rows", self._reordered)

    def _for_many(self) -> Packed | Product:
        return self._many_rows if self._many_rows is not None else self._once("_many_rows", self._for_any)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, kept as the attribute ``name``; the plain weights go when they are in one order."""
        with self._lock:
            if getattr(self, name) is None:
                setattr(self, name, make())
                self._weight = None
            return getattr(self, name)

    def _transposed(self) -> Tensor:
        return self._dense().t().contiguous()

    def _reordered(self) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(self._dense().contiguous(), _INNER_PRODUCT_ROWS)

    def _for_any(self) -> Packed | Product:
        if self.any_size:
            return Product(self._dense(), self.bias)
        return Packed(self._dense()[:, :, None], self.bias, 1, 1, self.dtype)

    def _dense(self) -> Tensor:
        if self._weight is not None:
            return self._weight
        if self._columns is not None:
            return self._columns.t()
        if self._few_rows is not None:
            return self._few_rows.to_dense()
        assert self._many_rows is not None  # in one order at least
        return self._many_rows.weight if isinstance(self._many_rows, Product) else self._many_rows.weight[:, :, 0]

    def _folded(self, x: Tensor) -> Tensor:
        """All rows as those of one signal: few sizes."""
        return x.reshape(1, -1, x.shape[-1])

    def _unfolded(self, y: Tensor, x: Tensor) -> Tensor:
        return y.reshape(*x.shape[:-1], self.num_outputs)
