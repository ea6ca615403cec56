"""From columns of a CSV to serialized tf.Examples, without a step of Python a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from components.example_gen.blocks import column_of
from components.example_gen.csv_reader import InputSummary
from components.example_gen.csv_types import MARKS, MISSING, TEXT, Types, convert
from components.example_gen.input_files import read_blocks
from components.example_gen.layout import WHOLE, name_under
from components.example_gen.settings import ReadingSettings
from components.example_gen.split import make_splitter
from components.features import EVAL, TRAIN

# Examples.features and the only field of Features have the same tag: number 1, length-delimited.
_TAG = b"\n"


def examples_by_split(
    files: Mapping[str, Sequence[str]], base: str, settings: ReadingSettings, summary: InputSummary
) -> Iterator[dict[str, list[bytes]]]:
    """Yields the serialized Examples of each block of rows, by the split that they end in.

    Args:
        files: By split, as `Layout.files` has them.
        base: The folder that they are under.
        settings: How they are read and split.
        summary: What `check_files` found in them.
    """
    splitter = make_splitter(settings, summary.boundary)
    for split, file in ((split, file) for split, paths in files.items() for file in paths):
        for block in read_blocks(file, settings, settings.required()):
            examples = serialize(block.good, summary.types, settings.missing)
            if split == WHOLE:
                is_eval = splitter.is_eval(name_under(base, file), block)
                parts = {TRAIN: ~is_eval, EVAL: is_eval}
                yield {part: list(compress(examples, rows)) for part, rows in parts.items()}
            else:
                yield {split: examples}


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
