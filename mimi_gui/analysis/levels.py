"""What one codebook of a mix changes, in numbers: the mix with it against the mix without it.

Pure; any thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mimi_gui.analysis.distances import Cancel
from mimi_gui.analysis.metrics import MetricResult, measure

FIDELITY = ("log_mel", "si_sdr")


@dataclass(frozen=True)
class LevelEffect:
    """One codebook's part in a mix.

    Attributes:
        codebook: its number from 0. in_mix: whether the mix has it (else it was added for the comparison).
        change: log-mel distance between the sound with it and the sound without it; 0 where nothing changes.
        with_it, without_it: distances to the original (keys ``FIDELITY``), empty where no original is open.
    """

    codebook: int
    in_mix: bool
    change: MetricResult
    with_it: tuple[MetricResult, ...] = ()
    without_it: tuple[MetricResult, ...] = ()

    @property
    def log_mel_gain(self) -> float | None:
        """How much closer to the original it brings the sound, in the log-mel distance's unit; None if unknown."""
        return self._gain("log_mel", -1.0)

    @property
    def si_sdr_gain(self) -> float | None:
        """How many dB of SI-SDR it adds; None if unknown."""
        return self._gain("si_sdr", 1.0)

    def _gain(self, key: str, sign: float) -> float | None:
        values = [
            next((r.value for r in results if r.metric.key == key), None) for results in (self.with_it, self.without_it)
        ]
        if values[0] is None or values[1] is None:
            return None
        return sign * (values[0] - values[1])

    @property
    def words(self) -> str:
        """All of it, a line each."""
        lines = [f"Without it the sound changes by {self.change.text} (log-mel distance)"]
        for a, b in zip(self.with_it, self.without_it, strict=True):
            lines.append(f"{a.metric.name} to the original: with it {a.text}, without it {b.text}")
        return "\n".join(lines)


def level_effect(
    codebook: int,
    with_it: np.ndarray,
    without_it: np.ndarray,
    original: np.ndarray | None,
    sample_rate: int,
    *,
    in_mix: bool = True,
    cancel: Cancel = None,
) -> LevelEffect:
    """Compare float32 ``[T]`` of the same span; ``original`` None where none is open.

    Raises:
        Cancelled: ``cancel()`` said so.
        ValueError: unequal lengths.
    """
    change = measure(with_it, without_it, sample_rate, which=["log_mel"], cancel=cancel)[0]
    fidelity: list[tuple[MetricResult, ...]] = [(), ()]
    if original is not None:
        fidelity = [
            tuple(measure(original, sound, sample_rate, which=FIDELITY, cancel=cancel))
            for sound in (with_it, without_it)
        ]
    return LevelEffect(codebook, in_mix, change, fidelity[0], fidelity[1])
