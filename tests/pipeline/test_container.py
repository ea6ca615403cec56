"""The entry point of the containers: artifacts as files, and errors for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor

from components.errors import AnomalyError, InputError
from pipeline import container

SEEN: list[str] = []


class Copier(BaseExecutor):
    """Notes where its artifacts are."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        SEEN.append(input_dict["model"][0].uri)
        SEEN.append(output_dict["copy"][0].uri)
        SEEN.append(exec_properties["input_base"])


class BeamCopier(BaseBeamExecutor, Copier):
    """The same on Beam."""


class Stopper(BaseExecutor):
    """Stops with a message."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        raise AnomalyError("the data does not fit:\n  column att_age")


class Wrapper(BaseExecutor):
    """Stops as Beam has it: what a worker raised, with another error around it."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        try:
            raise AnomalyError("the data does not fit:\n  column att_age")
        except AnomalyError as error:
            raise RuntimeError("bundle 3 failed") from error


class Broken(BaseExecutor):
    """Stops with an error that is nobody's to act on."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        raise RuntimeError("bundle 3 failed")


MODEL = {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
INPUTS = {
    "artifacts": {"model": MODEL},
    "parameters": {
        "input_base": {"parameterType": "STRING"},
        "epochs": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
    },
}


def artifact(key: str, scheme: str, **others: Any) -> dict[str, Any]:
    uri = f"{scheme}b/{key}"
    return {"artifacts": [{"name": key, "uri": uri, "type": MODEL["artifactType"], **others}]}


def executor_input(folder: Path, scheme: str = "gs://") -> dict[str, Any]:
    return {
        "inputs": {
            "artifacts": {"model": artifact("model", scheme)},
            "parameterValues": {"input_base": "gs://data/campaign"},
        },
        "outputs": {
            "artifacts": {"copy": artifact("copy", scheme)},
            "outputFile": str(folder / "executor_output.json"),
        },
    }


def run(executor: type, given: dict[str, Any] | str) -> int:
    return container.main(
        [
            "container",
            "--executor_class_path",
            f"{executor.__module__}.{executor.__qualname__}",
            "--json_serialized_invocation_args",
            given if isinstance(given, str) else json.dumps(given),
            "--json_serialized_inputs_spec_args",
            json.dumps(INPUTS),
            "--json_serialized_outputs_spec_args",
            json.dumps({"artifacts": {"copy": MODEL}}),
        ]
    )


def invoke(executor: type, folder: Path, scheme: str) -> int:
    return run(executor, executor_input(folder, scheme))


@pytest.fixture(autouse=True)
def clean() -> None:
    SEEN.clear()


@pytest.mark.parametrize(
    ("scheme", "folder"),
    [("gs://", "/gcs/"), ("minio://", "/minio/"), ("s3://", "/s3/"), ("/", "/")],
)
def test_a_node_sees_folders_and_reports_the_object_store(
    tmp_path: Path, scheme: str, folder: str
) -> None:
    assert invoke(Copier, tmp_path, scheme) == 0
    # What the data is, a node is told as the run was.
    assert [f"{folder}b/model", f"{folder}b/copy", "gs://data/campaign"] == SEEN
    written = json.loads((tmp_path / "executor_output.json").read_text())
    assert written["artifacts"]["copy"]["artifacts"][0]["uri"] == f"{scheme}b/copy"


@pytest.mark.parametrize(("scheme", "folder"), [("gs://", "gs://"), ("minio://", "/minio/")])
def test_beam_reaches_cloud_storage_by_itself(tmp_path: Path, scheme: str, folder: str) -> None:
    assert invoke(BeamCopier, tmp_path, scheme) == 0
    assert SEEN[:2] == [f"{folder}b/model", f"{folder}b/copy"]
    written = json.loads((tmp_path / "executor_output.json").read_text())
    assert written["artifacts"]["copy"]["artifacts"][0]["uri"] == f"{scheme}b/copy"


@pytest.mark.parametrize("executor", [Stopper, Wrapper])
def test_what_a_person_can_act_on_ends_the_log_without_a_trace(
    executor: type, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(executor, tmp_path, "gs://") == AnomalyError.exit_code
    log = capfd.readouterr().err
    assert log.endswith("the data does not fit:\n  column att_age\n")
    assert "Traceback" not in log
    assert not (tmp_path / "executor_output.json").exists()


def test_any_other_error_keeps_its_trace(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bundle 3 failed"):
        invoke(Broken, tmp_path, "gs://")


def test_what_kubeflow_adds_is_left_out_and_what_it_leaves_out_is_added(tmp_path: Path) -> None:
    given = executor_input(tmp_path, "minio://")
    logs = {
        "name": "executor-logs",
        "uri": "minio://b/l",
        "type": {"schemaTitle": "system.Artifact"},
    }
    given["outputs"]["artifacts"]["executor-logs"] = {"artifacts": [logs]}
    metadata = {"display_name": "model", "store_session_info": "{}", "odd": {"a": [1, None]}}
    given["inputs"]["artifacts"]["model"] = artifact(
        "model", "minio://", name="15", type={"instanceSchema": ""}, metadata=metadata
    )
    given["some day"] = 1
    assert run(Copier, given) == 0
    assert SEEN[:2] == ["/minio/b/model", "/minio/b/copy"]
    written = json.loads((tmp_path / "executor_output.json").read_text())
    assert written["artifacts"].keys() == {"copy"}


@pytest.mark.parametrize("kind", [{"schemaTitle": "tfx.Model"}, {"schemaTitle": "system.Model"}])
def test_however_a_type_is_spelled_it_is_the_components(kind: Any, tmp_path: Path) -> None:
    given = executor_input(tmp_path)
    given["inputs"]["artifacts"]["model"] = artifact("model", "gs://", type=kind)
    assert run(Copier, given) == 0


def test_where_a_launcher_was_told_to_put_an_artifact_it_is_found(tmp_path: Path) -> None:
    given = executor_input(tmp_path)
    given["inputs"]["artifacts"]["model"] = artifact("model", "gs://", customPath="/here")
    assert run(Copier, given) == 0
    assert SEEN[0] == "/here"


def changed(folder: Path, *path: Any, to: Any) -> dict[str, Any]:
    """An ExecutorInput in which something is another, or is missing if None."""
    given = executor_input(folder)
    place: Any = given
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return given


UNEXPECTED = {
    "no model": (("inputs", "artifacts", "model"), None, "inputs.artifacts.model: missing"),
    "no copy": (("outputs", "artifacts", "copy"), None, "outputs.artifacts.copy: missing"),
    "none of it": (
        ("inputs", "artifacts", "model"),
        {"artifacts": []},
        "inputs.artifacts.model: no artifact",
    ),
    "another": (
        ("inputs", "artifacts", "statistics"),
        artifact("statistics", "gs://"),
        "inputs.artifacts.statistics: the component has none; it has model",
    ),
    "no parameter": (
        ("inputs", "parameterValues", "input_base"),
        None,
        "inputs.parameterValues.input_base: missing",
    ),
    "another parameter": (
        ("inputs", "parameterValues", "rows"),
        3,
        "inputs.parameterValues.rows: the component has none; it has epochs, input_base",
    ),
    "another value": (
        ("inputs", "parameterValues", "epochs"),
        "many",
        'inputs.parameterValues.epochs: "many"; expected a number',
    ),
    "no place": (
        ("inputs", "artifacts", "model", "artifacts", 0, "uri"),
        None,
        "inputs.artifacts.model: uri missing; expected a path or",
    ),
    "another store": (
        ("outputs", "artifacts", "copy", "artifacts", 0, "uri"),
        "oci://b/copy",
        "outputs.artifacts.copy: uri oci://b/copy; expected a path or one that begins with gs://",
    ),
    "no output file": (("outputs", "outputFile"), None, "outputs.outputFile: missing"),
    "no object": (("inputs", "artifacts"), [], "Failed to parse inputs field"),
}


@pytest.mark.parametrize(("path", "to", "message"), UNEXPECTED.values(), ids=UNEXPECTED)
def test_anything_else_is_a_line_that_names_it(
    path: tuple[Any, ...], to: Any, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(Copier, changed(tmp_path, *path, to=to)) == InputError.exit_code
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Exec")]
    assert f"ExecutorInput: {message}" in line
    assert SEEN == []


def test_an_executor_input_that_is_no_json_is_a_line_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(Copier, "{{$}}") == InputError.exit_code
    assert "got {{$}}" in capfd.readouterr().err.splitlines()[-1]
