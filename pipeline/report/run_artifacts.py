"""The artifacts that a run left, read without TensorFlow; a run that stopped early left fewer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluator.measure import Metrics, read_metrics
from components.evaluator.tables import ADS_FILE
from components.evaluator.verdict import Verdict, read_verdict
from components.features import Columns
from components.findings import Finding
from components.validator.validation import Validation, read_validation
from pipeline.report.data import DataOverview, read_overview
from pipeline.report.lineage import read_lineage
from pipeline.run_record import RunRecord

TRAINING_FILE = "training.json"

_Content = TypeVar("_Content")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunArtifacts:
    """What is known of a run; None where it did not get so far, or where files are gone.

    Attributes:
        record: its record.
        columns: what the data's columns are for.
        verdict: the gate's.
        metrics: what the verdict rests on.
        ads: every ad of the eval split, see `evaluator.ads.AdsFn`.
        history: losses by epoch.
        data: the data at a glance.
        notes: what the data checks let pass, and Transform noticed.
        validation: how the exports did when they were served.
        lineage: what it was made of, by name.
    """

    record: RunRecord
    columns: Columns
    verdict: Verdict | None
    metrics: Metrics | None
    ads: pa.Table | None
    history: dict[str, list[float]] | None
    data: DataOverview | None
    notes: list[Finding] | None
    validation: Validation | None
    lineage: dict[str, str]


def read_artifacts(record: RunRecord) -> RunArtifacts:
    """Reads what the run of `record` left."""
    columns = Columns.model_validate(record.config["data"]["columns"])

    def read(node: str, output: str, reader: Callable[[Path], _Content]) -> _Content | None:
        folder = record.output(node, output)
        try:
            return None if folder is None else reader(folder)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            line = str(error).splitlines()[0]
            _LOGGER.warning("%s: cannot be read, so the report lacks it (%s)", folder, line)
            return None

    return RunArtifacts(
        record=record,
        columns=columns,
        verdict=read("evaluator", "blessing", lambda folder: read_verdict(str(folder))),
        metrics=read("evaluator", "evaluation", lambda folder: read_metrics(str(folder))),
        ads=read("evaluator", "evaluation", lambda folder: pq.read_table(folder / ADS_FILE)),
        history=read("trainer", "model_run", _read_history),
        data=read("statistics", "statistics", lambda folder: read_overview(folder, columns)),
        notes=read("schema_gate", "notes", lambda _: record.notes()),
        validation=read("validator", "blessing", lambda folder: read_validation(str(folder))),
        lineage=read_lineage(record),
    )


def _read_history(folder: Path) -> dict[str, list[float]]:
    history: dict[str, list[float]] = json.loads((folder / TRAINING_FILE).read_bytes())["history"]
    return history
