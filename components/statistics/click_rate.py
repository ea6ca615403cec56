"""The click rate of some rows, from their statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.features import Columns


class ClickRate(NamedTuple):
    """Clicks by impressions; a row's weight does not count.

    Attributes:
        rate: between 0 and 1.
        standard_error: of the rate, as of independent impressions.
    """

    rate: float
    standard_error: float


def click_rate(
    features: Mapping[str, statistics_pb2.FeatureNameStatistics], columns: Columns
) -> ClickRate | None:
    """Returns the click rate; None where the columns that say it are not there, or no numbers.

    Args:
        features: TensorFlow Data Validation's statistics of each column.
        columns: which columns hold the text, the ids, the label and the attributes.
    """
    names = columns.outcome[1::-1] if columns.is_counted else [columns.label]
    found = [features[name] for name in names if name in features]
    if len(found) < len(names) or any(each.WhichOneof("stats") != "num_stats" for each in found):
        return None
    clicks, *impressions = (each.num_stats for each in found)
    shown = impressions[0].mean if impressions else 1.0
    rate = clicks.mean / shown if shown else 0.0
    count = clicks.common_stats.tot_num_values * shown
    return ClickRate(rate, math.sqrt(max(rate * (1 - rate), 0.0) / max(count, 1)))
