"""One file from the Hugging Face hub into its ordinary cache: resumable, countable, cancellable, with clear errors."""

from __future__ import annotations

import errno
import inspect
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mimi_gui.errors import Cancelled, ModelUnavailable

WAYS_OUT = (
    "give a local folder or file that holds the model, add --fix-ssl if your network replaces certificates, or use"
    " the built-in --model mimi-tiny"
)


def download(
    repo: str,
    filename: str,
    revision: str,
    cache_dir: str,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> Path:
    """Return the cached path of ``repo``'s ``filename``, downloading what is not there yet.

    A token in ``HF_TOKEN`` or ``HUGGING_FACE_HUB_TOKEN`` is used and never shown. Blocking; call it off the GUI thread.

    Args:
        revision: a branch, tag or commit, "" for the default branch.
        progress: called with (bytes done, bytes in all), from the downloading thread.
        cancel: polled at every piece that arrives; what came so far stays and is resumed next time.

    Raises:
        ModelUnavailable: no such repository or file, no permission, no connection, disk full.
        Cancelled: ``cancel`` returned True.
    """
    from huggingface_hub import hf_hub_download

    options: dict[str, Any] = {}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        options["tqdm_class"] = _counter(progress, cancel)
    try:
        with _plain_http():
            path = hf_hub_download(
                repo, filename, revision=revision or None, cache_dir=cache_dir, token=_token(), **options
            )
    except Cancelled:
        raise
    # The hub's errors have no common ancestor but OSError and ValueError; httpx's are named in the chain.
    except (OSError, ValueError, RuntimeError) as error:
        raise _in_words(error, repo, filename, cache_dir) from error
    except Exception as error:
        if not type(error).__module__.partition(".")[0].startswith(("httpx", "httpcore")):
            raise
        raise _in_words(error, repo, filename, cache_dir) from error
    if cancel is not None and cancel():
        raise Cancelled
    return Path(path)


def _token() -> str | None:
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or None


def _counter(progress: Callable[[int, int], None] | None, cancel: Callable[[], bool] | None) -> type:
    """The hub reports through a tqdm class; this one draws nothing, it counts, and stops the download by raising."""
    from tqdm.std import tqdm

    class Counter(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            total, initial = kwargs.get("total"), kwargs.get("initial") or 0
            kwargs["disable"] = True
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)
            self.total, self.n = total, initial
            self.update(0)

        def update(self, n: float | None = 1) -> bool | None:
            if cancel is not None and cancel():
                raise Cancelled
            self.n += n or 0
            if progress is not None:
                progress(int(self.n), int(self.total or self.n))
            return None

    return Counter


@contextmanager
def _plain_http() -> Iterator[None]:
    """Without hf_xet: an exception cannot stop its download, and half a file of it cannot be resumed."""
    from huggingface_hub import constants

    before = getattr(constants, "HF_HUB_DISABLE_XET", False)
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _in_words(error: BaseException, repo: str, filename: str, cache_dir: str) -> ModelUnavailable:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelUnavailable(
            f"{repo} needs its owner's permission: accept the terms at huggingface.co/{repo} and set HF_TOKEN to your"
            " token.",
            "The download fails",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelUnavailable(f"{repo} has no such revision on the hub: check what follows the @ in the name.")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return ModelUnavailable(
            f"The hub has no model {repo}, or it is private: check the name, or set HF_TOKEN to a token that may read"
            " it."
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return ModelUnavailable(
            f"{repo} has no {filename} on the hub, so it is not a Mimi checkpoint in safetensors: choose another one."
        )
    chain = list(_chain(error))
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in chain):
        return ModelUnavailable(
            f"The disk that holds {cache_dir} is full: free some space, or set HF_HOME to a folder on another disk, and"
            " try again; the download goes on where it stopped.",
            "The download fails",
        )
    denied = next((e for e in chain if isinstance(e, PermissionError)), None)
    if denied is not None:
        return ModelUnavailable(
            f"The download cannot be saved in {cache_dir} (permission denied): set HF_HOME to a folder of your own.",
            "The download fails",
        )
    if any(isinstance(e, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(e) for e in chain):
        return ModelUnavailable(
            f"The connection to the hub for {repo} is not trusted, a certificate is not known here: {WAYS_OUT}.",
            "Certificates",
        )
    if any(type(e).__name__ == "OfflineModeIsEnabled" for e in chain):
        return ModelUnavailable(
            f"{repo} is not on this disk and HF_HUB_OFFLINE forbids a download: unset it, or {WAYS_OUT}.",
            "The download fails",
        )
    return ModelUnavailable(
        f"{repo} is not on this disk and the hub cannot be reached ({type(chain[-1]).__name__}): {WAYS_OUT}.",
        "The download fails",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
