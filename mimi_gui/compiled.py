"""The compiled kernels (``native/kernels.c``): whole layers in one pass through the cache, on the CPU in float32.

They are compiled at installation where a C compiler is there, and used where the processor is one that they were
measured to be faster on. Everything that they compute, torch's own operators compute too, and do where they are not.

As in ``kernels``: time-major activations ``[B, T, C]``, weights prepared once and never written to afterwards, state is
a value. Any thread; the work is shared out among the threads that torch computes with in the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
from pathlib import Path

import torch
from torch import Tensor

_FOLDER = Path(__file__).resolve().parent / "native"
LOG2_E = math.log2(math.e)
_PANEL = 16  # columns of a weight matrix that lie together
_POINTER, _SIZE, _FLOAT = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float
_FUNCTIONS = {
    "mimi_threads": [_POINTER],
    "mimi_elu": [_POINTER] * 2 + [_SIZE] * 4 + [_FLOAT] * 2 + [_SIZE],
    "mimi_product": [_POINTER, _SIZE] + [_POINTER] * 4 + [_SIZE] * 4,
    "mimi_nearest": [_POINTER] * 7 + [_SIZE] * 5,
    "mimi_filter": [_POINTER] * 8 + [_SIZE] * 7 + [_FLOAT] * 2 + [_SIZE],
    "mimi_to_one": [_POINTER] * 6 + [_SIZE] * 5 + [_FLOAT] * 2 + [_SIZE],
    "mimi_wide_filter": [_POINTER] * 8 + [_SIZE] * 6 + [_FLOAT] * 2 + [_SIZE],
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there are none, or none that this processor and this torch can use."""
    if missing():
        return None
    loaded = ctypes.CDLL(str(_FOLDER / "kernels.so"))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    loaded.mimi_threads(ctypes.cast(ctypes.CDLL(None).GOMP_parallel, _POINTER))
    return loaded


@functools.cache
def missing() -> str:
    """Why there is no :func:`library`, as the end of a sentence; "" where there is one."""
    return problem(_FOLDER)


def problem(folder: Path) -> str:
    """What is wrong with the kernels in ``folder``, in this process; "" if nothing is."""
    if os.environ.get("MIMI_GUI_KERNELS", "") == "torch":
        return "MIMI_GUI_KERNELS=torch asks for torch's own"
    path = folder / "kernels.so"
    if not path.is_file():
        return "they were not compiled when this program was installed (no C compiler, or not Linux on x86-64)"
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return "this processor has no AVX2"
    if not hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return "this torch computes with another thread library than libgomp"
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        return f"{path} cannot be loaded ({error})"
    loaded.mimi_source.restype = ctypes.c_char_p
    sources = b"".join(source.read_bytes() for source in sorted(folder.glob("*.[ch]")))  # as build.py does
    if loaded.mimi_source().decode() != hashlib.sha256(sources).hexdigest():
        return "they were compiled from another source: install this program again"
    return ""


@functools.cache
def products() -> bool:
    """Whether products are computed here, too: where oneDNN has AVX-512, its own are the faster ones."""
    return library() is not None and torch.backends.cpu.get_cpu_capability() == "AVX2"


def description() -> str:
    """Which kernels compute on the CPU, and why not all are compiled if they are not; in words."""
    if reason := missing():
        return f"torch's own: {reason}"
    return "compiled" if products() else "compiled for the ELU, else oneDNN's, which has AVX-512 here"


def _loaded() -> ctypes.CDLL:
    kernels = library()
    assert kernels is not None  # what asks for it was made where there is one
    return kernels


def _power(scale: float) -> float:
    """Of 2 in ``scale * elu(x / scale)``, as a factor of x; of no account where the scale is 0, no ELU."""
    return 1.0 if scale == LOG2_E else LOG2_E


def elu_into(x: Tensor, out: Tensor, scale: float) -> bool:
    """``out = scale * elu(x / scale)``, scale 1.0 or log2(e), within 1.5e-7; False where it cannot be done here.

    ``x`` and ``out``, ``[B, T, C]``: each recording is contiguous. 0.2 ns a value on two cores of a Zen 3.
    """
    kernels = library()
    if kernels is None or not (_recordings_are_contiguous(x) and _recordings_are_contiguous(out)):
        return False
    kernels.mimi_elu(
        x.data_ptr(),
        out.data_ptr(),
        len(x),
        x.shape[1] * x.shape[2],
        x.stride(0),
        out.stride(0),
        _power(scale),
        scale,
        torch.get_num_threads(),
    )
    return True


def _recordings_are_contiguous(x: Tensor) -> bool:
    return x.stride(2) == 1 and x.stride(1) == x.shape[2]


def _ready(x: Tensor) -> Tensor:
    """``x`` as the kernels, which trust what they are given, can read it."""
    assert x.dtype == torch.float32
    assert x.device.type == "cpu"
    return x.contiguous()


def panels(weight: Tensor) -> Tensor:
    """``[N, K]`` -> ``[N / 16, K, 16]``, contiguous: as the kernels read weights."""
    return _in_panels(weight).contiguous()


def _in_panels(weight: Tensor) -> Tensor:
    return weight.unflatten(0, (-1, _PANEL)).transpose(1, 2)


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


class Product:
    """``a @ weight.T + bias`` for weights ``[N, K]``, N a multiple of 16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.panels = panels(weight.float())
        self.bias = None if bias is None else bias.float().contiguous()
        self.num_outputs, self.num_inputs = weight.shape

    @staticmethod
    def suits(weight: Tensor) -> bool:
        """Whether this machine computes a product with ``weight``, ``[N, K]``, here."""
        return products() and weight.device.type == "cpu" and len(weight) % _PANEL == 0

    @property
    def weight(self) -> Tensor:
        """``[N, K]``, a copy."""
        return self.panels.transpose(1, 2).flatten(0, 1)

    def run(self, x: Tensor, total: Tensor | None = None) -> Tensor:
        """``[..., K]`` -> ``[..., N]``, plus ``total`` of that shape, which is left as it is."""
        y = x.new_empty((*x.shape[:-1], self.num_outputs))
        total = None if total is None else _ready(total)
        assert x.shape[-1] == self.num_inputs
        assert total is None or total.shape == y.shape
        x = _ready(x)
        self._compute(x, self.num_inputs, x.shape[:-1].numel(), total, y)
        return y

    def run_overlapping(self, x: Tensor, step: int) -> Tensor:
        """``[B, n]`` -> ``[B, (n - K) / step + 1, N]``: a row of the product begins at every ``step``-th number."""
        x = _ready(x)
        rows = (x.shape[1] - self.num_inputs) // step + 1
        y = x.new_empty((len(x), rows, self.num_outputs))
        for recording, out in zip(x, y, strict=True):
            self._compute(recording, step, rows, None, out)
        return y

    def _compute(self, x: Tensor, step: int, rows: int, total: Tensor | None, y: Tensor) -> None:
        _loaded().mimi_product(
            x.data_ptr(),
            step,
            self.panels.data_ptr(),
            _pointer(self.bias),
            _pointer(total),
            y.data_ptr(),
            rows,
            self.num_inputs,
            self.num_outputs,
            torch.get_num_threads(),
        )


def _parts(weight: Tensor, stride: int) -> tuple[Tensor, ...]:
    """``[C_out, C_in, kernel]`` -> one ``[C_out, stride * C_in]`` for each stride of the kernel, as inputs lie."""
    return weight.transpose(1, 2).reshape(len(weight), weight.shape[2] // stride, -1).unbind(1)


def _planes(num_taps: int, hop: int, taps: tuple[Tensor, ...]) -> Tensor:
    """The weights of F(hop, num_taps), ``[planes, C_out / 16, stride * C_in, 16]``; one at a time, to spare memory."""
    first, last, num_planes = taps[0], taps[-1], num_taps + hop - 1
    planes = first.new_empty((num_planes, len(first) // _PANEL, first.shape[1], _PANEL))

    def fill(index: int, plane: Tensor) -> None:
        planes[index].copy_(_in_panels(plane))

    fill(0, first)
    fill(num_planes - 1, last)
    if num_planes == 3:
        fill(1, first + last)
    else:
        ends = first if num_taps == 2 else first + last
        fill(1, (ends + taps[1]) / 2)
        fill(2, (ends - taps[1]) / 2)
    return planes


class Filter:
    """A causal convolution with an ELU in front whose kernel is two strides, or three rows at stride 1.

    Its outputs are computed several at a time by fewer products, the minimal filters (S. Winograd, Arithmetic
    Complexity of Computations, 1980): with three rows two by four products instead of six, F(2, 3); with two strides
    three by four instead of six, F(3, 2), or two by three instead of four, F(2, 2). The error is 1.3 to 1.4 times that
    of the plain sum. In the same pass are the ELU, the context, and in a residual block all that follows.

    Args:
        weight: ``[C_out, C_in, kernel]``.
        elu: the factor of what comes in, 1.0 or log2(e) (``kernels.elu_into``); 0.0: no ELU.
        frame_rows: so many outputs has the shortest piece of a stream, all others have multiples of it; 0: not known.
            Only where it is one of 3 is F(3, 2) chosen: an output's place among those computed together, and with it
            its last digits, must not depend on the pieces.
        second: of a residual block the other convolution, ``[C_in, C_out, 1]``, and its bias.
    """

    MOST_WIDTH = 640  # numbers in a stride
    MOST_WEIGHTS = 800_000  # of one product; more do not find their room in the cache
    MOST_HIDDEN = 256  # outputs of the first convolution of a residual block

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        elu: float,
        frame_rows: int = 0,
        second: tuple[Tensor, Tensor | None] | None = None,
    ) -> None:
        c_out, c_in, kernel = weight.shape
        assert stride * c_in <= self.MOST_WIDTH  # room on the stack
        assert second is None or c_out <= self.MOST_HIDDEN
        self._num_taps, self._stride, self._num_outputs = kernel // stride, stride, c_out
        self._hop = 3 if self._num_taps == 2 and frame_rows and frame_rows % 3 == 0 else 2
        self._planes = _planes(self._num_taps, self._hop, _parts(weight, stride))
        self._bias = None if bias is None else bias.contiguous()
        self._second = None if second is None else panels(second[0][:, :, 0])
        self._second_bias = None if second is None or second[1] is None else second[1].contiguous()
        self._elu = elu

    @classmethod
    def suits(cls, weight: Tensor, stride: int) -> bool:
        """Whether this machine computes a convolution with ``weight``, ``[C_out, C_in, kernel]``, so."""
        c_out, c_in, kernel = weight.shape
        short = kernel == 2 * stride or (kernel == 3 and stride == 1)
        plane = c_out * c_in * stride
        fits = c_out % _PANEL == 0 and stride * c_in % 8 == 0 and stride * c_in <= cls.MOST_WIDTH
        return products() and weight.device.type == "cpu" and short and fits and plane <= cls.MOST_WEIGHTS

    @classmethod
    def suits_block(cls, first: Tensor, second: Tensor) -> bool:
        """Whether it computes a residual block of these two so."""
        fits = len(first) <= cls.MOST_HIDDEN and first.shape[1] % _PANEL == 0 and len(second) == first.shape[1]
        return cls.suits(first, 1) and first.shape[2] == 3 and second.shape[2] == 1 and fits

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor]:
        """``[B, T, C_in]`` -> ``[B, T / stride, C_out]``, of a residual block ``[B, T, C_in]``; ``x`` is left as it is.

        State, as ``kernels.with_context`` keeps it: the last ``kernel - stride`` rows after the ELU, None: zeros.
        """
        num_batch, num_rows, num_channels = x.shape
        blocks, width = num_rows // self._stride, self._stride * num_channels
        assert width == self._planes.shape[2]
        x, state = _ready(x), None if state is None else _ready(state)
        y = x.new_empty((num_batch, blocks, self._num_outputs)) if self._second is None else torch.empty_like(x)
        after = x.new_empty((num_batch, (self._num_taps - 1) * self._stride, num_channels))
        _loaded().mimi_filter(
            x.data_ptr(),
            _pointer(state),
            self._planes.data_ptr(),
            _pointer(self._bias),
            _pointer(self._second),
            _pointer(self._second_bias),
            y.data_ptr(),
            after.data_ptr(),
            num_batch,
            blocks,
            blocks if valid is None else valid // self._stride,
            width,
            self._num_taps,
            self._hop,
            self._num_outputs,
            _power(self._elu),
            self._elu,
            torch.get_num_threads(),
        )
        return y, after


class WideFilter:
    """As :class:`Filter` with F(2, 2), a kernel of two strides with so many weights that they come from memory."""

    _SLAB = 126  # steps at a time: one tile of a product

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, elu: float) -> None:
        self._stride, self._elu = stride, elu
        self._planes = _planes(2, 2, _parts(weight, stride))
        self._bias = None if bias is None else bias.contiguous()
        self._num_outputs, self._width = len(weight), stride * weight.shape[1]

    @staticmethod
    def suits(weight: Tensor, stride: int) -> bool:
        """Whether this machine computes a convolution with ``weight``, ``[C_out, C_in, kernel]``, so."""
        return Product.suits(weight) and weight.shape[2] == 2 * stride and stride * weight.shape[1] % 8 == 0

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor]:
        """``[B, T, C_in]`` -> ``[B, T / stride, C_out]``; state as in :class:`Filter`."""
        x, state = _ready(x), None if state is None else _ready(state)
        num_batch, num_rows, num_channels = x.shape
        blocks = num_rows // self._stride
        assert self._stride * num_channels == self._width
        y = x.new_empty((num_batch, blocks, self._num_outputs))
        after = x.new_empty((num_batch, self._stride, num_channels))
        planes, sums = x.new_empty((3, self._SLAB, self._width)), x.new_empty((3, self._SLAB, self._num_outputs))
        _loaded().mimi_wide_filter(
            x.data_ptr(),
            _pointer(state),
            self._planes.data_ptr(),
            _pointer(self._bias),
            y.data_ptr(),
            after.data_ptr(),
            planes.data_ptr(),
            sums.data_ptr(),
            num_batch,
            blocks,
            blocks if valid is None else valid // self._stride,
            self._width,
            self._num_outputs,
            self._SLAB,
            _power(self._elu),
            self._elu,
            torch.get_num_threads(),
        )
        return y, after


class ToOne:
    """A causal convolution to one channel with an ELU in front, at stride 1; arguments as of :class:`Filter`."""

    MOST_INPUTS = 200  # channels; room on the stack
    MOST_TAPS = _PANEL

    def __init__(self, weight: Tensor, bias: Tensor | None, elu: float) -> None:
        _, c_in, self._num_taps = weight.shape
        assert self._num_taps <= self.MOST_TAPS
        assert c_in <= self.MOST_INPUTS
        self._columns = weight.new_zeros((c_in, _PANEL))  # one a tap
        self._columns[:, : self._num_taps] = weight[0]
        self._bias = bias
        self._elu = elu

    @classmethod
    def suits(cls, weight: Tensor, stride: int) -> bool:
        """Whether this machine computes a convolution with ``weight``, ``[C_out, C_in, kernel]``, so."""
        c_out, c_in, kernel = weight.shape
        fits = 1 < kernel <= cls.MOST_TAPS and c_in <= cls.MOST_INPUTS
        return products() and weight.device.type == "cpu" and c_out == stride == 1 and fits

    def run(self, x: Tensor, state: Tensor | None, valid: int | None = None) -> tuple[Tensor, Tensor]:
        """``[B, T, C_in]`` -> ``[B, T, 1]``; state as in :class:`Filter`."""
        x, state = _ready(x), None if state is None else _ready(state)
        num_batch, num_rows, num_channels = x.shape
        assert num_channels == len(self._columns)
        y, after = x.new_empty((num_batch, num_rows, 1)), x.new_empty((num_batch, self._num_taps - 1, num_channels))
        _loaded().mimi_to_one(
            x.data_ptr(),
            _pointer(state),
            self._columns.data_ptr(),
            _pointer(self._bias),
            y.data_ptr(),
            after.data_ptr(),
            num_batch,
            num_rows,
            num_rows if valid is None else valid,
            num_channels,
            self._num_taps,
            _power(self._elu),
            self._elu,
            torch.get_num_threads(),
        )
        return y, after


class Search:
    """All levels of a residual quantizer: which codeword is the nearest, and what is left of the vector.

    Args:
        tables: ``[K, N, D]``, the codewords; N a multiple of 16.
        half_norms: ``[K, N]``, ``-|e|^2 / 2``.
    """

    def __init__(self, tables: Tensor, half_norms: Tensor) -> None:
        self._tables, self._norms = tables.contiguous(), half_norms.contiguous()
        self._panels = torch.stack([panels(table) for table in tables])

    @staticmethod
    def suits(tables: Tensor) -> bool:
        """Whether this machine searches ``tables``, ``[K, N, D]``, here."""
        return products() and tables.device.type == "cpu" and tables.shape[1] % _PANEL == 0

    def run(self, vectors: Tensor, num_levels: int) -> Tensor:
        """``[M, D]`` -> int64 ``[num_levels, M]``; of codewords equally near the first."""
        assert vectors.dtype == torch.float32
        assert num_levels <= len(self._tables)
        residual, threads = vectors.clone(memory_format=torch.contiguous_format), torch.get_num_threads()
        codes = torch.empty((num_levels, len(residual)), dtype=torch.int64)
        best = torch.empty((threads, len(residual)))
        index = torch.empty((threads, len(residual)), dtype=torch.int32)
        _loaded().mimi_nearest(
            residual.data_ptr(),
            self._tables.data_ptr(),
            self._panels.data_ptr(),
            self._norms.data_ptr(),
            codes.data_ptr(),
            best.data_ptr(),
            index.data_ptr(),
            *residual.shape,
            self._tables.shape[1],
            num_levels,
            threads,
        )
        return codes
