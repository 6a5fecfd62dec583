"""Two files compared: the window's numbers in a shell (``mimi-gui compare A B``), and ``mimi-gui abx-report``.

Imported at every start of the command line, so whatever is heavy (numpy, scipy, torch) is imported where it is used.
"""

# No ``from __future__ import annotations``: typer evaluates the annotations of the verbs that register() makes.
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mimi_gui.errors import MimiGuiError

if TYPE_CHECKING:
    import numpy as np
    import typer

    from mimi_gui.analysis.alignment import Delay
    from mimi_gui.analysis.metrics import MetricResult
    from mimi_gui.codec import MimiCodec
    from mimi_gui.codes import Codes


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_files` found.

    Attributes:
        sample_rate, num_samples: of both, after resampling and cutting to the shorter.
        delay: how late B is.
        results: the numbers on both as they are.
        aligned: the numbers after shifting B by the delay; None where there is no delay, or none that is sure enough.
        notes: sentences on what was done to make them comparable.
        sounds: reference and reconstruction as they were measured, float32 ``[T]``; ``codes`` between them, if known.
    """

    reference: Path
    reconstruction: Path
    sample_rate: int
    num_samples: int
    delay: "Delay"
    results: "list[MetricResult]"
    aligned: "list[MetricResult] | None"
    notes: tuple[str, ...]
    sounds: "tuple[np.ndarray, np.ndarray]" = field(repr=False, compare=False)
    codes: "Codes | None" = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "reference": str(self.reference),
            "reconstruction": str(self.reconstruction),
            "sample_rate": self.sample_rate,
            "num_samples": self.num_samples,
            "duration_s": self.num_samples / self.sample_rate,
            "delay_samples": self.delay.lag_samples,
            "delay_peak_ratio": min(self.delay.peak_ratio, 1e6),  # infinite where B is A
            "metrics": [result.as_dict() for result in self.results],
            "aligned_metrics": None if self.aligned is None else [result.as_dict() for result in self.aligned],
            "notes": list(self.notes),
        }

    @property
    def text(self) -> str:
        """For a person: what was compared, notes, and the numbers in their groups."""
        from mimi_gui.analysis.number_table import text_table

        seconds = self.num_samples / self.sample_rate
        head = [
            f"reference       {self.reference}",
            f"reconstruction  {self.reconstruction}",
            f"{seconds:.2f} s, mono, {self.sample_rate} Hz",
            *self.notes,
        ]
        return "\n".join([*head, "", text_table(self.results, self.aligned)])


def compare_files(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    which: Iterable[str] | None = None,
    span_s: tuple[float, float] | None = None,
    num_codebooks: int | None = None,
    model_name: str | None = None,
    device: str | None = None,
    codec: "MimiCodec | None" = None,
    progress: Callable[[int, int], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Comparison:
    """Compare recording ``b`` with the reference recording ``a``, both mono at the codec's rate. Blocking.

    Args:
        b: a recording, or a token file (.npz), which is decoded first.
        which: metrics or groups, see ``measure``; None for all.
        span_s: only from .. to, in seconds.
        num_codebooks: of the token file, only the first so many.
        model_name, device, codec: for decoding, see ``decode_tokens``.
        progress, load_progress: (frames done, in all) of decoding, (bytes done, in all) of a download.
        cancel: polled throughout.

    Raises:
        AudioFileError, CodesFileError: a file cannot be read.
        CodesMismatch, ModelUnavailable, DeviceError: the tokens cannot be decoded.
        MimiGuiError: nothing is left to compare.
        Cancelled: ``cancel`` returned True.
    """
    from mimi_gui.analysis.alignment import CORRECTABLE_RATIO, measure_delay
    from mimi_gui.analysis.metrics import measure
    from mimi_gui.audio import load_audio
    from mimi_gui.codes import CodecInfo

    a, b = Path(a), Path(b)
    if a.suffix.lower() == ".npz":
        raise MimiGuiError(f"{a} is a token file; the first of the two must be the recording that they came from.")
    codes: Codes | None = None
    notes: list[str] = []
    if b.suffix.lower() == ".npz":
        codes, other, rate = _decoded(b, num_codebooks, model_name, device, codec, progress, load_progress, cancel)
    else:
        if num_codebooks is not None:
            raise MimiGuiError(f"{b} is a recording: a number of codebooks can be chosen for a token file only.")
        rate = CodecInfo().sample_rate
        other = load_audio(b, rate, cancel=cancel).samples
    source = load_audio(a, rate, cancel=cancel)
    if source.source is not None and source.source.sample_rate != rate:
        notes.append(f"The reference was resampled from {source.source.sample_rate} Hz to {rate} Hz.")
    if len(source.samples) != len(other):
        difference = len(other) - len(source.samples)
        notes.append(
            f"The reconstruction is {abs(difference)} samples {'longer' if difference > 0 else 'shorter'}; the rest was"
            " left out."
        )
    length = min(len(source.samples), len(other))
    reference, reconstruction = source.samples[:length], other[:length]
    if span_s is not None:
        if not 0 <= span_s[0] < span_s[1] or span_s[0] * rate >= length:
            raise MimiGuiError(f"{span_s[0]} to {span_s[1]} s is not a part of {length / rate:.2f} s.")
        span_s = span_s[0], min(span_s[1], length / rate)
        notes.append(f"Only {span_s[0]:g} to {span_s[1]:g} s.")
    delay = measure_delay(reference, reconstruction, rate)
    results = measure(reference, reconstruction, rate, codes, which, cancel, span_s=span_s)
    aligned = None
    if delay.lag_samples:
        sure = delay.is_correctable
        way = f"{abs(delay.lag_samples)} samples {'late' if delay.lag_samples > 0 else 'early'}"
        if sure:
            notes.append(f"The reconstruction is {way}: the numbers are given as they are and aligned.")
        elif delay.peak_ratio >= CORRECTABLE_RATIO:
            notes.append(f"The reconstruction is {way}: too far to be corrected here.")
        else:
            notes.append(f"No clear delay was found (best guess {way}, peak ratio {delay.peak_ratio:.1f}).")
        if sure:
            pair = shifted(reference, reconstruction, delay.lag_samples)
            aligned = measure(*pair, rate, codes, which, cancel, span_s=span_s)
    return Comparison(a, b, rate, length, delay, results, aligned, tuple(notes), (reference, reconstruction), codes)


def write_comparison_report(path: str | os.PathLike[str], found: Comparison, *, overwrite: bool = False) -> Path:
    """Write the comparison as a self-contained HTML page with both sounds.

    Raises:
        OutputError: it cannot be written, or exists already.
    """
    from mimi_gui.analysis.error_strip import error_strip
    from mimi_gui.codes import CodecInfo
    from mimi_gui.report import ReportContent, write_report

    info = CodecInfo() if found.codes is None else found.codes.info
    settings: dict[str, object] = {"reference": str(found.reference), "reconstruction": str(found.reconstruction)}
    if found.codes is not None:
        settings |= {"codebooks": found.codes.num_codebooks, "checkpoint": info.model_name, "digest": info.digest}
        settings |= dict(found.codes.metadata)
    content = ReportContent(
        title=f"{found.reconstruction.name} against {found.reference.name}",
        reference=found.sounds[0],
        reconstruction=found.sounds[1],
        sample_rate=found.sample_rate,
        results=found.results,
        settings=settings,
        codes=found.codes,
        strip=error_strip(*found.sounds, found.sample_rate, info.frame_size),
        names=("reference", "reconstruction"),
        notes=found.notes,
    )
    return write_report(path, content, overwrite=overwrite)


def shifted(reference: "np.ndarray", reconstruction: "np.ndarray", lag_samples: int) -> "tuple[np.ndarray, np.ndarray]":
    """Both ``[T - |lag|]`` after undoing a delay of ``reconstruction`` (negative: it is early)."""
    if lag_samples >= 0:
        return reference[: len(reference) - lag_samples], reconstruction[lag_samples:]
    return reference[-lag_samples:], reconstruction[: len(reconstruction) + lag_samples]


def _decoded(
    path: Path,
    num_codebooks: int | None,
    model_name: str | None,
    device: str | None,
    codec: "MimiCodec | None",
    progress: Callable[[int, int], None] | None,
    load_progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> "tuple[Codes, np.ndarray, int]":
    from mimi_gui.codes import load_codes
    from mimi_gui.decoder import open_codec_for
    from mimi_gui.errors import CodesMismatch

    codes = load_codes(path)
    if num_codebooks is not None:
        if not 1 <= num_codebooks <= codes.num_codebooks:
            raise CodesMismatch(f"{num_codebooks} codebooks were asked for, {path} has 1 to {codes.num_codebooks}.")
        codes = codes.first(num_codebooks)
    opened = None
    try:
        if codec is None:
            codec = opened = open_codec_for(codes, model_name, device, progress=load_progress, cancel=cancel)
        return codes, codec.decode(codes, progress=progress, cancel=cancel), codec.info.sample_rate
    finally:
        if opened is not None:
            opened.close()


def register(app: "typer.Typer") -> None:
    """Add the verbs ``compare`` and ``abx-report``."""
    import typer

    @app.command("compare")
    def compare(
        reference: Annotated[Path, typer.Argument(help="The recording before the codec.")],
        reconstruction: Annotated[Path, typer.Argument(help="The recording after it, or its token file (.npz).")],
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
        only: Annotated[
            list[str] | None, typer.Option("--only", help="A metric or a group: size, tokens, waveform, perceived ...")
        ] = None,
        start: Annotated[float | None, typer.Option("--from", min=0, help="Seconds.")] = None,
        end: Annotated[float | None, typer.Option("--to", min=0, help="Seconds.")] = None,
        num_codebooks: Annotated[int | None, typer.Option("--num-codebooks", "-k", min=1)] = None,
        model: Annotated[str | None, typer.Option("--model", help="Default: the one that the tokens name.")] = None,
        device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
        report: Annotated[
            Path | None, typer.Option("--html", help="Write a page with figures and both sounds.")
        ] = None,
        overwrite: Annotated[bool, typer.Option("--overwrite", "-f", help="Replace a page that is there.")] = False,
    ) -> None:
        """Measure how far a reconstruction is from its recording, in all the window's numbers."""
        from mimi_gui.analysis.metrics import GROUPS, METRICS
        from mimi_gui.target import check_target
        from mimi_gui.terminal import Display, say

        if report is not None:
            check_target(report, overwrite=overwrite)  # before anything costs time
        for key in only or ():
            if key not in METRICS and key not in GROUPS:
                raise typer.BadParameter(f"{key} is not one of {', '.join([*GROUPS, *METRICS])}")
        span = None if start is None and end is None else (start or 0.0, float("inf") if end is None else end)
        with Display(f"Decoding {reconstruction.name}", quiet=as_json) as display:
            found = compare_files(
                reference,
                reconstruction,
                which=only,
                span_s=span,
                num_codebooks=num_codebooks,
                model_name=model,
                device=device,
                progress=display.frames,
                load_progress=display.download,
            )
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if as_json else found.text)
        if report is not None:
            say(f"{write_comparison_report(report, found, overwrite=overwrite)}: opens in a browser, without a network")

    @app.command("abx-report")
    def abx_report(
        logs: Annotated[list[Path], typer.Argument(help="The log of a listening test (.json), or several.")],
        as_json: Annotated[bool, typer.Option("--json", help="For programs: one line per log.")] = False,
    ) -> None:
        """Print the log of a listening test and verify it; exit code 1 when it does not hold.

        Of several logs, a line each, and what the ratings of all listeners come to.
        """
        from mimi_gui.listening_log import load_log, report_lines, summary_lines, verify_log

        found = [(path.name, load_log(path)) for path in logs]
        problems = [verify_log(log) for _, log in found]
        if as_json:
            for (_, log), wrong in zip(found, problems, strict=True):
                print(json.dumps({"verified": not wrong, "problems": wrong, "log": log}, ensure_ascii=False))
        else:
            print("\n".join(report_lines(found[0][1]) if len(found) == 1 else summary_lines(found)))
        if any(problems):
            raise typer.Exit(1)
