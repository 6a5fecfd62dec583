"""What the codes say by themselves: how much of each codebook is used, how two token arrays agree, where a
code occurs.

Codes are integer ``[K, T]``: K codebooks, T frames. Every figure comes with the number of frames it rests on,
since a few seconds can only touch a few per cent of 2048 codes. Pure functions, any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CodebookUse:
    """Use of each codebook over ``num_frames`` frames. Arrays are ``[K]``.

    Attributes:
        used: codes that occur, int64.
        entropy_bits: plug-in entropy; too small when frames are few.
        entropy_corrected_bits: with Miller and Madow's correction, ``+ (used - 1) / (2 N ln 2)``, at most
            log2 of the cardinality.
        perplexity: ``2 ** entropy_bits``, the number of equally likely codes that would be as varied.
    """

    num_frames: int
    cardinality: int
    used: np.ndarray
    entropy_bits: np.ndarray
    entropy_corrected_bits: np.ndarray
    perplexity: np.ndarray

    @property
    def used_share(self) -> np.ndarray:
        """Share of the codebook that occurs, 0 to 1, ``[K]``."""
        return self.used / self.cardinality

    @property
    def unused(self) -> np.ndarray:
        """Codes that never occur ("dead" when the frames are many), int64 ``[K]``."""
        return self.cardinality - self.used


def histogram(codes: np.ndarray, cardinality: int) -> np.ndarray:
    """How often each code occurs: int64 ``[K, cardinality]``. Histograms of several files may be added.

    Raises:
        ValueError: codes are not ``[K, T]`` or out of range.
    """
    codes = _checked(codes)
    if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < cardinality:
        raise ValueError(f"codes run from {codes.min()} to {codes.max()}, expected 0 to {cardinality - 1}")
    return np.stack([np.bincount(row, minlength=cardinality) for row in codes]).astype(np.int64)


def use_of(counts: np.ndarray) -> CodebookUse:
    """Use, entropy and perplexity from a histogram ``[K, cardinality]`` whose rows have equal sums.

    Raises:
        ValueError: no frames at all.
    """
    num_frames = int(counts[0].sum())
    if num_frames == 0:
        raise ValueError("no frames: use and entropy are not defined")
    cardinality = counts.shape[1]
    used = np.count_nonzero(counts, axis=1).astype(np.int64)
    share = counts / num_frames
    entropy = -np.sum(share * np.log2(share, out=np.zeros_like(share), where=share > 0), axis=1) + 0.0
    corrected = np.minimum(entropy + (used - 1) / (2 * num_frames * np.log(2)), np.log2(cardinality))
    return CodebookUse(num_frames, cardinality, used, entropy, corrected, 2.0**entropy)


def codebook_use(codes: np.ndarray, cardinality: int = 2048) -> CodebookUse:
    """:func:`use_of` for one recording, codes integer ``[K, T]``."""
    return use_of(histogram(codes, cardinality))


@dataclass(frozen=True)
class Agreement:
    """Two token arrays, cell by cell, over the codebooks and frames that both have.

    Attributes:
        mask: bool ``[K, T]``, True where they are equal.
        share: float ``[K]``, equal cells per codebook.
        first_difference: int ``[K]``, the first frame that differs, -1 where none does.
        extra_codebooks, extra_frames: how many more the first (positive) or the second (negative) has.
    """

    mask: np.ndarray
    share: np.ndarray
    first_difference: np.ndarray
    extra_codebooks: int
    extra_frames: int

    @property
    def is_equal(self) -> bool:
        """Same shape and same codes."""
        return self.extra_codebooks == 0 and self.extra_frames == 0 and bool(self.mask.all())

    @property
    def first_differing_frame(self) -> int:
        """The earliest frame at which any codebook differs, -1 when none does."""
        seen = self.first_difference[self.first_difference >= 0]
        return int(seen.min()) if len(seen) else -1


def agreement(a: np.ndarray, b: np.ndarray) -> Agreement:
    """Compare two token arrays ``[K, T]``, which may differ in codebooks and frames.

    Raises:
        ValueError: not ``[K, T]``, or nothing in common.
    """
    a, b = _checked(a), _checked(b)
    num_codebooks, num_frames = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    if not num_codebooks or not num_frames:
        raise ValueError(f"token arrays {list(a.shape)} and {list(b.shape)} have no frame in common")
    mask = a[:num_codebooks, :num_frames] == b[:num_codebooks, :num_frames]
    first = np.where(mask.all(axis=1), -1, np.argmin(mask, axis=1))
    return Agreement(mask, mask.mean(axis=1), first, a.shape[0] - b.shape[0], a.shape[1] - b.shape[1])


def occurrences(codes: np.ndarray, codebook: int, code: int) -> np.ndarray:
    """Frames at which ``codebook`` says ``code``, int64 ``[n]`` in order; its share is ``n / T``."""
    return np.flatnonzero(_checked(codes)[codebook] == code)


@dataclass(frozen=True)
class CodeFacts:
    """One code of one codebook, over ``num_frames`` frames.

    Attributes:
        count: frames that have it.
        rank: 1 for the commonest code of the codebook, equal counts share a rank; None where it never occurs.
        num_used: different codes of the codebook that occur.
    """

    codebook: int
    code: int
    count: int
    num_frames: int
    rank: int | None
    num_used: int

    @property
    def share(self) -> float:
        """Of all frames, 0 to 1."""
        return self.count / self.num_frames if self.num_frames else 0.0


def code_facts(codes: np.ndarray, codebook: int, code: int) -> CodeFacts:
    """How common ``code`` is in row ``codebook`` of ``codes``, integer ``[K, T]``."""
    row = _checked(codes)[codebook]
    counts = np.bincount(row, minlength=code + 1)
    count = int(counts[code])
    rank = 1 + int(np.count_nonzero(counts > count)) if count else None
    return CodeFacts(codebook, code, count, len(row), rank, int(np.count_nonzero(counts)))


def runs(frames: np.ndarray) -> list[tuple[int, int]]:
    """Join sorted frames into spans ``[(first, past the last), ...]``, so that neighbours play as one."""
    if len(frames) == 0:
        return []
    cuts = np.flatnonzero(np.diff(frames) > 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(frames, cuts)]


def neighbours(centroids: np.ndarray, code: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The codes nearest to ``code`` by Euclidean distance of centroids ``[cardinality, D]``, without itself.

    Returns:
        codes int64 ``[n]`` and distances float64 ``[n]``, nearest first; equal distances by code.
    """
    points = np.asarray(centroids, dtype=np.float64)
    distances = np.sqrt(((points - points[code]) ** 2).sum(axis=1))
    distances[code] = np.inf
    order = np.argsort(distances, kind="stable")[: min(count, len(points) - 1)]
    return order, distances[order]


def mutual_information(codes: np.ndarray, first: int, second: int, lag_frames: int = 0) -> float:
    """Bits that codebook ``first`` tells about ``second`` ``lag_frames`` later (Miller-Madow corrected, at
    least 0).

    With ``first == second`` and ``lag_frames=1`` it is what a frame tells about the next. Needs many more
    frames than codes; on short files the correction removes most of the bias, not all.

    Raises:
        ValueError: fewer than two frames to compare.
    """
    codes = _checked(codes)
    a = codes[first, : codes.shape[1] - lag_frames].astype(np.int64)
    b = codes[second, lag_frames:].astype(np.int64)
    if len(a) < 2:
        raise ValueError("mutual information needs at least two frames")

    def entropy(values: np.ndarray) -> float:
        counts = np.unique(values, return_counts=True)[1]
        share = counts / len(values)
        return float(-(share * np.log2(share)).sum() + (len(counts) - 1) / (2 * len(values) * np.log(2)))

    joint = a * (int(b.max()) + 1) + b
    return max(0.0, entropy(a) + entropy(b) - entropy(joint))


def repeat_share(codes: np.ndarray) -> np.ndarray:
    """Share of frames whose code is that of the frame before, float ``[K]`` (zeros for a single frame)."""
    codes = _checked(codes)
    if codes.shape[1] < 2:
        return np.zeros(codes.shape[0])
    return (codes[:, 1:] == codes[:, :-1]).mean(axis=1)


def _checked(codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.ndim != 2 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes are {codes.dtype} {list(codes.shape)}, expected integers [K, T]")
    return codes
