"""The labelled rows of a log as a version takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from components.errors import InputError
from components.example_gen.blocks import UnreadableError
from components.example_gen.csv_reader import read_batches
from components.example_gen.csv_types import INTEGER, NUMBER, TEXT
from components.example_gen.input_files import read_header
from components.example_gen.layout import find_layout
from components.example_gen.settings import ReadingSettings
from serving.raw_rows import STRING


def read_log(
    log: Path,
    reading: ReadingSettings,
    inputs: Mapping[str, str],
    served: tuple[str, str],
) -> Iterator[pa.Table]:
    """Yields the rows of a log, a block at a time.

    Args:
        log: a CSV or Parquet file, or a folder of them.
        reading: how they are read.
        inputs: the columns that the version takes, with their types.
        served: the columns that say what was served, its probability and its version; the rows
            have them where the log has.

    Raises:
        InputError: the log cannot be used.
    """
    columns = reading.columns
    for file in sorted(file for split in find_layout(log).files().values() for file in split):
        names = _names(file, reading)
        types = _types(file, names, reading, inputs)
        types |= {
            name: data_type
            for name, data_type in zip(served, (NUMBER, TEXT), strict=True)
            if name in names
        }
        required = [*columns.ad_texts, columns.ad_id, *columns.outcome]
        for batch in read_batches([file], reading, types, required):
            yield pa.Table.from_batches([batch])


def _names(file: str, reading: ReadingSettings) -> Sequence[str]:
    try:
        return read_header(file, reading).names
    except UnreadableError as error:
        raise InputError(f"{file}: {error}") from None


def _types(
    file: str, names: Sequence[str], reading: ReadingSettings, inputs: Mapping[str, str]
) -> dict[str, pa.DataType]:
    columns = reading.columns
    types = {name: TEXT if dtype == STRING else NUMBER for name, dtype in inputs.items()}
    types |= dict.fromkeys([*columns.ad_texts, columns.ad_id], TEXT)
    types |= dict.fromkeys(columns.outcome, INTEGER)
    if columns.weight is not None:
        types[columns.weight] = NUMBER
    absent = [name for name in types if name not in names]
    if absent:
        raise InputError(
            f"{file}: no column {', '.join(absent)}; a model is judged by rows with all that it "
            "takes, if only empty, and with what came of them"
        )
    return types
