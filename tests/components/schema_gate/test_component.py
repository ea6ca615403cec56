from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.csv import write_csv

from components.errors import AnomalyError
from components.example_gen.settings import ReadingSettings
from components.features import Columns
from components.findings import Finding, table
from components.schema_gate.infer import infer_schema
from components.schema_gate.settings import DataCheckSettings
from components.serving_root import TRAINING_STATISTICS_FILE
from tests.serving_roots import complete

if TYPE_CHECKING:
    from conftest import Gate
else:
    Gate = Any

SCHEMA = """
feature {
  name: "att_age"
  type: BYTES
  domain: "att_age"
  value_count { min: 0 max: 1 }
  presence { min_fraction: 0.95 min_count: 1 }
}
feature {
  name: "att_visits"
  type: INT
  int_domain { min: 0 max: 99 }
  value_count { min: 0 max: 1 }
  presence { min_fraction: 0.95 min_count: 1 }
}
feature {
  name: "text"
  type: BYTES
  shape { dim { size: 1 } }
}
feature {
  name: "message_id"
  type: BYTES
  shape { dim { size: 1 } }
}
feature {
  name: "clicked"
  type: INT
  int_domain { min: 0 max: 1 }
  shape { dim { size: 1 } }
}
string_domain {
  name: "att_age"
  value: "18-24"
  value: "25-34"
}
"""
GOOD = {
    "att_age": ["18-24"] * 60 + ["25-34"] * 40,
    "att_visits": [*range(50)] * 2,
    "text": ["One ad", "Another", "A third", "A fourth"] * 25,
    "message_id": ["1", "2", "3", "4"] * 25,
    "clicked": np.random.default_rng(1).permutation([0, 1] * 50).tolist(),
}
TYPE = "values of another type"


def changed(**columns: Any) -> dict[str, Any]:
    return {name: values for name, values in (GOOD | columns).items() if values is not None}


def finding(column: str, problem: str, detail: str, **fields: Any) -> Finding:
    fields = {"split": "eval", "stops": True} | fields
    return Finding(column=column, problem=problem, detail=detail, **fields)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"att_age": ["teen"] * 3 + ["18-24"] * 97},
            [("att_age", "values that are not listed", "teen (~3%)")],
        ),
        (
            {"att_age": [None] * 8 + ["18-24"] * 92},
            [
                (
                    "att_age",
                    "missing in too many rows",
                    "8.00% of the rows; the schema allows 5.00%",
                )
            ],
        ),
        (
            {"att_visits": [None] * 100},
            [
                (
                    "att_visits",
                    "missing in too many rows",
                    "100.00% of the rows; the schema allows 5.00%",
                )
            ],
        ),
        ({"att_age": None}, [("att_age", "no such column", "all rows")]),
        ({"att_age": [24] * 100}, [("att_age", TYPE, "whole numbers; the schema says text")]),
        (
            {"att_visits": [None] * 2 + ["many"] + ["1"] * 97},
            [
                ("att_visits", TYPE, "text; the schema says whole numbers"),
                ("att_visits", TYPE, 'such as "many"'),
            ],
        ),
        (
            {"att_visits": [0.5] * 100},
            [("att_visits", TYPE, "numbers; the schema says whole numbers")],
        ),
        ({"att_town": ["A"] * 100}, [("att_town", "not in the schema", "all rows")]),
        (
            {"att_visits": [100] * 50 + [1] * 50},
            [("att_visits", "out-of-range values", "Unexpectedly large value: 100.")],
        ),
    ],
    ids=[
        "values",
        "missing",
        "none",
        "gone",
        "text-to-int",
        "int-to-text",
        "fractions",
        "new",
        "range",
    ],
)
def test_each_kind_stops_the_run_with_a_table(
    gate: Gate, columns: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    with pytest.raises(AnomalyError) as raised:
        gate.run(SCHEMA, train=GOOD, eval=changed(**columns))
    message = str(raised.value)
    rows = [line for line in message.splitlines() if line.startswith("eval")]
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert cells == [["eval", *row] for row in expected]
    assert "\ntrain" not in message
    assert "twotower schema accept" in message


def test_every_split_is_in_the_table(gate: Gate) -> None:
    found = changed(att_age=["teen"] * 100)
    with pytest.raises(AnomalyError, match=r"(?s)train +att_age.*eval +att_age"):
        gate.run(SCHEMA, train=found, eval=found)


def test_good_data_passes(gate: Gate) -> None:
    few = [None] * 5 + ["18-24"] * 55 + ["25-34"] * 40
    assert gate.run(SCHEMA, train=GOOD, eval=changed(att_age=few)) == []


def test_new_column_that_nothing_reads_passes_with_a_note(gate: Gate) -> None:
    notes = gate.run(SCHEMA, train=changed(channel=["web"] * 100), eval=GOOD)
    assert notes == [
        finding("channel", "not in the schema", "all rows", split="train", stops=False)
    ]


def test_new_column_that_the_model_needs_stops_the_run(gate: Gate) -> None:
    columns = Columns(user_id="user")
    found = changed(user=[*"abcde"] * 20)
    with pytest.raises(AnomalyError, match=r"train +user +not in the schema"):
        gate.run(SCHEMA, columns, train=found, eval=found)


def test_table_shows_values_as_they_are() -> None:
    found = finding("att_[bold]x", "values that are not listed", "[red] (~3%)")
    assert "att_[bold]x" in table([found])
    assert "[red] (~3%)" in table([found])


def test_empty_split_stops_the_run(gate: Gate) -> None:
    with pytest.raises(AnomalyError, match=r"eval +– +no rows"):
        gate.run(SCHEMA, train=GOOD, eval={name: [] for name in GOOD})


def test_a_draft_of_a_csv_fits_it_and_a_broken_column_does_not(gate: Gate, tmp_path: Path) -> None:
    csv = tmp_path / "ads.csv"
    rows = changed(
        att_age=[None, "18-24", "18-24", "25-34"] * 25,
        att_visits=[None, *range(9)] * 10,
        att_none=[None] * 100,
    )
    write_csv(pa.table(rows), csv)
    draft = infer_schema(csv, ReadingSettings())
    assert gate.run(draft, train=rows, eval=rows) == []
    rows["att_age"] = [None, "18-24", None, None] * 25
    with pytest.raises(AnomalyError, match=r"eval +att_age +missing in too many rows +75.00%"):
        gate.run(draft, train=rows, eval=rows)


LEAK = changed(att_age=[["18-24", "25-34"][clicked] for clicked in GOOD["clicked"]])


@pytest.mark.parametrize("action", ["off", "warn", "stop"])
def test_a_check_is_off_a_warning_or_a_stop(gate: Gate, action: str) -> None:
    checks = DataCheckSettings(leaks=action, drift="stop", skew="stop", cold_ads="stop")
    if action == "stop":
        with pytest.raises(AnomalyError) as raised:
            gate.run(SCHEMA, checks=checks, train=LEAK, eval=LEAK)
        assert "eval   att_age  predicts the click almost alone  AUC 1.000" in str(raised.value)
        assert "--set data_checks.leaks=warn" in str(raised.value)
        assert "Also noticed" not in str(raised.value)
        return
    notes = gate.run(SCHEMA, checks=checks, train=LEAK, eval=LEAK)
    expected = [("att_age", "leaks", False)] if action == "warn" else []
    assert [(note.column, note.check, note.stops) for note in notes] == expected


def test_what_a_stop_leaves_unsaid_is_noticed_too(gate: Gate) -> None:
    found = changed(att_age=["teen"] * 100)
    with pytest.raises(AnomalyError, match=r"(?s)teen.*Also noticed:.*train +channel"):
        gate.run(SCHEMA, train=changed(channel=["web"] * 100), eval=found)


def test_drift_is_that_since_the_data_of_the_model_in_service(
    gate: Gate, statistics_of: Any
) -> None:
    def drift() -> list[tuple[str, str]]:
        notes = gate.run(SCHEMA, train=GOOD, eval=GOOD)
        return [(note.column, note.check) for note in notes]

    assert drift() == []  # the first model
    for version, columns in (
        ("9", {}),
        ("10", {"att_age": ["18-24"] * 100, "clicked": [0, 0, 0, 1] * 25}),
    ):
        assets = gate.serving / "click_model" / version / Path(TRAINING_STATISTICS_FILE).parent
        assets.mkdir(parents=True)
        (assets.parent / "saved_model.pb").write_bytes(b"\x08\x01")
        complete(assets.parent)
        assert drift() == [("", "drift")]  # pushed without its statistics
        seen = statistics_of(changed(**columns))
        (assets / Path(TRAINING_STATISTICS_FILE).name).write_bytes(seen.SerializeToString())
        assert drift() == ([("att_age", "drift"), ("clicked", "click_rate")] if columns else [])
