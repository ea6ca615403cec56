"""The entry point of the containers: artifacts as files, and errors for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor

from components.errors import AnomalyError
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


def invoke(executor: type, folder: Path, scheme: str) -> int:
    def artifact(key: str) -> dict[str, Any]:
        schema = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
        return {"artifacts": [{"name": key, "uri": f"{scheme}b/{key}", "type": schema}]}

    invocation = {
        "inputs": {
            "artifacts": {"model": artifact("model")},
            "parameterValues": {"input_base": "gs://data/campaign"},
        },
        "outputs": {
            "artifacts": {"copy": artifact("copy")},
            "outputFile": str(folder / "executor_output.json"),
        },
    }
    inputs = {"parameters": {"input_base": {"parameterType": "STRING"}}}
    return container.main(
        [
            "container",
            "--executor_class_path",
            f"{executor.__module__}.{executor.__qualname__}",
            "--json_serialized_invocation_args",
            json.dumps(invocation),
            "--json_serialized_inputs_spec_args",
            json.dumps(inputs),
        ]
    )


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
