"""The tables of an evaluation: every scored row, and every ad."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.features import PROBABILITY, Columns
from components.metrics import Floats
from components.outcomes import weights_of

SCORES_FILE = "scores.parquet"
ADS_FILE = "ads.parquet"

BASELINE_PROBABILITY = "baseline_probability"
TRAINING_ROWS = "training_rows"
ROWS = "rows"
CLICKS = "clicks"
_PREDICTED = "predicted_clicks"


def score_table(
    rows: pa.Table,
    scores: Floats,
    baseline_scores: Floats | None,
    training_texts: Mapping[str, int],
    columns: Columns,
) -> pa.Table:
    """Adds to the rows their probabilities and how often the train split shows their text.

    Args:
        rows: the rows of the eval split [N].
        scores: [N] probabilities of the new model.
        baseline_scores: [N] probabilities of the model in service; None for nulls.
        training_texts: rows of the train split with each text.
        columns: which columns hold the text, the ids, the label and the attributes.
    """
    texts = rows[columns.text].combine_chunks().dictionary_encode()
    counts = [training_texts.get(text, 0) for text in texts.dictionary.to_pylist()]
    training_rows = np.array(counts, np.int64)[texts.indices.to_numpy()]
    return (
        rows.append_column(PROBABILITY, pa.array(scores))
        .append_column(
            BASELINE_PROBABILITY,
            pa.nulls(len(rows), pa.float64())
            if baseline_scores is None
            else pa.array(baseline_scores),
        )
        .append_column(TRAINING_ROWS, pa.array(training_rows))
    )


def ad_table(scored: pa.Table, columns: Columns) -> pa.Table:
    """Sums up each ad (id and text) of a score table, those with most rows first.

    Returns:
        The ad's id and text, ROWS, CLICKS, mean PROBABILITY and TRAINING_ROWS.
    """
    sums = weights_of(scored).sums
    scored = scored.append_column(ROWS, pa.array(sums))
    for name, values in ((CLICKS, scored[columns.label]), (_PREDICTED, scored[PROBABILITY])):
        scored = scored.append_column(name, pa.array(sums * values.to_numpy()))
    ads = scored.group_by([columns.ad_id, columns.text]).aggregate(
        [(ROWS, "sum"), (CLICKS, "sum"), (_PREDICTED, "sum"), (TRAINING_ROWS, "max")]
    )
    names = [columns.ad_id, columns.text, ROWS, CLICKS, PROBABILITY, TRAINING_ROWS]
    ads = ads.rename_columns(names)
    mean = pc.divide(ads[PROBABILITY], ads[ROWS])
    ads = ads.set_column(names.index(PROBABILITY), PROBABILITY, mean)
    return ads.sort_by([(ROWS, "descending"), (columns.ad_id, "ascending")])
