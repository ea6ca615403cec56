from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.features import Columns
from components.schema_gate.anomalies import Statistics
from components.schema_gate.comparison import Comparison
from components.schema_gate.infer import parse

SCHEMA = """
feature { name: "att_age" type: BYTES }
feature { name: "att_visits" type: INT }
feature { name: "clicked" type: INT }
"""
TRAIN = {
    "att_age": ["young"] * 500 + ["old"] * 300 + ["very old"] * 200,
    "att_visits": [*range(10)] * 100,
    "clicked": [0] * 900 + [1] * 100,
}

Compare = Callable[..., Comparison]


@pytest.fixture(scope="module")
def compare(statistics_of: Callable[[Any], Statistics]) -> Compare:
    """Compares rows with TRAIN, some of whose columns are changed."""
    train = statistics_of(TRAIN)

    def make(**columns: Any) -> Comparison:
        return Comparison("skew", "eval", statistics_of(TRAIN | columns), train, "the train split")

    return make


def details(comparison: Comparison, most: float, schema: str = SCHEMA) -> dict[str, str]:
    found = comparison.distributions(parse(schema), Columns(), most)
    return {finding.column: finding.detail for finding in found}


# Of 990 values, 380 are young.
OLDER = ["young"] * 380 + [None] * 10 + ["old"] * 370 + ["very old"] * 240


def test_text_differs_by_the_most_that_the_share_of_a_value_does(compare: Compare) -> None:
    distance = 0.5 - 380 / 990
    older = compare(att_age=OLDER)
    assert details(older, distance + 1e-6) == {}
    assert details(older, 0.11) == {
        "att_age": '"young" in 38.4% of the values; 50.0% there '
        f"(L-infinity norm {distance:.3f}, at most 0.11)"
    }


def test_numbers_differ_by_their_jensen_shannon_divergence(compare: Compare) -> None:
    assert details(compare(att_visits=[*range(9, -1, -1)] * 100), 0.01) == {}
    apart = details(compare(att_visits=[*range(100, 110)] * 100), 0.99)
    assert apart == {  # of distributions that share no value: one bit
        "att_visits": "the median is 105; 5 there (Jensen-Shannon divergence 1.000, at most 0.99)"
    }


def test_a_comparator_of_the_schema_comes_first(compare: Compare) -> None:
    own = SCHEMA.replace("BYTES }", "BYTES skew_comparator { infinity_norm { threshold: 0.2 } } }")
    assert details(compare(att_age=OLDER), 0.1).keys() == {"att_age"}
    assert details(compare(att_age=OLDER), 0.1, own) == {}


def test_only_attributes_are_compared_with_what_training_had(compare: Compare) -> None:
    assert details(compare(clicked=[1] * 1000, att_new=["a"] * 1000), 0.01) == {}


@pytest.mark.parametrize(
    ("clicks", "rows", "most", "expected"),
    [
        (150, 1000, 0.49, True),
        (150, 1000, 0.51, False),
        (15, 100, 0.1, False),  # as many by chance
        (60, 100, 0.1, True),
        (0, 100, 0.9, True),
    ],
)
def test_click_rates_differ_beyond_chance_and_the_setting(
    compare: Compare,
    statistics_of: Callable[[Any], Statistics],
    clicks: int,
    rows: int,
    most: float,
    expected: bool,
) -> None:
    seen = statistics_of({"clicked": [1] * clicks + [0] * (rows - clicks)})
    comparison = Comparison("drift", "train", seen, statistics_of(TRAIN), "the data in service")
    found = list(comparison.click_rates(Columns(), most))
    assert bool(found) is expected
    for finding in found:
        assert finding.problem == "another click rate than the data in service"
        assert finding.detail == f"{clicks / rows:.2%} of the impressions clicked; 10.00% of those"


def test_splits_of_the_same_rows_are_alike(statistics_of: Callable[[Any], Statistics]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        train, evaluation = (
            statistics_of(
                {
                    "att_age": rng.choice([*"abcdefghij"], rows).tolist(),
                    "att_visits": rng.lognormal(3, 1, rows).astype(int),
                    "clicked": (rng.random(rows) < 0.05).astype(int),
                }
            )
            for rows in (3200, 800)
        )
        comparison = Comparison("skew", "eval", evaluation, train, "the train split")
        assert list(comparison.click_rates(Columns(), 0.1)) == []
        assert details(comparison, 0.1) == {}


def test_a_label_of_another_name_is_not_compared(compare: Compare) -> None:
    assert list(compare().click_rates(Columns(label="bought"), 0)) == []
