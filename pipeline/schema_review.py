"""Takes what the data of a stopped run showed into the curated schema, for a person to review."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.output_file import write_text
from components.schema_gate.infer import accept, read_statistics
from pipeline.config import PipelineConfig
from pipeline.run_record import RunRecord
from pipeline.runs import find_runs, open_run

_CONTEXT = 12  # lines of a diff around each change, to see the name of what is changed


@dataclass(frozen=True)
class Proposal:
    """A change of the curated schema.

    Attributes:
        file: The schema's.
        run_id: The run whose data the changed schema allows.
        before: The schema's text.
        after: Its text with the change.
    """

    file: Path
    run_id: str
    before: str
    after: str

    def diff(self) -> str:
        """Returns the change as a unified diff; empty if there is none."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        names = str(self.file), f"with run {self.run_id}"
        return "".join(difflib.unified_diff(before, after, *names, n=_CONTEXT))

    def write(self) -> None:
        """Writes the changed schema."""
        write_text(self.file, self.after)


def propose(config: PipelineConfig, run: str | None) -> Proposal:
    """Proposes a schema that allows what the statistics of a run show.

    Args:
        config: The settings.
        run: The run's id or folder; none for the newest that the data stopped.

    Raises:
        InputError: There is no such run, it has left no statistics, or the schema cannot be read.
    """
    record = _stopped_run(config) if run is None else open_run(run, config.folder)
    statistics = record.output("statistics", "statistics")
    if statistics is None:
        raise InputError(f"run {record.run_id} ended before it had looked at the data")
    file = config.data.schema_file
    try:
        before = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    after = accept(before, read_statistics(statistics), config.data.columns)
    return Proposal(file, record.run_id, before, after)


def _stopped_run(config: PipelineConfig) -> RunRecord:
    stopped = [run for run in find_runs(config.folder) if run.status == "stopped by data"]
    if not stopped:
        raise InputError(f"{config.folder}: no run in it was stopped by its data; name one: --run")
    return stopped[-1]
