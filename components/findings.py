"""What is wrong with the data, or worth knowing of it, and how it is shown."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter
from rich.console import Console
from rich.table import Table

from components.errors import AnomalyError, printable

# In the folder of a transform graph, what the analysis noticed.
NOTES_FILE = "notes.json"

_WIDTH = 100


class Finding(BaseModel):
    """One thing that was found in the data.

    Attributes:
        split: The split it was found in.
        column: The column; empty for the split as a whole.
        problem: What is wrong.
        detail: How much of it: shares of rows and examples, where they are known.
        check: The setting of `data_checks` that asked for it; empty if the schema did.
        stops: Whether it stops the run.
    """

    model_config = ConfigDict(frozen=True)

    split: str
    column: str
    problem: str
    detail: str
    check: str = ""
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.column or 'all columns'} ({self.split}): {self.problem}, {self.detail}"


_FINDINGS = TypeAdapter(list[Finding])


def to_json(findings: list[Finding]) -> str:
    """Returns findings as JSON, for `read_notes`."""
    return _FINDINGS.dump_json(findings).decode()


def read_notes(file: Path) -> list[Finding]:
    """Reads the findings that the gate let pass.

    Args:
        file: What the gate's output `notes` is in.
    """
    return from_json(file.read_bytes())


def from_json(text: bytes) -> list[Finding]:
    """Reads what `to_json` wrote."""
    return _FINDINGS.validate_json(text)


def table(findings: Iterable[Finding]) -> str:
    """Lays findings out as a table for a terminal."""
    rows = Table("split", "column", "what is wrong", "how much", box=None, pad_edge=False)
    for finding in findings:
        row = (finding.split, finding.column or "–", finding.problem, finding.detail)
        rows.add_row(*map(printable, row))
    text = io.StringIO()
    Console(file=text, width=_WIDTH, color_system=None).print(rows, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def stop(findings: Iterable[Finding], what: str, remedy: str) -> None:
    """Stops the run if a finding does.

    Args:
        findings: all that was found.
        what: what is wrong, in a few words.
        remedy: what to do if the data is right.

    Raises:
        AnomalyError: a finding stops the run; with a table.
    """
    findings = list(findings)
    stopping = [finding for finding in findings if finding.stops]
    others = [finding for finding in findings if not finding.stops]
    if stopping:
        also = f"Also noticed:\n\n{table(others)}\n\n" if others else ""
        raise AnomalyError(
            f"{what}:\n\n{table(stopping)}\n\n{also}Correct the data; or, if it is right, {remedy}",
            [*stopping, *others],
        )
