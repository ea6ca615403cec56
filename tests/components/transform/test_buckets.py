"""Buckets of numeric columns, judged by what each row's bucket is, in plain NumPy."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.transform import buckets
from components.transform.buckets import Counts, bounds_of

BUCKETS = st.integers(2, 20)
# Many ties, few ties, and anything a float32 can be.
COLUMNS = st.one_of(
    st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=60),
    st.lists(st.integers(0, 1000).map(float), min_size=1, max_size=200),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=60),
    st.tuples(st.integers(1, 300), st.lists(st.floats(0, 1e6, width=32), max_size=100)).map(
        lambda both: [0.0] * both[0] + both[1]
    ),
)


def bucket(values: np.ndarray, most: int) -> np.ndarray:
    """Returns the bucket of each row, as the transform graph finds it."""
    counts = Counts()
    counts.add(values)
    return np.searchsorted(bounds_of(counts.values, counts.counts, most), values)


def frequent(values: np.ndarray, most: int) -> set[float]:
    """The values with more rows than a bucket's share of what the frequent ones leave."""
    alone: set[float] = set()
    while True:
        rest = Counter(value for value in values if value not in alone)
        share = rest.total() / (most - len(alone))
        more = {value for value, rows in rest.items() if rows > share}
        if not more:
            return alone
        alone |= more


@given(COLUMNS, BUCKETS)
def test_buckets_keep_the_order_and_each_is_used(column: list[float], most: int) -> None:
    values = np.sort(np.array(column))
    found = bucket(values, most)
    assert found[0] == 0
    assert set(np.diff(found)) <= {0, 1}
    assert (np.diff(found)[np.diff(values) == 0] == 0).all()


@given(COLUMNS, BUCKETS)
def test_few_distinct_values_have_a_bucket_each(column: list[float], most: int) -> None:
    values = np.array(column)
    if len(set(column)) <= most:
        assert len(set(bucket(values, most))) == len(set(column))


@given(COLUMNS, BUCKETS)
def test_a_frequent_value_is_alone_and_the_rest_is_spread_evenly(
    column: list[float], most: int
) -> None:
    values = np.array(column)
    found = bucket(values, most)
    alone = frequent(values, most)
    for value in alone:
        assert set(values[found == found[values == value][0]]) == {value}
    rest = found[~np.isin(values, list(alone))]
    if len(rest):
        assert np.bincount(rest).max() <= 2 * len(rest) / (most - len(alone))


@given(st.lists(COLUMNS, min_size=1, max_size=4), st.integers(2, 8))
def test_counted_in_parts_with_little_memory_the_buckets_are_still_even(
    columns: list[list[float]], most: int
) -> None:
    with patch.object(buckets, "_MOST_COUNTED", 50):
        total = Counts()
        for column in columns:
            part = Counts()
            part.add(np.array(column))
            total.merge(part)
        bounds = bounds_of(total.values, total.counts, most)
    values = np.concatenate([np.array(column) for column in columns])
    assert total.counts.sum() == len(values)
    found = np.searchsorted(bounds, values)
    alone = frequent(values, most)
    rest = found[~np.isin(values, list(alone))]
    # Each counting together may misplace a fiftieth of the rows.
    slack = len(columns) * len(values) / 50
    if len(rest):
        assert np.bincount(rest).max() <= 2 * len(rest) / (most - len(alone)) + 2 * slack


def test_a_money_column_of_mostly_zeros_has_zero_alone_and_nine_buckets_beyond() -> None:
    draw = np.random.default_rng(0)
    money = np.where(draw.random(20_000) < 0.9, 0, np.round(draw.lognormal(3, 1.5, 20_000), 2))
    found = bucket(money, 10)
    assert (found[money == 0] == 0).all()
    assert (money[found == 0] == 0).all()
    beyond = np.bincount(found)[1:]
    assert len(beyond) == 9
    np.testing.assert_allclose(beyond, np.count_nonzero(money) / 9, rtol=0.05)


def test_a_number_nobody_had_is_the_nearer_of_two_values_or_beside_one_that_is_alone() -> None:
    bounds = bounds_of(np.array([0.0, 1.0, 5.0]), np.array([50, 40, 10]), 10)
    np.testing.assert_array_equal(
        np.searchsorted(bounds, [-9, 0.4, 0.6, 2.9, 3.1, 9]), [0, 0, 1, 1, 2, 2]
    )
    money = np.concatenate([np.zeros(900), np.linspace(1, 100, 100)])
    bounds = bounds_of(*np.unique(money, return_counts=True), 10)
    np.testing.assert_array_equal(np.searchsorted(bounds, [-1, 0, 0.001, 1]), [0, 0, 1, 1])


def test_missing_numbers_are_counted_and_no_value() -> None:
    counts = Counts()
    counts.add(np.array([np.nan, 1, np.nan, 2, 1]))
    assert (counts.missing, counts.values.tolist(), counts.counts.tolist()) == (2, [1, 2], [2, 1])


@pytest.mark.parametrize("rows", [3, 1000])
def test_millions_of_distinct_numbers_need_no_more_memory(rows: int) -> None:
    counts = Counts()
    draw = np.random.default_rng(0)
    for _ in range(100):
        counts.add(draw.normal(size=rows))
        assert len(counts.values) <= 2 * buckets._MOST_COUNTED
