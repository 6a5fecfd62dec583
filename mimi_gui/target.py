"""An output file that appears whole or not at all.

Everything the program writes goes through :func:`writing`: the bytes are written to a hidden neighbour of
the target and renamed at the end, so a crash, a full disk or Ctrl-C never leaves half a file, and a file
that was there before is only replaced when the caller was asked for it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mimi_gui.errors import OutputError


def check_target(target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return ``target`` as a Path after checking that it could be written; touches no file.

    Raises:
        OutputError: it is a folder, its folder is missing or not writable, or it exists and ``overwrite`` is False.
    """
    path = Path(target)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file inside it.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder {path.parent} does not exist; create it or choose another place.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name or ask for it to be replaced.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} is not writable; choose another place.")
    return path


@contextmanager
def writing(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path beside ``target`` to write to; rename it to ``target`` when the block ends well.

    The path keeps the target's suffix, since libsndfile and numpy look at it. On any exception (Ctrl-C too)
    the partial file is removed and the old target is untouched.

    Raises:
        OutputError: see :func:`check_target`; also when writing fails (disk full, permission).
    """
    path = check_target(target, overwrite=overwrite)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield partial
        if path.exists() and not overwrite:  # someone else was quicker
            raise OutputError(f"{path} appeared while it was being written; choose another name.")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"Could not write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
