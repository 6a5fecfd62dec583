"""A codec on paper, and how to write it into the weights of a MimiModel: where training starts.

Two hours of two cores teach a network of random weights next to nothing. So step 0 is a codec already, half waveform
coder and half vocoder: of every frame of 80 ms the latent holds

- the waveform below 424 Hz, as its 52 principal coefficients (DCT, every one-third octave weighted alike);
- the envelopes of the ten one-third octave bands from 424 Hz to 4.3 kHz, 4 cosine coefficients each;
- those of 4.3 to 6 kHz and 6 to 8.5 kHz, 2 coefficients each.

The decoder adds a waveform for each of the 96 numbers: the cosines themselves below, and above them an envelope on a
carrier, the harmonics of 100 Hz within the band. It is linear, and so is the low half of the encoder. SEANet has an
ELU before every convolution, which is the identity where its argument is positive: channels that carry a linear signal
stand on an offset of ``LIFT``. Envelopes need the ELU itself: a band filter in three phases, scaled up, is rectified,
and the three add up to the magnitude. Residual blocks and transformer layers begin as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct, fft, idct, ifft, irfft, rfft
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
Array = NDArray[np.float64]


@dataclass(frozen=True)
class PaperCodec:
    """What the 96 numbers of a frame are, and what each of them adds to the waveform."""

    principal: Array  # [NUM_COEFFICIENTS, WAVE_DIMS], with the weights of the coefficients
    band_scales: Array  # [ENVELOPE_DIMS]
    synthesis: Array  # [DIMS, FRAME]

    def analyse(self, samples: Array) -> Array:
        """Latents ``[B, T / 1920, DIMS]`` of ``[B, T]``, not causal: what the encoder should say."""
        blocks = samples.reshape(len(samples), -1, FRAME)
        wave = dct(blocks, norm="ortho", axis=-1)[..., :NUM_COEFFICIENTS] @ self.principal
        return np.concatenate([wave, band_envelopes(samples) * self.band_scales], axis=-1)


def cosines(count: int, length: int) -> Array:
    """``[count, length]``: the first rows of a DCT-II over 24 points, orthonormal there, sampled at ``length``."""
    rows = np.cos(np.pi * np.arange(count)[:, None] * (np.arange(length) + 0.5) / length) * np.sqrt(2 / 24)
    rows[0] /= np.sqrt(2)
    return rows


def band_envelopes(samples: Array) -> Array:
    """Cosine coefficients ``[B, frames, ENVELOPE_DIMS]`` of the smoothed (22 Hz) Hilbert envelopes of all bands."""
    length = samples.shape[1]
    spectrum = fft(samples, axis=1, workers=-1)
    freqs_hz = np.fft.fftfreq(length, 1 / SAMPLE_RATE_HZ)
    smoothing = np.exp(-0.5 * (np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ) / 22.0) ** 2)
    columns = []
    for low_hz, high_hz, count, _ in BANDS:
        inside = (freqs_hz >= low_hz) & (freqs_hz < high_hz)
        envelope = np.abs(ifft(2.0 * spectrum * inside, axis=1, workers=-1))
        envelope = irfft(rfft(envelope, axis=1, workers=-1) * smoothing, length, axis=1, workers=-1)[:, 40::80]
        columns.append(envelope.reshape(len(samples), -1, FRAME // 80) @ cosines(count, FRAME // 80).T)
    return np.concatenate(columns, axis=-1)


def carrier(low_hz: float, high_hz: float) -> Array:
    """Harmonics of 100 Hz (8 times the frame rate: no seam) between the edges, peaks spread, power 1/2, ``[FRAME]``."""
    numbers = np.arange(np.ceil(low_hz / 100.0), high_hz / 100.0) * 8
    time_s = np.arange(FRAME) / SAMPLE_RATE_HZ
    phases = np.pi * np.arange(len(numbers)) ** 2 / len(numbers)
    waves = np.cos(2 * np.pi * FRAME_RATE_HZ * numbers[:, None] * time_s + phases[:, None])
    return waves.sum(axis=0) / np.sqrt(len(numbers))


def design(samples: Array) -> PaperCodec:
    """Fit the principal coefficients and the scales to speech ``[B, T]``."""
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
    rows = [idct(low, norm="ortho", axis=-1)]
    envelopes, scales, start = band_envelopes(samples), [], 0
    for low_hz, high_hz, count, weight in BANDS:
        part = envelopes[..., start : start + count]
        scale = weight / np.sqrt((part**2).sum(axis=-1).mean())
        rows.append(cosines(count, FRAME) * carrier(low_hz, high_hz) / scale)
        scales += [scale] * count
        start += count
    return PaperCodec(axes * weights[:, None], np.array(scales), np.concatenate(rows))


# -- the decoder ---------------------------------------------------------------------------------------------------


def subspaces(synthesis: Array, channels: list[int]) -> list[Array]:
    """Orthonormal rows ``[R, block]`` of blocks of 960, 240, 48 and 8 samples that span the synthesis waveforms.

    ``channels``: how many rows there may be. Each set is split into the blocks of the next.
    """
    bases, rows = [], synthesis
    for block, most in zip((960, 240, 48, 8), channels, strict=True):
        pieces = rows.reshape(-1, block)
        _, strengths, axes = np.linalg.svd(pieces, full_matrices=False)
        rank = min(most, int((strengths > 1e-6 * strengths[0]).sum()))
        rows = axes[:rank]
        bases.append(rows)
    return bases


def write_decoder(model: MimiModel, paper: PaperCodec, latents: Array) -> list[int]:
    """Write the synthesis into upsampling and SEANet decoder; ``latents`` ``[N, DIMS]`` give the levels.

    Returns how many channels carry it after each convolution. The last channel of each is left free: see ``lift``.
    """
    layers = model.decoder.decoder_seanet.layers
    upsample = model.decoder.upsample.conv
    convs = [layer.conv for layer in layers if hasattr(layer, "conv")]  # first, four transposed, last
    widths = [conv.out_channels - 1 for conv in convs[:4]]
    bases = subspaces(paper.synthesis, [widths[0], widths[1], widths[2], min(8, widths[3])])
    halves = paper.synthesis.reshape(DIMS, 2, 960)
    coefficients = np.einsum("dhn,rn->drh", halves, bases[0])  # of every latent, in both halves
    values = np.einsum("td,drh->thr", latents, coefficients).reshape(-1, len(bases[0]))
    scales = _levels(values)
    upsample.weight.zero_()
    upsample.weight[:DIMS, : len(scales), :2] = _tensor(coefficients * scales[:, None])
    first = convs[0]
    _clear_rows(first, len(scales))
    for row in range(len(scales)):
        first.weight[row, row, -1] = 1.0
    for conv, basis, finer in zip(convs[1:5], bases, [*bases[1:], np.ones((1, 1))], strict=True):
        pieces = basis.reshape(len(basis), -1, finer.shape[1])
        coefficients = np.einsum("rbn,qn->rqb", pieces, finer)
        values = np.einsum("tr,rqb->tbq", values, coefficients).reshape(-1, len(finer))[: 1 << 18]
        new_scales = _levels(values)
        _clear_rows(conv, len(finer))
        conv.weight[: len(basis), : len(finer), : conv.stride[0]] = _tensor(
            coefficients * new_scales[:, None] / scales[:, None, None]
        )
        scales = new_scales
    last = convs[5]
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0, 0, -1] = 1.0 / float(scales[0])
    return [len(basis) for basis in bases] + [1]


def _levels(values: Array) -> Array:
    return PEAK / (np.quantile(np.abs(values), 0.9995, axis=0) + 1e-5)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _clear_rows(conv: nn.Module, count: int) -> None:
    """Make ``count`` outputs of a convolution silent, and leave the others to chance."""
    if isinstance(conv, nn.ConvTranspose1d):
        conv.weight[:, :count] = 0.0
    else:
        conv.weight[:count] = 0.0
    conv.bias[:count] = 0.0


# -- the encoder ---------------------------------------------------------------------------------------------------

LOW_BANDS = 4  # of the bands, from the lowest, are filtered over 20 ms, the others over 4 ms or less
WAVE_ROWS = {48: 14, 240: 28, 960: 72}  # block in samples -> DCT coefficients that carry the low band


def band_filters(low_hz: float, high_hz: float, length: int) -> Array:
    """Three phases of a windowed cosine at the middle of a band, ``[3, length]``; the window fits its width."""
    size = min(length, round(3.0 * SAMPLE_RATE_HZ / (high_hz - low_hz)))
    time_s = (np.arange(length) - (length - 1) / 2) / SAMPLE_RATE_HZ
    window = np.where(
        np.abs(time_s) * SAMPLE_RATE_HZ < size / 2, np.cos(np.pi * time_s * SAMPLE_RATE_HZ / size) ** 2, 0
    )
    middle_hz = 0.5 * (low_hz + high_hz)
    filters = np.stack([window * np.cos(2 * np.pi * (middle_hz * time_s + k / 3)) for k in range(3)])
    return filters - window * (filters.sum(axis=1) / window.sum())[:, None]  # no answer to a constant


def write_encoder(model: MimiModel, samples: Tensor) -> None:
    """Write the analysis into the SEANet encoder; levels are those of ``samples`` ``[B, T]``."""
    convs = [layer.conv for layer in model.encoder.encoder_seanet.layers if hasattr(layer, "conv")]
    for conv in convs:
        conv.bias.zero_()
    low_bands, high_bands = BANDS[:LOW_BANDS], BANDS[LOW_BANDS:]
    # 24 kHz: the sample; 3 kHz: eight of them
    _clear_rows(convs[0], 1)
    convs[0].weight[0, 0, -1] = PEAK
    _clear_rows(convs[1], 8)
    for i in range(8):
        convs[1].weight[i, 0, 8 + i] = 1.0
    # 500 Hz: DCT coefficients of 48 samples; bands from 1 kHz on over 96 samples, in three phases
    rows = _dct_rows(48)
    bank = np.concatenate([band_filters(low, high, 96) for low, high, *_ in high_bands])
    filters = np.concatenate([np.pad(rows, ((0, 0), (48, 0))), bank])  # [R, 96]
    waves = _strided(samples.double().numpy(), 48, 96) @ filters.T
    scales = np.concatenate([_levels(waves[:, : len(rows)]), _sharp(waves[:, len(rows) :])])
    _clear_rows(convs[2], len(filters))
    convs[2].weight[: len(filters), :8] = _tensor(
        (filters * scales[:, None] / PEAK).reshape(-1, 12, 8).transpose(0, 2, 1)
    )
    # 100 Hz: DCT coefficients of 240 samples; bands below 1 kHz over 480 samples; magnitudes of those above
    num, coarse = WAVE_ROWS[48], _dct_rows(240)
    bank = np.concatenate([band_filters(low, high, 480) for low, high, *_ in low_bands])
    filters = np.concatenate([np.pad(coarse, ((0, 0), (240, 0))), bank]).reshape(-1, 10, 48) @ rows.T  # [R, 10, num]
    span = (filters @ rows).reshape(len(filters), 480)
    waves = _strided(samples.double().numpy(), 240, 480) @ span.T
    new_scales = np.concatenate([_levels(waves[:, : len(coarse)]), _sharp(waves[:, len(coarse) :])])
    _clear_rows(convs[3], len(filters) + len(high_bands))
    weight = filters * new_scales[:, None, None] / scales[:num]
    convs[3].weight[: len(filters), :num] = _tensor(weight.transpose(0, 2, 1))
    for i in range(len(high_bands)):
        convs[3].weight[len(filters) + i, num + 3 * i : num + 3 * i + 3, 5:] = 1 / 15
        convs[3].bias[len(filters) + i] = FLOOR
    # 25 Hz: DCT coefficients of 960 samples, and four magnitudes of every band
    num, start, count = WAVE_ROWS[240], len(coarse), len(filters)
    slow = _dct_rows(960).reshape(-1, 4, 240) @ coarse.T  # [R, 4, num]
    waves = _strided(samples.double().numpy(), 960, 960) @ (slow @ coarse).reshape(len(slow), 960).T
    slow_scales = _levels(waves)
    _clear_rows(convs[4], len(slow) + 4 * len(BANDS))
    convs[4].weight[: len(slow), :num, 4:] = _tensor(
        (slow * slow_scales[:, None, None] / new_scales[:num]).transpose(0, 2, 1)
    )
    for quarter in range(4):
        for i in range(len(BANDS)):
            row = len(slow) + quarter * len(BANDS) + i
            convs[4].bias[row] = FLOOR
            if i < LOW_BANDS:
                convs[4].weight[row, start + 3 * i : start + 3 * i + 3, 4 + quarter] = 1 / 3
            else:
                convs[4].weight[row, count + i - LOW_BANDS, 4 + quarter] = 1.0
    features = num_features()
    _clear_rows(convs[5], convs[5].out_channels)
    for row in range(features):
        convs[5].weight[row, row, -1] = 0.5
    convs[5].bias[features] = 1.0  # the downsampling has no bias: a constant stands in for it


def num_features() -> int:
    """How many of the encoder's channels at 25 Hz carry the analysis."""
    return WAVE_ROWS[960] + 4 * len(BANDS)


def signal_rows() -> list[tuple[int, int]]:
    """How many channels, from the first, are linear and how many, after them, rectified.

    After each of the encoder's convolutions but the last; the linear ones stand on ``LIFT``.
    """
    high = 3 * (len(BANDS) - LOW_BANDS)
    return [(1, 0), (8, 0), (WAVE_ROWS[48], high), (WAVE_ROWS[240], 3 * LOW_BANDS), (WAVE_ROWS[960], 0)]


def _dct_rows(block: int) -> Array:
    """The lowest cosines over ``block`` samples, orthonormal, ``[R, block]``."""
    return idct(np.eye(WAVE_ROWS[block], block), norm="ortho", axis=-1)


def _strided(samples: Array, hop: int, length: int) -> Array:
    """Stretches ``[N, length]`` of ``[B, T]``, one every ``hop`` samples."""
    return np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)[:, ::hop].reshape(-1, length)


def _sharp(values: Array) -> Array:
    return SHARPNESS / (np.quantile(np.abs(values), 0.99, axis=0) + 1e-5)


def fit_downsampling(model: MimiModel, features: Tensor, wanted: Array, ridge: float = 3e-4) -> float:
    """Solve the encoder's last layer for the latents that are ``wanted``; returns the share of the energy missed.

    ``features`` ``[B, hidden, 2 * frames]`` enter the downsampling; ``wanted`` is ``[B, frames, DIMS]``.
    """
    conv = model.encoder.downsample.conv
    conv.weight.zero_()
    padded = torch.cat([features[..., :1], features[..., :1], features], dim=-1)
    # quiet speech counts as much as loud
    weights = 1.0 / (torch.from_numpy(wanted).square().sum(dim=2, keepdim=True) + 0.05).sqrt()  # [B, frames, 1]
    outputs = (torch.from_numpy(wanted) * weights).flatten(0, 1)  # [N, DIMS]
    waves, count = WAVE_ROWS[960], num_features()
    missed = 0.0
    for rows, dims in (
        (list(range(waves)), slice(0, WAVE_DIMS)),
        (list(range(waves, count + 1)), slice(WAVE_DIMS, DIMS)),  # with the constant, the last one
    ):
        windows = padded[:, rows].unfold(2, 4, 2).permute(0, 2, 1, 3).flatten(2).double()  # [B, frames, rows * 4]
        inputs = (windows * weights).flatten(0, 1)
        gram = inputs.T @ inputs
        gram.diagonal().add_(ridge * len(inputs) * inputs.var(dim=0)).add_(1e-9)
        solution = torch.linalg.solve(gram, inputs.T @ outputs[:, dims])  # [rows * 4, dims]
        conv.weight[dims, rows] = solution.T.float().unflatten(1, (len(rows), 4))
        missed += float((outputs[:, dims] - inputs @ solution).square().sum())
    return missed / float(outputs.square().sum())
