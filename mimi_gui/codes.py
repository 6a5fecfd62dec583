"""Codes and the files that hold them: what the rest of the program may believe about a token file.

A token file is a ``.npz`` with the documented keys ``audio_codes`` (int16 ``[1, K, T]``), ``sample_rate``,
``num_codebooks`` and ``num_frames``, plus ``metadata``, a JSON string. Whoever reads only the four keys can
read ours; a file that has only the four keys opens here. Nothing is unpickled, and sizes are believed only
after the zip directory and the array header agree, so that a file that claims terabytes costs nothing.
"""

from __future__ import annotations

import json
import math
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from mimi_gui.errors import CodesFileError, OutputError
from mimi_gui.target import check_target, writing

FORMAT_VERSION = 1
REQUIRED_KEYS = ("audio_codes", "sample_rate", "num_codebooks", "num_frames")

_MAX_CODES = 2**29  # 1 GiB as int16: 370 hours at 32 codebooks
_MAX_METADATA_BYTES = 4 * 2**20
_MAX_DEFLATE_RATIO = 1032  # no deflate stream can unpack to more than this
_PASS_BYTES = 64 * 2**20  # what CodesWriter holds in memory while it turns frames into rows
_BAD_FILE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError, SyntaxError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class CodecInfo:
    """The properties of a codec, and which checkpoint it is. The defaults are Mimi's.

    Attributes:
        sample_rate: of the audio, in Hz.
        frame_rate: frames per second.
        frame_size: samples per frame.
        num_codebooks: the most that this checkpoint has.
        cardinality: codes run from 0 to ``cardinality - 1``.
        num_semantic_codebooks: the first rows, which carry what is said rather than how.
        model_name, revision: what the checkpoint was asked for by, "" where unknown.
        digest: ``"sha256:<hex>"`` of the weights, "" where unknown.
    """

    sample_rate: int = 24_000
    frame_rate: float = 12.5
    frame_size: int = 1_920
    num_codebooks: int = 32
    cardinality: int = 2_048
    num_semantic_codebooks: int = 1
    model_name: str = ""
    revision: str = ""
    digest: str = ""

    def num_frames(self, num_samples: int) -> int:
        """Frames that hold ``num_samples`` samples; the last one is zero-padded."""
        return -(-num_samples // self.frame_size)

    def num_samples(self, num_frames: int) -> int:
        """Samples in ``num_frames`` whole frames."""
        return num_frames * self.frame_size

    def frame_to_s(self, frame: float) -> float:
        """Seconds at which ``frame`` begins."""
        return frame * self.frame_size / self.sample_rate

    def s_to_frame(self, seconds: float) -> int:
        """The frame that is heard at ``seconds``; on a border it is the one that begins there."""
        # The tolerance (a thousandth of a sample) undoes the rounding of frame_to_s.
        return math.floor((seconds * self.sample_rate + 1e-3) / self.frame_size)

    def bitrate_kbps(self, num_codebooks: int) -> float:
        """Kilobits per second of ``num_codebooks`` rows: 1.1 for 8, 4.4 for 32."""
        return num_codebooks * self.frame_rate * math.log2(self.cardinality) / 1000

    def same_checkpoint(self, other: CodecInfo) -> bool | None:
        """Whether both are the same weights; None where one of them does not say."""
        if not self.digest or not other.digest:
            return None
        return self.digest == other.digest


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of one recording. Prefix property: the first k rows are its k-codebook encoding.

    Attributes:
        array: int16 ``[K, T]``, C-contiguous, read-only.
        num_samples: true length of the audio at ``info.sample_rate``; the rest of the last frame is padding.
        info: codec and checkpoint.
        metadata: what else is known: precision, device, versions, source ...; JSON-able.

    Raises:
        ValueError: not an integer array ``[K, T]``, a code out of range, or a length that does not fit.
    """

    array: np.ndarray
    num_samples: int
    info: CodecInfo = field(default_factory=CodecInfo)
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 2 or array.shape[0] == 0:
            raise ValueError(f"codes have the shape {list(array.shape)}, expected [K, T]")
        array = _checked_int16(array, self.info.cardinality)
        if array is self.array and array.flags.writeable:
            array = array.copy()  # the caller may write to his
        array.flags.writeable = False
        num_frames = array.shape[1]
        if not 0 <= self.num_samples <= self.info.num_samples(num_frames):
            raise ValueError(f"{self.num_samples} samples do not fit into {num_frames} frames")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "metadata", dict(self.metadata))

    @property
    def num_codebooks(self) -> int:
        """K, the rows that are here."""
        return self.array.shape[0]

    @property
    def num_frames(self) -> int:
        """T, frames of ``info.frame_size`` samples."""
        return self.array.shape[1]

    @property
    def duration_s(self) -> float:
        """True length of the audio in seconds."""
        return self.num_samples / self.info.sample_rate

    @property
    def bitrate_kbps(self) -> float:
        """Kilobits per second before any entropy coding."""
        return self.info.bitrate_kbps(self.num_codebooks)

    def first(self, num_codebooks: int) -> Codes:
        """The same recording with fewer codebooks.

        Raises:
            ValueError: more than there are, or none.
        """
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise ValueError(f"{num_codebooks} codebooks were asked for, there are {self.num_codebooks}")
        return replace(self, array=self.array[:num_codebooks])


def _checked_int16(array: np.ndarray, cardinality: int) -> np.ndarray:
    """``array`` as C-contiguous int16, type and range checked on the host: a bad index would crash a GPU."""
    if array.dtype.kind not in "iu":
        raise ValueError(f"codes are {array.dtype}, expected integers")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= cardinality:
            bad = low if low < 0 else high
            raise ValueError(f"holds the code {bad}, codes run from 0 to {cardinality - 1}")
    return np.ascontiguousarray(array, dtype=np.int16)


# Reading


def load_codes(path: str | os.PathLike[str]) -> Codes:
    """Read a token file; the file is closed again on return.

    ``audio_codes`` may be int16, int32, int64, uint16 ..., ``[1, K, T]`` or ``[K, T]``; ``[T, K]`` is turned
    when ``num_codebooks`` and ``num_frames`` say that it is that. Without ``metadata`` the checkpoint is
    unknown and the audio is taken to fill its last frame.

    Raises:
        CodesFileError: everything else, with one sentence that names the file.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block
            kind = "folder" if path.is_dir() else "device or pipe"
            raise CodesFileError(f"{path} is a {kind}, expected a token file (.npz).")
        if not zipfile.is_zipfile(path):
            raise CodesFileError(f"{path} is not a token file: expected an .npz archive.")
        with zipfile.ZipFile(path) as archive:
            return _read_codes(archive)
    except CodesFileError:
        raise
    except FileNotFoundError:
        raise CodesFileError(f"{path} does not exist.") from None
    except _BAD_FILE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"{path} cannot be read as a token file: {reason.strip().rstrip('.')}."
        raise CodesFileError(message) from error


def _read_codes(archive: zipfile.ZipFile) -> Codes:
    """Raises one of _BAD_FILE with the reason as its text."""
    names = {name.removesuffix(".npy") for name in archive.namelist()}
    missing = [key for key in REQUIRED_KEYS if key not in names]
    if missing:
        found = ", ".join(sorted(names)[:8]) or "nothing"
        raise ValueError(f"it lacks {' and '.join(missing)} (it holds {found})")
    metadata = _read_metadata(archive) if "metadata" in names else {}
    info, num_samples, metadata = _split_metadata(metadata)

    sample_rate = _read_count(archive, "sample_rate")
    num_codebooks = _read_count(archive, "num_codebooks")
    num_frames = _read_count(archive, "num_frames")
    if sample_rate != info.sample_rate:
        raise ValueError(f"its sample_rate is {sample_rate}, the codec's is {info.sample_rate}")
    if num_codebooks > info.num_codebooks:
        raise ValueError(f"it claims {num_codebooks} codebooks, the codec has at most {info.num_codebooks}")
    array = _read_array(archive, "audio_codes", max_items=_MAX_CODES, kinds="iu")
    array = _as_rows(array, num_codebooks, num_frames)
    if num_samples is None:
        num_samples = info.num_samples(num_frames)
    elif not 0 < num_samples <= info.num_samples(num_frames):
        raise ValueError(f"its {num_samples} samples do not fit into its {num_frames} frames")
    return Codes(array, num_samples, info, metadata)


def _as_rows(array: np.ndarray, num_codebooks: int, num_frames: int) -> np.ndarray:
    """``[1, K, T]``, ``[K, T]`` or ``[T, K]`` -> ``[K, T]``, as the two counts decide."""
    shape = list(array.shape)
    if array.ndim == 3 and shape[0] != 1:
        raise ValueError(f"it holds a batch of {shape[0]} recordings, expected one: audio_codes [1, K, T]")
    rows = array[0] if array.ndim == 3 else array
    if rows.shape == (num_codebooks, num_frames):
        return rows
    if rows.shape == (num_frames, num_codebooks):
        return rows.T
    expected = f"[1, {num_codebooks}, {num_frames}] as num_codebooks and num_frames say"
    raise ValueError(f"audio_codes has the shape {shape}, expected {expected}")


def _read_count(archive: zipfile.ZipFile, key: str) -> int:
    array = _read_array(archive, key, max_items=1, kinds="iuf")
    value = array.reshape(-1)[0]
    if not np.isfinite(value) or value != int(value) or value <= 0:
        raise ValueError(f"{key} is {value}, expected a whole number above 0")
    return int(value)


def _read_metadata(archive: zipfile.ZipFile) -> dict[str, Any]:
    text = str(_read_array(archive, "metadata", max_items=1, kinds="U").reshape(-1)[0])
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its metadata is not valid JSON") from error
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a JSON object")
    return metadata


def _split_metadata(metadata: dict[str, Any]) -> tuple[CodecInfo, int | None, dict[str, Any]]:
    """What the file says of codec and length, and the rest; another program's metadata says neither."""
    version = metadata.get("format_version")
    if version is None:
        return CodecInfo(), None, metadata
    if version != FORMAT_VERSION:
        raise ValueError(f"it has format version {version!r}, this Mimi GUI reads {FORMAT_VERSION}: update it")
    rest = {key: value for key, value in metadata.items() if key not in _OWN_KEYS}
    known: dict[str, Any] = {}
    codec = metadata.get("codec", {})
    if not isinstance(codec, dict):
        raise ValueError("the codec in its metadata is not a JSON object")
    for item in fields(CodecInfo):
        home = metadata if item.name in _CHECKPOINT_KEYS else codec
        value = home.get(item.name, item.default)
        wanted = type(item.default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted or (wanted is not str and not 0 < value < 2**31):
            raise ValueError(f"{item.name} in its metadata is {value!r}")
        known[item.name] = value
    info = CodecInfo(**known)
    if info.cardinality > 2**15:
        raise ValueError(f"cardinality in its metadata is {info.cardinality}, which int16 cannot hold")
    num_samples = metadata.get("num_samples")
    if type(num_samples) is not int:
        raise ValueError(f"num_samples in its metadata is {num_samples!r}, expected a whole number")
    return info, num_samples, rest


def _read_array(archive: zipfile.ZipFile, key: str, *, max_items: int, kinds: str) -> np.ndarray:
    """One member after its claims were checked against each other; ``kinds`` are numpy's dtype letters."""
    names = archive.namelist()
    entry = archive.getinfo(f"{key}.npy" if f"{key}.npy" in names else key)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{key} is packed by a method that .npz files do not use")
    if entry.file_size > (entry.compress_size + 1) * _MAX_DEFLATE_RATIO:
        packed, unpacked = entry.compress_size, entry.file_size
        raise ValueError(f"{key} claims {unpacked:,} bytes, more than its {packed:,} can unpack to")
    with archive.open(entry) as stream:
        shape, fortran, dtype = _read_header(stream, key)
        if dtype.hasobject:
            raise ValueError(f"{key} holds pickled Python objects, which are never loaded")
        if dtype.kind not in kinds:
            expected = "integers" if kinds == "iu" else "a string" if kinds == "U" else "a number"
            raise ValueError(f"{key} is {dtype}, expected {expected}")
        num_items = math.prod(shape)
        num_bytes = num_items * dtype.itemsize
        if num_items > max_items or (kinds == "U" and num_bytes > _MAX_METADATA_BYTES):
            raise ValueError(f"{key} claims the shape {list(shape)}, {num_bytes:,} bytes, which is too much")
        if len(shape) > 3 or num_items == 0:
            expected = "[1, K, T]" if max_items > 1 else "one value"
            raise ValueError(f"{key} has the shape {list(shape)}, expected {expected}")
        num_held = entry.file_size - stream.tell()
        if num_bytes != num_held:
            raise ValueError(f"{key} claims {num_bytes:,} bytes, the archive holds {num_held:,}")
        data = stream.read(num_bytes)
        stream.read(1)  # at the end the checksum is compared
    array = np.frombuffer(data, dtype=dtype)  # a short read raises ValueError
    return array.reshape(shape, order="F" if fortran else "C")


def _read_header(stream: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"{key} is of .npy version {version}, expected 1.0 or 2.0")


# Writing

_CHECKPOINT_KEYS = ("model_name", "revision", "digest")
_OWN_KEYS = ("format_version", "num_samples", "codec", *_CHECKPOINT_KEYS)


def save_codes(path: str | os.PathLike[str], codes: Codes, *, overwrite: bool = False) -> Path:
    """Write ``codes`` to ``path``, whole or not at all; equal codes give equal bytes. Returns the path.

    Raises:
        OutputError: the target cannot be written, or exists and ``overwrite`` is False.
        CodesFileError: there are no frames.
    """
    writer = CodesWriter(path, codes.num_codebooks, codes.info, metadata=codes.metadata, overwrite=overwrite)
    with writer:
        writer.append(codes.array)
        return writer.finish(codes.num_samples)


class CodesWriter:
    """Writes a token file while the codes come, in constant memory, the same bytes as :func:`save_codes`.

    The length is known only at the end and rows must be contiguous, so frames wait in an unnamed temporary
    file beside the target. Leaving the ``with`` block before :meth:`finish` leaves nothing behind.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_codebooks: int,
        info: CodecInfo,
        *,
        metadata: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Raises OutputError when the target cannot be written."""
        self.path = check_target(path, overwrite=overwrite)
        self.num_codebooks = num_codebooks
        self.info = info
        self.metadata: dict[str, object] = dict(metadata or {})
        self.num_frames = 0
        self._overwrite = overwrite
        try:
            # SIM115: lives until finish() or close()
            self._spool: IO[bytes] = tempfile.TemporaryFile(dir=self.path.parent, prefix=".mimi-gui.")  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"Could not write {self.path}: {error.strerror or error}.") from error

    def append(self, block: np.ndarray) -> None:
        """Add frames: integers ``[K, t]``.

        Raises:
            ValueError: another K, or a code out of range.
            OutputError: the disk is full.
        """
        if block.ndim != 2 or block.shape[0] != self.num_codebooks:
            raise ValueError(f"a block of shape {list(block.shape)} came, expected [{self.num_codebooks}, t]")
        frames = np.ascontiguousarray(_checked_int16(block, self.info.cardinality).T)  # [t, K]
        try:
            self._spool.write(frames.astype("<i2", copy=False).data)
        except OSError as error:
            raise OutputError(f"Could not write {self.path}: {error.strerror or error}.") from error
        self.num_frames += block.shape[1]

    def finish(self, num_samples: int, **metadata: object) -> Path:
        """Write the file; ``num_samples`` is the audio's true length, ``metadata`` adds to what was given.

        Raises:
            OutputError: the target cannot be written.
            CodesFileError: there are no frames.
            ValueError: the length does not fit the frames.
        """
        if self.num_frames == 0:
            raise CodesFileError(f"There are no tokens to save in {self.path}: the recording is empty.")
        if not 0 < num_samples <= self.info.num_samples(self.num_frames):
            raise ValueError(f"{num_samples} samples do not fit into {self.num_frames} frames")
        text = _metadata_text(self.info, num_samples, {**self.metadata, **metadata})
        scalars = {
            "sample_rate": self.info.sample_rate,
            "num_codebooks": self.num_codebooks,
            "num_frames": self.num_frames,
        }
        shape = (1, self.num_codebooks, self.num_frames)
        with (
            writing(self.path, overwrite=self._overwrite) as partial,
            zipfile.ZipFile(partial, "w") as archive,
        ):
            _write_member(archive, "audio_codes", "<i2", shape, self._rows())
            for key, value in scalars.items():
                _write_member(archive, key, "<i8", (), [np.array(value, "<i8").tobytes()])
            string = np.array(text, dtype=f"<U{len(text)}")
            _write_member(archive, "metadata", string.dtype.str, (), [string.tobytes()])
        self.close()
        return self.path

    def _rows(self) -> Iterator[bytes]:
        """The spooled frames ``[T, K]`` as the bytes of ``[K, T]``, some rows at a time."""
        num_rows = max(1, min(self.num_codebooks, _PASS_BYTES // (2 * self.num_frames)))
        block_frames = max(1, _PASS_BYTES // (8 * 2 * self.num_codebooks))
        for first in range(0, self.num_codebooks, num_rows):
            last = min(first + num_rows, self.num_codebooks)
            rows = np.empty((last - first, self.num_frames), "<i2")
            self._spool.seek(0)
            for start in range(0, self.num_frames, block_frames):
                stop = min(start + block_frames, self.num_frames)
                data = self._spool.read((stop - start) * self.num_codebooks * 2)
                frames = np.frombuffer(data, "<i2").reshape(stop - start, self.num_codebooks)
                rows[:, start:stop] = frames[:, first:last].T
            yield rows.tobytes()

    def close(self) -> None:
        """Drop what was not finished; may be called twice."""
        self._spool.close()

    def __enter__(self) -> CodesWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _metadata_text(info: CodecInfo, num_samples: int, extra: Mapping[str, object]) -> str:
    codec = asdict(info)
    checkpoint = {key: codec.pop(key) for key in _CHECKPOINT_KEYS}
    own = {"format_version": FORMAT_VERSION, "num_samples": num_samples, "codec": codec, **checkpoint}
    return json.dumps({**extra, **own}, sort_keys=True, ensure_ascii=True, allow_nan=False)


def _write_member(
    archive: zipfile.ZipFile, key: str, descr: str, shape: tuple[int, ...], chunks: Iterable[bytes]
) -> None:
    entry = zipfile.ZipInfo(f"{key}.npy")  # its default date, 1980, keeps equal codes equal bytes
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o600 << 16
    with archive.open(entry, "w", force_zip64=True) as stream:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(chunk)
