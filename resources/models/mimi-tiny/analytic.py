"""A codec on paper, and how to write it into the weights of a MimiModel: where training starts.

Two hours of two cores teach a network of random weights next to nothing. So step 0 is a codec already, half waveform
coder and half vocoder: of every frame of 80 ms the latent holds

- the waveform below 424 Hz, as its 52 principal coefficients (DCT, every one-third octave weighted alike);
- the logarithms of the envelopes of the ten one-third octave bands from 424 Hz to 4.3 kHz, 4 cosine coefficients each;
- those of 4.3 to 6 kHz and 6 to 8.5 kHz, 2 coefficients each.

The decoder adds the cosines below, and above them every envelope on a carrier, the harmonics of 100 Hz within its band.
SEANet has an ELU before every convolution, which is the identity where its argument is positive: channels that carry a
linear signal stand on an offset of ``LIFT``. Envelopes need the ELU itself, three times. A band filter in three phases,
scaled up, is rectified, and the three add up to the magnitude. Below zero an ELU is an exponential, and a few of those
with different rates add up to a logarithm. In the decoder one exponential undoes it. Residual blocks, but for the one
of the logarithms, and transformer layers begin as the identity. The encoder is in ``paper_encoder.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct, idct
from torch import Tensor, nn
from transformers import MimiModel

SAMPLE_RATE_HZ = 24_000
FRAME = 1920  # samples
FRAME_RATE_HZ = SAMPLE_RATE_HZ / FRAME
LIFT = 4.0  # the offset on which linear signals pass an ELU
PEAK = 0.8 * LIFT  # what all but one in 2000 of their values stay below
SHARPNESS = 400.0  # of a rectified band: all but one in 100 of its values stay below
THIRD_OCTAVES_HZ = 150.0 * 2.0 ** (np.arange(-3, 15) / 3.0)
EDGES_HZ = np.append(THIRD_OCTAVES_HZ * 2.0 ** (-1 / 6), THIRD_OCTAVES_HZ[-1] * 2.0 ** (1 / 6))
FIRST_BAND = 8  # the first third octave that is coded by its envelope: 424 to 535 Hz
# (lowest and highest frequency, cosine coefficients a frame, weight)
BANDS = [(float(EDGES_HZ[i]), float(EDGES_HZ[i + 1]), 4, 1.0) for i in range(FIRST_BAND, len(THIRD_OCTAVES_HZ))]
BANDS += [(float(EDGES_HZ[-1]), 6000.0, 2, 0.6), (6000.0, 8500.0, 2, 0.5)]
WAVE_DIMS = 52
ENVELOPE_DIMS = sum(band[2] for band in BANDS)
DIMS = WAVE_DIMS + ENVELOPE_DIMS
NUM_COEFFICIENTS = int(BANDS[0][0] / (FRAME_RATE_HZ / 2))  # DCT coefficients of the low band
FLOOR = 2 * PEAK / SHARPNESS  # keeps magnitudes positive: an ELU is never below -1
QUIET = 2e-3  # is added to an envelope before the logarithm: what is 54 dB below full scale does not matter
ENVELOPE_SCALE = 0.2  # of a logarithm's coefficients in the latent, beside those of the waveform
POINTS = 24  # samples of an envelope in a frame
WINDOW = 614  # samples, of the spectra that envelopes are read from, as in STOI
Array = NDArray[np.float64]


@dataclass(frozen=True)
class PaperCodec:
    """What the 96 numbers of a frame are, and how they become sound."""

    principal: Array  # [NUM_COEFFICIENTS, WAVE_DIMS], with the weights of the coefficients
    synthesis: Array  # [WAVE_DIMS, FRAME]
    means: Array  # [bands], of the logarithms: the latent holds what is different
    tops: Array  # [bands], hardly ever exceeded by the envelopes

    def analyse(self, samples: Array) -> Array:
        """Latents ``[B, T / 1920, DIMS]`` of ``[B, T]``, not causal: what the encoder should say."""
        blocks = samples.reshape(len(samples), -1, FRAME)
        wave = dct(blocks, norm="ortho", axis=-1)[..., :NUM_COEFFICIENTS] @ self.principal
        logs = np.log(band_envelopes(samples) + QUIET) - self.means[:, None]
        columns = [wave]
        for i, (_, _, count, weight) in enumerate(BANDS):
            band = logs[:, i].reshape(len(samples), -1, POINTS)
            columns.append(ENVELOPE_SCALE * weight * band @ cosines(count).T)
        return np.concatenate(columns, axis=-1)


def cosines(count: int, places: Array | None = None) -> Array:
    """``[count, N]``: the first rows of a DCT-II over a frame's points, orthonormal there.

    ``places``: where in the frame, 0 to 1; the points themselves, if left out.
    """
    places = (np.arange(POINTS) + 0.5) / POINTS if places is None else places
    rows = np.cos(np.pi * np.arange(count)[:, None] * places) * np.sqrt(2 / POINTS)
    rows[0] /= np.sqrt(2)
    return rows


def band_envelopes(samples: Array) -> Array:
    """Envelopes ``[B, bands, T / 80]`` of ``[B, T]``, 1 for a carrier: from spectra over 25.6 ms, as STOI sees them."""
    hop = FRAME // POINTS
    freqs_hz = np.arange(513) * SAMPLE_RATE_HZ / 1024
    inside = np.stack([(freqs_hz >= low) & (freqs_hz < high) for low, high, *_ in BANDS], axis=1)
    matrix, window = torch.from_numpy(inside.astype(np.float32)), torch.hann_window(WINDOW)
    carriers = np.stack([np.tile(carrier(low, high), 2) for low, high, *_ in BANDS])

    def read(part: Array) -> Tensor:
        padded = np.pad(part.astype(np.float32), ((0, 0), (WINDOW // 2 - hop // 2, WINDOW // 2)))
        frames = torch.from_numpy(padded).unfold(1, WINDOW, hop)[:, : part.shape[1] // hop] * window
        return (torch.fft.rfft(frames, 1024).abs().square() @ matrix).sqrt()  # [B, T / 80, bands]

    units = read(carriers)[:, 10:-10].mean(dim=1).diagonal()
    return np.concatenate([(read(row[None]) / units).transpose(1, 2).numpy() for row in samples]).astype(np.float64)


def carrier(low_hz: float, high_hz: float) -> Array:
    """Harmonics of 100 Hz (8 times the frame rate: no seam) between the edges, peaks spread, power 1/2, ``[FRAME]``."""
    numbers = np.arange(np.ceil(low_hz / 100.0), high_hz / 100.0) * 8
    time_s = np.arange(FRAME) / SAMPLE_RATE_HZ
    phases = np.pi * np.arange(len(numbers)) ** 2 / len(numbers)
    waves = np.cos(2 * np.pi * FRAME_RATE_HZ * numbers[:, None] * time_s + phases[:, None])
    return waves.sum(axis=0) / np.sqrt(len(numbers))


def design(samples: Array) -> PaperCodec:
    """Fit the principal coefficients and the levels to speech ``[B, T]``."""
    coefficients = dct(samples.reshape(-1, FRAME), norm="ortho", axis=-1)[:, :NUM_COEFFICIENTS]
    freqs_hz = np.arange(NUM_COEFFICIENTS) * FRAME_RATE_HZ / 2
    bands = np.clip(np.searchsorted(EDGES_HZ, freqs_hz) - 1, 0, FIRST_BAND - 1)
    energies = (coefficients**2).mean(axis=0)
    weights = 1.0 / np.sqrt(np.bincount(bands, energies)[bands])
    weighted = coefficients * weights
    _, axes = np.linalg.eigh(weighted.T @ weighted)
    axes = axes[:, ::-1][:, :WAVE_DIMS]
    low = np.zeros((WAVE_DIMS, FRAME))
    low[:, :NUM_COEFFICIENTS] = axes.T / weights
    envelopes = band_envelopes(samples).transpose(1, 0, 2).reshape(len(BANDS), -1)
    means, tops = np.log(envelopes + QUIET).mean(axis=1), np.quantile(envelopes, 0.9995, axis=1) * 1.5
    return PaperCodec(axes * weights[:, None], idct(low, norm="ortho", axis=-1), means, tops)


def band_activity(latents: Tensor) -> Tensor:
    """How loud latents ``[..., at least DIMS]`` are, ``[...]``: power of the bands' envelopes over their usual one."""
    starts = WAVE_DIMS + np.concatenate([[0], np.cumsum([band[2] for band in BANDS])[:-1]])
    weights = torch.tensor([band[3] for band in BANDS], dtype=latents.dtype, device=latents.device)
    levels = latents[..., starts.tolist()] / (ENVELOPE_SCALE * POINTS**0.5 * weights)
    return (2.0 * levels).clamp(max=8.0).exp().mean(dim=-1)


# -- the decoder ---------------------------------------------------------------------------------------------------


def subspaces(waves: Array, others: Array, channels: list[int]) -> list[Array]:
    """Orthonormal rows ``[R, block]`` of blocks of 960, 240, 48 and 8 samples that span ``waves`` ``[N, FRAME]``.

    From 48 samples on they span ``others`` ``[M, 240]`` as well. ``channels``: how many rows there may be. Each set is
    split into the blocks of the next.
    """
    bases, rows = [], waves
    for block, most in zip((960, 240, 48, 8), channels, strict=True):
        pieces = rows.reshape(-1, block)
        if block == 48:
            pieces = np.concatenate([pieces, others.reshape(-1, block)])
        _, strengths, axes = np.linalg.svd(pieces, full_matrices=False)
        rank = min(most, int((strengths > 1e-6 * strengths[0]).sum()))
        rows = axes[:rank]
        bases.append(rows)
    return bases


def write_decoder(model: MimiModel, paper: PaperCodec, latents: Array) -> tuple[list[int], Tensor]:
    """Write the synthesis into upsampling and SEANet decoder; ``latents`` ``[N, DIMS]`` in order give the levels.

    Returns how many linear channels there are after each convolution, and for the exponentials, which follow the
    linear ones after the second, the offsets at which they are silent. The last channel of each is left free: see
    ``lift``.
    """
    layers = model.decoder.decoder_seanet.layers
    upsample = model.decoder.upsample.conv
    convs = [layer.conv for layer in layers if hasattr(layer, "conv")]  # first, four transposed, last
    bands, points = len(BANDS), FRAME // 240
    # an envelope is given at the end of every 10 ms, and in between it runs straight
    ramp = (np.arange(240) + 0.5) / 240
    carriers = np.stack([carrier(low, high)[:240] for low, high, *_ in BANDS]) * paper.tops[:, None] / PEAK
    rising, falling = carriers * ramp, carriers * (1 - ramp)
    widths = [conv.out_channels - 1 for conv in convs[:4]]
    most = [widths[0] - 4 * bands, widths[1] - bands, widths[2], min(8, widths[3])]
    bases = subspaces(paper.synthesis, np.concatenate([rising, falling]), most)
    # 25 Hz: the waveform's coefficients in both halves of the frame, and four points of each band's logarithm
    waves, logs = len(bases[0]), 4 * bands
    coefficients = np.zeros((DIMS, 2, waves + logs))
    coefficients[:WAVE_DIMS, :, :waves] = np.einsum("dhn,rn->dhr", paper.synthesis.reshape(-1, 2, 960), bases[0])
    start = WAVE_DIMS
    for i, (_, _, count, weight) in enumerate(BANDS):
        rows = cosines(count, np.arange(1, points + 1) / points) / (ENVELOPE_SCALE * weight)
        coefficients[start : start + count, :, waves + i :: bands] = rows.reshape(count, 2, 4)
        start += count
    values = np.einsum("td,dhr->thr", latents, coefficients).reshape(-1, waves + logs)
    scales = levels(values)
    upsample.weight.zero_()
    upsample.weight[:DIMS, : len(scales), :2] = as_tensor((coefficients * scales).transpose(0, 2, 1))
    first = convs[0]
    clear_rows(first, len(scales))
    for row in range(len(scales)):
        first.weight[row, row, -1] = 1.0
    # 100 Hz: below zero, where the ELU is an exponential
    conv, finer = convs[1], bases[1]
    pieces = np.einsum("rbn,qn->rqb", bases[0].reshape(waves, 4, 240), finer)
    offsets = paper.means - np.log(paper.tops)
    floors = QUIET / paper.tops - 1.0
    powers = np.exp(np.minimum(values[:, waves:].reshape(-1, bands) + offsets, 0.0))
    values = np.einsum("tr,rqb->tbq", values[:, :waves], pieces).reshape(-1, len(finer))
    new_scales = levels(values)
    clear_rows(conv, len(finer) + bands)
    conv.weight[:waves, : len(finer), :4] = as_tensor(pieces * new_scales[:, None] / scales[:waves, None, None])
    for row in range(logs):
        conv.weight[waves + row, len(finer) + row % bands, row // bands] = 1.0 / float(scales[waves + row])
    conv.bias[len(finer) : len(finer) + bands] = as_tensor(offsets)
    # from here on a waveform in finer and finer pieces
    values = np.concatenate([values, PEAK * (powers - QUIET / paper.tops)], axis=1)
    before = np.concatenate([np.zeros((1, bands)), values[:-1, -bands:]])
    values = np.concatenate([values, before], axis=1)  # the last ones fall
    rows, scales = np.concatenate([bases[1], rising, falling]), np.concatenate([new_scales, np.ones(2 * bands)])
    for conv, finer in zip(convs[2:5], [*bases[2:], np.ones((1, 1))], strict=True):
        pieces = np.einsum("rbn,qn->rqb", rows.reshape(len(rows), -1, finer.shape[1]), finer)
        values = np.einsum("tr,rqb->tbq", values[: 1 << 17], pieces).reshape(-1, len(finer))
        new_scales = levels(values)
        weight = as_tensor(pieces * new_scales[:, None] / scales[:, None, None])
        clear_rows(conv, len(finer))
        current = len(weight) - (bands if conv is convs[2] else 0)
        conv.weight[:current, : len(finer), : conv.stride[0]] = weight[:current]
        if conv is convs[2]:
            conv.weight[current - bands : current, : len(finer), conv.stride[0] :] = weight[current:]
        rows, scales = finer, new_scales
    last = convs[5]
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0, 0, -1] = 1.0 / float(scales[0])
    return [waves + logs, *(len(basis) for basis in bases[1:]), 1], as_tensor(floors)


def levels(values: Array) -> Array:
    """Factors ``[C]`` that bring all but a few of ``values`` ``[N, C]`` within ``PEAK``."""
    return PEAK / (np.quantile(np.abs(values), 0.9995, axis=0) + 1e-5)


def as_tensor(array: Array) -> Tensor:
    """The same numbers as float32."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def clear_rows(conv: nn.Module, count: int) -> None:
    """Make ``count`` outputs of a convolution silent, and leave the others to chance."""
    if isinstance(conv, nn.ConvTranspose1d):
        conv.weight[:, :count] = 0.0
    else:
        conv.weight[:count] = 0.0
    conv.bias[:count] = 0.0
