"""From a stream of bytes to blocks of whole CSV records, with the line each record stands on.

RFC 4180: a newline or separator inside quotes belongs to the field, a quote inside quotes is
doubled, and a quote stands nowhere else. Checking the last rule is what makes an unclosed quote
visible: without it, the rest of its line and the next line quietly become one field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.example_gen.blocks import Array, UnreadableError

BLOCK_BYTES = 4 << 20
MAX_RECORD_BYTES = 16 << 20

NEWLINE, RETURN, QUOTE = b"\n"[0], b"\r"[0], b'"'[0]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Records:
    """Whole CSV records. Empty lines between them are not records.

    Attributes:
        data: The records' bytes.
        first_line: Line of the file on which `data` begins, from 1.
    """

    data: bytes
    first_line: int

    def lines(self, numbers: Sequence[int]) -> list[int]:
        """Returns the line of the file on which each record begins; records count from 0."""
        newlines = np.flatnonzero(np.frombuffer(self.data, np.uint8) == NEWLINE)
        starts = self._spans[list(numbers), 0]
        return (self.first_line + np.searchsorted(newlines, starts)).tolist()

    def raw(self, number: int) -> bytes:
        """Returns the bytes of a record, without the end of its line."""
        start, end = self._spans[number]
        return self.data[start:end].removesuffix(b"\r")

    def without(self, numbers: Collection[int]) -> bytes:
        """Returns the bytes of all records but some."""
        if not numbers:
            return self.data
        return b"\n".join(self.raw(n) for n in range(len(self)) if n not in numbers)

    def __len__(self) -> int:
        return len(self._spans)

    def after_first(self) -> Records:
        """Returns the records but the first."""
        end = int(self._spans[0, 1]) + 1
        return Records(self.data[end:], self.first_line + self.data.count(b"\n", 0, end))

    @cached_property
    def _spans(self) -> Array:
        """Start and end of every record, [records, 2]."""
        data = np.frombuffer(self.data, np.uint8)
        newlines = np.flatnonzero(data == NEWLINE)
        quotes_before = np.searchsorted(np.flatnonzero(data == QUOTE), newlines)
        ends = np.append(newlines[quotes_before % 2 == 0], len(data))
        starts = np.append(0, ends[:-1] + 1)
        length = ends - starts
        returns_only = (length == 1) & (data[np.minimum(starts, len(data) - 1)] == RETURN)
        return np.stack([starts, ends], axis=1)[(length > 0) & ~returns_only]


def read_records(
    stream: Any, block_bytes: int = BLOCK_BYTES, separator: str = ",", line: int = 1
) -> Iterator[Records]:
    """Yields the stream's records in blocks of about `block_bytes`.

    Args:
        stream: Of bytes; only its method `read` is called.
        block_bytes: About how many bytes to hold at once.
        separator: Between the fields of a record.
        line: On which the stream begins; before line 1 there may be a byte order mark.

    Raises:
        UnreadableError: A quote is not closed or stands where none may, a line ends in a carriage
            return alone, or a record is longer than `MAX_RECORD_BYTES`.
    """
    data = stream.read(len(BYTE_ORDER_MARK))
    if line == 1:
        data = data.removeprefix(BYTE_ORDER_MARK)
    data += stream.read(block_bytes)
    while data:
        more = stream.read(block_bytes)
        quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == QUOTE)
        _check_quotes(data, quotes, line, separator)
        end = _end_of_last_record(data, quotes) if more else len(data)
        if not more and len(quotes) % 2:
            raise _unclosed(data, quotes, line)
        if end:
            _check_returns(data[:end], quotes, line)
            yield Records(data[:end], line)
            line += data.count(b"\n", 0, end)
        elif len(data) > MAX_RECORD_BYTES:
            if len(quotes) % 2:
                raise _unclosed(data, quotes, line)
            raise UnreadableError(f"a row is longer than {MAX_RECORD_BYTES:,} bytes", line)
        data = data[end:] + more


def _end_of_last_record(data: bytes, quotes: Array) -> int:
    """Returns the position after the last newline outside quotes; 0 where there is none."""
    end = data.rfind(b"\n")
    while end >= 0 and (before := np.searchsorted(quotes, end)) % 2:
        end = data.rfind(b"\n", 0, quotes[before - 1])
    return end + 1


def _check_quotes(data: bytes, quotes: Array, first_line: int, separator: str) -> None:
    """Refuses a quote that neither encloses a field nor is doubled inside one."""
    padded = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    is_beside = np.isin(np.arange(256), list(separator.encode() + b'\r\n"'))
    opening, closing = quotes[0::2], quotes[1::2]
    stray = np.flatnonzero(~is_beside[padded[opening]])
    early = np.flatnonzero(~is_beside[padded[closing + 2]])
    if len(stray) and not (len(early) and early[0] < stray[0]):
        raise UnreadableError(
            "a quote in a field that does not begin with one; enclose the field in quotes and "
            "write the quote inside it twice",
            first_line + data.count(b"\n", 0, opening[stray[0]]),
        )
    if len(early):
        raise _unclosed(data, quotes[: 2 * early[0] + 1], first_line)


def _unclosed(data: bytes, quotes: Array, first_line: int) -> UnreadableError:
    """The error for the field in which the last of `quotes` stands."""
    opening = len(quotes) - 1
    while opening and quotes[opening] == quotes[opening - 1] + 1:
        opening -= 2
    return UnreadableError(
        "a quoted field is not closed by a quote before a separator or the end of the line; "
        "write a quote inside a field twice",
        first_line + data.count(b"\n", 0, quotes[opening]),
    )


def _check_returns(data: bytes, quotes: Array, first_line: int) -> None:
    """Refuses a carriage return that ends a line alone."""
    if b"\r" not in data:
        return
    padded = np.frombuffer(data + b"\n", np.uint8)
    returns = np.flatnonzero(padded == RETURN)
    alone = returns[padded[returns + 1] != NEWLINE]
    alone = alone[np.searchsorted(quotes, alone) % 2 == 0]
    if len(alone):
        raise UnreadableError(
            "a carriage return without a line feed; end lines in LF or CRLF",
            first_line + data.count(b"\n", 0, alone[0]),
        )
