"""Two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.metrics import ClickMetrics
from pipeline.report.run_artifacts import RunArtifacts

RESULT = "result"
QUALITY = "eval split"
DATA = "data"
SETTINGS = "settings"
LINEAGE = "made of"
SECONDS = "seconds"

NONE = "–"

# Name, field of ClickMetrics.
_METRICS = {
    "AUC of clicks": "auc",
    "AUC within an ad": "ad_auc",
    "AUC within a user": "user_auc",
    "PR AUC": "pr_auc",
    "log loss": "log_loss",
    "normalized entropy": "normalized_entropy",
    "clicks predicted by observed": "calibration",
    "expected calibration error": "ece",
    "precision at the operating point": "precision",
    "recall at the operating point": "recall",
}


@dataclass(frozen=True)
class Pair:
    """A fact of two runs, in words.

    Attributes:
        group: what kind of fact it is.
        name: which.
        first: of the first run; `NONE` where it has none.
        second: of the second, likewise.
    """

    group: str
    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return self.first != self.second

    @property
    def known(self) -> bool:
        """Whether both have it."""
        return NONE not in (self.first, self.second)


def side_by_side(first: RunArtifacts, second: RunArtifacts) -> list[Pair]:
    """Returns every fact of two runs, by group."""
    facts = _facts(first), _facts(second)
    return [
        Pair(group, name, *(each[group].get(name, NONE) for each in facts))
        for group in facts[0]
        for name in dict.fromkeys([*facts[0][group], *facts[1][group]])
    ]


def metric_values(metrics: ClickMetrics) -> dict[str, float]:
    """Returns the metrics that the rows define, by their names in words."""
    values = {name: getattr(metrics, field) for name, field in _METRICS.items()}
    values["AUC of clicks"] = metrics.auc.value
    values |= metrics.named
    return {name: value for name, value in values.items() if value is not None}


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields dotted keys and values of nested settings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", NONE if value is None else str(value)


def _facts(run: RunArtifacts) -> dict[str, dict[str, str]]:
    record = run.record
    version = NONE if record.version is None else str(record.version)
    metrics = metric_values(run.metrics.overall) if run.metrics else {}
    return {
        RESULT: {"status": record.status, "version": version},
        QUALITY: {name: f"{value:.4f}" for name, value in metrics.items()},
        DATA: {name: f"{value:,}" for name, value in record.data.items() if isinstance(value, int)},
        SETTINGS: dict(flat(record.config)),
        LINEAGE: run.lineage,
        SECONDS: {node.id: f"{node.seconds:.1f} ({node.state})" for node in record.nodes},
    }
