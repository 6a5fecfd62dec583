"""Measure a Mimi checkpoint on recordings: ``python evaluate.py CLIP [CLIP ...] [--model FOLDER] [--json FILE]``.

Prints, for 1, 2, 4, 8, 16 and 32 codebooks, for shuffled codebooks and for silence, STOI, ESTOI, log-mel distance and
(where ``pesq`` is installed) PESQ-WB of the first ten seconds of every clip; beside them Opus at 6 kbit/s and Codec2 at
3.2 kbit/s where their programs are installed; and how evenly each codebook is used. ``--training-set FOLDER`` adds the
use over a whole folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from corpus import SAMPLE_RATE_HZ, SUFFIXES, load_recording
from losses import FLOOR, RESOLUTIONS, magnitude, mel_filters
from pystoi import stoi
from scipy.signal import correlate
from transformers import MimiModel

try:
    from pesq import pesq
except ImportError:
    pesq = None

FRAME_SAMPLES = 1920
COUNTS = (1, 2, 4, 8, 16, 32)
CLIP_SAMPLES = 10 * SAMPLE_RATE_HZ


def log_mel_distance(source: np.ndarray, decoded: np.ndarray) -> float:
    """Mean absolute difference of natural-log mel spectra, averaged over the training's four resolutions."""
    distances = []
    for window, bands in RESOLUTIONS.items():
        filters = mel_filters(window // 2 + 1, bands)
        mels = [
            torch.log(filters.T @ magnitude(torch.from_numpy(x)[None], window, torch.hann_window(window)) + FLOOR)
            for x in (source, decoded)
        ]
        distances.append(float((mels[0] - mels[1]).abs().mean()))
    return float(np.mean(distances))


def figures(source: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """All figures of ``decoded`` ``[T]`` against ``source`` ``[T]``, both at 24 kHz and aligned."""
    result = {
        "stoi": float(stoi(source, decoded, SAMPLE_RATE_HZ)),
        "estoi": float(stoi(source, decoded, SAMPLE_RATE_HZ, extended=True)),
        "log_mel": log_mel_distance(source, decoded),
    }
    if pesq is not None:
        a, b = (soxr.resample(x, SAMPLE_RATE_HZ, 16_000) for x in (source, decoded))
        result["pesq_wb"] = float(pesq(16_000, a, b, "wb"))
    return result


def aligned(source: np.ndarray, decoded: np.ndarray, limit_s: float = 0.25) -> np.ndarray:
    """Shift ``decoded`` to where it correlates best with ``source`` (within ``limit_s``); the length of ``source``."""
    limit = int(limit_s * SAMPLE_RATE_HZ)
    size = min(len(source), len(decoded))
    scores = correlate(decoded[:size], source[:size], mode="full", method="fft")  # lag 0 at size - 1
    window = scores[size - 1 - limit : size + limit]
    # the magnitude: a vocoder may turn the sign of the wave
    lag = int(np.abs(window).argmax()) - limit
    shifted = decoded[lag:] if lag >= 0 else np.pad(decoded, (-lag, 0))
    return np.pad(shifted, (0, max(0, len(source) - len(shifted))))[: len(source)].astype(np.float32)


def through_opus(source: np.ndarray) -> np.ndarray:
    """Opus at 6 kbit/s, ``[T]`` at 24 kHz."""
    with tempfile.TemporaryDirectory() as name:
        wav, opus, back = (str(Path(name) / file) for file in ("in.wav", "a.opus", "out.wav"))
        soundfile.write(wav, source, SAMPLE_RATE_HZ)
        subprocess.run(["opusenc", "--quiet", "--bitrate", "6", "--speech", wav, opus], check=True)
        subprocess.run(["opusdec", "--quiet", "--rate", str(SAMPLE_RATE_HZ), opus, back], check=True)
        return load_recording(Path(back))


def through_codec2(source: np.ndarray) -> np.ndarray:
    """Codec2 at 3.2 kbit/s (8 kHz, 160-sample frames), ``[T]`` at 24 kHz."""
    narrow = soxr.resample(source, SAMPLE_RATE_HZ, 8000)
    narrow = np.pad(narrow, (0, -len(narrow) % 160 + 800))
    with tempfile.TemporaryDirectory() as name:
        raw, bits, back = (Path(name) / file for file in ("in.raw", "a.bit", "out.raw"))
        raw.write_bytes(np.clip(narrow * 32767, -32768, 32767).astype("<i2").tobytes())
        subprocess.run(["c2enc", "3200", raw, bits], check=True, capture_output=True)
        subprocess.run(["c2dec", "3200", bits, back], check=True, capture_output=True)
        decoded = np.frombuffer(back.read_bytes(), dtype="<i2").astype(np.float32) / 32768
    return soxr.resample(decoded, 8000, SAMPLE_RATE_HZ).astype(np.float32)


OTHERS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "opus_6k": ("opusenc", through_opus),
    "codec2_3200": ("c2enc", through_codec2),
}


@torch.inference_mode()
def encode(model: MimiModel, samples: np.ndarray) -> torch.Tensor:
    """Codes int64 ``[K, frames]`` of ``[T]``, padded with silence to whole frames."""
    padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
    return model.encode(torch.from_numpy(padded)[None, None]).audio_codes[0]


@torch.inference_mode()
def decode(model: MimiModel, codes: torch.Tensor, num_samples: int) -> np.ndarray:
    """Waveform ``[num_samples]`` of ``codes`` ``[K, frames]``."""
    return model.decode(codes[None]).audio_values[0, 0, :num_samples].numpy()


def perplexities(codes: torch.Tensor, cardinality: int) -> list[float]:
    """How many codes each row of ``codes`` ``[K, frames]`` uses, evenness counted: exp of the entropy."""
    result = []
    for row in codes:
        share = torch.bincount(row, minlength=cardinality).double() / row.numel()
        share = share[share > 0]
        result.append(round(float(torch.exp(-(share * share.log()).sum())), 1))
    return result


def codes_of_folder(model: MimiModel, folder: Path) -> torch.Tensor:
    """Codes ``[K, frames]`` of every recording below ``folder``, one after the other."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return torch.cat([encode(model, load_recording(path)) for path in paths], dim=1)


def main() -> None:
    """Measure, print, and write the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+", help="recordings; the first 10 s of each are used")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent)
    parser.add_argument("--training-set", type=Path, help="also report codebook use over this folder")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()

    started = time.perf_counter()
    model, info = MimiModel.from_pretrained(options.model, output_loading_info=True)
    load_s = time.perf_counter() - started
    if info["missing_keys"] or info["unexpected_keys"] or model.dtype != torch.float32:
        raise SystemExit(f"{options.model} did not load cleanly: {info}, {model.dtype}")
    model.eval()
    report: dict[str, object] = {"load_s": round(load_s, 3), "clips": {}}
    print(f"loaded in {load_s:.2f} s")
    all_codes = []
    noise = np.random.default_rng(0).standard_normal(CLIP_SAMPLES).astype(np.float32)
    for path in options.clips:
        source = load_recording(path)[:CLIP_SAMPLES]
        codes = encode(model, source)
        all_codes.append(codes)
        rows = {f"K={k}": figures(source, decode(model, codes[:k], len(source))) for k in COUNTS}
        # two answers that the tokens must beat: each code looked up in its neighbour's codebook, and nothing at all
        rows["wrong books"] = figures(source, decode(model, codes.roll(1, dims=0), len(source)))
        rows["silence"] = figures(source, 1e-4 * noise[: len(source)])
        for name, (program, through) in OTHERS.items():
            if shutil.which(program):
                rows[name] = figures(source, aligned(source, through(source)))
        report["clips"][path.name] = rows
        print(f"\n{path.name}\n{'':12}" + "".join(f"{name:>9}" for name in rows["K=32"]))
        for name, row in rows.items():
            print(f"{name:12}" + "".join(f"{value:9.3f}" for value in row.values()))
    size = model.config.codebook_size
    report["perplexity_clips"] = perplexities(torch.cat(all_codes, dim=1), size)
    print("\nperplexity over the clips:", *report["perplexity_clips"])
    if options.training_set:
        report["perplexity_training_set"] = perplexities(codes_of_folder(model, options.training_set), size)
        print("perplexity over the training set:", *report["perplexity_training_set"])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
