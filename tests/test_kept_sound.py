"""Sound that grows on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mimi_gui import kept_sound
from mimi_gui.kept_sound import KeptSound

NOISE = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)


def test_what_is_appended_is_kept_and_no_file_stays() -> None:
    sound = KeptSound(48_000)
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "mimi-gui"
    assert isinstance(sound.samples, np.memmap)
    assert list(cache.iterdir()) == []  # it has no name
    for start in range(0, 50_000, 1920):
        sound.append(NOISE[start : start + 1920])
    assert sound.length == 48_000
    kept = sound.kept()
    del sound
    np.testing.assert_array_equal(kept, NOISE[:48_000])
    assert not kept.flags.writeable


def test_without_a_folder_it_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(kept_sound.tempfile, "TemporaryFile", refuse)
    sound = KeptSound(100)
    sound.append(NOISE[:30])
    np.testing.assert_array_equal(sound.kept(), NOISE[:30])


def test_large_zeros_are_zeros_that_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sound, "LARGE_SAMPLES", 1000)
    for length in (10, 5000):
        array = kept_sound.large_zeros(length)
        assert array.shape == (length,)
        assert array.dtype == np.float32
        assert not array.any()
        array[3:] = 2.0
        assert array.sum() == 2 * (length - 3)
    monkeypatch.setattr(kept_sound.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0})())
    assert not kept_sound.large_zeros(5000).any()  # a full disk: memory, as before


def test_what_was_let_go_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sound, "LARGE_SAMPLES", 1000)
    array = kept_sound.large_zeros(300_000)
    array[:] = np.arange(300_000)
    part = array[1000:290_000]
    kept_sound.let_go(part, np.ones(3))
    np.testing.assert_array_equal(part, np.arange(1000, 290_000))
    array[:] = 7.0  # and can be written again
    assert part.sum() == 7.0 * len(part)


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssFile:")[1].split()[0]) / 1024


@pytest.mark.skipif(not hasattr(kept_sound.mmap, "MADV_DONTNEED"), reason="needs Linux")
def test_pages_of_files_are_handed_back_whoever_touched_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sound, "LARGE_SAMPLES", 1000)
    keeper = kept_sound.PageKeeper()
    monkeypatch.setattr(kept_sound, "PAGES", keeper)
    monkeypatch.setattr(kept_sound, "_LOOK_EVERY_S", 3600.0)  # this test looks by itself
    array = kept_sound.large_zeros(20_000_000)  # 80 MB
    before = resident_mb()
    array[:] = np.arange(20_000_000)
    assert resident_mb() > before + 70
    keeper.look()  # below the limit: nothing happens
    assert resident_mb() > before + 70
    monkeypatch.setattr(kept_sound, "MOST_RESIDENT_BYTES", 30 << 20)  # beside the libraries
    keeper.look()
    assert resident_mb() < before + 10
    np.testing.assert_array_equal(array[::1000], np.arange(0, 20_000_000, 1000))


@pytest.mark.skipif(not hasattr(kept_sound.mmap, "MADV_DONTNEED"), reason="needs Linux")
def test_the_thread_lives_as_long_as_there_is_much_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sound, "LARGE_SAMPLES", 1000)
    monkeypatch.setattr(kept_sound, "MOST_RESIDENT_BYTES", 3_000_000)
    monkeypatch.setattr(kept_sound, "_LOOK_EVERY_S", 0.001)
    keeper = kept_sound.PageKeeper()
    monkeypatch.setattr(kept_sound, "PAGES", keeper)
    arrays = [kept_sound.large_zeros(500_000)]
    assert keeper._thread is None  # 2 MB cannot be too many
    arrays.append(kept_sound.large_zeros(500_000))
    thread = keeper._thread
    assert thread is not None
    assert thread.daemon
    for round_ in range(50):  # it works while it is written and read
        arrays[round_ % 2][:] = round_
        assert (arrays[round_ % 2] == round_).all()
    arrays.clear()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert keeper._thread is None
