"""What the command line shows: a progress bar on a terminal, nothing in a pipe, one line for the outcome."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from mimi_gui.codes import CodecInfo

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def say(line: str) -> None:
    """One line for the person, on stderr: stdout is for what a program may read."""
    print(line, file=sys.stderr, flush=True)


class Display:
    """Progress on stderr: bytes of a download, then frames with speed against real time and time left.

    Where nobody would see it (stderr is no terminal, or ``quiet``) its methods do nothing.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._bar: Progress | None = None
        self._tasks: dict[str, tuple[TaskID, float]] = {}
        if not quiet and sys.stderr.isatty():
            self._bar = _bar()

    def status(self, words: str) -> None:
        """Say what is being waited for, until something counts."""
        if self._bar is not None and not self._tasks:
            self._tasks["status"] = (self._bar.add_task(words, total=None, amount=""), 0.0)

    def download(self, done_bytes: int, total_bytes: int) -> None:
        """Bytes that came so far, of all."""
        amount = f"{done_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB"
        self._show("Downloading the model", done_bytes, total_bytes, amount)

    def frames(self, done_frames: int, total_frames: int) -> None:
        """Frames computed so far, of all."""
        elapsed_s = time.monotonic() - self._since(self._title)
        speed = f"{CodecInfo().frame_to_s(done_frames) / elapsed_s:.1f}x real time" if elapsed_s > 0.5 else ""
        self._show(self._title, done_frames, total_frames, speed)

    def _since(self, title: str) -> float:
        return self._tasks[title][1] if title in self._tasks else time.monotonic()

    def _show(self, title: str, done: int, total: int, amount: str) -> None:
        if self._bar is None:
            return
        if title not in self._tasks:
            for task, _ in self._tasks.values():
                self._bar.update(task, visible=False)
            self._tasks[title] = (self._bar.add_task(title, total=total, amount=amount), time.monotonic())
        self._bar.update(self._tasks[title][0], completed=done, total=total, amount=amount)

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def prepare_process(display: Display, model: str, fix_ssl: bool = False) -> None:
    """What may be done before a codec is loaded in a process that is ours: certificates, the allocator.

    Imports torch, which takes seconds. Raises ModelUnavailable where ``SSL_CERT_FILE`` names nothing.
    """
    display.status(f"Loading {model} ...")
    if fix_ssl:
        from mimi_gui.checkpoints import trust_system_certificates

        trust_system_certificates()
    from mimi_gui.codec import tune_process

    tune_process()
