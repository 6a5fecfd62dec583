"""Can tokens be trusted? ``mimi-gui verify`` encodes again and compares, ``mimi-gui diff`` compares two token files.

Where they differ it says where first, by how much per codebook, and which recorded field explains it.
Imported at every start of the command line, so numpy and torch are imported where they are used.
"""

# No ``from __future__ import annotations``: typer evaluates the annotations of the verbs that register() makes.
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mimi_gui.errors import CodesMismatch, MimiGuiError

if TYPE_CHECKING:
    import typer

    from mimi_gui.codec import MimiCodec
    from mimi_gui.codes import Codes

EDITS_KEY = "edits"  # as in surgery.py, which imports numpy
_FEW_FRAMES = 0.002  # rounding ties change this share of the frames at most
_MANY_TOKENS = 0.5  # two codecs that know nothing of each other differ in more


@dataclass(frozen=True)
class Difference:
    """How two encodings of one recording differ; of rows and frames that only one has, only the number counts.

    Attributes:
        num_codebooks, num_frames: that both have.
        num_different: tokens among them.
        num_different_frames: frames with at least one such token.
        first_frame, first_s: where it begins, None where nothing differs.
        share_by_codebook: of the tokens, 0..1, one for each common codebook.
        shapes: the two shapes (K, T).
        reasons: sentences, the most telling first, that name the recorded field.
    """

    num_codebooks: int
    num_frames: int
    num_different: int
    num_different_frames: int
    first_frame: int | None
    first_s: float | None
    share_by_codebook: tuple[float, ...]
    shapes: tuple[tuple[int, int], tuple[int, int]]
    num_samples: tuple[int, int]
    reasons: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of all common tokens, 0..1."""
        return self.num_different / max(1, self.num_codebooks * self.num_frames)

    @property
    def is_equal(self) -> bool:
        """Every token, both shapes and the true length."""
        same_size = self.shapes[0] == self.shapes[1] and self.num_samples[0] == self.num_samples[1]
        return same_size and not self.num_different

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"equal": self.is_equal, "share": self.share, **asdict(self)}

    @property
    def text(self) -> str:
        """For a person."""
        size = f"{self.num_codebooks} codebooks x {self.num_frames} frames"
        if self.is_equal:
            return f"equal: {size}"
        lines = []
        if self.shapes[0] != self.shapes[1]:
            (k_a, t_a), (k_b, t_b) = self.shapes
            lines.append(f"the sizes differ: {k_a} codebooks x {t_a} frames, and {k_b} x {t_b}")
        elif self.num_samples[0] != self.num_samples[1]:
            lines.append(f"the lengths differ: {self.num_samples[0]} samples, and {self.num_samples[1]}")
        if self.num_different:
            total = self.num_codebooks * self.num_frames
            lines.append(
                f"different: {self.num_different:,} of {total:,} tokens ({self.share:.3%}), in"
                f" {self.num_different_frames:,} of {self.num_frames:,} frames, first in frame {self.first_frame}"
                f" ({self.first_s:.2f} s)"
            )
            shares = [f"{k}: {share:.2%}" for k, share in enumerate(self.share_by_codebook) if share]
            lines += [f"  codebook {', '.join(shares[i : i + 8])}" for i in range(0, len(shares), 8)]
        else:
            lines.append(f"no token differs in the {size} that both have")
        lines += [f"why: {reason}" for reason in self.reasons or ("nothing that is recorded explains it.",)]
        return "\n".join(lines)


def compare_codes(a: "Codes", b: "Codes") -> Difference:
    """Compare ``b`` with ``a``. Nothing is encoded."""
    import numpy as np

    num_codebooks = min(a.num_codebooks, b.num_codebooks)
    num_frames = min(a.num_frames, b.num_frames)
    wrong = a.array[:num_codebooks, :num_frames] != b.array[:num_codebooks, :num_frames]  # [K, T]
    frames = np.flatnonzero(wrong.any(axis=0))
    first = int(frames[0]) if len(frames) else None
    # A bare file does not know its length to the sample.
    lengths = (a.num_samples, b.num_samples) if _known(a) and _known(b) else (b.num_samples, b.num_samples)
    found = Difference(
        num_codebooks,
        num_frames,
        int(wrong.sum()),
        len(frames),
        first,
        None if first is None else a.info.frame_to_s(first),
        tuple(float(share) for share in wrong.mean(axis=1)) if num_frames else (),
        ((a.num_codebooks, a.num_frames), (b.num_codebooks, b.num_frames)),
        lengths,
        (),
    )
    return found if found.is_equal else replace(found, reasons=tuple(_reasons(found, a, b)))


def verify_tokens(
    tokens_path: str | os.PathLike[str],
    audio_path: str | os.PathLike[str] | None = None,
    model_name: str | None = None,
    device: str | None = None,
    *,
    codec: "MimiCodec | None" = None,
    progress: Callable[[int, int], None] | None = None,
    load_progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Difference:
    """Encode a token file's recording again and compare. Blocking.

    Args:
        audio_path: None = the recording of the recorded name, beside the tokens.
        model_name: None = the checkpoint that the file names, ``kyutai/mimi`` where it names none.
        device, codec, progress, load_progress, cancel: as in ``decode_tokens``.

    Raises:
        MimiGuiError: the recording is not there.
        CodesFileError, AudioFileError, CodesMismatch, ModelUnavailable, DeviceError, Cancelled: as in
            ``decode_tokens``; another checkpoint is no error but a reason.
    """
    from mimi_gui.audio import load_audio
    from mimi_gui.codes import load_codes
    from mimi_gui.decoder import open_codec_for
    from mimi_gui.encoder import describe_source

    tokens_path = Path(tokens_path)
    codes = load_codes(tokens_path)
    audio = Path(audio_path) if audio_path else _recorded_source(tokens_path, codes)
    channel = _mapping(codes.metadata.get("source")).get("channel")
    channel = channel if isinstance(channel, int) else None
    wave = load_audio(audio, codes.info.sample_rate, channel=channel, cancel=cancel)
    opened = codec or open_codec_for(codes, model_name, device, progress=load_progress, cancel=cancel)
    try:
        if codes.num_codebooks > opened.info.num_codebooks:
            most = opened.info.num_codebooks
            raise CodesMismatch(
                f"{tokens_path} has {codes.num_codebooks} codebooks, {opened.checkpoint.label} only {most}."
            )
        again = opened.encode(wave.samples, num_codebooks=codes.num_codebooks, progress=progress, cancel=cancel)
    finally:
        if codec is None:
            opened.close()
    source = describe_source(wave.source) if wave.source else {}
    return compare_codes(codes, replace(again, metadata={**again.metadata, "source": source}))


def _recorded_source(tokens_path: Path, codes: "Codes") -> Path:
    name = _mapping(codes.metadata.get("source")).get("name")
    if not isinstance(name, str) or not name:
        raise MimiGuiError(f"{tokens_path} does not say which recording it came from: name it as the second file.")
    # Only beside the tokens: a file must not send us about the disk.
    path = tokens_path.parent / Path(name).name
    if not path.is_file():
        raise MimiGuiError(f"{tokens_path} came from {name}, which is not beside it: name it as the second file.")
    return path


def _reasons(found: Difference, a: "Codes", b: "Codes") -> list[str]:
    """What the two records say that may explain the difference, the most telling first."""
    one, two = a.metadata, b.metadata
    certain: list[str] = []
    source_a, source_b = _mapping(one.get("source")), _mapping(two.get("source"))
    if source_a.get("sha256") and source_b.get("sha256") and source_a["sha256"] != source_b["sha256"]:
        certain.append(f"recording: the files differ ({source_a.get('name')}, and {source_b.get('name')}).")
    if a.info.same_checkpoint(b.info) is False:
        digests = f"{a.info.digest[:19]}, and {b.info.digest[:19]}"
        certain.append(f"checkpoint: {a.info.model_name or '?'}, and {b.info.model_name or '?'} ({digests}).")
    if one.get("precision") and two.get("precision") and one["precision"] != two["precision"]:
        certain.append(f"precision: {one['precision']}, and {two['precision']}.")
    for record, name in ((one, "the first"), (two, "the second")):
        told = record.get(EDITS_KEY)
        if isinstance(told, list) and told:
            names = ", ".join(dict.fromkeys(str(_mapping(entry).get("edit", "?")) for entry in told))
            certain.append(f"edits: {name} was changed after it was encoded ({names}).")
    certain += _patterns(found, a, b)
    if certain:
        return certain
    hints = [
        f"{field}: {one[field]}, and {two[field]}."
        for field in ("device", "backend", "kernels")
        if one.get(field) and two.get(field) and one[field] != two[field]
    ]
    versions_a, versions_b = _mapping(one.get("versions")), _mapping(two.get("versions"))
    for name in sorted(versions_a.keys() & versions_b.keys()):
        if versions_a[name] != versions_b[name]:
            hints.append(f"version: {name} {versions_a[name]}, and {versions_b[name]}.")
    if hints and 0 < found.num_different_frames <= max(1, _FEW_FRAMES * found.num_frames):
        return [f"{hint} So few frames are rounding ties, which these decide." for hint in hints]
    if not hints and found.num_different and not (_known(a) and _known(b)):
        unknown = "checkpoint: one of the two does not say which checkpoint made it"
        far = " (so much of a difference is another checkpoint or recording)" if found.share > _MANY_TOKENS else ""
        return [f"{unknown}{far}."]
    return hints


def _patterns(found: Difference, a: "Codes", b: "Codes") -> list[str]:
    """What the places of the differences give away: the padding at the end, the attention window after 10 s."""
    if found.first_frame is None:
        if found.shapes[0] == found.shapes[1]:
            return ["padding: one of the two has another true length, in the same number of frames."]
        what = "codebooks" if found.shapes[0][0] != found.shapes[1][0] else "frames"
        return [f"{what}: one has more of them; what both have is equal."]
    is_last = found.num_different_frames == 1 and found.first_frame == found.num_frames - 1
    partial = {codes.num_samples % codes.info.frame_size != 0 for codes in (a, b)}
    if is_last and True in partial:
        return [
            "padding: only the last, partly filled frame differs; transformers pads every layer, Kyutai and this"
            " program pad the recording."
        ]
    old = {
        name: version
        for codes in (a, b)
        for name, version in _mapping(codes.metadata.get("versions")).items()
        if name == "transformers" and _number(str(version)) < (5, 3)
    }
    window_s = 10.0  # 250 steps at 25 Hz
    late = found.first_s is not None and found.first_s >= window_s - a.info.frame_to_s(1)
    if late and old:
        return [f"window: transformers {old['transformers']} lacks the 10 s attention window of 5.3 and later."]
    if late and found.num_different_frames > max(1, _FEW_FRAMES * found.num_frames):
        return [
            "window: equal for the first 10 s, so another attention window (rustymimi's has 251 steps, moshi's"
            " streaming fewer than 250)."
        ]
    return []


def _known(codes: "Codes") -> bool:
    return bool(codes.info.digest)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (10**6,)


def register(app: "typer.Typer") -> None:
    """Add ``verify`` and ``diff`` to the command line."""
    import typer

    tolerance_help = "Exit 0 as long as no more than this share of the tokens differs, such as 0.0002."

    def answer(found: Difference, as_json: bool, tolerance: float) -> None:
        print(json.dumps(found.as_dict(), indent=2) if as_json else found.text)
        same_size = found.shapes[0] == found.shapes[1] and found.num_samples[0] == found.num_samples[1]
        if not found.is_equal and not (same_size and found.share <= tolerance):
            raise typer.Exit(1)

    @app.command("verify")
    def verify(
        tokens: Annotated[Path, typer.Argument(help="A token file (.npz).")],
        recording: Annotated[
            Path | None, typer.Argument(help="Its recording (default: the recorded name, beside the tokens).")
        ] = None,
        model: Annotated[str | None, typer.Option("--model", help="Default: the one that the tokens name.")] = None,
        device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
        tolerance: Annotated[float, typer.Option("--tolerance", min=0, max=1, help=tolerance_help)] = 0.0,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Encode the recording again and compare.

        Exit code 0 when the tokens are the same, else 1, with where they differ, how much, and why.
        """
        from mimi_gui.codes import load_codes
        from mimi_gui.terminal import Display, prepare_process

        named = load_codes(tokens).info.model_name  # fails before torch takes its seconds to load
        with Display(f"Verifying {tokens.name}", quiet=as_json) as display:
            prepare_process(display, model or named or "the model")
            found = verify_tokens(
                tokens, recording, model, device, progress=display.frames, load_progress=display.download
            )
        answer(found, as_json, tolerance)

    @app.command("diff")
    def diff(
        a: Annotated[Path, typer.Argument(help="A token file (.npz).")],
        b: Annotated[Path, typer.Argument(help="Another one.")],
        tolerance: Annotated[float, typer.Option("--tolerance", min=0, max=1, help=tolerance_help)] = 0.0,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Compare two token files.

        Exit code 0 when they are the same, else 1, with where they differ, how much, and why.
        """
        from mimi_gui.codes import load_codes

        answer(compare_codes(load_codes(a), load_codes(b)), as_json, tolerance)
