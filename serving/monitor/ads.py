"""How old ads are: counted from the first day on which the monitor saw them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.errors import InputError
from components.output_file import output_file

AD_AGE = "age_of_ad"

_FILE = "ads.parquet"
_AGES = {  # the least age in days, by name
    "first day": 0,
    "1 to 2 days": 1,
    "3 to 6 days": 3,
    "7 to 13 days": 7,
    "14 days or more": 14,
}


class FirstDays:
    """The first day on which each ad was seen.

    Args:
        folder: of the history, where they are kept.

    Raises:
        InputError: what is kept there cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE
        self._first: dict[str, int] = {}  # days since 1970, by ad id
        if self._file.exists():
            try:
                table = pq.read_table(self._file)
                days = table["first_day"].cast(pa.int32()).to_pylist()
                self._first = dict(zip(table["ad_id"].to_pylist(), days, strict=True))
            except (OSError, KeyError, pa.ArrowException) as error:
                raise InputError(f"{self._file}: cannot be read ({error}); remove it") from None

    def ages(self, ad_ids: pa.ChunkedArray, day: date) -> pa.Array:
        """Returns the age of each row's ad [N] on a day, in words; a new ad begins on it."""
        today = (day - date(1970, 1, 1)).days
        encoded = ad_ids.combine_chunks().dictionary_encode()
        ages = np.empty(len(encoded.dictionary), np.int64)
        for place, ad_id in enumerate(encoded.dictionary.to_pylist()):
            first = min(self._first.get(ad_id, today), today)
            self._first[ad_id] = first
            ages[place] = today - first
        names = np.searchsorted(list(_AGES.values()), ages, side="right") - 1
        return pa.array(list(_AGES)).take(pa.array(names[encoded.indices.to_numpy()]))

    def write(self) -> None:
        """Keeps them, and what was added."""
        days = pa.array(list(self._first.values()), pa.int32()).cast(pa.date32())
        table = pa.table({"ad_id": pa.array(list(self._first), pa.string()), "first_day": days})
        with output_file(self._file) as partial:
            pq.write_table(table, partial)
