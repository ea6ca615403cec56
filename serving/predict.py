"""Click probabilities from the pushed models, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import tensorflow as tf

from components.errors import InputError
from components.evaluator.baseline import newest_click_model
from components.evaluator.score import ClickModel
from components.example_gen.csv_reader import check_input, read_batches
from components.example_gen.csv_types import NUMBER, TEXT
from components.example_gen.layout import find_layout
from components.features import CLICK_MODEL, PROBABILITY, Columns


class Predictor:
    """The newest click model of a serving root.

    Raises:
        InputError: there is none.
    """

    def __init__(self, serving_root: Path) -> None:
        folder = newest_click_model(str(serving_root))
        if folder is None:
            raise InputError(
                f"{serving_root}: no {CLICK_MODEL} in it; "
                "give the folder that `twotower run` pushed to"
            )
        self._model = ClickModel(folder)
        self._columns = Columns.of_model(Path(folder))

    def one(self, attributes: Mapping[str, str], text: str) -> float:
        """Returns the probability that a user clicks an ad; attributes not given are missing.

        Raises:
            InputError: an attribute that the model does not have, or that is not of its type.
        """
        known = self._columns.attributes(self._model.inputs)
        unknown = sorted(set(attributes) - set(known))
        if unknown:
            raise InputError(
                f"no attribute {', '.join(unknown)} in the model; it has {', '.join(known)}"
            )
        values = {name: attributes.get(name) for name in known} | {self._columns.text: text}
        row = pa.table({name: self._typed(name, value) for name, value in values.items()})
        return float(self._model.score(row)[0])

    def csv(self, csv: Path, out: Path) -> int:
        """Writes the rows of a CSV input to the file `out`, each with its click probability.

        Returns:
            The number of rows.

        Raises:
            InputError: the input cannot be used, or lacks a column that the model needs.
        """
        check = check_input(csv, self._columns, required=[self._columns.text])
        absent = [name for name in self._model.inputs if name not in check.types]
        if absent:
            raise InputError(
                f"{csv}: no column {', '.join(absent)}; the model needs it, if only empty"
            )
        types = {name: self._type(name) for name in check.types}
        files = [file for split in find_layout(csv).files().values() for file in split]
        schema = pa.schema([*types.items(), (PROBABILITY, pa.float64())])
        with pyarrow.csv.CSVWriter(out, schema) as writer:
            for batch in read_batches(files, self._columns, types, [self._columns.text]):
                rows = pa.table(batch)
                scores = pa.array(self._model.score(rows))
                writer.write_table(rows.append_column(schema.field(PROBABILITY), scores))
        return check.rows

    def _type(self, column: str) -> pa.DataType:
        """The type in which the model takes a column; what it does not take stays text."""
        return TEXT if self._model.inputs.get(column, tf.string) == tf.string else NUMBER

    def _typed(self, column: str, value: str | None) -> pa.Array:
        try:
            return pa.array([value], TEXT).cast(self._type(column))
        except pa.ArrowInvalid:
            raise InputError(f"{column}={value}: the model expects a number") from None
