"""What a corpus job works on: files from a folder, a pattern or a manifest, and the record of what became of each."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mimi_gui.errors import MimiGuiError, OutputError

_COMMON = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")
AUDIO_SUFFIXES = frozenset((*_COMMON, ".au", ".caf", ".w64", ".rf64", ".voc", ".sph", ".nist"))
MANIFEST_NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Item:
    """One file of the job.

    Attributes:
        path: where it is.
        name: its place in the mirrored tree, posix, without suffix; different for every item of a job.
        about: what the manifest says of it besides the path.
    """

    path: Path
    name: str
    about: Mapping[str, Any] = field(default_factory=dict)


def find_items(source: str | os.PathLike[str], suffixes: Iterable[str]) -> list[Item]:
    """The files of ``source``, sorted by name; nothing is opened but a manifest.

    Args:
        source: a folder (searched to the bottom), one file, a pattern such as ``"talks/**/*.flac"``, or a
            ``.jsonl`` manifest of ``{"path": ..., ...}`` with paths relative to its folder.
        suffixes: what counts in a folder or pattern, lower case.

    Raises:
        MimiGuiError: nothing there, or a manifest that cannot be read.
    """
    text, wanted = os.fspath(source), frozenset(suffixes)
    path = Path(text).expanduser()
    if path.suffix == ".jsonl":
        found = _from_manifest(path)
    elif path.is_dir():
        found = [(entry, {}) for entry in path.rglob("*")]
        found = [(entry, about) for entry, about in found if _counts(entry, path, wanted)]
        found = [(entry, {"": entry.relative_to(path)}) for entry, _ in found]
    elif path.is_file():
        found = [(path, {"": Path(path.name)})]
    elif glob.has_magic(text):
        base = Path(*_before_magic(path))
        matches = [Path(match) for match in glob.glob(os.fspath(path), recursive=True)]
        found = [(entry, {"": entry.relative_to(base)}) for entry in matches if _counts(entry, base, wanted)]
    else:
        raise MimiGuiError(f"{text} does not exist: give a folder, a pattern in quotes, or a .jsonl manifest.")
    if not found:
        raise MimiGuiError(f"{text} holds no files that can be worked on ({', '.join(sorted(wanted))}).")
    return _named(found)


def _counts(entry: Path, base: Path, wanted: frozenset[str]) -> bool:
    hidden = any(part.startswith(".") for part in entry.relative_to(base).parts)
    return not hidden and entry.suffix.lower() in wanted and entry.is_file()


def _before_magic(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts or ["."]


def _from_manifest(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    found: list[tuple[Path, dict[str, Any]]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict) or not isinstance(record.get("path"), str):
                    raise MimiGuiError(f"{path} line {number} is no object with a path.")
                about = {key: value for key, value in record.items() if key != "path"}
                if about.get("status", "ok") != "ok":
                    continue  # a manifest of ours: what failed there has no file
                listed = Path(record["path"]).expanduser()
                # Where the file goes must lie inside the target, whatever the manifest says.
                inside = [part for part in listed.parts if part not in ("..", ".", listed.anchor)]
                found.append((path.parent / listed, {**about, "": Path(*inside)}))
    except FileNotFoundError:
        raise MimiGuiError(f"{path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise MimiGuiError(f"{path} cannot be read as a manifest of JSON lines: {error}.") from error
    return found


def _named(found: list[tuple[Path, dict[str, Any]]]) -> list[Item]:
    """Names without suffix; where two files would share one, both keep theirs, the same path twice counts once."""
    places = {path: (about.pop(""), about) for path, about in found}
    short: dict[str, int] = {}
    for place, _ in places.values():
        name = PurePosixPath(place).with_suffix("").as_posix()
        short[name.casefold()] = short.get(name.casefold(), 0) + 1
    items = []
    for path, (place, about) in places.items():
        name = PurePosixPath(place).with_suffix("").as_posix()
        if short[name.casefold()] > 1:
            name = PurePosixPath(place).as_posix()
        items.append(Item(path, name, about))
    return sorted(items, key=lambda item: item.name)


class Manifest:
    """What became of each file, one JSON line as soon as it is known; the last line of a path counts.

    Every shard writes its own file, so that shards on many machines need no lock. A line that was cut by a crash
    is skipped.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (0, 1)) -> None:
        """Reads what all shards wrote; raises OutputError where the folder cannot be written."""
        self.folder = folder
        number, count = shard
        width = len(str(count - 1))
        name = MANIFEST_NAME if count == 1 else f"manifest-{number:0{width}}-of-{count}.jsonl"
        self.path = folder / name
        self.records = read_records(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            cut = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            self._file = self.path.open("a", encoding="utf-8")
            if cut and self.path.stat().st_size:
                self._file.write("\n")
        except OSError as error:
            raise OutputError(f"Could not write {self.path}: {error.strerror or error}.") from error

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one line, on the disk when this returns to the operating system's satisfaction.

        Raises:
            OutputError: the disk is full.
        """
        try:
            self._file.write(json_line(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"Could not write {self.path}: {error.strerror or error}.") from error
        self.records[str(record["path"])] = dict(record)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def json_line(record: Mapping[str, Any]) -> str:
    """One line of JSON, readable where it can be: names that are no valid Unicode are escaped."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(record, allow_nan=False)
    return text


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """The last record of every path, from the manifests of all shards in ``folder``."""
    records: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # cut by a crash
            if isinstance(record, dict) and isinstance(record.get("path"), str):
                records[record["path"]] = record
    return records
