"""Columns that look as if a row had several values, as `sports|travel` has two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

_SEPARATORS = "|;,"

_LEAST_SHARE = 0.2  # of the values that hold the separator
_LEAST_REUSE = 3  # how often a part is there, on average


def separator_of(values: Collection[str]) -> str | None:
    """Returns what stands between several values in distinct `values`; None if nothing does.

    The same parts must come back in other combinations, as interests do and the lines of an
    address do not.
    """
    for separator in _SEPARATORS:
        joined = [value for value in values if separator in value]
        parts = Counter(part.strip() for value in joined for part in value.split(separator))
        if (
            len(parts) > 2
            and len(joined) >= _LEAST_SHARE * len(values)
            and parts.total() >= _LEAST_REUSE * len(parts)
            and not (separator == "," and all(part.isdecimal() for part in parts))
        ):
            return separator
    return None
