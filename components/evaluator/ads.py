"""The table of the ads, summed up in parts that merge."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluator.tables import CLICKS, ROWS, TRAINING_ROWS
from components.features import PROBABILITY, Columns
from components.outcomes import weights_of


class AdsFn(beam.CombineFn):
    """Sums up each ad (id and text) of blocks of scored rows, those with most rows first.

    The table has the ad's id and text, ROWS, CLICKS, mean PROBABILITY and TRAINING_ROWS.

    Args:
        columns: which columns hold the text, the ids and the label.
    """

    def __init__(self, columns: Columns) -> None:
        self._ad = [columns.ad_id, *columns.ad_texts]
        self._label = columns.label

    def create_accumulator(self) -> list[pa.Table]:
        return []

    def add_input(self, tables: list[pa.Table], block: pa.RecordBatch) -> list[pa.Table]:
        rows = pa.Table.from_batches([block])
        sums = weights_of(rows).sums
        rows = pa.table(
            {
                **{name: rows[name] for name in self._ad},
                ROWS: sums,
                CLICKS: sums * rows[self._label].to_numpy(),
                PROBABILITY: sums * rows[PROBABILITY].to_numpy(),
                TRAINING_ROWS: rows[TRAINING_ROWS],
            }
        )
        return [self._sum([*tables, rows])]

    def merge_accumulators(self, parts: Iterable[list[pa.Table]]) -> list[pa.Table]:
        tables = [table for part in parts for table in part]
        return [self._sum(tables)] if tables else []

    def extract_output(self, tables: list[pa.Table]) -> pa.Table:
        ads = self._sum(tables)
        place = ads.column_names.index(PROBABILITY)
        mean = pc.divide(ads[PROBABILITY], ads[ROWS])
        ads = ads.set_column(place, PROBABILITY, mean)
        return ads.sort_by([(ROWS, "descending"), (self._ad[0], "ascending")])

    def _sum(self, tables: list[pa.Table]) -> pa.Table:
        """Makes one row of each ad; its probability is the sum."""
        totals = {ROWS: "sum", CLICKS: "sum", PROBABILITY: "sum", TRAINING_ROWS: "max"}
        whole = pa.concat_tables(tables).group_by(self._ad).aggregate(list(totals.items()))
        return whole.rename_columns([*self._ad, *totals])
