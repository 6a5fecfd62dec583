"""A corpus on a Ray cluster of two nodes, on this machine. Oracle: the same job in the calling process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from mimi_gui import cli
from mimi_gui.codec import MimiCodec
from mimi_gui.codes import load_codes
from mimi_gui.corpus import Progress, decode_corpus, encode_corpus
from mimi_gui.corpus_items import read_records
from mimi_gui.corpus_job import Job, Task
from mimi_gui.errors import MimiGuiError
from tests.conftest import ON_CI
from tests.ray_cluster import two_nodes

if not ON_CI:  # where its absence is a failure
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
import ray
import ray.data

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")
NUM_FILES = 24


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes with one core each."""
    with two_nodes(1) as where:
        yield where


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of a fifth to two seconds, and one that is none."""
    folder = tmp_path_factory.mktemp("ray") / "in"
    rng = np.random.default_rng(0)
    for number in range(NUM_FILES):
        path = folder / "ab"[number % 2] / f"{number:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.standard_normal(4800 + 1800 * number) * 0.1, 24000)
    (folder / "bad.wav").write_bytes(b"no audio")
    return folder


def test_a_worker_is_killed_and_nothing_is_lost_or_done_twice(
    address: str, recordings: Path, tmp_path: Path, tiny_checkpoint: Path, tiny_codec: MimiCodec
) -> None:
    there: dict[Path, tuple[int, int]] = {}
    killed: list[str] = []

    def kill(at: Progress) -> None:
        """Once, the worker that was heard of first, which has begun with other files since."""
        if at.worker and not killed:
            killed.append(at.worker)
            os.kill(int(at.worker.rpartition("/")[2]), signal.SIGKILL)
            there.update({path: identity(path) for path in (tmp_path / "ray").rglob("*.npz")})

    model, options = str(tiny_checkpoint), {"engine": "ray", "address": address, "num_threads": 1}
    report = encode_corpus(recordings, tmp_path / "ray", model, "cpu", num_codebooks=8, progress=kill, **options)
    assert (report.done, report.skipped, report.failed) == (NUM_FILES, 0, 1)
    nodes = {worker.split("/")[1] for worker in report.workers}
    assert len(nodes) == 2
    assert len(report.workers) == 3  # two, and the successor of the one that was killed
    local = encode_corpus(recordings, tmp_path / "local", num_codebooks=8, codec=tiny_codec)
    assert (local.done, local.failed) == (report.done, report.failed)
    for path in (tmp_path / "local").rglob("*.npz"):
        twin = tmp_path / "ray" / path.relative_to(tmp_path / "local")
        assert np.array_equal(load_codes(twin).array, load_codes(path).array)
        assert twin.read_bytes() == path.read_bytes()
    assert read_records(tmp_path / "ray") == read_records(tmp_path / "local")
    lines = (tmp_path / "ray" / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == NUM_FILES + 1
    assert 0 < len(there) < NUM_FILES
    assert all(identity(path) == before for path, before in there.items())
    assert not list((tmp_path / "ray").rglob(".*"))
    again = encode_corpus(recordings, tmp_path / "ray", model, "cpu", num_codebooks=8, **options)
    assert (again.done, again.skipped) == (0, NUM_FILES + 1)

    decoded = decode_corpus(
        tmp_path / "ray", tmp_path / "audio", device="cpu", shard=(1, 2), num_codebooks=4, num_workers=1, **options
    )
    assert (decoded.done, decoded.failed) == (NUM_FILES // 2, 0)
    for path in (tmp_path / "audio").rglob("*.flac"):
        codes = load_codes((tmp_path / "ray" / path.relative_to(tmp_path / "audio")).with_suffix(".npz"))
        samples, _ = soundfile.read(path, dtype="float32")
        assert np.abs(samples - np.clip(tiny_codec.decode(codes.first(4)), -1, 1)).max() <= 1.01 / 2**15


def identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def test_more_than_the_cluster_has(address: str, recordings: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(MimiGuiError, match="has 2 cores, 3 workers of 1 threads need 3"):
        encode_corpus(
            recordings, tmp_path, str(tiny_checkpoint), engine="ray", address=address, num_workers=3, num_threads=1
        )
    assert not ray.is_initialized()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a cluster begun by ``ray start`` for a user who has a token, and that user's home."""
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("6" * 64)
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray_command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    ray_command += ["--num-cpus=1", "--include-dashboard=false", f"--object-store-memory={80 * 2**20}"]
    ray_command += ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}"]
    with (tmp_path / "ray.txt").open("w") as log:
        cluster = subprocess.Popen(
            ray_command, env=user(home), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_until_it_listens(cluster, port, tmp_path / "ray.txt")
            yield f"127.0.0.1:{port}", home
        finally:
            kill_all_of(folder)  # asked to end, they take half a minute
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait(timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


def kill_all_of(folder: str) -> None:
    """End the processes that were told of ``folder``; Ray's workers follow theirs."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended by itself
            if folder.encode() in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)


def user(home: Path) -> dict[str, str]:
    """The environment of a user who has set nothing about Ray."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    root = str(Path(__file__).resolve().parent.parent)
    return {**mine, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": root}


def wait_until_it_listens(cluster: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        assert cluster.poll() is None, log.read_text()
        if "Ray runtime started" in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"ray start does not get ready: {log.read_text()}")


def test_a_cluster_that_asks_for_a_token_is_joined_by_its_address(
    guarded: tuple[str, Path], recordings: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    where, home = guarded
    stranger = tmp_path / "stranger"
    stranger.mkdir()

    def run(out: str, who: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mimi_gui.cli", "corpus", "encode", str(recordings / "a"), str(tmp_path / out)]
        command += ["--model", str(tiny_checkpoint), "--device", "cpu", "-k", "2"]
        command += ["--engine", "ray", "--address", where]
        return subprocess.run(command, env=user(who), capture_output=True, text=True, timeout=240, check=False)

    with ThreadPoolExecutor(2) as pool:
        refused, joined = pool.map(run, ("refused", "out"), (stranger, home))
    assert refused.returncode == 1
    assert "takes only those who know its token" in refused.stderr.splitlines()[-1]  # the others are Ray's own
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.glob("refused/*.npz"))
    assert joined.returncode == 0, joined.stderr
    assert len(list((tmp_path / "out").glob("*.npz"))) == NUM_FILES // 2


def test_only_addresses_of_this_machine_are_shown_the_token() -> None:
    from mimi_gui.corpus_ray import _is_here

    for here in ("127.0.0.1:6379", "localhost:6379", "ray://127.0.0.1:10001"):
        assert _is_here(here), here
    for elsewhere in ("192.0.2.1:6379", "ray://192.0.2.1:10001"):  # of a range kept for documentation
        assert not _is_here(elsewhere)


class Told:
    """A ledger in this process: ``method.remote(...)`` answers at once."""

    def __init__(self, counts: dict[int, int]) -> None:
        self.counts, self.begins = counts, []
        self.begun = SimpleNamespace(remote=lambda numbers: [self.counts.get(number, 0) for number in numbers])
        self.begin = SimpleNamespace(remote=self.begins.append)


def test_a_file_that_kills_its_workers_is_given_up(
    recordings: Path, tmp_path: Path, tiny_checkpoint: Path, tiny_codec: MimiCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    from mimi_gui import __version__
    from mimi_gui.corpus_ray import CodecActor

    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(CodecActor, "_place", lambda self: "here")
    job = Job(tmp_path, str(tiny_checkpoint), "cpu", tiny_codec.info, "tiny", 2).agree()
    sources = sorted((recordings / "a").glob("*.wav"))[:4]
    tasks = [Task(number, path, tmp_path / f"{path.stem}.npz", None, 1.0) for number, path in enumerate(sources)]
    ledger = Told({1: 1, 2: 3})
    actor = CodecActor(pickle.dumps(job), 1, 2, __version__, ledger)
    found = {outcome.number: outcome for outcome in outcomes(actor, tasks)}
    assert {number: outcome.status for number, outcome in found.items()} == {0: "ok", 1: "ok", 2: "failed", 3: "ok"}
    assert "died on it" in found[2].facts["error"]
    assert sorted(ledger.begins) == [0, 1, 3]
    assert ledger.begins[0] == 1  # first and alone
    assert {outcome.status for outcome in outcomes(actor, tasks) if outcome.number != 2} == {"whole"}
    actor = CodecActor(pickle.dumps(job), 1, 2, "0.0", ledger)
    assert "install the same everywhere" in str(outcomes(actor, tasks))
    shutil.rmtree(tmp_path)
    actor = CodecActor(pickle.dumps(job), 1, 2, __version__, ledger)
    assert "does not see" in str(outcomes(actor, tasks))


def outcomes(actor: Any, tasks: list[Task]) -> Any:
    import pickle

    return pickle.loads(actor({"bundle": pickle.dumps(tasks)})["outcomes"])


def test_without_ray_it_says_what_to_install(
    recordings: Path, tmp_path: Path, tiny_checkpoint, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ["--model", str(tiny_checkpoint), "--engine", "ray"]
    assert cli.main(["corpus", "encode", str(recordings), str(tmp_path / "out"), *options]) == 1
    assert "pip install 'ray[data]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.npz"))
