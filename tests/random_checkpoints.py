"""Seeded random checkpoints for tests and benchmarks: real architecture, no download, diverse tokens.

The convolutions keep the variance of what flows through them, and the codebooks are drawn from the encoder's
own residuals on a synthetic recording, so that all levels use many codes and nothing saturates. Speed and exactness
carry over to trained weights; what the sound is like does not.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import MimiConfig, MimiModel
from transformers.utils import logging

SAMPLE_RATE = 24_000
_ELU_GAIN = 1.245  # 1 / sqrt(E[elu(x)^2]) for x ~ N(0, 1)
_INPUT_GAIN = 12.0  # speech at about -22 dB reaches the network with unit variance


def tiny_config(num_heads: int = 2) -> MimiConfig:
    """The grid of Mimi (24 kHz, 1920 samples, 32 x 2048) with almost no weights."""
    return MimiConfig(
        num_filters=4,
        hidden_size=32,
        upsample_groups=32,
        num_hidden_layers=2,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=64,
        codebook_dim=16,
        vector_quantization_hidden_dimension=16,
        layer_scale_initial_scale=0.3,
    )


def synthetic_recording(duration_s: float, seed: int = 0) -> np.ndarray:
    """Something like speech: gliding harmonics and noise under a syllable-rate envelope. float32 [T], 24 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 140.0 + 45.0 * np.sin(2 * np.pi * 0.31 * t + seed) + 20.0 * np.sin(2 * np.pi * 1.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(np.sin(h * phase + rng.uniform(0, 6.28)) / h**1.2 for h in range(1, 25))
    colour = 1.0 + 0.8 * np.sin(2 * np.pi * 2.3 * t + 1.0)
    gate = np.clip(np.sin(2 * np.pi * 3.1 * t + 2.0 * np.sin(2 * np.pi * 0.4 * t)), 0.0, None)
    noise = rng.standard_normal(len(t))
    mix = gate * (0.12 * voice * colour) + 0.05 * noise * (1.2 - gate) + 0.002 * noise
    return (0.6 * mix).astype(np.float32)


@torch.no_grad()
def random_model(config: MimiConfig, seed: int = 0) -> MimiModel:
    """A MimiModel (eval, float32, CPU) with seeded weights that keep variance and use their codebooks."""
    torch.manual_seed(seed)
    model = MimiModel(config).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            _fill_convolution(name, module, generator)
        elif isinstance(module, torch.nn.Linear):
            module.weight.normal_(0.0, 1.0 / math.sqrt(module.in_features), generator=generator)
        elif type(module).__name__ == "MimiLayerScale":
            module.scale.uniform_(0.2, 0.4, generator=generator)
        elif isinstance(module, torch.nn.LayerNorm):
            module.weight.uniform_(0.8, 1.2, generator=generator)
            module.bias.normal_(0.0, 0.05, generator=generator)
    _fit_codebooks(model, generator)
    return model


def _fill_convolution(name: str, conv: torch.nn.Conv1d | torch.nn.ConvTranspose1d, generator) -> None:
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    if isinstance(conv, torch.nn.ConvTranspose1d):
        fan_in = conv.in_channels // conv.groups * kernel // stride
    else:
        fan_in = conv.in_channels // conv.groups * kernel
    gain = _ELU_GAIN
    if conv.in_channels == 1:
        gain = _INPUT_GAIN
    elif conv.out_channels == 1:
        gain = 0.07  # back to the level of a recording
    elif "proj" in name or "sample" in name or conv.bias is None:
        gain = 1.0
    elif ".block.3" in name:
        gain = 0.6  # the residual branch adds to its input
    conv.weight.normal_(0.0, gain / math.sqrt(fan_in), generator=generator)
    if conv.bias is not None:
        conv.bias.normal_(0.0, 0.02 if conv.out_channels > 1 else 0.001, generator=generator)


def _fit_codebooks(model: MimiModel, generator: torch.Generator) -> None:
    recording = torch.from_numpy(synthetic_recording(16.0, seed=7))[None, None]
    latents = model.encoder(recording[..., : 200 * 1920]).latents  # [1, C, T]
    quantizer = model.quantizer
    for rvq in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
        residual = rvq.input_proj(latents) if rvq.input_proj is not None else latents
        residual = residual[0].T.contiguous()  # [T, D]
        reach = 0.2 if residual.shape[1] >= 128 else 0.08
        pool, scale = residual - residual.mean(0), residual.std(0)
        for i, layer in enumerate(rvq.layers):
            book = layer.codebook
            size, num_frames = book.embed_sum.shape[0], len(residual)
            first = torch.randint(num_frames, (size,), generator=generator)
            second = torch.randint(num_frames, (size,), generator=generator)
            spread = (pool[first] - pool[second]) / 2.0 + scale * torch.randn(pool[first].shape, generator=generator)
            # Steps of one length for all levels: the residual settles where they stop helping. Shrinking with it, the
            # deep levels would quantise the rounding errors of the first.
            codes = reach * (0.5 + torch.rand((size, 1), generator=generator)) * spread
            if i == 0:
                codes += residual.mean(0)
            usage = 0.5 + torch.rand((size,), generator=generator)
            book.cluster_usage.copy_(usage)
            book.embed_sum.copy_(codes * usage[:, None])
            book._embed = None
            residual = residual - book.decode(book.quantize(residual))
        for layer in rvq.layers:
            layer.codebook._embed = None


def save_tiny_checkpoint(path: Path) -> Path:
    """Write the tiny random checkpoint in the transformers layout (about 5 MB, well under a second)."""
    logging.disable_progress_bar()
    random_model(tiny_config()).save_pretrained(path)
    return Path(path)


def save_full_checkpoint(path: Path) -> Path:
    """Write a random checkpoint of the real size in the transformers layout (about 400 MB, some seconds)."""
    logging.disable_progress_bar()
    random_model(MimiConfig(layer_scale_initial_scale=0.3)).save_pretrained(path)
    return Path(path)


def save_moshi_layout(model: MimiModel, path: Path, *, numbered: bool = True) -> Path:
    """Write a MimiModel as Kyutai's single file would hold it.

    Args:
        numbered: ``in_projs.0.weight`` and ``out_projs.0.weight`` as moshi 0.2.13 saves them, else
            ``in_proj_weight`` and ``out_proj.weight`` as the published file has them.
    """
    flat = {}
    for name, tensor in model.state_dict().items():
        for new, old in (
            ("encoder.encoder_seanet.", "encoder."),
            ("encoder.encoder_transformer.", "encoder_transformer."),
            ("encoder.downsample.", "downsample."),
            ("decoder.upsample.", "upsample."),
            ("decoder.decoder_transformer.", "decoder_transformer."),
            ("decoder.decoder_seanet.", "decoder."),
        ):
            if name.startswith(new):
                name = old + name.removeprefix(new)
                break
        flat[name] = tensor
    transposed = {f"decoder.layers.{i}" for i in (2, 5, 8, 11)}
    into, out = ("in_projs.0.weight", "out_projs.0.weight") if numbered else ("in_proj_weight", "out_proj.weight")
    renames = {
        "self_attn.o_proj.weight": f"self_attn.{out}",
        "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
        "self_attn_layer_scale": "layer_scale_1",
        "mlp_layer_scale": "layer_scale_2",
    }
    moshi: dict[str, torch.Tensor] = {}
    for name, tensor in flat.items():
        part, kind = name.rsplit(".", 1)
        if name.startswith(("encoder.layers.", "decoder.layers.")):
            layer = part.removesuffix(".conv")
            inner = "convtr.convtr" if layer in transposed else "conv.conv"
            moshi[layer.replace(".layers.", ".model.") + f".{inner}.{kind}"] = tensor
        elif name.startswith("downsample."):
            moshi[f"downsample.conv.conv.conv.{kind}"] = tensor
        elif name.startswith("upsample."):
            moshi[f"upsample.convtr.convtr.convtr.{kind}"] = tensor
        elif name.startswith("quantizer."):
            name = name.replace("semantic_residual_vector_quantizer", "rvq_first")
            name = name.replace("acoustic_residual_vector_quantizer", "rvq_rest")
            name = name.replace(".layers.", ".vq.layers.").replace(".codebook.", "._codebook.")
            name = name.replace("embed_sum", "embedding_sum").replace(".initialized", "._initialized")
            moshi[name] = tensor
        elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            if name.endswith("q_proj.weight"):
                base = name.removesuffix("q_proj.weight")
                heads = model.config.num_attention_heads
                fused = [_pairs_from_halves(flat[f"{base}{p}_proj.weight"], heads) for p in "qk"]
                fused.append(flat[f"{base}v_proj.weight"])
                moshi[base.replace("_transformer.", "_transformer.transformer.") + into] = torch.cat(fused)
        else:
            for old, new in renames.items():
                name = name.replace(old, new)
            moshi[name.replace("_transformer.", "_transformer.transformer.")] = tensor
    save_file({name: tensor.clone().contiguous() for name, tensor in moshi.items()}, path)
    return Path(path)


def _pairs_from_halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Row i and row i + D / 2 of each head become neighbours, as moshi's rotary embedding wants them."""
    heads = weight.view(num_heads, 2, -1, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)
