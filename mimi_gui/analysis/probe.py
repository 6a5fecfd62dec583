"""How steady the tokens are: what a shift, a gain, noise or less context does to them, per codebook.

A language model that is trained on tokens sees each of these as another text. Pure but for the ``encode`` that the
caller brings; any thread.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mimi_gui.analysis.codebooks import agreement
from mimi_gui.analysis.distances import Cancel, check_cancel

Encode = Callable[[np.ndarray], np.ndarray]  # float32 [T] -> integer [K, T]
Kind = Literal["shift", "gain", "noise", "context"]

_LABELS = {
    "shift": "shifted by {:g} samples",
    "gain": "{:+g} dB",
    "noise": "white noise, {:g} dB under the speech",
    "context": "{:g} frames of context",
}
_CONTEXT_PLACES = 4
_CONTEXT_SPAN = 12  # frames compared at each place


@dataclass(frozen=True)
class Disturbance:
    """What is done to the recording: samples of shift, dB of gain, dB of signal to noise, or frames of context."""

    kind: Kind
    amount: float

    @property
    def label(self) -> str:
        """For an axis."""
        return _LABELS[self.kind].format(self.amount)


DEFAULT_DISTURBANCES = (
    *(Disturbance("shift", s) for s in (1, 120, 480, 960, 1440, 1919)),
    *(Disturbance("gain", g) for g in (-12, -6, -1, 1, 6)),
    *(Disturbance("noise", n) for n in (60, 40, 30, 20)),
    *(Disturbance("context", c) for c in (0, 1, 4, 12, 50, 125)),
)


@dataclass(frozen=True)
class Steadiness:
    """Share of equal tokens per codebook, float64 ``[K]``, over ``num_frames`` frames; or why there is none."""

    disturbance: Disturbance
    share: np.ndarray
    num_frames: int
    reason: str = ""


def csv_table(results: Sequence[Steadiness]) -> str:
    """CSV: a line per disturbance with the share of equal tokens of each codebook, empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    most = max((len(result.share) for result in results), default=0)
    writer.writerow(["kind", "amount", "label", "num_frames", *(f"codebook_{k}" for k in range(most)), "reason"])
    for result in results:
        shares = [f"{share:.6g}" for share in result.share] + [""] * (most - len(result.share))
        done = result.disturbance
        writer.writerow([done.kind, f"{done.amount:g}", done.label, result.num_frames, *shares, result.reason])
    return out.getvalue()


def probe(
    samples: np.ndarray,
    frame_size: int,
    encode: Encode,
    disturbances: Sequence[Disturbance] = DEFAULT_DISTURBANCES,
    *,
    seed: int = 0,
    plain: np.ndarray | None = None,
    on_result: Callable[[Steadiness], None] | None = None,
    cancel: Cancel = None,
) -> list[Steadiness]:
    """Encode ``samples`` (float32 ``[T]``) as they are and under each disturbance, and compare the tokens.

    A shift of s samples cuts them off the beginning; frame t is then compared with the frame that it overlaps most.
    Context c encodes anew from c frames before each of four places and compares the twelve frames after it. The last
    frame is left out where padding would make it another one. Noise is drawn from ``seed``. ``plain``: what
    ``encode(samples)`` gave before, so that it need not be done again.

    Raises:
        ValueError: not even one whole frame, or a shift outside 0 .. frame_size.
        Cancelled: ``cancel()`` said so.
    """
    if len(samples) < frame_size:
        raise ValueError(f"{len(samples)} samples; expected at least one frame of {frame_size}")
    check_cancel(cancel)
    plain = np.asarray(encode(samples)) if plain is None else plain
    results = []
    for disturbance in disturbances:
        check_cancel(cancel)
        if disturbance.kind == "context":
            result = _with_less_context(samples, plain, frame_size, encode, disturbance, cancel)
        else:
            result = _disturbed(samples, plain, frame_size, encode, disturbance, seed)
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def _disturbed(
    samples: np.ndarray, plain: np.ndarray, frame_size: int, encode: Encode, disturbance: Disturbance, seed: int
) -> Steadiness:
    amount, skip = disturbance.amount, 0
    if disturbance.kind == "shift":
        if not 0 <= amount < frame_size:
            raise ValueError(f"a shift of {amount} samples; expected 0 to {frame_size - 1}")
        other = samples[int(amount) :]
        skip = int(2 * amount >= frame_size)  # beyond half a frame the next one overlaps more
    elif disturbance.kind == "gain":
        other = samples * np.float32(10 ** (amount / 20))
    else:
        level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) * 10 ** (-amount / 20)
        noise = np.random.default_rng(seed).standard_normal(len(samples), dtype=np.float32)
        other = samples + np.float32(level) * noise
    disturbed = np.asarray(encode(np.ascontiguousarray(other, dtype=np.float32)))
    whole = len(samples) // frame_size - (disturbance.kind == "shift" and amount > 0)
    left, right = plain[:, skip : skip + whole], disturbed[:, :whole]
    if not min(left.shape[1], right.shape[1]):
        return Steadiness(disturbance, np.zeros(0), 0, "the recording is shorter than two frames")
    found = agreement(left, right)
    return Steadiness(disturbance, found.share, found.mask.shape[1])


def _with_less_context(
    samples: np.ndarray, plain: np.ndarray, frame_size: int, encode: Encode, disturbance: Disturbance, cancel: Cancel
) -> Steadiness:
    context, total = int(disturbance.amount), len(samples) // frame_size
    # A place needs its frames after it, and more before it than the context, or nothing would be cut.
    first, last = context + 1, total - _CONTEXT_SPAN
    if last < first:
        return Steadiness(disturbance, np.zeros(0), 0, "the recording is too short for so much context")
    places = sorted({int(p) for p in np.linspace(first, last, _CONTEXT_PLACES)})
    masks = []
    for place in places:
        check_cancel(cancel)
        cut = samples[(place - context) * frame_size : (place + _CONTEXT_SPAN) * frame_size]
        codes = np.asarray(encode(np.ascontiguousarray(cut)))[:, context:]
        masks.append(agreement(plain[:, place : place + _CONTEXT_SPAN], codes).mask)
    mask = np.concatenate(masks, axis=1)
    return Steadiness(disturbance, mask.mean(axis=1), mask.shape[1])
