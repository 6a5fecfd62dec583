"""What the program remembers between two starts: typed, defaulted, and checked when it is read.

A value that another version, a hand or a disk error made senseless is logged and replaced by its default; it
never stops the program from starting. GUI thread only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QObject, QSettings, Signal

log = logging.getLogger(__name__)

MAX_RECENT_FILES = 12


@dataclass(frozen=True)
class Settings:
    """One value per thing remembered. Paths are text, "" where there is none yet."""

    model_name: str = "kyutai/mimi"
    device: str = "auto"
    output_device: str = ""  # "" follows the system's default
    input_device: str = ""  # "" follows the system's default
    countdown_s: int = 3  # before a take begins
    takes_folder: str = ""  # "" is the user's music folder
    keeps_heard: bool = True  # beside a take, what Mimi hears of it
    num_codebooks: int = 32  # what a new recording is decoded with
    theme: str = "system"
    level_match: bool = True
    follow_playhead: bool = True
    volume: float = 1.0
    open_folder: str = ""
    save_folder: str = ""
    listener: str = ""  # whose ears the listening tests are about
    listening_folder: str = ""  # of their logs; "" is the user's documents folder
    recent_files: tuple[str, ...] = ()
    geometry: bytes = b""
    window_state: bytes = b""
    lanes: tuple[str, ...] = ()  # optional views that are shown
    lane_heights: bytes = b""  # of all that are shown, with them


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "model_name": lambda value: bool(value.strip()),
    "device": lambda value: value in ("auto", "cpu", "mps", "cuda") or value.startswith("cuda:"),
    "num_codebooks": lambda value: 1 <= value <= 32,
    "theme": lambda value: value in ("system", "light", "dark"),
    "countdown_s": lambda value: 0 <= value <= 60,
    "volume": lambda value: 0.0 <= value <= 1.0,
}


def _typed(raw: Any, default: Any) -> Any:
    """``raw`` as the type of ``default``. Raises ValueError or TypeError where it cannot be that."""
    if isinstance(default, bool):
        if str(raw).lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return str(raw).lower() == "true"
    if isinstance(default, bytes):
        if not isinstance(raw, QByteArray | bytes):
            raise TypeError("expected bytes")
        return bytes(raw.data()) if isinstance(raw, QByteArray) else raw
    if isinstance(default, tuple):
        if raw is None or raw == "":
            return ()
        items = [raw] if isinstance(raw, str) else list(raw)
        return tuple(str(item) for item in items)
    if not isinstance(raw, str | int | float):
        raise TypeError(f"expected {type(default).__name__}")
    return type(default)(raw)


class SettingsStore(QObject):
    """Holds the settings in use and writes each change down at once."""

    changed = Signal(object)  # Settings

    def __init__(self, path: Path | None = None, parent: QObject | None = None) -> None:
        """``path`` names an ini file; without it the platform's own place is used."""
        super().__init__(parent)
        if path is None:
            self._file = QSettings("mimi-gui", "mimi-gui")
        else:
            self._file = QSettings(str(path), QSettings.Format.IniFormat)
        self.value = self._load()

    def _load(self) -> Settings:
        known: dict[str, Any] = {}
        for item in fields(Settings):
            if not self._file.contains(item.name):
                continue
            raw = self._file.value(item.name)
            try:
                value = _typed(raw, item.default)
                if item.name in _CHECKS and not _CHECKS[item.name](value):
                    raise ValueError("out of range")
            except (ValueError, TypeError) as error:
                log.warning("setting %s = %r ignored (%s), using %r", item.name, raw, error, item.default)
            else:
                known[item.name] = value
        return Settings(**known)

    def update(self, **changes: Any) -> None:
        """Take over changed values, write them down and tell.

        Raises:
            TypeError: there is no such setting.
        """
        new = replace(self.value, **changes)
        if new == self.value:
            return
        for name in changes:
            value = getattr(new, name)
            if value == getattr(self.value, name):
                continue
            if isinstance(value, bytes):
                value = QByteArray(value)
            elif isinstance(value, tuple):
                value = list(value)
            self._file.setValue(name, value)
        self.value = new
        self.changed.emit(new)

    def remember_file(self, path: Path) -> None:
        """Put a file on top of the recent ones."""
        text = str(path)
        others = [item for item in self.value.recent_files if item != text]
        self.update(recent_files=(text, *others)[:MAX_RECENT_FILES], open_folder=str(path.parent))

    def flush(self) -> None:
        """Write to disk now; at the end of the program."""
        self._file.sync()
