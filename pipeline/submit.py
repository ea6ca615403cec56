"""Compiles the pipeline and starts it on Kubeflow or Vertex."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.compile import SUFFIXES, Target, write_specification
from pipeline.config import PipelineConfig


def submit(config: PipelineConfig, target: Target, schedule: str | None = None) -> str:
    """Starts a run, or has one started by a schedule, as `kubeflow.submit` and `vertex.submit` say.

    Raises:
        InputError: settings that cannot be compiled, or a place that cannot be reached with them.
    """
    if target == "vertex":
        from pipeline.vertex import submit as start
    else:
        from pipeline.kubeflow import submit as start
    with tempfile.TemporaryDirectory() as folder:
        specification = Path(folder, config.name + SUFFIXES[target])
        write_specification(config, target, specification, scheduled=schedule is not None)
        return start(config, specification, schedule)
