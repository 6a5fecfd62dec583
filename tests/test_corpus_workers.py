"""A corpus with several processes on this machine. Oracle: the same job in the calling process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mimi_gui.codec import MimiCodec
from mimi_gui.corpus import Progress, encode_corpus
from mimi_gui.corpus_items import read_records
from mimi_gui.corpus_workers import Workers
from mimi_gui.errors import Cancelled, MimiGuiError

NUM_FILES = 30

# A file that kills whoever reads it, as one that crashes a decoder or fills the memory would.
POISON = """
import os, signal, sys
def kill(event, arguments):
    if event == "open" and str(arguments[0]).endswith("poison.wav"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers") / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_FILES):
        soundfile.write(folder / f"{number:02}.wav", rng.standard_normal(4800 + 1000 * number) * 0.1, 24000)
    soundfile.write(folder / "poison.wav", rng.standard_normal(9600) * 0.1, 24000)
    (folder / "bad.wav").write_bytes(b"no audio")
    return folder


def identities(folder: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.stat() for path in folder.glob("[0-9]*.npz")}
    return {path: (facts.st_ino, facts.st_mtime_ns) for path, facts in found.items()}


def test_workers_die_and_only_the_file_that_kills_them_is_lost(
    recordings: Path, tmp_path: Path, tiny_checkpoint: Path, tiny_codec: MimiCodec
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(POISON)
    out, local = tmp_path / "out", tmp_path / "local"
    command = [sys.executable, "-m", "mimi_gui.cli", "corpus", "encode", str(recordings), str(out), "-k", "8"]
    command += ["--model", str(tiny_checkpoint), "--device", "cpu", "--workers", "2", "--threads", "1"]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), root])}
    seen: list[dict[str, Any]] = []
    there: dict[Path, tuple[int, int]] = {}
    command += ["--progress", "json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            seen.append(json.loads(line))
            if not there and seen[-1]["done"] == 10:
                os.kill(int(seen[-1]["worker"].split()[1]), signal.SIGKILL)
                there = identities(out)
    assert process.returncode == 1  # some failed
    assert (seen[-1]["done"], seen[-1]["failed"], seen[-1]["total"]) == (NUM_FILES, 2, NUM_FILES + 2)
    records = read_records(out)
    assert "died on it" in records["poison.npz"]["error"]
    assert "not a recording" in records["bad.npz"]["error"]
    now = identities(out)
    assert 10 <= len(there) < len(now) == NUM_FILES
    assert all(now[path] == before for path, before in there.items())
    assert len({line["worker"] for line in seen if line["record"]["status"] == "ok"}) >= 3
    encode_corpus(recordings, local, num_codebooks=8, codec=tiny_codec)
    assert {**read_records(local), "poison.npz": None} == {**records, "poison.npz": None}
    for path in now:
        assert path.read_bytes() == (local / path.name).read_bytes()
    assert len((out / "manifest.jsonl").read_text().splitlines()) == NUM_FILES + 2
    again = encode_corpus(recordings, out, str(tiny_checkpoint), "cpu", num_codebooks=8, num_workers=2)
    assert (again.done, again.skipped) == (0, NUM_FILES + 2)


def test_a_wish_to_stop_leaves_whole_files_and_no_process(
    recordings: Path, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Progress] = []
    pids: list[int] = []
    start = Workers._start

    def started(self: Workers, *arguments: object) -> None:
        start(self, *arguments)  # pyright: ignore[reportArgumentType]
        pids.append(self._workers[-1].process.pid or 0)

    monkeypatch.setattr(Workers, "_start", started)
    with pytest.raises(Cancelled):
        encode_corpus(
            recordings, tmp_path, str(tiny_checkpoint), "cpu", num_workers=2,
            progress=seen.append, cancel=lambda: len(seen) > 3,
        )  # fmt: skip
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list(tmp_path.rglob(".*"))
    whole = {path.name for path in tmp_path.glob("*.npz")}
    recorded = {path for path, record in read_records(tmp_path).items() if record["status"] == "ok"}
    assert len(recorded) >= 3
    assert recorded <= whole


def test_a_worker_that_cannot_begin_says_so(recordings: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(MimiGuiError, match="device cuda:7 is not available"):
        encode_corpus(recordings, tmp_path, str(tiny_checkpoint), "cuda:7", num_workers=2, num_codebooks=2)
    assert not list(tmp_path.glob("*.npz"))
