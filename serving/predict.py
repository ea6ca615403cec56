"""Click probabilities from the pushed models, without a server."""

from __future__ import annotations

import csv as csv_format
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.errors import InputError
from components.example_gen.csv_types import TEXT, convert
from components.features import (
    AS_SHOWN_SIGNATURE,
    CLICK_MODEL,
    PROBABILITY,
    RAW_SIGNATURE,
    Columns,
)
from components.output_file import output_file
from components.serving_root import in_service
from serving.exported import Exported
from serving.raw_rows import RawRows, typed, types_for


class Predictor:
    """The click model in service, without TensorFlow's Python, as the server has it.

    Raises:
        InputError: nothing is in service, or it cannot be loaded.
    """

    def __init__(self, serving_root: Path) -> None:
        version = in_service(serving_root)
        folder = version.folder(CLICK_MODEL)
        # Clicks are predicted where the ads were shown, if the model learned what that does.
        self._model = Exported(folder, (AS_SHOWN_SIGNATURE, RAW_SIGNATURE))
        self._columns = Columns.of_model(folder)

    def one(self, attributes: Mapping[str, str], text: str) -> float:
        """Returns the probability that a user clicks an ad; what is not given is missing.

        Args:
            attributes: of the user and the ad; the ids, too, where the model takes them.
            text: of the ad; a line each where it has several.

        Raises:
            InputError: an attribute that the model does not have, or that is not of its type.
        """
        inputs = self._model.inputs
        texts = self._columns.split_text(text)
        known = [name for name in inputs if name not in texts]
        unknown = sorted(set(attributes) - set(known))
        if unknown:
            raise InputError(
                f"no attribute {', '.join(unknown)} in the model; it has {', '.join(known)}"
            )
        values = {name: attributes.get(name) for name in known} | texts
        types = types_for("", inputs, inputs)
        row = pa.table({name: _typed(name, values[name], types[name]) for name in inputs})
        return float(self._score(row)[0])

    def csv(self, csv: Path, out: Path) -> int:
        """Writes the rows of an input as CSV: their own values, then their click probability.

        Returns:
            The number of rows.

        Raises:
            InputError: the input cannot be used, or lacks a column that the model needs.
        """
        rows = RawRows(csv, self._columns, self._model.inputs, self._columns.ad_texts)
        if PROBABILITY in rows.types:
            raise InputError(f"{csv}: has a column {PROBABILITY} already; give it another name")
        with (
            output_file(out, rows.files) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv_format.writer(file, lineterminator="\n")
            writer.writerow([*rows.types, PROBABILITY])
            for texts in rows.texts():
                scores = self._score(typed(texts, rows.types, csv))
                columns = [column.to_pylist() for column in texts.columns]
                writer.writerows(zip(*columns, map(float, scores), strict=True))
        return rows.count

    def _score(self, rows: pa.Table) -> np.ndarray:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        return self._model.call(rows, PROBABILITY).astype(np.float64)


def _typed(column: str, value: str | None, data_type: pa.DataType) -> pa.Array:
    try:
        return convert(pa.array([value], TEXT), data_type)
    except pa.ArrowInvalid:
        raise InputError(f"{column}={value}: the model expects a number") from None
