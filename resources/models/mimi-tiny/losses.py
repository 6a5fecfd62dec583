"""What the codec is trained on: spectra, band envelopes, and an adversary over spectrograms.

Waveforms are float32 ``[B, T]`` at 24 kHz throughout; every loss returns a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE_HZ = 24_000
# Window of an STFT (samples) -> mel bands. The hop is a quarter of the window.
RESOLUTIONS = {256: 32, 512: 64, 1024: 80, 2048: 100}
# Magnitudes below this (full scale sine = 1) count as silence: -70 dB.
FLOOR = 3e-4


def mel_filters(num_bins: int, num_bands: int, top_hz: float = SAMPLE_RATE_HZ / 2) -> Tensor:
    """Triangular mel filters ``[num_bins, num_bands]`` over STFT bins from 0 Hz to ``top_hz``; each sums to 1."""

    def to_mel(freqs_hz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + freqs_hz / 700.0)

    bins_mel = to_mel(torch.linspace(0.0, SAMPLE_RATE_HZ / 2, num_bins))
    edges = torch.linspace(0.0, float(to_mel(torch.tensor(top_hz))), num_bands + 2)
    rising = (bins_mel[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins_mel[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    # bands narrower than a bin would be empty: give them their nearest bin
    empty = filters.sum(dim=0) == 0
    nearest = (bins_mel[:, None] - edges[None, 1:-1]).abs().argmin(dim=0)
    filters[nearest[empty], empty.nonzero()[:, 0]] = 1.0
    return filters / filters.sum(dim=0)


def third_octave_filters(num_bins: int) -> Tensor:
    """The 15 one-third octave bands of STOI, 150 Hz to 4.3 kHz, as a 0/1 matrix ``[num_bins, 15]``."""
    freqs_hz = torch.linspace(0.0, SAMPLE_RATE_HZ / 2, num_bins)
    centres_hz = 150.0 * 2.0 ** (torch.arange(15) / 3.0)
    low, high = centres_hz * 2.0 ** (-1 / 6), centres_hz * 2.0 ** (1 / 6)
    return ((freqs_hz[:, None] >= low) & (freqs_hz[:, None] < high)).float()


class SpectralLoss(nn.Module):
    """Multi-resolution log-mel L1 and STFT magnitude loss (spectral convergence and log magnitude)."""

    def __init__(self) -> None:
        """Prepare windows and mel filters."""
        super().__init__()
        for window, bands in RESOLUTIONS.items():
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", mel_filters(window // 2 + 1, bands), persistent=False)

    def forward(self, output: Tensor, target: Tensor, windows: Sequence[int] = tuple(RESOLUTIONS)) -> dict[str, Tensor]:
        """Compare ``[B, T]`` with ``[B, T]``: the mean over ``windows`` of each of the three terms."""
        mel = convergence = log_magnitude = output.new_zeros(())
        for window in windows:
            filters = self.get_buffer(f"mel_{window}")
            with torch.no_grad():
                wanted = magnitude(target, window, self.get_buffer(f"window_{window}"))  # [B, bins, frames]
                wanted_mel = torch.log(filters.T @ wanted + FLOOR)
                wanted_log = torch.log(wanted + FLOOR)
            got = magnitude(output, window, self.get_buffer(f"window_{window}"))
            mel = mel + (torch.log(filters.T @ got + FLOOR) - wanted_mel).abs().mean()
            error = (got - wanted).square().sum(dim=(1, 2)).add(1e-8).sqrt()
            convergence = convergence + (error / (wanted.square().sum(dim=(1, 2)).sqrt() + 0.02)).mean()
            log_magnitude = log_magnitude + (torch.log(got + FLOOR) - wanted_log).abs().mean()
        count = len(windows)
        return {"mel": mel / count, "convergence": convergence / count, "log_magnitude": log_magnitude / count}


def magnitude(samples: Tensor, window_samples: int, window: Tensor) -> Tensor:
    """STFT magnitude ``[B, bins, frames]`` of ``[B, T]``, scaled so that a full scale sine has a peak near 1."""
    spectrum = torch.stft(samples, window_samples, window_samples // 4, window=window, center=True, return_complex=True)
    # a square root has no gradient at 0
    return (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt() * (4.0 / window_samples)


class EnvelopeLoss(nn.Module):
    """1 - correlation of short-time band envelopes: a smooth stand-in for STOI and ESTOI.

    One-third octave bands from 150 Hz to 4.3 kHz, 25.6 ms windows every 12.8 ms, segments of 30 frames (384 ms).
    STOI's clipping and its removal of silent frames are left out; segments 40 dB below the loudest do not count.
    """

    WINDOW, HOP, FFT, FRAMES = 614, 307, 1024, 30

    def __init__(self) -> None:
        """Prepare window and bands."""
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)
        self.register_buffer("bands", third_octave_filters(self.FFT // 2 + 1), persistent=False)

    def _segments(self, samples: Tensor) -> Tensor:
        """Envelopes ``[B, segments, 15, 30]`` of ``[B, T]``; a new segment every 10 frames."""
        spectrum = torch.stft(
            samples, self.FFT, self.HOP, self.WINDOW, window=self.window, center=True, return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2) @ self.bands  # [B, frames, 15]
        envelope = (power + 0.01).sqrt()  # a band below about -60 dB is flat: no gradient comes from silence
        return envelope.unfold(1, self.FRAMES, 10)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Compare ``[B, T]`` with ``[B, T]``: the mean of the STOI-like and the ESTOI-like term."""
        with torch.no_grad():
            wanted = self._segments(target)
            energy = wanted.square().sum(dim=(2, 3))  # [B, segments]
            weight = (energy > energy.amax(dim=1, keepdim=True) * 1e-4).float()
        got = self._segments(output)
        wanted_rows, got_rows = _standardised(wanted, -1, 0.03), _standardised(got, -1, 0.03)
        stoi = (wanted_rows * got_rows).sum(dim=-1).mean(dim=-1)  # [B, segments]
        estoi = (_standardised(wanted_rows, -2, 1e-2) * _standardised(got_rows, -2, 1e-2)).sum(dim=-2).mean(dim=-1)
        correlation = 0.5 * (stoi + estoi)
        return 1.0 - (correlation * weight).sum() / weight.sum().clamp(min=1.0)


class LowBandLoss(nn.Module):
    """Relative error of the waveform itself below 424 Hz, where the codec can follow it, from complex spectra."""

    WINDOW, BINS = 1024, 19

    def __init__(self) -> None:
        """Prepare the window."""
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)

    def forward(self, output: Tensor, target: Tensor, num_codebooks: Tensor) -> Tensor:
        """Compare ``[B, T]`` with ``[B, T]``; with few of the codebooks ``[B]`` the waveform cannot come out."""
        got, wanted = (
            torch.stft(x, self.WINDOW, self.WINDOW // 4, window=self.window, return_complex=True)[:, : self.BINS]
            for x in (output, target)
        )
        error = (got - wanted).abs().square().sum(dim=1)  # [B, frames]
        energy = wanted.abs().square().sum(dim=1)
        # relative to the frame and to the recording, and never to less than -50 dB: pauses do not count
        relative = (error / (energy + 0.1 * energy.mean(dim=1, keepdim=True) + 1.0) + 1e-6).sqrt().mean(dim=1)
        return (relative * (num_codebooks / 16.0).clamp(max=1.0)).mean()


def _standardised(values: Tensor, dim: int, eps: float = 1e-6) -> Tensor:
    """Zero mean and unit norm along ``dim``."""
    values = values - values.mean(dim=dim, keepdim=True)
    return values / (values.square().sum(dim=dim, keepdim=True) + eps).sqrt()


class StftDiscriminator(nn.Module):
    """Real or decoded? A small 2-D convolutional judge of one complex STFT."""

    def __init__(self, window: int, channels: int) -> None:
        """Judge STFTs of ``window`` samples with ``channels`` feature maps."""
        super().__init__()
        self.window_samples = window
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        norm = nn.utils.parametrizations.weight_norm
        shapes = (  # inputs, outputs, dilation over time, stride over frequency
            (2, channels, 1, 2),
            (channels, channels, 1, 2),
            (channels, channels, 2, 2),
            (channels, channels, 4, 2),
        )
        self.layers = nn.ModuleList(
            norm(nn.Conv2d(i, o, (5, 3), stride=(s, 1), dilation=(1, d), padding=(2, d))) for i, o, d, s in shapes
        )
        self.last = norm(nn.Conv2d(channels, 1, (3, 3), padding=1))

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Return the feature maps of ``[B, T]``, ``[B, C, bins, frames]`` each; the last one is the judgement."""
        spectrum = torch.stft(
            samples, self.window_samples, self.window_samples // 4, window=self.window, return_complex=True
        )
        # compressed: the weak upper half of a speech spectrum must be seen too
        power = spectrum.real.square() + spectrum.imag.square() + 1e-4
        values = torch.stack([spectrum.real, spectrum.imag], dim=1) * power.pow(-0.3).unsqueeze(1)
        features = []
        for layer in self.layers:
            values = functional.leaky_relu(layer(values), 0.2)
            features.append(values)
        features.append(self.last(values))
        return features


class Adversary(nn.Module):
    """Multi-resolution STFT discriminators with hinge losses and feature matching."""

    def __init__(self, windows: tuple[int, ...] = (384, 768, 1536), channels: int = 16) -> None:
        """One discriminator a window length (samples)."""
        super().__init__()
        self.judges = nn.ModuleList(StftDiscriminator(window, channels) for window in windows)

    def discriminator_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Hinge loss of the judges on decoded ``[B, T]`` (detached here) and real ``[B, T]``."""
        loss = output.new_zeros(())
        for judge in self.judges:
            fake, real = judge(output.detach())[-1].float(), judge(target)[-1].float()
            loss = loss + functional.relu(1.0 + fake).mean() + functional.relu(1.0 - real).mean()
        return loss / len(self.judges)

    def generator_losses(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (adversarial, feature matching): fooling the judges, and looking the same inside them."""
        fooling = matching = output.new_zeros(())
        for judge in self.judges:
            fake = judge(output)
            with torch.no_grad():
                real = judge(target)
            fooling = fooling + functional.relu(1.0 - fake[-1].float()).mean()
            for got, wanted in zip(fake[:-1], real[:-1], strict=True):
                scale = wanted.float().abs().mean() + 1e-3
                matching = matching + (got.float() - wanted.float()).abs().mean() / scale / (len(fake) - 1)
        return fooling / len(self.judges), matching / len(self.judges)
