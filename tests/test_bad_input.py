"""What nobody should send: each is one clear sentence, at no cost, and leaves no trace.

Recordings that are none: tests/test_audio.py. Here: token files, and what the verbs make of all of it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui.audio import load_audio
from mimi_gui.codes import load_codes
from mimi_gui.errors import AudioFileError, CodesFileError

GOOD = {
    "audio_codes": np.zeros((1, 8, 10), np.int16),
    "sample_rate": np.array(24000),
    "num_codebooks": np.array(8),
    "num_frames": np.array(10),
}


def npz(**changes: object) -> bytes:
    buffer = io.BytesIO()
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def header(shape: tuple[int, ...], descr: str = "<i2") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def archive(audio_codes: bytes, method: int = zipfile.ZIP_STORED, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        out.writestr("audio_codes.npy", audio_codes)
        for key, value in GOOD.items():
            if key != "audio_codes":
                member = io.BytesIO()
                np.save(member, value)
                out.writestr(f"{key}.npy", others.get(key, member.getvalue()))
        for key in others.keys() - GOOD.keys():
            out.writestr(f"{key}.npy", others[key])
    return buffer.getvalue()


def lying_directory() -> bytes:
    """A member of some bytes that says it unpacks to 4 GiB, in its header and in the directory."""
    data = bytearray(archive(header((1, 8, 10)) + bytes(160), zipfile.ZIP_DEFLATED))
    size = struct.pack("<I", len(header((1, 8, 10))) + 160)
    lie = struct.pack("<I", 0xFFFF_FFF0)
    return bytes(data.replace(size, lie))


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("/tmp/mimi-gui-was-here"),))


def ours(**changes: object) -> str:
    return json.dumps({"format_version": 1, "num_samples": 19_000, "codec": {}, **changes})


BAD: dict[str, tuple[bytes, str]] = {
    "not an archive": (b"hello, this is not an npz", "not a token file"),
    "empty": (b"", "not a token file"),
    "one npy": (header((8, 10)) + bytes(160), "not a token file"),
    "an empty archive": (b"PK\x05\x06" + bytes(18), "lacks"),
    "lacks a key": (npz(num_frames=None), "lacks num_frames"),
    "lacks codes": (npz(audio_codes=None, codes=np.zeros(3)), "lacks audio_codes"),
    "floats": (npz(audio_codes=np.zeros((1, 8, 10), np.float32)), "float32, expected integers"),
    "NaN": (npz(audio_codes=np.full((1, 8, 10), np.nan)), "expected integers"),
    "booleans": (npz(audio_codes=np.zeros((1, 8, 10), bool)), "expected integers"),
    "strings": (npz(audio_codes=np.full((1, 8, 10), "a")), "expected integers"),
    "pickles": (npz(audio_codes=np.array([Evil()], object)), "pickled"),
    "a pickled scalar": (npz(sample_rate=np.array([Evil()], object)), "pickled"),
    "pickled metadata": (npz(metadata=np.array({"a": Evil()}, object)), "pickled"),
    "a bare pickle": (archive(pickle.dumps({"a": 1})), "magic string"),
    "four axes": (npz(audio_codes=np.zeros((1, 1, 8, 10), np.int16)), "expected [1, K, T]"),
    "one axis": (npz(audio_codes=np.zeros(80, np.int16)), "expected [1, 8, 10]"),
    "a batch": (npz(audio_codes=np.zeros((2, 8, 10), np.int16)), "batch of 2"),
    "no frames": (npz(audio_codes=np.zeros((1, 8, 0), np.int16), num_frames=0), "above 0"),
    "no frames, one claimed": (
        npz(audio_codes=np.zeros((1, 8, 0), np.int16), num_frames=1),
        "expected [1, K, T]",
    ),
    "other K": (npz(num_codebooks=7), "expected [1, 7, 10]"),
    "other T": (npz(num_frames=11), "expected [1, 8, 11]"),
    "too many codebooks": (
        npz(audio_codes=np.zeros((1, 33, 10), np.int16), num_codebooks=33),
        "at most 32",
    ),
    "code too high": (npz(audio_codes=np.full((1, 8, 10), 2048)), "the code 2048"),
    "code too low": (npz(audio_codes=np.full((1, 8, 10), -1)), "the code -1"),
    "code far too high": (npz(audio_codes=np.full((1, 8, 10), 2**40)), "the code 1099511627776"),
    "another rate": (npz(sample_rate=16000), "sample_rate is 16000"),
    "rate NaN": (npz(sample_rate=np.nan), "sample_rate is nan"),
    "rate is text": (npz(sample_rate="24000"), "expected a number"),
    "negative K": (npz(num_codebooks=-8), "num_codebooks is -8"),
    "half a frame": (npz(num_frames=9.5), "num_frames is 9.5"),
    "terabytes by the header": (archive(header((1, 32, 2**36)) + bytes(160)), "too much"),
    "terabytes by the header, packed": (
        archive(header((1, 32, 2**36)) + bytes(10**6), zipfile.ZIP_DEFLATED),
        "too much",
    ),
    "more than the archive holds": (archive(header((1, 8, 1000)) + bytes(160)), "the archive holds 160"),
    "less than the archive holds": (archive(header((1, 8, 10)) + bytes(10**4)), "the archive holds 10,000"),
    "negative shape": (archive(header((1, 8, 10)).replace(b"8, 10", b"8,-10") + bytes(160)), ""),
    "huge integers in the shape": (archive(header((1, 8, 10**40))), "too much"),
    "code in the header": (
        archive(header((1, 8, 10)).replace(b"(1, 8, 10)", b"exit(9)   ") + bytes(160)),
        "",
    ),
    "lies in the directory": (lying_directory(), "more than its"),
    "another packing": (archive(header((1, 8, 10)) + bytes(160), zipfile.ZIP_LZMA), "packed by a method"),
    "metadata is no JSON": (npz(metadata="{"), "not valid JSON"),
    "metadata is a list": (npz(metadata="[1]"), "not a JSON object"),
    "metadata is deep": (npz(metadata="[" * 100_000), "not valid JSON"),
    "metadata is numbers": (npz(metadata=np.zeros(1)), "expected a string"),
    "a newer version": (npz(metadata=json.dumps({"format_version": 99})), "update"),
    "too many samples": (npz(metadata=ours(num_samples=10**9)), "do not fit"),
    "samples are text": (npz(metadata=ours(num_samples="many")), "num_samples"),
    "samples are missing": (npz(metadata=json.dumps({"format_version": 1})), "num_samples"),
    "codec is a list": (npz(metadata=ours(codec=[])), "codec"),
    "frame size 0": (npz(metadata=ours(codec={"frame_size": 0})), "frame_size"),
    "cardinality beyond int16": (npz(metadata=ours(codec={"cardinality": 2**20})), "int16"),
    "model is a number": (npz(metadata=ours(model_name=7)), "model_name"),
    "rate is infinite": (npz(metadata=ours(codec={"frame_rate": 1e300})), "frame_rate"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_token_files_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    data, words = BAD[name]
    path = tmp_path / "bad.npz"
    path.write_bytes(data)
    with pytest.raises(CodesFileError) as caught:
        load_codes(path)
    message = caught.value.message
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 400
    assert not Path("/tmp/mimi-gui-was-here").exists()


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CodesFileError, match="does not exist"):
        load_codes(tmp_path / "none.npz")
    with pytest.raises(CodesFileError, match="folder"):
        load_codes(tmp_path)


def test_a_bomb_within_the_law_is_read_at_its_true_size(tmp_path: Path) -> None:
    """200 MB of zeros pack into 200 kB: the sizes agree with the packing, not with the shape."""
    path = tmp_path / "bomb.npz"
    path.write_bytes(archive(header((1, 8, 10)) + bytes(200 * 10**6), zipfile.ZIP_DEFLATED))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CodesFileError, match="the archive holds"):
        load_codes(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes there")
def test_pipes_and_devices_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(AudioFileError, match="device or pipe"):
            load_audio(path)
        with pytest.raises(CodesFileError, match="device or pipe"):
            load_codes(path)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mimi_gui.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_verbs_say_one_line_and_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio" * 99)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "bad.npz").write_bytes(BAD["code too high"][0])
    (tmp_path / "there.npz").write_text("mine")
    soundfile.write(tmp_path / "good.wav", np.zeros(2400), 24000)
    before = sorted(tmp_path.iterdir())
    for arguments in (
        ("encode", tmp_path / "text.wav", tmp_path / "a.npz"),
        ("encode", tmp_path / "empty.wav", tmp_path / "a.npz"),
        ("encode", tmp_path / "missing.wav", tmp_path / "a.npz"),
        ("encode", tmp_path, tmp_path / "a.npz"),
        ("encode", tmp_path / "good.wav", tmp_path / "there.npz"),
        ("encode", tmp_path / "good.wav", tmp_path),
        ("encode", tmp_path / "good.wav", tmp_path / "no" / "a.npz"),
        ("decode", tmp_path / "bad.npz", tmp_path / "a.wav"),
        ("decode", tmp_path / "good.wav", tmp_path / "a.wav"),
        ("decode", tmp_path / "bad.npz", tmp_path / "a.xyz"),
        ("info", tmp_path / "text.wav"),
        ("info", tmp_path / "bad.npz"),
        ("info", tmp_path),
        ("info", "nobody/nothing"),
    ):
        done = run(*arguments)
        assert done.returncode == 1, (arguments, done)
        assert done.stdout == ""
        assert done.stderr.startswith("mimi-gui: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.npz").read_text() == "mine"
