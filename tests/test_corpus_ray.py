"""A corpus on a Ray cluster of two nodes, on this machine. Oracle: the same job in the calling process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
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

if not ON_CI:  # where its absence is a failure
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
import ray
import ray.data

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")
NUM_FILES = 24


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes with one core each, small and without a dashboard; gone afterwards, with all they wrote."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: the paths of its sockets may have 107 characters
    Path(folder, "ray").mkdir()  # Ray writes the cluster's address there, and expects to find the folder
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        # The workers run from anywhere and find the program that is tested.
        root = str(Path(__file__).resolve().parent.parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster = Cluster(initialize_head=True, head_node_args=node)
        cluster.add_node(**node)
        yield cluster.address
        ray.shutdown()
        cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


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
