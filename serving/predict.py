"""Click probabilities from the pushed models, without a server."""

from __future__ import annotations

import csv as csv_format
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from components.errors import InputError
from components.evaluator.score import ClickModel
from components.example_gen.csv_types import TEXT, convert
from components.features import CLICK_MODEL, PROBABILITY, Columns
from components.output_file import output_file
from components.serving_root import in_service
from serving.raw_rows import RawRows, typed, types_for


class Predictor:
    """The click model in service.

    Raises:
        InputError: nothing is in service.
    """

    def __init__(self, serving_root: Path) -> None:
        folder = in_service(serving_root).folder(CLICK_MODEL)
        self._model = ClickModel(str(folder))
        self._columns = Columns.of_model(folder)

    def one(self, attributes: Mapping[str, str], text: str) -> float:
        """Returns the probability that a user clicks an ad; what is not given is missing.

        Args:
            attributes: of the user and the ad; the ids, too, where the model takes them.
            text: of the ad.

        Raises:
            InputError: an attribute that the model does not have, or that is not of its type.
        """
        inputs = self._model.inputs
        known = [name for name in inputs if name != self._columns.text]
        unknown = sorted(set(attributes) - set(known))
        if unknown:
            raise InputError(
                f"no attribute {', '.join(unknown)} in the model; it has {', '.join(known)}"
            )
        values = {name: attributes.get(name) for name in known} | {self._columns.text: text}
        types = types_for("", inputs, inputs)
        row = pa.table({name: _typed(name, values[name], types[name]) for name in inputs})
        return float(self._model.score(row)[0])

    def csv(self, csv: Path, out: Path) -> int:
        """Writes the rows of an input as CSV: their own values, then their click probability.

        Returns:
            The number of rows.

        Raises:
            InputError: the input cannot be used, or lacks a column that the model needs.
        """
        rows = RawRows(csv, self._columns, self._model.inputs, [self._columns.text])
        if PROBABILITY in rows.types:
            raise InputError(f"{csv}: has a column {PROBABILITY} already; give it another name")
        with (
            output_file(out, rows.files) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv_format.writer(file, lineterminator="\n")
            writer.writerow([*rows.types, PROBABILITY])
            for texts in rows.texts():
                scores = self._model.score(typed(texts, rows.types, csv))
                columns = [column.to_pylist() for column in texts.columns]
                writer.writerows(zip(*columns, map(float, scores), strict=True))
        return rows.count


def _typed(column: str, value: str | None, data_type: pa.DataType) -> pa.Array:
    try:
        return convert(pa.array([value], TEXT), data_type)
    except pa.ArrowInvalid:
        raise InputError(f"{column}={value}: the model expects a number") from None
