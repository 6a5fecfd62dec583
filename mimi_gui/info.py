"""What a file is: a recording, tokens or a checkpoint. Reads headers only; torch is never loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mimi_gui.audio import audio_info
from mimi_gui.checkpoints import CONFIG_NAME, DEMO_MODEL, fetch_checkpoint, find_checkpoint, read_config
from mimi_gui.codes import CodecInfo, load_codes
from mimi_gui.errors import MimiGuiError, ModelUnavailable


def describe(name: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``name`` is, JSON-able; ``kind`` is ``"recording"``, ``"tokens"`` or ``"checkpoint"``. Blocking.

    Args:
        name: a file, a checkpoint's folder, or a checkpoint's name that is on this disk already.

    Raises:
        AudioFileError, CodesFileError, ModelUnavailable: it is none of them, or damaged.
    """
    path = Path(name)
    if path.is_dir() or path.suffix == ".safetensors":
        return _checkpoint(os.fspath(name))
    if not path.exists():
        if os.fspath(name) == DEMO_MODEL or (os.fspath(name).count("/") == 1 and not path.suffix):
            return _checkpoint(os.fspath(name))
        raise MimiGuiError(f"{name} does not exist: give a recording, a token file or a checkpoint.")
    if _is_archive(path):
        return _tokens(path)
    return _recording(path)


def summary(facts: dict[str, Any]) -> str:
    """``describe``'s answer as lines for a person."""
    rows = [(key, value) for key, value in _flat(facts) if value not in ("", None)]
    width = max(len(key) for key, _ in rows)
    return "\n".join(f"{key.replace('_', ' '):<{width}}  {value}" for key, value in rows)


def _is_archive(path: Path) -> bool:
    if path.suffix.lower() == ".npz":
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # reading it as a recording says why


def _recording(path: Path) -> dict[str, Any]:
    info, codec = audio_info(path), CodecInfo()
    num_samples = round(info.duration_s * codec.sample_rate)
    return {
        "kind": "recording",
        "path": str(path),
        "format": info.format,
        "subtype": info.subtype,
        "sample_rate": info.sample_rate,
        "num_channels": info.num_channels,
        "num_samples": info.num_samples,
        "duration_s": round(info.duration_s, 3),
        "file_bytes": path.stat().st_size,
        "mimi_frames": codec.num_frames(num_samples) if info.num_samples > 0 else -1,
    }


def _tokens(path: Path) -> dict[str, Any]:
    codes = load_codes(path)
    info = codes.info
    return {
        "kind": "tokens",
        "path": str(path),
        "num_codebooks": codes.num_codebooks,
        "num_frames": codes.num_frames,
        "bitrate_kbps": round(codes.bitrate_kbps, 4),
        "duration_s": round(codes.duration_s, 3),
        "num_samples": codes.num_samples,
        "sample_rate": info.sample_rate,
        "frame_rate": info.frame_rate,
        "file_bytes": path.stat().st_size,
        "checkpoint": info.model_name or "unknown",
        "revision": info.revision,
        "digest": info.digest,
        "metadata": dict(codes.metadata),
    }


def _checkpoint(name: str) -> dict[str, Any]:
    checkpoint = find_checkpoint(name)
    if checkpoint is None:
        raise ModelUnavailable(f"{name} is not on this disk: mimi-gui encode --model {name} downloads it.")
    checkpoint = fetch_checkpoint(name)  # it is here: this only adds the digest
    facts = {
        "kind": "checkpoint",
        "name": checkpoint.name,
        "label": checkpoint.label,
        "path": str(checkpoint.path),
        "layout": checkpoint.layout,
        "revision": checkpoint.revision,
        "digest": checkpoint.digest,
        "file_bytes": checkpoint.weights_path.stat().st_size,
    }
    if checkpoint.layout == "transformers":
        config = read_config(checkpoint.path / CONFIG_NAME)
        for key in ("sampling_rate", "frame_rate", "num_quantizers", "codebook_size", "sliding_window"):
            if key in config:
                facts[key] = config[key]
    return facts


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += _flat(value, "" if key == "metadata" else f"{key} ")
        else:
            rows.append((prefix + key, value))
    return rows
