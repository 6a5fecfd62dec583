"""``mimi-gui corpus encode | decode | stats | pack``: thin verbs over :mod:`mimi_gui.corpus` and its neighbours.

Imported at every start of the command line, so numpy and torch are imported where they are used.
"""

# No ``from __future__ import annotations``: typer evaluates the annotations of the verbs that register() makes.
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimi_gui.corpus import Progress, Report
    from mimi_gui.terminal import Display

group = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Work on many files; run again, it goes on where it stopped.",
)
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Shard = Annotated[str, typer.Option("--shard", metavar="I/N", help="Every N-th file from the I-th on, 0/N first.")]
NumCodebooks = Annotated[int | None, typer.Option("--num-codebooks", "-k", min=1, help="The first so many.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-f", help="Replace what other options made.")]
Engine = Annotated[str, typer.Option("--engine", help="local, or ray: a cluster; needs the extra [cluster].")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=4096,
        help="Processes: 1 if not said; one per core is fastest on a CPU. Ray: as many as fit.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="Cores of each worker.")]
Address = Annotated[str | None, typer.Option("--address", help="Of a Ray cluster: auto, 10.0.0.1:6379, ray://...")]
Readers = Annotated[int, typer.Option("--readers", min=1, max=64, help="Threads of each worker that read ahead.")]
Mode = Annotated[str, typer.Option("--progress", help="auto, or json: a line per file on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


class _Display:
    """A bar on a terminal, a JSON line per file for machines, else only failures."""

    def __init__(self, title: str, mode: str, quiet: bool, loading: "Display") -> None:
        self.loading = loading  # shown until the first file
        self._json, self._quiet, self._bar, self._task = mode == "json", quiet, None, None
        if mode == "auto" and not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[at]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(title, total=None, at="")

    def step(self, at: "Progress") -> None:
        self._begin()
        record = at.record
        failed = record.get("status") == "failed"
        if self._json:
            facts: dict[str, Any] = {key: getattr(at, key) for key in ("done", "skipped", "failed", "total")}
            facts |= {"audio_s": round(at.audio_s, 3), "elapsed_s": round(at.elapsed_s, 3)}
            facts |= {"worker": at.worker} if at.worker else {}
            facts |= {"audio_hours_per_s": round(at.hours_per_s, 6), "left_s": at.left_s and round(at.left_s, 1)}
            from mimi_gui.corpus_items import json_line

            print(json_line({**facts, "record": dict(record)}), flush=True)
        elif failed:
            self._say(f"mimi-gui: {record.get('error')}")
        if self._bar is not None and self._task is not None:
            left = "" if at.left_s is None else f", {_clock(at.left_s)} left"
            words = f"{at.audio_s / 3600:.2f} h, {at.hours_per_s:.3g} h/s{left}"
            self._bar.update(self._task, total=at.total, completed=at.done + at.skipped + at.failed, at=words)

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def finish(self, report: "Report") -> int:
        """Say how it ended; gives the exit code."""
        if self._bar is not None:
            self._bar.stop()
        if not self._quiet:
            worked = f"; {report.audio_s / 3600:.3f} h of audio in {_clock(report.elapsed_s)}" if report.done else ""
            speed = f" ({report.audio_s / report.elapsed_s:.1f}x real time)" if report.done and report.elapsed_s else ""
            counts = f"{report.done} done, {report.skipped} there before, {report.failed} failed"
            hands = f", {len(report.workers)} workers" if len(report.workers) > 1 else ""
            print(f"{report.manifest}: {counts}{worked}{speed}{hands}", file=sys.stderr)
        return 1 if report.failed else 0

    def _begin(self) -> None:
        if self._bar is not None and not self._bar.live.is_started:
            self.loading.__exit__()
            self._bar.start()

    def __enter__(self) -> "_Display":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _shard(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise typer.BadParameter(f"{text} is no shard: give i/n with i from 0 to n-1, such as 0/8")
    return int(number), int(count)


def _engine(engine: str, workers: int | None, threads: int | None, address: str | None, readers: int) -> dict[str, Any]:
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"--engine is {engine}, expected local or ray")
    if address is not None and engine != "ray":
        raise typer.BadParameter("--address is of a Ray cluster: add --engine ray")
    names = {"engine": engine, "num_workers": workers, "num_threads": threads, "address": address}
    return names | {"num_readers": readers}


def _run(
    title: str,
    model: str,
    threads: int | None,
    mode: str,
    quiet: bool,
    work: "Callable[[_Display], Report]",
) -> int:
    """Load what there is to load, do the work, say how it ended; gives the exit code."""
    from mimi_gui.terminal import Display, prepare_process

    with Display("", quiet=quiet or mode == "json") as loading, _Display(title, mode, quiet, loading) as display:
        prepare_process(loading, model)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        report = work(display)
        return display.finish(report)


def _check_mode(mode: str) -> str:
    if mode not in ("auto", "json"):
        raise typer.BadParameter(f"--progress is {mode}, expected auto or json")
    return mode


@group.command("encode")
def encode(
    source: Annotated[str, typer.Argument(help="A folder, a pattern in quotes, or a .jsonl of {path, ...}.")],
    target: Annotated[Path, typer.Argument(help="A folder for the token files and their manifest.")],
    model: Annotated[
        str, typer.Option("--model", help="A hub id, a folder, a .safetensors file, or mimi-tiny.")
    ] = "kyutai/mimi",
    device: Device = "auto",
    num_codebooks: NumCodebooks = None,
    channels: Annotated[str, typer.Option("--channels", help="mix, or split: a token file per channel.")] = "mix",
    precision: Annotated[
        str, typer.Option("--precision", help="exact, or fast: other tokens here and there, and labelled so.")
    ] = "exact",
    shard: Shard = "0/1",
    retry_failed: Retry = False,
    overwrite: Overwrite = False,
    engine: Engine = "local",
    workers: Workers = None,
    threads: Threads = None,
    address: Address = None,
    readers: Readers = 2,
    mode: Mode = "auto",
    quiet: Quiet = False,
) -> None:
    """Turn many recordings into a tree of token files."""
    from mimi_gui.corpus_items import AUDIO_SUFFIXES, find_items

    if channels not in ("mix", "split"):
        raise typer.BadParameter(f"--channels is {channels}, expected mix or split")
    options: dict[str, Any] = {"shard": _shard(shard), "retry_failed": retry_failed, "overwrite": overwrite}
    options |= _engine(engine, workers, threads, address, readers)
    if precision not in ("exact", "fast"):
        raise typer.BadParameter(f"--precision is {precision}, expected exact or fast")
    options |= {"num_codebooks": num_codebooks, "channels": channels, "precision": precision}
    mode = _check_mode(mode)
    find_items(source, AUDIO_SUFFIXES)  # fails before torch takes its seconds to load

    def work(display: _Display) -> "Report":
        from mimi_gui.corpus import encode_corpus

        more = {"progress": display.step, "load_progress": display.loading.download}
        return encode_corpus(source, target, model, device, **options, **more)

    raise typer.Exit(_run("Encoding", model, threads, mode, quiet, work))


@group.command("decode")
def decode(
    source: Annotated[str, typer.Argument(help="A folder of token files, a pattern in quotes, or a manifest.")],
    target: Annotated[Path, typer.Argument(help="A folder for the recordings and their manifest.")],
    model: Annotated[str | None, typer.Option("--model", help="Default: the one that the tokens name.")] = None,
    device: Device = "auto",
    num_codebooks: NumCodebooks = None,
    suffix: Annotated[str, typer.Option("--format", help="wav, flac, ogg, opus, mp3 ...")] = "flac",
    subtype: Annotated[str | None, typer.Option("--subtype", help="PCM_16, PCM_24 ...")] = None,
    shard: Shard = "0/1",
    retry_failed: Retry = False,
    overwrite: Overwrite = False,
    engine: Engine = "local",
    workers: Workers = None,
    threads: Threads = None,
    address: Address = None,
    readers: Readers = 2,
    mode: Mode = "auto",
    quiet: Quiet = False,
) -> None:
    """Turn many token files into a tree of recordings."""
    from mimi_gui.audio import check_format
    from mimi_gui.corpus_items import find_items

    options: dict[str, Any] = {"shard": _shard(shard), "retry_failed": retry_failed, "overwrite": overwrite}
    options |= _engine(engine, workers, threads, address, readers)
    suffix = f".{suffix.lstrip('.').lower()}"
    options |= {"num_codebooks": num_codebooks, "suffix": suffix, "subtype": subtype}
    mode = _check_mode(mode)
    check_format(f"recording{suffix}", subtype)
    find_items(source, (".npz",))

    def work(display: _Display) -> "Report":
        from mimi_gui.corpus import decode_corpus

        more = {"progress": display.step, "load_progress": display.loading.download}
        return decode_corpus(source, target, model, device, **options, **more)

    raise typer.Exit(_run("Decoding", model or "the model", threads, mode, quiet, work))


@group.command("stats")
def stats(
    folder: Annotated[Path, typer.Argument(help="A folder of token files.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Hours, use and entropy of each codebook, and the files that stand out."""
    from mimi_gui.corpus_stats import corpus_stats

    found = corpus_stats(folder)
    print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if as_json else found.text)


@group.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(help="A folder of token files.")],
    target: Annotated[Path, typer.Argument(help="A folder for part-00000.parquet and so on.")],
    part_mb: Annotated[int, typer.Option("--part-mb", min=1, help="Codes in a part, before compression.")] = 500,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-f", help="Replace parts that are there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Pack token files into Parquet, one row a recording, for `datasets` and the like."""
    from mimi_gui.parquet import pack_tokens

    packed = pack_tokens(folder, target, part_bytes=part_mb * 10**6, overwrite=overwrite)
    for failure in packed.failures:
        print(f"mimi-gui: {failure}", file=sys.stderr)
    if not quiet:
        counts = f"{packed.num_rows} recordings in {len(packed.parts)} parts, {len(packed.failures)} failed"
        print(f"{target}: {counts}", file=sys.stderr)
    raise typer.Exit(1 if packed.failures else 0)


def register(app: typer.Typer) -> None:
    """Add the group ``corpus`` to the command line."""
    app.add_typer(group, name="corpus")
