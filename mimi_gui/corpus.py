"""Many files: ``encode_corpus`` and ``decode_corpus``, on one machine or many, resumable, one bad file never stopping
the run.

Who asks keeps the books (the manifest, what is whole already); engines do the work: the calling process, processes
of this machine, or a Ray cluster. A file's tokens do not depend on engine, shard, order, resume point or the other
files: every file is a stream of its own, in the same pieces that ``encode_audio`` takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mimi_gui.audio import check_format
from mimi_gui.codes import Codes, load_codes
from mimi_gui.corpus_items import AUDIO_SUFFIXES, Item, Manifest, find_items
from mimi_gui.corpus_job import JOB_NAME, Job, Outcome, Task
from mimi_gui.corpus_stream import Listed, work_through
from mimi_gui.corpus_tally import Progress, Report, Tally, remove_leftovers
from mimi_gui.corpus_work import work_for
from mimi_gui.decoder import open_codec_for
from mimi_gui.encoder import DEFAULT_MODEL, named
from mimi_gui.errors import CodesFileError, CodesMismatch, MimiGuiError

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

ENGINES = ("local", "ray")

__all__ = ["ENGINES", "Progress", "Report", "decode_corpus", "encode_corpus"]


def encode_corpus(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model_name: str = DEFAULT_MODEL,
    device: str | None = None,
    *,
    num_codebooks: int | None = None,
    channels: str = "mix",
    precision: str = "exact",
    shard: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    overwrite: bool = False,
    engine: str = "local",
    num_workers: int | None = None,
    num_threads: int | None = None,
    num_readers: int = 2,
    address: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Report:
    """Encode all recordings of ``source`` into a mirrored tree of token files. Blocking.

    Args:
        source: a folder, a pattern, a file or a ``.jsonl`` manifest of ``{"path", ...}``.
        target: a folder; made if it is not there. What is whole in it is not done again.
        channels: ``"mix"`` for the mean, ``"split"`` for a token file per channel (``talk.ch0.npz`` ...).
        shard: (i, n): only every n-th file, from the i-th on, 0 <= i < n.
        retry_failed: try again what failed before.
        overwrite: replace what was made with other options.
        engine: ``"local"``, or ``"ray"`` for a cluster, where every machine sees ``source`` and ``target``
            under the same paths and has the checkpoint.
        num_workers: processes with a codec each; None = the calling one (local), or one per GPU, else one per
            ``num_threads`` cores (ray).
        num_threads: of each worker's arithmetic; None = the cores divided by the workers (local), 1 (ray).
        num_readers: threads of each worker that load ahead.
        address: of a Ray cluster that runs; None = ``RAY_ADDRESS``, else one of this machine for this run.
        progress: called after each file, on the calling thread.
        cancel: polled before each file.
        codec: one that is loaded already, for the calling process; it stays open.

    Raises:
        MimiGuiError: nothing to do, or the engine cannot be had.
        CodesMismatch: the target was made with other options, and ``overwrite`` is False.
        OutputError: the target cannot be written, or the disk is full.
        ModelUnavailable, DeviceError: the codec cannot be loaded or has no memory left.
        Cancelled: ``cancel`` returned True. What was done stays and is not done again.
    """
    if channels not in ("mix", "split"):
        raise ValueError(f"channels is {channels!r}, expected mix or split")
    items = _shard(find_items(source, AUDIO_SUFFIXES), shard)
    with ExitStack() as stack:
        alone = _is_alone(engine, num_workers, codec)
        if alone and codec is None:
            from mimi_gui.codec import MimiCodec

            codec = MimiCodec.from_pretrained(
                named(model_name), device, precision=precision, progress=load_progress, cancel=cancel
            )
            stack.callback(codec.close)
        if codec is not None:
            job = Job(Path(target), codec.checkpoint.name, codec.device, codec.info, codec.checkpoint.label, None)
            job = replace(job, precision=codec.precision)
        else:
            job = _job(Path(target), named(model_name), device, load_progress, cancel)
            job = replace(job, precision=precision)
        most = job.info.num_codebooks
        if num_codebooks is not None and not 1 <= num_codebooks <= most:
            raise CodesMismatch(f"{num_codebooks} codebooks were asked for, {job.label} has 1 to {most}.")
        job = replace(job, num_codebooks=num_codebooks or most, channels=channels, overwrite=overwrite)
        run = _engine(job, engine, num_workers, num_threads, num_readers, address, cancel, codec)
        longest_first = not alone or (codec is not None and codec.device != "cpu")
        return _run(job, items, shard, retry_failed, progress, run, longest_first)


def decode_corpus(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model_name: str | None = None,
    device: str | None = None,
    *,
    num_codebooks: int | None = None,
    suffix: str = ".flac",
    subtype: str | None = None,
    shard: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    overwrite: bool = False,
    engine: str = "local",
    num_workers: int | None = None,
    num_threads: int | None = None,
    num_readers: int = 2,
    address: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    codec: MimiCodec | None = None,
) -> Report:
    """Decode all token files of ``source`` into a mirrored tree of recordings; otherwise as :func:`encode_corpus`.

    Args:
        model_name: None = the checkpoint that the first readable file names. Tokens of another one fail.
        num_codebooks: the first so many sound; None for all that each file has.
        suffix, subtype: of the recordings, see ``AudioWriter``.
    """
    check_format(f"x{suffix}", subtype)
    items = _shard(find_items(source, (".npz",)), shard)
    with ExitStack() as stack:
        alone = _is_alone(engine, num_workers, codec)
        if alone and codec is None:
            first = _first_readable(items)
            codec = open_codec_for(first, model_name, device, progress=load_progress, cancel=cancel)
            stack.callback(codec.close)
        if codec is not None:
            job = Job(Path(target), codec.checkpoint.name, codec.device, codec.info, codec.checkpoint.label, None)
        else:
            name = named(model_name) if model_name else _first_readable(items).info.model_name or DEFAULT_MODEL
            job = _job(Path(target), name, device, load_progress, cancel)
        job = replace(job, num_codebooks=num_codebooks, suffix=suffix, subtype=subtype, overwrite=overwrite)
        run = _engine(job, engine, num_workers, num_threads, num_readers, address, cancel, codec)
        longest_first = not alone or (codec is not None and codec.device != "cpu")
        return _run(job, items, shard, retry_failed, progress, run, longest_first)


def _is_alone(engine: str, num_workers: int | None, codec: MimiCodec | None) -> bool:
    """Whether the calling process does the work itself."""
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of {ENGINES}")
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}, expected at least 1")
    alone = engine == "local" and (num_workers or 1) == 1
    if codec is not None and not alone:
        raise ValueError("a codec that is loaded works in this process only: leave out the workers, or the codec")
    return alone


def _job(
    folder: Path,
    model_name: str,
    device: str | None,
    load_progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> Job:
    """The job of workers that load the weights themselves: fetched here once, not read."""
    from mimi_gui.checkpoints import fetch_checkpoint
    from mimi_gui.weights import checkpoint_info

    checkpoint = fetch_checkpoint(model_name, progress=load_progress, cancel=cancel)
    return Job(folder, model_name, device, checkpoint_info(checkpoint), checkpoint.label, None)


def _engine(
    job: Job,
    engine: str,
    num_workers: int | None,
    num_threads: int | None,
    num_readers: int,
    address: str | None,
    cancel: Callable[[], bool] | None,
    codec: MimiCodec | None,
) -> Callable[[Job, Iterator[Task]], Iterator[Outcome]]:
    """What turns tasks into outcomes."""
    if engine == "ray":
        from mimi_gui.corpus_ray import Cluster

        return Cluster(address, num_workers, num_threads, num_readers, cancel).run
    if codec is None:
        from mimi_gui.corpus_workers import Workers

        return Workers(num_workers or 1, num_threads, num_readers, cancel).run

    def here(job: Job, tasks: Iterator[Task]) -> Iterator[Outcome]:
        return work_through(work_for(job, codec, cancel), Listed(tasks), num_readers, cancel)

    return here


def _shard(items: list[Item], shard: tuple[int, int]) -> list[Item]:
    number, count = shard
    if not 0 <= number < count:
        raise MimiGuiError(f"The shard {number}/{count} does not exist: count from 0/{count} to {count - 1}/{count}.")
    return items[number::count]


def _first_readable(items: list[Item]) -> Codes:
    for item in items:
        try:
            return load_codes(item.path)
        except CodesFileError:
            continue  # it will be recorded when its turn comes
    raise MimiGuiError(f"None of the {len(items)} token files can be read, the first is {items[0].path}.")


def _run(
    job: Job,
    items: list[Item],
    shard: tuple[int, int],
    retry_failed: bool,
    progress: Callable[[Progress], None] | None,
    engine: Callable[[Job, Iterator[Task]], Iterator[Outcome]],
    longest_first: bool,
) -> Report:
    begun_before = (job.folder / JOB_NAME).exists()
    job = job.agree()
    if begun_before:
        remove_leftovers(job, items)
    manifest = Manifest(job.folder, shard)
    try:
        tally = Tally(job, items, manifest, progress)
        outcomes = engine(job, tally.tasks(retry_failed, longest_first))
        try:
            for outcome in outcomes:
                tally.add(outcome)
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()  # ends the workers before the books are closed
        return tally.report()
    finally:
        manifest.close()
