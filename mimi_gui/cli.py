"""``mimi-gui``: the window without a verb, else one verb. A skin: no verb can do what the Python API cannot.

Exit codes: 0 done, 1 it failed (one sentence on stderr), 2 a wrong command line, 130 Ctrl-C.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mimi_gui import compare, convert, corpus_verbs, verify
from mimi_gui.errors import Cancelled, MimiGuiError, OutputError
from mimi_gui.logs import LEVEL_VARIABLE, file_handler, log_path, wanted_level
from mimi_gui.threads import wait_briefly_then_sleep

app = typer.Typer(
    name="mimi-gui",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would cost a fifth of a second of every start
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See and hear what the Mimi neural audio codec does to your recordings."
    "  `mimi-gui [--demo] [--model NAME] [FILES]` opens the window; the commands below do without it.",
)

DEFAULT_MODEL = "kyutai/mimi"

Model = Annotated[str, typer.Option("--model", help="A hub id, a folder, a .safetensors file, or mimi-tiny.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Streaming = Annotated[bool, typer.Option("--streaming", help="Block by block in constant memory; same result.")]
NumCodebooks = Annotated[
    int | None, typer.Option("--num-codebooks", "-k", min=1, help="The first so many (default: all).")
]
FixSsl = Annotated[bool, typer.Option("--fix-ssl", help="Trust the operating system's certificates.")]
Precision = Annotated[
    str, typer.Option("--precision", help="exact, or fast: some tokens change; how many is measured, told and kept.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-f", help="Replace a file that is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    verbs = {item.name for item in (*app.registered_commands, *app.registered_groups)}
    if not arguments or arguments[0] not in {*verbs, "-h", "--help", "--version"}:
        return _window(arguments, verbs)
    if arguments[0] != "bench":  # which measures its contestants with everybody's defaults
        wait_briefly_then_sleep()
    log_file = _configure_logging()
    signal.signal(signal.SIGTERM, _stop)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid Unicode
    try:
        app(arguments, prog_name="mimi-gui")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return 130
    except Cancelled:
        return 130
    except MimiGuiError as error:
        print(f"mimi-gui: {error.message}", file=sys.stderr)
        return 1
    except Exception as error:
        logging.getLogger(__name__).exception("unexpected")
        if os.environ.get(LEVEL_VARIABLE, "").upper() == "DEBUG":
            raise
        print(f"mimi-gui: stopped by {type(error).__name__}: {error} (details: {log_file})", file=sys.stderr)
        return 1
    return 0


def _window(arguments: list[str], verbs: set[str | None]) -> int:
    """Open the window, which reads its own arguments; but a word that is neither file nor verb is a slip."""
    word = arguments[0] if arguments else "-"
    if not word.startswith("-") and "." not in word and os.sep not in word and not Path(word).exists():
        known = ", ".join(sorted(filter(None, verbs)))
        print(f"mimi-gui: {word} is neither a file nor a command ({known}); see mimi-gui --help", file=sys.stderr)
        return 2
    from mimi_gui.ui.app import main as open_window

    return open_window(arguments)


def _stop(number: int, frame: Any) -> None:
    sys.exit(128 + number)  # unwinds, so that half a file is removed


def _configure_logging() -> Path | None:
    """A rotating file, at the level of MIMI_GUI_LOG; library warnings go there too. Returns its path."""
    path = log_path()
    try:
        handler = file_handler(path)
    except OSError:
        handler, path = logging.NullHandler(), None  # a read-only home stops no work
    logging.basicConfig(
        level=wanted_level(), handlers=[handler], format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    logging.captureWarnings(True)
    return path


def _version(asked: bool) -> None:
    if asked:
        from mimi_gui import __version__

        print(f"mimi-gui {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("encode")
def encode(
    recording: Annotated[Path, typer.Argument(help="wav, flac, ogg, opus, mp3, aiff ...")],
    tokens: Annotated[Path | None, typer.Argument(help="The token file (default: RECORDING with .npz).")] = None,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    streaming: Streaming = False,
    num_codebooks: NumCodebooks = None,
    precision: Precision = "exact",
    overwrite: Overwrite = False,
    fix_ssl: FixSsl = False,
    quiet: Quiet = False,
) -> None:
    """Turn a recording into tokens (.npz)."""
    from mimi_gui.audio import audio_info
    from mimi_gui.encoder import encode_audio
    from mimi_gui.terminal import Display, prepare_process, say

    tokens = tokens or recording.with_suffix(".npz")
    _check_precision(precision)
    _check_target(tokens, overwrite)  # these fail before torch takes its seconds to load
    audio_info(recording)
    with Display(f"Encoding {recording.name}", quiet=quiet) as display:
        prepare_process(display, model, fix_ssl)
        done = encode_audio(
            recording,
            tokens,
            model,
            device,
            streaming,
            num_codebooks,
            precision=precision,
            overwrite=overwrite,
            progress=display.frames,
            load_progress=display.download,
        )
    if not quiet:
        for warning in done.warnings:
            say(f"mimi-gui: {warning}")
        size = f"{done.num_codebooks} codebooks x {done.num_frames} frames"
        say(f"{done.path}: {size}, {done.duration_s:.2f} s at {done.bitrate_kbps:.3g} kbit/s")


@app.command("decode")
def decode(
    tokens: Annotated[Path, typer.Argument(help="A token file (.npz).")],
    recording: Annotated[Path | None, typer.Argument(help="wav, flac, ogg ... (default: TOKENS with .wav).")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="As for encode (default: the one that the tokens name).")
    ] = None,
    device: Device = "auto",
    streaming: Streaming = False,
    num_codebooks: NumCodebooks = None,
    precision: Precision = "exact",
    subtype: Annotated[str | None, typer.Option("--subtype", help="PCM_16, PCM_24, FLOAT ...")] = None,
    overwrite: Overwrite = False,
    force: Annotated[
        bool, typer.Option("--force", help="Decode with another checkpoint than the tokens were made with.")
    ] = False,
    fix_ssl: FixSsl = False,
    quiet: Quiet = False,
) -> None:
    """Turn tokens into a recording."""
    from mimi_gui.audio import check_format
    from mimi_gui.codes import load_codes
    from mimi_gui.decoder import decode_tokens
    from mimi_gui.terminal import Display, prepare_process, say

    recording = recording or tokens.with_suffix(".wav")
    _check_precision(precision)
    _check_target(recording, overwrite)  # these fail before torch takes its seconds to load
    check_format(recording, subtype)
    named = load_codes(tokens).info.model_name
    with Display(f"Decoding {tokens.name}", quiet=quiet) as display:
        prepare_process(display, model or named or DEFAULT_MODEL, fix_ssl)
        done = decode_tokens(
            tokens,
            recording,
            model,
            device,
            streaming,
            num_codebooks,
            precision=precision,
            subtype=subtype,
            overwrite=overwrite,
            allow_mismatch=force,
            progress=display.frames,
            load_progress=display.download,
        )
    if not quiet:
        for warning in done.warnings:
            say(f"mimi-gui: {warning}")
        clipped = f", {done.num_clipped} samples limited to full scale" if done.num_clipped else ""
        kbps = done.info.bitrate_kbps(done.num_codebooks)
        tokens_used = f"{done.num_codebooks} codebooks ({kbps:.3g} kbit/s)"
        say(f"{done.path}: {done.duration_s:.2f} s from {tokens_used}{clipped}")


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(metavar="FILE", help="A recording, tokens or a checkpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a recording, a token file or a checkpoint is."""
    from mimi_gui.info import describe, summary

    facts = describe(name)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else summary(facts))


@app.command("bench")
def bench(
    model: Model = DEFAULT_MODEL,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Length of the clip.")] = 10.0,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Interleaved rounds.")] = 5,
    only: Annotated[list[str] | None, typer.Option("--only", help="A contestant; may be given again.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda.")] = "cpu",
    endurance: Annotated[
        bool, typer.Option("--endurance", help="Also 10,000 single frames, 6 to 10 minutes: does memory grow?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure speed, memory and exactness beside transformers, moshi and rustymimi.

    With the same weights, each in a process of its own, in interleaved rounds; moshi and rustymimi where installed.
    """
    from mimi_gui.bench import CONTESTANTS, print_table, run
    from mimi_gui.terminal import say

    for name in only or ():
        if name not in CONTESTANTS:
            raise typer.BadParameter(f"{name} is not one of {', '.join(CONTESTANTS)}")
    tell = say if sys.stderr.isatty() or endurance else None
    chosen = tuple(only) if only else None
    place = device
    if device != "cpu":
        from mimi_gui.codec import choose_device

        place = choose_device(device)
    result = run(
        model,
        duration_s=seconds,
        repeats=repeats,
        contestants=chosen,
        device=place,
        endurance=endurance,
        progress=tell,
    )
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print_table(result)


def _check_precision(precision: str) -> None:
    if precision not in ("exact", "fast"):
        raise MimiGuiError(f"The precision is {precision}, expected exact or fast.")


def _check_target(path: Path, overwrite: bool) -> None:
    from mimi_gui.target import check_target

    if path.is_file() and not overwrite:
        raise OutputError(f"{path} exists already: choose another name or add --overwrite.")
    check_target(path, overwrite=overwrite)


for module in (compare, verify, convert, corpus_verbs):
    module.register(app)

if __name__ == "__main__":
    sys.exit(main())
