"""Mimi GUI: see and hear what the Mimi neural audio codec does to your recordings.

The public names below are imported on first use (PEP 562), so that ``import mimi_gui`` costs nothing:
torch and transformers load only when a codec is built, Qt only under :mod:`mimi_gui.ui`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mimi_gui.audio import Waveform, load_audio, save_audio
    from mimi_gui.codec import MimiCodec
    from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
    from mimi_gui.decoder import decode_tokens
    from mimi_gui.encoder import encode_audio
    from mimi_gui.errors import Cancelled, MimiGuiError

_HOMES = {
    "Cancelled": "errors",
    "CodecInfo": "codes",
    "Codes": "codes",
    "MimiCodec": "codec",
    "MimiGuiError": "errors",
    "Waveform": "audio",
    "decode_tokens": "decoder",
    "encode_audio": "encoder",
    "load_audio": "audio",
    "load_codes": "codes",
    "save_audio": "audio",
    "save_codes": "codes",
}

__all__ = [
    "Cancelled",
    "CodecInfo",
    "Codes",
    "MimiCodec",
    "MimiGuiError",
    "Waveform",
    "__version__",
    "decode_tokens",
    "encode_audio",
    "load_audio",
    "load_codes",
    "save_audio",
    "save_codes",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mimi_gui' has no attribute {name!r}")
    return getattr(import_module(f"mimi_gui.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
