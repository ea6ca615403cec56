"""What the validator found: one line a check, in the blessing's folder."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, computed_field

from components.read_artifact import read_file

VALIDATION_FILE = "validation.json"


class Check(BaseModel):
    """One check of the exports.

    Attributes:
        model: its name.
        what: was looked at.
        required: what passes, in words.
        measured: what was found, in words.
        passed: whether that will do.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    what: str
    required: str
    measured: str
    passed: bool

    def line(self) -> str:
        """Returns the check as one line of text."""
        outcome = "PASS" if self.passed else "FAIL"
        return f"{outcome}  {self.model}, {self.what}: {self.measured} ({self.required})"


class Validation(BaseModel):
    """Whether the exports can be served, and how that is known.

    Attributes:
        server: that served them, in words.
        rows: of the eval split that were sent.
        seconds: that it took until every model could answer.
        checks: in the order they were made.
    """

    model_config = ConfigDict(frozen=True)

    server: str
    rows: int
    seconds: float
    checks: tuple[Check, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed for check in self.checks)

    def lines(self) -> list[str]:
        """Returns a line for each check."""
        return [check.line() for check in self.checks]

    def failures(self) -> list[str]:
        """Returns a line for each check that failed."""
        return [check.line() for check in self.checks if not check.passed]


def read_validation(folder: str) -> Validation:
    """Reads what the validator found from an infra blessing's `folder`, a path or a URI.

    Raises:
        FileNotFoundError: it is not there.
    """
    return Validation.model_validate_json(read_file(folder, VALIDATION_FILE))
