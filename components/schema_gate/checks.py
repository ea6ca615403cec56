"""The data checks beside the schema: each a warning, a stop, or off, as the settings say."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.dsl.io import fileio

from components.features import CLICK_MODEL, EVAL, TRAIN, Columns
from components.findings import Finding
from components.schema_gate.anomalies import Statistics
from components.schema_gate.comparison import Comparison
from components.schema_gate.rows import Rows
from components.schema_gate.settings import DataCheckSettings
from components.serving_root import TRAINING_STATISTICS_FILE, newest


def check_data(
    train: Statistics,
    evaluation: Statistics,
    rows: Rows,
    schema: schema_pb2.Schema,
    serving_root: str,
    columns: Columns,
    settings: DataCheckSettings,
) -> list[Finding]:
    """Finds what is worth a warning, or stops the run, in data that fits the schema.

    Args:
        train: Statistics of the train split.
        evaluation: Statistics of the eval split.
        rows: The rows of both.
        schema: The curated schema.
        serving_root: Where the model in service is; drift is that since the data of its training.
        columns: What the columns are for.
        settings: What is checked, and what follows.
    """
    checks: dict[str, Iterable[Finding]] = {
        "unseen_values": rows.unseen_values(settings.max_unseen_values),
        "cold_ads": rows.cold_ads(settings.max_cold_ads),
        "leaks": rows.leaks(settings.max_auc_alone),
    }
    comparisons = [Comparison("skew", EVAL, evaluation, train, "the train split")]
    version = newest(serving_root)
    model = None if version is None else version.folders[CLICK_MODEL]
    baseline = None if model is None else _read_baseline(model)
    if baseline is not None:
        name = "the data of the model in service"
        comparisons.append(Comparison("drift", TRAIN, train, baseline, name))
    elif model is not None:
        checks["drift"] = [_not_compared(model)]
    for each in comparisons:
        checks[each.kind] = each.distributions(schema, columns, settings.max_distance)
    checks["click_rate"] = chain.from_iterable(
        each.click_rates(columns, settings.max_click_rate_change) for each in comparisons
    )
    return [
        finding.model_copy(update={"check": name, "stops": action == "stop"})
        for name, findings in checks.items()
        if (action := getattr(settings, name)) != "off"
        for finding in findings
    ]


def _read_baseline(model: str) -> Statistics | None:
    """Reads the statistics of the rows that a model was trained on, if they are in its folder."""
    file = f"{model}/{TRAINING_STATISTICS_FILE}"
    if not fileio.exists(file):
        return None
    with fileio.open(file, "rb") as content:
        return Statistics.FromString(content.read())


def _not_compared(model: str) -> Finding:
    return Finding(
        split=TRAIN,
        column="",
        problem="not compared with the data of the model in service",
        detail=f"{model} has no {TRAINING_STATISTICS_FILE}",
    )
