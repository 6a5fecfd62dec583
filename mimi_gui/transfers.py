"""Arrays to a device and back, on CUDA through pinned memory and beside the computation; and whether it is full."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# In the words of torch on the CPU, of CUDA, and of its libraries where they find no room for their workspace.
_NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute",
)
_streams = threading.local()  # a copying stream for each thread and device


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """``array`` (writable, C order) on the device, ready for what is computed there next.

    On CUDA the copy waits for nothing that is being computed: the next chunk travels while this one is worked on.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    copying, computing = _copying_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = tensor.pin_memory().to(device, non_blocking=True)
    computing.wait_stream(copying)
    moved.record_stream(computing)  # its memory is free again when the computation is done, not the copy
    return moved


def download(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Start to fetch ``tensor``; what is returned waits for it and gives it as an array of its own memory."""
    if tensor.device.type != "cuda":
        array = tensor.cpu().numpy()
        return lambda: array
    computing = torch.cuda.current_stream(tensor.device)
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    with torch.cuda.stream(computing):
        host.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(computing)

    def wait() -> np.ndarray:
        done.synchronize()
        return host.numpy().copy()  # pinned memory is scarce: it goes back at once

    return wait


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left, in any of the ways that torch says it.

    Also where it happened while a CUDA graph was recorded, whose own end then fails with other words.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, torch.OutOfMemoryError) or any(words in str(at) for words in _NO_MEMORY):
            return True
        at = at.__context__
    return False


def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    by_device = _streams.__dict__.setdefault("by_device", {})
    if device not in by_device:
        by_device[device] = torch.cuda.Stream(device)
    return by_device[device]
