"""A Ray cluster of two nodes on this machine, for the tests and the benchmark of the corpus."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def two_nodes(num_cpus: int, object_store_mb: int = 80) -> Iterator[str]:
    """Two nodes with ``num_cpus`` cores each, as Ray counts them, small and without a dashboard; gives the address.

    Afterwards they are gone, with all they wrote.
    """
    import ray
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: the paths of its sockets may have 107 characters
    Path(folder, "ray").mkdir()  # Ray writes the cluster's address there, and expects to find the folder
    node = {"num_cpus": num_cpus, "object_store_memory": object_store_mb * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        # The workers run from anywhere and find the program that is tested.
        root = str(Path(__file__).resolve().parent.parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # a token of the developer's is none of its business
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            yield cluster.address
        finally:
            ray.shutdown()
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
