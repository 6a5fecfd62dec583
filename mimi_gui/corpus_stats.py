"""What a corpus of token files holds: hours, use and entropy of each codebook, and the files that stand out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mimi_gui.analysis.codebooks import histogram, use_of
from mimi_gui.codes import Codes, load_codes
from mimi_gui.corpus_items import find_items, read_records
from mimi_gui.errors import Cancelled, CodesFileError, MimiGuiError

SILENT_DBFS = -60.0
FULL_SCALE_SHARE = 1e-3
_RARE_SIGMAS = 4.0  # above the mean surprise of all files
_MIN_FILES = 20  # with fewer, "unusual" means nothing
_WINDOW_FRAMES = 25  # 2 s: where in a file its codes are rarest


@dataclass(frozen=True)
class Outlier:
    """A file that stands out, and where to listen.

    Attributes:
        path: of the token file, relative to the corpus.
        kind: ``silent``, ``clipped``, ``rare codes`` or ``failed``.
        words: why, with the figure.
        at_s: the moment to listen to, 0 where there is none in particular.
        source: the recording, as the manifest or the tokens name it.
    """

    path: str
    kind: str
    words: str
    at_s: float
    source: str


@dataclass(frozen=True)
class CorpusStats:
    """Figures over all readable files. Arrays as tuples of one number per codebook.

    Attributes:
        used_share: of the codes that exist, those that occur.
        entropy_bits: with Miller and Madow's correction; of 11 for Mimi.
        entropy_kbps: what an ideal entropy coder would need if frames were independent.
    """

    num_files: int
    num_failed: int
    audio_s: float
    num_frames: int
    num_codebooks: int
    bitrate_kbps: float
    entropy_kbps: float
    shortest_s: float
    median_s: float
    longest_s: float
    checkpoints: tuple[str, ...]
    used_share: tuple[float, ...]
    entropy_bits: tuple[float, ...]
    outliers: tuple[Outlier, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    @property
    def text(self) -> str:
        """For a person."""
        lines = [
            f"{self.audio_s / 3600:.3f} hours in {self.num_files} files ({self.num_failed} failed),"
            f" {self.num_frames:,} frames, {self.num_codebooks} codebooks at {self.bitrate_kbps:.3g} kbit/s",
            f"files of {self.shortest_s:.2f} to {self.longest_s:.2f} s, half of them up to {self.median_s:.2f} s",
            f"made with {', '.join(self.checkpoints)}",
            f"entropy {self.entropy_kbps:.3g} kbit/s",
            "",
            "codebook   used   entropy",
        ]
        lines += [
            f"{number:8}  {used:5.1%}  {bits:5.2f} bits"
            for number, (used, bits) in enumerate(zip(self.used_share, self.entropy_bits, strict=True))
        ]
        lines += ["", f"standing out: {len(self.outliers)}"]
        lines += [f"  {outlier.path}  {outlier.kind}: {outlier.words}" for outlier in self.outliers]
        return "\n".join(lines)


def corpus_stats(
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> CorpusStats:
    """Read all token files under ``folder``, twice: for the figures, then for what is rare among them. Blocking.

    Files with different numbers of codebooks count as far as the smallest goes.

    Args:
        progress: called with (files read, files to be read, both passes).
        cancel: polled at every file.

    Raises:
        MimiGuiError: no token files there, or none that can be read.
        Cancelled: ``cancel`` returned True.
    """
    folder = Path(folder)
    items = find_items(folder, (".npz",))
    records = read_records(folder)
    outliers = [
        Outlier(path, "failed", str(record.get("error", "")), 0.0, str(record.get("source", "")))
        for path, record in records.items()
        if record.get("status") == "failed"
    ]
    counts: np.ndarray | None = None  # int64 [K, cardinality]
    seen: list[tuple[str, Path, float]] = []
    checkpoints: set[str] = set()
    first: Codes | None = None
    for done, item in enumerate(items):
        _step(done, 2 * len(items), progress, cancel)
        place = item.path.relative_to(folder).as_posix()
        try:
            codes = load_codes(item.path)
        except CodesFileError as error:
            outliers.append(Outlier(place, "failed", error.message, 0.0, str(item.path)))
            continue
        first = first or codes
        if codes.info.cardinality != first.info.cardinality:
            raise MimiGuiError(f"{item.path} is of another codec than {items[0].path}: give them folders of their own.")
        added = histogram(codes.array, codes.info.cardinality)
        if counts is None:
            counts = added
        else:
            smallest = min(len(counts), len(added))
            counts = counts[:smallest] + added[:smallest]
        checkpoints.add(codes.info.model_name or "an unknown checkpoint")
        seen.append((place, item.path, codes.duration_s))
        outliers += _loudness(place, codes)
    if counts is None or first is None:
        raise MimiGuiError(f"None of the {len(items)} token files in {folder} can be read.")
    outliers += _rare(seen, counts, len(items), progress, cancel)
    use = use_of(counts)
    durations = np.array([duration for _, _, duration in seen])
    info = first.info
    return CorpusStats(
        num_files=len(seen),
        num_failed=sum(outlier.kind == "failed" for outlier in outliers),
        audio_s=float(durations.sum()),
        num_frames=use.num_frames,
        num_codebooks=len(counts),
        bitrate_kbps=info.bitrate_kbps(len(counts)),
        entropy_kbps=float(use.entropy_corrected_bits.sum()) * info.frame_rate / 1000,
        shortest_s=float(durations.min()),
        median_s=float(np.median(durations)),
        longest_s=float(durations.max()),
        checkpoints=tuple(sorted(checkpoints)),
        used_share=tuple(float(share) for share in use.used_share),
        entropy_bits=tuple(float(bits) for bits in use.entropy_corrected_bits),
        outliers=tuple(outliers),
    )


def _step(
    done: int, total: int, progress: Callable[[int, int], None] | None, cancel: Callable[[], bool] | None
) -> None:
    if cancel is not None and cancel():
        raise Cancelled
    if progress is not None:
        progress(done, total)


def _loudness(place: str, codes: Codes) -> list[Outlier]:
    """Silent or clipped, by the level that the encoder wrote into the file."""
    level = codes.metadata.get("level")
    if not isinstance(level, dict):
        return []
    found: list[Outlier] = []
    rms, full_scale = level.get("rms_dbfs"), level.get("num_full_scale")
    if isinstance(rms, int | float) and rms < SILENT_DBFS:
        found.append(Outlier(place, "silent", f"{rms:.1f} dBFS on average", 0.0, _source(codes)))
    if isinstance(full_scale, int) and full_scale > FULL_SCALE_SHARE * codes.num_samples:
        share = full_scale / codes.num_samples
        found.append(Outlier(place, "clipped", f"{share:.2%} of the samples at full scale", 0.0, _source(codes)))
    return found


def _source(codes: Codes) -> str:
    source = codes.metadata.get("source")
    return str(source.get("name", "")) if isinstance(source, dict) else ""


def _rare(
    seen: list[tuple[str, Path, float]],
    counts: np.ndarray,
    num_items: int,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> list[Outlier]:
    """Files whose codes are far rarer than those of the others, and the two seconds where they are rarest."""
    total = counts.sum(axis=1, keepdims=True)
    surprise = np.log2((total + counts.shape[1]) / (counts + 1.0))  # bits, [K, cardinality]
    rows = np.arange(len(counts))[:, None]
    found: list[tuple[str, float, float, str]] = []
    for done, (place, path, _) in enumerate(seen):
        _step(num_items + done, 2 * num_items, progress, cancel)
        try:
            codes = load_codes(path)
        except CodesFileError:
            continue  # gone since the first pass
        bits = surprise[rows, codes.array[: len(counts)]].mean(axis=0)  # [T]
        window = min(_WINDOW_FRAMES, len(bits))
        smooth = np.convolve(bits, np.ones(window) / window, mode="valid")
        found.append((place, float(bits.mean()), codes.info.frame_to_s(int(smooth.argmax())), _source(codes)))
    _step(2 * num_items, 2 * num_items, progress, cancel)
    if len(found) < _MIN_FILES:
        return []
    means = np.array([mean for _, mean, _, _ in found])
    # Median and spread of the middle half, for the outliers themselves must not move the mark.
    quarter, middle, three = np.percentile(means, [25, 50, 75])
    mark = middle + _RARE_SIGMAS * max((three - quarter) / 1.349, 1e-9)
    return [
        Outlier(place, "rare codes", f"{mean:.2f} bits a code, {middle:.2f} are usual here", at_s, source)
        for place, mean, at_s, source in found
        if mean > mark
    ]
