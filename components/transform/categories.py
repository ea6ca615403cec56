"""Columns of one-hot vectors for strings: a value each, most frequent first, up to a cap."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.transform import notes
from components.transform.counted import Counted, analyze, in_rows
from components.transform.counting import CountDistinct, most_frequent
from components.transform.layout import Part, reserve
from components.transform.lookup import lookup_rows, sort_by_fingerprint

# Most values of a row of a multi-valued column that count, the most frequent ones.
MOST_VALUES = 100

# No key begins with it: it keeps the table from being empty.
_NO_KEY = b"\xff"

_NOWHERE = np.iinfo(np.int64).max  # sorts behind every position


def encode(
    strings: dict[str, tf.Tensor],
    max_categories: int,
    separators: Mapping[str, str],
    notes_folder: str | None,
    counts: Counted | None = None,
) -> Part:
    """Returns where the ones of string columns are, within `preprocessing_fn`.

    A row of a multi-valued column has a one for each of its values that is known, in whatever order
    and however often they are there.

    Args:
        strings: [B] string per column; "" is missing.
        max_categories: most values of a column that get a position.
        separators: of the values of a row, by multi-valued column.
        notes_folder: gets what is worth knowing of the columns.
        counts: what is counted already; None to go over the rows.
    """
    names = sorted(strings, key=lambda name: (name in separators, name))
    singles = len(strings) - len(separators)
    keys = [
        _key_lists(number, strings[name], separators[name])
        if name in separators
        else _key(number, strings[name])
        for number, name in enumerate(names)
    ]
    flat = [
        each.flat_values if name in separators else each
        for name, each in zip(names, keys, strict=True)
    ]
    find_categories = FindCategories(
        tuple(names), max_categories, notes_folder, separators=separators
    )
    found, layout, width = _positions(
        tf.concat(flat, axis=0), find_categories, "categories", counts
    )
    found = tf.split(found, [tf.size(each) for each in flat])

    positions, unknown = [], []
    if singles:
        kept = tf.where(layout[:singles] >= 0)[:, 0]
        unknown.append(tf.gather(layout, kept))
        one_each = tf.gather(tf.stack(found[:singles], axis=1), kept, axis=1)
        positions.append(tf.where(one_each >= 0, one_each, unknown[0]))
    for number in range(singles, len(names)):
        lists = keys[number].with_flat_values(found[number])
        most = _most_values(lists, names[number], separators[names[number]], counts)
        slots = tf.where(layout[number] >= 0, tf.minimum(most, MOST_VALUES), 0)
        positions.append(_in_slots(lists, layout[number], slots))
        unknown.append(tf.where(tf.range(slots) == 0, layout[number], -1))
    return Part(tf.concat(positions, axis=1), tf.concat(unknown, axis=0), width)


def encode_id(values: tf.Tensor, most: int, column: str, counts: Counted | None = None) -> Part:
    """Returns where the one of each id [B] string is, within `preprocessing_fn`.

    A missing id is one not seen in training: that has learned what those are like, and may never
    have met a missing one.

    Args:
        values: the ids; "" is missing.
        most: most ids that get a position, the most frequent ones.
        column: what they are of.
        counts: what is counted already; None to go over the rows.
    """
    find_ids = FindCategories((column,), most, None, ids=True)
    found, layout, width = _positions(_key(0, values), find_ids, f"ids_{column}", counts)
    return Part(tf.where(found >= 0, found, layout)[:, None], layout, width)


def _positions(
    keys: tf.Tensor, find_categories: FindCategories, name: str, counts: Counted | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns each key's position or -1 [n], each column's for unknown values [A], the width []."""
    categories, fingerprints, columns, layout, width = analyze(
        counts,
        inputs=[keys],
        analyzer=find_categories,
        output_dtypes=[tf.string, tf.int64, tf.int64, tf.int64, tf.int64],
        output_shapes=[[None], [None], [None], [len(find_categories.columns)], [1]],
        name=name,
    )
    row = lookup_rows(keys, categories, fingerprints)
    return tf.where(row >= 0, tf.gather(columns, tf.maximum(row, 0)), -1), layout, width[0]


def _most_values(
    lists: tf.RaggedTensor, column: str, separator: str, counts: Counted | None
) -> tf.Tensor:
    """Returns how many values a row of a multi-valued column has at most, [] int64."""
    if counts is None:
        return tft.max(lists.row_lengths(), name=f"most_values_{column}")
    distinct, _ = in_rows(counts.strings(column))
    with tf.init_scope():
        lengths = _key_lists(0, tf.constant(distinct), separator).row_lengths()
        most = int(tf.reduce_max(lengths))
    return tf.constant(most, tf.int64)


def _key(column: int, values: tf.Tensor) -> tf.Tensor:
    """Returns what tells apart the values of several columns; a missing value's ends with "="."""
    return tf.strings.join([f"{column}=", values])


def _key_lists(column: int, values: tf.Tensor, separator: str) -> tf.RaggedTensor:
    """Returns the keys of the values of each row [B, None], at least one a row."""
    between = re.escape(separator)
    values = tf.strings.regex_replace(
        values, rf"\s*({between}\s*)+", separator.replace("\\", r"\\")
    )
    values = tf.strings.regex_replace(values, rf"^\s*({between})?|({between})?\s*$", "")
    lists = tf.strings.split(values, separator)
    return lists.with_flat_values(_key(column, lists.flat_values))


def _in_slots(lists: tf.RaggedTensor, unknown: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """Returns lists of positions, -1 for none, as sets in `slots` slots or as many as are needed.

    Where none is listed, the first slot holds `unknown`. With no slots there are none.
    """
    positions = tf.where(lists.flat_values >= 0, lists.flat_values, _NOWHERE)
    dense = lists.with_flat_values(positions).to_tensor(_NOWHERE)
    dense = tf.pad(dense, [[0, 0], [0, slots]], constant_values=_NOWHERE)
    dense = tf.sort(dense, axis=1)
    repeated = dense[:, 1:] == dense[:, :-1]
    dense = tf.concat([dense[:, :1], tf.where(repeated, _NOWHERE, dense[:, 1:])], axis=1)
    most = tf.minimum(tf.maximum(lists.bounding_shape()[1], slots), MOST_VALUES)
    dense = tf.sort(dense, axis=1)[:, : tf.where(slots > 0, most, 0)]
    first = tf.where(dense[:, :1] == _NOWHERE, unknown, dense[:, :1])
    dense = tf.concat([first, dense[:, 1:]], axis=1)
    return tf.where(dense == _NOWHERE, tf.constant(-1, tf.int64), dense)


class _Tables(NamedTuple):
    """What the graph needs of A columns.

    Attributes:
        categories: the keys that have a position, in the order of their fingerprints [n].
        fingerprints: those [n].
        columns: those positions [n].
        layout: each column's position for unknown values, -1 where it is left out [A].
        width: how many positions there are [1].
    """

    categories: np.ndarray
    fingerprints: np.ndarray
    columns: np.ndarray
    layout: np.ndarray
    width: np.ndarray


class FindCategories(beam.PTransform):
    """Finds the positions of the values of columns from batches of (keys [n],): see `_Tables`.

    Args:
        columns: their names, by the number in a key.
        max_categories: most values of a column that get a position, most frequent first.
        notes_folder: gets which columns are constant.
        separators: of the values of a row, by multi-valued column.
        ids: whether the values are ids: there is always a position for them, and none for missing.
    """

    def __init__(
        self,
        columns: tuple[str, ...],
        max_categories: int,
        notes_folder: str | None,
        *,
        separators: Mapping[str, str] = MappingProxyType({}),
        ids: bool = False,
    ) -> None:
        super().__init__()
        self.columns = columns
        self._separators = dict(separators)
        self._max_categories = max_categories
        self._notes_folder = notes_folder
        self._ids = ids

    def expand(self, keys: beam.PCollection) -> list[beam.PCollection]:
        tables = keys | beam.CombineGlobally(CountDistinct()) | beam.Map(self._tables)
        return [tables | f"Output{i}" >> beam.Map(lambda table, i=i: table[i]) for i in range(5)]

    def tables_of(self, counts: Counted) -> _Tables:
        """Returns the tables of what is counted already."""
        keys: Counter[bytes] = Counter()
        for number, name in enumerate(self.columns):
            values, rows = in_rows(counts.strings(name))
            if name not in self._separators:
                for value, n in zip(values, rows.tolist(), strict=True):
                    keys[b"%d=%s" % (number, value)] += n
                continue
            lists = _key_lists(number, tf.constant(values), self._separators[name])
            flat = lists.flat_values.numpy().tolist()
            for key, n in zip(flat, np.repeat(rows, lists.row_lengths()).tolist(), strict=True):
                keys[key] += n
        return self._tables(keys)

    def _tables(self, counts: Counter[bytes]) -> _Tables:
        of_column: dict[int, Counter[bytes]] = defaultdict(Counter)
        for key, rows in counts.items():
            column, _, value = key.partition(b"=")
            of_column[int(column)][value] = rows
        positions = {_NO_KEY: -1}
        layout = np.full(len(self.columns), -1)
        width = 0
        constants = []
        for number, name in enumerate(self.columns):
            values = of_column[number]
            if len(values) == 1 and not self._ids:
                constants.append(notes.constant(name, next(iter(values)).decode()))
                continue
            missing_rows = values.pop(b"", 0)
            place = reserve(width, 0 if self._ids else missing_rows)
            if place.missing != place.unknown:
                positions[b"%d=" % number] = place.missing
            known = most_frequent(values, self._max_categories)
            positions |= {
                b"%d=%s" % (number, value): at for at, value in enumerate(known, place.first)
            }
            layout[number] = place.unknown
            width = place.first + len(known)
        notes.write(self._notes_folder, constants)
        fingerprints, order = sort_by_fingerprint(list(positions))
        return _Tables(
            np.array(list(positions), dtype=object)[order],
            fingerprints,
            np.array(list(positions.values()))[order],
            layout,
            np.array([width]),
        )
