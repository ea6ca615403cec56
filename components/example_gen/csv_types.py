"""The types of CSV columns: one rule that finds them, and the conversion from text.

The rule is that of TFX's CsvExampleGen: a column holds integers if every value that is there is an
integer, else numbers if every one is a number, else text; an integer beyond 64 bits makes its
column text. Only Python's own spelling 1_000 is a number there and text here.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

Types = Mapping[str, pa.DataType]

# From narrow to wide: a column has the widest type that any of its values needs.
MISSING, INTEGER, NUMBER, TEXT = TYPES = (pa.null(), pa.int64(), pa.float32(), pa.string())

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)$"


def narrowest_type(values: pa.Array | pa.ChunkedArray) -> pa.DataType:
    """Returns the narrowest of `TYPES` that holds `values`: `binary` in UTF-8, null allowed."""
    distinct = pc.ascii_trim_whitespace(pc.unique(values).drop_null().cast(TEXT))
    if not len(distinct):
        return MISSING
    integers = distinct.filter(pc.match_substring_regex(distinct, _INTEGER))
    try:
        _as_integers(integers)
    except pa.ArrowInvalid:
        return TEXT
    if len(integers) == len(distinct):
        return INTEGER
    return NUMBER if pc.all(pc.match_substring_regex(distinct, _NUMBER)).as_py() else TEXT


def widest_type(*types: pa.DataType) -> pa.DataType:
    """Returns the type that holds the values of all `types`."""
    return max(types, key=TYPES.index)


def convert(values: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Converts `binary` values in UTF-8 to one of `TYPES`; null stays null.

    Raises:
        pa.ArrowInvalid: A value is not of that type.
    """
    if data_type == MISSING:
        return pa.nulls(len(values))
    text = values.cast(TEXT)
    if data_type == INTEGER:
        return _as_integers(pc.ascii_trim_whitespace(text))
    if data_type == NUMBER:
        # By way of float64: that is how a Python float is rounded to a tf.Example's.
        return pc.ascii_trim_whitespace(text).cast(pa.float64()).cast(NUMBER)
    return text


def _as_integers(text: pa.Array) -> pa.Array:
    return pc.ascii_ltrim(text, "+").cast(INTEGER)
