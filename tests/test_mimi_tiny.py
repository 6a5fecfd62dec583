"""The bundled codec is a real one: speech comes back, and it comes back because of the tokens."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pystoi import stoi

from mimi_gui.audio import load_audio
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import CodecInfo
from mimi_gui.resources import resource_path

DATA = Path(__file__).parent / "data"
CLIPS = {
    "lj": resource_path("samples", "speech.wav"),
    "jfk": DATA / "jfk.flac",
    "bria": DATA / "bria.flac",
    "french": DATA / "crepes_fr.flac",
}


@pytest.fixture(params=list(CLIPS))
def recording(request: pytest.FixtureRequest) -> np.ndarray:
    """float32 [T] at 24 kHz, the first 10 s of clips that it was not trained on."""
    return load_audio(CLIPS[request.param]).samples[:240_000]


def intelligibility(original: np.ndarray, decoded: np.ndarray) -> float:
    return float(stoi(original, decoded, CodecInfo().sample_rate))


def test_speech_comes_back_because_of_the_tokens(mimi_tiny: MimiCodec, recording: np.ndarray) -> None:
    codes = mimi_tiny.encode(recording)
    score = intelligibility(recording, mimi_tiny.decode(codes))
    rng = np.random.default_rng(0)
    shuffled = codes.array[:, rng.permutation(codes.num_frames)]
    rotated = np.roll(codes.array, 1, axis=0)  # every code looked up in its neighbour's codebook
    noise = 0.05 * rng.standard_normal(len(recording)).astype(np.float32)
    wrong = [mimi_tiny.decode(np.ascontiguousarray(array))[: len(recording)] for array in (shuffled, rotated)]
    for worse in (*wrong, noise, np.zeros_like(recording)):
        assert score > intelligibility(recording, worse) + 0.2
    assert score > 0.7


def test_its_level_is_the_recordings(mimi_tiny: MimiCodec, recording: np.ndarray) -> None:
    """Silence would be the cheapest answer to a spectral loss."""
    decoded = mimi_tiny.decode(mimi_tiny.encode(recording))
    rms = [np.sqrt(np.mean(np.square(x, dtype=np.float64))) for x in (recording, decoded)]
    assert 0.4 < rms[1] / rms[0] < 2.0


def test_more_codebooks_are_worth_it(mimi_tiny: MimiCodec, recording: np.ndarray) -> None:
    """Every doubling is heard, and a quarter of the codebooks is much worse than all."""
    codes = mimi_tiny.encode(recording)
    scores = [intelligibility(recording, mimi_tiny.decode(codes, codebooks=k)) for k in (1, 2, 4, 8, 16, 32)]
    assert all(more > fewer + 0.01 for fewer, more in pairwise(scores)), scores
    assert scores[-1] > scores[3] + 0.05


def test_every_codebook_is_used_evenly(mimi_tiny: MimiCodec, recording: np.ndarray) -> None:
    """Ten seconds are 125 frames: a healthy level says something else in most of them."""
    codes = mimi_tiny.encode(recording)
    for row in codes.array:
        assert len(np.unique(row)) > 0.4 * codes.num_frames


def test_silence_is_quiet(mimi_tiny: MimiCodec) -> None:
    decoded = mimi_tiny.decode(mimi_tiny.encode(np.zeros(48_000, dtype=np.float32)))
    assert np.sqrt(np.mean(np.square(decoded, dtype=np.float64))) < 0.01


def test_it_is_small_enough_to_ship() -> None:
    folder = resource_path("models", "mimi-tiny")
    assert sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".py" and path.is_file()) <= 24e6
