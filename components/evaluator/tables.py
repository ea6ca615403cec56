"""The tables of an evaluation: every scored row, and every ad."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ad_text import joined
from components.features import PROBABILITY, Columns
from components.metrics import Floats
from components.read_artifact import read_file
from components.value_counts import COUNT, VALUE

TEXTS_FILE = "texts.parquet"
SCORES_FILE = "scores.parquet"  # a folder of them, one for each file of examples
ADS_FILE = "ads.parquet"

BASELINE_PROBABILITY = "baseline_probability"
TRAINING_ROWS = "training_rows"
ROWS = "rows"
CLICKS = "clicks"


@lru_cache(maxsize=1)
def read_training_texts(folder: str) -> dict[str, int]:
    """Reads how many rows of the train split have each text, from the TEXTS_FILE of a folder."""
    table = pq.read_table(pa.BufferReader(read_file(folder, TEXTS_FILE)))
    return dict(zip(table[VALUE].to_pylist(), table[COUNT].to_pylist(), strict=True))


def with_training_rows(
    rows: pa.Table, training_texts: Mapping[str, int], columns: Columns
) -> pa.Table:
    """Adds to rows [N] how many rows of the train split have their text."""
    texts = joined(rows, columns.ad_texts).combine_chunks().dictionary_encode()
    counts = [training_texts.get(text, 0) for text in texts.dictionary.to_pylist()]
    training_rows = np.array(counts, np.int64)[texts.indices.to_numpy()]
    return rows.append_column(TRAINING_ROWS, pa.array(training_rows))


def score_table(
    rows: pa.Table,
    scores: Floats,
    baseline_scores: Floats | None,
    training_texts: Mapping[str, int],
    columns: Columns,
) -> pa.Table:
    """Adds to the rows their probabilities and how often the train split shows their text.

    Args:
        rows: rows of the eval split [N].
        scores: [N] probabilities of the new model.
        baseline_scores: [N] probabilities of the model in service; None for nulls.
        training_texts: rows of the train split with each text.
        columns: which columns hold the text, the ids, the label and the attributes.
    """
    others = (
        pa.nulls(len(rows), pa.float64()) if baseline_scores is None else pa.array(baseline_scores)
    )
    scored = rows.append_column(PROBABILITY, pa.array(scores))
    scored = scored.append_column(BASELINE_PROBABILITY, others)
    return with_training_rows(scored, training_texts, columns)
