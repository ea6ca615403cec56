"""The specifications for Kubeflow and Vertex: valid, whole, runnable, and of one graph."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.components import load_component_from_text
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.utils import import_utils

from components.errors import InputError
from pipeline.compile import compile_pipeline, write_specification
from pipeline.config import PipelineConfig, load_config
from pipeline.graph import create_pipeline
from pipeline.prepare import prepare_for_image

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
DEPLOY: Json = {
    "image": "registry.example/twotower:1a2b3c",
    "pipeline_root": "gs://bucket/twotower",
    "input": "gs://bucket/campaign",
    "serving_root": "/gcs/bucket/serving",
    "labels": {"team": "ads"},
    "resources": {
        "trainer": {"cpu": 8, "memory_gb": 32},
        "example_gen": {"memory_gb": 4.5},
    },
    "kubeflow": {
        "volumes": {"models": "/serving"},
        "secrets": {"store": {"AWS_ACCESS_KEY_ID": "accesskey"}},
    },
}
MOUNTED = "/serving/models"  # on Kubeflow


def settings(deploy: Mapping[str, Any] | None = None, **others: Any) -> PipelineConfig:
    given = {
        "name": "our_campaign",
        "data": {"input": "data", "schema_file": "schema/campaign/schema.pbtxt"},
        "deploy": {**DEPLOY, **(deploy or {})},
        **others,
    }
    return PipelineConfig.model_validate(given)


def compiled_for_kubeflow(deploy: Mapping[str, Any] | None = None, **others: Any) -> list[Json]:
    config = settings({"serving_root": MOUNTED, **(deploy or {})}, **others)
    return list(yaml.safe_load_all(compile_pipeline(config, "kubeflow")))


@pytest.fixture(scope="module")
def kubeflow() -> list[Json]:
    return compiled_for_kubeflow()


@pytest.fixture(scope="module")
def vertex() -> Json:
    job: Json = json.loads(compile_pipeline(settings(), "vertex"))
    return job


@pytest.fixture(scope="module")
def spec(kubeflow: list[Json]) -> Json:
    return kubeflow[0]


def executors(spec: Json) -> Json:
    """The containers by task."""
    return {
        task: spec["deploymentSpec"]["executors"][component["executorLabel"]]
        for task, component in spec["components"].items()
    }


def test_kubeflows_own_loader_takes_the_yaml(kubeflow: list[Json]) -> None:
    loaded = load_component_from_text(yaml.safe_dump_all(kubeflow))
    assert loaded.pipeline_spec.pipeline_info.name == "our-campaign"
    assert loaded.pipeline_spec.default_pipeline_root == "gs://bucket/twotower"
    parameters = loaded.pipeline_spec.root.input_definitions.parameters
    assert parameters["data"].default_value.string_value == "gs://bucket/campaign"
    assert parameters["min_auc"].default_value.number_value == 0.5
    assert loaded.platform_spec.platforms.keys() == {"kubernetes"}


def test_the_configuration_to_begin_with_compiles() -> None:
    config = load_config(ROOT / "pipeline/configs/production.yaml")
    job = json.loads(compile_pipeline(config, "vertex"))
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "production"


def test_a_run_is_told_the_newest_day_of_its_window() -> None:
    data = {"input": "data", "schema_file": "schema/campaign/schema.pbtxt", "window": 14}
    deploy = {
        "input": "s3://bucket/logs/day={YYYY}-{MM}-{DD}/*.csv",
        "span_store": "/serving/spans",
        "serving_root": MOUNTED,
    }
    spec, _ = compiled_for_kubeflow(deploy, data=data)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters["data"]["defaultValue"] == "s3://bucket/logs"
    assert parameters["until"] == {"parameterType": "STRING", "defaultValue": ""}
    task = spec["root"]["dag"]["tasks"]["example-gen"]["inputs"]["parameters"]
    assert task["until"] == {"componentInputParameter": "until"}
    on_vertex = settings(
        {**deploy, "input": "gs://b/{SPAN}/", "serving_root": "/gcs/b/s"}, data=data
    )
    compiled = json.loads(compile_pipeline(on_vertex, "vertex"))["pipelineSpec"]
    assert "cachingOptions" not in compiled["root"]["dag"]["tasks"]["example-gen"]
    assert json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())


def test_a_refit_is_what_is_validated_and_pushed() -> None:
    spec, _ = compiled_for_kubeflow(trainer={"refit": True})
    tasks = spec["root"]["dag"]["tasks"]
    for task in ("validator", "pusher"):
        source = tasks[task]["inputs"]["artifacts"]["model"]["taskOutputArtifact"]
        assert source["producerTask"] == "refit"
    assert "passed" in tasks["refit-transform"]["dependentTasks"]
    assert tasks["passed"]["dependentTasks"] == ["evaluator"]
    judged = tasks["evaluator"]["inputs"]["artifacts"]["model"]["taskOutputArtifact"]
    assert judged["producerTask"] == "trainer"


@pytest.mark.parametrize(("target", "root"), [("vertex", "/gcs/b/s"), ("kubeflow", MOUNTED)])
def test_a_schedule_says_which_day_a_run_is_as_of(target: Any, root: str) -> None:
    def task(place: str, **data: Any) -> Json:
        given = {"input": "data", "schema_file": "schema/campaign/schema.pbtxt", **data}
        config = settings({"serving_root": root, "input": f"gs://bucket/{place}"}, data=given)
        (first, *_) = yaml.safe_load_all(compile_pipeline(config, target, scheduled=True))
        return first.get("pipelineSpec", first)["root"]["dag"]["tasks"]["example-gen"]

    dated = task("day={YYYY}-{MM}-{DD}/*.csv")
    # As Kubeflow's driver and Vertex know it: all of a constant.
    time = {"runtimeValue": {"constant": "{{$.pipeline_job_schedule_time_utc}}"}}
    assert dated["inputs"]["parameters"]["until"] == time
    assert "cachingOptions" not in dated
    parameter = {"componentInputParameter": "until"}
    assert task("{SPAN}/*.csv")["inputs"]["parameters"]["until"] == parameter
    set_day = task("day={YYYY}-{MM}-{DD}/*.csv", until="2026-11-24")
    assert set_day["inputs"]["parameters"]["until"] == parameter
    assert "until" not in task("campaign")["inputs"]["parameters"]


def test_every_part_fits_its_protobuf(kubeflow: list[Json], vertex: Json) -> None:
    for spec in (kubeflow[0], vertex["pipelineSpec"]):
        parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        assert parsed.schema_version == "2.1.0"
        json_format.ParseDict(spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    json_format.ParseDict(kubeflow[1], pipeline_spec_pb2.PlatformSpec())
    job = json_format.ParseDict(vertex, pipeline_spec_pb2.PipelineJob())
    assert job.runtime_config.gcs_output_directory == "gs://bucket/twotower"
    assert job.labels["team"] == "ads"


def test_both_hold_the_graph_of_the_local_run(spec: Json, vertex: Json) -> None:
    config = settings()
    local = create_pipeline(config, prepare_for_image(config), pipeline_root="root")
    expected = {
        node.id.replace("_", "-"): {up.id.replace("_", "-") for up in node.upstream_nodes}
        for node in local.components
    }
    for compiled in (spec, vertex["pipelineSpec"]):
        tasks = compiled["root"]["dag"]["tasks"]
        found = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}
        assert found == expected


def test_every_task_is_a_container_with_a_name_that_kubeflow_takes(spec: Json) -> None:
    for task, executor in executors(spec).items():
        assert executor.keys() == {"container"}, task  # no resolver, importer or custom job
        assert re.fullmatch("[a-zA-Z0-9][-a-zA-Z0-9]*", task)  # what Argo takes
        assert executor["container"]["image"] == DEPLOY["image"]


def test_what_the_containers_run_is_in_the_image(spec: Json) -> None:
    packages = set(re.findall(r"^COPY (\w+) \./", (ROOT / "Dockerfile").read_text(), re.M))
    assert {"components", "pipeline"} <= packages
    for executor in executors(spec).values():
        container = executor["container"]
        runs = [container, *container.get("lifecycle", {}).values()]
        modules = [run["command"][run["command"].index("-m") + 1] for run in runs]
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        assert import_utils.import_class_by_path(path)
        for module in (*modules, path.rpartition(".")[0]):
            found = importlib.util.find_spec(module)
            assert found
            assert found.origin
            inside = Path(found.origin).resolve()
            if inside.is_relative_to(ROOT) and "site-packages" not in inside.parts:
                assert module.partition(".")[0] in packages


@pytest.mark.parametrize(("target", "root"), [("kubeflow", MOUNTED), ("vertex", "/gcs/b/m")])
def test_paths_of_this_machine_stay_out_of_it(target: Any, root: str) -> None:
    config = settings({"serving_root": root})
    text = compile_pipeline(config, target)
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert text == compile_pipeline(config, target)  # nor does it change by itself
    assert "/opt/twotower/app/schema/campaign/schema.pbtxt" in text
    assert "/opt/twotower/encoders/" in text


def test_runs_may_set_the_data_and_the_threshold(spec: Json) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    for task, key, parameter in [
        ("example-gen", "input_base", "data"),
        ("evaluator", "min_auc", "min_auc"),
    ]:
        source = tasks[task]["inputs"]["parameters"][key]
        assert source == {"componentInputParameter": parameter}


def test_resources_labels_and_volumes_reach_the_containers(kubeflow: list[Json]) -> None:
    spec, platform = kubeflow
    resources = {
        task: executor["container"].get("resources") for task, executor in executors(spec).items()
    }
    assert resources["trainer"] == {"cpuLimit": 8, "memoryLimit": 32}
    assert resources["example-gen"] == {"memoryLimit": 4.5}
    assert resources["pusher"] is None
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods.keys() == spec["deploymentSpec"]["executors"].keys()
    for pod in pods.values():
        assert pod["podMetadata"]["labels"] == {"team": "ads"}
        assert pod["pvcMount"] == [{"constant": "models", "mountPath": "/serving"}]
        keys = [{"secretKey": "accesskey", "envVar": "AWS_ACCESS_KEY_ID"}]
        assert pod["secretAsEnv"] == [{"secretName": "store", "keyToEnv": keys}]


def cached(spec: Json) -> set[str]:
    tasks = spec["root"]["dag"]["tasks"].items()
    return {name for name, task in tasks if task.get("cachingOptions", {}).get("enableCache")}


def test_what_depends_on_more_than_its_inputs_is_never_cached(spec: Json, vertex: Json) -> None:
    for compiled, root in ((spec, MOUNTED), (vertex["pipelineSpec"], DEPLOY["serving_root"])):
        tasks = compiled["root"]["dag"]["tasks"]
        looks_at_models = {n for n, t in tasks.items() if root in json.dumps(t)}
        assert {"evaluator", "pusher"} <= looks_at_models
        # Only Vertex runs the hook that looks at the data before it looks into the cache.
        looks_at_data = {"example-gen"} if compiled is spec else set()
        assert tasks.keys() - cached(compiled) == looks_at_models | looks_at_data
    assert cached(compiled_for_kubeflow(cache=False)[0]) == set()


def test_input_that_is_split_is_read_as_such() -> None:
    spec = compiled_for_kubeflow({"is_split": True})[0]
    config = spec["root"]["dag"]["tasks"]["example-gen"]["inputs"]["parameters"]["input_config"]
    splits = json.loads(config["runtimeValue"]["constant"])["splits"]
    assert [(s["name"], s["pattern"]) for s in splits] == [
        ("train", "train/*"),
        ("eval", "eval/*"),
    ]


def test_beams_runner_reaches_the_nodes_that_use_beam() -> None:
    beam = {"runner": "dataflow", "workers": 20, "temp_location": "gs://bucket/temporary"}
    spec = compiled_for_kubeflow({"project": "ours", "location": "europe-west4"}, beam=beam)[0]
    arguments = executors(spec)["transform"]["container"]["args"]
    assert "--runner=DataflowRunner" in arguments
    assert "--max_num_workers=20" in arguments
    assert f"--sdk_container_image={DEPLOY['image']}" in arguments


def test_all_that_is_missing_is_named_at_once() -> None:
    config = settings(dict.fromkeys(["image", "pipeline_root", "input", "serving_root"]))
    with pytest.raises(InputError) as caught:
        compile_pipeline(config, "vertex")
    for key in ("image", "pipeline_root", "input", "serving_root"):
        assert f"deploy.{key}: missing; " in str(caught.value)


REMOTE_BEAM = {"runner": "flink", "job_endpoint": "flink:8099"}


@pytest.mark.parametrize(
    ("target", "deploy", "others", "message"),
    [
        ("vertex", {"pipeline_root": "s3://b/x"}, {}, "deploy.pipeline_root: s3://b/x: .*gs://"),
        ("kubeflow", {"pipeline_root": "/mnt/x"}, {}, "deploy.pipeline_root: /mnt/x: .*minio://"),
        ("kubeflow", {"pipeline_root": "s3://b"}, {"beam": REMOTE_BEAM}, "beam.runner=flink"),
        ("vertex", {"input": "/gcs/b/x"}, {"beam": REMOTE_BEAM}, "deploy.input: /gcs/b/x.*flink"),
        ("kubeflow", {"serving_root": "models"}, {}, "deploy.serving_root: models: .*absolute"),
        # An empty folder of the pod, which ends with it.
        ("kubeflow", {"serving_root": "/gcs/b/m"}, {}, "deploy.serving_root: .*kubeflow.volumes"),
        ("vertex", {"serving_root": "gs://b/models"}, {}, "deploy.serving_root: .*/gcs/"),
        ("vertex", {"serving_root": "/serving"}, {}, "deploy.serving_root: /serving: .*/gcs/"),
        ("kubeflow", {"input": "minio://b/x"}, {}, "deploy.input: minio://b/x: .*AWS_ENDPOINT_URL"),
        ("kubeflow", {"input": "/data"}, {}, "deploy.input: /data: .*kubeflow.volumes"),
        ("kubeflow", {"input": "/gcs/b/x"}, {}, "deploy.input: /gcs/b/x: .*kubeflow.volumes"),
        ("vertex", {"input": "s3://b/x"}, {}, "deploy.input: s3://b/x: .*/gcs/.*gs://"),
        ("vertex", {"input": "/serving/x"}, {}, "deploy.input: /serving/x: .*/gcs/"),
        ("vertex", {"resources": {"train": {"cpu": 1}}}, {}, "deploy.resources.train: .*trainer"),
        ("kubeflow", {}, {"beam": {"runner": "spark"}}, "beam.runner=spark needs(.|\n)*endpoint"),
    ],
)
def test_what_a_target_cannot_do_is_refused_when_compiling(
    target: Any, deploy: Json, others: Json, message: str
) -> None:
    root = MOUNTED if target == "kubeflow" else DEPLOY["serving_root"]
    with pytest.raises(InputError, match=message):
        compile_pipeline(settings({"serving_root": root, **deploy}, **others), target)


@pytest.mark.parametrize(
    ("target", "root", "data"),
    [
        ("kubeflow", MOUNTED, "/serving/campaign"),
        ("kubeflow", MOUNTED, "s3://bucket/campaign"),
        ("vertex", "/gcs/b/m", "/gcs/bucket/campaign"),
    ],
)
def test_the_input_may_be_wherever_the_target_can_read(target: Any, root: str, data: str) -> None:
    assert data in compile_pipeline(settings({"serving_root": root, "input": data}), target)


def test_the_files_name_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"vertex reads a file that ends in \.json"):
        write_specification(settings(), "vertex", tmp_path / "pipeline.yaml")
    file = tmp_path / "new folder" / "pipeline.json"
    write_specification(settings(), "vertex", file)
    assert json.loads(file.read_text())["displayName"] == "our-campaign"
