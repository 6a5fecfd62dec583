"""A safetensors file read tensor by tensor into memory of its own.

The whole file mapped into memory, as safetensors' own loader does it, counts as the process's memory for as long as
one tensor of it lives, and once more beside the copy that an engine packs for its processor.
"""

from __future__ import annotations

import io
import json
import os
import struct
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimi_gui.errors import ModelUnavailable

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 2**22  # values looked at at once
# A bfloat16 is the upper half of a float32; numpy has no name for it.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}
_BF16_EXPONENT = 0x7F80


class TensorFile:
    """An open safetensors file. It stays open: what replaces it on the disk does not change what is read.

    Attributes:
        shapes: of every tensor, by name.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises ModelUnavailable: not a whole safetensors file, or one with a type of numbers that no Mimi has.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np"):  # its own checks: sizes, overlaps, nothing missing at the end
                pass
            # Closed with the last reference: an engine may read its second half much later, or never.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._finalizer = weakref.finalize(self, os.close, descriptor)
            self._file = io.FileIO(descriptor, closefd=False)
            size = struct.unpack("<Q", self._file.read(8))[0]
            header = json.loads(self._file.read(size))
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelUnavailable(f"{path} cannot be read ({error}): get the checkpoint again.") from error
        header.pop("__metadata__", None)
        self._entries: dict[str, tuple[str, int]] = {}  # type, where it starts
        self.shapes: dict[str, list[int]] = {}
        for name, entry in header.items():
            if entry["dtype"] not in _TYPES:
                raise ModelUnavailable(
                    f"{path} holds {name} as {entry['dtype']}, expected float32, float16 or bfloat16: get the"
                    " checkpoint again."
                )
            self._entries[name] = entry["dtype"], 8 + size + entry["data_offsets"][0]
            self.shapes[name] = entry["shape"]
        self._path, self._lock = path, threading.Lock()

    def read(self, name: str) -> Tensor:
        """One tensor as float32 on the CPU. Any thread.

        Raises ModelUnavailable: the file ends too early (it was changed since).
        """
        import torch

        kind, start = self._entries[name]
        values = self._values(kind, start, int(np.prod(self.shapes[name])))
        if kind == "BF16":
            tensor = torch.from_numpy(values.view(np.int16)).view(torch.bfloat16).float()
        else:
            tensor = torch.from_numpy(values.astype(np.float32, copy=False))
        return tensor.reshape(self.shapes[name])

    def first_not_finite(self) -> str | None:
        """The name of a tensor that holds NaN or infinity, if any does; in little memory."""
        for name, (kind, start) in self._entries.items():
            if kind not in ("F64", "F32", "F16", "BF16"):
                continue
            width, count = np.dtype(_TYPES[kind]).itemsize, int(np.prod(self.shapes[name]))
            for at in range(0, count, _BLOCK):
                values = self._values(kind, start + at * width, min(_BLOCK, count - at))
                if kind == "BF16":
                    finite = ((values & _BF16_EXPONENT) != _BF16_EXPONENT).all()
                else:
                    finite = np.isfinite(values).all()
                if not finite:
                    return name
        return None

    def close(self) -> None:
        """No more is read."""
        self._finalizer()

    def _values(self, kind: str, start: int, count: int) -> np.ndarray:
        values = np.empty(count, _TYPES[kind])
        with self._lock:
            self._file.seek(start)
            left = values.view(np.uint8).data
            while len(left) and (done := self._file.readinto(left)):
                left = left[done:]
        if len(left):
            raise ModelUnavailable(f"{self._path} is shorter than it was: get the checkpoint again.")
        return values
