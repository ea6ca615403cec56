"""Rows as example_gen writes them, and the gate with everything that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Channel, standard_artifacts
from tfx.types.artifact_utils import encode_split_names
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_gen.column_counts import ColumnCounter
from components.example_gen.counts_file import write_counts
from components.example_gen.csv_types import TEXT, Types, narrowest_type
from components.example_gen.examples import serialize
from components.example_gen.outcomes import are_clicked
from components.features import Columns
from components.findings import Finding, read_notes
from components.schema_gate.anomalies import (
    ANOMALIES_FILE,
    SCHEMA_FILE,
    STATISTICS_FILE,
    Statistics,
)
from components.schema_gate.component import SchemaGate
from components.schema_gate.infer import parse, statistics
from components.schema_gate.settings import DataCheckSettings

_SHARDS = 4

TableLike: TypeAlias = pa.Table | Mapping[str, Sequence[Any]]


def examples_of(rows: TableLike) -> list[bytes]:
    """The tf.Examples that example_gen makes of rows; None is a missing value."""
    return serialize(*csv_of(rows))


def csv_of(rows: TableLike) -> tuple[pa.Table, Types]:
    """The rows as they stand in a CSV file, and the types of their columns."""
    table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
    csv = pa.table({name: table[name].cast(TEXT).cast(pa.binary()) for name in table.column_names})
    types = {
        name: TEXT if name in ("text", "message_id", "user") else narrowest_type(csv[name])
        for name in csv.column_names
    }
    return csv, types


@pytest.fixture(scope="session")
def statistics_of() -> Callable[[TableLike], Statistics]:
    """Computes the statistics of the tf.Examples that example_gen makes of rows."""

    def compute(rows: TableLike) -> Statistics:
        return statistics([ExamplesToRecordBatchDecoder().DecodeBatch(examples_of(rows))])

    return compute


@dataclass(frozen=True)
class Gate:
    """Runs the gate as a pipeline does, after the nodes that come before it.

    Attributes:
        folder: Where everything is.
        is_counted: Whether example_gen counts what it writes.
    """

    folder: Path
    is_counted: bool = False

    @property
    def serving(self) -> Path:
        return self.folder / "serving"

    def write_examples(self, **splits: TableLike) -> dict[str, str]:
        """Writes rows as example_gen does; returns the folder of each split."""
        folders = {name: str(self._split("examples", name)) for name in splits}
        for name, rows in splits.items():
            examples = examples_of(rows)
            if self.is_counted:
                csv, types = csv_of(rows)
                counter = ColumnCounter()
                counter.add(csv, are_clicked(csv, Columns()))
                counts = counter.counts()
                assert counts is not None
                write_counts(str(self.folder / "examples"), name, counts.converted(types))
            for shard in range(_SHARDS):
                file = f"{folders[name]}/data_tfrecord-{shard}.gz"
                with tf.io.TFRecordWriter(file, "GZIP") as writer:
                    for example in examples[shard::_SHARDS]:
                        writer.write(example)
        return folders

    def run(
        self,
        schema: str,
        columns: Columns | None = None,
        checks: DataCheckSettings | None = None,
        **splits: TableLike,
    ) -> list[Finding]:
        """Runs the gate on the rows of the splits; returns its notes."""
        decoder = ExamplesToRecordBatchDecoder()
        self.write_examples(**splits)
        for name, rows in splits.items():
            seen = statistics([decoder.DecodeBatch(examples_of(rows))])
            found = tfdv.validate_statistics(seen, parse(schema))
            for output, file, message in (
                ("statistics", STATISTICS_FILE, seen),
                ("anomalies", ANOMALIES_FILE, found),
            ):
                (self._split(output, name) / file).write_bytes(message.SerializeToString())
        (self.folder / "schema").mkdir(exist_ok=True)
        (self.folder / "schema" / SCHEMA_FILE).write_text(schema, encoding="utf-8")
        return self._execute(list(splits), columns or Columns(), checks or DataCheckSettings())

    def _split(self, output: str, name: str) -> Path:
        folder = self.folder / output / f"Split-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _execute(
        self, splits: list[str], columns: Columns, checks: DataCheckSettings
    ) -> list[Finding]:
        types = {
            "examples": standard_artifacts.Examples,
            "statistics": standard_artifacts.ExampleStatistics,
            "anomalies": standard_artifacts.ExampleAnomalies,
            "schema": standard_artifacts.Schema,
        }
        gate = SchemaGate(
            **{name: Channel(type=its_type) for name, its_type in types.items()},
            columns=columns.model_dump_json(),
            multi_valued="{}",
            checks=checks.model_dump_json(),
            serving_root=str(self.serving),
            push_cache_key="",
        )
        artifacts = {name: its_type() for name, its_type in types.items()}
        for name, artifact in artifacts.items():
            artifact.uri = str(self.folder / name)
            if name != "schema":
                artifact.split_names = encode_split_names(splits)
        notes = standard_artifacts.String()
        notes.uri = str(self.folder / "notes")
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=[
                "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
            ]
        )
        gate.executor_spec.executor_class(context).Do(
            {name: [artifact] for name, artifact in artifacts.items()},
            {"notes": [notes]},
            dict(gate.exec_properties),
        )
        return read_notes(Path(notes.uri))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")
