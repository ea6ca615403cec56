"""What a run leaves behind for people and programs: one JSON file in the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from components.findings import Finding

Status = Literal["pushed", "not blessed", "stopped by data", "failed"]

NodeState = Literal["done", "cached", "failed"]

RECORD_FILE = "run.json"


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
        status: how it ended.
        exit_code: of the command.
        message: why it did not push, if it did not.
        findings: what is wrong with the data, if that stopped it, and what else was noticed in it.
        config: the effective settings.
        data: what was found in the input.
        nodes: in the order they ran.
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
    version: int | None = None

    def output(self, node: str, name: str) -> Path | None:
        """Returns the folder of an output artifact, if that node got so far."""
        for record in self.nodes:
            if record.id == node and name in record.outputs:
                return Path(record.outputs[name])
        return None

    def write(self) -> None:
        """Writes the record into the run's folder."""
        (self.folder / RECORD_FILE).write_text(self.model_dump_json(indent=1), encoding="utf-8")


def read_record(folder: Path) -> RunRecord:
    """Reads the record of the run in `folder`."""
    return RunRecord.model_validate_json((folder / RECORD_FILE).read_text(encoding="utf-8"))
