"""Where takes are kept, what they are called, and which of them a crash left unfinished.

A take is recorded under a name that ends in ``.unfinished.wav`` and renamed when it is whole. Whoever records
holds the file (``hold``), so that a second program knows a take that is still running from one that was left.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mimi_gui.errors import OutputError

UNFINISHED = ".unfinished.wav"
_MOST_NAMES = 1000


@dataclass(frozen=True)
class UnfinishedTake:
    """A take whose program ended before it did. ``begun_at`` is local time as in its name, e.g. "2026-11-23 14.03"."""

    path: Path
    duration_s: float
    begun_at: str


def takes_folder(chosen: str = "") -> Path:
    """Return the folder for takes: the chosen one, else "Mimi GUI" in the user's music folder. Creates nothing."""
    import platformdirs

    return Path(chosen) if chosen else Path(platformdirs.user_music_dir()) / "Mimi GUI"


def new_take(folder: Path, now: float | None = None) -> Path:
    """Return an unused name for a take that begins now (seconds since 1970), in ``folder``, which is created.

    Raises:
        OutputError: the folder cannot be created.
    """
    stem = time.strftime("Take %Y-%m-%d %H.%M.%S", time.localtime(now))
    return folder / (free_stem(folder, stem, (".wav", UNFINISHED)) + UNFINISHED)


def new_live_stem(folder: Path, suffixes: Iterable[str], now: float | None = None) -> str:
    """Return an unused name, without suffix, for files of a live session with these suffixes; as ``new_take``."""
    return free_stem(folder, time.strftime("Live %Y-%m-%d %H.%M.%S", time.localtime(now)), suffixes)


def finish_take(path: Path) -> Path:
    """Give a whole take its name; returns it. A take that has one already keeps it.

    Raises:
        OutputError: it cannot be renamed.
    """
    if not path.name.endswith(UNFINISHED):
        return path
    target = path.parent / (free_stem(path.parent, path.name.removesuffix(UNFINISHED), (".wav",)) + ".wav")
    try:
        path.rename(target)
    except OSError as error:
        raise OutputError(
            f"The recording is whole, but {path} cannot be renamed ({error.strerror or error}): open it as it is."
        ) from error
    return target


def free_stem(folder: Path, stem: str, suffixes: Iterable[str]) -> str:
    """Return the first of "stem", "stem (2)" ... that no file with one of ``suffixes`` has; creates ``folder``.

    Raises:
        OutputError: the folder cannot be created, or is full of such names.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder for recordings, {folder}, cannot be created ({error.strerror or error}): choose another one."
        ) from error
    suffixes = tuple(suffixes)
    for number in range(1, _MOST_NAMES):
        name = stem if number == 1 else f"{stem} ({number})"
        if not any((folder / f"{name}{suffix}").exists() for suffix in suffixes):
            return name
    raise OutputError(f"{folder} holds a thousand files of this very second: choose another folder.")


def unfinished_takes(folder: Path) -> list[UnfinishedTake]:
    """Return the takes in ``folder`` that nobody records any more, the oldest first; empty ones are left out.

    Reads headers only. A folder that is not there holds none.
    """
    import soundfile

    found = []
    for path in sorted(folder.glob(f"*{UNFINISHED}")):
        if is_held(path):
            continue
        try:
            info = soundfile.info(path)
        except (OSError, soundfile.SoundFileError):  # not one sample reached the disk
            continue
        if info.frames:
            begun_at = path.name.removesuffix(UNFINISHED).removeprefix("Take ").rpartition(".")[0]
            found.append(UnfinishedTake(path, info.duration, begun_at))
    return found


def hold(file: IO[bytes]) -> None:
    """Mark an open file as being recorded, until it is closed or the process ends.

    On Windows an open file cannot be renamed by others anyway, which is what ``is_held`` asks there.
    """
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):  # a network disk without locks
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Return whether some process records to ``path`` right now."""
    if sys.platform == "win32":
        try:
            os.rename(path, path)
        except OSError:
            return True
        return False
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
