import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import Channel, standard_artifacts
from tfx.types.artifact_utils import encode_split_names

from components.errors import AnomalyError
from components.features import Columns
from components.schema_gate.anomalies import ANOMALIES_FILE, Finding, describe, table
from components.schema_gate.component import SchemaGate
from components.schema_gate.infer import parse, statistics

SCHEMA = """
feature {
  name: "att_age"
  type: BYTES
  domain: "att_age"
  presence { min_fraction: 0.95 min_count: 1 }
}
feature {
  name: "clicked"
  type: INT
  int_domain { min: 0 max: 1 }
}
string_domain {
  name: "att_age"
  value: "18-24"
  value: "25-34"
}
"""
GOOD = {"att_age": ["18-24"] * 60 + ["25-34"] * 40, "clicked": [0, 1] * 50}


def validate(**changed: Any) -> anomalies_pb2.Anomalies:
    columns = {name: values for name, values in (GOOD | changed).items() if values is not None}
    return tfdv.validate_statistics(statistics(pa.table(columns).to_batches()), parse(SCHEMA))


def anomalies_artifact(folder: Path, **splits: anomalies_pb2.Anomalies) -> Any:
    for name, found in splits.items():
        (folder / f"Split-{name}").mkdir(parents=True)
        (folder / f"Split-{name}" / ANOMALIES_FILE).write_bytes(found.SerializeToString())
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(folder)
    artifact.split_names = encode_split_names(list(splits))
    return artifact


def run(artifact: Any) -> Any:
    gate = SchemaGate(
        anomalies=Channel(type=standard_artifacts.ExampleAnomalies),
        columns=Columns().model_dump_json(),
    )
    folder = Path(artifact.uri).parent / "notes"
    notes = standard_artifacts.String()
    notes.uri = str(folder / "value")
    folder.mkdir()
    gate.executor_spec.executor_class().Do(
        {"anomalies": [artifact]}, {"notes": [notes]}, dict(gate.exec_properties)
    )
    return json.loads(Path(notes.uri).read_text())


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"att_age": ["teen"] * 3 + ["18-24"] * 97},
            ("att_age", "values that are not listed", "teen (~3%)"),
        ),
        (
            {"att_age": [None] * 8 + ["18-24"] * 92},
            (
                "att_age",
                "missing in too many rows",
                "missing in 8.00% of the rows; the schema allows 5.00%",
            ),
        ),
        ({"att_age": None}, ("att_age", "no such column", "all rows")),
        (
            {"att_age": [24] * 100},
            ("att_age", "values of another type", "whole numbers; the schema says text"),
        ),
        ({"att_town": ["A"] * 100}, ("att_town", "not in the schema", "all rows")),
        (
            {"clicked": [0, 2] * 50},
            ("clicked", "out-of-range values", "Unexpectedly large value: 2."),
        ),
    ],
    ids=["values", "missing", "gone", "type", "new", "range"],
)
def test_each_kind_stops_the_run_with_a_table(
    tmp_path: Path, changed: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    found = validate(**changed)
    assert list(describe("eval", found, Columns())) == [Finding("eval", *expected, stops=True)]
    artifact = anomalies_artifact(tmp_path / "anomalies", train=validate(), eval=found)
    with pytest.raises(AnomalyError) as raised:
        run(artifact)
    message = str(raised.value)
    (row,) = [line for line in message.splitlines() if line.startswith("eval")]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == ["eval", *expected]
    assert "twotower schema accept" in message


def test_every_split_is_in_the_table(tmp_path: Path) -> None:
    found = validate(att_age=["teen"] * 100)
    artifact = anomalies_artifact(tmp_path / "anomalies", train=found, eval=found)
    with pytest.raises(AnomalyError, match=r"(?s)train +att_age.*eval +att_age"):
        run(artifact)


def test_good_data_passes(tmp_path: Path) -> None:
    artifact = anomalies_artifact(tmp_path / "anomalies", train=validate(), eval=validate())
    assert run(artifact) == []


def test_new_column_that_nothing_reads_passes_with_a_note(tmp_path: Path) -> None:
    artifact = anomalies_artifact(tmp_path / "anomalies", train=validate(channel=["web"] * 100))
    (note,) = run(artifact)
    assert (note["split"], note["column"], note["stops"]) == ("train", "channel", False)


def test_table_shows_values_as_they_are() -> None:
    finding = Finding("train", "att_[bold]x", "values that are not listed", "[red] (~3%)", True)
    assert "att_[bold]x" in table([finding])
    assert "[red] (~3%)" in table([finding])


def test_empty_split_stops_the_run() -> None:
    nothing = [pa.RecordBatch.from_pydict({name: [] for name in GOOD})]
    found = tfdv.validate_statistics(statistics(nothing), parse(SCHEMA))
    assert list(describe("eval", found, Columns())) == [Finding("eval", "", "no rows", "", True)]
