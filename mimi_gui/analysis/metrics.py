"""The numbers: what each is called, what it means, and its value or the reason why it has none.

``measure`` compares "what Mimi heard" (the reference) with the trimmed reconstruction, both mono at the codec
rate. Groups keep waveform fidelity apart from perceived quality: Mimi is trained to sound right, not to
follow the waveform, so a low SI-SDR says little about how it sounds. Pure; may run on any thread; a cancel is
heard in under a second except inside one piece of PESQ or ViSQOL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mimi_gui.analysis import codebooks, distances, loudness, perceived
from mimi_gui.analysis.alignment import measure_delay
from mimi_gui.analysis.distances import Cancel, NoValue, check_cancel
from mimi_gui.codes import Codes

Better = Literal["higher", "lower", "neither"]

GROUPS = {
    "size": "Size",
    "tokens": "Tokens",
    "waveform": "Waveform fidelity",
    "perceived": "Perceived quality (models of listeners)",
    "level": "Level and delay",
}


@dataclass(frozen=True)
class Metric:
    """A number and all that one must know to read it. ``group`` is a key of :data:`GROUPS`."""

    key: str
    name: str
    unit: str
    better: Better
    group: str
    definition: str
    library: str
    caveat: str
    digits: int = 2

    @property
    def tooltip(self) -> str:
        """Definition, unit and direction, library, caveat: a few lines of plain text."""
        direction = {
            "higher": "higher is closer",
            "lower": "lower is closer",
            "neither": "no better or worse",
        }
        unit = f"Unit: {self.unit}; " if self.unit else ""
        lines = [
            self.definition,
            f"{unit}{direction[self.better]}.",
            f"Computed with {self.library}.",
            self.caveat,
        ]
        return "\n".join(line for line in lines if line)


@dataclass(frozen=True)
class MetricResult:
    """A value or a reason, never both, never a stand-in such as 0.0. ``note`` says what it rests on (rate,
    frames).
    """

    metric: Metric
    value: float | None
    reason: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise ValueError(f"{self.metric.key}: a result has either a value or a reason")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.metric.key}: {self.value} is not a number to show; give a reason")

    @property
    def text(self) -> str:
        """The value with its unit, or ``n/a (reason)``."""
        if self.value is None:
            return f"n/a ({self.reason})"
        return f"{self.value:.{self.metric.digits}f} {self.metric.unit}".rstrip()

    def as_dict(self) -> dict[str, object]:
        """A JSON-able row: key, name, group, unit, better, value (or null), reason, note."""
        m = self.metric
        return {
            "key": m.key, "name": m.name, "group": m.group, "unit": m.unit, "better": m.better,
            "value": self.value, "reason": self.reason, "note": self.note,
        }  # fmt: skip


@dataclass
class _Question:
    """What the metrics are asked about; results that two of them share are kept in ``memo``."""

    reference: np.ndarray
    reconstruction: np.ndarray
    sample_rate: int
    codes: Codes | None
    cancel: Cancel
    memo: dict[str, object] = field(default_factory=dict)

    def need_codes(self) -> Codes:
        if self.codes is None:
            raise NoValue("no tokens: this compares two recordings")
        if self.codes.num_frames == 0:
            raise NoValue("the selection holds no whole frame")
        return self.codes

    def use(self) -> codebooks.CodebookUse:
        codes = self.need_codes()
        if "use" not in self.memo:
            self.memo["use"] = codebooks.codebook_use(codes.array, codes.info.cardinality)
        found = self.memo["use"]
        assert isinstance(found, codebooks.CodebookUse)
        return found

    def multi_resolution(self) -> tuple[float, float]:
        if "stft" not in self.memo:
            self.memo["stft"] = distances.multi_resolution_stft(self.reference, self.reconstruction, self.cancel)
        found = self.memo["stft"]
        assert isinstance(found, tuple)
        return found


_Answer = tuple[float, str]  # value, note


def _bitrate(q: _Question) -> _Answer:
    codes = q.need_codes()
    return codes.bitrate_kbps, f"{codes.num_codebooks} codebooks"


def _tokens_per_second(q: _Question) -> _Answer:
    codes = q.need_codes()
    return codes.num_codebooks * codes.info.frame_rate, f"{codes.num_codebooks} codebooks"


def _compression(q: _Question) -> _Answer:
    codes = q.need_codes()
    return codes.info.sample_rate * 16 / 1000 / codes.bitrate_kbps, "against 16 bit mono at the codec rate"


def _entropy_rate(q: _Question) -> _Answer:
    use = q.use()
    rate = q.need_codes().info.frame_rate
    return float(use.entropy_corrected_bits.sum()) * rate / 1000, f"{use.num_frames} frames"


def _codebook_use(q: _Question) -> _Answer:
    return 100 * float(q.use().used_share.mean()), f"{q.use().num_frames} frames"


def _perplexity(q: _Question) -> _Answer:
    return float(q.use().perplexity.mean()), f"{q.use().num_frames} frames"


def _dead(q: _Question) -> _Answer:
    use = q.use()
    return float(use.unused.mean()), f"of {use.cardinality}, {use.num_frames} frames"


def _si_sdr(q: _Question) -> _Answer:
    return distances.si_sdr(q.reference, q.reconstruction), ""


def _log_mel(q: _Question) -> _Answer:
    value = distances.log_mel_distance(q.reference, q.reconstruction, q.sample_rate, q.cancel)
    return value, f"{q.sample_rate} Hz, {distances.LOG_MEL_BANDS} bands"


def _convergence(q: _Question) -> _Answer:
    return q.multi_resolution()[0], ""


def _log_stft(q: _Question) -> _Answer:
    return q.multi_resolution()[1], ""


def _lsd(q: _Question) -> _Answer:
    value, share = distances.log_spectral_distance(q.reference, q.reconstruction, q.cancel)
    return value, f"{100 * share:.0f} % of the columns; the rest is silence"


def _stoi(q: _Question) -> _Answer:
    return perceived.stoi(q.reference, q.reconstruction, q.sample_rate, cancel=q.cancel), "10 kHz"


def _estoi(q: _Question) -> _Answer:
    return perceived.stoi(q.reference, q.reconstruction, q.sample_rate, extended=True, cancel=q.cancel), "10 kHz"


def _pesq(q: _Question) -> _Answer:
    return perceived.pesq_wb(q.reference, q.reconstruction, q.sample_rate, cancel=q.cancel), "wide band, 16 kHz"


def _visqol(q: _Question) -> _Answer:
    value = perceived.visqol_speech(q.reference, q.reconstruction, q.sample_rate, cancel=q.cancel)
    return value, "speech mode, 16 kHz"


def _loudness_change(q: _Question) -> _Answer:
    before = loudness.integrated_loudness(q.reference, q.sample_rate)
    after = loudness.integrated_loudness(q.reconstruction, q.sample_rate)
    if not math.isfinite(before) or not math.isfinite(after):
        raise NoValue("one of the two is silent")
    return after - before, f"{after:.1f} LUFS against {before:.1f} LUFS"


def _true_peak(q: _Question) -> _Answer:
    before = loudness.true_peak_db(q.reference, q.sample_rate)
    after = loudness.true_peak_db(q.reconstruction, q.sample_rate)
    if not math.isfinite(after):
        raise NoValue("the reconstruction is silent")
    return after, f"reference {before:.1f} dBTP"


def _delay(q: _Question) -> _Answer:
    delay = measure_delay(q.reference, q.reconstruction, q.sample_rate)
    if delay.peak_ratio == 0:
        raise NoValue("silent or too short: nothing to measure a delay by")
    note = f"{1000 * delay.lag_samples / q.sample_rate:.2f} ms, highest peak {delay.peak_ratio:.1f} x the second"
    return delay.lag_samples, note


_LENGTH = "Grows with the length: compare recordings of like length only."
_CATALOGUE: list[tuple[Metric, Callable[[_Question], _Answer]]] = [
    (Metric("bitrate", "Bitrate", "kbit/s", "neither", "size",
        "Codebooks x frame rate x bits per code (11 for 2048 codes), before any entropy coding.",
        "arithmetic",
        ""
    ), _bitrate),
    (Metric("tokens_per_second", "Tokens per second", "tokens/s", "neither", "size",
        "Codebooks x frame rate.",
        "arithmetic",
        "", 0
    ), _tokens_per_second),
    (Metric("compression", "Compression", "times", "neither", "size",
        "Bits of the mono recording at the codec rate with 16 bits a sample, per bit of tokens.",
        "arithmetic",
        "Against the file on disk it can be more or less.", 0
    ), _compression),
    (Metric("entropy_rate", "Entropy rate", "kbit/s", "neither", "tokens",
        "Sum over codebooks of the entropy of its codes (Miller-Madow corrected) x frame rate: what an "
        "ideal entropy coder without memory would need.",
        "numpy",
        "Needs minutes. " + _LENGTH
    ), _entropy_rate),
    (Metric("codebook_use", "Codebook use", "%", "neither", "tokens",
        "Share of the codes of a codebook that occur, mean over codebooks.",
        "numpy",
        _LENGTH, 1
    ), _codebook_use),
    (Metric("perplexity", "Perplexity", "codes", "neither", "tokens",
        "2 to the entropy: as many equally likely codes would be as varied; mean over codebooks.",
        "numpy",
        _LENGTH, 0
    ), _perplexity),
    (Metric("unused_codes", "Codes that never occur", "codes", "neither", "tokens",
        "Per codebook, mean over codebooks. Called dead when the recordings are many hours.",
        "numpy",
        _LENGTH, 0
    ), _dead),
    (Metric("si_sdr", "SI-SDR", "dB", "higher", "waveform",
        "Scale-invariant signal-to-distortion ratio: 10 log10(|as|^2 / |as - e|^2) with a = <e,s> / "
        "|s|^2.",
        "numpy",
        "A codec like Mimi is trained to sound right, not to follow the waveform: 1 to 5 dB is normal "
        "and not bad quality. A shift of one sample costs decibels."
    ), _si_sdr),
    (Metric("log_mel", "Log-mel distance", "Np", "lower", "waveform",
        "Mean absolute difference of ln amplitude over 80 mel bands (Slaney, 0 Hz to half the rate), "
        "Hann 1024, hop 256, floor -100 dB full scale. 1 Np = 8.69 dB.",
        "numpy",
        "Papers differ in bands, hop and logarithm: compare only numbers made with these settings.", 3
    ), _log_mel),
    (Metric("stft_convergence", "STFT spectral convergence", "", "lower", "waveform",
        "||S| - |E||_F / ||S||_F, mean of three resolutions (FFT 1024, 2048, 512; hop 120, 240, 50; "
        "window 600, 1200, 240).",
        "numpy",
        "The formula of auraloss 0.4 and Parallel WaveGAN.", 3
    ), _convergence),
    (Metric("stft_log", "STFT log magnitude distance", "Np", "lower", "waveform",
        "Mean |ln |S| - ln |E||, mean of the same three resolutions. With the convergence it sums to "
        "the multi-resolution STFT distance.",
        "numpy",
        "Silence weighs as much as speech, down to a floor of 1e-4 per bin.", 3
    ), _log_stft),
    (Metric("lsd", "Log-spectral distance", "dB", "lower", "waveform",
        "mean_t sqrt(mean_f (20 log10 |S| / |E|)^2), Hann 2048, hop 512, floor 80 dB under the loudest "
        "bin.",
        "numpy",
        "Columns more than 60 dB under the loudest are left out: silence would dominate."
    ), _lsd),
    (Metric("stoi", "STOI", "", "higher", "perceived",
        "Short-time objective intelligibility: correlation of third-octave envelopes over 0.4 s, 0 to "
        "1.",
        "pystoi",
        "Hears nothing above 5 kHz; made for noisy speech, not for music.", 3
    ), _stoi),
    (Metric("estoi", "ESTOI", "", "higher", "perceived",
        "Extended STOI: the correlation is taken over bands as well, 0 to 1.",
        "pystoi",
        "Hears nothing above 5 kHz; made for noisy speech, not for music.", 3
    ), _estoi),
    (Metric("pesq_wb", "PESQ-WB", "MOS-LQO", "higher", "perceived",
        "ITU-T P.862.2, wide band at 16 kHz, about 1 to 4.64; over 30 s the mean of pieces.",
        "pesq (optional)",
        "Speech only. The narrow-band figure reads about 0.5 higher. Known to undervalue generative "
        "codecs."
    ), _pesq),
    (Metric("visqol", "ViSQOL", "MOS-LQO", "higher", "perceived",
        "Similarity of gammatone spectrograms mapped to an opinion score, 1 to 5; speech mode at 16 "
        "kHz.",
        "visqol-python (optional)",
        "Ranked codecs against listeners' order in Mimi's own paper: do not trust it alone."
    ), _visqol),
    (Metric("loudness_change", "Loudness change", "LU", "neither", "level",
        "Integrated loudness of the reconstruction minus that of the reference (BS.1770-4, gated).",
        "pyloudnorm's filters",
        "Under 0.4 s the ungated level. A difference of 0.25 can already be preferred."
    ), _loudness_change),
    (Metric("true_peak", "True peak", "dBTP", "neither", "level",
        "The highest value between samples of the reconstruction, by oversampling (BS.1770-4).",
        "scipy",
        "Over 0 it clips in a converter.", 1
    ), _true_peak),
    (Metric("delay", "Delay", "samples", "neither", "level",
        "How late the reconstruction is: the peak of GCC-PHAT within 1920 samples, on the loudest 10 s.",
        "numpy",
        "Mimi has none. Periodic sounds can mislead: trust it when the peak is twice the second.", 0
    ), _delay),
]  # fmt: skip

METRICS: dict[str, Metric] = {metric.key: metric for metric, _ in _CATALOGUE}


def measure(
    reference: np.ndarray,
    reconstruction: np.ndarray,
    sample_rate: int,
    codes: Codes | None = None,
    which: Iterable[str] | None = None,
    cancel: Cancel = None,
    *,
    span_s: tuple[float, float] | None = None,
    on_result: Callable[[MetricResult], None] | None = None,
) -> list[MetricResult]:
    """Compare ``reconstruction`` with ``reference``, both float ``[T]`` mono at ``sample_rate``.

    Args:
        codes: the tokens between them; without, the sizes and token numbers say so.
        which: keys of :data:`METRICS` or of :data:`GROUPS`; None for all. The order is the catalogue's.
        cancel: polled every block.
        span_s: (start, end) in seconds; only this selection is measured. Tokens count by the frames it
            touches.

        on_result: told each as soon as it is known, in the catalogue's order: an hour takes minutes.

    Raises:
        ValueError: not one-dimensional, unequal lengths, not finite, an unknown key.
        Cancelled: ``cancel()`` said so.
    """
    wanted = set(METRICS) if which is None else _keys(which)
    reference, reconstruction = _checked(reference, "reference"), _checked(reconstruction, "reconstruction")
    if reference.shape != reconstruction.shape:
        raise ValueError(f"{len(reference)} against {len(reconstruction)} samples; trim both to the same length")
    if span_s is not None:
        start, stop = (max(0, round(t * sample_rate)) for t in span_s)
        reference, reconstruction = reference[start:stop], reconstruction[start:stop]
        codes = None if codes is None else _codes_between(codes, *span_s)
    question = _Question(reference, reconstruction, sample_rate, codes, cancel)
    results = []
    for metric, answer in _CATALOGUE:
        if metric.key not in wanted:
            continue
        check_cancel(cancel)
        try:
            if len(reference) == 0 and metric.group in ("waveform", "perceived", "level"):
                raise NoValue("the recording is empty")
            value, note = answer(question)
            results.append(MetricResult(metric, float(value), note=note))
        except NoValue as why:
            results.append(MetricResult(metric, None, reason=str(why)))
        if on_result is not None:
            on_result(results[-1])
    return results


def _keys(which: Iterable[str]) -> set[str]:
    wanted: set[str] = set()
    for key in which:
        if key in GROUPS:
            wanted |= {m.key for m in METRICS.values() if m.group == key}
        elif key in METRICS:
            wanted.add(key)
        else:
            raise ValueError(f"{key!r} is not a metric; expected one of {', '.join(METRICS)}")
    return wanted


def _checked(samples: np.ndarray, name: str) -> np.ndarray:
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"the {name} has the shape {list(samples.shape)}, expected mono [T]")
    if not np.isfinite(samples).all():
        raise ValueError(f"the {name} has samples that are not finite numbers")
    return samples


def _codes_between(codes: Codes, start_s: float, end_s: float) -> Codes:
    first = max(0, codes.info.s_to_frame(start_s))
    last = min(codes.num_frames, math.ceil(end_s * codes.info.sample_rate / codes.info.frame_size - 1e-9))
    part = codes.array[:, first : max(first, last)]
    return Codes(part, codes.info.num_samples(part.shape[1]), codes.info, codes.metadata)
