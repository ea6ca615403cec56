"""Each rule of the gate in whole runs: a model that passes it, and one that does not."""

from __future__ import annotations

import csv
import io
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from components.features import MODELS
from pipeline.config import load_config
from pipeline.display import Display
from pipeline.local import run
from pipeline.run_record import RunRecord
from pipeline.samples.campaign import write_campaign
from pipeline.summary import show

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = pytest.mark.e2e

# By rule: how its line begins, a setting that the model passes, and one that it does not.
RULES = {
    "clicks": ("Clicks to judge by", "min_clicks=10", "min_clicks=100000"),
    "auc": ("AUC of clicks", "min_auc=0.51", "min_auc=0.99"),
    "bound": ("AUC of clicks", "confidence=0.5", "confidence=0.999999999"),
    "slices": ("AUC of each slice", "min_slice_auc=0.01", "min_slice_auc=0.99"),
    "calibration": (
        "Clicks predicted by clicks observed",
        "max_calibration=9",
        "min_calibration=9",
    ),
    "ece": ("Expected calibration error", "max_ece=0.9", "max_ece=0.00001"),
}
# So that the slices of a small campaign have enough clicks, and its AUC is not far above the least.
ALWAYS = ("evaluator.min_slice_clicks=20", "evaluator.min_auc=0.53")


def ask(campaign: Campaign, *overrides: str) -> tuple[RunRecord, str]:
    """Runs in this process; returns the record, and what the terminal says at the end."""
    record = run(load_config(campaign.folder / "config.yaml", list(overrides)), Display())
    out = io.StringIO()
    show(record, Console(file=out, width=200))
    return record, out.getvalue()


def line_of(rule: str, said: str) -> str:
    (line,) = [line for line in said.splitlines() if line[6:].startswith(rule)]
    return line


def versions(campaign: Campaign) -> dict[str, list[str]]:
    return {
        model: sorted(path.name for path in (campaign.serving / model).glob("*"))
        for model in MODELS
    }


@pytest.mark.parametrize(("rule", "passing", "failing"), RULES.values(), ids=RULES)
def test_a_rule_passes_a_model_and_stops_a_model(
    pushed: Campaign, rule: str, passing: str, failing: str
) -> None:
    before = versions(pushed)

    record, said = ask(pushed, *ALWAYS, f"evaluator.{passing}")
    assert (record.status, record.exit_code) == ("pushed", 0), said
    assert line_of(rule, said).startswith("PASS")

    record, said = ask(pushed, *ALWAYS, f"evaluator.{failing}")
    assert (record.status, record.exit_code) == ("not blessed", 3), said
    assert line_of(rule, said).startswith("FAIL")
    assert re.search(r"[\d,]+ rows, [\d,]+ clicks", line_of(rule, said))
    assert versions(pushed) == before
    assert (record.folder / "report.html").exists()


def split(folder: Path, *, shuffled: bool) -> None:
    """Writes a campaign that is split; shuffled labels say nothing to learn from."""
    made = folder.with_name(f"{folder.name} whole")
    file = write_campaign(made, rows=12_000, ads=30, seed=5).impressions
    with file.open() as source:
        rows = list(csv.DictReader(source))
    parts = {"train": rows[:9_000], "eval": rows[9_000:]}
    if shuffled:
        labels = [row["clicked"] for row in parts["train"]]
        random.Random(1).shuffle(labels)
        for row, label in zip(parts["train"], labels, strict=True):
            row["clicked"] = label
    for name, part in parts.items():
        (folder / name).mkdir(parents=True)
        with (folder / name / "impressions.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)


def test_a_worse_model_does_not_replace_a_better_one(pushed: Campaign, tmp_path: Path) -> None:
    campaign = type(pushed)(tmp_path)
    settings = (pushed.folder / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(settings.replace(str(pushed.folder), str(tmp_path)))
    rule = "AUC lost to the model in service"
    always = ("evaluator.min_auc=0.3",)

    split(tmp_path / "true", shuffled=False)
    record, said = ask(campaign, *always, f"data.input={tmp_path}/true")
    assert record.status == "pushed", said
    assert line_of(rule, said).startswith("NOTE")
    assert "none to compare with" in line_of(rule, said)

    split(tmp_path / "false", shuffled=True)
    record, said = ask(campaign, *always, f"data.input={tmp_path}/false")
    assert (record.status, record.exit_code) == ("not blessed", 3), said
    assert line_of(rule, said).startswith("FAIL")
    assert versions(campaign) == {model: ["1"] for model in MODELS}

    # The better one again, after another start: no worse, so it comes next.
    record, said = ask(campaign, *always, f"data.input={tmp_path}/true", "trainer.seed=2")
    assert record.status == "pushed", said
    assert line_of(rule, said).startswith("PASS")
    assert versions(campaign) == {model: ["1", "2"] for model in MODELS}
