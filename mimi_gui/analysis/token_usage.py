"""How varied tokens are, seen from afar: how many different ones occur in each bin of frames, at any bin width.

Made for panning and zooming: what is costly is done once for each block of frames, whatever the bins' width.
"""

from __future__ import annotations

import numpy as np

BLOCK_FRAMES = 4096  # bins are powers of two up to this


class TokenUsage:
    """Reads the usage of ``codes``, integer [K, T], which is referred to and may still be filling from the left.

    One thread. Keeps 2 bytes for each code, and one for each bin that was read.
    """

    def __init__(self, codes: np.ndarray) -> None:
        self._codes = codes
        # With the number of frames they were made of: the last block may still grow.
        self._seen: dict[int, tuple[int, np.ndarray]] = {}  # by block: see `last_seen`
        self._usage: dict[tuple[int, int], tuple[int, np.ndarray]] = {}  # by frames per bin and block

    def read(self, per_bin: int, first_bin: int, past_bin: int, num_ready: int) -> np.ndarray:
        """The bins ``[first_bin, past_bin)`` of ``per_bin`` frames, a power of two; the last may be shorter.

        Only the first ``num_ready`` frames count, and these never change again.

        Returns:
            uint8 [K, n]: 1 where one token fills the bin, 255 where all of them differ.
        """
        block_bins = max(BLOCK_FRAMES // per_bin, 1)
        blocks = range(first_bin // block_bins, (past_bin - 1) // block_bins + 1)
        parts = [self._block(per_bin, block, block_bins, num_ready) for block in blocks]
        offset = blocks.start * block_bins
        return np.concatenate(parts, axis=1)[:, first_bin - offset : past_bin - offset]

    def _block(self, per_bin: int, block: int, block_bins: int, num_ready: int) -> np.ndarray:
        begin, end = block * block_bins * per_bin, min((block + 1) * block_bins * per_bin, num_ready)
        made_of, usage = self._usage.get((per_bin, block), (-1, None))
        if usage is None or made_of != end:
            if block_bins * per_bin == BLOCK_FRAMES:
                usage = _usage(self._last_seen(block, begin, end), per_bin)
            else:
                usage = usage_per_bin(self._codes[:, begin:end], per_bin)
            self._usage[per_bin, block] = end, usage
        return usage

    def _last_seen(self, block: int, begin: int, end: int) -> np.ndarray:
        made_of, seen = self._seen.get(block, (-1, None))
        if seen is None or made_of != end:
            seen = last_seen(self._codes[:, begin:end])
            self._seen[block] = end, seen
        return seen


def last_seen(codes: np.ndarray) -> np.ndarray:
    """Where in its row each code, integer [K, T], stood the last time before: int16 [K, T], -1 where nowhere.

    ``T`` is at most :data:`BLOCK_FRAMES`.
    """
    num_rows, num_frames = codes.shape
    codes = codes.astype(np.int16, copy=False)  # sorted by digits, in one pass
    order = np.argsort(codes, axis=1, kind="stable")
    places = order + num_frames * np.arange(num_rows)[:, None]
    ordered = np.take(codes, places)
    before = np.full(codes.shape, -1, np.int16)
    np.copyto(before[:, 1:], order[:, :-1], where=ordered[:, 1:] == ordered[:, :-1], casting="same_kind")
    seen = np.empty(codes.size, np.int16)
    seen[places] = before
    return seen.reshape(codes.shape)


def usage_per_bin(codes: np.ndarray, per_bin: int) -> np.ndarray:
    """Measure how varied the tokens of each bin are.

    Args:
        codes: integer [K, T].
        per_bin: frames per bin; the last bin may be shorter.

    Returns:
        uint8 [K, ceil(T / per_bin)]: 1 where one token fills the bin, 255 where all of them differ.
    """
    starts = range(0, codes.shape[1], per_bin)
    counts = np.zeros((codes.shape[0], len(starts)), np.int64)
    for place, begin in enumerate(starts):
        ordered = np.sort(codes[:, begin : begin + per_bin], axis=1)
        counts[:, place] = 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return _scaled(counts, codes.shape[1], per_bin)


def _usage(seen: np.ndarray, per_bin: int) -> np.ndarray:
    """As :func:`usage_per_bin`, from :func:`last_seen`: a token is a new one if it was last seen before its bin."""
    num_rows, num_frames = seen.shape
    starts = np.arange(num_frames, dtype=np.int16) // per_bin * per_bin
    counts = (seen < starts).view(np.uint8)
    if num_frames % per_bin:
        counts = np.concatenate([counts, np.zeros((num_rows, per_bin - num_frames % per_bin), np.uint8)], axis=1)
    width = 1
    while width < per_bin:  # neighbours by two: an eighth of the time of sums over slices
        width *= 2
        counts = np.add(counts[:, 0::2], counts[:, 1::2], dtype=np.uint8 if width < 256 else np.uint16)
    return _scaled(counts, num_frames, per_bin)


def _scaled(counts: np.ndarray, num_frames: int, per_bin: int) -> np.ndarray:
    """Counts of different tokens [K, n] as shares, uint8 1..255."""
    scaled = np.take(_shares(per_bin), counts)
    if num_frames % per_bin:
        scaled[:, -1] = np.take(_shares(num_frames % per_bin), counts[:, -1])
    return scaled


def _shares(size: int) -> np.ndarray:
    """What each count of different tokens is of so many, uint8 [size + 1]: 1 is one token, 255 all of them."""
    most = max(size - 1, 1)
    return (1 + np.round(254 * np.clip((np.arange(size + 1) - 1) / most, 0, 1))).astype(np.uint8)
