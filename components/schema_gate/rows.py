"""What only the rows of the examples show: values that training lacks, and leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import compress
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.io import fileio

from components.ad_text import joined
from components.example_blocks import read_blocks
from components.features import EVAL, TRAIN, Columns
from components.findings import Finding
from components.metrics import Floats, Integers, auc
from components.outcomes import by_label, weights_of

_CONFIDENCE = 0.95  # that an AUC is at least what is judged
_QUANTILES = np.linspace(0, 1, 101)  # by which a number's values are told apart
_SHOWN = 3  # values of a column that are shown
_SHOWN_CHARACTERS = 40

_MISSING = 0  # the number of a missing value

_BINARY, _TEXT = pa.large_binary(), pa.large_string()


class Numbered(NamedTuple):
    """A column of both splits, equal values having the same number.

    Attributes:
        train: [N] numbers of the values of the train split, from 1; 0 is a missing value.
        eval: [M] those of the eval split.
        values: The value of each number.
    """

    train: Integers
    eval: Integers
    values: list[str]


class Rows:
    """The attributes, texts, ad ids and labels of both splits, read when first asked for.

    Args:
        folders: By split the folder of its gzipped TFRecord files of tf.Examples.
        schema: The schema, which the examples fit.
        columns: What the columns are for.
        separators: What stands between the values of a row, by multi-valued column.
    """

    def __init__(
        self,
        folders: Mapping[str, str],
        schema: schema_pb2.Schema,
        columns: Columns,
        separators: Mapping[str, str] | None = None,
    ) -> None:
        self._folders = folders
        self._separators = separators or {}
        self._columns = columns
        self._attributes = columns.attributes(feature.name for feature in schema.feature)
        names = {*self._attributes, *columns.ad_texts, columns.ad_id, *columns.outcome}
        features = [feature for feature in schema.feature if feature.name in names]
        self._schema = schema_pb2.Schema(feature=features)
        self._texts = {each.name for each in features if each.type == schema_pb2.BYTES}
        self._ad_text = ", ".join(columns.ad_texts)
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
        train_labels, eval_labels = (
            split[self._columns.label].to_numpy() for split in self._splits
        )
        train_weights, eval_weights = (weights_of(split) for split in self._splits)
        for name in [*self._attributes, self._columns.ad_id]:
            column = self._number(name)
            rates = _click_rates(column, train_labels, train_weights.sums)
            alone = auc(eval_labels, rates[column.eval], _CONFIDENCE, eval_weights)
            if alone.low is not None and alone.low > most:
                yield Finding(
                    split=EVAL,
                    column=name,
                    problem="predicts the click almost alone",
                    detail=f"AUC {alone.value:.3f} with nothing else, at most {most:g}",
                )

    def _unseen(self, name: str, problem: str, most: float) -> Iterator[Finding]:
        column = self._number(name)
        seen = np.bincount(column.train, minlength=len(column.values)) > 0
        if name in self._separators:
            seen = _all_parts_seen(column.values, seen, self._separators[name])
        seen[_MISSING] = True
        sums = weights_of(self._splits[1]).sums
        rows = np.bincount(column.eval, sums, len(column.values)) * ~seen
        share = rows.sum() / sums.sum()
        if share > most:
            unseen = np.argsort(-rows)[: np.count_nonzero(rows)]
            shown = [f"{column.values[number]:.{_SHOWN_CHARACTERS}}" for number in unseen[:_SHOWN]]
            more = ["…"] if len(unseen) > _SHOWN else []
            detail = f"{share:.1%} of the rows, at most {most:.1%}: {', '.join(shown + more)}"
            yield Finding(split=EVAL, column=name, problem=problem, detail=detail)

    @cached_property
    def _splits(self) -> tuple[pa.Table, pa.Table]:
        return self._read(self._folders[TRAIN]), self._read(self._folders[EVAL])

    def _read(self, folder: str) -> pa.Table:
        """Reads a split; a missing value is null, and each row has a label."""
        batches = [
            by_label(
                pa.table({name: _values(block[name]) for name in block.schema.names}),
                self._columns,
            )
            for block in read_blocks(sorted(fileio.glob(f"{folder}/*")), self._schema)
        ]
        rows = pa.concat_tables(batches)
        if self._ad_text in rows.column_names:
            return rows
        texts = {name: rows[name].cast(_BINARY).cast(_TEXT) for name in self._columns.ad_texts}
        whole = joined(pa.table(texts), self._columns.ad_texts)
        return rows.append_column(self._ad_text, whole.cast(_BINARY).dictionary_encode())

    def _number(self, name: str) -> Numbered:
        columns = [split[name] for split in self._splits]
        if name in self._texts:
            return _number_texts(*columns)
        return _number_quantiles(*(column.to_numpy() for column in columns))


def _values(column: pa.Array) -> pa.Array:
    """Turns lists of no or one value into values; no value is null, and text a dictionary."""
    present = pc.fill_null(pc.list_value_length(column), 0).to_numpy() > 0
    values = column.flatten().take(pa.array(np.cumsum(present) - 1, mask=~present))
    return values.dictionary_encode() if pa.types.is_large_binary(values.type) else values


def _all_parts_seen(
    values: Sequence[str], seen: NDArray[np.bool_], separator: str
) -> NDArray[np.bool_]:
    """Returns which values have only parts that the seen ones have, too [n] bool."""
    parts = [{part.strip() for part in value.split(separator)} for value in values]
    known = set().union({""}, *compress(parts, seen))
    return np.array([some <= known for some in parts])


def _number_texts(train: pa.ChunkedArray, evaluation: pa.ChunkedArray) -> Numbered:
    both = pa.chunked_array([*train.chunks, *evaluation.chunks]).unify_dictionaries()
    numbers = [pc.fill_null(chunk.indices, -1).to_numpy() + 1 for chunk in both.chunks]
    values = [value.decode() for value in both.chunk(0).dictionary.to_pylist()]
    together = np.concatenate(numbers)
    return Numbered(together[: len(train)], together[len(train) :], ["", *values])


def _number_quantiles(train: Floats, evaluation: Floats) -> Numbered:
    """Numbers the quantiles of the train split's values; NaN is a missing value."""
    present = train[~np.isnan(train)]
    edges = np.unique(np.quantile(present, _QUANTILES)) if len(present) else present

    def number(values: Floats) -> Integers:
        return np.where(np.isnan(values), _MISSING, np.searchsorted(edges, values) + 1)

    names = [f"up to {edge:g}" for edge in edges] + ["more"]
    return Numbered(number(train), number(evaluation), ["", *names])


def _click_rates(column: Numbered, labels: Integers, sums: Floats) -> Floats:
    """Returns the click rate in training of each value, and of all rows where it lacks a value."""
    shown = np.bincount(column.train, sums, len(column.values))
    clicks = np.bincount(column.train, sums * labels, len(column.values))
    overall = np.average(labels, weights=sums)
    return np.where(shown > 0, clicks / np.where(shown > 0, shown, 1), overall)
