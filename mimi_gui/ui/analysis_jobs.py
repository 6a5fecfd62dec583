"""Jobs that compare the two sides of a finished comparison, for the analysis thread; and a ladder's decoding.

scipy is imported inside ``run`` only: it takes half a second that the start of the window does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimi_gui.analysis.envelope import Envelope
from mimi_gui.codes import CodecInfo, Codes
from mimi_gui.kept_sound import large_zeros, let_go
from mimi_gui.target import writing
from mimi_gui.ui.codec_jobs import ModelChoice, ensure_codec
from mimi_gui.ui.worker import Desk, Job

if TYPE_CHECKING:
    from mimi_gui.analysis.error_strip import ErrorStrip, Moment
    from mimi_gui.analysis.ladder import Ladder, Rung
    from mimi_gui.analysis.metrics import MetricResult
    from mimi_gui.analysis.spectrogram import SpectrogramSettings
    from mimi_gui.corpus_stats import CorpusStats


_BLOCK_SAMPLES = 1 << 20


@dataclass(frozen=True)
class Errors:
    """Where the reconstruction is off, worst moments first."""

    strip: ErrorStrip
    moments: tuple[Moment, ...]


@dataclass(frozen=True)
class Numbers:
    """The metrics of the whole recording, and of ``span`` in seconds where there is a selection."""

    whole: tuple[MetricResult, ...]
    selection: tuple[MetricResult, ...] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class FindErrors(Job):
    """One error per frame, and the worst moments. Result: :class:`Errors`."""

    a: np.ndarray  # float32 [T]
    b: np.ndarray  # float32 [T]
    info: CodecInfo
    metric: str

    def run(self, desk: Desk) -> Errors:
        from mimi_gui.analysis.error_strip import error_strip, worst_moments

        strip = error_strip(
            self.a, self.b, self.info.sample_rate, self.info.frame_size, self.metric, cancel=desk.is_cancelled
        )
        return Errors(strip, tuple(worst_moments(strip)))


@dataclass(frozen=True)
class Subtract(Job):
    """The outline of reconstruction minus original. Result: Envelope."""

    a: np.ndarray  # float32 [T]
    b: np.ndarray  # float32 [T]
    sample_rate: int

    def run(self, desk: Desk) -> Envelope:
        difference = large_zeros(len(self.a))
        for start in range(0, len(difference), _BLOCK_SAMPLES):
            desk.check_cancelled()
            span = slice(start, start + _BLOCK_SAMPLES)
            np.subtract(self.b[span], self.a[span], out=difference[span])
        envelope = Envelope.from_samples(difference, self.sample_rate)
        let_go(difference, self.a, self.b)
        return envelope


@dataclass(frozen=True)
class MeasureNumbers(Job):
    """Every metric, for the whole and for a selection. Result: :class:`Numbers`."""

    a: np.ndarray  # float32 [T]
    b: np.ndarray  # float32 [T]
    codes: Codes
    span: tuple[float, float] | None = None

    def run(self, desk: Desk) -> Numbers:
        from mimi_gui.analysis.metrics import measure

        rate = self.codes.info.sample_rate
        whole = tuple(measure(self.a, self.b, rate, self.codes, cancel=desk.is_cancelled))
        if self.span is None:
            return Numbers(whole)
        selection = measure(self.a, self.b, rate, self.codes, cancel=desk.is_cancelled, span_s=self.span)
        return Numbers(whole, tuple(selection), self.span)


@dataclass(frozen=True)
class SaveReport(Job):
    """Write the comparison as a page with figures, numbers and both sounds. Result: its Path.

    What was measured already is taken as it is (``numbers``, ``strip``, ``ladder``); the rest is measured now, but for
    the ladder, which takes long.
    """

    path: Path
    title: str
    a: np.ndarray  # float32 [T]
    b: np.ndarray  # float32 [T]
    codes: Codes
    settings: dict[str, object]
    spectrogram: SpectrogramSettings
    numbers: tuple[MetricResult, ...] = ()
    strip: ErrorStrip | None = None
    ladder: Ladder | None = None
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        from mimi_gui.analysis.error_strip import error_strip
        from mimi_gui.analysis.metrics import measure
        from mimi_gui.report import ReportContent, write_report

        desk.report(f"Writing {self.path.name}")
        info = self.codes.info
        numbers = self.numbers or measure(self.a, self.b, info.sample_rate, self.codes, cancel=desk.is_cancelled)
        strip = self.strip
        if strip is None:
            strip = error_strip(self.a, self.b, info.sample_rate, info.frame_size, cancel=desk.is_cancelled)
        content = ReportContent(
            self.title, self.a, self.b, info.sample_rate, numbers, self.settings, self.codes, strip, self.ladder,
            spectrogram=self.spectrogram,
        )  # fmt: skip
        return write_report(self.path, content, overwrite=self.overwrite)


@dataclass(frozen=True)
class DecodeRung(Job):
    """Decode with the first ``num_codebooks``, for the codec thread. Result: float32 [T]."""

    choice: ModelChoice
    codes: Codes
    num_codebooks: int

    def run(self, desk: Desk) -> np.ndarray:
        codec = ensure_codec(desk, self.choice)
        return codec.decode(self.codes, codebooks=self.num_codebooks, cancel=desk.is_cancelled)


@dataclass(frozen=True)
class MeasureRung(Job):
    """Measure one rung of the ladder. Result: Rung."""

    a: np.ndarray  # float32 [T]
    b: np.ndarray  # float32 [T]
    info: CodecInfo
    num_codebooks: int

    def run(self, desk: Desk) -> Rung:
        from mimi_gui.analysis.ladder import DEFAULT_METRICS, Rung
        from mimi_gui.analysis.metrics import measure

        results = measure(self.a, self.b, self.info.sample_rate, which=DEFAULT_METRICS, cancel=desk.is_cancelled)
        return Rung(self.num_codebooks, self.info.bitrate_kbps(self.num_codebooks), tuple(results))


@dataclass(frozen=True)
class MeasureCorpus(Job):
    """Read every token file of a corpus, twice. Result: CorpusStats."""

    folder: Path

    def run(self, desk: Desk) -> CorpusStats:
        from mimi_gui.corpus_stats import corpus_stats

        def progress(done: int, total: int) -> None:
            desk.report("Reading token files", done, total, "files")

        return corpus_stats(self.folder, progress=progress, cancel=desk.is_cancelled)


@dataclass(frozen=True)
class SaveText(Job):
    """Write a table whole or not at all. Result: its Path."""

    path: Path
    text: str
    overwrite: bool = False

    def run(self, desk: Desk) -> Path:
        with writing(self.path, overwrite=self.overwrite) as partial:
            partial.write_text(self.text, encoding="utf-8")
        return self.path
