"""Compiles the pipeline for Kubeflow and Vertex: one specification, in the form that each reads."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from kfp.dsl import PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from components.errors import InputError
from components.example_gen.spans import SpanPattern
from components.output_file import write_text
from pipeline.beam import beam_arguments
from pipeline.config import PipelineConfig, require
from pipeline.executor_input import OUTPUTS_FLAG
from pipeline.graph import create_pipeline
from pipeline.prepare import prepare_for_image
from pipeline.settings import ResourceSettings

Target = Literal["kubeflow", "vertex"]
Json = dict[str, Any]

SUFFIXES = {"kubeflow": ".yaml", "vertex": ".json"}

_ENTRY_POINT = ["python", "-m", "pipeline.container"]

# The parameters of a run, and the node and property that each one fills.
_PARAMETERS = {
    "data": ("example-gen", "input_base"),
    "until": ("example-gen", "until"),  # of input in spans
    "min_auc": ("evaluator", "min_auc"),
}

# What Kubeflow and Vertex put the time of a schedule in the place of, if it is all of a constant.
_SCHEDULED = {"runtimeValue": {"constant": PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER}}

# Nodes whose result depends on more than their inputs: on the serving root, or on the data, which
# only Vertex looks at before it looks into its cache.
_NEVER_CACHED = {
    "kubeflow": ("example-gen", "schema-gate", "evaluator", "pusher"),
    "vertex": ("schema-gate", "evaluator", "pusher"),
}

_STORES = {"kubeflow": ("gs://", "s3://", "minio://"), "vertex": ("gs://",)}

# Those that the input can be read from; MinIO is an S3 with an address.
_INPUTS = {"kubeflow": ("gs://", "s3://"), "vertex": ("gs://",)}
_MINIO = "; MinIO is an s3://, with its AWS_ENDPOINT_URL in deploy.kubeflow.secrets"

_MOUNTS = {"kubeflow": "on one of deploy.kubeflow.volumes", "vertex": "/gcs/<bucket>/<folder>"}


def compile_pipeline(config: PipelineConfig, target: Target, scheduled: bool = False) -> str:
    """Returns the specification: for Kubeflow the YAML, for Vertex the JSON of a job.

    Args:
        config: the settings.
        target: which of the two.
        scheduled: whether a schedule starts it: of an input in days, a run is as of the day before
            the time that it is scheduled for, however late it starts.

    Raises:
        InputError: settings that the target needs are missing or do not fit it.
    """
    _check(config, target)
    job = _compile(config)
    spec = job["pipelineSpec"]
    spec["defaultPipelineRoot"] = config.deploy.pipeline_root
    if scheduled:
        _take_day_of_schedule(spec, config)
    _add_parameters(spec)
    _add_outputs(spec)
    _add_resources(spec, config.deploy.resources)
    # A node that works out a window finds another one when a day has come.
    of_window = ["example-gen"] if "until" in spec["root"]["inputDefinitions"]["parameters"] else []
    for node in [*_NEVER_CACHED[target], *of_window]:
        spec["root"]["dag"]["tasks"][node].pop("cachingOptions", None)
    if target == "vertex":
        job["labels"] |= config.deploy.labels
        return json.dumps(job, indent=1)
    return yaml.safe_dump_all([spec, _platform(spec, config)])


def write_specification(
    config: PipelineConfig, target: Target, file: Path, scheduled: bool = False
) -> None:
    """Writes `compile_pipeline(config, target, scheduled)` into a file.

    Raises:
        InputError: as there, or the file's name does not end as the target wants it.
    """
    if file.suffix != SUFFIXES[target]:
        raise InputError(f"--out {file}: {target} reads a file that ends in {SUFFIXES[target]}")
    text = compile_pipeline(config, target, scheduled)
    write_text(file, text)


def _check(config: PipelineConfig, target: Target) -> None:
    deploy = config.deploy
    keys = ("image", "pipeline_root", "input", "serving_root")
    require(config, f"--target {target}", *(f"deploy.{key}" for key in keys))
    root, stores = str(deploy.pipeline_root), _STORES[target]
    if not root.startswith(stores):
        raise InputError(
            f"deploy.pipeline_root: {root}: expected a folder in an object store that {target} "
            f"keeps artifacts in: {', '.join(stores)}"
        )
    if config.beam.runner != "local" and not root.startswith("gs://"):
        raise InputError(
            f"deploy.pipeline_root: {root}: the workers of beam.runner={config.beam.runner} reach "
            "artifacts in gs:// only; use beam.runner=local, or keep artifacts there"
        )
    if config.beam.runner != "local" and not str(deploy.input).startswith("gs://"):
        raise InputError(
            f"deploy.input: {deploy.input}: the workers of beam.runner={config.beam.runner} read "
            "input in gs:// only; use beam.runner=local, or put it there"
        )
    mounts = ["/gcs"] if target == "vertex" else sorted(deploy.kubeflow.volumes.values())
    if not (str(deploy.input).startswith(_INPUTS[target]) or _is_in(deploy.input, mounts)):
        raise InputError(
            f"deploy.input: {deploy.input}: expected a folder that {target} can read: mounted "
            f"({_MOUNTS[target]}), or in {' or '.join(_INPUTS[target])}"
            f"{_MINIO if target == 'kubeflow' else ''}"
        )
    if not _is_in(deploy.serving_root, mounts):
        raise InputError(
            f"deploy.serving_root: {deploy.serving_root}: expected an absolute folder that the "
            f"containers have mounted: {_MOUNTS[target]}"
        )


def _is_in(folder: object, mounts: list[str]) -> bool:
    return any(PurePosixPath(str(folder)).is_relative_to(mount) for mount in mounts)


def _compile(config: PipelineConfig) -> Json:
    """Returns TFX's own job for the graph, with names that Kubeflow and Vertex both take."""
    pusher = config.pusher.model_copy(update={"serving_root": config.deploy.serving_root})
    config = config.model_copy(
        update={"pusher": pusher, "name": config.name.replace("_", "-").rstrip("-")}
    )
    pipeline = create_pipeline(
        config,
        prepare_for_image(config),
        pipeline_root=str(config.deploy.pipeline_root),
        beam_pipeline_args=beam_arguments(config),
    )
    for node in pipeline.components:
        node.with_id(node.id.replace("_", "-"))  # Kubeflow's engine refuses underscores
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=config.deploy.image,
            default_commands=_ENTRY_POINT,
            use_pipeline_spec_2_1=True,
        )
    )
    return runner.run(pipeline, write_out=False)


def _take_day_of_schedule(spec: Json, config: PipelineConfig) -> None:
    """Has a schedule say which day a run is as of, where the input has days."""
    node, key = _PARAMETERS["until"]
    task = spec["root"]["dag"]["tasks"][node]
    inputs = task["inputs"]["parameters"]
    if (
        key in inputs
        and config.data.until is None
        and SpanPattern(str(config.deploy.input)).is_dated
    ):
        inputs[key] = _SCHEDULED
        task.pop("cachingOptions", None)  # the constant is the same on every day


def _add_parameters(spec: Json) -> None:
    """Makes constants parameters of a run, with the constants as their defaults."""
    parameters = spec["root"].setdefault("inputDefinitions", {}).setdefault("parameters", {})
    for name, (node, key) in _PARAMETERS.items():
        inputs = spec["root"]["dag"]["tasks"][node]["inputs"]["parameters"]
        if key not in inputs or inputs[key] == _SCHEDULED:
            continue
        component = spec["components"][node]["inputDefinitions"]["parameters"][key]
        parameters[name] = {**component, "defaultValue": inputs[key]["runtimeValue"]["constant"]}
        inputs[key] = {"componentInputParameter": name}


def _add_outputs(spec: Json) -> None:
    """Tells the entry point of the containers what outputs each component has."""
    for component in spec["components"].values():
        outputs = json.dumps(component.get("outputDefinitions", {}))
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        executor["container"]["args"] += [OUTPUTS_FLAG, outputs]


def _add_resources(spec: Json, resources: dict[str, ResourceSettings]) -> None:
    for node, settings in resources.items():
        name = node.replace("_", "-")
        if name not in spec["components"]:
            nodes = ", ".join(sorted(spec["components"])).replace("-", "_")
            raise InputError(f"deploy.resources.{node}: no such node; there are: {nodes}")
        executor = spec["deploymentSpec"]["executors"][spec["components"][name]["executorLabel"]]
        executor["container"]["resources"] = _resources(settings)


def _resources(settings: ResourceSettings) -> Json:
    limits = {"cpuLimit": settings.cpu, "memoryLimit": settings.memory_gb}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _platform(spec: Json, config: PipelineConfig) -> Json:
    """Returns what Kubernetes is told of the pods: the second document of Kubeflow's YAML."""
    executors = {label: _pod(config) for label in spec["deploymentSpec"]["executors"]}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _pod(config: PipelineConfig) -> Json:
    volumes, secrets = config.deploy.kubeflow.volumes, config.deploy.kubeflow.secrets
    return {
        "podMetadata": {"labels": dict(config.deploy.labels)},
        "pvcMount": [{"constant": claim, "mountPath": folder} for claim, folder in volumes.items()],
        "secretAsEnv": [
            {
                "secretName": secret,
                "keyToEnv": [{"secretKey": key, "envVar": name} for name, key in keys.items()],
            }
            for secret, keys in secrets.items()
        ],
    }
