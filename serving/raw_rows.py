"""Rows of a CSV input as a model takes them: no label needed, types by the model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components.errors import InputError
from components.example_gen.csv_reader import check_input, read_batches
from components.example_gen.csv_types import NUMBER, TEXT, Types, convert
from components.example_gen.settings import ReadingSettings
from components.example_gen.spans import find_input
from components.features import Columns

STRING = "string"  # which is equal to tf.string, and takes no import of TensorFlow


class RawRows:
    """The rows of a CSV input, read in blocks as often as it is iterated over.

    Args:
        csv: a file or a folder of files.
        columns: which columns hold the text, the ids, the label and the attributes.
        inputs: the columns that the model takes, with TensorFlow's name of their types, or those
            types; other columns stay text.
        required: columns whose values may not be empty.

    Attributes:
        count: the number of rows.
        types: of every column.
        files: of the input, in order.

    Raises:
        InputError: the input cannot be used; everything that is wrong is in the message.
    """

    def __init__(
        self,
        csv: Path,
        columns: Columns,
        inputs: Mapping[str, object],
        required: Sequence[str] = (),
    ) -> None:
        self._csv = csv
        self._settings = ReadingSettings(columns=columns)
        checked = check_input(csv, self._settings, required)
        self.count = checked.rows
        self.types = types_for(csv, checked.types, inputs)
        self._required = required
        self.files = [
            file for split in find_input(csv, self._settings).files().values() for file in split
        ]

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self.texts():
            yield typed(table, self.types, self._csv)

    def texts(self) -> Iterator[pa.Table]:
        """Yields the rows with every value as it stands in the input."""
        as_texts = dict.fromkeys(self.types, TEXT)
        for batch in read_batches(self.files, self._settings, as_texts, self._required):
            yield pa.table(batch)

    def table(self) -> pa.Table:
        """Returns all rows."""
        return pa.concat_tables(self)


def typed(texts: pa.Table, types: Types, csv: object) -> pa.Table:
    """Returns columns of texts as columns of `types`.

    Args:
        texts: the columns.
        types: of each.
        csv: where they are from.

    Raises:
        InputError: a value is not of the type of its column.
    """
    return pa.table({name: _convert(name, texts[name], its, csv) for name, its in types.items()})


def _convert(name: str, texts: pa.ChunkedArray, data_type: pa.DataType, csv: object) -> pa.Array:
    try:
        return convert(texts.combine_chunks().cast(pa.binary()), data_type)
    except pa.ArrowInvalid as error:
        raise InputError(f"{csv}, column {name}: expected {data_type} values; {error}") from None


def types_for(
    csv: object, names: Iterable[str], inputs: Mapping[str, object]
) -> dict[str, pa.DataType]:
    """Returns the type in which each of the columns `names` is read.

    Raises:
        InputError: the model takes a column that is not among them.
    """
    names = list(names)
    absent = [name for name in inputs if name not in names]
    if absent:
        raise InputError(f"{csv}: no column {', '.join(absent)}; the model needs it, if only empty")
    numbers = {name for name, dtype in inputs.items() if dtype != STRING}
    return {name: NUMBER if name in numbers else TEXT for name in names}


def read_ads(csv: Path, columns: Columns, inputs: Mapping[str, object]) -> pa.Table:
    """Reads a catalogue: each ad id once, with its text and attributes, in the order of the input.

    Args:
        csv: a file or a folder of files.
        columns: which columns hold the text, the ids, the label and the attributes.
        inputs: the columns that the item tower takes, with their types.

    Raises:
        InputError: the input cannot be used, or an ad id has several texts or attributes.
    """
    required = [columns.ad_id, *columns.ad_texts]
    inputs = {**dict.fromkeys(required, STRING), **inputs}
    names = list(inputs)
    rows = RawRows(csv, columns, inputs, required).table().select(names)
    ads = rows.group_by(names, use_threads=False).aggregate([])  # in order, without threads
    counts = ads.group_by(columns.ad_id, use_threads=False).aggregate([([], "count_all")])
    doubtful = counts.filter(pc.field("count_all") > 1)[columns.ad_id].to_pylist()
    if doubtful:
        raise InputError(
            f"{csv}: {columns.ad_id} with more than one {' or '.join(names[1:])}: "
            f"{', '.join(doubtful[:5])}{' and more' if len(doubtful) > 5 else ''}; "
            "a catalogue gives each ad one of each"
        )
    return ads
