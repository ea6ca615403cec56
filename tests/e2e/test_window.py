"""A window of days: the next day's run does the work of one day, and trains the same towers."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.features import ITEM_TOWER, USER_TOWER
from pipeline.local import LOG_FILE
from tests.e2e.kubeflow_harness import Harness, missing
from tests.e2e.weights import tower_weights

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

LACKING = missing()
ROWS = 1000  # a day


@pytest.fixture(scope="module")
def campaign(new_campaign: Callable[[], Campaign]) -> Campaign:
    """The campaign's rows as three days, each with texts that the days before have not."""
    campaign = new_campaign()
    file = campaign.folder / "data" / "impressions.csv"
    with file.open(newline="") as rows:
        names, *records = csv.reader(rows)
    text = names.index("text")
    for day in range(1, 5):
        folder = campaign.folder / "days" / f"day=2026-11-{day:02d}"
        folder.mkdir(parents=True)
        with (folder / "part.csv").open("w", newline="") as out:
            writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
            writer.writerow(names)
            for number, record in enumerate(records[(day - 1) * ROWS : day * ROWS]):
                if number % 50 == 0:  # an ad of which the days before know nothing
                    record[text] = f"New on day {day}: number {number // 50 % 3}"
                writer.writerow(record)
    config = campaign.folder / "config.yaml"
    pattern = f"{campaign.folder}/days/day={{YYYY}}-{{MM}}-{{DD}}/*.csv"
    settings = config.read_text().replace(f"{campaign.folder}/data", pattern)
    settings = settings.replace("min_auc: 0.5", "min_auc: 0")  # of so few rows
    config.write_text(settings.replace("data:\n", "data:\n  window: 3\n"))
    return campaign


class Runs:
    """The runs of the module, and what each embedded."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.examples: dict[str, Path] = {}
        self.embedded: dict[str, int] = {}
        self.read: dict[str, list[str]] = {}

    def run(self, name: str, *overrides: str) -> str:
        """Runs the pipeline into a serving root of its own; returns what it printed."""
        root = f"pusher.serving_root={self.serving(name)}"
        result = self.campaign.run(root, *overrides)
        assert result.returncode == 0, result.stdout + result.stderr
        record = self.campaign.record()
        log = (record.folder / LOG_FILE).read_text()
        examples = record.output("example_gen", "examples")
        assert examples is not None
        self.examples[name] = examples
        self.embedded[name] = sum(map(int, re.findall(r"BERT embedded (\d+) texts", log)))
        self.read[name] = re.findall(r"read [\d,]+ rows of (\S+):", log)
        return " ".join(result.stdout.split())

    def serving(self, name: str) -> Path:
        return self.campaign.folder / f"serving-{name}"


@pytest.fixture(scope="module")
def runs(campaign: Campaign) -> Runs:
    runs = Runs(campaign)
    runs.run("before", "data.until=2026-11-03")
    runs.run("next")
    (campaign.folder / "runs" / "small").rename(campaign.folder / "kept")
    runs.run("scratch")
    return runs


def texts_of(campaign: Campaign, day: int) -> set[str]:
    file = campaign.folder / "days" / f"day=2026-11-{day:02d}" / "part.csv"
    with file.open(newline="") as rows:
        return {row["text"] for row in csv.DictReader(rows)}


def test_the_next_day_costs_a_day(runs: Runs) -> None:
    assert runs.read["before"] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert runs.read["next"] == ["2026-11-04"]
    assert runs.read["scratch"] == ["2026-11-02", "2026-11-03", "2026-11-04"]
    first, second, third = (texts_of(runs.campaign, day) for day in (1, 2, 3))
    assert runs.embedded["before"] == len(first | second)
    assert runs.embedded["next"] == len(third - first - second) >= 3
    assert runs.embedded["scratch"] == len(second | third)


def test_the_towers_are_those_of_a_run_from_scratch(runs: Runs) -> None:
    for tower in (USER_TOWER, ITEM_TOWER):
        kept, scratch = (tower_weights(runs.serving(n), tower) for n in ("next", "scratch"))
        before = tower_weights(runs.serving("before"), tower)
        assert kept.keys() == scratch.keys()
        for name, weight in scratch.items():
            np.testing.assert_array_equal(weight, kept[name], name)
        assert any(
            before[name].shape != weight.shape or (before[name] != weight).any()
            for name, weight in scratch.items()
        )


def test_what_has_passed_is_trained_once_more_on_the_whole_window(runs: Runs) -> None:
    said = runs.run("refit", "trainer.refit=true")
    assert "What is pushed is the refit" in said
    record = runs.campaign.record()
    nodes = [node.id for node in record.nodes]
    assert nodes[-6:] == ["evaluator", "passed", "refit_transform", "refit", "validator", "pusher"]
    rows = [
        json.loads((folder / "training.json").read_text())["rows"]
        for node in ("trainer", "refit")
        if (folder := record.output(node, "model_run"))
    ]
    assert rows == [2 * ROWS, 3 * ROWS]
    scratch, refit = (tower_weights(runs.serving(n), ITEM_TOWER) for n in ("scratch", "refit"))
    assert any(
        scratch[name].shape != weight.shape or (scratch[name] != weight).any()
        for name, weight in refit.items()
    )
    assert "What is pushed is the refit" in (record.folder / "report.html").read_text()


def test_what_has_not_passed_is_not_trained_again(runs: Runs) -> None:
    root = f"pusher.serving_root={runs.serving('none')}"
    result = runs.campaign.run(root, "trainer.refit=true", "evaluator.min_auc=0.99")
    assert result.returncode == 3, result.stdout + result.stderr
    assert "Not blessed" in result.stdout
    assert [node.id for node in runs.campaign.record().nodes][-2:] == ["evaluator", "passed"]


@pytest.mark.skipif(LACKING is not None, reason=f"pods are made of namespaces: {LACKING}")
def test_on_kubeflow_a_run_is_told_the_day_and_finds_the_window(runs: Runs, tmp_path: Path) -> None:
    settings = {
        "deploy.image": "registry.example/twotower:1",
        "deploy.pipeline_root": "minio://mlpipeline/runs",
        "deploy.input": "/data/day={YYYY}-{MM}-{DD}/*.csv",
        "deploy.span_store": "/serving/spans",
        "deploy.serving_root": "/serving/models",
        "deploy.kubeflow.volumes": "{campaign: /data, serving: /serving}",
    }
    specification = tmp_path / "pipeline.yaml"
    compiled = runs.campaign.twotower(
        *("compile", "--target", "kubeflow", "--out", str(specification)),
        *("--config", str(runs.campaign.folder / "config.yaml")),
        *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
    )
    assert compiled.returncode == 0, compiled.stderr
    (tmp_path / "serving").mkdir()
    volumes = {"campaign": runs.campaign.folder / "days", "serving": tmp_path / "serving"}
    harness = Harness(specification, tmp_path, volumes, {"until": "2026-11-04"})
    harness.run(until="statistics")
    examples = harness.file(harness.outputs["example-gen"]["examples"])
    assert contents(examples) == contents(runs.examples["scratch"])
    assert len(list((tmp_path / "serving/spans/examples").iterdir())) == 3


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
