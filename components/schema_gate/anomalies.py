"""What does not fit the curated schema, in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from components.features import Columns
from components.findings import Finding

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList

# TFX's names for them.
ANOMALIES_FILE = "SchemaDiff.pb"
STATISTICS_FILE = "FeatureStats.pb"
SCHEMA_FILE = "schema.pbtxt"

_Kind = anomalies_pb2.AnomalyInfo
_TOO_FEW = "missing in too many rows"
_PROBLEMS = {
    _Kind.ENUM_TYPE_UNEXPECTED_STRING_VALUES: "values that are not listed",
    _Kind.SCHEMA_MISSING_COLUMN: "no such column",
    _Kind.SCHEMA_NEW_COLUMN: "not in the schema",
    _Kind.UNEXPECTED_DATA_TYPE: "values of another type",
    _Kind.INT_TYPE_NOT_INT_STRING: "values of another type",
    _Kind.FLOAT_TYPE_STRING_NOT_FLOAT: "values of another type",
}
_TYPES = {"BYTES": "text", "STRING": "text", "INT": "whole numbers", "FLOAT": "numbers"}

# How missing values look to TensorFlow Data Validation, where it sees them at all.
_MISSING = (
    _Kind.FEATURE_TYPE_NOT_PRESENT,
    _Kind.FEATURE_TYPE_LOW_FRACTION_PRESENT,
    _Kind.FEATURE_TYPE_LOW_NUMBER_PRESENT,
    _Kind.INVALID_FEATURE_SHAPE,
)


def read_schema(artifact: str) -> schema_pb2.Schema:
    """Reads the schema of a Schema artifact."""
    return io_utils.SchemaReader().read(f"{artifact}/{SCHEMA_FILE}")


def read_statistics(artifact: str, split: str) -> Statistics:
    """Reads the statistics of a split of an ExampleStatistics artifact."""
    return Statistics.FromString(_read(artifact, split, STATISTICS_FILE))


def read_anomalies(artifact: str, split: str) -> anomalies_pb2.Anomalies:
    """Reads what ExampleValidator found in a split."""
    return anomalies_pb2.Anomalies.FromString(_read(artifact, split, ANOMALIES_FILE))


def misfits(
    split: str,
    anomalies: anomalies_pb2.Anomalies,
    statistics: Statistics,
    schema: schema_pb2.Schema,
    columns: Columns,
) -> list[Finding]:
    """Returns what of a split does not fit the schema.

    All stop the run but a new column that nothing reads.

    Args:
        split: The split's name.
        anomalies: What TensorFlow Data Validation found in it.
        statistics: What it was found in.
        schema: What is expected.
        columns: What the data's columns are for.
    """
    too_few = list(_missing_values(split, statistics.datasets[0], schema))
    said = {finding.column for finding in too_few}
    return [*_describe(split, anomalies, columns, said), *too_few]


def _describe(
    split: str, anomalies: anomalies_pb2.Anomalies, columns: Columns, missing: set[str]
) -> Iterator[Finding]:
    """Yields what was found, by column; of columns in `missing` not that values are missing."""
    if anomalies.data_missing:
        yield Finding(split=split, column="", problem="no rows", detail="", stops=True)
    if anomalies.HasField("dataset_anomaly_info"):
        for reason in anomalies.dataset_anomaly_info.reason:
            problem = reason.short_description.lower()
            yield Finding(
                split=split, column="", problem=problem, detail=reason.description, stops=True
            )
    for _, info in sorted(anomalies.anomaly_info.items()):
        column = ".".join(info.path.step)
        for reason in info.reason:
            if column in missing and reason.type in _MISSING:
                continue
            is_read = column in {*columns.required(), *columns.attributes([column])}
            yield Finding(
                split=split,
                column=column,
                problem=_PROBLEMS.get(reason.type, reason.short_description.lower()),
                detail=_detail(reason),
                stops=is_read or reason.type != _Kind.SCHEMA_NEW_COLUMN,
            )


def _missing_values(
    split: str,
    statistics: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
) -> Iterator[Finding]:
    """Yields the columns of a split that lack a value in more rows than the schema allows.

    A missing value is an empty list in the examples, as TFX's CsvExampleGen has it, and those are
    values of their own to TensorFlow Data Validation.
    """
    least = {feature.name: feature.presence.min_fraction for feature in schema.feature}
    for feature in statistics.features:
        column = ".".join(feature.path.step)
        share = share_present(feature, statistics.num_examples)
        if share < least.get(column, 0):
            detail = f"{1 - share:.2%} of the rows; the schema allows {1 - least[column]:.2%}"
            yield Finding(split=split, column=column, problem=_TOO_FEW, detail=detail, stops=True)


def share_present(feature: statistics_pb2.FeatureNameStatistics, rows: int) -> float:
    """Returns the share of the rows in which a column has a value; 1 of no rows."""
    values = getattr(feature, feature.WhichOneof("stats")).common_stats.tot_num_values
    return values / rows if rows else 1.0


def _read(artifact: str, split: str, name: str) -> bytes:
    with fileio.open(f"{artifact}/Split-{split}/{name}", "rb") as file:
        return file.read()


def _detail(reason: anomalies_pb2.AnomalyInfo.Reason) -> str:
    text = reason.description
    if reason.type == _Kind.ENUM_TYPE_UNEXPECTED_STRING_VALUES:
        return text.removeprefix("Examples contain values missing from the schema: ").strip(" .")
    if reason.type == _Kind.UNEXPECTED_DATA_TYPE:
        expected, actual = re.findall(r"(?:of type:|got) (\w+)", text)
        return f"{_TYPES.get(actual, actual)}; the schema says {_TYPES.get(expected, expected)}"
    if ", such as " in text:
        return text[text.index("such as") :].rstrip(".")
    if reason.type in (_Kind.SCHEMA_MISSING_COLUMN, _Kind.SCHEMA_NEW_COLUMN):
        return "all rows"
    return text
