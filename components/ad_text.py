"""An ad's texts as one: a line each, so that people, tables and the text encoder read the same."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

BREAKS = r"[\r\n]+"  # of lines within a text, which become spaces


def joined(rows: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Returns the text of each row [N]: that of its only column as it stands, or a line each.

    Args:
        rows: the columns `names` among others, strings; null is an empty text.
        names: of the columns.
    """
    if len(names) == 1:
        return rows[names[0]]
    lines = [
        pc.replace_substring_regex(pc.fill_null(rows[name], ""), BREAKS, " ") for name in names
    ]
    return pc.binary_join_element_wise(*lines, pa.scalar("\n", lines[0].type))
