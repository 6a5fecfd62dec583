"""The encoder of the codec on paper: band filters, magnitudes and logarithms as weights, and a last layer solved for.

From layer to layer it keeps the lowest cosines (DCT) of longer and longer blocks for the waveform, and beside them the
bands: filtered in three phases, rectified, added up, their logarithms taken in the residual block at 100 Hz.
"""

from __future__ import annotations

import numpy as np
import torch
from analytic import (
    BANDS,
    DIMS,
    FLOOR,
    PEAK,
    QUIET,
    SAMPLE_RATE_HZ,
    SHARPNESS,
    WAVE_DIMS,
    Array,
    as_tensor,
    band_activity,
    clear_rows,
    levels,
)
from scipy.fft import idct
from torch import Tensor
from torch.nn import functional
from transformers import MimiModel

LOW_BANDS = 4  # of the bands, from the lowest, are filtered over 20 ms, the others over 4 ms or less
RATES = 5  # exponentials in a logarithm
# over 30 ms: how the magnitudes of low bands (themselves of 20 ms) and of high bands are smoothed before it
LOW_TAPS, HIGH_TAPS = (0.0, 0.5, 0.5), (0.25, 0.5, 0.25)
LOG_POINT = 1  # of the envelope's three points in 10 ms, the one that a logarithm is fitted to
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
    clear_rows(convs[0], 1)
    convs[0].weight[0, 0, -1] = PEAK
    clear_rows(convs[1], 8)
    for i in range(8):
        convs[1].weight[i, 0, 8 + i] = 1.0
    # 500 Hz: DCT coefficients of 48 samples; bands from 1 kHz on over 96 samples, in three phases
    rows = _dct_rows(48)
    bank = np.concatenate([band_filters(low, high, 96) for low, high, *_ in high_bands])
    filters = np.concatenate([np.pad(rows, ((0, 0), (48, 0))), bank])  # [R, 96]
    waves = _strided(samples.double().numpy(), 48, 96) @ filters.T
    scales = np.concatenate([levels(waves[:, : len(rows)]), _sharp(waves[:, len(rows) :])])
    clear_rows(convs[2], len(filters))
    convs[2].weight[: len(filters), :8] = as_tensor(
        (filters * scales[:, None] / PEAK).reshape(-1, 12, 8).transpose(0, 2, 1)
    )
    # 100 Hz: DCT coefficients of 240 samples; bands below 1 kHz over 480 samples; magnitudes of those above
    num, coarse = WAVE_ROWS[48], _dct_rows(240)
    bank = np.concatenate([band_filters(low, high, 480) for low, high, *_ in low_bands])
    filters = np.concatenate([np.pad(coarse, ((0, 0), (240, 0))), bank]).reshape(-1, 10, 48) @ rows.T  # [R, 10, num]
    span = (filters @ rows).reshape(len(filters), 480)
    waves = _strided(samples.double().numpy(), 240, 480) @ span.T
    new_scales = np.concatenate([levels(waves[:, : len(coarse)]), _sharp(waves[:, len(coarse) :])])
    logs = len(coarse)  # the place of the logarithms, empty as yet
    end = len(filters) + len(BANDS)
    clear_rows(convs[3], end + len(high_bands))
    weight = filters * new_scales[:, None, None] / scales[:num]
    weight = as_tensor(weight.transpose(0, 2, 1))
    convs[3].weight[:logs, :num] = weight[:logs]
    convs[3].weight[logs + len(BANDS) : end, :num] = weight[logs:]
    for i in range(len(high_bands)):
        convs[3].weight[end + i, num + 3 * i : num + 3 * i + 3, 5:] = 1 / 15
        convs[3].bias[end + i] = FLOOR
    # 25 Hz: DCT coefficients of 960 samples, and four logarithms of every band
    num = WAVE_ROWS[240]
    slow = _dct_rows(960).reshape(-1, 4, 240) @ coarse.T  # [R, 4, num]
    waves = _strided(samples.double().numpy(), 960, 960) @ (slow @ coarse).reshape(len(slow), 960).T
    slow_scales = levels(waves)
    clear_rows(convs[4], len(slow) + 4 * len(BANDS))
    convs[4].weight[: len(slow), :num, 4:] = as_tensor(
        (slow * slow_scales[:, None, None] / new_scales[:num]).transpose(0, 2, 1)
    )
    for quarter in range(4):
        for i in range(len(BANDS)):
            convs[4].weight[len(slow) + quarter * len(BANDS) + i, logs + i, 4 + quarter] = 1.0
    features = num_features()
    clear_rows(convs[5], convs[5].out_channels)
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
    high, bands = 3 * (len(BANDS) - LOW_BANDS), len(BANDS)
    return [(1, 0), (8, 0), (WAVE_ROWS[48], high), (WAVE_ROWS[240] + bands, 3 * LOW_BANDS), (num_features(), 0)]


def write_logarithms(model: MimiModel, inputs: Tensor, wanted: Array) -> None:
    """Write the bands' logarithms into the residual block at 100 Hz, once ``lift.prepare_layers`` is through.

    ``inputs`` ``[B, channels, T / 240]`` enter the block; ``wanted`` ``[B, bands, T / 80]`` are the envelopes.
    """
    blocks = [layer for layer in model.encoder.encoder_seanet.layers if hasattr(layer, "block")]
    inner, outer = blocks[3].block[1].conv, blocks[3].block[3].conv
    logs = WAVE_ROWS[240]
    phases = logs + len(BANDS)
    mags = phases + 3 * LOW_BANDS
    values = functional.elu(inputs.double()) * inner.gain.double()[:, None]
    inner.weight[: RATES * len(BANDS)] = 0.0
    for i in range(len(BANDS)):
        if i < LOW_BANDS:
            rows, taps, floor = slice(phases + 3 * i, phases + 3 * i + 3), LOW_TAPS, 0.0
        else:
            rows, taps, floor = slice(mags + i - LOW_BANDS, mags + i - LOW_BANDS + 1), HIGH_TAPS, FLOOR
        summed = values[:, rows].sum(dim=1)  # [B, T / 240]
        smooth = (summed.unfold(1, 3, 1) * torch.tensor(taps, dtype=torch.float64)).sum(dim=2).flatten().numpy() - floor
        target = wanted[:, i, LOG_POINT::3][:, 2:].reshape(-1)
        factor = float((smooth * target).sum() / (smooth**2).sum())
        magnitudes = np.maximum(smooth * factor, 0.0)
        rates = np.geomspace(0.7 / QUIET, 1.5 / np.quantile(magnitudes, 0.999), RATES)
        terms = np.exp(-rates * magnitudes[:, None]) - 1.0
        logarithms = np.log(target + QUIET)
        # evenly over the range, loud or quiet
        counts, edges = np.histogram(logarithms, 20)
        weights = 1.0 / np.sqrt(counts[np.clip(np.searchsorted(edges, logarithms) - 1, 0, 19)] + 50.0)
        columns = np.concatenate([terms, np.ones((len(terms), 1))], axis=1) * weights[:, None]
        gram = columns.T @ columns
        gram[np.diag_indices(RATES)] += 1e-4 * np.trace(gram) / len(gram)
        factors = np.linalg.solve(gram, columns.T @ (logarithms * weights))
        results = terms @ factors[:-1] + factors[-1]
        middle = 0.5 * (results.min() + results.max())
        scale = PEAK / (results.max() - middle)
        hidden = slice(RATES * i, RATES * i + RATES)
        inner.weight[hidden, rows] = as_tensor(-rates[:, None, None] * factor * np.array(taps))
        inner.bias[hidden] = as_tensor(rates * factor * floor)
        outer.weight[logs + i, hidden, 0] = as_tensor(factors[:-1] * scale)
        outer.bias[logs + i] = float((factors[-1] - middle) * scale)


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
    # quiet speech counts as much as loud, silence little
    targets = torch.from_numpy(wanted)
    activity = band_activity(targets)[..., None]  # [B, frames, 1]
    weights = (activity / (activity + 0.05) / (activity + 0.2)).sqrt()
    outputs = (targets * weights).flatten(0, 1)  # [N, DIMS]
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
