from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import InputError
from components.example_gen.settings import ReadingSettings
from components.features import Columns
from components.schema_gate.anomalies import Statistics, misfits
from components.schema_gate.infer import accept, infer_schema, parse, read_statistics, statistics

COLUMNS = Columns(user_id="user")
ROWS = 400


def make_rows(**changed: Any) -> pa.Table:
    rng = np.random.default_rng(5)
    missing = rng.random(ROWS) < 0.07
    columns = {
        "att_age": rng.choice(["18-24", "25-34", "65+"], ROWS).tolist(),
        "att_town": [f"town {n}" for n in rng.integers(0, 300, ROWS)],
        "att_visits": pa.array(rng.integers(0, 90, ROWS), mask=missing),
        "user": [str(n) for n in rng.integers(0, 50, ROWS)],
        "text": [f"An ad of {n} words" for n in rng.integers(0, 9, ROWS)],
        "message_id": [f"{n}" for n in rng.integers(0, 9, ROWS)],
        "clicked": rng.integers(0, 2, ROWS),
        "channel": rng.choice(["mail", "web"], ROWS).tolist(),
    }
    columns.update(changed)
    return pa.table({name: values for name, values in columns.items() if values is not None})


Split = Callable[..., Statistics]


@pytest.fixture(scope="module")
def split(statistics_of: Callable[[pa.Table], Statistics]) -> Split:
    """Statistics of the rows, with some columns changed."""
    return lambda **changed: statistics_of(make_rows(**changed))


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("draft") / "ads.csv"
    pyarrow.csv.write_csv(make_rows(), path)
    return infer_schema(path, ReadingSettings(columns=COLUMNS))


def features(text: str) -> dict[str, Any]:
    return {feature.name: feature for feature in parse(text).feature}


def values(text: str, name: str) -> list[str]:
    (domain,) = [domain for domain in parse(text).string_domain if domain.name == name]
    return list(domain.value)


def anomalies(text: str, seen: Statistics) -> set[str]:
    schema = parse(text)
    found = misfits("eval", tfdv.validate_statistics(seen, schema), seen, schema, COLUMNS)
    return {finding.column for finding in found}


def test_draft_says_where_it_is_from(draft: str) -> None:
    assert draft.startswith("# Drafted from 400 rows of ads.csv: to be reviewed.\n")


def test_draft_has_the_types_that_example_gen_writes(draft: str) -> None:
    types = {name: feature.type for name, feature in features(draft).items()}
    text, whole = schema_pb2.BYTES, schema_pb2.INT
    assert types == {
        "att_age": text,
        "att_town": text,
        "att_visits": whole,  # although some are missing
        "user": text,
        "text": text,
        "message_id": text,  # although they are numbers
        "clicked": whole,
        "channel": text,
    }


def test_draft_lists_values_of_attributes_only_and_not_too_many(draft: str) -> None:
    assert [domain.name for domain in parse(draft).string_domain] == ["att_age"]
    assert values(draft, "att_age") == ["18-24", "25-34", "65+"]
    label = features(draft)["clicked"].int_domain
    assert (label.min, label.max) == (0, 1)


def test_draft_requires_what_a_row_is_of(draft: str) -> None:
    found = features(draft)
    for name in COLUMNS.required():
        assert found[name].presence.min_fraction == 1
        assert found[name].shape.dim[0].size == 1  # Transform makes it dense
    # 7% are missing, of the 80 rows of a split by chance up to 16%.
    assert found["att_visits"].presence.min_fraction == 0.8
    assert found["att_age"].presence.min_fraction == 0.95  # none is
    assert not found["channel"].HasField("presence")


def test_draft_fits_its_own_data_and_a_fresh_sample(draft: str, split: Split) -> None:
    assert anomalies(draft, split()) == set()
    town = [f"town {n + 1000}" for n in range(ROWS)]
    assert anomalies(draft, split(att_town=town, channel=["radio"] * ROWS)) == set()


def test_draft_of_an_attribute_without_a_value_fits_it(tmp_path: Path, split: Split) -> None:
    rows = make_rows(att_town=pa.nulls(ROWS, pa.string()))
    pyarrow.csv.write_csv(rows, tmp_path / "ads.csv")
    empty = infer_schema(tmp_path / "ads.csv", ReadingSettings(columns=COLUMNS))
    assert anomalies(empty, split(att_town=rows["att_town"])) == set()


def test_draft_of_bad_input_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ads.csv"
    path.write_text("att_age,text\n18-24,An ad\n")
    with pytest.raises(InputError, match="no column message_id"):
        infer_schema(path, ReadingSettings(columns=COLUMNS))


AGE = ["18-24"] * 350 + ["teen"] * 50


@pytest.mark.parametrize(
    "changed",
    [
        {"att_age": AGE},
        {"att_age": ["18-24"] * 300 + [None] * 100},
        {"att_age": [None] * ROWS},
        {"att_age": list(range(ROWS))},
        {"att_age": None},
        {"att_new": ["a", "b"] * (ROWS // 2)},
        {"att_visits": [0.5] * ROWS},
        {"att_visits": [str(n) for n in range(ROWS)], "att_age": AGE, "channel": None},
    ],
    ids=["values", "missing", "none", "type", "gone", "new", "fractions", "several"],
)
def test_accepted_schema_fits(draft: str, split: Split, changed: dict[str, Any]) -> None:
    seen = split(**changed)
    assert anomalies(draft, seen)
    accepted = accept(draft, [split(**changed), seen], COLUMNS)
    assert anomalies(accepted, seen) == set()
    assert not any(feature.lifecycle_stage for feature in parse(accepted).feature)


def test_attribute_of_another_type_is_asked_for_as_in_a_draft(draft: str, split: Split) -> None:
    accepted = accept(draft, [split(att_age=list(range(ROWS)))], COLUMNS)
    age = features(accepted)["att_age"]
    assert (age.type, age.presence.min_fraction) == (schema_pb2.INT, 0.95)
    assert [domain.name for domain in parse(accepted).string_domain] == []


def test_statistics_of_a_run_are_read_by_split(draft: str, split: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no statistics in it"):
        read_statistics(tmp_path)
    for name, seen in (("train", split()), ("eval", split(att_age=AGE))):
        (tmp_path / f"Split-{name}").mkdir()
        (tmp_path / f"Split-{name}" / "FeatureStats.pb").write_bytes(seen.SerializeToString())
    accepted = accept(draft, read_statistics(tmp_path), COLUMNS)
    assert values(accepted, "att_age") == ["18-24", "25-34", "65+", "teen"]


def test_accepted_schema_asks_of_new_attributes_what_a_draft_does(draft: str, split: Split) -> None:
    accepted = accept(draft, [split(att_new=["a", "b"] * 200)], COLUMNS)
    assert values(accepted, "att_new") == ["a", "b"]
    assert features(accepted)["att_new"].presence.min_fraction == 0.95
    assert features(accepted)["att_new"].distribution_constraints.min_domain_mass == 0.99


def test_what_is_not_changed_keeps_its_text_and_comments(draft: str, split: Split) -> None:
    curated = draft.replace('feature {\n  name: "text"', '# Of the ad.\nfeature {\n  name: "text"')
    curated = curated.replace("string_domain {", "# Brackets.\nstring_domain {")
    assert accept(curated, [split()], COLUMNS) == curated
    accepted = accept(curated, [split(att_age=AGE)], COLUMNS)
    assert accepted == curated.replace('  value: "65+"\n', '  value: "65+"\n  value: "teen"\n')


def test_a_schema_laid_out_in_another_way_is_accepted_too(draft: str, split: Split) -> None:
    curated = " ".join(draft.partition("\n\n")[2].split())
    accepted = accept(curated, [split(att_age=AGE)], COLUMNS)
    assert values(accepted, "att_age") == ["18-24", "25-34", "65+", "teen"]
    assert len(parse(accepted).feature) == len(parse(draft).feature)


def test_a_text_that_is_no_schema_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match="not a schema, at line and column 2:3"):
        parse("feature {\n  nmae: 1\n}")


def test_accepted_schema_allows_a_little_more_missing_values_than_there_are(
    draft: str, split: Split
) -> None:
    accepted = accept(draft, [split(), split(att_age=["18-24"] * 330 + [None] * 70)], COLUMNS)
    assert features(accepted)["att_age"].presence.min_fraction == 0.8  # 17.5% are missing
    assert anomalies(accepted, split(att_age=["18-24"] * 321 + [None] * 79)) == set()
    assert anomalies(accepted, split(att_age=["18-24"] * 319 + [None] * 81)) == {"att_age"}


def test_statistics_do_not_depend_on_how_rows_are_cut() -> None:
    lists = {
        name: pa.array([[each] for each in make_rows()[name].to_pylist() if each is not None])
        for name in ("att_age", "clicked")
    }
    whole = pa.RecordBatch.from_pydict(lists)
    parts = [whole.slice(start, 37) for start in range(0, ROWS, 37)]
    assert counts(statistics(parts)) == counts(statistics([whole]))


def counts(seen: Statistics) -> dict[str, tuple[int, int]]:
    """Counts by column, which are exact; quantiles are sketched."""
    found = {}
    for feature in seen.datasets[0].features:
        stats = getattr(feature, feature.WhichOneof("stats")).common_stats
        found[feature.path.step[0]] = (stats.num_non_missing, stats.tot_num_values)
    return found
