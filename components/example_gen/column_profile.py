"""What the values of a column show: its type, where that comes from, and what should be known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.csv_types import (
    INTEGER,
    MISSING,
    NUMBER,
    TEXT,
    convert,
    is_mark,
    is_number,
    narrowest_type,
    widest_type,
)
from components.example_gen.multi_valued import separator_of

NUMERIC = (INTEGER, NUMBER)

_MOST_VALUES = 1000  # distinct values that are counted
_MOST_WORDS = 20  # distinct words in a column of numbers that may be mistakes
_SHOWN = 3
_SHOWN_CHARACTERS = 20


class ColumnProfile:
    """What is known of a column, block by block; it does not grow with the rows.

    Args:
        is_text: Whether it is text whatever its values look like.
        marks: What stands for a missing value in columns of numbers.

    Attributes:
        type: One of `csv_types.TYPES`, which holds the values so far.
        rows: Rows so far.
    """

    def __init__(self, *, is_text: bool, marks: Sequence[str]) -> None:
        self.type = TEXT if is_text else MISSING
        self.rows = 0
        self._marks = marks
        self._empty = self._marked = self._numbers = 0  # rows
        self._low, self._high = float("inf"), float("-inf")
        self._leading_zero = ""
        self._values: set[str] | None = set()  # None where they are too many
        self._separator: str | None = None  # between several values in a row, if found among many
        self._is_free = not is_text
        self._words: Counter[str] | None = None if is_text else Counter()  # None: plain text

    def add(self, values: pa.Array) -> None:
        """Takes in the values of some rows: `binary` in UTF-8, null allowed."""
        if self._values is None and self._words is None:
            self.rows += len(values)
            self._empty += values.null_count
        else:
            self.add_counted(*pc.value_counts(values).flatten())

    def add_counted(self, values: pa.Array, counts: pa.Array) -> None:
        """Takes in distinct values, null allowed, and how many rows have each."""
        is_there = values.is_valid()
        self.rows += _sum(counts)
        self._empty += _sum(counts.filter(pc.invert(is_there)))
        if self._values is None and self._words is None:
            return
        distinct, counts = values.filter(is_there).cast(TEXT), counts.filter(is_there)
        if self._values is not None:
            self._add_values(distinct.slice(0, _MOST_VALUES + 1).to_pylist())
        if self._words is not None:
            self._find_type(pc.ascii_trim_whitespace(distinct), counts)

    def merge(self, other: ColumnProfile) -> None:
        """Takes in what is known of later rows."""
        self.type = widest_type(self.type, other.type)
        self.rows += other.rows
        self._empty += other._empty
        self._marked += other._marked
        self._numbers += other._numbers
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        self._leading_zero = self._leading_zero or other._leading_zero
        if self._values is not None:
            if other._values is None:
                self._values, self._separator = None, other._separator
            else:
                self._add_values(other._values)
        if self._words is not None:
            self._words = None if other._words is None else self._words + other._words
            if self._words is not None and len(self._words) > _MOST_WORDS:
                self._words = None

    def add_missing(self, rows: int) -> None:
        """Takes in rows of files that lack the column."""
        self.rows += rows
        self._empty += rows

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self._empty + (0 if self.type == TEXT else self._marked)

    def why(self) -> str:
        """Says what its type comes from."""
        if self.type == MISSING:
            return "no value in any row"
        if self.type in NUMERIC:
            same = self._low == self._high
            return f"always {self._low:g}" if same else f"{self._low:g} to {self._high:g}"
        if self._values is None:
            return f"more than {_MOST_VALUES:,} values"
        shown = [_short(value) for value in sorted(self._values)[:_SHOWN]]
        more = ["…"] if len(self._values) > _SHOWN else []
        return f"{len(self._values):,} values: {', '.join(shown + more)}"

    def warnings(self, name: str) -> Iterator[str]:
        """Yields what may be right and should be known."""
        if self.type == MISSING:
            yield f"column {name} has no value in any row"
        if self.type in NUMERIC and self._leading_zero:
            yield (
                f"column {name} has numbers that begin with 0, as {self._leading_zero}, and they "
                "lose it; data.categorical names columns of codes"
            )
        if self.type == TEXT and self._words is not None and self._numbers:
            yield from self._words_among_numbers(name, self._words)

    def several_values(self) -> str | None:
        """Returns what stands between several values in a row, if it looks so and may be."""
        if self.type != TEXT or not self._is_free:
            return None
        return self._separator if self._values is None else separator_of(self._values)

    def _add_values(self, values: Iterable[str]) -> None:
        assert self._values is not None
        self._values.update(values)
        if len(self._values) > _MOST_VALUES:
            self._separator = separator_of(self._values)
            self._values = None

    def _find_type(self, distinct: pa.Array, counts: pa.Array) -> None:
        found = narrowest_type(distinct, self._marks)
        marks = is_mark(distinct, self._marks)
        self.type = widest_type(self.type, found)
        self._marked += _sum(counts.filter(marks))
        if found == TEXT:
            numbers = is_number(distinct)
            words = pc.invert(pc.or_(marks, numbers))
            self._numbers += _sum(counts.filter(pc.and_not(numbers, marks)))
            self._count_words(distinct.filter(words), counts.filter(words))
        elif found in NUMERIC:
            self._numbers += _sum(counts.filter(pc.invert(marks)))
            self._measure(distinct, found)

    def _count_words(self, words: pa.Array, counts: pa.Array) -> None:
        assert self._words is not None
        if len(words) <= _MOST_WORDS:
            self._words.update(dict(zip(words.to_pylist(), counts.to_pylist(), strict=True)))
        if max(len(words), len(self._words)) > _MOST_WORDS:
            self._words = None

    def _measure(self, distinct: pa.Array, data_type: pa.DataType) -> None:
        ends = pc.min_max(convert(distinct, data_type, self._marks)).as_py()
        self._low, self._high = min(self._low, ends["min"]), max(self._high, ends["max"])
        if data_type == INTEGER and not self._leading_zero:
            is_long = pc.greater(pc.binary_length(distinct), 1)
            found = distinct.filter(pc.and_(pc.starts_with(distinct, "0"), is_long))
            self._leading_zero = found[0].as_py() if len(found) else ""

    def _words_among_numbers(self, name: str, words: Counter[str]) -> Iterator[str]:
        if not words:
            yield f"column {name} has whole numbers beyond 64 bits: it is read as text"
        elif self._numbers > words.total():
            few = [f"{_short(word)!r} ({count:,})" for word, count in words.most_common(_SHOWN)]
            more = [f"{len(words) - _SHOWN:,} more"] if len(words) > _SHOWN else []
            yield (
                f"column {name} is numbers but for {', '.join(few + more)}: it is read as text; "
                "data.missing names words for missing numbers, data.categorical columns of codes"
            )


def _sum(counts: pa.Array) -> int:
    return pc.sum(counts).as_py() or 0


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
