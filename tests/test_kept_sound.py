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
