"""Each file for production is read with its own schema, and names what the pipeline pushes."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.config import model_server_config_pb2

from components import features
from components.errors import InputError
from serving.deploy.vertex.upload import upload_arguments
from serving.server.options import ServerOptions

DEPLOY = Path(inspect.getfile(upload_arguments)).parents[1]
CONFIG = DEPLOY / "config"

# From monitoring_config.proto and session_bundle_config.proto of tensorflow/serving 2.20; the
# published stubs lack both.
SCHEMA = """
name: "deploy.proto" syntax: "proto3" dependency: "google/protobuf/wrappers.proto"
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 type: TYPE_BOOL }
  field { name: "path" number: 2 type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 type_name: "PrometheusConfig" }
}
message_type {
  name: "BatchingParameters"
  field { name: "max_batch_size" number: 1 type_name: ".google.protobuf.Int64Value" }
  field { name: "batch_timeout_micros" number: 2 type_name: ".google.protobuf.Int64Value" }
  field { name: "max_enqueued_batches" number: 3 type_name: ".google.protobuf.Int64Value" }
  field { name: "num_batch_threads" number: 4 type_name: ".google.protobuf.Int64Value" }
  field { name: "thread_pool_name" number: 5 type_name: ".google.protobuf.StringValue" }
  field { name: "allowed_batch_sizes" number: 6 label: LABEL_REPEATED type: TYPE_INT64 }
  field { name: "pad_variable_length_inputs" number: 7 type: TYPE_BOOL }
}
"""


def _parse(name: str, message: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto()))
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(message))
    return text_format.Parse((CONFIG / name).read_text(), kind())


def _documents(path: str) -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / path).read_text())
    return {document["kind"]: document for document in documents}


COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]["serving"]
DEPLOYMENT = _documents("kubernetes/deployment.yaml")["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
INFERENCE = _documents("kserve/inference-service.yaml")["InferenceService"]["spec"]["predictor"]
COMMANDS = {
    "docker-compose": COMPOSE["command"],
    "kubernetes": POD["containers"][0]["args"],
    "kserve": INFERENCE["containers"][0]["args"],
    "vertex": upload_arguments("click_model", "gs://bucket/click_model")["serving_container_args"],
}


def test_models_config_names_what_the_pipeline_pushes() -> None:
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((CONFIG / "models.config").read_text(), config)
    models = config.model_config_list.config
    assert tuple(model.name for model in models) == features.MODELS
    for model in models:
        assert model.base_path == f"/mnt/models/{model.name}"
        assert model.model_platform == "tensorflow"
        assert model.model_version_policy.latest.num_versions == 2
        assert set(model.version_labels) == {"stable", "canary"}


def test_batching_config() -> None:
    batching = _parse("batching.config", "BatchingParameters")
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(sizes)
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1


def test_monitoring_config_has_the_path_that_is_scraped() -> None:
    prometheus = _parse("monitoring.config", "MonitoringConfig").prometheus_config
    annotations = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    assert prometheus.enable
    assert prometheus.path == annotations["prometheus.io/path"]
    assert f"--rest_api_port={annotations['prometheus.io/port']}" in COMMANDS["kubernetes"]


@pytest.mark.parametrize("where", COMMANDS)
def test_the_stand_in_knows_every_flag(where: str) -> None:
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in COMMANDS[where])
    ServerOptions.model_validate(flags)


@pytest.mark.parametrize("where", ["docker-compose", "kubernetes", "kserve"])
def test_every_config_file_in_a_flag_is_there(where: str) -> None:
    values = [flag.split("=", 1)[1] for flag in COMMANDS[where]]
    names = {Path(value).name for value in values if value.startswith("/etc/twotower/")}
    assert names == {path.name for path in CONFIG.glob("*.config")}


def test_one_pinned_stock_image_everywhere() -> None:
    images = {
        COMPOSE["image"],
        POD["containers"][0]["image"],
        INFERENCE["containers"][0]["image"],
        upload_arguments("click_model", "gs://b")["serving_container_image_uri"].removeprefix(
            "docker.io/"
        ),
    }
    assert len(images) == 1
    name, version = images.pop().split(":")
    assert name == "tensorflow/serving"
    assert len(version.split(".")) == 3


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("kubernetes/deployment.yaml", "V1Deployment"),
        ("kubernetes/service.yaml", "V1Service"),
        ("kubernetes/disruption-budget.yaml", "V1PodDisruptionBudget"),
    ],
)
def test_kubernetes_objects_fit_their_schema(path: str, kind: str) -> None:
    (document,) = yaml.safe_load_all((DEPLOY / path).read_text())
    if kind == "V1Deployment":  # kustomize adds the selector
        document["spec"]["selector"] = {"matchLabels": {"a": "b"}}
    assert _through_the_schema(document, kind) == document


def test_kserve_containers_and_volumes_fit_their_schema() -> None:
    for container in INFERENCE["containers"]:
        assert _through_the_schema(container, "V1Container") == container
    for volume in INFERENCE["volumes"]:
        assert _through_the_schema(volume, "V1Volume") == volume


def _through_the_schema(document: Any, kind: str) -> Any:
    """Reads with Kubernetes' own types, which drop what they do not know, and writes again."""
    from kubernetes import client

    api = client.ApiClient()
    read = api.deserialize(SimpleNamespace(data=json.dumps(document)), kind)
    return api.sanitize_for_serialization(read)


def test_pods_have_grpc_probes_prestop_limits_and_no_root() -> None:
    (container,) = POD["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["grpc"]
    sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 0 < sleep < POD["terminationGracePeriodSeconds"]
    assert {"requests", "limits"} == set(container["resources"])
    assert POD["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}


def test_compose_listens_on_this_machine_only_and_has_no_rights() -> None:
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["ports"])
    assert all(volume.endswith(":ro") for volume in COMPOSE["volumes"])
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["user"].split(":")[0] != "0"


@pytest.mark.parametrize("folder", ["kubernetes", "kserve"])
def test_kustomize_builds(folder: str, lack: Callable[..., NoReturn]) -> None:
    if shutil.which("kubectl") is None:
        lack("kubectl")
    command = ["kubectl", "kustomize", str(DEPLOY / folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    objects = {document["kind"]: document for document in yaml.safe_load_all(built)}
    config = objects["ConfigMap"]
    assert config["data"]["models.config"] == (CONFIG / "models.config").read_text()
    pod = POD if folder == "kubernetes" else INFERENCE
    used = [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v]
    assert used == [config["metadata"]["name"]]


@pytest.mark.e2e  # only because importing the library is slow
def test_vertex_arguments_are_those_of_the_library() -> None:
    from google.cloud import aiplatform

    arguments = upload_arguments(features.CLICK_MODEL, "gs://bucket/click_model")
    inspect.signature(aiplatform.Model.upload).bind(**arguments)
    assert arguments["serving_container_predict_route"] == "/v1/models/click_model:predict"


@pytest.mark.parametrize(
    ("model", "source", "message"),
    [
        ("tower", "gs://bucket/tower", "tower: no such model; there are: item_tower"),
        (features.CLICK_MODEL, "/models/click_model", "expected a folder in Cloud Storage"),
    ],
)
def test_vertex_refuses_what_cannot_work(model: str, source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        upload_arguments(model, source)


def test_the_files_serve_every_model(push: Any, serve: Any, tmp_path: Path) -> None:
    for model in features.MODELS:
        push(model, 1)
    text = (CONFIG / "models.config").read_text().replace("/mnt/models", str(tmp_path / "models"))
    (tmp_path / "models.config").write_text(text)
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in COMMANDS["docker-compose"])
    for flag, value in flags.items():  # where the container mounts the folder of the files
        flags[flag] = value.replace("/etc/twotower", str(CONFIG))
    for flag in ("port", "rest_api_port"):  # the fixture's own
        del flags[flag]
    server = serve(**flags | {"model_config_file": tmp_path / "models.config"})
    for model in features.MODELS:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        (status,) = server.models.GetModelStatus(request).model_version_status
        assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    inputs = {features.Columns().text: ["pasta"]}
    assert server.predict(features.ITEM_TOWER, inputs, label="stable").model_spec.version.value == 1


def test_every_file_in_the_guide_is_there() -> None:
    guide = (DEPLOY / "README.md").read_text()
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    for row in rows:
        assert (DEPLOY / row.split("`")[1]).exists()
    assert len(rows) == 7
