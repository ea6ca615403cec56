"""Examples as a source of Beam: an element is a block of thousands of rows, not one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import apache_beam as beam
import apache_beam.io.fileio
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import TFExampleRecord

from components.example_blocks import ROWS, read_blocks


class ExamplesInBlocks(TFExampleRecord):
    """Reads gzipped TFRecord files of tf.Examples; a step of Python a block, not a row.

    Args:
        file_pattern: Of the files.
        schema: Names the columns to read.
        rows_a_file: How many rows of each file to read, the first ones; None for all.
    """

    def __init__(
        self,
        file_pattern: Any,
        schema: schema_pb2.Schema | None = None,
        rows_a_file: int | None = None,
    ) -> None:
        super().__init__(file_pattern, schema=schema)
        self._rows_a_file = rows_a_file

    def BeamSource(self, batch_size: int | None = None) -> beam.PTransform:
        """Returns a source of record batches of `batch_size` rows, or as many as is good."""

        @beam.ptransform_fn
        def read(pipeline: beam.Pipeline) -> beam.PCollection:
            return (
                pipeline
                | beam.Create(self._file_pattern)
                | beam.io.fileio.MatchAll()
                | beam.Map(lambda file: file.path)
                | beam.Reshuffle()
                | beam.ParDo(_ReadBlocks(self._schema, batch_size or ROWS, self._rows_a_file))
            )

        return read()

    def _ProjectImpl(self, tensor_names: list[str]) -> ExamplesInBlocks:
        projected = super()._ProjectImpl(tensor_names)
        return ExamplesInBlocks(self._file_pattern, projected._schema, self._rows_a_file)


class _ReadBlocks(beam.DoFn):
    def __init__(
        self, schema: schema_pb2.Schema | None, rows: int, rows_a_file: int | None
    ) -> None:
        self._schema = schema
        self._rows = min(rows, rows_a_file or rows)
        self._blocks = rows_a_file and -(-rows_a_file // self._rows)

    def process(self, file: str) -> Iterator[pa.RecordBatch]:
        return islice(read_blocks([file], self._schema, self._rows), self._blocks)
