"""Recordings in and out. Oracles: soundfile and soxr on the whole file, and bytes cut by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mimi_gui.audio import (
    AudioReader,
    AudioWriter,
    Waveform,
    audio_info,
    check_format,
    load_audio,
    load_native,
    save_audio,
)
from mimi_gui.errors import AudioFileError, Cancelled, OutputError


def noise(num_samples: int, num_channels: int = 1, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((num_samples, num_channels)) * 0.1).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, **kinds: str) -> Path:
    soundfile.write(path, samples, rate, **kinds)
    return path


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000, 384000])
@pytest.mark.parametrize("num_channels", [1, 2, 8])
def test_equals_the_whole_file_mixed_and_resampled_at_once(tmp_path: Path, rate: int, num_channels: int) -> None:
    path = write(tmp_path / "a.wav", noise(3 * rate // 2 + 777, num_channels), rate, subtype="FLOAT")
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    expected = soxr.resample(whole.mean(axis=1), rate, 24000, quality="HQ")
    wave = load_audio(path)
    assert np.array_equal(wave.samples, expected)
    assert wave.sample_rate == 24000
    assert wave.warnings == ()
    assert abs(len(expected) - len(whole) * 24000 / rate) <= 0.5
    with AudioReader(path) as reader:
        blocks = list(reader)
        assert reader.expected_samples == len(expected)
    assert all(block.dtype == np.float32 and len(block) for block in blocks)
    assert np.array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize(
    ("suffix", "kinds"),
    [
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "ULAW"}),
        ("flac", {}),
        ("ogg", {}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("mp3", {}),
        ("aiff", {}),
        ("w64", {}),
        ("caf", {}),
        ("au", {}),
    ],
)
def test_reads_what_libsndfile_reads(tmp_path: Path, suffix: str, kinds: dict[str, str]) -> None:
    path = write(tmp_path / f"a.{suffix}", noise(48000, 2), 48000, **kinds)
    whole, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = load_audio(path)
    assert np.array_equal(wave.samples, soxr.resample(whole.mean(axis=1), rate, 24000))
    native, native_rate = load_native(path)
    assert native_rate == rate
    assert np.array_equal(native, whole)
    info = audio_info(path)
    assert (info.sample_rate, info.num_channels, info.num_samples) == (rate, 2, len(whole))
    assert wave.source == info
    assert wave.warnings == ()


def test_the_real_recordings(speech: Path, noisy_speech: Path) -> None:
    for path in (speech, noisy_speech):
        whole, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert np.array_equal(load_audio(path).samples, soxr.resample(whole.mean(axis=1), rate, 24000))


def test_samples_are_read_only(speech: Path) -> None:
    wave = load_audio(speech)
    with pytest.raises(ValueError, match="read-only"):
        wave.samples[0] = 1
    with pytest.raises(ValueError, match="expected"):
        Waveform(np.zeros((2, 3)), 24000)


def test_progress_and_cancel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(300_000), 24000)
    seen: list[tuple[int, int]] = []
    load_audio(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (300_000, 300_000)
    with pytest.raises(Cancelled):
        load_audio(path, cancel=lambda: len(seen) > 0)


@pytest.mark.parametrize("rate", [8000, 24000, 44100, 384000])
def test_one_sample_is_a_recording(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "one.wav", np.full((1, 1), 0.5, np.float32), rate, subtype="FLOAT")
    samples = load_audio(path).samples
    assert len(samples) >= 1
    assert np.isfinite(samples).all()


def test_silence_is_a_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "silence.flac", np.zeros((44100, 2)), 44100)
    assert not load_audio(path).samples.any()


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", noise(24000), 24000)
    for name in ("liar.wav", "liar.mp3", "liar.txt", "noname", "ünïcode 录音.wav"):
        (tmp_path / name).write_bytes(flac.read_bytes())
        assert np.array_equal(load_audio(tmp_path / name).samples, load_audio(flac).samples)


# Files that end early


@pytest.mark.parametrize("suffix", ["wav", "aiff", "w64", "flac", "mp3"])
def test_a_cut_file_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    whole = noise(200_000, 2)
    path = write(tmp_path / f"a.{suffix}", whole, 44100)
    reference, _ = soundfile.read(path, dtype="float32", always_2d=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    native, _ = load_native(path)
    assert 0.4 < len(native) / len(reference) < 0.55
    assert np.array_equal(native, reference[: len(native)])
    wave = load_audio(path)
    (warning,) = wave.warnings
    assert "cut short" in warning
    assert "of 4.5 s" in warning


def test_a_length_left_open_by_a_pipe_is_no_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(24000), 24000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    wave = load_audio(path)
    assert len(wave.samples) == 24000
    assert wave.warnings == ()


def test_a_header_that_claims_hours_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(24000), 24000)
    data = bytearray(path.read_bytes())
    data[22:26] = b"\xff\xff\xff\xff"  # STREAMINFO: the low 32 of 36 bits of the length
    path.write_bytes(data)
    wave = load_audio(path)
    assert len(wave.samples) == 24000
    assert "cut short" in wave.warnings[0]


def test_a_file_that_vanishes_or_shrinks_while_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(400_000), 24000)
    with AudioReader(path) as reader:
        blocks = iter(reader)
        next(blocks)
        os.truncate(path, 300_000)
        path.unlink()
        rest = sum(len(block) for block in blocks)
    assert 0 < rest < 400_000
    assert reader.warnings


# Writing


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".w64", ".aiff"])
def test_written_audio_is_rounded_once(tmp_path: Path, suffix: str) -> None:
    samples = noise(200_001)[:, 0]
    path = save_audio(tmp_path / f"a{suffix}", samples, 24000)
    back, rate = soundfile.read(path, dtype="float32")
    assert rate == 24000
    assert len(back) == len(samples)
    assert np.abs(back - samples).max() <= 1.01 / 2**15
    assert soundfile.info(path).subtype == "PCM_16"


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
def test_lossy_formats_are_written_whole(tmp_path: Path, suffix: str) -> None:
    path = save_audio(tmp_path / f"a{suffix}", noise(240_000)[:, 0], 24000)
    assert abs(soundfile.info(path).duration - 10) < 0.1


def test_subtypes_and_blocks(tmp_path: Path) -> None:
    samples = noise(100_000)[:, 0] * 20
    with AudioWriter(tmp_path / "a.wav", 24000, subtype="float") as writer:
        for start in range(0, len(samples), 777):
            writer.write(samples[start : start + 777])
    assert writer.num_clipped == 0
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], samples)
    with AudioWriter(tmp_path / "b.wav", 24000) as writer:
        writer.write(samples)
    assert writer.num_clipped == np.count_nonzero(np.abs(samples) > 1)
    assert writer.num_samples == len(samples)
    with pytest.raises(ValueError, match="finite"), AudioWriter(tmp_path / "c.wav", 24000) as writer:
        writer.write(np.array([0.0, np.nan], np.float32))
    assert not (tmp_path / "c.wav").exists()


def test_formats_that_are_not_on_offer(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.flac"):
        check_format("a.m4a")
    with pytest.raises(OutputError, match="PCM_24"):
        check_format("a.flac", "FLOAT")
    with pytest.raises(OutputError):
        save_audio(tmp_path / "a", np.zeros(10, np.float32), 24000)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_block_leaves_the_old_file(tmp_path: Path) -> None:
    target = save_audio(tmp_path / "a.wav", noise(100)[:, 0], 24000)
    before = target.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save_audio(target, noise(10)[:, 0], 24000)

    def interrupted() -> None:
        with AudioWriter(target, 24000, overwrite=True) as writer:
            writer.write(noise(1000)[:, 0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from mimi_gui.audio import save_audio
from mimi_gui.codes import Codes, save_codes
from mimi_gui.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
codes = np.random.default_rng(0).integers(0, 2048, (32, 5000))
for what in (
    lambda: save_audio(sys.argv[1] + "/a.wav", np.zeros(10**6, np.float32), 24000),
    lambda: save_audio(sys.argv[1] + "/a.flac", np.random.default_rng(0).random(10**6, np.float32), 24000),
    lambda: save_codes(sys.argv[1] + "/a.npz", Codes(codes, 1)),
):
    try:
        what()
    except OutputError as error:
        print(error)
    else:
        print("no error")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stdout
    assert all(line.startswith("Could not write") for line in lines), done.stdout
    assert list(tmp_path.iterdir()) == []


# What is no recording


def test_refuses_in_one_sentence(tmp_path: Path) -> None:
    wav = write(tmp_path / "a.wav", noise(24000), 24000).read_bytes()
    bad = {
        "missing.wav": None,
        "empty.wav": b"",
        "text.wav": b"this is not audio at all, not even close to it\n" * 20,
        "zeros.bin": bytes(5000),
        "noise.mp3": np.random.default_rng(1).bytes(3000),
        "header.wav": wav[:30],
        "video.m4a": b"\x00\x00\x00\x20ftypM4A " + bytes(100),
        "page.html": b"<!doctype html><html></html>",
        "raw.raw": bytes(1000),
        "tokens.npz": b"PK\x03\x04" + bytes(100),
        "nosound.flac": None,
    }
    write(tmp_path / "nosound.wav", np.zeros((0, 1)), 24000)
    bad["nosound.wav"] = (tmp_path / "nosound.wav").read_bytes()
    for name, data in bad.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        for read in (load_audio, audio_info, load_native):
            with pytest.raises(AudioFileError) as caught:
                read(tmp_path / name)
            message = caught.value.message
            assert name in message
            assert message.endswith(".")
            assert "\n" not in message
    with pytest.raises(AudioFileError, match="folder"):
        load_audio(tmp_path)
    with pytest.raises(AudioFileError, match="convert it to wav"):
        load_audio(tmp_path / "video.m4a")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_says_where(tmp_path: Path, bad: float) -> None:
    samples = noise(100_000, 2)
    samples[72_000, 1] = bad
    path = write(tmp_path / "a.wav", samples, 24000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"3\.000 s"):
        load_audio(path)
