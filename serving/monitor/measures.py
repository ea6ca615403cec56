"""What a labelled log says of a version: what is kept of a day, without what measures it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from components.metrics import Count, Estimate, calibration_interval


class Part(BaseModel):
    """The rows of a slice, or all.

    Attributes:
        where: the value of each column that makes the slice; none for all rows.
        rows: rows, each counted by its weight.
        clicks: rows with a click, likewise.
        predicted: clicks that the version expects of them.
    """

    model_config = ConfigDict(frozen=True)

    where: dict[str, str] = {}
    rows: Count
    clicks: Count
    predicted: float

    @property
    def calibration(self) -> float | None:
        """Clicks predicted by clicks observed; None without a click."""
        return self.predicted / self.clicks if self.clicks else None

    def values(self, confidence: float) -> dict[str, float | None]:
        """Returns what is measured, by the names in `settings.OF_ANY_ROWS`."""
        low, high = calibration_interval(self.calibration, self.clicks, confidence)
        return {
            "rows": self.rows,
            "clicks": self.clicks,
            "click_rate": self.clicks / self.rows if self.rows else None,
            "mean_probability": self.predicted / self.rows if self.rows else None,
            "calibration": self.calibration,
            "calibration_low": low,
            "calibration_high": high,
        }


class Skew(BaseModel):
    """How the probabilities that were served differ from what the version says now.

    Attributes:
        rows: rows that this version answered, as the log says; all where it does not say.
        other_rows: rows that another version answered.
        mean: mean absolute difference; None without rows.
        most: greatest absolute difference.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    other_rows: int
    mean: float | None
    most: float | None


class Measures(BaseModel):
    """All that is measured of a version by a log.

    Attributes:
        confidence: certainty of each bound.
        overall: all rows.
        unusable_rows: rows without a probability from 0 to 1; no other measure counts them.
        auc: area under the ROC curve, see `metrics.auc`.
        log_loss: mean negative log-likelihood in nats.
        normalized_entropy: log loss by that of predicting the click rate for every row.
        ece: expected calibration error, see `metrics.calibration_error`.
        unseen_values: share of the rows with a text attribute whose value training lacks; None
            where the push left no statistics of it.
        unseen_by_attribute: the same, by attribute.
        cold_ads: share of the rows with an ad text that training lacks.
        drift: distance from training by attribute, see `training.AttributeDrift.distance`.
        skew: None where the log does not say what was served.
        slices: by attribute, by age of the ad, by whether training has the ad, and those of rules.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float
    overall: Part
    unusable_rows: Count
    auc: Estimate
    log_loss: float | None
    normalized_entropy: float | None
    ece: float | None
    unseen_values: float | None
    unseen_by_attribute: dict[str, float]
    cold_ads: float
    drift: dict[str, float]
    skew: Skew | None
    slices: tuple[Part, ...]

    def part(self, where: Mapping[str, str]) -> Part | None:
        """Returns a slice, or all rows where nothing is asked for; None if it has no rows."""
        if not where:
            return self.overall
        return next((part for part in self.slices if part.where == where), None)

    def value(self, metric: str, where: Mapping[str, str]) -> float | None:
        """Returns a measure by the name that rules use; None where it is undefined."""
        part = self.part(where)
        values = {} if part is None else part.values(self.confidence)
        if not where:
            values |= {
                "auc": self.auc.value,
                "auc_low": self.auc.low,
                "auc_high": self.auc.high,
                "log_loss": self.log_loss,
                "normalized_entropy": self.normalized_entropy,
                "ece": self.ece,
                "unusable_rows": self.unusable_rows,
                "unseen_values": self.unseen_values,
                "cold_ads": self.cold_ads,
                "drift": max(self.drift.values(), default=None),
                "skew": self.skew.mean if self.skew else None,
                "max_skew": self.skew.most if self.skew else None,
            }
        return values.get(metric)
