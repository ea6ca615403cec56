"""Each rule of the gate in whole runs: a model that passes it, and one that does not."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path

import pytest

from components.features import MODELS
from pipeline.run_record import RunRecord
from pipeline.samples.campaign import write_campaign
from tests.e2e.conftest import Campaign

pytestmark = pytest.mark.e2e

# By the start of a rule's line: a setting that the model passes, and one that it does not.
RULES = {
    "Clicks to judge by": ("min_clicks=10", "min_clicks=100000"),
    "AUC of clicks": ("min_auc=0.51", "min_auc=0.99"),
    "AUC of each slice": ("min_slice_auc=0.01", "min_slice_auc=0.99"),
    "Clicks predicted by clicks observed": ("max_calibration=9", "min_calibration=9"),
    "Normalized entropy": ("max_normalized_entropy=2", "max_normalized_entropy=0.1"),
    "Expected calibration error": ("max_ece=0.9", "max_ece=0.00001"),
}
SETTINGS = """\
name: judged
data:
  input: {folder}/true
  schema_file: schema/campaign/schema.pbtxt
runs: {folder}/runs
model:
  normalize: false
trainer:
  epochs: 5
  learning_rate: 0.005
evaluator:
  min_auc: 0.53
  min_slice_clicks: 50
pusher:
  serving_root: {folder}/serving
"""


Row = dict[str, str]
EVAL_ROWS = 3_000  # the last of a campaign


def ask(folder: Path, *overrides: str) -> tuple[RunRecord, str]:
    """Runs in this process; returns the record, and what the terminal says at the end."""
    return Campaign(folder).run_here(*overrides)


def line_of(rule: str, said: str) -> str:
    """Returns the line of a rule, or of the first of several slices."""
    return next(line for line in said.splitlines() if line[6:].startswith(rule))


def versions(folder: Path) -> dict[str, list[str]]:
    return {
        model: sorted(path.name for path in (folder / "serving" / model).glob("*"))
        for model in MODELS
    }


def write(folder: Path, rows: list[Row]) -> None:
    """Writes rows as a train and an eval split."""
    parts = {"train": rows[:-EVAL_ROWS], "eval": rows[-EVAL_ROWS:]}
    for name, part in parts.items():
        (folder / name).mkdir(parents=True)
        with (folder / name / "impressions.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)


def with_shuffled_labels(rows: list[Row]) -> list[Row]:
    """Returns rows whose train split has nothing to learn from."""
    train, evaluation = rows[:-EVAL_ROWS], rows[-EVAL_ROWS:]
    clicks = [row["clicked"] for row in train]
    random.Random(1).shuffle(clicks)
    shuffled = [row | {"clicked": click} for row, click in zip(train, clicks, strict=True)]
    return shuffled + evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a campaign, others made of it, and a model of the first in service."""
    folder = tmp_path_factory.mktemp("a campaign")
    (folder / "config.yaml").write_text(SETTINGS.format(folder=folder))
    with write_campaign(folder / "made", rows=12_000, ads=30, seed=5).impressions.open() as file:
        rows = list(csv.DictReader(file))
    write(folder / "true", rows)
    write(folder / "false", with_shuffled_labels(rows))
    write(folder / "drifted", [row for row in rows if row["att_device"] != "iphone"])
    record, said = ask(folder)
    assert record.status == "pushed", said
    line = line_of("AUC lost to the model in service", said)
    assert line.startswith("NOTE")
    assert "none to compare with" in line
    return folder


def test_a_model_that_passes_every_rule_is_pushed(folder: Path) -> None:
    record, said = ask(folder, *(f"evaluator.{passing}" for passing, _ in RULES.values()))
    assert (record.status, record.exit_code) == ("pushed", 0), said
    for rule in RULES:
        assert line_of(rule, said).startswith("PASS")


def test_every_rule_that_a_model_fails_is_a_line_with_what_it_rests_on(folder: Path) -> None:
    before = versions(folder)
    record, said = ask(folder, *(f"evaluator.{failing}" for _, failing in RULES.values()))
    assert (record.status, record.exit_code) == ("not blessed", 3), said
    for rule in RULES:
        assert line_of(rule, said).startswith("FAIL")
        assert re.search(r"[\d,]+ rows, [\d,]+ clicks", line_of(rule, said))
    assert versions(folder) == before
    assert (record.folder / "report.html").exists()


def test_luck_is_not_enough(folder: Path) -> None:
    record, said = ask(folder, "evaluator.confidence=0.999999999")
    assert (record.status, record.exit_code) == ("not blessed", 3), said
    assert line_of("AUC of clicks", said).startswith("FAIL")
    assert "lower bound" in line_of("AUC of clicks", said)


def test_a_worse_model_does_not_replace_a_better_one(folder: Path) -> None:
    before = versions(folder)
    rule = "AUC lost to the model in service"

    record, said = ask(folder, "evaluator.min_auc=0.3", f"data.input={folder}/false")
    assert (record.status, record.exit_code) == ("not blessed", 3), said
    assert line_of(rule, said).startswith("FAIL")
    assert line_of("AUC of clicks", said).startswith("PASS")
    assert versions(folder) == before

    # A model that is as good comes next. (The same rows, and another start of training.)
    record, said = ask(folder, "trainer.seed=2", "evaluator.max_auc_drop=0.05")
    assert record.status == "pushed", said
    assert line_of(rule, said).startswith("PASS")
    assert versions(folder) == {model: [*before[model], "2"] for model in MODELS}


def test_data_unlike_that_of_the_model_in_service_stops_the_run(folder: Path) -> None:
    before = versions(folder)
    overrides = [f"data.input={folder}/drifted", "data_checks.drift=stop"]
    record, said = ask(folder, *overrides)
    assert (record.status, record.exit_code) == ("stopped by data", 4), said
    drifts = [finding for finding in record.findings if finding.check == "drift"]
    assert [(finding.column, finding.stops) for finding in drifts] == [("att_device", True)]
    assert drifts[0].problem == "distributed otherwise than the data of the model in service"
    assert versions(folder) == before
