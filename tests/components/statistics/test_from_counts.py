"""Statistics from counted values are those of stock TFDV on the rows themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv

from components.example_gen.column_counts import ColumnCounter, ColumnCounts, put_together
from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT
from components.statistics.from_counts import statistics_of
from tests.analysis import write_examples

TYPES = {
    "att_city": TEXT,
    "att_age": INTEGER,
    "att_share": NUMBER,
    "att_late": NUMBER,
    "att_none": MISSING,
    "clicked": INTEGER,
}
PYTHON = {TEXT: str, INTEGER: int, NUMBER: float}
ROWS = 3_000


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Raw rows: as text, None where there is no value."""
    draw = np.random.default_rng(3)
    return [
        {
            "att_city": None if draw.random() < 0.1 else f"city {int(draw.zipf(1.5)) % 1500}",
            "att_age": None if draw.random() < 0.05 else str(draw.integers(0, 90)),
            "att_share": f"{draw.normal():.6f}",
            "att_late": f"{draw.random():.2f}" if number > ROWS // 2 else None,
            "att_none": None,
            "clicked": str(int(draw.random() < 0.2)),
        }
        for number in range(ROWS)
    ]


def counted(rows: list[dict[str, Any]], days: int) -> ColumnCounts:
    """The counts of rows that came in so many days, the last one first."""
    of_days = []
    for day in np.array_split(np.array(rows, dtype=object), days)[::-1]:
        counter = ColumnCounter()
        for block in np.array_split(day, 3):
            names = [name for name in TYPES if any(row[name] is not None for row in block)]
            counter.add(
                pa.table(
                    {
                        name: pa.array(
                            [None if row[name] is None else row[name].encode() for row in block],
                            pa.binary(),
                        )
                        for name in names
                    }
                )
            )
        of_days.append(ColumnCounts.from_bytes(counter.counts().to_bytes()))
    return put_together(of_days).converted(TYPES)


def stock(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    typed = [
        {name: None if value is None else PYTHON[TYPES[name]](value) for name, value in row.items()}
        for row in rows
    ]
    write_examples(folder / "rows.gz", typed)
    (dataset,) = tfdv.generate_statistics_from_tfrecord(str(folder / "rows.gz")).datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


def test_they_are_those_of_tfdv_but_for_the_error_of_its_quantiles(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    (dataset,) = statistics_of(counted(rows, days=5)).datasets
    assert dataset.num_examples == ROWS
    expected = stock(rows, tmp_path)
    assert {feature.path.step[0] for feature in dataset.features} == set(expected)
    for feature in dataset.features:
        other = expected[feature.path.step[0]]
        if feature.HasField("num_stats"):
            values = np.array(
                [float(row[feature.path.step[0]] or "nan") for row in rows], np.float32
            )
            near_the_quantiles(feature.num_stats, values[~np.isnan(values)])
            ours, theirs = feature.num_stats, other.num_stats
            assert ours.mean == pytest.approx(theirs.mean, rel=1e-12, abs=1e-15)
            assert ours.std_dev == pytest.approx(theirs.std_dev, rel=1e-12)
            for each in (ours, theirs):
                assert len(each.histograms) == 2
                for field in ("mean", "std_dev", "median", "histograms"):
                    each.ClearField(field)
        assert feature == other


def near_the_quantiles(statistics: Any, values: np.ndarray) -> None:
    """What TFDV promises of its quantiles, a hundredth of the rows."""
    ordered = np.sort(values)

    def share(value: float) -> tuple[float, float]:
        sides = (
            np.searchsorted(ordered, np.float32(value), "left"),
            np.searchsorted(ordered, np.float32(value), "right"),
        )
        return sides[0] / len(ordered), sides[1] / len(ordered)

    low, high = share(statistics.median)
    assert low - 0.011 <= 0.5 <= high + 0.011
    for place, bucket in enumerate(statistics.histograms[1].buckets, start=1):
        low, high = share(bucket.high_value)
        assert low - 0.011 <= place / 10 <= high + 0.011


def test_the_order_and_number_of_days_makes_no_difference(rows: list[dict[str, Any]]) -> None:
    once = statistics_of(counted(rows, days=1)).SerializeToString(deterministic=True)
    for days in (2, 7):
        again = statistics_of(counted(rows[::-1], days)).datasets[0]
        names = {feature.path.step[0]: feature for feature in again.features}
        (whole,) = statistics_of(counted(rows, days=1)).datasets
        assert all(names[feature.path.step[0]] == feature for feature in whole.features)
    assert once


def test_whole_numbers_written_in_several_ways_are_one_value() -> None:
    counter = ColumnCounter()
    counter.add(pa.table({"a": pa.array([b"7", b"007", b" 7", b"NA", None, b"8"], pa.binary())}))
    (feature,) = statistics_of(counter.counts().converted({"a": INTEGER})).datasets[0].features
    assert feature.num_stats.common_stats.num_missing == 2
    assert feature.num_stats.mean == 7.25
