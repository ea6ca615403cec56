"""What Transform's analysis noticed in the data.

An analyzer runs on a worker and can hand numbers to the graph only, so it leaves a file.
"""

from __future__ import annotations

import hashlib

from tfx.dsl.io import fileio

from components.features import TRAIN
from components.findings import Finding, from_json, to_json


def write(folder: str | None, findings: list[Finding]) -> None:
    """Writes the findings of an analyzer, where there are any, and a folder for them."""
    if folder is not None and findings:
        text = to_json(findings)
        fileio.makedirs(folder)
        # Named by its content: a worker that tries again writes it once.
        name = hashlib.sha256(text.encode()).hexdigest()
        with fileio.open(f"{folder}/{name}.json", "w") as file:
            file.write(text)


def read(folder: str) -> list[Finding]:
    """Reads the findings of all analyzers; none where there is no such folder."""
    findings = []
    for name in sorted(fileio.glob(f"{folder}/*.json")):
        with fileio.open(name, "rb") as file:
            findings += from_json(file.read())
    return findings


def constant(column: str, value: str) -> Finding:
    """Says that a column has the same value, or none, in every row."""
    return Finding(
        split=TRAIN,
        column=column,
        problem="the same in every row, and left out of the model",
        detail=value or "missing",
    )
