"""From a safetensors file to a MimiModel: key layouts, and the proof that every weight arrived.

transformers' own loader ignores unexpected keys of Mimi's halves and fills what is missing at random; this one names
every key that is missing, unknown or of another shape, and refuses. torch is imported by the functions, not here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from mimi_gui.checkpoints import CONFIG_NAME, Checkpoint, codec_info, read_config, tensor_names
from mimi_gui.errors import ModelUnavailable
from mimi_gui.tensor_file import TensorFile

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import MimiConfig, MimiModel

    from mimi_gui.codes import CodecInfo

# transformers' published key layout ("flat") is the meeting point of all others.
_NESTED_TO_FLAT = (
    (re.compile(r"^encoder\.encoder_seanet\."), "encoder."),
    (re.compile(r"^encoder\.encoder_transformer\."), "encoder_transformer."),
    (re.compile(r"^encoder\.downsample\."), "downsample."),
    (re.compile(r"^decoder\.upsample\."), "upsample."),
    (re.compile(r"^decoder\.decoder_transformer\."), "decoder_transformer."),
    (re.compile(r"^decoder\.decoder_seanet\."), "decoder."),
)
_MOSHI_TO_FLAT = (
    (re.compile(r"^(encoder|decoder)\.model\."), r"\1.layers."),
    (re.compile(r"^(encoder|decoder)_transformer\.transformer\."), r"\1_transformer."),
    (re.compile(r"\.(?:conv\.)+(weight|bias)$"), r".conv.\1"),
    (re.compile(r"\.(?:convtr\.)+(weight|bias)$"), r".conv.\1"),
    (re.compile(r"^quantizer\.rvq_first\."), "quantizer.semantic_residual_vector_quantizer."),
    (re.compile(r"^quantizer\.rvq_rest\."), "quantizer.acoustic_residual_vector_quantizer."),
    (re.compile(r"\.vq\.layers\.(\d+)\._codebook\."), r".layers.\1.codebook."),
    (re.compile(r"\.codebook\.embedding_sum$"), ".codebook.embed_sum"),
    (re.compile(r"\.codebook\._initialized$"), ".codebook.initialized"),
    (re.compile(r"\.norm1\."), ".input_layernorm."),
    (re.compile(r"\.norm2\."), ".post_attention_layernorm."),
    (re.compile(r"\.linear1\."), ".mlp.fc1."),
    (re.compile(r"\.linear2\."), ".mlp.fc2."),
    (re.compile(r"\.layer_scale_1\.scale$"), ".self_attn_layer_scale.scale"),
    (re.compile(r"\.layer_scale_2\.scale$"), ".mlp_layer_scale.scale"),
    (re.compile(r"\.self_attn\.(?:out_proj|out_projs\.0)\.weight$"), ".self_attn.o_proj.weight"),
)
_MOSHI_FUSED = re.compile(r"\.self_attn\.(?:in_proj_weight|in_proj\.weight|in_projs\.0\.weight)$")
_MOSHI_HEADS = 8  # not to be seen from the file; the same in every Mimi of Kyutai


# The modules of a model by the first word of their flat names, and the direction that needs them.
PARTS = ("encoder", "encoder_transformer", "downsample", "quantizer", "upsample", "decoder_transformer", "decoder")


def load_model(checkpoint: Checkpoint) -> MimiModel:
    """Load the MimiModel: eval, float32, on the CPU. Every weight is there, or it is refused. Imports torch.

    Raises:
        ModelUnavailable: not a Mimi checkpoint, a key missing, too many or of another shape, a damaged file.
    """
    weights = Weights(checkpoint)
    for part in PARTS:
        weights.fill(part)
    weights.close()
    return weights.model


class Weights:
    """A checkpoint that is proved whole, and its MimiModel that gets the weights part by part, when they are needed.

    Attributes:
        model: eval, float32, on the CPU; a part that is not filled holds no numbers worth reading.
        config: of the model.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Open and check, in little memory. Imports torch.

        Raises ModelUnavailable: not a Mimi checkpoint, a key missing, too many or of another shape, a damaged file.
        """
        import torch
        from transformers import MimiModel

        path = checkpoint.weights_path
        shapes = tensor_names(path)
        self._is_moshi = checkpoint.layout == "moshi"
        self.config = _moshi_config(shapes, checkpoint) if self._is_moshi else _config(checkpoint)
        _check_config(self.config, checkpoint)
        self._file = TensorFile(path)
        with torch.device("meta"):
            skeleton = MimiModel(self.config).state_dict()
            found = self._flat({name: torch.empty(shape) for name, shape in shapes.items()})
        self._wanted = {name: flat_name(name) for name in skeleton}
        _check_keys(
            {self._wanted[name]: list(t.shape) for name, t in skeleton.items()},
            {name: list(t.shape) for name, t in found.items()},
            checkpoint,
        )
        if self._file.first_not_finite() is not None:
            raise ModelUnavailable(f"{checkpoint.label} holds NaN or infinite weights: get the checkpoint again.")
        self.model = _unfilled_model(self.config).requires_grad_(False).eval()

    def fill(self, part: str) -> None:
        """Give one of :data:`PARTS` its weights.

        Raises ModelUnavailable: the file was changed in the meantime.
        """
        names = [name for name in self._file.shapes if _part(flat_name(name)) == part]
        tensors = self._flat({name: self._file.read(name) for name in names})
        state = {name: tensors[flat] for name, flat in self._wanted.items() if _part(flat) == part}
        self.model.load_state_dict(state, strict=False, assign=True)

    def close(self) -> None:
        """No more parts are filled."""
        self._file.close()

    def _flat(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._is_moshi:
            tensors = _from_moshi(tensors, self.config)
        return {flat_name(name): tensor for name, tensor in tensors.items()}


def _part(flat: str) -> str:
    return flat.partition(".")[0]


def checkpoint_info(checkpoint: Checkpoint) -> CodecInfo:
    """What :func:`load_model` would load, from the header and the configuration alone. Imports transformers.

    Raises:
        ModelUnavailable: not a Mimi checkpoint.
    """
    moshi = checkpoint.layout == "moshi"
    config = _moshi_config(tensor_names(checkpoint.weights_path), checkpoint) if moshi else _config(checkpoint)
    _check_config(config, checkpoint)
    return codec_info(checkpoint, config)


def _unfilled_model(config: MimiConfig) -> MimiModel:
    """A MimiModel that spends no two seconds on random weights nobody wants; its constant buffers are right."""
    import torch
    from torch.overrides import TorchFunctionMode
    from transformers import MimiModel

    class NoRandomNumbers(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_"):
                return args[0] if args else (kwargs or {})["tensor"]
            return func(*args, **(kwargs or {}))

    with NoRandomNumbers(), torch.no_grad():
        return MimiModel(config)


def _config(checkpoint: Checkpoint) -> MimiConfig:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import MimiConfig

    fields = read_config(checkpoint.path / CONFIG_NAME)
    try:
        config = MimiConfig.from_dict(fields)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise ModelUnavailable(
            f"{checkpoint.path / CONFIG_NAME} is not a valid Mimi configuration"
            f" ({str(error).strip().splitlines()[-1].strip()}): get the checkpoint again."
        ) from error
    assert isinstance(config, MimiConfig)
    return config


def _check_config(config: MimiConfig, checkpoint: Checkpoint) -> None:
    frame = math.prod(config.upsampling_ratios or []) * config.latent_stride
    expected = [
        ("audio_channels", config.audio_channels == 1, "1"),
        ("use_causal_conv", bool(config.use_causal_conv), "true"),
        ("trim_right_ratio", config.trim_right_ratio == 1.0, "1.0"),
        ("pad_mode", config.pad_mode in ("constant", "replicate"), "constant"),
        ("codebook_size", 1 < config.codebook_size <= 2**15, "at most 32768"),
        ("frame_rate", frame > 0 and config.sampling_rate == frame * config.frame_rate, "one that fits the strides"),
        ("encoder_config", config.encoder_config is not None if hasattr(config, "encoder_config") else True, "one"),
        ("decoder_config", config.decoder_config is not None if hasattr(config, "decoder_config") else True, "one"),
        ("hidden_size", config.hidden_size > 0 and config.head_dim is not None, "a positive number"),
    ]
    for name, good, wish in expected:
        if not good:
            raise ModelUnavailable(
                f"{checkpoint.label} has {name} = {getattr(config, name, None)}, expected {wish}: this program drives"
                " causal mono Mimi models only; choose another checkpoint."
            )


def _moshi_config(shapes: dict[str, list[int]], checkpoint: Checkpoint) -> MimiConfig:
    """Kyutai's file has no configuration: read the sizes off the tensors, the rest is what moshi's loader fixes."""
    from transformers import MimiConfig

    def count(pattern: str) -> int:
        found = [int(m[1]) for name in shapes if (m := re.match(pattern, name))]
        return max(found, default=-1) + 1

    try:
        strided = sorted(
            (int(m[1]), shapes[name][2])
            for name in shapes
            if (m := re.match(r"encoder\.model\.(\d+)\.conv\.conv\.weight$", name))
        )
        hidden = shapes["encoder.model.0.conv.conv.weight"][0]
        table = shapes["quantizer.rvq_first.vq.layers.0._codebook.embedding_sum"]
        width = shapes["downsample.conv.conv.conv.weight"][0]
        semantic = count(r"quantizer\.rvq_first\.vq\.layers\.(\d+)\.")
        return MimiConfig(
            num_filters=hidden,
            hidden_size=width,
            upsample_groups=width,
            kernel_size=strided[0][1],
            last_kernel_size=strided[-1][1],
            upsampling_ratios=[kernel // 2 for _, kernel in reversed(strided[1:-1])],
            num_hidden_layers=count(r"encoder_transformer\.transformer\.layers\.(\d+)\."),
            num_attention_heads=_MOSHI_HEADS,
            num_key_value_heads=_MOSHI_HEADS,
            intermediate_size=shapes["encoder_transformer.transformer.layers.0.linear1.weight"][0],
            codebook_size=table[0],
            codebook_dim=table[1],
            vector_quantization_hidden_dimension=table[1],
            num_semantic_quantizers=semantic,
            num_quantizers=semantic + count(r"quantizer\.rvq_rest\.vq\.layers\.(\d+)\."),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ModelUnavailable(
            f"{checkpoint.path.name} is not a whole Mimi of Kyutai's (it lacks {error}): get the checkpoint again."
        ) from error


def _from_moshi(tensors: dict[str, Tensor], config: MimiConfig) -> dict[str, Tensor]:
    """Rename to the flat layout, and turn the fused, interleaved projections into transformers' three."""
    flat: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        renamed = name
        for pattern, replacement in _MOSHI_TO_FLAT:
            renamed = pattern.sub(replacement, renamed)
        fused = _MOSHI_FUSED.search(renamed)
        if fused is None:
            flat[renamed] = tensor
            continue
        base = renamed[: fused.start()]
        query, key, value = tensor.chunk(3)
        flat[f"{base}.self_attn.q_proj.weight"] = _halves_from_pairs(query, config.num_attention_heads)
        flat[f"{base}.self_attn.k_proj.weight"] = _halves_from_pairs(key, config.num_attention_heads)
        flat[f"{base}.self_attn.v_proj.weight"] = value.contiguous()
    return flat


def _halves_from_pairs(weight: Any, num_heads: int) -> Any:
    """moshi rotates neighbouring rows (0, 1), (2, 3) ...; transformers rotates row i with row i + D / 2."""
    rows, columns = weight.shape
    paired = weight.view(num_heads, rows // num_heads // 2, 2, columns)
    return paired.transpose(1, 2).reshape(rows, columns).contiguous()


def flat_name(name: str) -> str:
    """A weight's name in transformers' published layout, from that of any release's MimiModel."""
    for pattern, replacement in _NESTED_TO_FLAT:
        name, hits = pattern.subn(replacement, name)
        if hits:
            return name
    return name


def _check_keys(wanted: dict[str, list[int]], found: dict[str, list[int]], checkpoint: Checkpoint) -> None:
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    mismatched = [
        f"{name} is {found[name]}, not {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    for what, names in (("lacks", missing), ("has unknown", unknown), ("has misshapen", mismatched)):
        if names:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ModelUnavailable(
                f"{checkpoint.label} {what} weights ({some}): it is damaged or not a Mimi checkpoint; get it again."
            )
