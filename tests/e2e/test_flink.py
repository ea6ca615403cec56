"""Beam's work through a job server, by workers in processes of their own.

The same run against two servers that take the same arguments: the one that comes with Beam's Python
SDK, and Flink's, which is a Java program with a job manager and task managers in it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam
import numpy as np
import pytest

from components.features import ITEM_TOWER, USER_TOWER
from tests.e2e.weights import tower_weights
from tests.ports import free_port

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WORKERS = 2
JOB_SERVERS = Path("~/.m2/repository/org/apache/beam").expanduser()  # where Maven keeps them


@pytest.fixture(scope="module")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Where Beam's worker pool listens, with what the image has: this environment; and its log."""
    port = free_port()
    command = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    log = tmp_path_factory.mktemp("worker pool") / "log"
    with running([sys.executable, *command], port, log):
        yield f"localhost:{port}", log


@pytest.fixture(params=["python", pytest.param("flink", marks=pytest.mark.flink)])
def job_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    if request.param == "python":
        module = "apache_beam.runners.portability.local_job_service_main"
        command = [sys.executable, "-m", module, f"--port={port}"]
    else:
        others = ["--artifact-port=0", "--expansion-port=0", "--flink-master=[local]"]
        command = ["java", "-jar", str(flink_job_server()), f"--job-port={port}", *others]
    with running(command, port, tmp_path / "job_server.log"):
        yield f"localhost:{port}"


def flink_job_server() -> Path:
    version = apache_beam.__version__
    jars = sorted(JOB_SERVERS.glob(f"beam-runners-flink-*-job-server/{version}/*.jar"))
    if not jars:
        pytest.skip(
            f"no org.apache.beam:beam-runners-flink-*-job-server:{version} in Maven's local "
            "repository; `mvn dependency:get` brings it from a registry that serves it"
        )
    if shutil.which("java") is None:
        pytest.skip("no Java to run Flink with")
    return jars[-1]


def test_the_towers_are_those_of_the_local_runner(
    pushed: Campaign,
    new_campaign: Callable[[], Campaign],
    worker_pool: tuple[str, Path],
    job_server: str,
) -> None:
    pool, pool_log = worker_pool
    before = pool_log.stat().st_size
    campaign = new_campaign()
    result = campaign.run(
        "beam.runner=flink",
        f"beam.workers={WORKERS}",
        f"beam.job_endpoint={job_server}",
        f"beam.worker_pool={pool}",
        "deploy.image=registry.example/twotower:1",
    )
    assert result.returncode == 0, result.stdout
    assert "Starting worker" in pool_log.read_text()[before:]
    for tower in (USER_TOWER, ITEM_TOWER):
        local, ours = (tower_weights(root, tower) for root in (pushed.serving, campaign.serving))
        for name, weight in local.items():
            np.testing.assert_allclose(weight, ours[name], atol=1e-5, err_msg=name)


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Runs a server until the context ends, and waits until it listens."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env={**os.environ, "PATH": path}, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            wait_for(port, process, log)
            yield
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"{process.args!r} does not listen:\n{log.read_text()[-3000:]}")
