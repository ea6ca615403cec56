"""What a labelled log says of a version: one pass, and never more than a block of it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from components import metrics
from components.ad_text import joined
from components.errors import InputError
from components.evaluator.folded_rows import FoldedRows
from components.evaluator.slices import (
    MISSING,
    SEEN_IN_TRAINING,
    ColumnSummary,
    SliceSpec,
    plan_slices,
)
from components.evaluator.tables import TRAINING_ROWS
from components.example_gen.settings import ReadingSettings
from components.features import CLICK_MODEL, Columns
from components.metrics import Count, Estimate, Floats, calibration_interval
from components.outcomes import by_label, weights_of
from components.serving_root import Version
from serving.monitor.ads import AD_AGE, FirstDays
from serving.monitor.log import read_log
from serving.monitor.scorer import make_scorer
from serving.monitor.settings import MonitorSettings
from serving.monitor.training import AttributeDrift, TrainingData

_MOST_SLICES = 20  # of an attribute


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


def measure(
    version: Version,
    log: Path,
    day: date,
    first_days: FirstDays,
    reading: ReadingSettings,
    settings: MonitorSettings,
) -> Measures:
    """Measures a version by a labelled log.

    Args:
        version: a version of the models, on this machine.
        log: a CSV or Parquet file, or a folder of them.
        day: that the log is of.
        first_days: when each ad was first seen; the log's ads are added.
        reading: how the log is read; the columns are those that the version was made for.
        settings: what is judged.

    Raises:
        InputError: the log cannot be used; what is wrong is in the message.
    """
    columns = Columns.of_model(version.folder(CLICK_MODEL))
    reading = reading.model_copy(update={"columns": columns})
    scorer = make_scorer(version)
    training = TrainingData(version, columns, scorer.inputs)
    _check_rules(settings, [*scorer.inputs, AD_AGE, SEEN_IN_TRAINING])
    sums = _Sums(columns, training, reading.multi_valued, settings)
    extra = (settings.served_probability, settings.served_version)
    for block in read_log(log, reading, scorer.inputs, extra):
        rows = by_label(block, columns)
        ages = first_days.ages(rows[columns.ad_id], day)
        sums.add(rows.append_column(AD_AGE, ages), scorer.score(rows), version.number)
    if not sums.rows:
        raise InputError(f"{log}: no rows in it; expected at least one below the header")
    return sums.measures()


def _check_rules(settings: MonitorSettings, known: Sequence[str]) -> None:
    for name in {name for rule in settings.rules for name in rule.slice}:
        if name not in known:
            raise InputError(f"monitor.rules: {name}: no such column; there are {', '.join(known)}")


@dataclass
class _Sums:
    """What is added up over the blocks of a log."""

    columns: Columns
    training: TrainingData
    separators: Mapping[str, str]
    settings: MonitorSettings
    rows: int = 0
    folded: FoldedRows = field(default_factory=FoldedRows)
    slices: dict[tuple[tuple[str, str], ...], Floats] = field(default_factory=dict)
    cold: float = 0
    unseen: dict[str, float] = field(default_factory=dict)
    any_unseen: float = 0
    skew: _SkewSums = field(default_factory=lambda: _SkewSums())

    def __post_init__(self) -> None:
        attributes = self.training.attributes
        self.drifts = {name: AttributeDrift(attribute) for name, attribute in attributes.items()}
        summaries = {
            name: ColumnSummary(
                edges=attribute.edges,
                kept=None if attribute.kept is None else (*attribute.kept[:_MOST_SLICES], MISSING),
            )
            for name, attribute in attributes.items()
        }
        specs = [SliceSpec((name,)) for name in [*summaries, AD_AGE, SEEN_IN_TRAINING]]
        specs += [SliceSpec((), tuple(rule.slice.items())) for rule in self.settings.rules]
        self.known_texts = pa.array(sorted(self.training.texts), pa.string())
        self.plan = plan_slices(tuple(spec for spec in specs if spec.columns), summaries)

    def add(self, rows: pa.Table, scores: Floats, version: int) -> None:
        """Adds a block of rows [N] with their label, and the probabilities [N] of the version."""
        labels, weights = rows[self.columns.label].to_numpy(), weights_of(rows)
        self.rows += len(rows)
        self.folded.add(labels, [scores], weights)
        texts = joined(rows, self.columns.ad_texts)
        known = pc.is_in(texts, value_set=self.known_texts)
        self.cold += float(weights.sums @ ~known.to_numpy())
        self._add_values(rows, weights.sums)
        usable = metrics.is_probability(scores)
        table = np.stack([usable, usable * labels, np.where(usable, scores, 0)]) * weights.sums
        self._add_slices(rows.append_column(TRAINING_ROWS, known.cast(pa.int64())), table)
        if self.settings.served_probability in rows.column_names:
            self.skew.add(rows, scores, version, self.settings)

    def measures(self) -> Measures:
        """Returns what the sums say."""
        folded = self.folded.unfold()
        labels, (scores,), weights = folded.labels, folded.scores, folded.weights
        total = float(weights.sums.sum()) + folded.unusable
        told = bool(self.unseen)
        return Measures(
            confidence=self.settings.confidence,
            overall=_part({}, weights.sums @ np.stack([np.ones(len(labels)), labels, scores], 1)),
            unusable_rows=folded.unusable,
            auc=metrics.auc(labels, scores, self.settings.confidence, weights),
            log_loss=metrics.log_loss(labels, scores, weights),
            normalized_entropy=metrics.normalized_entropy(labels, scores, weights),
            ece=metrics.calibration_error(labels, scores, weights),
            unseen_values=self.any_unseen / total if told else None,
            unseen_by_attribute={name: rows / total for name, rows in self.unseen.items()},
            cold_ads=self.cold / total,
            drift={name: drift.distance() for name, drift in self.drifts.items()},
            skew=self.skew.result(),
            slices=tuple(self._parts()),
        )

    def _add_values(self, rows: pa.Table, sums: Floats) -> None:
        any_unseen = np.zeros(len(rows), bool)
        for name, drift in self.drifts.items():
            unseen = drift.add(rows[name])
            if unseen is not None and name not in self.separators:
                self.unseen[name] = self.unseen.get(name, 0) + float(sums @ unseen)
                any_unseen |= unseen
        self.any_unseen += float(sums @ any_unseen)

    def _add_slices(self, rows: pa.Table, table: Floats) -> None:
        for part in self.plan.slices(rows):
            key = tuple(part.where.items())
            self.slices[key] = self.slices.get(key, 0) + table[:, part.rows].sum(axis=1)

    def _parts(self) -> Iterator[Part]:
        """Yields the slices in the order of what makes them, those with most rows first."""
        order = {spec.columns: place for place, spec in reversed([*enumerate(self.plan.specs)])}

        def place(item: tuple[tuple[tuple[str, str], ...], Floats]) -> tuple[int, float]:
            where, (rows, _, _) = item
            return order[tuple(name for name, _ in where)], -rows

        for where, sums in sorted(self.slices.items(), key=place):
            yield _part(dict(where), sums)


@dataclass
class _SkewSums:
    rows: int = 0
    other_rows: int = 0
    total: float = 0
    most: float = 0

    def add(self, rows: pa.Table, scores: Floats, version: int, settings: MonitorSettings) -> None:
        """Adds the rows [N] of a block that say what was served."""
        served = rows[settings.served_probability].to_numpy()
        compared = ~np.isnan(served)
        if settings.served_version in rows.column_names:
            by_this = pc.equal(pc.utf8_trim_whitespace(rows[settings.served_version]), str(version))
            others = compared & ~pc.fill_null(by_this, False).to_numpy()
            self.other_rows += int(others.sum())
            compared &= ~others
        apart = np.abs(served - scores)[compared]
        self.rows += len(apart)
        self.total += float(apart.sum())
        self.most = max(self.most, float(apart.max(initial=0)))

    def result(self) -> Skew | None:
        """Returns the skew; None if no row said what was served."""
        if not self.rows + self.other_rows:
            return None
        return Skew(
            rows=self.rows,
            other_rows=self.other_rows,
            mean=self.total / self.rows if self.rows else None,
            most=self.most if self.rows else None,
        )


def _part(where: dict[str, str], sums: Floats) -> Part:
    rows, clicks, predicted = sums.tolist()
    return Part(where=where, rows=rows, clicks=clicks, predicted=predicted)
