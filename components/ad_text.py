"""An ad's texts as one: a line each, so that people, tables and the text encoder read the same."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

_BREAKS = r"[\r\n]+"


def joined(rows: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    """Returns the text of each row [N]: that of its only column as it stands, or a line each.

    Args:
        rows: the columns `names` among others, strings; null is an empty text.
        names: of the columns.
    """
    if len(names) == 1:
        return rows[names[0]]
    lines = [
        pc.replace_substring_regex(pc.fill_null(rows[name], ""), _BREAKS, " ") for name in names
    ]
    return pc.binary_join_element_wise(*lines, pa.scalar("\n", lines[0].type))


def joined_tensor(texts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Does what `joined` does, with tensors [B]."""
    if len(texts) == 1:
        return texts[0]
    lines = [tf.strings.regex_replace(text, _BREAKS, " ") for text in texts]
    return tf.strings.join(lines, separator="\n")


def split_pair(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first line of each text [B], and the rest of it [B]."""
    first = tf.strings.regex_replace(texts, r"(?s)\n.*", "")
    rest = tf.strings.regex_replace(texts, r"(?s)^[^\n]*\n?", "")
    return first, rest
