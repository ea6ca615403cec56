"""Reads files of tf.Examples as Arrow record batches, thousands of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

ROWS = 4096

_AHEAD = 2  # Blocks that are unpacked while another is worked on.


def read_blocks(
    files: Sequence[str], schema: schema_pb2.Schema | None = None, rows: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Yields blocks of rows; a column holds lists of values.

    Args:
        files: gzipped TFRecord files of tf.Examples.
        schema: names the columns to read; without it, a block has those that its examples have.
        rows: of a block; ROWS if None.
    """
    decoder = ExamplesToRecordBatchDecoder(None if schema is None else schema.SerializeToString())
    records = tf.data.TFRecordDataset(tf.constant(files, tf.string), "GZIP")
    for block in records.batch(rows or ROWS).prefetch(_AHEAD).as_numpy_iterator():
        yield decoder.DecodeBatch(block)
