"""The image that the Dockerfile makes: `make test-image` builds one and runs this.

It is not part of `make test`, which has no image.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.samples.campaign import write_campaign
from tests.e2e.conftest import command
from tests.e2e.kubeflow_harness import ROOT, Harness
from tests.ports import free_port
from tests.servers import running

SETTINGS = {
    "deploy.image": "registry.example/twotower:1",
    "deploy.pipeline_root": "minio://mlpipeline/runs",
    "deploy.input": "/data",
    "deploy.serving_root": "/serving",
    "deploy.kubeflow.volumes": "{campaign: /data, serving: /serving}",
}


@pytest.fixture(scope="module")
def image(pytestconfig: pytest.Config) -> tuple[str, str]:
    """The program that runs containers, and the image's tag."""
    engine, _, tag = pytestconfig.getoption("--image").partition(":")
    return engine, tag


@dataclass
class ImageHarness(Harness):
    """Runs the tasks in containers of an image."""

    engine: str = ""
    tag: str = ""
    environment: ClassVar = os.environ  # it tells podman where its images are

    def container(
        self, root: Path, mounts: Sequence[tuple[Path, str]], command: Sequence[str]
    ) -> list[str]:
        for outside, _ in mounts:  # the image's user is nobody here
            for path in (outside, *outside.rglob("*")):
                path.chmod(0o777)
        volumes = [f"--volume={outside}:{inside}" for outside, inside in mounts]
        started = [self.engine, "run", "--rm", "--network=host", *volumes]
        return [*started, f"--entrypoint={command[0]}", self.tag, *command[1:]]


def test_nodes_run_in_it_as_kubeflow_runs_them(image: tuple[str, str], tmp_path: Path) -> None:
    write_campaign(tmp_path / "data", rows=600, ads=20, seed=5)
    (tmp_path / "serving").mkdir()
    file = tmp_path / "pipeline.yaml"
    settings = [part for item in SETTINGS.items() for part in ("--set", "=".join(item))]
    demo = ["--config", "pipeline/configs/demo.yaml"]
    compiled = ["compile", "--target", "kubeflow", "--out", str(file), *demo, *settings]
    subprocess.run(command(compiled), cwd=ROOT, check=True)
    volumes = {"campaign": tmp_path / "data", "serving": tmp_path / "serving"}
    harness = ImageHarness(file, tmp_path, volumes, engine=image[0], tag=image[1])
    harness.run(until="statistics")
    statistics = harness.file(harness.outputs["statistics"]["statistics"])
    assert (statistics / "Split-train/FeatureStats.pb").stat().st_size > 0


@pytest.fixture
def worker_pool(image: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """Where the image listens, started as docs/beam.md says."""
    engine, tag = image
    name = "twotower-test-workers"
    started = [engine, "run", "--rm", f"--name={name}", "--network=host", tag, "--worker_pool"]
    try:
        with running(started, 50000, tmp_path / "pool.log"):
            yield "localhost:50000"
    finally:
        subprocess.run([engine, "rm", "--force", name], check=False, capture_output=True)


def test_its_worker_pool_works_for_a_job_server(worker_pool: str, tmp_path: Path) -> None:
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    server = [sys.executable, "-m", module, f"--port={port}"]
    options = PipelineOptions(
        [],
        runner="PortableRunner",
        job_server_timeout=600,
        job_endpoint=f"localhost:{port}",
        environment_type="EXTERNAL",
        environment_config=worker_pool,
    )

    def where(number: int) -> str:
        import components.transform.preprocessing as module

        return f"{number} {module.__file__}"

    def check(seen: list[str]) -> None:
        file = "/opt/twotower/app/components/transform/preprocessing.py"
        if sorted(seen) != [f"1 {file}", f"2 {file}"]:  # an assert would need pytest in the image
            raise AssertionError(seen)

    with running(server, port, tmp_path / "server.log"), beam.Pipeline(options=options) as pipeline:
        seen = pipeline | beam.Create([1, 2]) | beam.Map(where)
        seen | beam.combiners.ToList() | beam.Map(check)
