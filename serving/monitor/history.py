"""What the monitor found, day by day: `history.jsonl` in its folder.

Each line is an `Entry` as JSON: one version on one day. Running the monitor again on a day replaces
the day's line of that version. Lines are in order of day, then of version.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.errors import InputError
from components.evaluator.verdict import Verdict
from components.output_file import write_text
from serving.monitor.measures import Measures

HISTORY_FILE = "history.jsonl"

Role = Literal["stable", "canary"]


class Entry(BaseModel):
    """A version on a day.

    Attributes:
        day: that the log is of.
        version: its number.
        role: whether it was the one in service or a canary beside it.
        pushed: when it came into the serving root.
        log: the log.
        measured: when that was, in UTC.
        measures: what the log says of it.
        verdict: on that, by the rules that were set then.
    """

    model_config = ConfigDict(frozen=True)

    day: date
    version: int
    role: Role
    pushed: datetime | None
    log: str
    measured: datetime
    measures: Measures
    verdict: Verdict


def read_history(folder: Path) -> list[Entry]:
    """Reads the entries in a monitor's folder, in order of day and version; none without a history.

    Raises:
        InputError: a line is damaged.
    """
    file = folder / HISTORY_FILE
    if not file.exists():
        return []
    entries = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            found = error.errors()[0]
            where = ".".join(map(str, found["loc"]))
            raise InputError(
                f"{file}, line {number}: not an entry of the monitor ({where}: {found['msg']}); "
                "remove the line, and measure its day again"
            ) from None
    return entries


def record(folder: Path, entries: list[Entry]) -> list[Entry]:
    """Adds entries, which take the place of those of the same day and version.

    Returns:
        The whole history.

    Raises:
        InputError: a line of it is damaged, or it cannot be written.
    """
    by_key = {(entry.day, entry.version): entry for entry in [*read_history(folder), *entries]}
    whole = [by_key[key] for key in sorted(by_key)]
    lines = [f"{entry.model_dump_json()}\n" for entry in whole]
    write_text(folder / HISTORY_FILE, "".join(lines))
    return whole


def verdicts(folder: Path) -> dict[int, dict[date, bool]]:
    """Returns by version and day whether no rule failed, days in their order.

    Raises:
        InputError: a line of the history is damaged.
    """
    found: dict[int, dict[date, bool]] = {}
    for entry in read_history(folder):
        found.setdefault(entry.version, {})[entry.day] = entry.verdict.blessed
    return found
