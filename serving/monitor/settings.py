"""What can be set of the monitor: `monitor` in the YAML."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, field_validator

from components.evaluator.settings import RuleSettings
from components.settings import Settings, Share

# What is measured of any rows, and what of all rows only: in words, by the name that rules use.
OF_ANY_ROWS = {
    "rows": "Rows",
    "clicks": "Clicks",
    "click_rate": "Click rate",
    "mean_probability": "Mean probability",
    "calibration": "Clicks predicted by clicks observed",
    "calibration_low": "Clicks predicted by clicks observed, lower bound",
    "calibration_high": "Clicks predicted by clicks observed, upper bound",
}
OF_ALL_ROWS = {
    "auc": "AUC of clicks",
    "auc_low": "AUC of clicks, lower bound",
    "auc_high": "AUC of clicks, upper bound",
    "log_loss": "Log loss",
    "normalized_entropy": "Normalized entropy",
    "ece": "Expected calibration error",
    "unusable_rows": "Rows without a probability from 0 to 1",
    "unseen_values": "Rows with a value that training lacks",
    "cold_ads": "Rows with an ad that training lacks",
    "drift": "Drift of the attribute that drifts most",
    "skew": "Mean difference of what was served",
    "max_skew": "Most difference of what was served",
}


def _rule(metric: str, **bounds: float) -> RuleSettings:
    return RuleSettings(metric=metric, **bounds)


class MonitorSettings(Settings):
    """How the models in service are judged by the clicks that came."""

    served_probability: str = Field(
        "served_probability",
        description="Column of the log with the probability that was served, where it has one.",
    )
    served_version: str = Field(
        "served_version",
        description="Column of the log with the version that answered, where it has one.",
    )
    confidence: Share = Field(0.95, description="Certainty of each bound.")
    rules: tuple[RuleSettings, ...] = Field(
        (
            _rule("auc_high", at_least=0.6),
            _rule("normalized_entropy", at_most=1),
            _rule("calibration_high", at_least=0.7),
            _rule("calibration_low", at_most=1.4),
        ),
        description="What a day must show of a version, as in [{metric: cold_ads, at_most: 0.5}, "
        "{metric: calibration_high, at_least: 0.7, slice: {att_device: mobile}}].",
    )

    @field_validator("rules")
    @classmethod
    def _are_measured(cls, rules: Iterable[RuleSettings]) -> Iterable[RuleSettings]:
        for rule in rules:
            measured = OF_ANY_ROWS if rule.slice else {**OF_ANY_ROWS, **OF_ALL_ROWS}
            if rule.metric not in measured:
                of = "a slice" if rule.slice else "all rows"
                raise ValueError(
                    f"{rule.metric}: not measured of {of}; there are {', '.join(measured)}"
                )
        return rules
