"""Takes from a microphone that is a null sink's monitor: the file is what was spoken, to the bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from mimi_gui.capture import GrowingWav
from mimi_gui.errors import OutputError, PlaybackUnavailable
from mimi_gui.recording import Recorder, list_inputs
from tests.sound_card import SoundCard, plugged_in
from tests.test_sound_card import find, noise, wait_until

sound = pytest.mark.sound


@pytest.fixture
def recorder(sound_card: SoundCard) -> Iterator[Recorder]:
    recorder = Recorder(24000)
    recorder.open()
    yield recorder
    recorder.close()


@sound
def test_the_inputs_are_listed(sound_card: SoundCard) -> None:
    assert [d.name for d in list_inputs() if d.is_default] == ["default"]


@sound
def test_a_take_is_what_was_spoken(sound_card: SoundCard, recorder: Recorder, tmp_path: Path) -> None:
    spoken = noise(1.5, channels=2)
    path = tmp_path / "take.wav"
    clip = recorder.start(path)
    assert recorder.is_recording
    with sound_card.speaking(spoken) as child:
        child.wait(timeout=20)
        wait_until(lambda: recorder.duration_s > 2.0)
    grown = clip.ready
    assert grown > 24000
    level = recorder.level
    assert level.held_peak_db == pytest.approx(20 * np.log10(np.abs(spoken).max()), abs=0.01)
    assert level.num_clipped == 0
    take = recorder.stop()
    assert not recorder.is_recording
    assert recorder.is_open
    written, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert (rate, written.shape) == (48000, (take.num_samples, 2))
    assert take.num_lost == 0
    start = find(spoken[:4800, 0], written[:, 0])
    assert start >= 0
    np.testing.assert_array_equal(written[start : start + len(spoken)], spoken)
    mono = soxr.resample(written.mean(axis=1), 48000, 24000, "HQ")
    assert take.clip.length == pytest.approx(len(mono), abs=1)
    n = min(len(mono), take.clip.length)
    np.testing.assert_allclose(take.clip.samples[:n, 0], mono[:n], atol=1e-5)


@sound
def test_two_takes_and_a_file_that_is_there(sound_card: SoundCard, recorder: Recorder, tmp_path: Path) -> None:
    for name in ("one.wav", "two.wav"):
        recorder.start(tmp_path / name)
        time.sleep(0.3)
        assert recorder.stop().duration_s > 0.1
        assert soundfile.info(tmp_path / name).duration > 0.1
    with pytest.raises(OutputError, match="exists already"):
        recorder.start(tmp_path / "one.wav")
    with pytest.raises(OutputError):
        recorder.start(tmp_path / "no" / "folder.wav")
    with pytest.raises(PlaybackUnavailable, match="Nothing is being recorded"):
        recorder.stop()


@sound
def test_a_pause_leaves_out_what_is_said_meanwhile(sound_card: SoundCard, recorder: Recorder, tmp_path: Path) -> None:
    """A staircase is spoken, 0.1 s a step: the file has steps without repetition or reversal, and one gap."""
    steps = np.repeat(np.arange(1, 31, dtype=np.float32) / 64, 4800)
    recorder.start(tmp_path / "take.wav")
    with sound_card.speaking(np.stack([steps] * 2, axis=1)) as child:
        wait_until(lambda: recorder.level.peak_db > 20 * np.log10(5 / 64))
        recorder.set_paused(True)
        assert recorder.is_paused
        wait_until(lambda: recorder.level.peak_db > 20 * np.log10(14 / 64))
        kept = recorder.duration_s
        assert recorder.level.held_peak_db < 20 * np.log10(10 / 64)
        recorder.set_paused(False)
        child.wait(timeout=20)
        wait_until(lambda: recorder.duration_s > kept + 0.5)
    take = recorder.stop()
    written, _ = soundfile.read(take.path, dtype="float32")
    heard = written[written[:, 0] > 0, 0]
    assert (np.diff(heard) >= 0).all()
    jumps = np.diff(heard) * 64
    assert np.count_nonzero(jumps > 1.5) == 1
    assert 3 < jumps.max() < 25
    assert len(heard) < len(steps) - 4800 * 3
    assert take.clip.duration_s == pytest.approx(len(written) / 48000, abs=0.001)


@sound
def test_nothing_waits_when_told_not_to(sound_card: SoundCard, tmp_path: Path) -> None:
    recorder = Recorder(24000)
    recorder.open(wait_s=0)
    assert recorder.is_opening
    assert not recorder.is_open
    wait_until(lambda: recorder.is_open)
    recorder.start(tmp_path / "take.wav", wait_s=0)
    assert recorder.is_recording
    wait_until(lambda: recorder.duration_s > 0.2)
    recorder.stop_soon()
    wait_until(lambda: not recorder.is_recording)
    take = recorder.pop_finished()
    assert take is not None
    assert take.duration_s == pytest.approx(soundfile.info(take.path).duration)
    assert recorder.pop_finished() is None
    assert recorder._child is not None
    recorder._child.send({"record": {"path": str(tmp_path / "no" / "where.wav"), "ticket": None}})
    wait_until(lambda: recorder.error is not None)
    assert "No such file" in (recorder.error or "")
    recorder.open("Ear of Dionysius", wait_s=0)
    wait_until(lambda: not recorder.is_opening)
    assert "Ear of Dionysius" in (recorder.error or "")
    recorder.close()


@sound
def test_clipping_and_exact_silence_are_told(sound_card: SoundCard, recorder: Recorder) -> None:
    wait_until(lambda: recorder.is_dead)
    assert recorder.level.peak_db == -np.inf
    loud = np.clip(3 * noise(1.0, channels=2), -1, 1)
    with sound_card.speaking(loud):
        wait_until(lambda: recorder.level.num_clipped > 1000)
        assert not recorder.is_dead


@sound
def test_a_crash_of_the_window_loses_nothing_and_of_the_recorder_a_second(
    sound_card: SoundCard, tmp_path: Path
) -> None:
    for how, least in (("window", 0.0), ("recorder", 1.0)):
        recorder = Recorder(24000)
        recorder.open()
        path = tmp_path / f"{how}.wav"
        recorder.start(path)
        wait_until(lambda recorder=recorder: recorder.duration_s > 1.5)
        assert recorder._child is not None
        child = recorder._child._child
        if how == "window":
            child.stdin.close()  # what the end of the window's process looks like
            child.wait(timeout=5)
        else:
            os.kill(child.pid, signal.SIGKILL)
            wait_until(lambda recorder=recorder: not recorder.is_open)
            assert recorder.error is not None
            take = recorder.stop()
            assert take.ended_early
            assert take.clip.is_finished
            assert take.clip.duration_s > 0.5
        assert soundfile.info(path).duration > 1.5 - least
        recorder.close()


@sound
def test_a_microphone_that_goes_is_told(sound_card: SoundCard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = SoundCard()
    recorder = Recorder(24000)
    try:
        with plugged_in(card, monkeypatch):
            recorder.open()
        recorder.start(tmp_path / "take.wav")
        wait_until(lambda: recorder.duration_s > 0.5)
        card.kill()
        wait_until(lambda: not recorder.is_recording)
        assert "rescan" in (recorder.error or "")
        assert recorder.stop().duration_s > 0.5
        assert soundfile.info(tmp_path / "take.wav").duration > 0.5
    finally:
        recorder.close()
        card.close()


@sound
def test_an_input_that_is_not_there(sound_card: SoundCard, tmp_path: Path) -> None:
    recorder = Recorder(24000)
    with pytest.raises(PlaybackUnavailable, match="input 'Ear of Dionysius'"):
        recorder.open("Ear of Dionysius")
    with pytest.raises(PlaybackUnavailable, match="No microphone"):
        recorder.start(tmp_path / "take.wav")
    with pytest.raises(PlaybackUnavailable, match="cannot be opened"):
        recorder.open(sample_rate=13)
    recorder.close()


@sound
def test_two_programs_record_side_by_side(sound_card: SoundCard, recorder: Recorder, tmp_path: Path) -> None:
    other = Recorder(24000)
    other.open()
    spoken = noise(0.6, channels=2)
    takes = [(one, one.start(tmp_path / f"{name}.wav")) for name, one in (("one", recorder), ("two", other))]
    assert len(takes) == 2
    with sound_card.speaking(spoken) as child:
        child.wait(timeout=20)
        wait_until(lambda: min(recorder.duration_s, other.duration_s) > 1.0)
    for one, _ in takes:
        written, _ = soundfile.read(one.stop().path, dtype="float32")
        assert find(spoken[4800:9600, 0], written[:, 0]) > 0
    other.close()


def test_a_growing_file_is_valid_after_every_write(tmp_path: Path) -> None:
    path = tmp_path / "growing.wav"
    wav = GrowingWav(path, 44100, 2)
    parts = []
    for n in (1, 1000, 4410):
        parts.append(noise(n / 44100, 44100, 2))
        assert wav.write(parts[-1]) == n
        read, rate = soundfile.read(path, dtype="float32")
        assert rate == 44100
        np.testing.assert_array_equal(read, np.concatenate(parts))
    wav.MOST_BYTES = wav.num_bytes + 80
    assert wav.write(np.ones((100, 2), np.float32)) == 10
    wav.close()
    assert soundfile.info(path).frames == 5411 + 10
