"""The judgement of a model: metrics, a verdict and the tables behind them. Knows nothing of TFX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from components.evaluator.gate import judge
from components.evaluator.measure import Baseline, Metrics, measure
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.tables import ad_table, score_table
from components.evaluator.verdict import Verdict
from components.features import Columns
from components.metrics import Floats


@dataclass(frozen=True)
class Evaluation:
    """All that is known of a model after it is judged.

    Attributes:
        metrics: what was measured.
        verdict: what follows from it.
        scores: the rows with their probabilities, see `tables.score_table`.
        ads: every ad, see `tables.ad_table`.
    """

    metrics: Metrics
    verdict: Verdict
    scores: pa.Table
    ads: pa.Table


def evaluate(
    rows: pa.Table,
    scores: Floats,
    baseline: Baseline,
    training_texts: Mapping[str, int],
    columns: Columns,
    settings: EvaluatorSettings,
) -> Evaluation:
    """Judges a model by its scores on the eval split.

    Args:
        rows: the eval split's raw columns [N].
        scores: [N] probabilities of a click.
        baseline: the model in service and its scores.
        training_texts: rows of the train split with each text.
        columns: which columns hold the text, the ids, the label and the attributes.
        settings: the rules.

    Raises:
        InputError: a setting names a column that the rows do not have.
    """
    scored = score_table(rows, scores, baseline.scores, training_texts, columns)
    metrics = measure(scored, columns, settings, baseline)
    return Evaluation(metrics, judge(metrics, settings), scored, ad_table(scored, columns))
