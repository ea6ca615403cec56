"""Beam's command line, read back by Beam itself."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.options import pipeline_options as beam
from apache_beam.transforms.environments import DockerEnvironment, ExternalEnvironment

from components.errors import InputError
from pipeline.beam import beam_arguments
from pipeline.config import PipelineConfig

IMAGE = "registry.example/twotower:1"


def options(deploy: dict[str, Any] | None = None, **settings: Any) -> beam.PipelineOptions:
    given = {
        "name": "demo",
        "data": {"input": "data", "schema_file": "schema.pbtxt"},
        "beam": settings,
        "deploy": {"image": IMAGE, **(deploy or {})},
    }
    return beam.PipelineOptions(beam_arguments(PipelineConfig.model_validate(given)))


def test_one_local_worker_stays_in_the_process_and_more_are_processes() -> None:
    assert options().view_as(beam.StandardOptions).runner.endswith("FnApiRunner")
    several = options(workers=3).view_as(beam.DirectOptions)
    assert (several.direct_running_mode, several.direct_num_workers) == ("multi_processing", 3)


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_a_job_server_is_told_how_many_workers_and_where_they_are(runner: str) -> None:
    given = options(
        runner=runner, workers=4, job_endpoint="server:8099", worker_pool="localhost:50000"
    )
    assert given.view_as(beam.StandardOptions).runner == "PortableRunner"
    portable = given.view_as(beam.PortableOptions)
    assert portable.job_endpoint == "server:8099"
    assert given.view_as(beam.FlinkRunnerOptions).parallelism == 4
    assert portable.environment_type == "EXTERNAL"
    assert ExternalEnvironment.from_options(portable).url == "localhost:50000"


def test_without_a_worker_pool_the_workers_start_the_image() -> None:
    given = options(runner="flink", job_endpoint="server:8099")
    assert given.view_as(beam.PortableOptions).environment_type == "DOCKER"
    environment = DockerEnvironment.from_options(given.view_as(beam.PortableOptions))
    assert environment.container_image == IMAGE


def test_dataflow_is_told_where_and_as_whom() -> None:
    deploy = {
        "project": "ours",
        "location": "europe-west4",
        "service_account": "runner@ours",
        "labels": {"team": "ads"},
    }
    given = options(
        deploy, runner="dataflow", workers=20, temp_location="gs://b/t", machine_type="n2-highmem-4"
    )
    cloud = given.view_as(beam.GoogleCloudOptions)
    assert given.view_as(beam.StandardOptions).runner == "DataflowRunner"
    assert (cloud.project, cloud.region) == ("ours", "europe-west4")
    assert cloud.temp_location == "gs://b/t"
    assert cloud.service_account_email == "runner@ours"
    assert cloud.labels == ["team=ads"]
    workers = given.view_as(beam.WorkerOptions)
    assert workers.max_num_workers == 20
    assert workers.machine_type == "n2-highmem-4"
    assert workers.sdk_container_image == IMAGE


def test_tfx_does_not_send_code_along_where_the_image_has_it() -> None:
    from tfx.utils.dependency_utils import make_beam_dependency_flags

    given = PipelineConfig.model_validate(
        {
            "name": "demo",
            "data": {"input": "data", "schema_file": "schema.pbtxt"},
            "beam": {"runner": "flink", "job_endpoint": "server:8099"},
            "deploy": {"image": IMAGE},
        }
    )
    arguments = beam_arguments(given)
    assert make_beam_dependency_flags(arguments) == arguments


@pytest.mark.parametrize(
    ("runner", "missing"),
    [
        ("flink", ["beam.job_endpoint", "deploy.image"]),
        ("spark", ["beam.job_endpoint", "deploy.image"]),
        (
            "dataflow",
            ["beam.temp_location", "deploy.image", "deploy.project", "deploy.location"],
        ),
    ],
)
def test_what_a_runner_needs_is_named_at_once(runner: str, missing: list[str]) -> None:
    with pytest.raises(InputError, match=f"beam.runner={runner} needs") as caught:
        options({"image": None}, runner=runner)
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip().split(":")[0] for line in lines] == missing
