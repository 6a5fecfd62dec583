"""A tree of token files as Parquet parts, one row a recording, as ``datasets`` and other table readers want them.

Needs pyarrow, imported where it is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimi_gui.codes import Codes, load_codes
from mimi_gui.corpus_items import MANIFEST_NAME, find_items, json_line, read_records
from mimi_gui.errors import Cancelled, CodesFileError, MimiGuiError, OutputError
from mimi_gui.target import writing

if TYPE_CHECKING:
    import pyarrow

_IN_MANIFEST = ("duration", "sample_rate", "num_samples", "num_codebooks", "num_frames", "source")
_GROUP_BYTES = 32 * 2**20  # held in memory before a row group is written


@dataclass(frozen=True)
class Packed:
    """What :func:`pack_tokens` wrote: the parts, their rows, and the files that could not be read with why."""

    parts: tuple[Path, ...]
    num_rows: int
    failures: tuple[str, ...]


def pack_tokens(
    folder: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    part_bytes: int = 500 * 10**6,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Packed:
    """Pack every token file under ``folder`` into ``target/part-00000.parquet`` and so on. Blocking.

    Columns: ``path, audio_codes`` (list of K lists of T int16), ``num_codebooks, num_frames, num_samples,
    sample_rate, duration, model_name, revision, digest, source, metadata`` (JSON). Rows are in the order of ``path``,
    so equal trees give equal parts. Memory does not grow with the corpus; each part appears whole. ``manifest.jsonl``
    beside them has a line for every recording: what the tree's manifest says of it, with its part and row, or why
    it is not there; it is written last.

    Args:
        part_bytes: a part ends when its codes pass this many bytes, before compression.
        progress: called with (files done, files in all).
        cancel: polled at every file; parts that are whole stay.

    Raises:
        MimiGuiError: pyarrow is not installed, or there are no token files.
        OutputError: a part exists and ``overwrite`` is False, or cannot be written.
        Cancelled: ``cancel`` returned True.
    """
    pa = _pyarrow()
    folder, target = Path(folder), Path(target)
    items = find_items(folder, (".npz",))
    records = read_records(folder) if folder.is_dir() else {}
    if not overwrite and any(target.glob("part-*.parquet")):
        raise OutputError(f"{target} holds parts already: choose another folder or add --overwrite.")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Could not write {target}: {error.strerror or error}.") from error
    failures: list[str] = []
    lines: dict[str, dict[str, Any]] = {
        place: record for place, record in records.items() if record.get("status") == "failed"
    }

    def rows() -> Iterator[dict[str, Any]]:
        for done, item in enumerate(items, 1):
            if cancel is not None and cancel():
                raise Cancelled
            place = item.path.relative_to(folder).as_posix() if folder.is_dir() else f"{item.name}.npz"
            try:
                codes = load_codes(item.path)
            except CodesFileError as error:
                failures.append(error.message)
                lines[place] = {"path": place, "status": "failed", "source": str(item.path), "error": error.message}
            else:
                yield _row(place, codes, records.get(place, {}))
            if progress is not None:
                progress(done, len(items))

    parts: list[Path] = []
    num_rows = 0
    waiting = rows()
    row = next(waiting, None)
    while row is not None:
        part = target / f"part-{len(parts):05}.parquet"
        row, places = _write_part(pa, part, row, waiting, part_bytes, overwrite)
        parts.append(part)
        num_rows += len(places)
        for number, (place, facts) in enumerate(places.items()):
            where = {"part": part.name, "row": number}
            lines[place] = {"path": place, "status": "ok", **facts, **records.get(place, {}), **where}
    if not parts:
        raise MimiGuiError(f"None of the {len(items)} token files in {folder} can be read: {failures[0]}")
    for stale in sorted(target.glob("part-*.parquet")):
        if stale not in parts:
            stale.unlink()  # of an earlier, larger packing that was to be replaced
    with writing(target / MANIFEST_NAME, overwrite=True) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(f"{json_line(lines[place])}\n" for place in sorted(lines))
    return Packed(tuple(parts), num_rows, tuple(failures))


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MimiGuiError("Parquet needs pyarrow, which is not installed: pip install pyarrow.") from error
    return pyarrow


def _schema(pa: Any) -> pyarrow.Schema:
    return pa.schema(
        [
            ("path", pa.string()),
            ("audio_codes", pa.list_(pa.list_(pa.int16()))),
            ("num_codebooks", pa.int32()),
            ("num_frames", pa.int64()),
            ("num_samples", pa.int64()),
            ("sample_rate", pa.int32()),
            ("duration", pa.float64()),
            ("model_name", pa.string()),
            ("revision", pa.string()),
            ("digest", pa.string()),
            ("source", pa.string()),
            ("metadata", pa.string()),
        ]
    )


def _row(place: str, codes: Codes, record: dict[str, Any]) -> dict[str, Any]:
    source = codes.metadata.get("source")
    name = source.get("name", "") if isinstance(source, dict) else ""
    return {
        "path": _text(place),
        "audio_codes": list(codes.array),  # K arrays of T
        "num_codebooks": codes.num_codebooks,
        "num_frames": codes.num_frames,
        "num_samples": codes.num_samples,
        "sample_rate": codes.info.sample_rate,
        "duration": codes.duration_s,
        "model_name": codes.info.model_name,
        "revision": codes.info.revision,
        "digest": codes.info.digest,
        "source": _text(str(record.get("source") or name)),
        "metadata": json.dumps(dict(codes.metadata), sort_keys=True),
    }


def _text(name: str) -> str:
    """Parquet's strings are UTF-8; a file's name may not be."""
    return name.encode("utf-8", "backslashreplace").decode()


def _write_part(
    pa: Any, part: Path, first: dict[str, Any], rows: Iterator[dict[str, Any]], part_bytes: int, overwrite: bool
) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """Write rows until the part is full; gives the row that did not fit any more, and the facts of those that did."""
    schema = _schema(pa)
    row: dict[str, Any] | None = first
    size = 0
    places: dict[str, dict[str, Any]] = {}
    with writing(part, overwrite=overwrite) as partial, pa.parquet.ParquetWriter(partial, schema) as writer:
        while row is not None and (not places or size < part_bytes):
            group: list[dict[str, Any]] = []
            group_bytes = 0
            while row is not None and group_bytes < _GROUP_BYTES and (not group or size + group_bytes < part_bytes):
                group.append(row)
                places[row["path"]] = {key: row[key] for key in _IN_MANIFEST}
                group_bytes += 2 * row["num_codebooks"] * row["num_frames"]
                row = next(rows, None)
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            size += group_bytes
    return row, places
