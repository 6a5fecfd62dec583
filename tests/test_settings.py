"""Settings survive a restart, and nonsense in the file never stops a start."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from mimi_gui.ui.settings import MAX_RECENT_FILES, Settings, SettingsStore

CHANGED = Settings(
    model_name="mimi-tiny", device="cuda:1", output_device="Köpfhörer", num_codebooks=8, theme="dark",
    level_match=False, follow_playhead=False, volume=0.25, open_folder="/a b", save_folder="/ü",
    recent_files=("/one, two.wav", "/three.npz"), geometry=b"\x00\xff", window_state=b"\x01",
    lanes=("error", "difference"), lane_heights=b"{}", listener="Ada", listening_folder="/l o",
    input_device="Ohr", countdown_s=10, takes_folder="/t k", keeps_heard=False,
)  # fmt: skip


def test_every_value_survives_a_restart(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "settings.ini"
    store = SettingsStore(path)
    assert store.value == Settings()
    store.update(**dataclasses.asdict(CHANGED))
    store.flush()
    assert SettingsStore(path).value == CHANGED
    default = dataclasses.asdict(Settings())
    assert all(value != default[name] for name, value in dataclasses.asdict(CHANGED).items())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_lists_of_any_length_survive(qtbot: QtBot, tmp_path: Path, count: int) -> None:
    files = tuple(f"/{i}.wav" for i in range(count))
    store = SettingsStore(tmp_path / "s.ini")
    store.update(recent_files=("/x.wav", "/y.wav", "/z.wav"))
    store.update(recent_files=files)
    store.flush()
    assert SettingsStore(tmp_path / "s.ini").value.recent_files == files


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("num_codebooks", "many"), ("num_codebooks", 33), ("num_codebooks", 0), ("volume", "loud"), ("volume", 2.0),
        ("volume", "nan"), ("theme", "pink"), ("device", "toaster"), ("level_match", "perhaps"), ("model_name", "  "),
        ("geometry", "text"), ("num_codebooks", ["1", "2"]),
    ],
)  # fmt: skip
def test_bad_values_are_logged_and_replaced(
    qtbot: QtBot, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, raw: object
) -> None:
    file = QSettings(str(tmp_path / "s.ini"), QSettings.Format.IniFormat)
    file.setValue(name, raw)
    file.setValue("save_folder", "/kept")
    file.sync()
    with caplog.at_level(logging.WARNING):
        value = SettingsStore(tmp_path / "s.ini").value
    assert getattr(value, name) == getattr(Settings(), name)
    assert value.save_folder == "/kept"
    assert name in caplog.text


def test_a_change_is_told_once_and_no_change_is_not(qtbot: QtBot, tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "s.ini")
    told: list[Settings] = []
    store.changed.connect(told.append)
    store.update(volume=0.5)
    store.update(volume=0.5)
    assert [value.volume for value in told] == [0.5]
    with pytest.raises(TypeError):
        store.update(colour="red")


def test_recent_files_are_newest_first_without_doubles(qtbot: QtBot, tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "s.ini")
    for i in range(MAX_RECENT_FILES + 3):
        store.remember_file(tmp_path / f"{i}.wav")
    store.remember_file(tmp_path / "5.wav")
    recent = store.value.recent_files
    assert recent[0] == str(tmp_path / "5.wav")
    assert len(recent) == len(set(recent)) == MAX_RECENT_FILES
    assert store.value.open_folder == str(tmp_path)
