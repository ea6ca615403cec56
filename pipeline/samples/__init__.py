"""Sample data: campaigns in the CSV form a run reads, to try the pipeline on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from components.output_file import output_file


@dataclass(frozen=True)
class CampaignFacts:
    """What a written campaign holds.

    Attributes:
        impressions: The CSV file of impressions.
        rows: Impressions in it.
        ads: Distinct message ids in it.
        one_hot_columns: Columns its attributes become, those for unseen and missing values aside.
        click_rate: Share of rows with `clicked` = 1.
        truth: CSV file of the true click probability of each row, where it is known.
        best_auc: AUC of ranking the rows by that probability, which no model can be expected to
            beat.
    """

    impressions: Path
    rows: int
    ads: int
    one_hot_columns: int
    click_rate: float
    truth: Path | None = None
    best_auc: float | None = None


def write_csv(path: Path, tables: Iterable[pa.Table]) -> None:
    """Writes tables of one schema as one CSV file (RFC 4180) with a header; nulls become empty.

    Raises:
        InputError: `path` cannot be written.
    """
    tables = iter(tables)
    first = next(tables)
    with output_file(path) as partial, pyarrow.csv.CSVWriter(partial, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
