"""The verdict on a model: every rule as a line that says what was required and measured."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, computed_field

from components.metrics import Count
from components.read_artifact import read_file

VERDICT_FILE = "verdict.json"

ALL_ROWS = "all rows"


class Judgement(BaseModel):
    """One rule, and how the model did.

    Attributes:
        rule: its name, that of its setting where it has one of its own, as `min_auc`.
        what: what is measured, in words.
        slice: the rows it is measured on.
        at_least: the least that passes, if there is one.
        at_most: the most that passes, if there is one.
        measured: what was measured; None where it could not be.
        passed: None where there was nothing to judge; `note` says why.
        rows: rows it rests on.
        clicks: clicks among them.
        note: how it was measured, or why not.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    what: str
    slice: str = ALL_ROWS
    at_least: int | float | None = None
    at_most: int | float | None = None
    measured: int | float | None
    passed: bool | None
    rows: Count
    clicks: Count
    note: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def required(self) -> str:
        """What passes, in words."""
        bounds = {"at least": self.at_least, "at most": self.at_most}
        return " and ".join(f"{side} {_number(b)}" for side, b in bounds.items() if b is not None)

    def cells(self) -> list[str]:
        """Returns the judgement as the cells of one line of text."""
        outcome = {True: "PASS", False: "FAIL", None: "NOTE"}[self.passed]
        what = self.what if self.slice == ALL_ROWS else f"{self.what}, {self.slice}"
        measured = "not measured" if self.measured is None else f"measured {_number(self.measured)}"
        rests_on = f"{self.rows:,} rows, {self.clicks:,} clicks"
        return [outcome, what, self.required, measured, rests_on, self.note]


class Verdict(BaseModel):
    """Whether a model may be pushed, and why.

    Attributes:
        judgements: one for each rule that is set, the rules in the order of the settings.
    """

    model_config = ConfigDict(frozen=True)

    judgements: tuple[Judgement, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def blessed(self) -> bool:
        """Whether no rule failed."""
        return all(judgement.passed is not False for judgement in self.judgements)

    def lines(self) -> list[str]:
        """Returns one aligned line of plain words for each judgement."""
        return _aligned([judgement.cells() for judgement in self.judgements])


def refusal(folder: str) -> str:
    """Says why the model of a blessing artifact's `folder` is not pushed."""
    lines = read_verdict(folder).lines()
    return "\n".join(["not pushed, the model did not pass the gate:", *lines])


def read_verdict(folder: str) -> Verdict:
    """Reads the verdict in a blessing artifact's `folder`, a path or a URI.

    Raises:
        FileNotFoundError: there is no verdict.
    """
    return Verdict.model_validate_json(read_file(folder, VERDICT_FILE))


def _number(value: float) -> str:
    """Writes a count whole and a measure with four decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:z.4f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
