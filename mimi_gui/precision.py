"""What ``--precision fast`` costs, measured on the spot: the same codec in float32 beside it, for a few seconds.

Nothing about the loss is known beforehand: it depends on the checkpoint, the processor and the recording.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

_SECONDS = 5.0


@dataclass(frozen=True)
class TokensChanged:
    """How far the tokens of a fast codec are from those of the exact one.

    Attributes:
        share: of all tokens compared, 0 to 1.
        first_share: of those of codebook 0 alone.
        duration_s: how much of the recording was compared, from its beginning.
    """

    share: float
    first_share: float
    duration_s: float

    def sentence(self) -> str:
        """For a person."""
        return (
            f"Precision fast: {100 * self.share:.1f} % of the tokens of the first {self.duration_s:.1f} s differ from"
            f" exact ({100 * self.first_share:.1f} % of the first codebook's)."
        )

    def as_dict(self) -> dict[str, float]:
        """For a token file's metadata."""
        return {"share": self.share, "first_codebook": self.first_share, "seconds": self.duration_s}


def tokens_changed(codec: MimiCodec, samples: np.ndarray, num_codebooks: int) -> TokensChanged | None:
    """Encode the first seconds once more with both precisions. Blocking; loads the checkpoint a second time.

    Args:
        codec: any; an exact one has changed nothing.
        samples: float32 ``[T]`` at the codec rate; the first 5 s are enough.

    Returns:
        None for an exact codec and for a recording without a sample.

    Raises:
        ModelUnavailable, DeviceError: the checkpoint cannot be loaded again.
    """
    start = samples[: round(_SECONDS * codec.info.sample_rate)]
    if codec.precision == "exact" or not len(start):
        return None
    with _exact(codec) as exact:
        expected = exact.encode(start, num_codebooks=num_codebooks).array
    changed = codec.encode(start, num_codebooks=num_codebooks).array != expected
    return TokensChanged(float(changed.mean()), float(changed[0].mean()), len(start) / codec.info.sample_rate)


def sound_changed(codec: MimiCodec, codes: np.ndarray) -> str | None:
    """Decode the first seconds with both precisions and say in a sentence how far the sound is from exact.

    Args:
        codes: integers ``[K, T]``.

    Returns:
        None for an exact codec and for no frames. The figure is the ratio of the exact sound's power to the
        difference's, in dB.

    Raises:
        ModelUnavailable, DeviceError: the checkpoint cannot be loaded again.
    """
    start = codes[:, : round(_SECONDS * codec.info.frame_rate)]
    if codec.precision == "exact" or not start.shape[1]:
        return None
    with _exact(codec) as exact:
        expected = exact.decode(start).astype(np.float64)
    error = float(np.square(codec.decode(start) - expected).mean())
    power = float(np.square(expected).mean())
    ratio = f"{10 * math.log10(power / error):.0f} dB below it" if error and power else "nothing"
    return f"Precision fast: the difference from the exact sound is {ratio}, in the first {_duration(codec, start)}."


def _duration(codec: MimiCodec, codes: np.ndarray) -> str:
    return f"{codes.shape[1] / codec.info.frame_rate:.1f} s"


def _exact(codec: MimiCodec) -> MimiCodec:
    from mimi_gui.codec import MimiCodec

    return MimiCodec.from_pretrained(codec.checkpoint.name, codec.device)
