"""A corpus as a list to look through: what its manifest says of every recording. No token file is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimi_gui.corpus_items import read_records
from mimi_gui.corpus_job import JOB_NAME, read_options
from mimi_gui.errors import Cancelled, MimiGuiError

MOST_LINES = 200_000


@dataclass(frozen=True, slots=True)
class Line:
    """One recording of a corpus.

    Attributes:
        name: its place in the corpus.
        state: ``ok``, ``warning`` or ``failed``.
        words: why, where it is not ``ok``.
        length_s: None where nobody knows.
        tokens, audio: the files to compare, None where there is none.
    """

    name: str
    state: str
    words: str
    length_s: float | None
    tokens: Path | None
    audio: Path | None


@dataclass(frozen=True)
class Listing:
    """What a corpus holds, in the order of names. ``about``: what it was made with, "" where nobody said."""

    folder: Path
    lines: tuple[Line, ...]
    about: str = ""
    num_left_out: int = 0

    @property
    def num_failed(self) -> int:
        """Recordings that have no file."""
        return sum(line.state == "failed" for line in self.lines)

    @property
    def length_s(self) -> float:
        """Of all recordings together."""
        return sum(line.length_s or 0.0 for line in self.lines)


def is_corpus(path: Path) -> bool:
    """Whether ``path`` is a folder that ``corpus encode`` or ``corpus decode`` filled, or its manifest."""
    if path.is_dir():
        return (path / JOB_NAME).is_file() or any(path.glob("manifest*.jsonl"))
    return path.suffix == ".jsonl" and path.name.startswith("manifest") and path.is_file()


def read_listing(path: str | os.PathLike[str], *, cancel: Callable[[], bool] | None = None) -> Listing:
    """Read the manifests of all shards in a corpus. Blocking: seconds for a million lines.

    Args:
        path: the folder, or a manifest in it.
        cancel: polled once a thousand lines.

    Raises:
        MimiGuiError: there is no line in them.
        Cancelled: ``cancel`` returned True.
    """
    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    records = read_records(folder)
    lines: list[Line] = []
    for number, (name, record) in enumerate(sorted(records.items())):
        if number % 1000 == 0 and cancel is not None and cancel():
            raise Cancelled
        if number == MOST_LINES:
            break
        lines.append(_line(folder, name, record))
    if not lines:
        raise MimiGuiError(f"{folder} holds no corpus yet: its manifest has no recordings.")
    return Listing(folder, tuple(lines), _about(folder), len(records) - len(lines))


def _line(folder: Path, name: str, record: dict[str, Any]) -> Line:
    failed, warning = record.get("status") == "failed", str(record.get("warning", ""))
    duration = record.get("duration")
    length_s = float(duration) if isinstance(duration, int | float) else None
    source = Path(str(record.get("source", "")))
    source = source if source.is_absolute() else None  # relative to where somebody once stood
    if failed:
        return Line(name, "failed", str(record.get("error", "")), length_s, None, None)
    made = folder / name
    tokens, audio = (made, source) if made.suffix == ".npz" else (source, None)
    if tokens is None:
        audio = made
    return Line(name, "warning" if warning else "ok", warning, length_s, tokens, audio)


def _about(folder: Path) -> str:
    options = read_options(folder)
    if not options:
        return ""
    count = options.get("num_codebooks")
    codebooks = "all codebooks" if count is None else f"{count} codebook{'' if count == 1 else 's'}"
    model = str(options.get("model") or "an unknown checkpoint")
    return f"{codebooks} of {Path(model).name if Path(model).is_absolute() else model}"
