"""Runs a compiled Kubeflow specification as it is written, task by task, with no cluster.

What Kubeflow Pipelines' driver and launcher do is done here, with a folder as the object store. The
driver's part is the ExecutorInput that a container is handed. The launcher's is to copy the input
artifacts to `/minio`, to run the container's own command line, to copy the outputs back and to keep
what the container reports of them. The sources are KFP's `backend/src/v2/driver` and
`backend/src/v2/component/launcher_v2.go`; `kfp_executor_inputs.json` is what they made of a run.

A container is a pod as `pod.sh` makes one: it finds the project and the text encoders where the
image has them, runs as user 1000, and can write only what it could there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

ROOT = Path(__file__).parents[2]
POD = Path(__file__).with_name("pod.sh")
ENCODERS = Path("~/.cache/twotower/encoders").expanduser()
STORE = "minio://"
# What user 1000 of the image and the volumes that Kubeflow adds make writable.
WRITABLE = ("home/twotower", "tmp", "gcs", "minio", "s3", ".cache", ".config", ".local")
ENVIRONMENT = {
    "HOME": "/home/twotower",
    "PATH": f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": "/opt/twotower/app",  # in the image, it is installed from there
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
SESSION = {
    "Provider": "minio",
    "Params": {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": "seaweedfs.kubeflow:9000",
        "fromEnv": "false",
        "maxRetries": "5",
        "region": "minio",
        "secretKeyKey": "secretkey",
        "secretName": "mlpipeline-minio-artifact",
    },
}

Json = dict[str, Any]
Outputs = dict[str, Json]  # RuntimeArtifacts by the name of the output


class TaskFailedError(Exception):
    """A container ended with an exit code other than 0.

    Attributes:
        task: whose container.
        exit_code: of it.
        log: what it wrote to standard output and standard error.
    """

    def __init__(self, task: str, exit_code: int, log: str) -> None:
        super().__init__(f"{task}: exit code {exit_code}\n{log[-5000:]}")
        self.task, self.exit_code, self.log = task, exit_code, log


def missing() -> str | None:
    """Says what this machine lacks for `pod.sh`; None where it has everything."""
    command = ["unshare", "--map-root-user", "--mount", "true"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "no `unshare`; it comes with util-linux"
    return f"no user namespaces here: {result.stderr.strip()}" if result.returncode else None


@dataclass
class Harness:
    """Runs the tasks of one specification.

    Args:
        specification: the file that `twotower compile --target kubeflow` wrote.
        root: where the object store and the pods go; several runs may share it.
        volumes: the folders behind the volume claims.
        parameters: of the run; those not given have their defaults.
        vertex: whether driver hooks run, and no output is added for the logs; open-source Kubeflow
            ignores the hooks and adds one.
        outputs: artifacts of the tasks that are done, by task.

    Attributes:
        given: the ExecutorInputs of the tasks that ran, by task.
        environment: the variables of the command that `container` returns.
    """

    specification: Path
    root: Path
    volumes: Mapping[str, Path]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    vertex: bool = False
    outputs: dict[str, Outputs] = field(default_factory=dict)
    given: dict[str, Json] = field(default_factory=dict)
    environment: ClassVar[Mapping[str, str]] = ENVIRONMENT

    def __post_init__(self) -> None:
        self._spec, platform = yaml.safe_load_all(self.specification.read_text())
        self._pods: Json = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.tasks: Json = self._spec["root"]["dag"]["tasks"]
        self._run_id = str(uuid.uuid4())
        self._ids = count(1)

    def file(self, artifact: Json) -> Path:
        """Returns where an artifact of the object store is."""
        return self.root / "store" / artifact["uri"].removeprefix(STORE)

    def run(self, until: str | None = None) -> None:
        """Runs all tasks that are not done, or those up to and with one.

        Raises:
            TaskFailedError: at the first task that fails.
        """
        for task in self._in_order():
            if task not in self.outputs:
                self.outputs[task] = self._run(task)
            if task == until:
                return

    def _in_order(self) -> Iterator[str]:
        waiting = dict(self.tasks)
        done: set[str] = set()
        while waiting:
            ready = [t for t in waiting if done.issuperset(waiting[t].get("dependentTasks", ()))]
            assert ready, f"tasks that wait for each other: {list(waiting)}"
            yield ready[0]
            done.add(ready[0])
            del waiting[ready[0]]

    def _run(self, task: str) -> Outputs:
        component = self._spec["components"][self.tasks[task]["componentRef"]["name"]]
        label = component["executorLabel"]
        container = self._spec["deploymentSpec"]["executors"][label]["container"]
        given = self.given[task] = self._executor_input(task, component)
        pod = self.root / "pods" / self._run_id / task
        for folder in (*WRITABLE, "root"):
            (pod / folder).mkdir(parents=True)
        artifacts = _artifacts(given["outputs"])
        for artifact in _artifacts(given["inputs"]).values():
            _copy(self.file(artifact), pod / "minio" / artifact["uri"].removeprefix(STORE))
        for artifact in artifacts.values():
            (pod / "minio" / artifact["uri"].removeprefix(STORE)).parent.mkdir(
                parents=True, exist_ok=True
            )
        hook = container.get("lifecycle", {}).get("preCacheCheck")
        if hook and self.vertex:
            self._start(task, label, [*hook["command"], *hook["args"]], pod)
        self._start(task, label, [*container["command"], *container["args"]], pod)
        for artifact in artifacts.values():
            _copy(pod / "minio" / artifact["uri"].removeprefix(STORE), self.file(artifact))
        reported = pod / given["outputs"]["outputFile"].removeprefix("/")
        return self._recorded(artifacts, reported)

    def _executor_input(self, task: str, component: Json) -> Json:
        """Does the driver's part."""
        inputs = self.tasks[task].get("inputs", {})
        sources = inputs.get("artifacts", {}).items()
        name = self._spec["pipelineInfo"]["name"]
        folder = PurePosixPath(
            self._spec["defaultPipelineRoot"].removeprefix(STORE),
            *(name, self._run_id, task, str(uuid.uuid4())),
        )
        outputs = component.get("outputDefinitions", {}).get("artifacts", {})
        if not self.vertex:
            outputs = outputs | {
                "executor-logs": {"artifactType": {"schemaTitle": "system.Artifact"}}
            }
        given = {
            "inputs": {
                "parameterValues": {
                    name: self._value(source)
                    for name, source in inputs.get("parameters", {}).items()
                },
                "artifacts": {
                    name: {"artifacts": [self._artifact(source["taskOutputArtifact"])]}
                    for name, source in sources
                },
            },
            "outputs": {
                "artifacts": {
                    name: {
                        "artifacts": [
                            {
                                "name": name,
                                "uri": f"{STORE}{folder / name}",
                                "type": definition["artifactType"],
                                "metadata": definition.get("metadata"),
                            }
                        ]
                    }
                    for name, definition in outputs.items()
                },
                "outputFile": f"/minio/{folder}/output_metadata.json",
            },
        }
        message = json_format.ParseDict(given, pipeline_spec_pb2.ExecutorInput())
        # Go writes whole numbers without a point.
        return json.loads(json_format.MessageToJson(message), parse_float=_number)

    def _value(self, source: Json) -> Any:
        if "runtimeValue" in source:
            return source["runtimeValue"]["constant"]
        name = source["componentInputParameter"]
        definition = self._spec["root"]["inputDefinitions"]["parameters"][name]
        return self.parameters.get(name, definition.get("defaultValue"))

    def _artifact(self, source: Json) -> Json:
        """Returns an artifact as the metadata store hands it out: without its type."""
        stored = self.outputs[source["producerTask"]][source["outputArtifactKey"]]
        return {**stored, "type": {"instanceSchema": ""}}

    def _start(self, task: str, label: str, command: Sequence[str], pod: Path) -> None:
        invocation = json.dumps(self.given[task], separators=(",", ":"))
        mounts = [(pod / folder, f"/{folder}") for folder in WRITABLE]
        for mount in self._pods[label]["pvcMount"]:
            mounts.append((self.volumes[mount["constant"]], mount["mountPath"]))
        result = subprocess.run(
            self.container(
                pod / "root", mounts, [part.replace("{{$}}", invocation) for part in command]
            ),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode:
            raise TaskFailedError(task, result.returncode, result.stdout)

    def container(
        self, root: Path, mounts: Sequence[tuple[Path, str]], command: Sequence[str]
    ) -> list[str]:
        """Returns the command line of a container; `root` is an empty folder for it."""
        image = [
            *((folder, str(folder)) for folder in (Path(sys.prefix), Path(sys.base_prefix))),
            (ROOT, "/opt/twotower/app"),
            (ENCODERS, "/opt/twotower/encoders"),
        ]
        return [
            *("unshare", "--map-root-user", "--mount", str(POD), str(root)),
            *(part for outside, inside in image for part in ("ro", str(outside), inside)),
            *(part for outside, inside in mounts for part in ("rw", str(outside), inside)),
            "--",
            *command,
        ]

    def _recorded(self, artifacts: Mapping[str, Json], file: Path) -> Outputs:
        """Does what the launcher and the metadata store do with what a container reports."""
        output = pipeline_spec_pb2.ExecutorOutput()
        json_format.Parse(file.read_text(), output)
        reported = json_format.MessageToDict(output)["artifacts"]
        recorded = {}
        for name, before in artifacts.items():
            after = _one(reported[name]) if name in reported and name != "executor-logs" else {}
            metadata = {
                "display_name": name,
                "store_session_info": json.dumps(SESSION, separators=(",", ":")),
                **before.get("metadata", {}),
                **{key: _stored(value) for key, value in after.get("metadata", {}).items()},
            }
            uri = after.get("uri", before["uri"])
            assert uri.startswith(STORE), f"{name}: the launcher takes no {uri}"
            recorded[name] = {"name": str(next(self._ids)), "uri": uri, "metadata": metadata}
        return recorded


def _artifacts(part: Json) -> Outputs:
    return {name: _one(listed) for name, listed in part.get("artifacts", {}).items()}


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _one(listed: Json) -> Json:
    (artifact,) = listed["artifacts"]
    return artifact


def _stored(value: Any) -> Any:
    """Returns a value of an artifact's metadata as the metadata store keeps it."""
    match value:
        case bool():
            return int(value)
        case list():
            return {"list": value}
        case dict():
            return {"struct": value}
    assert value is not None, "the launcher stores no null"
    return value


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination)
    elif source.exists():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, destination)
