"""Cuts a CSV file into ranges of whole records, each of which can be read by itself.

Whether a newline ends a record follows from how many quotes come before it in the file: inside a
field, a quote is doubled, which changes nothing. So some bytes are looked through alone, both as if
they began outside quotes and as if inside; which of the two is so, the bytes before them say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from components.example_gen.blocks import WHOLE_FILE, Array, Range
from components.example_gen.csv_records import NEWLINE, QUOTE, RETURN

LOOK_BACK = 2  # bytes that tell whether the first line is empty


class Lines(NamedTuple):
    """Of some bytes, the lines and those that end a record.

    Attributes:
        first: Position behind the first newline that is outside quotes; None where there is none.
        lines_to_first: Newlines up to there.
        records_to_first: Records that end there: 0 if the line is empty, else 1.
        lines: Newlines of all the bytes.
        records: Records that end in them.
    """

    first: int | None
    lines_to_first: int
    records_to_first: int
    lines: int
    records: int


class Scan(NamedTuple):
    """What some bytes of a file hold.

    Attributes:
        lines: If they begin outside quotes, and if they begin inside.
        turns: Whether their end is inside quotes where their beginning is outside.
    """

    lines: tuple[Lines, Lines]
    turns: bool


def scan(data: bytes) -> Scan:
    """Looks through bytes of a file, behind the `LOOK_BACK` bytes that come before them."""
    array = np.frombuffer(data, np.uint8)
    newlines, quotes = (np.flatnonzero(array == byte) for byte in (NEWLINE, QUOTE))
    newlines, quotes = newlines[newlines >= LOOK_BACK], quotes[quotes >= LOOK_BACK]
    is_inside = np.searchsorted(quotes, newlines) % 2 == 1
    last, last_but_one = array[newlines - 1], array[newlines - 2]
    is_empty = (last == NEWLINE) | ((last == RETURN) & (last_but_one == NEWLINE))
    both = [_lines(newlines - LOOK_BACK, ends, is_empty) for ends in (~is_inside, is_inside)]
    return Scan((both[0], both[1]), bool(len(quotes) % 2))


def _lines(newlines: Array, ends: Array, is_empty: Array) -> Lines:
    """Counts newlines, those that are outside quotes, and those that only end an empty line."""
    records = int(np.count_nonzero(ends & ~is_empty))
    if not ends.any():
        return Lines(None, 0, 0, len(newlines), records)
    first = int(np.argmax(ends))
    return Lines(
        int(newlines[first]) + 1, first + 1, int(not is_empty[first]), len(newlines), records
    )


def cut(starts: Sequence[int], scans: Sequence[Scan]) -> Iterator[Range]:
    """Yields ranges that are the whole file together.

    Args:
        starts: Where the bytes of each scan begin, which are the whole file together.
        scans: What they hold.
    """
    found = WHOLE_FILE
    inside, line, records = False, 1, 0
    for start, each in zip(starts, scans, strict=True):
        lines = each.lines[inside]
        before = records + lines.records_to_first
        # The header is a record, too, and belongs to the first range.
        if start != starts[0] and lines.first is not None and before:
            after = Range(start + lines.first, None, line + lines.lines_to_first, before - 1)
            yield found._replace(end=after.start)
            found = after
        line, records = line + lines.lines, records + lines.records
        inside ^= each.turns
    yield found
