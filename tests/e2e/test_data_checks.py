"""Data that must not be trained on: each kind stops a run with its table, and nothing is lost."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from components.errors import InputError
from components.findings import Finding, to_json
from components.schema_gate.infer import parse
from pipeline.cli import app
from pipeline.config import load_config
from pipeline.display import Display
from pipeline.local import run
from pipeline.local_nodes import LocalNodes
from pipeline.prepare import prepare
from pipeline.run_record import NodeRecord, RunRecord, read_record
from pipeline.samples.campaign import write_campaign
from pipeline.schema_review import propose
from pipeline.summary import show

pytestmark = pytest.mark.e2e

SCHEMA = Path(__file__).parents[2] / "schema" / "campaign" / "schema.pbtxt"
SETTINGS = """\
name: checked
runs: {folder}/runs
data:
  input: {folder}/data
  schema_file: {folder}/schema.pbtxt
data_checks:
  leaks: stop
  drift: off
pusher:
  serving_root: {folder}/serving
"""

Row = dict[str, str]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("campaign")
    with write_campaign(folder, rows=600, ads=20, seed=3).impressions.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings, a schema of its own and a model in service."""
    (tmp_path / "config.yaml").write_text(SETTINGS.format(folder=tmp_path))
    (tmp_path / "schema.pbtxt").write_text(SCHEMA.read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "serving/click_model/1").mkdir(parents=True)
    (tmp_path / "serving/click_model/1/saved_model.pb").write_bytes(b"in service")
    return tmp_path


def write(file: Path, rows: list[Row]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(rows: list[Row], column: str, value: str) -> list[Row]:
    """Gives three in ten rows another value."""
    draw = random.Random(1)
    return [row | {column: value} if draw.random() < 0.3 else row for row in rows]


def broken(rows: list[Row]) -> list[Row]:
    """Breaks a column in each way in which it can be unlike the schema."""
    rows = changed(rows, "att_region", "Berlin")
    rows = changed(rows, "att_age", "")
    rows = changed(rows, "att_tenure_days", "long")
    return [
        {name: row[name] for name in row if name != "att_gender"} | {"att_town": "here"}
        for row in rows
    ]


def leaking(rows: list[Row]) -> list[Row]:
    return [row | {"att_device": ["tablet", "iphone"][int(row["clicked"])]} for row in rows]


# What is done to the campaign, and how the table's lines for each split begin.
CASES = {
    "schema": (
        broken,
        [
            "att_gender no such column all rows",
            "att_region values that are not listed Berlin (~",
            "att_tenure_days values of another type text; the schema says whole numbers",
            'att_tenure_days values of another type such as "long"',
            "att_town not in the schema all rows",
            "att_age missing in too many rows",
        ],
    ),
    "range": (
        lambda rows: changed(rows, "att_tenure_days", "-1"),
        ["att_tenure_days out-of-range values Unexpectedly small value: -1."],
    ),
    "leak": (leaking, ["att_device predicts the click almost alone AUC 1.000"]),
}


@pytest.mark.parametrize(("spoil", "expected"), CASES.values(), ids=CASES)
def test_each_kind_stops_the_run(
    folder: Path,
    campaign: list[Row],
    spoil: Callable[[list[Row]], list[Row]],
    expected: list[str],
) -> None:
    write(folder / "data/ads.csv", spoil(campaign))
    before = contents(folder)
    record = run(load_config(folder / "config.yaml"), Display())
    assert (record.status, record.exit_code) == ("stopped by data", 4)
    assert record.nodes[-1].id == "schema_gate"
    lines = [" ".join(line.split()) for line in record.message.splitlines()]
    found = [line for line in lines if line.startswith("eval ")]
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(f"eval {beginning}")
    stopping = [finding for finding in record.findings if finding.stops and finding.split == "eval"]
    assert [finding.column for finding in stopping] == [line.split()[0] for line in expected]
    assert before.items() <= contents(folder).items()
    assert record.output("example_gen", "examples")
    assert record.output("statistics", "statistics")
    assert read_record(record.folder) == record


def test_what_is_right_is_taken_into_the_schema_after_review(
    folder: Path, campaign: list[Row]
) -> None:
    write(folder / "data/ads.csv", changed(campaign, "att_region", "Berlin"))
    config = load_config(folder / "config.yaml")
    record = run(config, Display())
    accept = ["schema", "accept", "--config", str(folder / "config.yaml")]
    schema = config.data.schema_file

    declined = CliRunner().invoke(app, accept, input="n\n")
    assert '+  value: "Berlin"' in declined.output
    assert schema.read_text() == SCHEMA.read_text()

    accepted = CliRunner().invoke(app, [*accept, "--run", record.run_id, "--yes"])
    assert accepted.exit_code == 0
    assert 'value: "Berlin"' in schema.read_text()
    assert "allows all that the data" in CliRunner().invoke(app, accept).output

    nodes = LocalNodes(config, prepare(config))
    upstream = nodes.ids[: nodes.ids.index("schema_gate") + 1]
    states = {node: nodes.run(node)[0] for node in upstream}
    assert states == {
        "example_gen": "cached",
        "statistics": "cached",
        "schema": "done",
        "example_validator": "done",
        "schema_gate": "done",
    }


def test_a_draft_has_the_columns_of_the_settings(folder: Path, campaign: list[Row]) -> None:
    settings = (folder / "config.yaml").read_text()
    settings = settings.replace("data:\n", "data:\n  columns:\n    label: bought\n")
    (folder / "config.yaml").write_text(settings)
    rows = [row | {"bought": row["clicked"]} for row in campaign]
    write(folder / "data/ads.csv", rows)
    infer = ["schema", "infer", f"{folder}/data", "--config", f"{folder}/config.yaml"]
    assert CliRunner().invoke(app, [*infer, "--out", f"{folder}/draft.pbtxt"]).exit_code == 0
    labels = [
        feature.name
        for feature in parse((folder / "draft.pbtxt").read_text()).feature
        if feature.HasField("int_domain")
    ]
    assert labels == ["bought"]


def test_without_a_stopped_run_there_is_nothing_to_accept(folder: Path) -> None:
    config = load_config(folder / "config.yaml")
    with pytest.raises(InputError, match="no run in it was stopped by its data"):
        propose(config, None)
    with pytest.raises(InputError, match="yesterday: no such run"):
        propose(config, "yesterday")


def test_a_warning_reaches_the_summary(tmp_path: Path) -> None:
    warning = Finding(split="eval", column="att_x", problem="is [odd]", detail="5% of the rows")
    (tmp_path / "value").write_text(to_json([warning]))
    record = RunRecord(
        run_id="a run",
        folder=tmp_path,
        status="failed",
        exit_code=1,
        config={"pusher": {"serving_root": "serving"}},
        data={"rows": 2, "clicks": 1, "ads": 1, "bad_rows": 0, "warnings": []},
        nodes=[
            NodeRecord(
                id="schema_gate",
                state="done",
                seconds=1,
                outputs={"notes": str(tmp_path / "value")},
            )
        ],
    )
    out = io.StringIO()
    show(record, Console(file=out, width=100))
    assert "Warning: att_x (eval): is [odd], 5% of the rows" in out.getvalue()
