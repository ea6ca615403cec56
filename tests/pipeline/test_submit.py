"""Submitting: what the SDKs send, and what is said when they are refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import google.auth
import pytest
import yaml
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import aiplatform
from google.cloud.aiplatform.utils import gcs_utils
from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient
from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient
from google.cloud.aiplatform_v1.types import PipelineJob, Schedule
from google.protobuf import json_format

from components.errors import InputError
from pipeline.cli.deploy import submit as command
from pipeline.config import PipelineConfig
from pipeline.submit import submit

Json = dict[str, Any]
CONFIG = Path(__file__).parents[2] / "pipeline/configs/demo.yaml"
PARENT = "projects/ours/locations/europe-west4"


def settings(**deploy: Any) -> PipelineConfig:
    given = {
        "name": "demo",
        "data": {"input": "data", "schema_file": "schema/campaign/schema.pbtxt"},
        "deploy": {
            "image": "registry.example/twotower:1",
            "pipeline_root": "gs://bucket/twotower",
            "input": "gs://bucket/campaign",
            "serving_root": "/gcs/models/serving",
            "service_account": "runner",
            "labels": {"team": "ads"},
            "project": "ours",
            "location": "europe-west4",
            **deploy,
            "kubeflow": {"volumes": {"models": "/gcs/models"}, **deploy.get("kubeflow", {})},
        },
    }
    return PipelineConfig.model_validate(given)


def test_a_schedule_that_is_no_cron_is_refused_before_anything_is_compiled() -> None:
    with pytest.raises(InputError, match=r"--schedule 'daily': expected minute, hour"):
        command("vertex", CONFIG, schedule="daily")


# --- Vertex --------------------------------------------------------------------------------------


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> list[Json]:
    """What Vertex's clients are asked for, by a person with credentials."""
    asked: list[Json] = []

    def create_job(self: Any, **request: Any) -> PipelineJob:
        asked.append(request)
        return PipelineJob(name=f"{PARENT}/pipelineJobs/{request['pipeline_job_id']}")

    def create_schedule(self: Any, **request: Any) -> Schedule:
        asked.append(request)
        return Schedule(name=f"{PARENT}/schedules/7")

    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "other"))
    monkeypatch.setattr(PipelineServiceClient, "create_pipeline_job", create_job)
    monkeypatch.setattr(ScheduleServiceClient, "create_schedule", create_schedule)
    # The SDK makes the bucket where there is none.
    name = "create_gcs_bucket_for_pipeline_artifacts_if_it_does_not_exist"
    monkeypatch.setattr(gcs_utils, name, lambda **_: None)
    monkeypatch.setattr(aiplatform.initializer.global_config, "_credentials", None)
    return asked


def test_vertex_is_asked_for_the_compiled_job(vertex: list[Json]) -> None:
    where = submit(settings(), "vertex")
    (request,) = vertex
    assert request["parent"] == PARENT
    job = json_format.MessageToDict(request["pipeline_job"]._pb)
    assert job["displayName"] == "demo"
    assert job["serviceAccount"] == "runner"
    assert job["labels"]["team"] == "ads"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://bucket/twotower"
    assert "trainer" in job["pipelineSpec"]["root"]["dag"]["tasks"]
    assert where.startswith("https://")
    assert request["pipeline_job_id"] in where


def test_vertex_is_asked_for_a_schedule(vertex: list[Json]) -> None:
    assert "/schedules/7" in submit(settings(), "vertex", schedule="0 3 * * *")
    (request,) = vertex
    schedule = json_format.MessageToDict(request["schedule"]._pb)
    assert schedule["cron"] == "0 3 * * *"
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    assert job["serviceAccount"] == "runner"
    assert job["labels"]["team"] == "ads"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (api.PermissionDenied("caller lacks access\nmore"), "refused.*caller lacks access.*roles/"),
        (api.NotFound("no such project"), "deploy.project=ours.*refused.*no such project"),
        (api.InvalidArgument("bad spec"), "refused the job.*bad spec"),
    ],
)
def test_what_vertex_refuses_is_one_line(
    vertex: list[Json], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def refuse(self: Any, **_: Any) -> None:
        raise error

    monkeypatch.setattr(PipelineServiceClient, "create_pipeline_job", refuse)
    with pytest.raises(InputError, match=message) as caught:
        submit(settings(), "vertex")
    assert "\n" not in str(caught.value)


def test_missing_google_credentials_are_one_line(
    vertex: list[Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(**_: Any) -> None:
        raise DefaultCredentialsError("no credentials were found\nSee a page")

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(InputError, match=r"no Google Cloud credentials.*gcloud auth") as caught:
        submit(settings(), "vertex")
    assert "\n" not in str(caught.value)
    assert vertex == []


def test_vertex_needs_a_project_and_a_region() -> None:
    with pytest.raises(InputError, match=r"deploy\.project: missing(.|\n)*deploy\.loc"):
        submit(settings(project=None, location=None), "vertex")


# --- Kubeflow ------------------------------------------------------------------------------------


IDS = {
    "experiments": "experiment_id",
    "runs": "run_id",
    "recurringruns": "recurring_run_id",
}


class Kubeflow(ThreadingHTTPServer):
    """As much of the Kubeflow Pipelines API as submitting needs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), KubeflowHandler)
        self.asked: dict[str, Json] = {}
        self.tokens: set[str | None] = set()
        self.refusal: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class KubeflowHandler(BaseHTTPRequestHandler):
    server: Kubeflow

    def do_GET(self) -> None:
        self._answer({"experiments": []} if "/experiments" in self.path else {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.rsplit("/", 1)[1]
        self.server.asked[kind] = body
        ids = {
            "experiments": "experiment_id",
            "runs": "run_id",
            "recurringruns": "recurring_run_id",
        }
        self._answer({ids[kind]: f"{kind}-1"})

    def _answer(self, body: Json) -> None:
        self.server.tokens.add(self.headers["Authorization"])
        status = 200
        if self.server.refusal:
            status, body = self.server.refusal[0], {"message": self.server.refusal[1]}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    with Kubeflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def on(server: Kubeflow, **others: Any) -> PipelineConfig:
    return settings(kubeflow={"host": server.url, "namespace": "ads", **others})


def test_kubeflow_is_asked_for_a_run_of_the_compiled_pipeline(kubeflow: Kubeflow) -> None:
    where = submit(on(kubeflow, experiment="clicks"), "kubeflow")
    assert where == f"{kubeflow.url}/#/runs/details/runs-1"
    assert kubeflow.asked["experiments"]["display_name"] == "clicks"
    assert kubeflow.asked["experiments"]["namespace"] == "ads"
    run = kubeflow.asked["runs"]
    assert run["experiment_id"] == "experiments-1"
    assert run["service_account"] == "runner"
    spec = run["pipeline_spec"]
    assert "trainer" in spec["pipeline_spec"]["root"]["dag"]["tasks"]
    assert "kubernetes" in spec["platform_spec"]["platforms"]
    assert kubeflow.tokens == {None}


def test_kubeflow_is_asked_for_a_recurring_run(kubeflow: Kubeflow) -> None:
    where = submit(on(kubeflow), "kubeflow", schedule="0 3 * * *")
    assert where == f"{kubeflow.url}/#/recurringrun/details/recurringruns-1"
    recurring = kubeflow.asked["recurringruns"]
    assert recurring["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert recurring["no_catchup"] is True
    assert recurring["mode"] == "ENABLE"


def test_a_token_is_sent_where_there_is_one(kubeflow: Kubeflow, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    submit(on(kubeflow, token_file=str(tmp_path / "token")), "kubeflow")
    assert kubeflow.tokens == {"Bearer secret"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "HTTP 401 not you.*deploy.kubeflow.token_file.*ads"),
        (403, "HTTP 403 not you.*token"),
        (404, "HTTP 404 not you.*namespace ads"),
    ],
)
def test_what_kubeflow_refuses_is_one_line(kubeflow: Kubeflow, status: int, message: str) -> None:
    kubeflow.refusal = (status, "not you\nat all")
    with pytest.raises(InputError, match=message) as caught:
        submit(on(kubeflow), "kubeflow")
    assert "\n" not in str(caught.value)


def test_a_host_that_does_not_answer_is_one_line() -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9: does not answer.*port-forward"):
        submit(settings(kubeflow={"host": "http://127.0.0.1:9"}), "kubeflow")


def test_a_token_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    config = settings(
        kubeflow={"host": "http://127.0.0.1:9", "token_file": str(tmp_path / "nowhere")}
    )
    with pytest.raises(InputError, match=r"token_file: .*nowhere: cannot be read"):
        submit(config, "kubeflow")


def test_kubeflow_needs_a_host() -> None:
    with pytest.raises(InputError, match=r"deploy\.kubeflow\.host: missing"):
        submit(settings(), "kubeflow")


def test_what_kubeflow_was_asked_for_is_what_compile_writes(kubeflow: Kubeflow) -> None:
    from pipeline.compile import compile_pipeline

    config = on(kubeflow)
    submit(config, "kubeflow")
    (spec, _) = yaml.safe_load_all(compile_pipeline(config, "kubeflow"))
    assert kubeflow.asked["runs"]["pipeline_spec"]["pipeline_spec"]["root"] == spec["root"]
