from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from sklearn.metrics import roc_auc_score

from components.features import Columns
from components.findings import Finding
from components.schema_gate.infer import parse
from components.schema_gate.rows import Rows

if TYPE_CHECKING:
    from conftest import Gate
else:
    Gate = Any

SCHEMA = """
feature { name: "att_age" type: BYTES value_count { min: 0 max: 1 } }
feature { name: "att_town" type: BYTES value_count { min: 0 max: 1 } }
feature { name: "att_seconds" type: FLOAT value_count { min: 0 max: 1 } }
feature { name: "text" type: BYTES shape { dim { size: 1 } } }
feature { name: "message_id" type: BYTES shape { dim { size: 1 } } }
feature { name: "clicked" type: INT shape { dim { size: 1 } } }
"""


@pytest.fixture(params=[False, True], ids=["read", "counted"])
def gate(gate: Gate, request: pytest.FixtureRequest) -> Gate:
    return dataclasses.replace(gate, is_counted=request.param)


def draw(rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ads = rng.integers(0, 40, rows)
    frame = {
        "att_age": rng.choice(np.array(["young", "old", None]), rows),
        "att_town": [f"town {n}" for n in rng.zipf(1.5, rows)],
        "att_seconds": np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(2, 30, rows)),
        "text": [f"Ad {n}" for n in ads],
        "message_id": [str(n) for n in ads],
        "clicked": rng.integers(0, 2, rows),
    }
    return pd.DataFrame(frame | columns)


def rows_of(
    gate: Gate,
    train: pd.DataFrame,
    evaluation: pd.DataFrame,
    columns: Columns | None = None,
    workers: int = 1,
    schema: str = SCHEMA,
    **several: str,
) -> Rows:
    splits = {
        name: pa.Table.from_pandas(frame, preserve_index=False)
        for name, frame in (("train", train), ("eval", evaluation))
    }
    options = [
        "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
        "--direct_running_mode=multi_threading",
        f"--direct_num_workers={workers}",
    ]
    return Rows(
        beam.Pipeline(options=PipelineOptions(options)),
        str(gate.folder / "examples"),
        gate.write_examples(**splits),
        parse(schema),
        columns or Columns(),
        str(gate.folder / "work"),
        several,
    )


def test_unseen_values_are_counted_in_rows(gate: Gate) -> None:
    train, evaluation = draw(900, 1), draw(300, 2)
    share = 1 - evaluation.att_town.isin(train.att_town).mean()
    assert share > 0.05
    rows = rows_of(gate, train, evaluation)
    assert list(rows.unseen_values(share + 1e-6)) == []
    (finding,) = rows.unseen_values(share - 1e-6)
    assert (finding.split, finding.column) == ("eval", "att_town")
    assert finding.detail.startswith(f"{share:.1%} of the rows, at most ")
    shown = finding.detail.partition(": ")[2].removesuffix(", …").split(", ")
    assert len(shown) == 3
    assert not set(shown) & set(train.att_town)
    assert set(shown) <= set(evaluation.att_town)


def test_of_several_values_in_a_row_each_is_looked_for(gate: Gate) -> None:
    train = draw(4, 1, att_town=["rome|paris", "oslo", "paris", None], att_age="old")
    evaluation = draw(
        4, 2, att_town=["oslo|rome", "paris | rome", "oslo|lima", "lima"], att_age="old"
    )
    rows = rows_of(gate, train, evaluation, att_town="|")
    (finding,) = rows.unseen_values(0.1)
    assert finding.detail == "50.0% of the rows, at most 10.0%: lima, oslo|lima"


def test_missing_values_and_numbers_are_not_unseen(gate: Gate) -> None:
    train = draw(200, 1, att_age="old", att_town="here", att_seconds=1.5)
    evaluation = draw(200, 2, att_age=None, att_town="here", att_seconds=2.5)
    assert list(rows_of(gate, train, evaluation).unseen_values(0)) == []


def test_cold_ads_are_texts_that_training_lacks(gate: Gate) -> None:
    train = draw(900, 1)
    evaluation = draw(200, 2)
    evaluation.loc[:49, "text"] = "An ad that is new"
    evaluation["message_id"] = "an id that is new"
    rows = rows_of(gate, train, evaluation)
    assert list(rows.cold_ads(0.25)) == []
    (finding,) = rows.cold_ads(0.24)
    assert finding.detail == "25.0% of the rows, at most 24.0%: An ad that is new"


def test_a_cold_ad_of_several_texts_differs_in_one_of_them(gate: Gate) -> None:
    train, evaluation = draw(900, 1, headline="Hot"), draw(200, 2, headline="Hot")
    evaluation.loc[:49, "headline"] = "Cold"
    schema = SCHEMA + SCHEMA.splitlines()[4].replace("text", "headline")
    columns = Columns(text=("headline", "text"))
    rows = rows_of(gate, train, evaluation, columns, schema=schema)
    assert list(rows.cold_ads(0.25)) == []
    (finding,) = rows.cold_ads(0.24)
    assert (finding.column, "Cold\nAd" in finding.detail) == ("headline, text", True)


def test_the_auc_of_a_column_alone_is_that_of_its_click_rates(gate: Gate) -> None:
    rng = np.random.default_rng(3)

    def noisy(frame: pd.DataFrame) -> pd.DataFrame:
        told = np.where(rng.random(len(frame)) < 0.1, 1 - frame.clicked, frame.clicked)
        return frame.assign(att_age=np.array(["young", "old"])[told])

    train, evaluation = noisy(draw(900, 1)), noisy(draw(400, 2))
    rates = train.groupby("att_age").clicked.mean()
    expected = roc_auc_score(evaluation.clicked, rates[evaluation.att_age])
    rows = rows_of(gate, train, evaluation)
    (finding,) = rows.leaks(0.8)
    assert (finding.split, finding.column) == ("eval", "att_age")
    assert finding.detail == f"AUC {expected:.3f} with nothing else, at most 0.8"
    assert list(rows.leaks(expected)) == []  # its lower bound is below


@pytest.mark.parametrize("column", ["att_age", "att_seconds", "message_id"])
def test_each_column_may_leak(gate: Gate, column: str) -> None:
    def leaking(frame: pd.DataFrame) -> pd.DataFrame:
        values = {
            "att_age": np.where(frame.clicked, frame.att_age, None),  # there after a click only
            "att_seconds": np.where(frame.clicked, frame.att_seconds + 1e4, frame.att_seconds),
            "message_id": [f"{n % 9}-{click}" for n, click in enumerate(frame.clicked)],
        }
        return frame.assign(**{column: values[column]})

    found = rows_of(gate, leaking(draw(900, 1)), leaking(draw(400, 2))).leaks(0.7)
    assert [finding.column for finding in found] == [column]


def test_a_value_of_one_row_is_no_leak(gate: Gate) -> None:
    train = draw(900, 1, att_town=[f"town {n}" for n in range(900)])
    evaluation = draw(400, 2, att_town=[f"city {n}" for n in range(400)])
    assert list(rows_of(gate, train, evaluation).leaks(0.6)) == []


def test_rare_clicks_that_a_number_tells_are_found(gate: Gate) -> None:
    frames = [draw(4000, seed, clicked=(np.arange(4000) % 100 == 0).astype(int)) for seed in (1, 2)]
    for frame in frames:
        frame["att_seconds"] = np.where(frame.clicked, 0.0, frame.att_seconds.fillna(5.0))
    (finding,) = rows_of(gate, *frames).leaks(0.95)
    assert finding.column == "att_seconds"


def test_columns_without_a_value_or_a_click_are_no_leaks(gate: Gate) -> None:
    train = draw(100, 1, att_age=None, att_seconds=np.nan)
    evaluation = draw(100, 2, clicked=0)
    rows = rows_of(gate, train, evaluation)
    assert list(rows.leaks(0.5)) == []


def test_any_number_of_workers_finds_the_same(gate: Gate) -> None:
    columns = Columns(weight="att_seconds")
    train, evaluation = (draw(900, seed).assign(att_seconds=lambda _: 0.1) for seed in (1, 2))
    train, evaluation = (
        frame.assign(att_age=np.where(frame.clicked, frame.att_age, "old"))
        for frame in (train, evaluation)
    )

    def found(workers: int) -> list[Finding]:
        rows = rows_of(gate, train, evaluation, columns, workers)
        return [*rows.unseen_values(0), *rows.cold_ads(0), *rows.leaks(0.5)]

    assert found(1)
    assert found(1) == found(4)
    assert not (gate.folder / "work").exists()
