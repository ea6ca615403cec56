"""What was read of a span, as it is kept for the next run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from components.example_gen.blocks import Header
from components.example_gen.column_counts import ColumnCounts
from components.example_gen.spans import Span
from components.example_gen.split import Counts

COUNTS = "counts"  # the kind of what is kept, see SpanStore

_FACTS_FILE, _VALUES_FILE = "facts.json", "values.arrow"


class SpanFacts(BaseModel):
    """What was found in a span.

    Attributes:
        headers: Of its files, by their names under the input's folder.
        files: Rows and clicks of each.
        bad_rows: Number of rows that are set aside.
        texts_of: Hashes of the texts of each ad id.
    """

    headers: dict[str, Header]
    files: dict[str, Counts]
    bad_rows: int
    texts_of: dict[str, list[int]]


@dataclass(frozen=True)
class ReadSpan:
    """A span that was read.

    Attributes:
        span: Where it is.
        split: What it is for.
        digest: Of its content.
        facts: What was found in it.
        values: How often each value occurs in its good rows, as it stands in the input.
        problems: Why it cannot be used.
    """

    span: Span
    split: str
    digest: str
    facts: SpanFacts
    values: ColumnCounts
    problems: list[str]

    def save(self, folder: Path) -> None:
        """Writes what does not depend on the split into a folder."""
        (folder / _FACTS_FILE).write_text(self.facts.model_dump_json(), encoding="utf-8")
        (folder / _VALUES_FILE).write_bytes(self.values.to_bytes())

    @staticmethod
    def load(folder: Path, span: Span, split: str, digest: str) -> ReadSpan:
        """Reads what `save` wrote."""
        facts = SpanFacts.model_validate_json((folder / _FACTS_FILE).read_bytes())
        values = ColumnCounts.from_bytes((folder / _VALUES_FILE).read_bytes())
        return ReadSpan(span, split, digest, facts, values, [])
