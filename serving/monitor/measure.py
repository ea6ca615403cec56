"""What a labelled log says of a version: one pass, and never more than a block of it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
from components.metrics import Floats
from components.outcomes import by_label, weights_of
from components.serving_root import Version
from serving.monitor.ads import AD_AGE, FirstDays
from serving.monitor.log import read_log
from serving.monitor.measures import Measures, Part, Skew
from serving.monitor.scorer import make_scorer
from serving.monitor.settings import MonitorSettings
from serving.monitor.training import AttributeDrift, TrainingData

_MOST_SLICES = 20  # of an attribute


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
    scorer = make_scorer(version, columns)
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
        self.cold += float(weights.sums[~known.to_numpy()].sum())
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
                self.unseen[name] = self.unseen.get(name, 0) + float(sums[unseen].sum())
                any_unseen |= unseen
        self.any_unseen += float(sums[any_unseen].sum())

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
