"""Training speech: load a folder of recordings once, cut random segments, augment them.

Everything is a function of ``(seed, step)``: a resumed run sees the segments that an uninterrupted one would have seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE_HZ = 24_000
SUFFIXES = {".ogg", ".opus", ".wav", ".flac", ".mp3"}

# A recording that is among the evaluation clips: the same sentence of LJSpeech must not be learnt by heart.
EXCLUDED_STEMS = ("LJ001-0001",)
# Speakers of LibriSpeech test-other that no training step sees: the figures in the log are theirs.
VALIDATION_SPEAKERS = ("367-", "533-", "3080-")

# How often a folder is drawn from, relative to its minutes: many speakers weigh more than many commands.
FOLDER_WEIGHTS = {"librispeech": 1.3, "picovoice": 0.6, "ljspeech": 1.3}


def load_recording(path: Path) -> np.ndarray:
    """Read any sound file as mono float32 ``[T]`` at 24 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [T, C]
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate, SAMPLE_RATE_HZ)
    return mono.astype(np.float32)


def _to_int16(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples * 32767.0), -32768, 32767).astype(np.int16)


class Corpus:
    """All recordings of a folder in memory as int16, split into training and validation."""

    def __init__(self, folder: Path) -> None:
        """Load every sound file below ``folder``; about 170 MB an hour."""
        self.clips: list[np.ndarray] = []  # int16 [T] each
        self.validation: list[np.ndarray] = []  # int16 [T] each
        weights: list[float] = []
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for path in paths:
            if path.stem in EXCLUDED_STEMS:
                continue
            clip = _to_int16(load_recording(path))
            if path.name.startswith(VALIDATION_SPEAKERS):
                self.validation.append(clip)
                continue
            folder_name = path.parent.name
            factor = next((w for name, w in FOLDER_WEIGHTS.items() if folder_name.startswith(name)), 1.0)
            self.clips.append(clip)
            weights.append(factor * len(clip))
        if not self.clips:
            raise SystemExit(f"no recordings ({', '.join(sorted(SUFFIXES))}) below {folder}")
        self._cumulative = np.cumsum(weights) / np.sum(weights)

    @property
    def num_samples(self) -> int:
        """Length of the training part in samples."""
        return sum(len(clip) for clip in self.clips)

    def batch(
        self, rng: np.random.Generator, batch_size: int, num_samples: int, level_only: bool = False
    ) -> np.ndarray:
        """Return ``batch_size`` augmented segments (``level_only``: nothing but rescaled), float32 ``[B, T]``."""
        change = random_level if level_only else augment
        share = 0.25 if level_only else 0.6
        return np.stack([change(rng, self._segment(rng, num_samples, share)) for _ in range(batch_size)])

    def _segment(self, rng: np.random.Generator, num_samples: int, share: float) -> np.ndarray:
        """Cut ``num_samples`` out of a random clip, and those drawn after it, where it ends.

        A ``share`` of the segments is played at another speed.
        """
        speed = float(rng.uniform(0.87, 1.18)) if rng.random() < share else 1.0
        needed = int(num_samples * speed) + 64
        parts: list[np.ndarray] = []
        while needed > 0:
            clip = self.clips[int(np.searchsorted(self._cumulative, rng.random()))]
            start = int(rng.integers(0, max(1, len(clip) - needed // 2))) if not parts else 0
            part = clip[start : start + needed]
            parts.append(part)
            needed -= len(part)
        samples = np.concatenate(parts).astype(np.float32) / 32768.0
        if speed != 1.0:
            # the pitch moves with the speed: more voices out of few
            samples = soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ, quality="LQ")
        samples = samples[:num_samples]
        return np.pad(samples, (0, num_samples - len(samples)))


def augment(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Colour, reverberate, add noise to and rescale one segment ``[T]``; the same length comes back."""
    num_samples = len(samples)
    tail = 4096  # zero padding: the circular convolution must not wrap around
    spectrum = np.fft.rfft(samples, num_samples + tail)
    freqs_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum))
    if rng.random() < 0.6:
        spectrum *= _random_equaliser(rng, freqs_hz)
    if rng.random() < 0.15:
        cutoff_hz = np.exp(rng.uniform(np.log(3200.0), np.log(8000.0)))
        spectrum *= 1.0 / (1.0 + (freqs_hz / cutoff_hz) ** 12)
    if rng.random() < 0.2:
        spectrum *= np.fft.rfft(_random_room(rng, tail), num_samples + tail)
    speech = np.fft.irfft(spectrum)[:num_samples]
    rms = float(np.sqrt(np.mean(speech**2)) + 1e-6)
    if rng.random() < 0.3:
        snr_db = rng.uniform(12.0, 40.0)
        noise = _random_noise(rng, num_samples)
        speech = speech + noise * rms * 10.0 ** (-snr_db / 20.0)
    return random_level(rng, speech)


def random_level(rng: np.random.Generator, speech: np.ndarray) -> np.ndarray:
    """Rescale ``[T]`` to about -27 dB, never above full scale."""
    rms = float(np.sqrt(np.mean(speech**2)))
    level_db = rng.normal(-27.0, 6.0)
    # a pause must not be blown up to the level of speech
    speech = speech * (10.0 ** (level_db / 20.0) / max(rms, 0.004))
    return (speech / max(1.0, float(np.abs(speech).max()) / 0.98)).astype(np.float32)


def _random_equaliser(rng: np.random.Generator, freqs_hz: np.ndarray) -> np.ndarray:
    """A smooth random gain over frequency (+-5 dB, standard deviation) with a random high-pass."""
    knots_hz = np.array([60.0, 180.0, 500.0, 1200.0, 2600.0, 5000.0, 12000.0])
    gains_db = np.interp(np.log(freqs_hz + 30.0), np.log(knots_hz), rng.normal(0.0, 4.0, len(knots_hz)))
    corner_hz = rng.uniform(20.0, 180.0)
    return 10.0 ** (gains_db / 20.0) / (1.0 + (corner_hz / (freqs_hz + 1.0)) ** 4)


def _random_room(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    """A direct path and an exponentially decaying noise tail, ``[num_samples]``, energy of the tail below it."""
    decay_s = rng.uniform(0.02, 0.06)
    time_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    impulse = rng.standard_normal(num_samples) * np.exp(-time_s / decay_s)
    impulse *= rng.uniform(0.1, 0.7) / np.sqrt(np.sum(impulse**2))
    impulse[0] = 1.0
    return impulse


def _random_noise(rng: np.random.Generator, num_samples: int) -> np.ndarray:
    """Stationary noise ``[num_samples]`` at unit level with a random slope and colour, like a tape or a room."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    freqs_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum))
    slope = rng.uniform(0.0, 1.2)
    spectrum *= (freqs_hz + 50.0) ** -slope * _random_equaliser(rng, freqs_hz)
    noise = np.fft.irfft(spectrum, num_samples)
    return noise / (noise.std() + 1e-9)
