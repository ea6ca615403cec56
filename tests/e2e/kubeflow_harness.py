"""Runs a compiled Kubeflow specification as it is written, task by task, with no cluster.

What Kubeflow or Vertex would do is done here on local folders: parameters are filled in, the driver
hook of ExampleGen runs first, each container's own command line runs in a process and a working
directory of its own, and what it reports about its artifacts is handed on to the tasks behind it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
Outputs = dict[str, Json]  # RuntimeArtifacts by the name of the output


class TaskFailedError(Exception):
    """A container ended with an exit code other than 0.

    Attributes:
        task: whose container.
        exit_code: of it.
        log: what it wrote to standard error.
    """

    def __init__(self, task: str, exit_code: int, log: str) -> None:
        super().__init__(f"{task}: exit code {exit_code}\n{log[-5000:]}")
        self.task, self.exit_code, self.log = task, exit_code, log


@dataclass
class Harness:
    """Runs the tasks of one specification.

    Args:
        specification: the file that `twotower compile --target kubeflow` wrote.
        root: where artifacts and working directories go.
        parameters: of the run; those not given have their defaults.
        hooks: whether driver hooks run, as on Vertex; open-source Kubeflow ignores them.

    Attributes:
        outputs: artifacts of the tasks that are done, by task.
    """

    specification: Path
    root: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    hooks: bool = True
    outputs: dict[str, Outputs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._spec: Json = next(yaml.safe_load_all(self.specification.read_text()))
        self.tasks: Json = self._spec["root"]["dag"]["tasks"]

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
        executor = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]
        container = executor["container"]
        folder = self.root / task
        (folder / "work").mkdir(parents=True)
        given = self._executor_input(task, component, folder)
        hook = container.get("lifecycle", {}).get("preCacheCheck")
        if hook and self.hooks:
            self._start(task, [*hook["command"], *hook["args"]], given, folder)
        self._start(task, [*container["command"], *container["args"]], given, folder)
        return self._reported(folder, given)

    def _executor_input(self, task: str, component: Json, folder: Path) -> Json:
        inputs = self.tasks[task].get("inputs", {})
        sources = inputs.get("artifacts", {}).items()
        return {
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
                                "name": f"{task}/{name}",
                                "uri": str(folder / name),
                                "type": definition["artifactType"],
                                "metadata": definition.get("metadata", {}),
                            }
                        ]
                    }
                    for name, definition in component["outputDefinitions"]["artifacts"].items()
                },
                "outputFile": str(folder / "executor_output.json"),
            },
        }

    def _value(self, source: Json) -> Any:
        if "runtimeValue" in source:
            return source["runtimeValue"]["constant"]
        name = source["componentInputParameter"]
        definition = self._spec["root"]["inputDefinitions"]["parameters"][name]
        return self.parameters.get(name, definition.get("defaultValue"))

    def _artifact(self, source: Json) -> Json:
        return self.outputs[source["producerTask"]][source["outputArtifactKey"]]

    def _start(self, task: str, command: Sequence[str], given: Json, folder: Path) -> None:
        message = json_format.ParseDict(given, pipeline_spec_pb2.ExecutorInput())
        invocation = json_format.MessageToJson(message)
        result = subprocess.run(
            [part.replace("{{$}}", invocation) for part in command],
            cwd=folder / "work",
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise TaskFailedError(task, result.returncode, result.stderr)

    def _reported(self, folder: Path, given: Json) -> Outputs:
        output = pipeline_spec_pb2.ExecutorOutput()
        json_format.Parse((folder / "executor_output.json").read_text(), output)
        reported = json_format.MessageToDict(output)["artifacts"]
        artifacts = {}
        for name, listed in given["outputs"]["artifacts"].items():
            (before,), (after,) = listed["artifacts"], reported[name]["artifacts"]
            metadata = before["metadata"] | after.get("metadata", {})
            artifacts[name] = {**before, **after, "type": before["type"], "metadata": metadata}
        return artifacts


def _environment() -> dict[str, str]:
    """The image's: its `python` and the project on the path, and nothing of the test's."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
