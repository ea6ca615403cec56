"""What a run leaves behind for people and programs: one JSON file in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from components.errors import InputError
from components.findings import NOTES_FILE, Finding, read_notes
from components.folder_lock import hold
from components.output_file import write_text

Status = Literal[
    "running",
    "pushed",
    "not pushed",
    "not blessed",
    "withdrawn",
    "stopped by data",
    "failed",
    "interrupted",
    "killed",
]

NodeState = Literal["done", "cached", "failed"]

RECORD_FILE = "run.json"

REFIT_NOTE = (
    "What is pushed is the refit: the same recipe trained on all rows of the input, those for "
    "evaluation among them, after the model that the verdict is about had passed"
)
REFIT = "refit"  # the node that trains once more, on all rows, what has passed


class NodeRecord(BaseModel):
    """How a node did.

    Attributes:
        id: the node's.
        state: done, cached (an earlier run's output was reused), or failed.
        seconds: wall time.
        outputs: the folder of each output artifact, by the output's name.
    """

    id: str
    state: NodeState
    seconds: float
    outputs: dict[str, str] = {}


class RunRecord(BaseModel):
    """One run of a pipeline.

    Attributes:
        run_id: the time it began.
        folder: where its log, this record and its report are.
        status: how it ended; running until then. Not pushed: it was asked to end before the push.
        exit_code: of the command.
        message: why it did not push, if it did not.
        findings: what is wrong with the data, if that stopped it, and what else was noticed in it.
        config: the effective settings.
        data: what was found in the input.
        nodes: in the order they ran.
        cache_key: a digest of all that its nodes depend on, but for what is in service; none where
            the cache was not to be used.
        push_cache_key: tells whether what it pushed is in service still, if it pushed.
        version: the version in the serving root, if it pushed.
    """

    run_id: str
    folder: Path
    status: Status
    exit_code: int
    message: str = ""
    findings: list[Finding] = []
    config: dict[str, Any]
    data: dict[str, Any]
    nodes: list[NodeRecord]
    cache_key: str | None = None
    push_cache_key: str | None = None
    version: int | None = None

    @property
    def is_refit(self) -> bool:
        """Whether what it pushed was trained on the evaluation rows too, after it had passed."""
        return any(node.id == REFIT for node in self.nodes)

    def output(self, node: str, name: str) -> Path | None:
        """Returns the folder of an output artifact, if that node got so far."""
        for record in self.nodes:
            if record.id == node and name in record.outputs:
                return Path(record.outputs[name])
        return None

    def notes(self) -> list[Finding] | None:
        """Returns what the data checks and Transform let pass; None if it got not so far."""
        gate = self.output("schema_gate", "notes")
        if gate is None or not gate.exists():
            return None
        graph = self.output("transform", "transform_graph")
        files = [gate, *([] if graph is None else [graph / NOTES_FILE])]
        return [finding for file in files if file.exists() for finding in read_notes(file)]

    def write(self) -> None:
        """Writes the record into the run's folder."""
        write_text(self.folder / RECORD_FILE, self.model_dump_json(indent=1))


def read_record(folder: Path) -> RunRecord:
    """Reads the record of the run in `folder`.

    Raises:
        InputError: it cannot be read, is damaged or of another version of twotower.
    """
    file = folder / RECORD_FILE
    try:
        record = RunRecord.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        lines = str(error).splitlines()
        raise InputError(
            f"{file}: damaged, or written by another version of twotower ({lines[0]})"
        ) from None
    if record.status == "running":
        with hold(folder) as nobody_runs:
            if nobody_runs:  # the process ended before it could say how
                record.status = "killed"
    return record
