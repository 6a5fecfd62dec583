"""What can go wrong, in words for the person at the screen.

Every message says what came, what was expected and what to do. ``hint`` names a heading of
TROUBLESHOOTING.md, so that the window's Help button and the command line can point at it.
"""

from __future__ import annotations


class MimiGuiError(Exception):
    """An expected failure: shown as one sentence, never as a traceback.

    Attributes:
        message: one sentence for a person.
        hint: a heading of TROUBLESHOOTING.md, or "" where the sentence says all there is to say.
    """

    default_hint = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __reduce__(self) -> tuple[type[MimiGuiError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class AudioFileError(MimiGuiError):
    """A recording that cannot be read: missing, empty, truncated, not audio, not finite."""

    default_hint = "A recording cannot be opened"


class CodesFileError(MimiGuiError):
    """A token file that cannot be trusted: not an npz, lacks keys, wrong dtype, shape or range."""

    default_hint = "A token file cannot be opened"


class CodesMismatch(MimiGuiError):
    """Tokens and codec do not belong together: another checkpoint, or more codebooks than it has."""

    default_hint = "Tokens of another checkpoint"


class ModelUnavailable(MimiGuiError):
    """A checkpoint that cannot be had or cannot be trusted."""

    default_hint = "The model cannot be loaded"


class DeviceError(MimiGuiError):
    """A compute device that is not there, or that ran out of memory at the smallest chunk."""

    default_hint = "The device is not available"


class OutputError(MimiGuiError):
    """A target that cannot be written: exists already, no permission, disk full, a folder."""

    default_hint = "A file cannot be saved"


class PlaybackUnavailable(MimiGuiError):
    """No PortAudio, no sound card, or a device that refuses to open."""

    default_hint = "No sound"


class Cancelled(Exception):
    """Raised at a chunk border after the caller's ``cancel()`` returned True."""
