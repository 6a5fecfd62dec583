"""A model name -> a checkpoint on this disk that can be trusted: the bundled one, a folder, a file, or the hub's.

Looking up and downloading need no torch (the window asks before torch is loaded); only :func:`load_model` does. Only
safetensors are read, never a pickle. A name never turns into another model: what cannot be had is an error that names
the ways out.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimi_gui.errors import Cancelled, ModelUnavailable
from mimi_gui.resources import resource_path

if TYPE_CHECKING:
    from transformers import MimiConfig

    from mimi_gui.codes import CodecInfo

DEFAULT_MODEL = "kyutai/mimi"
DEMO_MODEL = "mimi-tiny"

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_HEADER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk.

    Attributes:
        name: what was asked for: ``kyutai/mimi``, a path, ``mimi-tiny``.
        path: a folder with config.json and model.safetensors (layout ``transformers``), or Kyutai's single file.
        layout: ``"transformers"`` or ``"moshi"``.
        revision: the hub's commit, "" elsewhere.
        digest: ``"sha256:<hex>"`` of the weights file, "" while nobody had to read it yet.
        label: for people.
        is_demo: the bundled codec, which shows how the program works, not how Mimi sounds.
    """

    name: str
    path: Path
    layout: str
    revision: str = ""
    digest: str = ""
    label: str = ""
    is_demo: bool = False

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return self.path / WEIGHTS_NAME if self.path.is_dir() else self.path


def find_checkpoint(model_name: str) -> Checkpoint | None:
    """Look for a checkpoint on this disk: no network, no torch, no weights read. Any thread.

    Returns:
        None where nothing of that name is here (a hub id may still be downloaded).

    Raises:
        ModelUnavailable: something is here, and it is not a Mimi checkpoint.
    """
    name = model_name.strip()
    if name == DEMO_MODEL:
        try:
            resource_path("models", DEMO_MODEL, WEIGHTS_NAME)
        except FileNotFoundError:
            return None
        folder = resource_path("models", DEMO_MODEL)
        return _known(Checkpoint(name, folder, "transformers", label="Mimi Tiny (demo)", is_demo=True))
    path = Path(name).expanduser()
    if name and path.exists():
        return _known(_local(name, path.resolve()))
    if not _HUB_ID.fullmatch(name):
        return None
    return _cached(name)


def fetch_checkpoint(model_name: str, *, progress: Progress | None = None, cancel: Cancel | None = None) -> Checkpoint:
    """Find a checkpoint, download it if it is a hub id that is not here yet, and know its digest.

    An interrupted download goes on where it stopped at the next call. Blocking: not for the GUI thread.

    Args:
        progress: called with (bytes done, bytes in all), from the downloading thread.
        cancel: polled at every piece that arrives.

    Raises:
        ModelUnavailable: it cannot be had, or is not a Mimi checkpoint; the message names the ways out.
        Cancelled: ``cancel`` returned True.
    """
    checkpoint = find_checkpoint(model_name)
    if checkpoint is None:
        checkpoint = _download(model_name.strip(), progress, cancel)
    if not checkpoint.digest:
        checkpoint = replace(checkpoint, digest=_digest(checkpoint.weights_path, cancel))
    return checkpoint


def trust_system_certificates() -> None:
    """Trust the certificates that the operating system trusts, and those in ``SSL_CERT_FILE``: ``--fix-ssl``.

    For this process, from the next connection on. Verification is never switched off.

    Raises:
        ModelUnavailable: ``SSL_CERT_FILE`` names a file that is not there.
    """
    import truststore

    extra = os.environ.get("SSL_CERT_FILE", "")
    if extra and not Path(extra).is_file():
        raise ModelUnavailable(
            f"SSL_CERT_FILE names {extra}, which is not a file: correct the variable or unset it.", "Certificates"
        )
    truststore.inject_into_ssl()
    import huggingface_hub

    close_session = getattr(huggingface_hub, "close_session", None)
    if close_session is not None:
        close_session()  # the client that exists already was built with the old trust


def codec_info(checkpoint: Checkpoint, config: MimiConfig) -> CodecInfo:
    """What the rest of the program may know about a loaded checkpoint."""
    from mimi_gui.codes import CodecInfo

    return CodecInfo(
        sample_rate=config.sampling_rate,
        frame_rate=float(config.frame_rate),
        frame_size=round(config.sampling_rate / config.frame_rate),
        num_codebooks=config.num_quantizers,
        cardinality=config.codebook_size,
        num_semantic_codebooks=config.num_semantic_quantizers,
        model_name=checkpoint.name,
        revision=checkpoint.revision,
        digest=checkpoint.digest,
    )


def read_config(path: Path) -> dict[str, Any]:
    """The config.json of a checkpoint as a dict.

    Raises:
        ModelUnavailable: it is not readable JSON, or of another kind of model.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"{path} cannot be read as a model configuration ({error}): get the checkpoint again."
        ) from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "mimi":
        raise ModelUnavailable(
            f"{path.parent} holds a model of type {kind or 'unknown'}, expected mimi: choose a Mimi checkpoint."
        )
    return config


def tensor_names(path: Path) -> dict[str, list[int]]:
    """The names and shapes in a safetensors file, from its header alone.

    Raises:
        ModelUnavailable: it is not a safetensors file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if start.startswith(b"version "):
                raise ModelUnavailable(
                    f"{path} is only a Git LFS pointer, not the weights: run git lfs pull in its folder."
                )
            if not 2 <= size <= min(_MAX_HEADER_BYTES, path.stat().st_size):
                raise ValueError("no safetensors header")
            header = json.loads(file.read(size))
            return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(
            f"{path} is not a whole safetensors file ({error}): get the checkpoint again."
        ) from error


def _local(name: str, path: Path) -> Checkpoint:
    label = path.name if path.is_dir() else path.stem
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ModelUnavailable(
                f"{path.name} is not a safetensors file, expected a checkpoint folder or a .safetensors file; pickles"
                " (.bin, .pt, .ckpt) are never loaded."
            )
        names = tensor_names(path)
        if any(n.startswith("encoder.model.") for n in names):
            return Checkpoint(name, path, "moshi", label=label)
        if path.name == WEIGHTS_NAME and (path.parent / CONFIG_NAME).is_file():
            return _local(name, path.parent)
        raise ModelUnavailable(
            f"{path.name} is not Kyutai's Mimi file (its first tensor is {next(iter(names), 'none')}): choose the"
            " checkpoint's folder, with config.json and model.safetensors in it."
        )
    if (path / CONFIG_NAME).is_file() and (path / WEIGHTS_NAME).is_file():
        read_config(path / CONFIG_NAME)
        return Checkpoint(name, path, "transformers", label=label)
    single = sorted(path.glob("tokenizer-*.safetensors"))
    if len(single) == 1:
        return _local(name, single[0])
    there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if any(entry.endswith((".bin", ".pt", ".ckpt")) for entry in there) and WEIGHTS_NAME not in there:
        raise ModelUnavailable(
            f"{path} holds pickled weights only, expected {WEIGHTS_NAME}: pickles can run code and are never loaded;"
            " get the safetensors version of the model."
        )
    lacking = [n for n in (CONFIG_NAME, WEIGHTS_NAME) if n not in there]
    raise ModelUnavailable(
        f"{path} is not a Mimi checkpoint: it lacks {' and '.join(lacking)}; choose a folder with both, or Kyutai's"
        " single .safetensors file."
    )


def _cached(name: str) -> Checkpoint | None:
    from huggingface_hub import try_to_load_from_cache

    repo, _, revision = name.partition("@")

    def lookup(filename: str) -> Path | None:
        found = try_to_load_from_cache(repo, filename, cache_dir=_hub_cache(), revision=revision or None)
        return Path(found) if isinstance(found, str) else None

    config = lookup(CONFIG_NAME)
    if config is None:
        return None
    single = _single_file(config)
    weights = lookup(single or WEIGHTS_NAME)
    return None if weights is None else _from_hub(name, weights, single)


def _from_hub(name: str, weights: Path, single: str | None) -> Checkpoint:
    label = "Kyutai Mimi" if name == DEFAULT_MODEL else name
    path, layout = (weights, "moshi") if single else (weights.parent, "transformers")
    if not single:
        read_config(path / CONFIG_NAME)
    revision = weights.parent.name
    return _known(Checkpoint(name, path, layout, revision=revision, label=label))


def _single_file(config_path: Path) -> str | None:
    """The Mimi inside a Moshi repository, whose model.safetensors is a language model of many gigabytes."""
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = config.get("mimi_name") if isinstance(config, dict) else None
    return name if isinstance(name, str) and name.endswith(".safetensors") and "/" not in name else None


def _download(name: str, progress: Progress | None, cancel: Cancel | None) -> Checkpoint:
    if name == DEMO_MODEL:
        raise ModelUnavailable(f"This installation lacks the built-in codec {DEMO_MODEL}: install mimi-gui again.")
    if not _HUB_ID.fullmatch(name):
        raise ModelUnavailable(
            f"There is no folder or file {name or '(empty)'}, and it is not a hub name like {DEFAULT_MODEL}: check the"
            f" path, or use the built-in --model {DEMO_MODEL}."
        )
    from mimi_gui.hub import download

    repo, _, revision = name.partition("@")
    config = download(repo, CONFIG_NAME, revision, _hub_cache(), None, cancel)
    single = _single_file(config)
    if single is None:
        read_config(config)  # before hundreds of megabytes of something else
    weights = download(repo, single or WEIGHTS_NAME, revision, _hub_cache(), progress, cancel)
    return _from_hub(name, weights, single)


def _hub_cache() -> str:
    """huggingface_hub's own rule, read now: the library reads the environment once, when it is imported."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return str(Path(os.environ[variable]).expanduser())
    home = os.environ.get("HF_HOME")
    if not home:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface")
    return str(Path(home).expanduser() / "hub")


def _known(checkpoint: Checkpoint) -> Checkpoint:
    """Fill in the digest where it costs nothing: the hub names its blobs by it, or we computed it before."""
    weights = checkpoint.weights_path
    real = weights.resolve()
    if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
        return replace(checkpoint, digest=f"sha256:{real.name}")
    return replace(checkpoint, digest=_remembered().get(_identity(real), ""))


def _digest(path: Path, cancel: Cancel | None) -> str:
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**22):
                if cancel is not None and cancel():
                    raise Cancelled
                hasher.update(block)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}): get the checkpoint again.") from error
    digest = f"sha256:{hasher.hexdigest()}"
    remembered = _remembered() | {_identity(path.resolve()): digest}
    store = _digest_store()
    scratch = store.with_suffix(f".{os.getpid()}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(dict(list(remembered.items())[-100:])), encoding="utf-8")
        scratch.replace(store)
    except OSError as error:
        # A cache only: without it the next start reads the weights once more.
        if error.errno == errno.ENOSPC:
            scratch.unlink(missing_ok=True)
    return digest


def _digest_store() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("mimi-gui", appauthor=False)) / "digests.json"


def _remembered() -> dict[str, str]:
    try:
        entries = json.loads(_digest_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {str(k): v for k, v in entries.items() if isinstance(v, str) and v.startswith("sha256:")}


def _identity(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
