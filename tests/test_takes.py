"""Takes: their names, and which of them a crash left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui.capture import GrowingWav
from mimi_gui.errors import OutputError
from mimi_gui.takes import UNFINISHED, finish_take, is_held, new_take, takes_folder, unfinished_takes

THEN = time.mktime((2026, 11, 23, 14, 3, 12, 0, 0, -1))
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (4800, 1)).astype(np.float32)


def test_a_take_is_named_after_its_moment_and_never_replaces_another(tmp_path: Path) -> None:
    folder = tmp_path / "music" / "Mimi GUI"
    first = new_take(folder, THEN)
    assert first == folder / f"Take 2026-11-23 14.03.12{UNFINISHED}"
    first.touch()
    second = new_take(folder, THEN)
    assert second.name == f"Take 2026-11-23 14.03.12 (2){UNFINISHED}"
    (folder / "Take 2026-11-23 14.03.12.wav").write_text("somebody's")
    assert finish_take(first).name == "Take 2026-11-23 14.03.12 (2).wav"
    assert (folder / "Take 2026-11-23 14.03.12.wav").read_text() == "somebody's"
    whole = folder / "Take 2026-11-23 14.03.12 (2).wav"
    assert finish_take(whole) == whole
    assert takes_folder(str(folder)) == folder
    assert takes_folder().name == "Mimi GUI"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be created"):
        new_take(tmp_path / "file" / "takes")
    with pytest.raises(OutputError, match="cannot be renamed"):
        finish_take(tmp_path / f"gone{UNFINISHED}")
    assert unfinished_takes(tmp_path / "nowhere") == []


HOLDER = """
import sys, time
from pathlib import Path
import numpy as np
from mimi_gui.capture import GrowingWav
wav = GrowingWav(Path(sys.argv[1]), 48000, 1)
wav.write(np.full((4800, 1), 0.25, np.float32))
print("held", flush=True)
time.sleep(60)
"""


def test_a_take_is_unfinished_once_its_recorder_is_dead(tmp_path: Path) -> None:
    path = new_take(tmp_path, THEN)
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert is_held(path)
    assert unfinished_takes(tmp_path) == []
    child.kill()
    child.wait()
    child.stdout.close()
    assert not is_held(path)
    GrowingWav(tmp_path / f"empty{UNFINISHED}", 48000, 1).close()  # not one sample: nothing to offer
    (tmp_path / f"nonsense{UNFINISHED}").write_text("not a recording")
    (found,) = unfinished_takes(tmp_path)
    assert (found.path, found.begun_at) == (path, "2026-11-23 14.03")
    assert found.duration_s == pytest.approx(0.1)
    np.testing.assert_array_equal(soundfile.read(finish_take(found.path))[0], 0.25)
    assert unfinished_takes(tmp_path) == []


def test_a_take_of_this_very_program_is_held_too(tmp_path: Path) -> None:
    path = new_take(tmp_path)
    wav = GrowingWav(path, 48000, 1)
    wav.write(NOISE)
    assert unfinished_takes(tmp_path) == []
    wav.close()
    assert [take.path for take in unfinished_takes(tmp_path)] == [path]
