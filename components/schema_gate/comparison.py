"""Compares two sets of rows by their statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.features import Columns
from components.findings import Finding
from components.schema_gate.anomalies import Statistics
from components.statistics.click_rate import click_rate

_L_INFTY = anomalies_pb2.DriftSkewInfo.Measurement.L_INFTY

# Standard errors that two click rates must be apart, or chance explains their difference.
_BEYOND_CHANCE = 3.0


@dataclass(frozen=True)
class Comparison:
    """Rows, and others that they should be like.

    Attributes:
        kind: Drift is over time, skew between the splits of one input.
        split: Where the rows are from.
        rows: Their statistics.
        others: The statistics of the others.
        name: What the others are called.
    """

    kind: Literal["drift", "skew"]
    split: str
    rows: Statistics
    others: Statistics
    name: str

    def distributions(
        self, schema: schema_pb2.Schema, columns: Columns, most: float
    ) -> Iterator[Finding]:
        """Yields the attributes whose values are distributed otherwise.

        TensorFlow Data Validation measures the distance: of text the L-infinity norm, which is the
        most that the share of one value differs, and of numbers the Jensen-Shannon divergence.

        Args:
            schema: The curated schema; a drift_comparator or skew_comparator in it comes first.
            columns: What the columns are for.
            most: Most distance of attributes for which the schema has none.
        """
        schema = _with_comparators(schema, self.kind, columns, most)
        control = "previous_statistics" if self.kind == "drift" else "serving_statistics"
        found = tfdv.validate_statistics(self.rows, schema, **{control: self.others})
        for info in found.drift_skew_info:
            for measured in getattr(info, f"{self.kind}_measurements"):
                if measured.value > measured.threshold:
                    yield self._distribution(".".join(info.path.step), measured)

    def click_rates(self, columns: Columns, most: float) -> Iterator[Finding]:
        """Yields a finding if the click rates differ by more than chance and more than `most`.

        Args:
            columns: What the columns are for.
            most: Most difference, as a share of the others' click rate.
        """
        rows, others = (click_rate(_features(each), columns) for each in (self.rows, self.others))
        if rows is None or others is None:
            return  # the others had another label
        chance = _BEYOND_CHANCE * math.hypot(rows.standard_error, others.standard_error)
        if abs(rows.rate - others.rate) > max(most * others.rate, chance):
            yield self._finding(
                columns.clicks or columns.label,
                f"another click rate than {self.name}",
                f"{rows.rate:.2%} of the impressions clicked; {others.rate:.2%} of those",
            )

    def _distribution(
        self, column: str, measured: anomalies_pb2.DriftSkewInfo.Measurement
    ) -> Finding:
        rows, others = (_features(each)[column] for each in (self.rows, self.others))
        if measured.type == _L_INFTY:
            norm, detail = "L-infinity norm", _value_that_differs_most(rows, others)
        else:
            norm, detail = "Jensen-Shannon divergence", _medians(rows, others)
        return self._finding(
            column,
            f"distributed otherwise than {self.name}",
            f"{detail} ({norm} {measured.value:.3f}, at most {measured.threshold:g})",
        )

    def _finding(self, column: str, problem: str, detail: str) -> Finding:
        return Finding(split=self.split, column=column, problem=problem, detail=detail)


def _with_comparators(
    schema: schema_pb2.Schema, kind: str, columns: Columns, most: float
) -> schema_pb2.Schema:
    """Returns a copy of the schema in which every attribute has a comparator."""
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    names = columns.attributes(feature.name for feature in copy.feature)
    for feature in copy.feature:
        if feature.name in names and not feature.HasField(f"{kind}_comparator"):
            comparator = getattr(feature, f"{kind}_comparator")
            if feature.type == schema_pb2.BYTES:
                comparator.infinity_norm.threshold = most
            else:
                divergence = comparator.jensen_shannon_divergence
                divergence.threshold = most
                # Bins of equal width would tell two samples of one long-tailed number apart.
                divergence.source.type = schema_pb2.HistogramSelection.QUANTILES
    return copy


def _features(statistics: Statistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Returns the statistics of each column."""
    return {".".join(each.path.step): each for each in statistics.datasets[0].features}


def _value_that_differs_most(
    rows: statistics_pb2.FeatureNameStatistics, others: statistics_pb2.FeatureNameStatistics
) -> str:
    ours, theirs = _shares(rows), _shares(others)
    value = max({**theirs, **ours}, key=lambda each: abs(ours.get(each, 0) - theirs.get(each, 0)))
    return f'"{value}" in {ours.get(value, 0):.1%} of the values; {theirs.get(value, 0):.1%} there'


def _shares(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float]:
    """Returns the share of the values by value; of very many values the most frequent."""
    buckets = feature.string_stats.rank_histogram.buckets
    total = sum(bucket.sample_count for bucket in buckets)
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def _medians(
    rows: statistics_pb2.FeatureNameStatistics, others: statistics_pb2.FeatureNameStatistics
) -> str:
    return f"the median is {rows.num_stats.median:g}; {others.num_stats.median:g} there"
