"""Jobs about tokens: what lies near a code in its codebook, for the codec thread; and reading a second token file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimi_gui.analysis.codebooks import neighbours
from mimi_gui.codes import CodecInfo, Codes, load_codes
from mimi_gui.errors import CodesMismatch
from mimi_gui.ui.codec_jobs import ModelChoice, ensure_codec
from mimi_gui.ui.worker import Desk, Job
from mimi_gui.verify import compare_codes


@dataclass(frozen=True)
class Neighbours:
    """The codes nearest to ``code`` in its codebook: codes int64 [n] and distances float64 [n], nearest first."""

    codebook: int
    code: int
    codes: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class FindNeighbours(Job):
    """Ask the loaded codec for the codewords of one codebook. Result: :class:`Neighbours`.

    Raises:
        CodesMismatch: the tokens are of another checkpoint, whose codewords these are not.
    """

    choice: ModelChoice
    info: CodecInfo
    codebook: int
    code: int
    count: int = 8

    def run(self, desk: Desk) -> Neighbours:
        codec = ensure_codec(desk, self.choice)
        if codec.info.same_checkpoint(self.info) is False or self.codebook >= codec.info.num_codebooks:
            raise CodesMismatch(
                f"Neighbours are told by the model that made the tokens, and {self.choice.title} did not make these:"
                " load the one that did."
            )
        centroids = codec.centroids(self.codebook)  # float32 [cardinality, D]
        return Neighbours(self.codebook, self.code, *neighbours(centroids, self.code, self.count))


@dataclass(frozen=True)
class OtherTokens:
    """Tokens beside those that are open, and what to call them."""

    codes: Codes
    name: str


@dataclass(frozen=True)
class LoadOther(Job):
    """Read a second token file. Result: :class:`OtherTokens`.

    Raises:
        CodesFileError: it is not a token file.
    """

    path: Path

    def run(self, desk: Desk) -> OtherTokens:
        desk.report(f"Reading {self.path.name}")
        return OtherTokens(load_codes(self.path), self.path.name)


@dataclass(frozen=True)
class Explain(Job):
    """What the records of two token files tell about why they differ. Result: a tuple of sentences."""

    codes: Codes
    other: Codes

    def run(self, desk: Desk) -> tuple[str, ...]:
        return compare_codes(self.codes, self.other).reasons
