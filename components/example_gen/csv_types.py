"""The types of CSV columns: one rule that finds them, and the conversion from text.

A column holds integers if every value that is there is an integer, else numbers if every one is a
number, else text, as in TFX's CsvExampleGen. What counts as a value, and which number it is:

- In columns of numbers, marks such as NA are missing values, and so is every NaN.
- Infinity, and a number that float32 cannot hold, is the largest number of its sign.
- An integer beyond 64 bits makes its column text: it is a name more often than a number.
- 007 is 7, and Python's own spelling 1_000 is text.
- In columns of text, only the empty field is missing; everything else is a value as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Types = Mapping[str, pa.DataType]

# From narrow to wide: a column has the widest type that any of its values needs.
MISSING, INTEGER, NUMBER, TEXT = TYPES = (pa.null(), pa.int64(), pa.float32(), pa.string())

# What stands for a missing value in columns of numbers, in upper or lower case.
MARKS = ("", "NA", "N/A", "NULL", r"\N", "nan")

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)$"


def narrowest_type(values: pa.Array | pa.ChunkedArray, marks: Sequence[str] = MARKS) -> pa.DataType:
    """Returns the narrowest of `TYPES` that holds values.

    Args:
        values: `binary` in UTF-8, or text; null allowed.
        marks: What stands for a missing value in columns of numbers.
    """
    distinct = pc.ascii_trim_whitespace(pc.unique(values).drop_null().cast(TEXT))
    distinct = distinct.filter(pc.invert(is_mark(distinct, marks)))
    if not len(distinct):
        return MISSING
    integers = distinct.filter(pc.match_substring_regex(distinct, _INTEGER))
    try:
        _as_integers(integers)
    except pa.ArrowInvalid:
        return TEXT
    if len(integers) == len(distinct):
        return INTEGER
    return NUMBER if pc.all(is_number(distinct)).as_py() else TEXT


def is_number(text: pa.Array) -> pa.Array:
    """Returns which texts are numbers."""
    return pc.match_substring_regex(text, _NUMBER)


def widest_type(*types: pa.DataType) -> pa.DataType:
    """Returns the type that holds the values of all `types`."""
    return max(types, key=TYPES.index)


def convert(values: pa.Array, data_type: pa.DataType, marks: Sequence[str] = MARKS) -> pa.Array:
    """Converts values to one of `TYPES`; null stays null, and a number that is missing becomes it.

    Args:
        values: `binary` in UTF-8, or text; null allowed.
        data_type: One of `TYPES`.
        marks: What stands for a missing value in columns of numbers.

    Raises:
        pa.ArrowInvalid: A value is not of that type.
    """
    if data_type == MISSING:
        return pa.nulls(len(values))
    text = values.cast(TEXT)
    if data_type == TEXT:
        return text
    text = pc.ascii_trim_whitespace(text)
    text = pc.if_else(is_mark(text, marks), None, text)
    return _as_integers(text) if data_type == INTEGER else _as_numbers(text)


def is_mark(text: pa.Array, marks: Sequence[str]) -> pa.Array:
    """Returns which texts stand for a missing number."""
    lower = pa.array([mark.lower() for mark in marks], TEXT)
    return pc.is_in(pc.utf8_lower(text), lower)


def _as_integers(text: pa.Array) -> pa.Array:
    return pc.ascii_ltrim(text, "+").cast(INTEGER)


def _as_numbers(text: pa.Array) -> pa.Array:
    # By way of float64: that is how a Python float is rounded to a tf.Example's.
    numbers = text.cast(pa.float64())
    is_there = pc.fill_null(pc.invert(pc.is_nan(numbers)), False)
    largest = float(np.finfo(np.float32).max)
    numbers = pc.max_element_wise(pc.min_element_wise(numbers, largest), -largest)
    return pc.if_else(is_there, numbers, None).cast(NUMBER)
