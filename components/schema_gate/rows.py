"""What only the rows of the examples show: values that training lacks, and leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from heapq import nsmallest
from itertools import compress
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.io import fileio

from components.features import EVAL, TRAIN, Columns
from components.findings import Finding
from components.metrics import Floats, Integers, Weights, auc
from components.schema_gate.row_counts import ad_text_name, count_rows, counted, read_counts
from components.value_counts import LABEL, SQUARES, SUM, VALUE, quantiles_of

_CONFIDENCE = 0.95  # that an AUC is at least what is judged
_QUANTILES = np.linspace(0, 1, 101).tolist()  # by which a number's values are told apart
_SHOWN = 3  # values of a column that are shown
_SHOWN_CHARACTERS = 40

_MISSING = 0  # the number of a missing value


class Numbered(NamedTuple):
    """The rows of a split, those of one value and label as one.

    Attributes:
        values: [N] numbers of the values, from 1; 0 is a missing value.
        labels: [N] 1 for a click, else 0.
        weights: How much each stands for.
    """

    values: Integers
    labels: Integers
    weights: Weights


class Column(NamedTuple):
    """A column of both splits, equal values having the same number.

    Attributes:
        train: The rows of the train split.
        eval: Those of the eval split.
        names: The value of each number.
    """

    train: Numbered
    eval: Numbered
    names: list[str]


class Rows:
    """The attributes, texts, ad ids and labels of both splits, counted when first asked for.

    Args:
        pipeline: The Beam pipeline that counts them where example_gen has not.
        examples: Folder of the Examples artifact.
        folders: By split the folder of its gzipped TFRecord files of tf.Examples.
        schema: The schema, which the examples fit.
        columns: What the columns are for.
        work: A folder for the counts, which every worker reaches; it is removed again.
        separators: What stands between the values of a row, by multi-valued column.
    """

    def __init__(
        self,
        pipeline: beam.Pipeline,
        examples: str,
        folders: Mapping[str, str],
        schema: schema_pb2.Schema,
        columns: Columns,
        work: str,
        separators: Mapping[str, str] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._examples = examples
        self._folders = folders
        self._work = work
        self._separators = separators or {}
        self._columns = columns
        self._attributes = columns.attributes(feature.name for feature in schema.feature)
        self._ad_text = ad_text_name(columns)
        self._names = list(dict.fromkeys([*self._attributes, self._ad_text, columns.ad_id]))
        features = [
            feature
            for feature in schema.feature
            if feature.name in {*self._names, *columns.ad_texts, *columns.outcome}
        ]
        self._schema = schema_pb2.Schema(feature=features)
        self._texts = {each.name for each in features if each.type == schema_pb2.BYTES}
        self._texts.add(self._ad_text)

    def unseen_values(self, most: float) -> Iterator[Finding]:
        """Yields the text attributes of which many eval rows have a value that training lacks.

        Args:
            most: Most share of the eval rows.
        """
        for name in self._attributes:
            if name in self._texts:
                yield from self._unseen(name, "values that training lacks", most)

    def cold_ads(self, most: float) -> Iterator[Finding]:
        """Yields a finding if many eval rows show a text that training lacks.

        Args:
            most: Most share of the eval rows.
        """
        yield from self._unseen(self._ad_text, "ads that training lacks", most)

    def leaks(self, most: float) -> Iterator[Finding]:
        """Yields the columns that predict the click almost alone.

        A value's score is its click rate in training, numbers being sorted into quantiles first;
        the eval split tells how well that predicts.

        Args:
            most: Most AUC that a column may have with certainty.
        """
        for name in [*self._attributes, self._columns.ad_id]:
            column = self._column(name)
            rates = _click_rates(column)
            labels, weights = column.eval.labels, column.eval.weights
            alone = auc(labels, rates[column.eval.values], _CONFIDENCE, weights)
            if alone.low is not None and alone.low > most:
                yield Finding(
                    split=EVAL,
                    column=name,
                    problem="predicts the click almost alone",
                    detail=f"AUC {alone.value:.3f} with nothing else, at most {most:g}",
                )

    def _unseen(self, name: str, problem: str, most: float) -> Iterator[Finding]:
        column = self._column(name)
        seen = np.bincount(column.train.values, minlength=len(column.names)) > 0
        if name in self._separators:
            seen = _all_parts_seen(column.names, seen, self._separators[name])
        seen[_MISSING] = True
        sums = column.eval.weights.sums
        rows = np.bincount(column.eval.values, sums, len(column.names)) * ~seen
        share = rows.sum() / sums.sum()
        if share > most:
            unseen = np.flatnonzero(rows)
            # By name where equally frequent: threads count, and the first is now one, now another.
            most_frequent = nsmallest(
                _SHOWN, unseen, key=lambda number: (-rows[number], column.names[number])
            )
            shown = [f"{column.names[number]:.{_SHOWN_CHARACTERS}}" for number in most_frequent]
            more = ["…"] if len(unseen) > _SHOWN else []
            detail = f"{share:.1%} of the rows, at most {most:.1%}: {', '.join(shown + more)}"
            yield Finding(split=EVAL, column=name, problem=problem, detail=detail)

    @cached_property
    def _counts(self) -> Mapping[str, Mapping[str, pa.Table]]:
        """The counts of each column, by split and name."""
        found = {
            split: counted(self._examples, split, self._schema, self._names, self._columns)
            for split in (TRAIN, EVAL)
        }
        there = {split: counts for split, counts in found.items() if counts is not None}
        return there if len(there) == len(found) else self._count()

    def _count(self) -> Mapping[str, Mapping[str, pa.Table]]:
        with self._pipeline as pipeline:
            for split in (TRAIN, EVAL):
                count_rows(
                    pipeline,
                    split,
                    self._folders[split],
                    self._schema,
                    self._names,
                    self._columns,
                    self._work,
                )
        counts = {split: read_counts(self._work, split, self._names) for split in (TRAIN, EVAL)}
        fileio.rmtree(self._work)
        return counts

    def _column(self, name: str) -> Column:
        number = _number_texts if name in self._texts else _number_quantiles
        return number(*(self._counts[split][name] for split in (TRAIN, EVAL)))


def _all_parts_seen(
    values: Sequence[str], seen: NDArray[np.bool_], separator: str
) -> NDArray[np.bool_]:
    """Returns which values have only parts that the seen ones have, too [n] bool."""
    parts = [{part.strip() for part in value.split(separator)} for value in values]
    known = set().union({""}, *compress(parts, seen))
    return np.array([some <= known for some in parts])


def _number_texts(train: pa.Table, evaluation: pa.Table) -> Column:
    both = pa.chunked_array([*train[VALUE].chunks, *evaluation[VALUE].chunks]).combine_chunks()
    encoded = both.dictionary_encode()
    numbers = pc.fill_null(encoded.indices, -1).to_numpy() + 1
    names = [value.decode() for value in encoded.dictionary.to_pylist()]
    return Column(
        _numbered(train, numbers[: len(train)]),
        _numbered(evaluation, numbers[len(train) :]),
        ["", *names],
    )


def _number_quantiles(train: pa.Table, evaluation: pa.Table) -> Column:
    """Numbers the quantiles of the train split's values."""
    is_missing = train[VALUE].null_count == len(train)
    edges = np.zeros(0) if is_missing else np.unique(quantiles_of(train, _QUANTILES))

    def number(table: pa.Table) -> Numbered:
        values = table[VALUE].cast(pa.float64()).to_numpy()
        places = np.searchsorted(edges, values) + 1
        return _numbered(table, np.where(np.isnan(values), _MISSING, places))

    names = [f"up to {edge:g}" for edge in edges] + ["more"]
    return Column(number(train), number(evaluation), ["", *names])


def _numbered(table: pa.Table, values: Integers) -> Numbered:
    weights = Weights(table[SUM].to_numpy(), table[SQUARES].to_numpy())
    return Numbered(values, table[LABEL].to_numpy(), weights)


def _click_rates(column: Column) -> Floats:
    """Returns the click rate in training of each value, and of all rows where it lacks a value."""
    values, labels, (sums, _) = column.train
    shown = np.bincount(values, sums, len(column.names))
    clicks = np.bincount(values, sums * labels, len(column.names))
    overall = np.average(labels, weights=sums)
    return np.where(shown > 0, clicks / np.where(shown > 0, shown, 1), overall)
