import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
import yaml

from components.example_gen.csv_reader import check_input, read_batches
from components.example_gen.settings import ReadingSettings
from components.features import Columns
from components.schema_gate.anomalies import Statistics, misfits
from components.schema_gate.infer import accept, parse
from pipeline.samples import campaign, movielens
from pipeline.samples.campaign import write_campaign

StatisticsOf = Callable[[pa.Table], Statistics]

SCHEMAS = Path(__file__).parents[3] / "schema"
CAMPAIGN = (SCHEMAS / "campaign" / "schema.pbtxt").read_text(encoding="utf-8")
MOVIELENS = (SCHEMAS / "movielens" / "schema.pbtxt").read_text(encoding="utf-8")


def read_campaign(folder: Path, rows: int, seed: int) -> pa.Table:
    impressions = str(write_campaign(folder, rows, 20, seed).impressions)
    types = check_input(Path(impressions), ReadingSettings()).types
    return pa.Table.from_batches(read_batches([impressions], ReadingSettings(), types, []))


def columns_with_anomalies(text: str, seen: Statistics) -> set[str]:
    schema = parse(text)
    found = misfits("eval", tfdv.validate_statistics(seen, schema), seen, schema, Columns())
    return {finding.column for finding in found}


def listed(schema: str) -> dict[str, set[str]]:
    return {domain.name: set(domain.value) for domain in parse(schema).string_domain}


@pytest.mark.parametrize("seed", range(3))
def test_campaigns_of_any_size_fit(tmp_path: Path, statistics_of: StatisticsOf, seed: int) -> None:
    rows = read_campaign(tmp_path, 3_000, seed)
    assert columns_with_anomalies(CAMPAIGN, statistics_of(rows)) == set()
    assert columns_with_anomalies(CAMPAIGN, statistics_of(rows.slice(0, 200))) == set()


def test_campaign_lists_what_the_sample_draws_from() -> None:
    world = yaml.safe_load(Path(campaign.__file__).with_name("campaign.yaml").read_text())
    assert listed(CAMPAIGN) == {name: set(values) for name, values in world["attributes"].items()}


def test_movielens_lists_the_age_brackets() -> None:
    assert listed(MOVIELENS)["att_age"] == set(movielens.AGES.values())
    assert sum(map(len, listed(MOVIELENS).values())) == 49


@pytest.mark.parametrize("schema", [CAMPAIGN, MOVIELENS], ids=["campaign", "movielens"])
def test_transform_finds_dense_and_sparse_columns_as_it_expects(schema: str) -> None:
    columns = Columns()
    for feature in parse(schema).feature:
        dense = feature.name not in columns.attributes([feature.name])
        assert feature.HasField("shape") == dense
        assert feature.HasField("value_count") == (not dense)


@pytest.mark.parametrize(
    ("column", "broken"),
    [
        ("att_region", ["Berlin"] * 40 + ["capital"] * 160),
        ("att_age", [None] * 40 + ["18-24"] * 160),
        ("att_tenure_days", [-1] * 200),
    ],
    ids=["value", "missing", "range"],
)
def test_a_campaign_from_a_broken_source_does_not_fit(
    tmp_path: Path, statistics_of: StatisticsOf, column: str, broken: list[Any]
) -> None:
    rows = read_campaign(tmp_path, 200, seed=0)
    rows = rows.set_column(rows.column_names.index(column), column, pa.array(broken))
    assert columns_with_anomalies(CAMPAIGN, statistics_of(rows)) == {column}


def test_accepting_changes_only_the_lines_that_are_concerned(
    tmp_path: Path, statistics_of: StatisticsOf
) -> None:
    rows = read_campaign(tmp_path, 200, seed=0)
    for name, values in (
        ("att_region", ["Berlin"] * 40 + ["capital"] * 160),
        ("att_age", [None] * 40 + ["18-24"] * 160),
    ):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values))
    accepted = accept(CAMPAIGN, [statistics_of(rows)], Columns())
    lines = difflib.ndiff(CAMPAIGN.splitlines(), accepted.splitlines())
    assert [line for line in lines if line[0] in "+-"] == [
        "-   presence { min_fraction: 0.9 min_count: 1 }",
        "+   presence { min_fraction: 0.8 min_count: 1 }",
        '+   value: "Berlin"',
    ]
