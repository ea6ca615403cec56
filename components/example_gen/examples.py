"""From columns of a CSV to files of tf.Examples, without a step of Python a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx.dsl.io import fileio
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen.blocks import Array, column_of
from components.example_gen.check import InputSummary
from components.example_gen.column_counts import ColumnCounter
from components.example_gen.csv_types import MARKS, MISSING, TEXT, Types, convert
from components.example_gen.input_files import read_blocks
from components.example_gen.layout import WHOLE, name_under
from components.example_gen.outcomes import are_clicked
from components.example_gen.parts import Part
from components.example_gen.settings import ReadingSettings
from components.example_gen.shards import SplitWriter, shard_name
from components.example_gen.split import make_splitter
from components.features import EVAL, TRAIN, Columns
from components.run import Run, in_threads

_MOST_COUNTED = 1 << 19  # distinct values of a column; statistics and Transform then read the rows

# Examples.features and the only field of Features have the same tag: number 1, length-delimited.
_TAG = b"\n"


def write_examples(
    parts: Mapping[str, Sequence[Part]],
    base: str,
    settings: ReadingSettings,
    summary: InputSummary,
    folders: Mapping[str, str],
    run: Run = in_threads,
    *,
    count_values: bool = False,
) -> dict[str, ColumnCounter]:
    """Writes the rows of an input as gzipped TFRecord files of Examples.

    Args:
        parts: Of the input, by the split that they come in.
        base: The folder that its files are under.
        settings: How they are read and split.
        summary: What `check_files` found in them.
        folders: Where the files go, by split.
        run: Does the work.
        count_values: Whether to count the values of the rows.

    Returns:
        What counted the values of the rows, by split; nothing if they are not counted.
    """
    for folder in folders.values():
        fileio.makedirs(folder)
    write = partial(
        _write_part, base=base, settings=settings, summary=summary, count_values=count_values
    )
    counters = _counters(folders if count_values else ())
    for of_part in run(write, list(_with_shards(parts, folders))):
        for split, counter in of_part.items():
            counters[split].merge(counter)
    return counters


def _with_shards(
    parts: Mapping[str, Sequence[Part]], folders: Mapping[str, str]
) -> Iterator[tuple[Part, dict[str, list[str]]]]:
    """Yields each part with the files that it is written to, by split."""
    for split, of_split in parts.items():
        count, number = sum(part.shards for part in of_split), 0
        for part in of_split:
            names = [shard_name(each, count) for each in range(number, number + part.shards)]
            number += part.shards
            into = folders if split == WHOLE else {split: folders[split]}
            yield part, {to: [f"{place}/{name}" for name in names] for to, place in into.items()}


def _write_part(
    part_and_shards: tuple[Part, Mapping[str, Sequence[str]]],
    *,
    base: str,
    settings: ReadingSettings,
    summary: InputSummary,
    count_values: bool,
) -> dict[str, ColumnCounter]:
    part, shards = part_and_shards
    counters = _counters(shards if count_values else ())
    with closing(SplitWriter(shards)) as writer:
        for examples in examples_by_split(part, base, settings, summary, counters):
            writer.write(examples)
    return counters


def _counters(splits: Iterable[str]) -> dict[str, ColumnCounter]:
    return {split: ColumnCounter(_MOST_COUNTED) for split in splits}


def examples_by_split(
    part: Part,
    base: str,
    settings: ReadingSettings,
    summary: InputSummary,
    counters: Mapping[str, ColumnCounter] | None = None,
) -> Iterator[dict[str, list[bytes]]]:
    """Yields the serialized Examples of each block of rows, by the split that they end in.

    Args:
        part: Of the input.
        base: The folder that its files are under.
        settings: How they are read and split.
        summary: What `check_files` found in the whole input.
        counters: Count the values of the rows, by split; None to count none.
    """
    splitter = make_splitter(settings, summary.boundary)
    for piece in part.pieces:
        for block in read_blocks(piece.file, settings, settings.required(), where=piece.where):
            rows_of = {part.split: np.ones(len(block.good), bool)}
            if part.split == WHOLE:
                is_eval = splitter.is_eval(name_under(base, piece.file), block)
                rows_of = {TRAIN: ~is_eval, EVAL: is_eval}
            examples = serialize(block.good, summary.types, settings.missing)
            if counters:
                _count(block.good, rows_of, counters, settings.columns, summary.types)
            yield {split: list(compress(examples, rows)) for split, rows in rows_of.items()}


def _count(
    rows: pa.Table,
    rows_of: Mapping[str, Array],
    counters: Mapping[str, ColumnCounter],
    columns: Columns,
    types: Types,
) -> None:
    known = rows.select([name for name in rows.column_names if name in types])
    is_clicked = are_clicked(rows, columns)
    for split, chosen in rows_of.items():
        of_split = None if is_clicked is None else is_clicked[chosen]
        counters[split].add(known.filter(pa.array(chosen)), of_split)


def serialize(rows: pa.Table, types: Types, marks: Sequence[str] = MARKS) -> list[bytes]:
    """Returns a serialized tf.Example of each row, byte for byte as TFX's CsvExampleGen makes it.

    That is what `SerializeToString(deterministic=True)` returns; a missing value is an empty list.
    tfx_bsl's encoder alone writes the features of each Example in another order, which also hides
    from gzip how alike they are. So it encodes each distinct value of a column once, and the pieces
    are joined.

    Args:
        rows: Columns of `binary` values; one that is not there has no value in any row.
        types: Type of each column, as `check_input` found it.
        marks: What stands for a missing value in columns of numbers.
    """
    # Protocol Buffers' order of map keys: of att_a and att_age the longer comes first.
    names = sorted(types, key=lambda name: name.encode() + b"\xff")
    features = [_features(name, column_of(rows, name), types[name], marks) for name in names]
    length = pc.binary_length(features[0])
    for feature in features[1:]:
        length = pc.add(length, pc.binary_length(feature))
    distinct = length.dictionary_encode()
    headers = [_TAG + _varint(length) for length in distinct.dictionary.to_pylist()]
    header = pa.array(headers, pa.binary()).take(distinct.indices)
    return pc.binary_join_element_wise(header, *features, b"").to_pylist()


def _features(
    name: str, values: pa.Array, data_type: pa.DataType, marks: Sequence[str]
) -> pa.Array:
    """Returns each row's entry in the feature map, serialized."""
    distinct = values.dictionary_encode(null_encoding="encode")
    lists = _as_lists(convert(distinct.dictionary, data_type, marks))
    examples = RecordBatchToExamplesEncoder().encode(pa.record_batch({name: lists}))
    return pa.array(map(_without_header, examples), pa.binary()).take(distinct.indices)


def _as_lists(values: pa.Array) -> pa.Array:
    """Returns lists of one value each, or of none where it is missing."""
    if values.type == MISSING:
        return pa.nulls(len(values), pa.list_(pa.float32()))  # a feature without a kind
    if values.type == TEXT:
        values = values.cast(pa.binary())
    ends = np.cumsum(values.is_valid().to_numpy(zero_copy_only=False))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values.drop_null())


def _varint(number: int) -> bytes:
    """Encodes a length as Protocol Buffers do: 7 bits a byte, the lowest first."""
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _without_header(example: bytes) -> bytes:
    """Strips an Example of the tag and length that come before its features."""
    start = len(_TAG)
    while example[start] & 0x80:
        start += 1
    return example[start + 1 :]
