"""The compiled specification, run as written, does what the local run does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.features import ITEM_TOWER, MODELS, USER_TOWER
from tests.e2e.kubeflow_harness import ROOT, Harness, TaskFailedError
from tests.e2e.weights import tower_weights

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow")


@pytest.fixture(scope="module")
def specification(pushed: Campaign, folder: Path) -> Path:
    """The campaign's pipeline, compiled for containers that see this machine's folders."""
    settings = {
        "data.schema_file": ROOT / "schema/campaign/schema.pbtxt",
        "deploy.image": "registry.example/twotower:1",
        "deploy.pipeline_root": "gs://bucket/twotower",
        "deploy.input": pushed.folder / "data",
        "deploy.serving_root": folder / "serving",
        "deploy.encoders": Path("~/.cache/twotower/encoders").expanduser(),
    }
    out = folder / "pipeline.yaml"
    result = pushed.twotower(
        *("compile", "--target", "kubeflow", "--out", str(out)),
        *("--config", str(pushed.folder / "config.yaml")),
        *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
    )
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def finished(specification: Path, folder: Path) -> Harness:
    harness = Harness(specification, folder / "run")
    harness.run()
    return harness


def test_it_ends_in_pushed_towers_with_the_weights_of_the_local_run(
    finished: Harness, pushed: Campaign, folder: Path
) -> None:
    assert set(finished.outputs) == set(finished.tasks)
    for model in MODELS:
        assert [version.name for version in (folder / "serving" / model).glob("*")] == ["1"]
    for tower in (USER_TOWER, ITEM_TOWER):
        local, ours = (tower_weights(root, tower) for root in (pushed.serving, folder / "serving"))
        for name, weight in local.items():
            np.testing.assert_array_equal(weight, ours[name], name)


def test_a_container_leaves_nothing_in_its_working_directory(finished: Harness) -> None:
    for task in finished.tasks:
        assert list((finished.root / task / "work").iterdir()) == [], task


def test_without_the_driver_hook_the_examples_are_the_same(
    finished: Harness, specification: Path, folder: Path
) -> None:
    harness = Harness(specification, folder / "without hook", hooks=False)
    harness.run(until="example-gen")
    files = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.gz")}
        for root in (finished.root / "example-gen", harness.root / "example-gen")
    ]
    assert files[0]
    assert files[0] == files[1]


def test_a_blocked_gate_is_a_failed_task_whose_message_is_the_verdict(
    finished: Harness, specification: Path, folder: Path
) -> None:
    done = {t: o for t, o in finished.outputs.items() if t not in ("evaluator", "pusher")}
    harness = Harness(specification, folder / "blocked", {"min_auc": 0.99}, outputs=done)
    with pytest.raises(TaskFailedError) as failure:
        harness.run()
    error = failure.value
    assert (error.task, error.exit_code) == ("pusher", 3)
    assert "Traceback" not in error.log
    message = error.log[error.log.index("not pushed, the model did not pass the gate:") :]
    (line,) = [line for line in message.splitlines() if line.startswith("FAIL")]
    assert "at least 0.99" in line
    assert [path.name for path in (folder / "serving" / USER_TOWER).glob("*")] == ["1"]


def test_anomalies_are_a_failed_task_whose_message_names_the_values(
    pushed: Campaign, finished: Harness, specification: Path, folder: Path
) -> None:
    text = (pushed.folder / "data/impressions.csv").read_text()
    (folder / "changed").mkdir()
    (folder / "changed/impressions.csv").write_text(text.replace('"25-34"', '"twenty-five"'))
    done = {"schema": finished.outputs["schema"]}
    data = str(folder / "changed")
    harness = Harness(specification, folder / "stopped", {"data": data}, outputs=done)
    with pytest.raises(TaskFailedError) as failure:
        harness.run()
    error = failure.value
    assert (error.task, error.exit_code) == ("schema-gate", 4)
    assert "Traceback" not in error.log
    assert "twenty-five" in error.log
    assert "trainer" not in harness.outputs
