"""What a corpus job is, apart from its files: the description that every worker gets, and the one that stays on disk.

``corpus.json`` in the target folder says with which options its files were made, so that a run with other options is
refused instead of mixing two kinds of tokens in one tree.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimi_gui.codes import CodecInfo
from mimi_gui.corpus_items import Item
from mimi_gui.errors import CodesMismatch, MimiGuiError, ModelUnavailable, OutputError
from mimi_gui.target import writing

if TYPE_CHECKING:
    from mimi_gui.codec import MimiCodec

JOB_NAME = "corpus.json"
DIED = "its workers died on it again and again: it needs more memory than there is, or crashes its decoder."
_log = logging.getLogger(__name__)

# Bytes of a second of audio, at the low end of what corpora hold, so that guesses of length err towards long.
_BYTES_PER_S = {".flac": 16_000, ".mp3": 4_000, ".ogg": 4_000, ".oga": 4_000, ".opus": 3_000, ".npz": 300}
_PCM_BYTES_PER_S = 32_000


@dataclass(frozen=True)
class Job:
    """Everything that decides what the files of a run hold. Can be pickled and sent to another machine.

    Attributes:
        folder: the target.
        model_name, device, precision: as for ``MimiCodec.from_pretrained``.
        info, label: of the checkpoint, which every worker has to find under ``model_name``.
        num_codebooks: K; None (decoding only) for all that a file has.
        suffix: ``".npz"`` where recordings become tokens, else of the recordings that tokens become.
        channels: ``"mix"`` or ``"split"``, of encoding.
        subtype: of the recordings, see ``AudioWriter``.
        overwrite: replace what other options made.
    """

    folder: Path
    model_name: str
    device: str | None
    info: CodecInfo
    label: str
    num_codebooks: int | None
    suffix: str = ".npz"
    channels: str = "mix"
    subtype: str | None = None
    precision: str = "exact"
    overwrite: bool = False

    @property
    def encodes(self) -> bool:
        """Whether recordings become tokens, and not the other way round."""
        return self.suffix == ".npz"

    @property
    def options(self) -> dict[str, Any]:
        """What two runs must agree on to work on one folder; the words are those of the command line."""
        facts: dict[str, Any] = {
            "verb": "encode" if self.encodes else "decode",
            "model": self.info.model_name,
            "digest": self.info.digest,
            "num_codebooks": self.num_codebooks,
            "precision": self.precision,
        }
        return facts | (
            {"channels": self.channels} if self.encodes else {"format": self.suffix, "subtype": self.subtype}
        )

    @property
    def mark(self) -> str:
        """The comment of a decoded recording, by which a later run sees that it is this job's."""
        facts = {key: value for key, value in self.options.items() if key not in ("verb", "format", "model")}
        return json.dumps({"mimi-gui": facts}, sort_keys=True)

    def open(
        self,
        device: str | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> MimiCodec:
        """Load the codec, on ``device`` where it is not the job's.

        Raises:
            ModelUnavailable: it cannot be had here, or is another one here than where the job was begun.
            DeviceError, Cancelled: see ``MimiCodec.from_pretrained``.
        """
        from mimi_gui.codec import MimiCodec

        codec = MimiCodec.from_pretrained(
            self.model_name, device or self.device, precision=self.precision, progress=progress, cancel=cancel
        )
        if codec.info.digest != self.info.digest:
            codec.close()
            raise ModelUnavailable(
                f"A worker has other weights under the name {self.model_name} ({codec.info.digest[:19]}) than the run"
                f" was begun with ({self.info.digest[:19]}): give all machines the same checkpoint.",
                hint="A worker cannot begin",
            )
        return codec

    def agree(self) -> Job:
        """Compare with what the folder's ``corpus.json`` says and write it; gives the job to be done.

        An interrupted run with ``overwrite`` goes on replacing.

        Raises:
            CodesMismatch: other options made the folder, and ``overwrite`` is False.
            OutputError: the folder cannot be written.
        """
        path = self.folder / JOB_NAME
        before = read_options(self.folder)
        was_replacing = bool(before.pop("replaces", False))
        if before and not _differences(before, self.options):
            return replace(self, overwrite=self.overwrite or was_replacing)
        if before and not self.overwrite:
            raise CodesMismatch(
                f"{self.folder} was made with {_differences(before, self.options)}: choose another folder, or add"
                " --overwrite to make it anew.",
                hint="A corpus was made with other options",
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Could not write {self.folder}: {error.strerror or error}.") from error
        facts = self.options | ({"replaces": True} if before else {})
        with writing(path, overwrite=True) as partial:
            partial.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return self


def read_options(folder: Path) -> dict[str, Any]:
    """What ``corpus.json`` of a folder says, {} where there is none that can be read."""
    try:
        found = json.loads((folder / JOB_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In words; the same weights under another name are the same."""
    words = []
    for key in [*now, *(key for key in before if key not in now)]:
        old, new = before.get(key), now.get(key)
        if old == new or (key == "model" and before.get("digest") == now.get("digest")):
            continue
        if key == "digest":
            old, new = str(old)[:19], str(new)[:19]
        words.append(f"{key.replace('_', ' ')} {_shown(old)}, this run asks for {_shown(new)}")
    return "; ".join(words)


def _shown(value: Any) -> str:
    return "as it comes" if value is None else str(value)[:60]


@dataclass(frozen=True, slots=True)
class Task:
    """One file to be made.

    Attributes:
        number: different for every task of a run.
        source, target: paths; on a cluster the same on every machine.
        channel: encode this one only.
        length_s: a guess, from the manifest or the file's size.
        again: make it whatever is there: its source has changed.
    """

    number: int
    source: Path
    target: Path
    channel: int | None
    length_s: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        number: the task's.
        status: ``ok`` (made now), ``whole`` (there already) or ``failed``; ``ready``, of no task, when a worker is.
        facts: for the manifest; with ``failed`` the ``error``.
        worker: who did it, "" for the process that runs the job.
    """

    number: int
    status: str
    facts: dict[str, Any] = field(default_factory=dict)
    worker: str = ""


def failure(task: Task, error: Exception) -> Outcome:
    """The outcome of a file that is to blame itself."""
    if not isinstance(error, MimiGuiError):
        _log.error("%s", task.source, exc_info=error)
    words = error.message if isinstance(error, MimiGuiError) else f"{type(error).__name__}: {error}"
    return Outcome(task.number, "failed", {"error": words})


def guess_length_s(item: Item, num_bytes: int) -> float:
    """Seconds of audio by what the manifest says, else by size and suffix; only order and read-ahead depend on it."""
    told = item.about.get("duration")
    if isinstance(told, int | float) and told > 0:
        return float(told)
    return num_bytes / _BYTES_PER_S.get(item.path.suffix.lower(), _PCM_BYTES_PER_S)
