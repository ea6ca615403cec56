"""What must be known of the splits before a model is measured: columns, slices and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa
import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from components.ad_text_tensors import joined_tensor
from components.evaluator.score import to_table, typed
from components.evaluator.slices import ColumnSummary, SlicePlan, SliceSpec, Values
from components.evaluator.tables import TEXTS_FILE, read_training_texts, with_training_rows
from components.example_blocks import read_blocks
from components.example_gen.column_counts import ROWS, VALUE, ColumnCounts
from components.example_gen.counts_file import read_counts
from components.features import EVAL, TRAIN, Columns
from components.outcomes import by_label
from components.run import Run
from components.value_counts import ValueCounts
from components.write_artifact import write_table

_ROWS = 8192


class Survey(BaseModel):
    """What the eval split holds.

    Attributes:
        rows: how many rows.
        types: of the columns that have a value somewhere, as Arrow names them.
        columns: what slicing needs to know of each.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    types: dict[str, str]
    columns: dict[str, ColumnSummary]

    def arrow_types(self) -> dict[str, pa.DataType]:
        """Returns the types of the columns."""
        return {name: pa.type_for_alias(data_type) for name, data_type in self.types.items()}


def survey(
    run: Run,
    examples: str,
    files: Mapping[str, Sequence[str]],
    columns: Columns,
    most: int,
    folder: str,
) -> Survey:
    """Finds what is in both splits: as example_gen has counted it, or in the rows.

    Args:
        run: does the work.
        examples: folder of the Examples artifact.
        files: of each split.
        columns: which columns hold the text, the ids, the label and the attributes.
        most: most slices of a column.
        folder: gets TEXTS_FILE, how many rows of the train split have each text.
    """
    whole = _counted(examples, columns) or _look_through(run, files, columns)
    write_table(folder, TEXTS_FILE, whole.texts.table())
    return Survey(
        rows=whole.rows,
        types={name: str(data_type) for name, data_type in whole.types.items()},
        columns={name: ColumnSummary.of(counts, most) for name, counts in whole.complete().items()},
    )


def count_combined(
    run: Run,
    files: Sequence[str],
    schema: pa.Schema,
    columns: Columns,
    plan: SlicePlan,
    folder: str,
) -> Counter[tuple[SliceSpec, Values]]:
    """Counts the rows of the slices that several columns make together.

    Args:
        run: does the work.
        files: of the eval split.
        schema: of its rows.
        columns: which columns hold the text, the ids, the label and the attributes.
        plan: with the specs.
        folder: has TEXTS_FILE.
    """
    count = partial(_count, schema=schema, columns=columns, plan=plan, folder=folder)
    return sum(run(count, files), Counter())


def _count(
    file: str, *, schema: pa.Schema, columns: Columns, plan: SlicePlan, folder: str
) -> Counter[tuple[SliceSpec, Values]]:
    counts: Counter[tuple[SliceSpec, Values]] = Counter()
    for block in read_blocks([file]):
        rows = by_label(typed(to_table(block), schema), columns)
        counts += plan.count(with_training_rows(rows, read_training_texts(folder), columns))
    return counts


def _counted(examples: str, columns: Columns) -> _Found | None:
    """Returns what example_gen has counted; None where that does not tell."""
    train, evaluation = (read_counts(examples, split) for split in (TRAIN, EVAL))
    # Which texts are together, counts by column do not tell.
    if train is None or evaluation is None or len(columns.ad_texts) > 1:
        return None
    return _Found.of(train.columns[columns.ad_texts[0]], evaluation)


def _look_through(run: Run, files: Mapping[str, Sequence[str]], columns: Columns) -> _Found:
    whole = _Found()
    items = [(split, file) for split, some in files.items() for file in some]
    for found in run(partial(_look_through_file, columns=columns), items):
        whole.merge(found)
    return whole


def _look_through_file(split_and_file: tuple[str, str], columns: Columns) -> _Found:
    split, file = split_and_file
    found = _Found()
    if split == TRAIN:
        found.texts = count_texts([file], columns.ad_texts)
    else:
        for block in read_blocks([file]):
            found.add(to_table(block))
    return found


class _Found:
    """What there is: rows, types and counts of the eval split, texts of the train split."""

    def __init__(self) -> None:
        self.texts = ValueCounts()
        self.rows = 0
        self.types: dict[str, pa.DataType] = {}
        self._counts: dict[str, ValueCounts] = {}
        self._rows_with: Counter[str] = Counter()

    @staticmethod
    def of(texts: pa.Table, evaluation: ColumnCounts) -> _Found:
        """Returns what was counted: the texts of the train split, and the eval split."""
        found = _Found()
        _add_counted(found.texts, texts)
        found.rows = evaluation.rows
        for name, table in evaluation.columns.items():
            if table[VALUE].null_count < len(table):
                found.types[name] = _as_read(table[VALUE].type)
            _add_counted(found._counts.setdefault(name, ValueCounts()), table)
            found._rows_with[name] = evaluation.rows
        return found

    def add(self, table: pa.Table) -> None:
        self.rows += len(table)
        for name, data_type in zip(table.column_names, table.schema.types, strict=True):
            if not pa.types.is_null(data_type):
                self.types[name] = data_type
            self._counts.setdefault(name, ValueCounts()).add(table[name])
            self._rows_with[name] += len(table)

    def merge(self, other: _Found) -> None:
        self.texts.merge(other.texts)
        self.rows += other.rows
        self.types |= other.types
        self._rows_with += other._rows_with
        for name, counts in other._counts.items():
            self._counts.setdefault(name, ValueCounts()).merge(counts)

    def complete(self) -> dict[str, ValueCounts]:
        """Returns the counts, with the rows of blocks that do not have a column at all."""
        for name, counts in self._counts.items():
            counts.add(pa.nulls(self.rows - self._rows_with[name]))
        return self._counts


def _add_counted(counts: ValueCounts, table: pa.Table) -> None:
    values = table[VALUE].combine_chunks()
    counts.add_counted(values.cast(_as_read(values.type)), table[ROWS].combine_chunks())


def _as_read(data_type: pa.DataType) -> pa.DataType:
    """Returns the type that `to_table` gives to values of a type."""
    return pa.string() if pa.types.is_binary(data_type) else data_type


def count_texts(files: Sequence[str], columns: Sequence[str]) -> ValueCounts:
    """Counts the texts of gzipped TFRecord files of examples.

    TensorFlow parses so few features several times as fast as a block of Arrow is made of it.
    """
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in columns}
    counts = ValueCounts()
    records = tf.data.TFRecordDataset(tf.constant(files, tf.string), "GZIP").batch(_ROWS)
    for examples in records.prefetch(2):
        rows = tf.io.parse_example(examples, spec)
        texts, _, rows_of = tf.unique_with_counts(joined_tensor([rows[name] for name in columns]))
        counts.add_counted(
            pa.array(texts.numpy(), pa.binary()).cast(pa.string()), pa.array(rows_of.numpy())
        )
    return counts
