"""The rows of a split by column, value and label: as example_gen counted them, or on Beam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tensorflow_metadata.proto.v0 import schema_pb2

from components.ad_text import joined
from components.beam_source import ExamplesInBlocks
from components.example_gen import column_counts, counts_file
from components.example_gen.column_counts import CLICKS, ROWS, ColumnCounts
from components.features import Columns
from components.merge_counts import MergeCounts
from components.outcomes import by_label, weights_of
from components.read_artifact import read_file
from components.value_counts import COUNT, LABEL, SQUARES, SUM, VALUE, OutcomeCounts
from components.write_artifact import write_table

_ROWS = 16384

_BINARY, _TEXT = pa.large_binary(), pa.large_string()


def count_rows(
    pipeline: beam.Pipeline,
    split: str,
    folder: str,
    schema: schema_pb2.Schema,
    names: Sequence[str],
    columns: Columns,
    work: str,
) -> None:
    """Adds to a Beam pipeline what counts the rows of a split, for `read_counts`.

    A worker holds a block of rows, and of each column the distinct values.

    Args:
        pipeline: The pipeline.
        split: The split's name.
        folder: Has its gzipped TFRecord files of tf.Examples.
        schema: Of the columns to read.
        names: The columns that are counted.
        columns: What the columns are for.
        work: A folder for the counts.
    """
    _ = (
        pipeline
        | f"Read[{split}]" >> ExamplesInBlocks([f"{folder}/*"], schema=schema).BeamSource(_ROWS)
        | f"Count[{split}]" >> beam.FlatMap(_count, names, columns)
        | f"Sum[{split}]" >> beam.CombinePerKey(MergeCounts(OutcomeCounts))
        | f"Write[{split}]"
        >> beam.MapTuple(lambda place, table: write_table(work, _file(split, place), table))
    )


def counted(
    examples: str,
    split: str,
    schema: schema_pb2.Schema,
    names: Sequence[str],
    columns: Columns,
) -> dict[str, pa.Table] | None:
    """Returns what `read_counts` does, of what example_gen has counted; None where it has not.

    Args:
        examples: Folder of the Examples artifact.
        split: The split's name.
        schema: Of the columns, which the examples fit.
        names: The columns that are counted.
        columns: What the columns are for.
    """
    counts = counts_file.read_counts(examples, split)
    # A column of counts by value does not tell weights, nor which texts are together.
    if counts is None or columns.is_counted or columns.weight or len(columns.ad_texts) > 1:
        return None
    texts = {each.name for each in schema.feature if each.type == schema_pb2.BYTES}
    return {
        name: _of_labels(counts, name, _BINARY if name in texts else pa.float64()) for name in names
    }


def _of_labels(counts: ColumnCounts, name: str, value_type: pa.DataType) -> pa.Table:
    """Returns the counts of a column as of `OutcomeCounts`."""
    table = counts.columns.get(name)
    if table is None:  # a column of the schema that the data lacks
        nothing = {column_counts.VALUE: pa.nulls(1)}
        table = pa.table(nothing | {ROWS: [counts.rows], CLICKS: [counts.clicks]})
    clicks, values = table[CLICKS], table[column_counts.VALUE].cast(value_type)
    tables = []
    for label, rows in ((1, clicks), (0, pc.subtract(table[ROWS], clicks))):
        sums = rows.cast(pa.float64())
        labels = pa.array(np.full(len(rows), label))
        outcomes = {VALUE: values, LABEL: labels, COUNT: rows, SUM: sums, SQUARES: sums}
        tables.append(pa.table(outcomes).filter(pc.greater(rows, 0)))
    return pa.concat_tables(tables)


def ad_text_name(columns: Columns) -> str:
    """Names the column of the ads' texts, joined where there are several."""
    return ", ".join(columns.ad_texts)


def read_counts(work: str, split: str, names: Sequence[str]) -> dict[str, pa.Table]:
    """Reads the counts of a split's columns, as of `OutcomeCounts`, once the pipeline has run."""
    return {
        name: pq.read_table(pa.BufferReader(read_file(work, _file(split, place))))
        for place, name in enumerate(names)
    }


def _file(split: str, place: int) -> str:
    return f"{split}/{place}.parquet"


def _count(
    block: pa.RecordBatch, names: Sequence[str], columns: Columns
) -> Iterator[tuple[int, OutcomeCounts]]:
    """Yields the counts of each column by its place in `names`."""
    rows = pa.table({name: _values(block[name]) for name in block.schema.names})
    rows = by_label(_with_ad_text(rows, columns), columns)
    labels, weights = rows[columns.label].to_numpy(), weights_of(rows)
    for place, name in enumerate(names):
        counts = OutcomeCounts()
        counts.add_outcomes(rows[name], labels, weights)
        yield place, counts


def _with_ad_text(rows: pa.Table, columns: Columns) -> pa.Table:
    name = ad_text_name(columns)
    if name in rows.column_names:
        return rows
    texts = {each: rows[each].cast(_BINARY).cast(_TEXT) for each in columns.ad_texts}
    return rows.append_column(name, joined(pa.table(texts), columns.ad_texts).cast(_BINARY))


def _values(column: pa.Array) -> pa.Array:
    """Turns lists of no or one value into values; no value is null."""
    present = pc.fill_null(pc.list_value_length(column), 0).to_numpy() > 0
    return column.flatten().take(pa.array(np.cumsum(present) - 1, mask=~present))
