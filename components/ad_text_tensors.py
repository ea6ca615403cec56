"""`components.ad_text` with tensors."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from components.ad_text import BREAKS


def joined_tensor(texts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Does what `ad_text.joined` does, with tensors [B]."""
    if len(texts) == 1:
        return texts[0]
    lines = [tf.strings.regex_replace(text, BREAKS, " ") for text in texts]
    return tf.strings.join(lines, separator="\n")


def split_pair(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first line of each text [B], and the rest of it [B]."""
    first = tf.strings.regex_replace(texts, r"(?s)\n.*", "")
    rest = tf.strings.regex_replace(texts, r"(?s)^[^\n]*\n?", "")
    return first, rest
