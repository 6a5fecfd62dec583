"""transformers' own whole-file MimiModel as the judge of the engine's tokens and sound."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from transformers import MimiModel

FRAME_SIZE = 1920
_TIE = 2e-5  # relative distance within which float32 cannot tell two codewords apart


def zero_padded(samples: np.ndarray) -> np.ndarray:
    return np.pad(samples, (0, -len(samples) % FRAME_SIZE))


def hf_encode(model: MimiModel, samples: np.ndarray, num_codebooks: int = 32) -> np.ndarray:
    """int64 [K, T] of the zero-padded samples, encoded in one go."""
    return _hf_encode(model, samples.tobytes(), num_codebooks)


@lru_cache(maxsize=16)
def _hf_encode(model: MimiModel, data: bytes, num_codebooks: int) -> np.ndarray:
    samples = zero_padded(np.frombuffer(data, np.float32))
    with torch.inference_mode():
        return model.encode(torch.from_numpy(samples.copy())[None, None], None, num_codebooks).audio_codes[0].numpy()


@lru_cache(maxsize=4)
def _hf_latents(model: MimiModel, data: bytes) -> torch.Tensor:
    samples = zero_padded(np.frombuffer(data, np.float32))
    with torch.inference_mode():
        return model.encoder(torch.from_numpy(samples.copy())[None, None]).latents  # [1, C, T]


def hf_decode(model: MimiModel, codes: np.ndarray) -> np.ndarray:
    """float32 [T * frame size] of integer codes [K, T], decoded in one go."""
    with torch.inference_mode():
        return model.decode(torch.from_numpy(codes.astype(np.int64))[None]).audio_values[0, 0].numpy()


def assert_same_sound(got: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of the peak everywhere."""
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0.0) <= 1e-5 * np.abs(expected).max(initial=0.0)


def assert_same_tokens(
    model: MimiModel, samples: np.ndarray, codes: np.ndarray, least: float = 1.0, tied_frames: int = 0
) -> None:
    """Equal to the whole-file encode in at least the share ``least``; and where a frame differs, its first differing
    codebook is a tie: float64 arithmetic on the model's own latents finds both codewords equally near.

    After a tie the rest of that frame differs too, since each level quantises what the one before left over: one tie
    at an early level is up to 31 tokens, which a short recording cannot average out. So ``tied_frames`` frames may
    differ whatever their share.
    """
    expected = hf_encode(model, samples, codes.shape[0])
    assert codes.shape == expected.shape
    same = codes == expected
    for frame in np.flatnonzero(~same.all(axis=0)):
        level = int(np.argmin(same[:, frame]))
        near, chosen = _distances(model, samples, expected[:, frame], level, frame, int(codes[level, frame]))
        assert abs(near - chosen) <= _TIE * near, f"frame {frame}, codebook {level}: {near} and {chosen} is no tie"
    if int((~same.all(axis=0)).sum()) <= tied_frames:
        return
    assert same.mean() >= least, f"only {same.mean():.6f} of the tokens are equal"


@torch.inference_mode()
def _distances(
    model: MimiModel, samples: np.ndarray, expected: np.ndarray, level: int, frame: int, chosen: int
) -> tuple[float, float]:
    quantizer = model.quantizer
    semantic = quantizer.num_semantic_quantizers
    rvq, first = quantizer.semantic_residual_vector_quantizer, 0
    if level >= semantic:
        rvq, first = quantizer.acoustic_residual_vector_quantizer, semantic
    latent = _hf_latents(model, samples.tobytes())[0, :, frame].double()
    residual = rvq.input_proj.weight[..., 0].double() @ latent
    for k in range(first, level):
        residual = residual - rvq.layers[k - first].codebook.embed[int(expected[k])].double()
    book = rvq.layers[level - first].codebook.embed.double()
    return float((residual - book[int(expected[level])]).norm()), float((residual - book[chosen]).norm())
