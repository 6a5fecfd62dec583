"""A small MimiModel made trainable: sane initial scales, a straight-through split RVQ, export at half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm
from transformers import MimiConfig, MimiModel
from transformers.models.mimi.modeling_mimi import MimiConv1d, MimiConvTranspose1d, MimiResnetBlock

# The output is scaled to speech at -26 dB by a constant, folded into the last convolution on export. In the weights
# themselves it would make their steps 20 times larger than all others: the level then jumps by 40 % at every step.
OUTPUT_SCALE = 0.05


def _in_float32_at_stride_8(kind: type[nn.Module]) -> None:
    """Take the convolutions of stride 8 out of autocast.

    oneDNN (torch 2.13, AMX) computes the bfloat16 convolution of 24 to 48 channels, kernel 16, stride 8 wrongly:
    the result has a cosine of 0.07 with that of float32. It is the encoder's first stride and the gradient of the
    decoder's last, so training in bfloat16 walks in a random direction and the level runs away.
    """
    plain = kind.forward

    def forward(self: nn.Module, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        if self.conv.stride[0] != 8 or hidden_states.device.type != "cpu":
            return plain(self, hidden_states, *args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return plain(self, hidden_states.float(), *args, **kwargs)

    kind.forward = forward


for _kind in (MimiConv1d, MimiConvTranspose1d):
    _in_float32_at_stride_8(_kind)


def small_config() -> MimiConfig:
    """Mimi's token grid (24 kHz, 12.5 Hz, 32 codebooks of 2048, one of them semantic), small elsewhere.

    The ratios put the largest stride beside the waveform: that is where the samples, and so the FLOPs, are.
    """
    return MimiConfig(
        num_filters=24,
        upsampling_ratios=[4, 5, 6, 8],
        hidden_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=512,
        codebook_dim=96,
        vector_quantization_hidden_dimension=96,
        upsample_groups=256,
        layer_scale_initial_scale=0.1,
        initializer_range=0.05,
    )


class TrainableCodec(nn.Module):
    """A MimiModel with its own quantiser in training: straight-through gradients, EMA codebooks, dead-code revival.

    The acoustic quantiser sees the latent itself and not what the semantic one has left, and the decoder gets the
    sum of the two output projections. So the acoustic rows alone carry the autoencoder's bottleneck, and the
    semantic row is a second, coarse view of the same latent in directions of its own.
    """

    def __init__(self, config: MimiConfig) -> None:
        """Build the model with random weights; call ``set_scales`` before training."""
        super().__init__()
        self.model = MimiModel(config)
        self.quantized = False
        levels, size, dim = config.num_quantizers, config.codebook_size, config.codebook_dim
        self.register_buffer("codebooks", torch.zeros(levels, size, dim))
        self.register_buffer("usage", torch.ones(levels, size))  # EMA of how often a code is drawn in a step
        self.register_buffer("sums", torch.zeros(levels, size, dim))  # EMA of the vectors that drew it

    @property
    def projections(self) -> tuple[nn.Conv1d, nn.Conv1d, nn.Conv1d, nn.Conv1d]:
        """Semantic input and output, acoustic input and output projection."""
        semantic = self.model.quantizer.semantic_residual_vector_quantizer
        acoustic = self.model.quantizer.acoustic_residual_vector_quantizer
        return semantic.input_proj, semantic.output_proj, acoustic.input_proj, acoustic.output_proj

    @torch.no_grad()
    def set_scales(self, samples: Tensor) -> None:
        """Give every convolution unit variance on ``samples`` ``[B, T]``, in the order in which they run.

        transformers' own initialisation gives an output 170 times louder than speech; a model that starts there
        finds silence first and stays in it.
        """
        for module in self.model.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and module.bias is not None:
                module.bias.zero_()
        branch_ends = {block.block[-1].conv for block in self.model.modules() if isinstance(block, MimiResnetBlock)}

        def rescale(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            gain = (0.5 if module in branch_ends else 1.0) / (output.std() + 1e-8)
            module.weight.mul_(gain)
            return output * gain

        handles = [conv.register_forward_hook(rescale) for conv in self.convolutions()]
        self.forward(samples)
        self.model.quantizer.semantic_residual_vector_quantizer.input_proj(self.latents(samples))
        for handle in handles:
            handle.remove()
        # The scales must not run away: next to latents of 30 the transformers have nothing to say.
        for module in self.convolutions():
            weight_norm(module, dim=1 if isinstance(module, nn.ConvTranspose1d) and module.groups == 1 else 0)

    def convolutions(self) -> list[nn.Module]:
        """List all convolutions: weight-normalised in training, plain on disk."""
        return [m for m in self.model.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]

    def latents(self, samples: Tensor) -> Tensor:
        """Return the encoder's latents ``[B, hidden, frames]`` of ``[B, T]``."""
        return self.model.encoder(samples[:, None]).latents.float()

    def forward(self, samples: Tensor, num_codebooks: Tensor | None = None, noise: float = 0.0) -> dict[str, Tensor]:
        """Encode and decode ``[B, T]``.

        ``num_codebooks`` is an int64 ``[B]``: how many rows each example is decoded from. ``noise`` roughens the
        bottleneck, relative to its RMS, while there is no quantiser yet. Returns ``output`` ``[B, T]`` and the
        losses ``commitment`` (0 without the quantiser) and ``spread``.
        """
        semantic_in, semantic_out, acoustic_in, acoustic_out = self.projections
        latents = self.latents(samples)
        with torch.autocast(samples.device.type, enabled=False):
            acoustic = acoustic_in(latents)
            commitment, spread = latents.new_zeros(()), spread_loss(acoustic)
            if self.quantized:
                semantic = semantic_in(latents)
                if num_codebooks is None:
                    num_codebooks = torch.full((len(samples),), len(self.codebooks), device=samples.device)
                semantic_q, semantic_error = self._quantize(semantic, 0, 1, num_codebooks)
                acoustic_q, acoustic_error = self._quantize(acoustic, 1, len(self.codebooks), num_codebooks - 1)
                summed = semantic_out(semantic_q) + acoustic_out(acoustic_q)
                commitment = semantic_error + acoustic_error
            else:
                if noise:
                    rms = acoustic.detach().square().mean().sqrt()
                    acoustic = acoustic + noise * rms * torch.randn_like(acoustic)
                summed = acoustic_out(acoustic)
        output = self.model.decoder(summed).audio_values[:, 0].float() * OUTPUT_SCALE
        return {"output": output[:, : samples.shape[1]], "commitment": commitment, "spread": spread}

    def _quantize(self, values: Tensor, first: int, last: int, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Residual quantisation of ``[B, D, frames]`` with the levels ``first`` to ``last``.

        Example ``b`` keeps the first ``counts[b]`` of them; with none it is zero, as in the decoder. Returns the
        quantised values with straight-through gradients, and the commitment loss.
        """
        vectors = values.permute(0, 2, 1)  # [B, frames, D]
        batch, frames, dim = vectors.shape
        with torch.no_grad():
            residual = vectors.reshape(-1, dim).clone()
            kept = torch.zeros_like(residual)
            counts_per_vector = counts.repeat_interleave(frames)
            for level in range(first, last):
                indices = nearest(residual, self.codebooks[level])
                if self.training:
                    self._update(level, residual, indices)
                chosen = self.codebooks[level][indices]
                residual = residual - chosen
                kept = kept + chosen * (counts_per_vector > level - first)[:, None]
            kept = kept.view(batch, frames, dim)
        alive = (counts > 0).float()[:, None, None]
        straight = (vectors + (kept - vectors).detach()) * alive
        error = ((vectors - kept).square() * alive).mean() / (vectors.detach().square().mean() + 1e-6)
        return straight.permute(0, 2, 1), error

    decay = 0.99  # of the codebooks' running means, per step

    def _update(self, level: int, vectors: Tensor, indices: Tensor) -> None:
        """Move the running means of ``level`` towards ``vectors`` ``[N, D]``, which drew the codes ``indices``."""
        counts = torch.bincount(indices, minlength=self.usage.shape[1]).float()
        self.usage[level].mul_(self.decay).add_(counts, alpha=1.0 - self.decay)
        self.sums[level].mul_(self.decay).index_add_(0, indices, vectors, alpha=1.0 - self.decay)

    @torch.no_grad()
    def refresh_codebooks(self, samples: Tensor, generator: torch.Generator, revive: bool) -> int:
        """Write the running means into the codebooks; restart codes that fell out of use at latents of ``samples``.

        Returns how many were restarted. Called between steps: the graph of a step must not see its codes change.
        """
        torch.div(self.sums, self.usage.clamp(min=1e-7)[..., None], out=self.codebooks)
        if not revive:
            return 0
        semantic_in, _, acoustic_in, _ = self.projections
        latents = self.latents(samples)
        mean_usage = float(self.usage[0].mean())
        revived = 0
        for first, last, project in ((0, 1, semantic_in), (1, len(self.codebooks), acoustic_in)):
            residual = project(latents).permute(0, 2, 1).reshape(-1, self.codebooks.shape[2])
            for level in range(first, last):
                dead = (self.usage[level] < 0.08 * mean_usage).nonzero()[:, 0]
                if len(dead):
                    drawn = torch.randint(len(residual), (len(dead),), generator=generator).to(residual.device)
                    self._restart(level, dead, residual[drawn], 0.5 * mean_usage)
                    revived += len(dead)
                residual = residual - self.codebooks[level][nearest(residual, self.codebooks[level])]
        return revived

    def _restart(self, level: int, codes: Tensor, vectors: Tensor, usage: float) -> None:
        self.codebooks[level, codes] = vectors
        self.usage[level, codes] = usage
        self.sums[level, codes] = vectors * usage

    @torch.no_grad()
    def balance(self, latents: Tensor, power: float = 0.6) -> list[float]:
        """Rescale the principal axes of the acoustic bottleneck on ``latents`` ``[N, hidden]``; the output stays.

        Left alone, a handful of directions (the level, the pitch) take nearly all of the variance; a quantiser would
        spend its bits on them and on nothing else. ``power`` 1 makes all axes equal, 0 leaves them. Returns the
        shares of the variance, in descending order, as found.
        """
        _, _, acoustic_in, acoustic_out = self.projections
        inner = functional.linear(latents, acoustic_in.weight[:, :, 0])  # [N, D]
        values, axes = torch.linalg.eigh(torch.cov(inner.T))
        values = values.clamp(min=1e-6 * float(values.max()))
        gains = values.pow(-0.5 * power)
        gains = gains / (values * gains.square()).mean().sqrt()  # unit variance on average
        acoustic_in.weight = (gains[:, None] * axes.T @ acoustic_in.weight[:, :, 0])[:, :, None]
        acoustic_out.weight = (acoustic_out.weight[:, :, 0] @ axes / gains)[:, :, None]
        return (values.flip(0) / values.sum()).tolist()

    @torch.no_grad()
    def start_codebooks(self, latents: Tensor, vectors_per_step: int, iterations: int, seed: int) -> list[float]:
        """Fit all codebooks by k-means, level by level, on ``latents`` ``[N, hidden]``; switch the quantiser on.

        Returns the share of the variance that is left after each level.
        """
        semantic_in, semantic_out, acoustic_in, acoustic_out = self.projections
        generator = torch.Generator().manual_seed(seed)
        if not self.quantized:
            # The semantic row looks at the same directions as the acoustic ones, and speaks to the decoder
            # in directions of its own, quietly at first: the decoder does not know them yet.
            semantic_in.weight = acoustic_in.weight.clone()
            semantic_out.weight = (
                0.5
                * acoustic_out.weight.std()
                * torch.randn(semantic_out.weight.shape, generator=generator).to(semantic_out.weight)
            )
        left: list[float] = []
        for first, last, project in ((0, 1, semantic_in), (1, len(self.codebooks), acoustic_in)):
            residual = functional.linear(latents, project.weight[:, :, 0])  # [N, D]
            total = residual.square().mean()
            for level in range(first, last):
                centroids, counts = kmeans(residual, self.codebooks.shape[1], iterations, generator)
                self.codebooks[level] = centroids
                self.usage[level] = (counts / counts.sum() * vectors_per_step).clamp(min=1e-4)
                self.sums[level] = centroids * self.usage[level][:, None]
                residual = residual - centroids[nearest(residual, centroids)]
                left.append(float(residual.square().mean() / total))
        self.quantized = True
        return left

    @torch.no_grad()
    def fill_model(self) -> None:
        """Make the MimiModel complete: plain weights, and codebooks as sum = code and usage = 1, an exact quotient."""
        for module in self.convolutions():
            parametrize.remove_parametrizations(module, "weight")
        last = self.model.decoder.decoder_seanet.layers[-1].conv
        last.weight.mul_(OUTPUT_SCALE)
        last.bias.mul_(OUTPUT_SCALE)
        quantizer = self.model.quantizer
        layers = [
            *quantizer.semantic_residual_vector_quantizer.layers,
            *quantizer.acoustic_residual_vector_quantizer.layers,
        ]
        for layer, codebook in zip(layers, self.codebooks, strict=True):
            layer.codebook.embed_sum.copy_(codebook)
            layer.codebook.cluster_usage.fill_(1.0)
            layer.codebook.initialized.fill_(1.0)
            layer.codebook._embed = None


def spread_loss(values: Tensor) -> Tensor:
    """Penalise the axes of ``[B, D, frames]`` that do not vary or repeat one another: the latent must not starve."""
    vectors = values.permute(0, 2, 1).flatten(0, 1)
    vectors = vectors - vectors.mean(dim=0)
    covariance = vectors.T @ vectors / max(1, len(vectors) - 1)  # [D, D]
    deviations = (covariance.diagonal() + 1e-4).sqrt()
    correlation = covariance / (deviations[:, None] * deviations[None])
    repeated = (correlation.square().sum() - len(correlation)) / len(correlation)
    return functional.relu(0.7 - deviations).mean() + 0.1 * repeated


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index ``[N]`` of the nearest row of ``codebook`` ``[size, D]`` to each of ``vectors`` ``[N, D]``."""
    half_norms = 0.5 * codebook.square().sum(dim=1)
    chunks = [(chunk @ codebook.T - half_norms).argmax(dim=1) for chunk in vectors.split(8192)]
    return torch.cat(chunks)


def kmeans(vectors: Tensor, size: int, iterations: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return ``size`` centroids ``[size, D]`` of ``vectors`` ``[N, D]`` and how many vectors each has, ``[size]``."""
    picked = torch.randperm(len(vectors), generator=generator)[:size]
    centroids = vectors[picked.to(vectors.device)].clone()
    counts = torch.ones(size)
    for _ in range(iterations):
        indices = nearest(vectors, centroids)
        counts = torch.bincount(indices, minlength=size).float()
        sums = torch.zeros_like(centroids).index_add_(0, indices, vectors)
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1.0)[:, None], centroids)
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            drawn = torch.randint(len(vectors), (len(empty),), generator=generator)
            centroids[empty] = vectors[drawn.to(vectors.device)]
    return centroids, counts


def export(model: MimiModel, folder: Path) -> None:
    """Write ``config.json`` and a float16 ``model.safetensors`` that ``from_pretrained`` opens as float32."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)  # in the key layout of kyutai/mimi, at float32
    weights_path = folder / "model.safetensors"
    weights = _read_half(weights_path)
    save_file(weights, weights_path, metadata={"format": "pt"})
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["dtype"] = "float32"  # transformers follows this word, not the type on the disk
    config_path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read_half(path: Path) -> dict[str, Tensor]:
    return {name: value.half().contiguous() for name, value in load_file(path).items()}
