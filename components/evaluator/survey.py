"""What must be known of the splits before a model is measured: columns, slices and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import apache_beam as beam
import apache_beam.io.fileio
import pyarrow as pa
import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from components.ad_text_tensors import joined_tensor
from components.beam_source import ExamplesInBlocks
from components.evaluator.score import to_table, typed
from components.evaluator.slices import ColumnSummary, SlicePlan, SliceSpec, Values
from components.evaluator.tables import TEXTS_FILE, read_training_texts, with_training_rows
from components.features import Columns
from components.merge_counts import MergeCounts
from components.outcomes import by_label
from components.read_artifact import read_file
from components.value_counts import ValueCounts
from components.write_artifact import write_file, write_table

_ROWS = 8192
_SURVEY_FILE = "survey.json"
_COMBINED_FILE = "combined.json"

MakePipeline = Callable[[], AbstractContextManager[beam.Pipeline]]


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
    make_pipeline: MakePipeline,
    train: str,
    evaluation: str,
    columns: Columns,
    most: int,
    folder: str,
) -> Survey:
    """Looks through both splits.

    Args:
        make_pipeline: makes the Beam pipeline to do it with.
        train: pattern of the train split's files.
        evaluation: of the eval split's.
        columns: which columns hold the text, the ids, the label and the attributes.
        most: most slices of a column.
        folder: gets TEXTS_FILE, how many rows of the train split have each text.
    """
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "ReadEval" >> ExamplesInBlocks([evaluation]).BeamSource()
            | "Survey" >> beam.CombineGlobally(_SurveyFn(most))
            | "WriteSurvey" >> beam.Map(lambda found: write_file(folder, _SURVEY_FILE, found))
        )
        _ = (
            pipeline
            | "TrainFiles" >> beam.Create([train])
            | beam.io.fileio.MatchAll()
            | beam.Map(lambda file: count_texts([file.path], columns.ad_texts))
            | "SumTexts" >> beam.CombineGlobally(MergeCounts())
            | "WriteTexts" >> beam.Map(lambda counts: write_table(folder, TEXTS_FILE, counts))
        )
    return Survey.model_validate_json(read_file(folder, _SURVEY_FILE))


def count_combined(
    make_pipeline: MakePipeline,
    evaluation: str,
    schema: pa.Schema,
    columns: Columns,
    plan: SlicePlan,
    folder: str,
) -> Counter[tuple[SliceSpec, Values]]:
    """Counts the rows of the slices that several columns make together.

    Args:
        make_pipeline: makes the Beam pipeline to do it with.
        evaluation: pattern of the eval split's files.
        schema: of its rows.
        columns: which columns hold the text, the ids, the label and the attributes.
        plan: with the specs.
        folder: has TEXTS_FILE.
    """

    def count(block: pa.RecordBatch) -> Counter[tuple[SliceSpec, Values]]:
        rows = by_label(typed(to_table(block), schema), columns)
        return plan.count(with_training_rows(rows, read_training_texts(folder), columns))

    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Read" >> ExamplesInBlocks([evaluation]).BeamSource()
            | "Count" >> beam.Map(count)
            | "Sum" >> beam.CombineGlobally(lambda counts: sum(counts, Counter()))
            | "Write"
            >> beam.Map(lambda counts: write_file(folder, _COMBINED_FILE, _Combined.dump(counts)))
        )
    return _Combined.load(read_file(folder, _COMBINED_FILE))


class _Combined(BaseModel):
    """Counts of slices as a file holds them."""

    counts: list[tuple[SliceSpec, Values, int]]

    @staticmethod
    def dump(counts: Counter[tuple[SliceSpec, Values]]) -> bytes:
        listed = [(spec, values, count) for (spec, values), count in counts.items()]
        return _Combined(counts=listed).model_dump_json().encode()

    @staticmethod
    def load(content: bytes) -> Counter[tuple[SliceSpec, Values]]:
        found = _Combined.model_validate_json(content).counts
        return Counter({(spec, values): count for spec, values, count in found})


class _SurveyFn(beam.CombineFn):
    """Makes a `Survey`, as JSON, of blocks of examples."""

    def __init__(self, most: int) -> None:
        self._most = most

    def create_accumulator(self) -> _Found:
        return _Found()

    def add_input(self, found: _Found, block: pa.RecordBatch) -> _Found:
        found.add(to_table(block))
        return found

    def merge_accumulators(self, parts: Iterable[_Found]) -> _Found:
        merged = _Found()
        for part in parts:
            merged.merge(part)
        return merged

    def extract_output(self, found: _Found) -> bytes:
        columns = {
            name: ColumnSummary.of(counts, self._most) for name, counts in found.complete().items()
        }
        types = {name: str(data_type) for name, data_type in found.types.items()}
        return Survey(rows=found.rows, types=types, columns=columns).model_dump_json().encode()


class _Found:
    """What some blocks hold."""

    def __init__(self) -> None:
        self.rows = 0
        self.types: dict[str, pa.DataType] = {}
        self._counts: dict[str, ValueCounts] = {}
        self._rows_with: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        self.rows += len(table)
        for name, data_type in zip(table.column_names, table.schema.types, strict=True):
            if not pa.types.is_null(data_type):
                self.types[name] = data_type
            self._counts.setdefault(name, ValueCounts()).add(table[name])
            self._rows_with[name] += len(table)

    def merge(self, other: _Found) -> None:
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


def count_texts(files: Sequence[str], columns: Sequence[str]) -> ValueCounts:
    """Counts the texts of gzipped TFRecord files of examples.

    TensorFlow parses so few features several times as fast as a block of Arrow is made of it.
    """

    def count(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = {name: tf.io.FixedLenFeature([], tf.string) for name in columns}
        rows = tf.io.parse_example(examples, spec)
        texts, _, counts = tf.unique_with_counts(joined_tensor([rows[name] for name in columns]))
        return texts, counts

    counts = ValueCounts()
    records = tf.data.TFRecordDataset(tf.constant(files, tf.string), "GZIP").batch(_ROWS)
    for texts, rows in records.map(count).prefetch(2).as_numpy_iterator():
        counts.add_counted(pa.array(texts, pa.binary()).cast(pa.string()), pa.array(rows))
    return counts
