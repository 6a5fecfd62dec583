"""Tokens and checkpoints in the forms that other programs read: ``mimi-gui convert``.

Tokens: our npz, the bare four-key npz, ``.npy`` [K, T], safetensors as candle's mimi example writes it, JSON lines.
Checkpoints: transformers' folder and Kyutai's single file. Nothing is unpickled.
Imported at every start of the command line, so numpy and torch are imported where they are used.
"""

# No ``from __future__ import annotations``: typer evaluates the annotations of the verbs that register() makes.
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mimi_gui.errors import CodesFileError, MimiGuiError, ModelUnavailable, OutputError

if TYPE_CHECKING:
    import numpy as np
    import typer

    from mimi_gui.codes import Codes

TOKEN_SUFFIXES = (".npz", ".npy", ".safetensors", ".jsonl")

_MAX_LINE = 2**30
_METADATA_KEY = "mimi_gui"  # in safetensors' own metadata, which others skip


def read_tokens(path: str | os.PathLike[str]) -> "list[Codes]":
    """Tokens from any of the forms, by suffix: one recording, from JSON lines one per line.

    What a form cannot say (checkpoint, true length) is unknown afterwards, as in a bare npz.

    Raises:
        CodesFileError: not such a file, or not tokens of Mimi.
    """
    from mimi_gui.codes import load_codes

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return [load_codes(path)]
    if suffix not in TOKEN_SUFFIXES:
        raise CodesFileError(f"{path} is no form of tokens that is known: expected {', '.join(TOKEN_SUFFIXES)}.")
    readers = {".npy": _read_npy, ".safetensors": _read_safetensors, ".jsonl": _read_json_lines}
    try:
        return readers[suffix](path)
    except CodesFileError:
        raise
    except FileNotFoundError:
        raise CodesFileError(f"{path} does not exist.") from None
    except OSError as error:
        raise CodesFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError, EOFError) as error:
        raise CodesFileError(f"{path} cannot be read as tokens: {str(error).strip().rstrip('.')}.") from error


def write_tokens(
    path: str | os.PathLike[str], recordings: "Sequence[Codes]", *, bare: bool = False, overwrite: bool = False
) -> Path:
    """Write tokens in the form of the suffix. Returns the path.

    Args:
        recordings: one; for ``.jsonl`` any number.
        bare: an npz with nothing but the four documented keys.

    Raises:
        OutputError: the form holds one recording and more came, or the target cannot be written.
    """
    import numpy as np

    from mimi_gui.codes import save_codes
    from mimi_gui.target import writing

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in TOKEN_SUFFIXES:
        raise OutputError(f"{path} names no form of tokens: choose a suffix of {', '.join(TOKEN_SUFFIXES)}.")
    if suffix == ".jsonl":
        with writing(path, overwrite=overwrite) as partial, partial.open("w", encoding="utf-8") as file:
            for codes in recordings:
                file.write(json.dumps(_as_record(codes), ensure_ascii=False) + "\n")
        return path
    if len(recordings) != 1:
        raise OutputError(f"{path} holds one recording, {len(recordings)} came: name a folder or a .jsonl file.")
    codes = recordings[0]
    if suffix == ".npz" and not bare:
        return save_codes(path, codes, overwrite=overwrite)
    with writing(path, overwrite=overwrite) as partial:
        if suffix == ".npz":
            np.savez_compressed(
                partial,
                audio_codes=codes.array[None],
                sample_rate=codes.info.sample_rate,
                num_codebooks=codes.num_codebooks,
                num_frames=codes.num_frames,
            )
        elif suffix == ".npy":
            np.save(partial, codes.array, allow_pickle=False)
        else:
            from safetensors.numpy import save_file

            record = {key: value for key, value in _as_record(codes).items() if key != "audio_codes"}
            tensors = {"codes": codes.array[None].astype(np.uint32)}  # [1, K, T], as candle has it
            save_file(tensors, partial, metadata={_METADATA_KEY: json.dumps(record, sort_keys=True)})
    return path


def _as_record(codes: "Codes") -> dict[str, Any]:
    """One recording as JSON: the four documented keys, and what else is known."""
    record: dict[str, Any] = {
        "audio_codes": codes.array.tolist(),  # [K, T]
        "sample_rate": codes.info.sample_rate,
        "num_codebooks": codes.num_codebooks,
        "num_frames": codes.num_frames,
        "num_samples": codes.num_samples,
    }
    for key in ("model_name", "revision", "digest"):
        if getattr(codes.info, key):
            record[key] = getattr(codes.info, key)
    if codes.metadata:
        record["metadata"] = dict(codes.metadata)
    return record


def _from_record(array: "np.ndarray", record: Mapping[str, Any]) -> "Codes":
    """``array`` [K, T] with what ``record`` says of it; raises ValueError where they disagree."""
    from mimi_gui.codes import CodecInfo, Codes

    info = CodecInfo()
    if array.ndim != 2 or array.shape[0] > info.num_codebooks or not array.shape[1]:
        raise ValueError(f"codes have the shape {list(array.shape)}, expected [K, T] with K up to {info.num_codebooks}")
    expected = {"sample_rate": info.sample_rate, "num_codebooks": array.shape[0], "num_frames": array.shape[1]}
    for key, value in expected.items():
        if record.get(key, value) != value:
            raise ValueError(f"{key} is {record[key]!r}, expected {value}")
    names = {key: record.get(key, "") for key in ("model_name", "revision", "digest")}
    num_samples, metadata = record.get("num_samples", info.num_samples(array.shape[1])), record.get("metadata", {})
    if not all(isinstance(name, str) for name in names.values()) or not isinstance(metadata, dict):
        raise ValueError("model_name, revision and digest must be strings, metadata an object")
    if type(num_samples) is not int or num_samples < 1:
        raise ValueError(f"num_samples is {num_samples!r}, expected a whole number above 0")
    return Codes(array, num_samples, replace(info, **names), metadata)


def _read_npy(path: Path) -> "list[Codes]":
    import numpy as np

    # Mapped, so that a header that claims terabytes meets the file's size before any memory.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive, expected one array")
    return [_from_record(_rows(np.asarray(array)), {})]


def _read_safetensors(path: Path) -> "list[Codes]":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            if "codes" not in file.keys():  # noqa: SIM118 - it is no dict
                raise ValueError(f"it holds {', '.join(sorted(file.keys())[:3]) or 'nothing'}, expected codes")
            record = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            array = file.get_tensor("codes")
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return [_from_record(_rows(array), record if isinstance(record, dict) else {})]


def _read_json_lines(path: Path) -> "list[Codes]":
    import numpy as np

    recordings: list[Codes] = []
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if not isinstance(record, dict) or "audio_codes" not in record:
                    raise ValueError("expected an object with audio_codes")
                recordings.append(_from_record(_rows(np.array(record["audio_codes"])), record))
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"line {number}: {error}") from error
    if not recordings:
        raise ValueError("it holds no recording")
    return recordings


def _rows(array: "np.ndarray") -> "np.ndarray":
    """``[1, K, T]`` or ``[K, T]`` -> ``[K, T]``; ``[T, K]`` is turned where K would be impossible otherwise."""
    from mimi_gui.codes import CodecInfo

    if array.dtype.kind not in "iu":
        raise ValueError(f"codes are {array.dtype}, expected integers")
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    most = CodecInfo().num_codebooks
    if array.ndim == 2 and array.shape[0] > most >= array.shape[1]:
        array = array.T
    return array


# Checkpoints


def convert_checkpoint(source: str, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Transformers' folder -> Kyutai's single file, or back, by what ``source`` is. Imports torch. Blocking.

    Every weight is checked on the way; the tokens are the same, the digest of the file is another.

    Raises:
        ModelUnavailable: ``source`` is not on this disk, or not a Mimi checkpoint.
        OutputError: the target cannot be written, or is of the other layout by its name.
    """
    from mimi_gui.checkpoints import find_checkpoint
    from mimi_gui.target import check_target, writing
    from mimi_gui.weights import load_model

    checkpoint = find_checkpoint(source)
    if checkpoint is None:
        raise ModelUnavailable(f"{source} is not a checkpoint on this disk: give a folder or a .safetensors file.")
    from transformers.utils import logging

    target = Path(target)
    to_single = checkpoint.layout == "transformers"
    if to_single != (target.suffix == ".safetensors"):
        wanted = "a .safetensors file (Kyutai's layout)" if to_single else "a folder (transformers' layout)"
        raise OutputError(f"{source} has the layout of {checkpoint.layout}, so the target must be {wanted}.")
    if to_single:
        from safetensors.torch import save_file

        check_target(target, overwrite=overwrite)
        model = load_model(checkpoint)
        tensors = {name: tensor.contiguous() for name, tensor in _to_moshi(model).items()}
        with writing(target, overwrite=overwrite) as partial:
            save_file(tensors, partial)
            _check_readable_as(model.config, partial, source)
        return target
    if target.exists():
        raise OutputError(f"{target} exists already; choose another name for the folder.")
    check_target(target)
    model = load_model(checkpoint)
    scratch = Path(tempfile.mkdtemp(prefix=".mimi-gui.", dir=target.parent))
    try:
        logging.disable_progress_bar()
        model.save_pretrained(scratch)
        scratch.chmod(0o755)  # mkdtemp's 0700 would keep it from everybody else
        scratch.rename(target)
    except OSError as error:
        raise OutputError(f"Could not write {target}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


# What Kyutai's file does not say, and every reader of it takes for granted.
_UNSAID = ("num_attention_heads", "num_key_value_heads", "head_dim", "sliding_window", "rope_parameters", "norm_eps")
_UNSAID += ("hidden_act", "pad_mode", "num_residual_layers", "residual_kernel_size", "dilation_growth_rate", "compress")
_UNSAID += (
    "use_conv_shortcut",
    "sampling_rate",
    "upsampling_ratios",
    "kernel_size",
    "last_kernel_size",
    "attention_bias",
)


def _check_readable_as(config: Any, single: Path, source: str) -> None:
    """Raises ModelUnavailable where the single file would be read as another model than it was made from."""
    from mimi_gui.checkpoints import find_checkpoint
    from mimi_gui.weights import load_model

    checkpoint = find_checkpoint(str(single))
    assert checkpoint is not None
    again = load_model(checkpoint).config
    for name in _UNSAID:
        ours, read = getattr(config, name, None), getattr(again, name, None)
        if ours != read:
            raise ModelUnavailable(
                f"{source} has {name} {ours}, and Kyutai's layout, which cannot say so, always means {read}: it has to"
                " stay a folder."
            )


_FLAT_TO_MOSHI = (
    ("encoder_transformer.", "encoder_transformer.transformer."),
    ("decoder_transformer.", "decoder_transformer.transformer."),
    ("quantizer.semantic_residual_vector_quantizer.", "quantizer.rvq_first."),
    ("quantizer.acoustic_residual_vector_quantizer.", "quantizer.rvq_rest."),
    (".codebook.embed_sum", "._codebook.embedding_sum"),
    (".codebook.initialized", "._codebook._initialized"),
    (".codebook.", "._codebook."),
    (".input_layernorm.", ".norm1."),
    (".post_attention_layernorm.", ".norm2."),
    (".mlp.fc1.", ".linear1."),
    (".mlp.fc2.", ".linear2."),
    (".self_attn_layer_scale.", ".layer_scale_1."),
    (".mlp_layer_scale.", ".layer_scale_2."),
    (".self_attn.o_proj.", ".self_attn.out_proj."),
)


def _to_moshi(model: Any) -> dict[str, Any]:
    """A MimiModel's weights under the names of Kyutai's published file, attention fused and interleaved."""
    import torch

    from mimi_gui.weights import flat_name

    turned = {
        flat_name(f"{name}.weight").removesuffix(".weight")
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ConvTranspose1d)
    }
    flat = {flat_name(name): tensor for name, tensor in model.state_dict().items()}
    moshi: dict[str, Any] = {}
    for name, tensor in flat.items():
        if name.endswith((".k_proj.weight", ".v_proj.weight")):
            continue  # with q
        part, _, kind = name.rpartition(".")
        if name.endswith(".q_proj.weight"):
            base = name.removesuffix("q_proj.weight")
            heads = model.config.num_attention_heads
            query, key = (_pairs_from_halves(flat[f"{base}{which}_proj.weight"], heads) for which in "qk")
            tensor = torch.cat((query, key, flat[f"{base}v_proj.weight"]))
            name = f"{base}in_proj_weight"
        elif name.startswith(("encoder.layers.", "decoder.layers.")):
            inner = "convtr.convtr" if part in turned else "conv.conv"
            name = f"{part.removesuffix('.conv').replace('.layers.', '.model.')}.{inner}.{kind}"
        elif name.startswith(("downsample.", "upsample.")):
            inner = "convtr.convtr.convtr" if part in turned else "conv.conv.conv"
            name = f"{part.partition('.')[0]}.{inner}.{kind}"
        elif name.startswith("quantizer."):
            name = name.replace(".layers.", ".vq.layers.")
        for old, new in _FLAT_TO_MOSHI:
            name = name.replace(old, new)
        moshi[name] = tensor
    return moshi


def _pairs_from_halves(weight: Any, num_heads: int) -> Any:
    """transformers rotates row i with row i + D / 2 of a head, moshi neighbouring rows: the inverse of loading."""
    return weight.view(num_heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def register(app: "typer.Typer") -> None:
    """Add ``convert`` to the command line."""
    import typer

    @app.command("convert")
    def convert(
        files: Annotated[
            list[str],
            typer.Argument(metavar="IN... OUT", help="Tokens (.npz .npy .safetensors .jsonl) or a checkpoint."),
        ],
        bare: Annotated[bool, typer.Option("--bare", help="An npz with the four documented keys only.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", "-f", help="Replace a file that is there.")] = False,
    ) -> None:
        """Convert tokens or a checkpoint for other programs.

        OUT's suffix names the form.
        Several IN become one .jsonl; a .jsonl of several recordings becomes a folder of .npz. A transformers
        folder becomes Kyutai's single .safetensors file, and the other way round.
        """
        from mimi_gui.terminal import say

        *sources, target = files
        if not sources:
            raise typer.BadParameter("at least one IN and an OUT are needed")
        if len(sources) == 1 and _is_checkpoint(sources[0]):
            say(f"{convert_checkpoint(sources[0], target, overwrite=overwrite)}: written")
            return
        written = _convert_tokens([Path(source) for source in sources], Path(target), bare, overwrite)
        lost = Path(target).suffix == ".npy" or bare
        note = "; it does not keep the true length and the checkpoint" if lost else ""
        say(f"{target}: {written} recording{'s' if written != 1 else ''}{note}")


def _is_checkpoint(name: str) -> bool:
    from mimi_gui.checkpoints import find_checkpoint, tensor_names

    path = Path(name)
    if path.suffix == ".safetensors" and path.is_file():
        return "codes" not in tensor_names(path)
    return (path.is_dir() or not path.exists()) and not path.suffix and find_checkpoint(name) is not None


def _convert_tokens(sources: list[Path], target: Path, bare: bool, overwrite: bool) -> int:
    if target.suffix.lower() in TOKEN_SUFFIXES:
        recordings = [codes for source in sources for codes in read_tokens(source)]
        write_tokens(target, recordings, bare=bare, overwrite=overwrite)
        return len(recordings)
    if not target.is_dir():
        raise MimiGuiError(
            f"{target} is neither a folder nor a form of tokens: choose a suffix of {', '.join(TOKEN_SUFFIXES)}."
        )
    written = 0
    for source in sources:
        recordings = read_tokens(source)
        for number, codes in enumerate(recordings, 1):
            ending = "" if len(recordings) == 1 else f"-{number:0{len(str(len(recordings)))}}"
            write_tokens(target / f"{source.stem}{ending}.npz", [codes], bare=bare, overwrite=overwrite)
            written += 1
    return written
