"""Where the log is and how much it tells: one answer for the command line and the window."""

from __future__ import annotations

import logging
import logging.handlers
import os
from pathlib import Path

LEVEL_VARIABLE = "MIMI_GUI_LOG"
_BYTES = 1 << 20


def log_path() -> Path:
    """Return where the log file is."""
    import platformdirs

    return Path(platformdirs.user_log_dir("mimi-gui", appauthor=False)) / "mimi-gui.log"


def wanted_level() -> int:
    """Return the level that MIMI_GUI_LOG names (DEBUG, INFO, WARNING, ERROR), INFO for anything else."""
    level = logging.getLevelNamesMapping().get(os.environ.get(LEVEL_VARIABLE, "").strip().upper())
    return level or logging.INFO


def file_handler(path: Path) -> logging.Handler:
    """Return a handler that writes to ``path`` and turns it over at a megabyte, keeping two old ones.

    Raises:
        OSError: the folder cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.handlers.RotatingFileHandler(path, maxBytes=_BYTES, backupCount=2, encoding="utf-8", delay=True)
