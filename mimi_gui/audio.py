"""Recordings: read in blocks, mixed to mono, resampled by one streaming resampler; written whole or not.

libsndfile decides what a file is by its content, so a wrong suffix does no harm. A file that ends early is
read as far as it goes and says so in ``warnings``; only where nothing can be read is it refused.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from mimi_gui.codes import CodecInfo
from mimi_gui.errors import AudioFileError, Cancelled, OutputError
from mimi_gui.kept_sound import large_zeros, let_go
from mimi_gui.target import writing

CODEC_RATE = CodecInfo.sample_rate
FULL_SCALE = 0.999  # as good as clipped

_BLOCK_SAMPLES = 2**16
_OPEN_ENDED_BYTES = 0x7FFF_0000  # what programs that write to a pipe claim, not knowing the length
_MP3_SLACK_SAMPLES = 1152 * 8  # MP3 lengths are estimates where no Xing header counts the frames
_WAV_BYTES = 2**32 - 2**16
_WIDTHS = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}  # bytes a sample, 4 for the others

# suffix -> libsndfile's format and the subtype written by default
WRITABLE = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".w64": ("W64", "PCM_16"),
    ".aiff": ("AIFF", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}

# Files that people drop and libsndfile does not read: (offset, first bytes, what it is).
_FOREIGN = (
    (4, b"ftyp", "an MP4 or M4A (AAC) file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (0, b"\x30\x26\xb2\x75", "a WMA file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"wvpk", "a WavPack file"),
)


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself.

    Attributes:
        num_samples: per channel at the file's own rate, -1 where it does not say.
        duration_s: -1.0 where it does not say.
        format, subtype: libsndfile's names, such as ``WAV`` and ``PCM_16``.
    """

    path: Path
    sample_rate: int
    num_channels: int
    num_samples: int
    duration_s: float
    format: str
    subtype: str


@dataclass(frozen=True, eq=False)
class Waveform:
    """What the codec hears: ``samples`` float32 ``[T]``, mono at ``sample_rate``, read-only."""

    samples: np.ndarray
    sample_rate: int
    source: AudioInfo | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        samples = np.asarray(self.samples, dtype=np.float32)
        if samples.ndim != 1:
            raise ValueError(f"samples have the shape {list(samples.shape)}, expected [T]")
        view = samples.view()
        view.flags.writeable = False
        object.__setattr__(self, "samples", view)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate


class Level:
    """Peak and loudness of a recording, block by block: what finds the silent and the clipped in a corpus."""

    def __init__(self) -> None:
        self._peak, self._energy = 0.0, 0.0
        self._num_samples = self._num_full_scale = 0

    def add(self, block: np.ndarray) -> None:
        """Take float32 ``[n]``."""
        if not len(block):
            return
        size = np.abs(block)
        self._peak = max(self._peak, float(size.max()))
        self._num_full_scale += int(np.count_nonzero(size >= FULL_SCALE))
        self._energy += float(np.square(block, dtype=np.float64).sum())
        self._num_samples += len(block)

    def as_dict(self) -> dict[str, float | int]:
        """``peak`` (1 = full scale), ``rms_dbfs`` (-200 for silence), ``num_full_scale`` samples."""
        mean = self._energy / max(1, self._num_samples)
        rms_dbfs = 10 * math.log10(mean) if mean > 1e-20 else -200.0
        return {
            "peak": round(self._peak, 6),
            "rms_dbfs": round(rms_dbfs, 2),
            "num_full_scale": self._num_full_scale,
        }


# Reading


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the header only.

    Raises:
        AudioFileError: not a recording, or an empty one.
    """
    path = Path(path)
    with _open(path) as file:
        return _info(path, file)


def audio_comment(path: str | os.PathLike[str]) -> str:
    """The comment in a recording's tags, "" where there is none.

    Raises:
        AudioFileError: not a recording.
    """
    with _open(Path(path)) as file:
        return str(file.comment)


class AudioReader:
    """A recording as mono blocks at the codec's rate, in constant memory; iterate it once, in a ``with``.

    Yields float32 ``[n]``, n > 0; together they equal ``soxr.resample`` (HQ) of the whole file, bit for bit.

    Attributes:
        info: the file.
        sample_rate: of the blocks, in Hz.
        channel: which one is read, None for the mean of all.
        expected_samples: how many will come in all, by the header; the file may end early.
        warnings: sentences about what was missing; complete when the iteration ends.
    """

    def __init__(
        self, path: str | os.PathLike[str], sample_rate: int = CODEC_RATE, *, channel: int | None = None
    ) -> None:
        """Raises AudioFileError: not a recording, or without that channel."""
        self._path = Path(path)
        self._file = _open(self._path)
        self.info = _info(self._path, self._file)
        self.sample_rate = sample_rate
        self.channel = channel
        if channel is not None and not 0 <= channel < self.info.num_channels:
            self._file.close()
            raise AudioFileError(f"{path} has {self.info.num_channels} channels, channel {channel} was asked for.")
        self.expected_samples = max(1, int(self.info.num_samples * sample_rate / self.info.sample_rate + 0.5))
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Raises AudioFileError: a sample that is not finite, or nothing readable."""
        blocks = map(self._mono, _blocks(self._path, self._file, self.info, self.warnings))
        if self.info.sample_rate == self.sample_rate:
            yield from blocks
            return
        stream = soxr.ResampleStream(self.info.sample_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        first, num_samples = None, 0
        for block in blocks:
            first = block[:1] if first is None else first
            resampled = stream.resample_chunk(block)
            num_samples += len(resampled)
            if len(resampled):
                yield resampled
        resampled = stream.resample_chunk(np.empty(0, np.float32), last=True)
        if len(resampled):
            yield resampled
        elif num_samples == 0 and first is not None:
            yield first  # shorter than one sample of the codec: keep a sample rather than nothing

    def _mono(self, block: np.ndarray) -> np.ndarray:
        return block.mean(axis=1) if self.channel is None else np.ascontiguousarray(block[:, self.channel])

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def load_audio(
    path: str | os.PathLike[str],
    sample_rate: int = CODEC_RATE,
    *,
    channel: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Waveform:
    """Read a whole recording as mono float32 ``[T]`` at ``sample_rate``.

    Args:
        channel: read this one only, None for the mean of all.
        progress: called per block with (samples done, samples expected).
        cancel: polled per block.

    Raises:
        AudioFileError: see :class:`AudioReader`; also when it does not fit into memory.
        Cancelled: ``cancel`` returned True.
    """
    with AudioReader(path, sample_rate, channel=channel) as reader:
        # A header may claim anything: believe it up to 1 GiB, grow beyond.
        samples = large_zeros(min(reader.expected_samples, 2**28))
        num_samples = 0
        try:
            for block in reader:
                if cancel is not None and cancel():
                    raise Cancelled
                if num_samples + len(block) > len(samples):
                    longer = large_zeros(max(len(samples) * 3 // 2, num_samples + len(block)))
                    longer[:num_samples] = samples[:num_samples]
                    samples = longer
                samples[num_samples : num_samples + len(block)] = block
                num_samples += len(block)
                if progress is not None:
                    progress(num_samples, max(num_samples, reader.expected_samples))
        except MemoryError as error:
            message = f"{reader.info.path} does not fit into memory: encode it with --streaming or cut it."
            raise AudioFileError(message, "Out of memory") from error
        let_go(samples)
        return Waveform(samples[:num_samples], sample_rate, reader.info, tuple(reader.warnings))


def load_native(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a whole recording untouched: float32 ``[T, C]`` and its own rate in Hz.

    Raises:
        AudioFileError: as :func:`load_audio`.
    """
    path = Path(path)
    with _open(path) as file:
        info = _info(path, file)
        try:
            return np.concatenate(list(_blocks(path, file, info, []))), info.sample_rate
        except MemoryError as error:
            message = f"{path} does not fit into memory: cut it into shorter files."
            raise AudioFileError(message, "Out of memory") from error


def _open(path: Path) -> soundfile.SoundFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block, a device never ends
            raise AudioFileError(
                f"{path} is a {'folder' if path.is_dir() else 'device or pipe'}, expected a recording."
            )
        with path.open("rb") as stream:  # the operating system's words are better than libsndfile's
            head = stream.read(16)
    except FileNotFoundError:
        raise AudioFileError(f"{path} does not exist.") from None
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not head:
        raise AudioFileError(f"{path} is empty (0 bytes), expected a recording.")
    for offset, magic, kind in _FOREIGN:
        if head[offset:].startswith(magic):
            message = f"{path} is {kind}, which cannot be read here: convert it to wav or flac first."
            raise AudioFileError(message)
    if head.startswith(b"PK\x03\x04") and path.suffix.lower() == ".npz":
        raise AudioFileError(f"{path} is a token file (.npz), expected a recording.")
    if path.suffix.lower() == ".raw":  # the only suffix that soundfile believes
        raise AudioFileError(f"{path} is raw audio without a header: convert it to wav or flac first.")
    try:
        # As bytes: a name that is no valid UTF-8 is a name all the same.
        name: Any = path if os.name == "nt" else os.fsencode(path)
        file = soundfile.SoundFile(name)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").strip().rstrip(".")
        message = f"{path} is not a recording that can be read ({reason}): expected wav, flac, ogg, opus or mp3."
        raise AudioFileError(message) from error
    if file.frames == 0 or not 1000 <= file.samplerate <= 10_000_000:
        reason = "holds no sound (0 samples)" if file.frames == 0 else f"has a rate of {file.samplerate} Hz"
        file.close()
        raise AudioFileError(f"{path} {reason}, expected a recording.")
    return file


def _info(path: Path, file: soundfile.SoundFile) -> AudioInfo:
    num_samples = file.frames if 0 < file.frames < 2**62 else -1
    duration_s = num_samples / file.samplerate if num_samples > 0 else -1.0
    return AudioInfo(path, file.samplerate, file.channels, num_samples, duration_s, file.format, file.subtype)


def _blocks(path: Path, file: soundfile.SoundFile, info: AudioInfo, warnings: list[str]) -> Iterator[np.ndarray]:
    """float32 ``[n, C]``, finite, n > 0; what is missing at the end is said in ``warnings``."""
    num_samples, failure = 0, ""
    while not failure:
        # Where libsndfile fails in the middle of a block, the NaN that are left tell how far it came.
        block = np.full((_BLOCK_SAMPLES, info.num_channels), np.nan, np.float32)
        try:
            read = len(file.read(out=block))
        except soundfile.LibsndfileError as error:
            failure = error.error_string.removeprefix("Error : ").strip().rstrip(".")
            gone = np.isnan(block).all(axis=1)
            read = int(gone.argmax()) if gone.any() else len(block)
        block = block[:read]
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            at_s = (num_samples + int(finite.argmin())) / info.sample_rate
            raise AudioFileError(f"{path} holds NaN or infinity at {at_s:.3f} s: repair it or export it again.")
        num_samples += read
        if read == 0:
            break
        yield block
    if num_samples == 0:
        raise AudioFileError(f"{path} holds no readable sound ({failure or 'it ends at once'}): export it again.")
    warning = _shortfall(path, file, info, num_samples, failure)
    if warning:
        warnings.append(warning)


def _shortfall(path: Path, file: soundfile.SoundFile, info: AudioInfo, num_samples: int, failure: str) -> str:
    """One sentence where the file has less than it claims, else ""."""
    claimed = info.num_samples
    # libsndfile mends the length of a cut wav or aiff silently; its log has both numbers.
    match = re.search(r"(?:data|SSND|riff) : (\d+) \(should be (\d+)\)", file.extra_info)
    if match and int(match[1]) < _OPEN_ENDED_BYTES and int(match[2]) > 0:
        claimed = round(num_samples * int(match[1]) / int(match[2]))
    slack = _MP3_SLACK_SAMPLES if info.format == "MP3" else 0
    if num_samples + slack >= claimed and not failure:
        return ""
    there_s, claimed_s = num_samples / info.sample_rate, claimed / info.sample_rate
    why = f" ({failure})" if failure else ""
    return f"{path} is damaged or cut short{why}: {there_s:.1f} s of {claimed_s:.1f} s could be read."


# Writing


def save_audio(
    path: str | os.PathLike[str],
    samples: np.ndarray,
    sample_rate: int,
    *,
    subtype: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write mono float32 ``[T]`` in the format of the path's suffix, as :class:`AudioWriter` does."""
    with AudioWriter(path, sample_rate, subtype=subtype, overwrite=overwrite) as writer:
        writer.write(samples)
    return writer.path


class AudioWriter:
    """Writes a mono recording block by block; the file appears when the ``with`` block ends well.

    wav (16 bit unless ``subtype`` says otherwise), flac, ogg, opus, w64, aiff or mp3 by suffix.

    Attributes:
        num_samples: written so far.
        num_clipped: samples beyond full scale that had to be limited (none in float subtypes).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        *,
        subtype: str | None = None,
        overwrite: bool = False,
        comment: str = "",
    ) -> None:
        """``comment`` goes into the file's tags where its container has any.

        Raises OutputError: an unknown suffix or subtype, or a target that cannot be written.
        """
        self.path = Path(path)
        self.num_samples = self.num_clipped = 0
        container, subtype = check_format(self.path, subtype)
        self._limits = subtype not in ("FLOAT", "DOUBLE")
        self._most_samples = _WAV_BYTES // _WIDTHS.get(subtype, 4) if container == "WAV" else 2**62
        with ExitStack() as stack:
            partial = stack.enter_context(writing(self.path, overwrite=overwrite))
            try:
                self._file = soundfile.SoundFile(partial, "w", sample_rate, 1, subtype, format=container)
            except soundfile.LibsndfileError as error:
                raise self._failure(error) from error
            stack.callback(self._close_file)
            if comment:
                with suppress(soundfile.LibsndfileError):  # au and w64 have no tags
                    self._file.comment = comment
            self._stack = stack.pop_all()

    def write(self, samples: np.ndarray) -> None:
        """Add float32 ``[n]``.

        Raises:
            ValueError: not one-dimensional or not finite.
            OutputError: the disk is full, or a wav would pass its limit of 4 GiB.
        """
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(f"samples of shape {list(samples.shape)} came, expected finite ones, [n]")
        if self.num_samples + len(samples) > self._most_samples:
            raise OutputError(f"{self.path} would pass the 4 GiB that a wav can hold: choose .w64 or .flac.")
        for start in range(0, len(samples), _BLOCK_SAMPLES):  # libvorbis overflows its stack at large blocks
            block = samples[start : start + _BLOCK_SAMPLES]
            if self._limits:
                limited = np.clip(block, -1, 1)
                self.num_clipped += int(np.count_nonzero(limited != block))
                block = limited
            try:
                self._file.write(block)
            except (
                soundfile.LibsndfileError,
                AssertionError,
            ) as error:  # soundfile asserts against short writes
                raise self._failure(error) from error
            self.num_samples += len(block)

    def close(self) -> None:
        """Finish the file and move it to its name; the ``with`` block does it too."""
        self._stack.close()

    def _close_file(self) -> None:
        try:
            self._file.close()
        except soundfile.LibsndfileError as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> OutputError:
        words = getattr(error, "error_string", "is the disk full?")
        return OutputError(f"Could not write {self.path}: {words.strip().rstrip('.')}.")

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.__exit__(*exc_info)


def check_format(path: str | os.PathLike[str], subtype: str | None = None) -> tuple[str, str]:
    """The container and subtype that ``path`` would be written in.

    Raises:
        OutputError: a suffix or subtype that is not on offer; the sentence names those that are.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise OutputError(f"{path} has no suffix that audio is written as: choose {', '.join(WRITABLE)}.")
    container, default = WRITABLE[suffix]
    wanted = (subtype or default).upper()
    if not soundfile.check_format(container, wanted):
        choice = ", ".join(sorted(soundfile.available_subtypes(container)))
        raise OutputError(f"{suffix} cannot hold the subtype {subtype}: choose one of {choice}.")
    return container, wanted
