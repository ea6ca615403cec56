"""The data at a glance, from the statistics that TensorFlow Data Validation left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.features import EVAL, TRAIN, Columns
from components.statistics.click_rate import click_rate

_SHOWN_VALUES = 6


@dataclass(frozen=True)
class Split:
    """A split of the data.

    Attributes:
        name: `train` or `eval`.
        rows: how many.
        click_rate: clicks by impressions; None where the label is not a number.
    """

    name: str
    rows: int
    click_rate: float | None


@dataclass(frozen=True)
class Value:
    """A value of a text attribute.

    Attributes:
        name: the value.
        shares: its share of the values, by split.
    """

    name: str
    shares: list[float]


@dataclass(frozen=True)
class Column:
    """A column of the data.

    Attributes:
        name: its name.
        role: what it is for.
        missing: share of the rows without a value, by split.
        distinct: distinct values in the first split; None of numbers.
        values: the most frequent values of an attribute that is text.
        range: least, median and greatest value of an attribute that is a number, by split.
    """

    name: str
    role: str
    missing: list[float]
    distinct: int | None
    values: list[Value]
    range: list[tuple[float, float, float]]


@dataclass(frozen=True)
class DataOverview:
    """The data at a glance.

    Attributes:
        splits: in the order in which shares and ranges name them.
        columns: in the order of the schema.
    """

    splits: list[Split]
    columns: list[Column]


def read_overview(statistics: Path, columns: Columns) -> DataOverview:
    """Reads the statistics artifact in a folder.

    Args:
        statistics: StatisticsGen's output.
        columns: which columns hold the text, the ids, the label and the attributes.
    """
    names = [name for name in (TRAIN, EVAL) if (statistics / f"Split-{name}").is_dir()]
    splits = [_read(statistics / f"Split-{name}" / "FeatureStats.pb") for name in names]
    features = [{".".join(each.path.step): each for each in split.features} for split in splits]
    return DataOverview(
        splits=[
            Split(
                name, split.num_examples, rate.rate if (rate := click_rate(seen, columns)) else None
            )
            for name, split, seen in zip(names, splits, features, strict=True)
        ],
        columns=[
            _column(name, columns, splits, [seen.get(name) for seen in features])
            for name in sorted({name for seen in features for name in seen})
        ],
    )


def _read(file: Path) -> Any:
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets[0]


def _click_rate(seen: Mapping[str, Any], columns: Columns) -> float | None:
    found = click_rate(seen, columns)
    return None if found is None else found.rate


def _column(name: str, columns: Columns, splits: list[Any], seen: list[Any]) -> Column:
    role = columns.role(name)
    is_text = any(each and each.WhichOneof("stats") == "string_stats" for each in seen)
    is_attribute = bool(columns.attributes([name]))
    return Column(
        name=name,
        role=role,
        missing=[
            _missing(each, split.num_examples) for each, split in zip(seen, splits, strict=True)
        ],
        distinct=seen[0].string_stats.unique if is_text and seen[0] else None,
        values=_values(seen) if is_text and is_attribute else [],
        range=[] if is_text or not is_attribute else list(_ranges(seen)),
    )


def _missing(feature: Any, rows: int) -> float:
    if feature is None or not rows:
        return 1.0
    return 1 - getattr(feature, feature.WhichOneof("stats")).common_stats.tot_num_values / rows


def _values(seen: list[Any]) -> list[Value]:
    shares = [_shares(each) for each in seen]
    return [
        Value(name, [share.get(name, 0.0) for share in shares])
        for name in list(shares[0])[:_SHOWN_VALUES]
    ]


def _shares(feature: Any) -> dict[str, float]:
    """Returns the share of the values by value, the most frequent first."""
    if feature is None:
        return {}
    buckets = feature.string_stats.rank_histogram.buckets
    total = sum(bucket.sample_count for bucket in buckets)
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def _ranges(seen: list[Any]) -> Iterator[tuple[float, float, float]]:
    for feature in seen:
        if feature is not None:
            numbers = feature.num_stats
            yield numbers.min, numbers.median, numbers.max
