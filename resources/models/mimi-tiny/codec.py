"""A small MimiModel made trainable: sane initial scales, a straight-through split RVQ, export at half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from analytic import DIMS, WAVE_DIMS, band_activity, band_envelopes, design, write_decoder
from lift import fold_layers, prepare_layers
from paper_encoder import fit_downsampling, write_encoder, write_logarithms
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import MimiConfig, MimiModel

# The output is scaled to speech at -26 dB by a constant, folded into the last convolution on export. In the weights
# themselves it would make their steps 20 times larger than all others: the level then jumps by 40 % at every step.
OUTPUT_SCALE = 0.05


SILENT_ACTIVITY, SILENT_WEIGHT = 0.05, 0.05  # of a latent that counts half, and what silence itself counts
SEMANTIC_DIMS = 2  # directions of the latent that the first codebook owns, and no other corrects


def small_config() -> MimiConfig:
    """Mimi's token grid (24 kHz, 12.5 Hz, 32 codebooks of 2048, one of them semantic), small elsewhere.

    The ratios put the largest stride beside the waveform: that is where the samples, and so the FLOPs, are.
    """
    return MimiConfig(
        num_filters=16,
        upsampling_ratios=[4, 5, 6, 8],
        hidden_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=512,
        codebook_dim=DIMS,
        vector_quantization_hidden_dimension=DIMS,
        upsample_groups=1,
        layer_scale_initial_scale=0.3,
        initializer_range=0.05,
    )


class TrainableCodec(nn.Module):
    """A MimiModel with its own quantiser in training: straight-through gradients, EMA codebooks, dead-code revival.

    The acoustic quantiser sees the latent itself and not what the semantic one has left, and the decoder gets the
    sum of the two output projections. So the acoustic rows alone carry the autoencoder's bottleneck, and the
    semantic row is a second, coarse view of the same latent in directions of its own.
    """

    def __init__(self, config: MimiConfig) -> None:
        """Build the model with random weights; call ``write_paper_codec`` before training."""
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
    def write_paper_codec(self, speech: Tensor) -> float:
        """Start from the codec of ``analytic``, fitted to ``speech`` ``[B, T]``; the quantiser is still off.

        Returns the share of the latents' energy that the encoder misses.
        """
        samples = speech.double().numpy()
        paper = design(samples[::3])
        wanted = paper.analyse(samples)  # [B, frames, DIMS]
        ranks, floors = write_decoder(self.model, paper, wanted[::10].reshape(-1, DIMS))
        write_encoder(self.model, speech[::4])
        prepare_layers(self.model, ranks, floors)
        self.model.decoder.decoder_seanet.layers[-1].conv.weight.div_(OUTPUT_SCALE)
        block = [layer for layer in self.model.encoder.encoder_seanet.layers if hasattr(layer, "block")][-1]
        write_logarithms(self.model, self._inputs_of(block, speech[::2]), band_envelopes(samples[::2]))
        features = self._inputs_of(self.model.encoder.downsample, speech)
        missed = fit_downsampling(self.model, features, wanted)
        # the semantic row gets the directions in which the envelopes vary most, the acoustic rows all others
        semantic_in, semantic_out, acoustic_in, acoustic_out = self.projections
        envelopes = torch.from_numpy(wanted).float().flatten(0, 1)
        envelopes[:, :WAVE_DIMS] = 0.0
        axes = torch.linalg.eigh(envelopes.T @ envelopes).eigenvectors.flip(1)  # [DIMS, DIMS]
        for projection in self.projections:
            projection.weight.zero_()
        first, rest = axes[:, :SEMANTIC_DIMS], axes[:, SEMANTIC_DIMS:]
        semantic_in.weight[:SEMANTIC_DIMS, :DIMS, 0] = first.T
        semantic_out.weight[:DIMS, :SEMANTIC_DIMS, 0] = first
        acoustic_in.weight[SEMANTIC_DIMS:, :DIMS, 0] = rest.T
        acoustic_out.weight[:DIMS, SEMANTIC_DIMS:, 0] = rest
        return missed

    def _inputs_of(self, module: nn.Module, speech: Tensor) -> Tensor:
        """What enters a module of the encoder when ``speech`` ``[B, T]`` is encoded."""
        found: list[Tensor] = []
        handle = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        for part in speech.split(6):
            self.latents(part)
        handle.remove()
        return torch.cat(found)

    def prepare(self) -> None:
        """Make the model ready for a checkpoint, which brings all weights and lifts."""
        prepare_layers(self.model, [0] * 5)
        self.quantized = True

    def latents(self, samples: Tensor) -> Tensor:
        """Return the encoder's latents ``[B, hidden, frames]`` of ``[B, T]``."""
        return self.model.encoder(samples[:, None]).latents.float()

    def forward(self, samples: Tensor, num_codebooks: Tensor | None = None) -> dict[str, Tensor]:
        """Encode and decode ``[B, T]``.

        ``num_codebooks`` is an int64 ``[B]``: how many rows each example is decoded from. Returns ``output``
        ``[B, T]`` and the loss ``commitment`` (0 without the quantiser).
        """
        semantic_in, semantic_out, acoustic_in, acoustic_out = self.projections
        latents = self.latents(samples)
        weights = segment_weights(latents.detach().permute(0, 2, 1))
        with torch.autocast(samples.device.type, enabled=False):
            acoustic = acoustic_in(latents)
            semantic, commitment = semantic_in(latents), latents.new_zeros(())
            if self.quantized:
                if num_codebooks is None:
                    num_codebooks = torch.full((len(samples),), len(self.codebooks), device=samples.device)
                semantic_q, semantic_error = self._quantize(semantic, weights, 0, 1, num_codebooks)
                acoustic_q, acoustic_error = self._quantize(
                    acoustic, weights, 1, len(self.codebooks), num_codebooks - 1
                )
                summed = semantic_out(semantic_q) + acoustic_out(acoustic_q)
                commitment = semantic_error + acoustic_error
            else:
                summed = semantic_out(semantic) + acoustic_out(acoustic)
        output = self.model.decoder(summed).audio_values[:, 0].float() * OUTPUT_SCALE
        return {"output": output[:, : samples.shape[1]], "commitment": commitment}

    def _quantize(
        self, values: Tensor, weights: Tensor, first: int, last: int, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Residual quantisation of ``[B, D, frames]`` with the levels ``first`` to ``last``.

        ``weights`` ``[B, frames]``: how much each frame counts. Example ``b`` keeps the first ``counts[b]`` levels;
        with none it is zero, as in the decoder. Returns the quantised values with straight-through gradients, and the
        commitment loss.
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
                    self._update(level, residual, indices, weights.flatten())
                chosen = self.codebooks[level][indices]
                residual = residual - chosen
                kept = kept + chosen * (counts_per_vector > level - first)[:, None]
            kept = kept.view(batch, frames, dim)
        alive = (counts > 0).float()[:, None, None]
        # what few codebooks leave out the encoder cannot help: it listens to those examples less
        trust = (counts / (last - first)).clamp(max=1.0).square()[:, None, None]
        straight = kept + (vectors - vectors.detach()) * trust
        alive = alive * weights[..., None]
        error = ((vectors - kept).square() * alive).mean() / (vectors.detach().square().mean() + 1e-6)
        return straight.permute(0, 2, 1), error

    decay = 0.999  # of the codebooks' running means, per step

    def _update(self, level: int, vectors: Tensor, indices: Tensor, weights: Tensor) -> None:
        """Move the running means of ``level`` towards ``vectors`` ``[N, D]``, which drew the codes ``indices``."""
        counts = torch.bincount(indices, weights, minlength=self.usage.shape[1])
        vectors = vectors * weights[:, None]
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
        weights = segment_weights(latents.permute(0, 2, 1)).flatten()
        mean_usage = float(self.usage[0].mean())
        revived = 0
        for first, last, project in ((0, 1, semantic_in), (1, len(self.codebooks), acoustic_in)):
            residual = project(latents).permute(0, 2, 1).reshape(-1, self.codebooks.shape[2])
            for level in range(first, last):
                dead = (self.usage[level] < 0.08 * mean_usage).nonzero()[:, 0]
                if len(dead):
                    drawn = torch.multinomial(weights, len(dead), replacement=True, generator=generator)
                    self._restart(level, dead, residual[drawn], 0.5 * mean_usage)
                    revived += len(dead)
                residual = residual - self.codebooks[level][nearest(residual, self.codebooks[level])]
        return revived

    def _restart(self, level: int, codes: Tensor, vectors: Tensor, usage: float) -> None:
        self.codebooks[level, codes] = vectors
        self.usage[level, codes] = usage
        self.sums[level, codes] = vectors * usage

    @torch.no_grad()
    def fit_codebooks(self, latents: Tensor, vectors_per_step: int, iterations: int, seed: int) -> list[float]:
        """Fit all codebooks by k-means, level by level, on ``latents`` ``[N, hidden]``; switch the quantiser on.

        If it is on already, the codes of today are where k-means starts. The latents are in the order of time. Returns
        the share of the (weighted) energy that is left after each level.
        """
        semantic_in, _, acoustic_in, _ = self.projections
        generator = torch.Generator().manual_seed(seed)
        weights = segment_weights(latents[None])[0]
        left: list[float] = []
        size = self.codebooks.shape[1]
        for first, last, project in ((0, 1, semantic_in), (1, len(self.codebooks), acoustic_in)):
            residual = functional.linear(latents, project.weight[:, :, 0])  # [N, D]
            total = (weights * residual.square().mean(dim=1)).mean()
            for level in range(first, last):
                start = self.codebooks[level] if self.quantized else sample(residual, weights, size, generator)
                centroids, counts = kmeans(residual, weights, start, iterations, generator)
                self.codebooks[level] = centroids
                self.usage[level] = (counts / counts.sum() * vectors_per_step).clamp(min=1e-4)
                self.sums[level] = centroids * self.usage[level][:, None]
                residual = residual - centroids[nearest(residual, centroids)]
                left.append(float((weights * residual.square().mean(dim=1)).mean() / total))
        self.quantized = True
        return left

    @torch.no_grad()
    def fill_model(self) -> None:
        """Make the MimiModel complete: plain weights, and codebooks as sum = code and usage = 1, an exact quotient."""
        last = self.model.decoder.decoder_seanet.layers[-1].conv
        last.weight.mul_(OUTPUT_SCALE)
        last.bias.mul_(OUTPUT_SCALE)
        fold_layers(self.model)
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


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index ``[N]`` of the nearest row of ``codebook`` ``[size, D]`` to each of ``vectors`` ``[N, D]``."""
    half_norms = 0.5 * codebook.square().sum(dim=1)
    chunks = [(chunk @ codebook.T - half_norms).argmax(dim=1) for chunk in vectors.split(8192)]
    return torch.cat(chunks)


def segment_weights(latents: Tensor) -> Tensor:
    """Weights ``[B, frames]``, 1 on average, of latents ``[B, frames, hidden]``.

    They are inverse to the level of the 2 s around: a quiet recording must be quantised as well as a loud one,
    relative to itself. But a third of the training set is silence: it must not take a third of the codes.
    """
    activity = band_activity(latents)
    around = functional.avg_pool1d(activity[:, None], 25, stride=1, padding=12, count_include_pad=False)[:, 0]
    silence = SILENT_ACTIVITY / (activity + SILENT_ACTIVITY)
    weights = (around + 0.2).rsqrt() * (1.0 - (1.0 - SILENT_WEIGHT) * silence)
    return weights / weights.mean()


def sample(vectors: Tensor, weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` rows of ``vectors`` ``[N, D]``, as often as ``weights`` ``[N]`` say."""
    return vectors[torch.multinomial(weights, count, generator=generator)].clone()


def kmeans(
    vectors: Tensor, weights: Tensor, start: Tensor, iterations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Move the centroids ``start`` ``[size, D]`` to the means of ``vectors`` ``[N, D]`` that are nearest to them.

    Returns the centroids and the sum of ``weights`` ``[N]`` of each.
    """
    centroids, size = start.clone(), len(start)
    counts = torch.ones(size)
    weighted = vectors * weights[:, None]
    for _ in range(iterations):
        indices = nearest(vectors, centroids)
        counts = torch.bincount(indices, weights, minlength=size)
        sums = torch.zeros_like(centroids).index_add_(0, indices, weighted)
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1e-6)[:, None], centroids)
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            centroids[empty] = sample(vectors, weights, len(empty), generator)
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
