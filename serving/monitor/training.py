"""What a version was trained on, as far as its push left it, and how a log differs from that."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.types_pb2 import DataType
from tensorflow_metadata.proto.v0.statistics_pb2 import (
    DatasetFeatureStatisticsList,
    FeatureNameStatistics,
    Histogram,
)
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.features import CLICK_MODEL, RECOMMENDER, TEXTS, Columns, K
from components.metrics import Floats
from components.serving_root import TRAINING_STATISTICS_FILE, Version
from serving.server import tfrecords
from serving.server.loading import WARMUP_FILE
from serving.server.predict import predict
from serving.server.saved_model import SavedModel

Flags = NDArray[np.bool_]


class TrainingData:
    """The rows that a version was trained on.

    Args:
        version: the version, on this machine.
        columns: which columns hold the text, the ids, the label and the attributes.
        names: the columns that the version takes.

    Attributes:
        attributes: what is known of each attribute; none where the push left no statistics.
    """

    def __init__(self, version: Version, columns: Columns, names: Iterable[str]) -> None:
        self._version = version
        features = _features(version.folder(CLICK_MODEL) / TRAINING_STATISTICS_FILE)
        self.attributes = {
            name: _attribute(*features[name])
            for name in columns.attributes(names)
            if name in features
        }
        self._text = features.get(columns.ad_texts[0]) if len(columns.ad_texts) == 1 else None

    @cached_property
    def texts(self) -> frozenset[str]:
        """The texts of the ads, those of several columns joined.

        Where the statistics do not list them all, those that the recommender has.
        """
        if self._text is not None and _is_whole(self._text[0]):
            return frozenset(_listed(self._text[0]))
        return frozenset(_recommended(self._version.folder(RECOMMENDER)))


class AttributeDrift:
    """How the values of an attribute in a log differ from those in training.

    Args:
        expected: the attribute in training.
    """

    def __init__(self, expected: _Texts | _Numbers) -> None:
        self._expected = expected
        self._counts = np.zeros(expected.bins + 1)
        self._rows = 0

    def add(self, column: pa.ChunkedArray) -> Flags | None:
        """Counts the values of a column [N].

        Returns:
            Which of them training lacks; None where that cannot be told.
        """
        self._rows += len(column)
        missing = pc.is_null(column)
        self._counts[-1] += pc.sum(missing).as_py() or 0
        counts, unseen = self._expected.count(column)
        self._counts[:-1] += counts
        return unseen

    def distance(self) -> float:
        """Returns the share of the rows that are elsewhere than in training, at least.

        Of text the L-infinity norm, the most by which the share of a value differs. Of numbers the
        most by which the share of the rows below a decile of training differs (Kolmogorov and
        Smirnov's distance at the deciles; where numbers repeat, 0.05 of it may be chance). A
        missing value is a value of its own.
        """
        return self._expected.distance(self._counts / max(self._rows, 1))


class _Texts:
    """A text attribute in training. Bins: its values, those that it lacks or does not list."""

    def __init__(self, feature: FeatureNameStatistics, rows: int) -> None:
        listed = _listed(feature)
        present = feature.string_stats.common_stats.tot_num_values
        self._values = pa.array(listed, pa.string())
        self._whole = _is_whole(feature)
        self.kept = tuple(listed)
        self.edges: tuple[float, ...] | None = None
        self.bins = len(listed) + 1
        others = present - sum(listed.values())
        self._shares = np.array([*listed.values(), others, rows - present]) / max(rows, 1)

    def count(self, column: pa.ChunkedArray) -> tuple[Floats, Flags | None]:
        """Returns the number of values in each bin, and which of the rows have an unseen one."""
        places = pc.index_in(column, value_set=self._values).combine_chunks()
        unseen = pc.and_(pc.is_valid(column), pc.is_null(places))
        counts = np.bincount(places.drop_null().to_numpy(), minlength=self.bins).astype(np.float64)
        counts[-1] = pc.sum(unseen).as_py() or 0
        flags = unseen.to_numpy() if self._whole else None
        return counts, flags

    def distance(self, shares: Floats) -> float:
        return float(np.abs(shares - self._shares).max())


class _Numbers:
    """A number in training. Bins: the distinct deciles, each with the rows that are not above."""

    def __init__(self, feature: FeatureNameStatistics, rows: int) -> None:
        deciles = _deciles(feature)
        self._deciles = np.unique(deciles)
        # The middle of the ranks of equal deciles.
        place = np.searchsorted(self._deciles, deciles)
        ranks = np.bincount(place, np.linspace(0, 1, len(deciles))) if len(deciles) else place
        self._below = ranks / np.maximum(np.bincount(place), 1)
        self._missing = 1 - feature.num_stats.common_stats.tot_num_values / max(rows, 1)
        self.bins = len(self._deciles)
        self.kept: tuple[str, ...] | None = None
        self.edges: tuple[float, ...] | None = (
            tuple(self._deciles[::2].tolist()) if self.bins > 2 else None
        )

    def count(self, column: pa.ChunkedArray) -> tuple[Floats, Flags | None]:
        """Returns how many values are below each decile, those equal to it counting half."""
        values = column.drop_null().to_numpy()
        below, not_above = (
            np.bincount(np.searchsorted(self._deciles, values, side), minlength=self.bins + 1)
            for side in ("right", "left")
        )
        return (np.cumsum(below) + np.cumsum(not_above))[:-1] / 2, None

    def distance(self, shares: Floats) -> float:
        present = 1 - shares[-1]
        apart = [abs(shares[-1] - self._missing)]
        if present > 0 and self.bins:
            apart += np.abs(shares[:-1] / present - self._below).tolist()
        return float(max(apart))


def _attribute(feature: FeatureNameStatistics, rows: int) -> _Texts | _Numbers:
    return (_Numbers if feature.HasField("num_stats") else _Texts)(feature, rows)


def _features(file: Path) -> dict[str, tuple[FeatureNameStatistics, int]]:
    """Returns the statistics of each column, with the number of rows; none without the file."""
    if not file.exists():
        return {}
    dataset = DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets[0]
    return {
        ".".join(feature.path.step): (feature, int(dataset.num_examples))
        for feature in dataset.features
    }


def _recommended(recommender: Path) -> list[str]:
    """Returns the texts of all ads of a recommender: as many as there are, for some user."""
    record = next(tfrecords.read(recommender / WARMUP_FILE))
    request = PredictionLog.FromString(record).predict_log.request
    all_of_them = TensorProto(dtype=DataType.DT_INT32, int_val=[np.iinfo(np.int32).max])
    request.inputs[K].CopyFrom(all_of_them)
    answer = predict(SavedModel(recommender, version=0), request)
    return [text.decode() for text in answer.outputs[TEXTS].string_val]


def _listed(feature: FeatureNameStatistics) -> dict[str, int]:
    """Returns how many rows have each value; of very many values the most frequent."""
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: int(bucket.sample_count) for bucket in buckets}


def _is_whole(feature: FeatureNameStatistics) -> bool:
    """Whether the statistics list every value."""
    stats = feature.string_stats
    return bool(stats.unique <= len(stats.rank_histogram.buckets))


def _deciles(feature: FeatureNameStatistics) -> Floats:
    """Returns the deciles of a number, from its least to its greatest value."""
    histograms = feature.num_stats.histograms
    buckets = [
        bucket for each in histograms if each.type == Histogram.QUANTILES for bucket in each.buckets
    ]
    lows = [bucket.low_value for bucket in buckets]
    return np.array(lows + [bucket.high_value for bucket in buckets[-1:]])
