"""The compiled specification, run as Kubeflow runs it, does what the local run does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.features import ITEM_TOWER, MODELS, USER_TOWER
from tests.e2e.kubeflow_harness import Harness, TaskFailedError, missing
from tests.e2e.weights import tower_weights

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

LACKING = missing()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(LACKING is not None, reason=f"pods are made of namespaces: {LACKING}"),
]

RECORDED = Path(__file__).with_name("kfp_executor_inputs.json")
SETTINGS = {
    "deploy.image": "registry.example/twotower:1",
    "deploy.pipeline_root": "minio://mlpipeline/runs",
    "deploy.input": "/data",
    "deploy.serving_root": "/serving/models",
    "deploy.kubeflow.volumes": "{campaign: /data, serving: /serving}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def specification(pushed: Campaign, folder: Path) -> Path:
    """The campaign's pipeline, compiled for the image and for volumes."""
    out = folder / "pipeline.yaml"
    result = pushed.twotower(
        *("compile", "--target", "kubeflow", "--out", str(out)),
        *("--config", str(pushed.folder / "config.yaml")),
        *(part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")),
    )
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def volumes(pushed: Campaign, folder: Path) -> dict[str, Path]:
    (folder / "serving").mkdir()
    return {"campaign": pushed.folder / "data", "serving": folder / "serving"}


@pytest.fixture(scope="module")
def finished(specification: Path, folder: Path, volumes: dict[str, Path]) -> Harness:
    harness = Harness(specification, folder, volumes)
    harness.run()
    return harness


def test_each_task_is_handed_what_kubeflows_driver_hands_it(finished: Harness) -> None:
    recorded = json.loads(RECORDED.read_text())
    assert finished.given.keys() == recorded.keys()
    for task, given in finished.given.items():
        assert form(given, recorded[task]) == form(recorded[task], given), task


def form(given: Any, other: Any, key: str = "") -> Any:
    """Returns what is alike in every run: keys and types, names and places without their numbers.

    Of artifacts and parameters only those that `other` has too: the recording is of one graph, and
    these are the graph's.
    """
    if isinstance(given, dict):
        if key in ("artifacts", "parameterValues"):
            given = {name: given[name] for name in given.keys() & other.keys()}
        return {name: form(value, other.get(name), name) for name, value in given.items()}
    if isinstance(given, list):
        return [form(*pair) for pair in zip(given, other, strict=True)]
    if key in ("name", "uri", "outputFile", "schemaTitle", "instanceSchema", "store_session_info"):
        return re.sub(r"^\d+$|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<number>", given)
    return "number" if isinstance(given, int | float) else type(given)


def test_it_ends_in_pushed_towers_with_the_weights_of_the_local_run(
    finished: Harness, pushed: Campaign, folder: Path
) -> None:
    assert set(finished.outputs) == set(finished.tasks)
    models = folder / "serving/models"
    for model in MODELS:
        assert [version.name for version in (models / model).glob("*")] == ["1"]
    for tower in (USER_TOWER, ITEM_TOWER):
        local, ours = (tower_weights(root, tower) for root in (pushed.serving, models))
        for name, weight in local.items():
            np.testing.assert_array_equal(weight, ours[name], name)


def test_with_vertexs_driver_hook_the_examples_are_the_same(
    finished: Harness, specification: Path, folder: Path, volumes: dict[str, Path]
) -> None:
    harness = Harness(specification, folder, volumes, vertex=True)
    harness.run(until="example-gen")
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.gz")}
        for run in (finished, harness)
        for root in [run.file(run.outputs["example-gen"]["examples"])]
    ]
    assert files[0]
    assert files[0] == files[1]


def test_a_blocked_gate_is_a_failed_task_whose_message_is_the_verdict(
    finished: Harness, specification: Path, folder: Path, volumes: dict[str, Path]
) -> None:
    done = {t: o for t, o in finished.outputs.items() if t not in ("evaluator", "pusher")}
    harness = Harness(specification, folder, volumes, {"min_auc": 0.99}, outputs=done)
    with pytest.raises(TaskFailedError) as failure:
        harness.run()
    error = failure.value
    assert (error.task, error.exit_code) == ("pusher", 3)
    assert "Traceback" not in error.log
    message = error.log[error.log.index("not pushed, the model did not pass the gate:") :]
    (line,) = [line for line in message.splitlines() if line.startswith("FAIL")]
    assert "at least 0.99" in line
    assert [path.name for path in (folder / "serving/models" / USER_TOWER).glob("*")] == ["1"]


def test_anomalies_are_a_failed_task_whose_message_names_the_values(
    finished: Harness, specification: Path, folder: Path, volumes: dict[str, Path]
) -> None:
    made = ("example-gen", "statistics")
    done = {task: finished.outputs[task] for task in made}
    done["schema"] = {"schema": with_schema_of_fewer_values(finished, "25-34")}
    harness = Harness(specification, folder, volumes, outputs=done)
    with pytest.raises(TaskFailedError) as failure:
        harness.run()
    error = failure.value
    assert (error.task, error.exit_code) == ("schema-gate", 4)
    assert "Traceback" not in error.log
    assert "25-34" in error.log
    assert "trainer" not in harness.outputs


def with_schema_of_fewer_values(finished: Harness, value: str) -> dict[str, Any]:
    """Returns a schema in the object store that does not know a value which the data has."""
    artifact = finished.outputs["schema"]["schema"]
    changed = artifact | {"uri": f"{artifact['uri']}-changed"}
    shutil.copytree(finished.file(artifact), finished.file(changed))
    file = finished.file(changed) / "schema.pbtxt"
    text = file.read_text()
    assert f'value: "{value}"' in text
    file.write_text(text.replace(f'value: "{value}"', ""))
    return changed
