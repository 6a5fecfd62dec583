"""What the session tells the person: a banner, or a line of progress. Plain values, no widgets."""

from __future__ import annotations

from dataclasses import dataclass

from mimi_gui.errors import CodesMismatch, DeviceError, ModelUnavailable
from mimi_gui.ui.codec_jobs import DEFAULT_MODEL, DEMO_MODEL, DOWNLOAD_MB, ModelChoice, title_of
from mimi_gui.ui.document import Document
from mimi_gui.ui.worker import Failure, Progress


@dataclass(frozen=True)
class Notice:
    """Something to tell in a banner.

    Attributes:
        level: "info", "warning" or "error".
        hint: a heading of TROUBLESHOOTING.md for the Help button, or "".
        details: a traceback where something unforeseen happened.
        actions: (words, name) pairs; the window knows what a name does.
        topic: a newer notice on the same topic takes the place of the older.
    """

    level: str
    text: str
    hint: str = ""
    details: str = ""
    actions: tuple[tuple[str, str], ...] = ()
    topic: str = ""


@dataclass(frozen=True)
class Activity:
    """What is going on right now, for the status bar."""

    progress: Progress
    can_cancel: bool = True


def ways_out(choice: ModelChoice) -> tuple[tuple[str, str], ...]:
    """What a person can do about a checkpoint that is not here."""
    ways = [("Choose a local copy …", "choose-model")]
    if choice.name == DEFAULT_MODEL:
        ways.insert(0, (f"Download ({DOWNLOAD_MB} MB)", "download"))
    if choice.name != DEMO_MODEL:
        ways.append(("Use the demo codec", "use-demo"))
    return tuple(ways)


def missing_model(choice: ModelChoice) -> Notice:
    """The checkpoint is not here and something is open that wants it."""
    title = f"{choice.title[0].upper()}{choice.title[1:]}"
    words = f"{title} is not on this computer yet, so there is nothing to compare with."
    return Notice("info", words, "The model cannot be loaded", actions=ways_out(choice), topic="model")


def left_out(count: int) -> Notice:
    """So many of the dropped files were not taken."""
    return Notice("warning", f"{count:,} of the dropped files cannot be read and were left out.", topic="open")


def is_about_model(failure: Failure, role: str) -> bool:
    """Whether a failed job means that there is no working codec."""
    if isinstance(failure.error, CodesMismatch):
        return False
    return role == "model" or isinstance(failure.error, ModelUnavailable | DeviceError)


def failed(failure: Failure, role: str, choice: ModelChoice, document: Document) -> Notice:
    """A job failed: say so, with what can be done about it."""
    actions: tuple[tuple[str, str], ...] = ()
    if isinstance(failure.error, CodesMismatch) and document.codes is not None:
        maker = document.codes.info.model_name
        if maker:
            actions = ((f"Load {title_of(maker)}", f"use-model:{maker}"),)
    elif isinstance(failure.error, DeviceError):
        actions = (("Use the CPU", "use-device:cpu"), ("Choose a device …", "preferences"))
    elif is_about_model(failure, role):
        actions = ways_out(choice)
    topic = "model" if is_about_model(failure, role) else role
    return Notice("error", failure.message, failure.hint, failure.details, actions, topic)
