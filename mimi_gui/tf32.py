"""Whether CUDA rounds what it multiplies to TF32, ten bits after the first: the switches are the whole process's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """In this block CUDA's products and convolutions use TF32, or do not; afterwards all is as the caller had it.

    By torch's newer switches, one for each: the older (``allow_tf32``) leave convolutions in TF32 where
    ``torch.backends.fp32_precision`` asks for it, and cannot even be read where somebody has set the newer ones.
    Imports torch. The caller sees to it that no other thread of ours computes on CUDA meanwhile.
    """
    import torch

    backends: Any = torch.backends
    products, convolutions = backends.cuda.matmul, backends.cudnn.conv
    before = products.fp32_precision, convolutions.fp32_precision
    products.fp32_precision = convolutions.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        products.fp32_precision, convolutions.fp32_precision = before
