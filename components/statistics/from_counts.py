"""TensorFlow Data Validation's statistics, from how often each value of each column occurs.

They are what TFDV computes row by row, field by field, but for one thing: TFDV approximates
quantiles to a hundredth of the rows (the median and the histograms of numbers), by an amount that
depends on the order of the rows. Here its sketch gets each value once with its number of rows, so
it is at least as close to the true ones, and the same whatever the order.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from tensorflow_data_validation.types import FeaturePath
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_data_validation.utils.top_k_uniques_stats_util import (
    FeatureValueCount,
    make_feature_stats_proto_topk_uniques,
)
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl import sketches

from components.example_gen.column_counts import ColumnCounts
from components.example_gen.csv_types import INTEGER, NUMBER

# What tfdv.StatsOptions has where nothing is set.
_EPSILON = 0.01
_BUCKETS = 10
_QUANTILES_A_BUCKET = 100
_TOP_VALUES = 20
_RANKS = 1000

_Feature: TypeAlias = statistics_pb2.FeatureNameStatistics


def statistics_of(counts: ColumnCounts) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns the statistics of all rows that were counted.

    Args:
        counts: Of the values as tf.Examples hold them, at most one a row.
    """
    features = [_feature(name, table, counts.rows) for name, table in counts.columns.items()]
    dataset = statistics_pb2.DatasetFeatureStatistics(num_examples=counts.rows, features=features)
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])


def _feature(name: str, table: pa.Table, rows: int) -> _Feature:
    there = table.filter(table["value"].is_valid())
    values, numbers = there["value"].combine_chunks(), there["rows"].to_numpy()
    path = FeaturePath([name])
    common = _common(int(numbers.sum()), rows)
    if table["value"].type in (INTEGER, NUMBER):
        kind = _Feature.INT if table["value"].type == INTEGER else _Feature.FLOAT
        feature = _Feature(type=kind, path=path.to_proto())
        if len(numbers):
            feature.num_stats.CopyFrom(_numeric(values.to_numpy(), numbers))
        feature.num_stats.common_stats.CopyFrom(common)
        return feature
    feature = _Feature(type=_Feature.STRING, path=path.to_proto())
    if len(numbers):
        pairs = map(FeatureValueCount, values.to_pylist(), numbers.tolist())
        feature = make_feature_stats_proto_topk_uniques(
            path, _TOP_VALUES, _RANKS, len(numbers), list(pairs)
        )
        feature.type = _Feature.STRING
        lengths = np.array([len(value) for value in values.to_pylist()])
        feature.string_stats.avg_length = (lengths * numbers).sum() / numbers.sum()
    feature.string_stats.common_stats.CopyFrom(common)
    return feature


def _common(there: int, rows: int) -> statistics_pb2.CommonStatistics:
    common = statistics_pb2.CommonStatistics(
        num_non_missing=there, num_missing=rows - there, tot_num_values=there
    )
    if there:
        common.min_num_values = common.max_num_values = 1
        common.avg_num_values = 1
        quantiles = _quantiles(np.array([1]), np.array([there]), _BUCKETS)
        common.num_values_histogram.CopyFrom(
            quantiles_util.generate_quantiles_histogram(*quantiles)
        )
    return common


def _numeric(values: np.ndarray, rows: np.ndarray) -> statistics_pb2.NumericStatistics:
    """Returns the statistics of distinct numbers [n] in so many rows each [n]."""
    mean = float(np.average(values.astype(np.float64), weights=rows))
    variance = np.average((values.astype(np.float64) - mean) ** 2, weights=rows)
    quantiles, cumulative = _quantiles(values, rows, _QUANTILES_A_BUCKET * _BUCKETS)
    low, high = float(values.min()), float(values.max())
    equal_width = quantiles_util.generate_equi_width_histogram(
        quantiles, cumulative, low, high, _BUCKETS, 0
    )
    equal_rows = quantiles_util.generate_quantiles_histogram(
        *quantiles_util.rebin_quantiles(quantiles, cumulative, _QUANTILES_A_BUCKET)
    )
    return statistics_pb2.NumericStatistics(
        mean=mean,
        std_dev=math.sqrt(variance),
        num_zeros=int(rows[values == 0].sum()),
        min=low,
        max=high,
        median=float(quantiles_util.find_median(quantiles)),
        histograms=[equal_width, equal_rows],
    )


def _quantiles(values: np.ndarray, rows: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bounds of buckets with like numbers of rows, and the rows up to each."""
    sketch = sketches.QuantilesSketch(eps=_EPSILON, max_num_elements=1 << 32, num_streams=1)
    sketch.AddValues(pa.array(values, pa.float64()), pa.array(rows, pa.float64()))
    found = sketch.GetQuantilesAndCumulativeWeights(buckets)
    bounds, cumulative = (each.flatten().to_numpy(zero_copy_only=False) for each in found)
    return bounds, cumulative
