"""Where the bundled data lives: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_path(*parts: str) -> Path:
    """Return the path of a bundled file or folder, e.g. ``resource_path("models", "mimi-tiny")``.

    ``TROUBLESHOOTING.md`` counts as one: it stands at the top of a checkout and travels in the wheel.

    Raises:
        FileNotFoundError: the installation lacks it (a broken package, never the user's fault).
    """
    for root in (_PACKAGE / "resources", _PACKAGE.parent / "resources", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"this installation of mimi_gui lacks resources/{'/'.join(parts)}: install it again")
