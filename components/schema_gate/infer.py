"""Drafts a schema from a CSV, and takes reviewed changes of the data into a schema.

A schema is curated: a person decides what it says. What is written here is a proposal to them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.errors import InputError
from components.example_gen.csv_reader import check_input
from components.example_gen.examples import examples_by_split
from components.example_gen.parts import find_parts
from components.example_gen.settings import ReadingSettings
from components.example_gen.spans import find_input
from components.features import Columns
from components.schema_gate.anomalies import STATISTICS_FILE, Statistics, share_present

# An attribute with more values than these gets no list of them.
MOST_LISTED_VALUES = 100

# What a draft allows beyond what it saw: of values that are not listed 1% of the rows, and missing
# values up to the next multiple of 5%.
LISTED_SHARE = 0.99
PRESENCE_STEPS = 20

# How far a share in a split may be by chance from that in all rows; farther once in 700 times.
_DEVIATIONS = 3

_GONE = (
    anomalies_pb2.AnomalyInfo.SCHEMA_MISSING_COLUMN,
    anomalies_pb2.AnomalyInfo.UNEXPECTED_DATA_TYPE,
)

# An entry of a schema as this module prints it, with the comments right above it.
_NESTED = re.compile(r"(?<=^  )\w+ \{\n(?:    .*\n)*  \}$", re.M)
_LINE_BREAK = re.compile(r"\n *")
_ENTRY = re.compile(r"((?:^#.*\n)*)(^(?:feature|string_domain) \{\n(?:.*\n)*?\}(?:\n|$))", re.M)


def infer_schema(csv: Path, settings: ReadingSettings) -> str:
    """Drafts the schema of a CSV input, as the text of a schema.pbtxt.

    Attributes may be missing, and string attributes have their values listed; text, ids and label
    must be there in every row.

    Args:
        csv: A file, a folder of files, or a folder with `train/` and `eval/`.
        settings: How it is read.

    Raises:
        InputError: The input cannot be used.
    """
    columns, layout = settings.columns, find_input(csv, settings)
    settings = settings.for_layout(layout)
    summary = check_input(csv, settings)
    parts, whole = defaultdict(list), []
    for part in chain.from_iterable(find_parts(layout.files()).values()):
        for examples in examples_by_split(part, layout.base, settings, summary):
            for split, some in examples.items():
                if some:
                    batch = ExamplesToRecordBatchDecoder().DecodeBatch(some)
                    parts[split].append(_count(batch))
                    whole.append(_count(batch))  # what is counted can be put together only once
    splits = [_put_together(some) for some in parts.values()]
    seen = _put_together(whole)
    schema = tfdv.infer_schema(
        seen, infer_feature_shape=False, max_string_domain_size=MOST_LISTED_VALUES
    )
    fewest = min(counts.rows for counts in summary.splits.values())
    for feature in schema.feature:
        present = _least_by_chance(_share_present([seen], feature.name), fewest)
        _set_expectations(feature, columns, min(present, _share_present(splits, feature.name)))
        if feature.name in settings.multi_valued:
            feature.ClearField("domain_info")  # a list of what its values occur together with
    _drop_unused_domains(schema)
    from_where = f"# Drafted from {summary.rows:,} rows of {csv.name}: to be reviewed.\n\n"
    # What TensorFlow Data Validation makes of all rows need not fit each split.
    return accept(from_where + _print(schema), splits, columns)


def accept(schema_text: str, splits: Sequence[Statistics], columns: Columns) -> str:
    """Returns the schema changed so that it allows what the statistics of the splits show.

    New values, columns and types, more missing values and columns that are gone are all taken in.
    Entries that do not change keep their place, text and comments.

    Args:
        schema_text: The text of a schema.pbtxt.
        splits: Statistics of each split of the data.
        columns: What the data's columns are for.

    Raises:
        InputError: `schema_text` is not a schema.
    """
    schema = parse(schema_text)
    for split in splits:
        _drop_features(schema, _gone(schema, split))
    for feature in schema.feature:
        present = _share_present(splits, feature.name)
        if present < feature.presence.min_fraction:
            _allow_missing(feature, present)
    known = {feature.name for feature in schema.feature}
    for split in splits:
        schema = tfdv.update_schema(schema, split, max_string_domain_size=MOST_LISTED_VALUES)
    for feature in schema.feature:
        if feature.name not in known:
            _set_expectations(feature, columns, _share_present(splits, feature.name))
    _drop_unused_domains(schema)
    return _merge(schema_text, schema)


def read_statistics(artifact: Path) -> list[Statistics]:
    """Reads StatisticsGen's output, the statistics of each split in a folder of its own.

    Raises:
        InputError: There are none in the folder `artifact`.
    """
    files = sorted(artifact.glob(f"Split-*/{STATISTICS_FILE}"))
    if not files:
        raise InputError(
            f"{artifact}: no statistics in it; expected what a run's StatisticsGen left"
        )
    return [tfdv.load_stats_binary(str(file)) for file in files]


def parse(schema_text: str) -> schema_pb2.Schema:
    """Parses the text of a schema.pbtxt.

    Raises:
        InputError: It is not a schema.
    """
    try:
        return text_format.Parse(schema_text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise InputError(f"not a schema, at line and column {error}") from None


def statistics(examples: Iterable[pa.RecordBatch]) -> Statistics:
    """Returns TensorFlow Data Validation's statistics of decoded tf.Examples."""
    return _put_together([_count(batch) for batch in examples])


def _count(examples: pa.RecordBatch) -> list[Any]:
    """Returns what TensorFlow Data Validation counts in a batch."""
    options = tfdv.StatsOptions()
    generators = stats_impl.get_generators(options, in_memory=True)
    return stats_impl.generate_partial_statistics_in_memory(examples, options, generators)


def _put_together(parts: Iterable[list[Any]]) -> Statistics:
    """Returns the statistics of several batches; see `_count`."""
    generators = stats_impl.get_generators(tfdv.StatsOptions(), in_memory=True)
    merged = [
        generator.merge_accumulators(accumulators)
        for generator, accumulators in zip(generators, zip(*parts, strict=True), strict=True)
    ]
    return stats_impl.extract_statistics_output(merged, generators)


def _least_by_chance(share: float, rows: int) -> float:
    """Returns the least share that so few rows may have where all rows have `share`."""
    return max(0.0, share - _DEVIATIONS * math.sqrt(share * (1 - share) / max(1, rows)))


def _set_expectations(feature: schema_pb2.Feature, columns: Columns, present: float) -> None:
    """Sets what a draft asks of a column, by what the column is for.

    Args:
        feature: What is to be changed.
        columns: What columns are for.
        present: Share of the rows in which the column has a value.
    """
    feature.value_count.min, feature.value_count.max = 0, 1
    if columns.attributes([feature.name]):
        _allow_missing(feature, present)
        if feature.domain:
            feature.distribution_constraints.min_domain_mass = LISTED_SHARE
        return
    feature.ClearField("domain_info")
    feature.ClearField("presence")
    if feature.name in columns.required():
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.shape.dim.add(size=1)
    if feature.name == columns.label:
        feature.int_domain.min, feature.int_domain.max = 0, 1


def _allow_missing(feature: schema_pb2.Feature, present: float) -> None:
    """Asks of a column a value in a share of the rows below `present`, a multiple of 5%."""
    steps = math.floor(present * PRESENCE_STEPS + 1e-6)  # 0.95 is to stay 0.95
    feature.presence.min_fraction = min(steps, PRESENCE_STEPS - 1) / PRESENCE_STEPS
    feature.presence.min_count = int(present > 0)


def _share_present(splits: Sequence[Statistics], column: str) -> float:
    """The least share of the rows, over the splits, in which a column has a value."""
    return min(_share_present_in(split.datasets[0], column) for split in splits)


def _share_present_in(dataset: statistics_pb2.DatasetFeatureStatistics, column: str) -> float:
    for feature in dataset.features:
        if list(feature.path.step) == [column]:
            return share_present(feature, dataset.num_examples)
    return 0.0


def _gone(schema: schema_pb2.Schema, split: Statistics) -> set[str]:
    """The columns that a split lacks, or has with values of another type."""
    anomalies = tfdv.validate_statistics(split, schema).anomaly_info.values()
    return {
        info.path.step[0]
        for info in anomalies
        if any(reason.type in _GONE for reason in info.reason)
    }


def _drop_features(schema: schema_pb2.Schema, names: set[str]) -> None:
    for feature in [feature for feature in schema.feature if feature.name in names]:
        schema.feature.remove(feature)


def _drop_unused_domains(schema: schema_pb2.Schema) -> None:
    used = {feature.domain for feature in schema.feature}
    for domain in [domain for domain in schema.string_domain if domain.name not in used]:
        schema.string_domain.remove(domain)


def _entries(schema: schema_pb2.Schema) -> dict[tuple[str, str], schema_pb2.Schema]:
    """Every feature and every string domain as a schema of its own, by kind and name."""
    features = {
        ("feature", each.name): schema_pb2.Schema(feature=[each]) for each in schema.feature
    }
    domains = {
        ("string_domain", each.name): schema_pb2.Schema(string_domain=[each])
        for each in schema.string_domain
    }
    return {**features, **domains}


def _merge(text: str, schema: schema_pb2.Schema) -> str:
    """Returns `text` with the entries that `schema` changes replaced, and its new ones added.

    A text that is laid out in another way than here is printed anew, without its comments.
    """
    entries = _entries(schema)
    found = set()

    def replace(match: re.Match[str]) -> str:
        above, entry = match.groups()
        ((key, old),) = _entries(parse(entry)).items()
        found.add(key)
        if key not in entries:
            return ""
        return above + (entry if entries[key] == old else _print(entries[key]))

    merged = _ENTRY.sub(replace, text)
    added = "".join("\n" + _print(entry) for key, entry in entries.items() if key not in found)
    whole = len(found) == len(_entries(parse(text)))
    return merged + added if whole else _print(schema)


def _print(schema: schema_pb2.Schema) -> str:
    """Prints a schema with one line for each field of an entry, as the curated ones have it."""
    text = text_format.MessageToString(schema, as_utf8=True)
    text = _NESTED.sub(lambda nested: _LINE_BREAK.sub(" ", nested.group()), text)
    return text.replace("\n}\n", "\n}\n\n").removesuffix("\n")
