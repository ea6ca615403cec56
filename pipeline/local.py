"""Runs the pipeline on this machine, node by node; a run that was killed is continued."""

from __future__ import annotations

import logging
import time
import traceback
from datetime import datetime
from typing import TYPE_CHECKING

from components.errors import AnomalyError, NotBlessedError, TwotowerError, reason
from components.example_gen.csv_reader import InputSummary
from pipeline.config import PipelineConfig
from pipeline.display import Display
from pipeline.prepare import check_data, prepare
from pipeline.quiet import output_to
from pipeline.run_record import NodeRecord, RunRecord, Status

if TYPE_CHECKING:
    from pipeline.local_nodes import LocalNodes

LOG_FILE = "run.log"
_DATA_FACTS = ("rows", "impressions", "clicks", "ads", "texts", "split", "bad_rows", "warnings")


def run(config: PipelineConfig, display: Display) -> RunRecord:
    """Runs the pipeline from the CSV to the push.

    Args:
        config: the settings.
        display: shows the progress.

    Returns:
        The record of the run, which is also in the run's folder; its status says how it ended.

    Raises:
        InputError: the input or the settings cannot be used; nothing was run.
    """
    with display.step("check input") as step:
        data = check_data(config)
        step.note = f"{data.impressions:,} impressions, {data.ads:,} ads"
    record = _new_record(config, data)
    logging.getLogger("components").setLevel(logging.INFO)
    try:
        with output_to(record.folder / LOG_FILE):
            _run_nodes(_load(config, display), record, display)
        record.status, record.exit_code = "pushed", 0
    except Exception as error:
        _explain(error, record)
    finally:
        record.write()
    _report(record, display)
    return record


def _report(record: RunRecord, display: Display) -> None:
    """Writes the report; a run that has none is no worse for it."""
    from pipeline.runs import ensure_report

    try:
        with display.step("report") as step, output_to(record.folder / LOG_FILE):
            step.note = str(ensure_report(record))
    except Exception as error:
        display.console.print(f"Warning: there is no report: {error!r}", markup=False)


def _new_record(config: PipelineConfig, data: InputSummary) -> RunRecord:
    run_id = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = config.folder / run_id
    folder.mkdir(parents=True)
    return RunRecord(
        run_id=run_id,
        folder=folder,
        status="failed",
        exit_code=TwotowerError.exit_code,
        config=config.model_dump(mode="json"),
        data={name: getattr(data, name) for name in _DATA_FACTS},
        nodes=[],
    )


def _load(config: PipelineConfig, display: Display) -> LocalNodes:
    with display.step("load TFX"):
        from pipeline.local_nodes import LocalNodes
    with display.step("text encoder"):
        prepared = prepare(config)
    return LocalNodes(config, prepared)


def _run_nodes(nodes: LocalNodes, record: RunRecord, display: Display) -> None:
    for node in nodes.ids:
        start = time.monotonic()
        result = NodeRecord(id=node, state="failed", seconds=0)
        record.nodes.append(result)
        try:
            with display.step(node) as step:
                result.state, result.outputs = nodes.run(node)
                step.note = "cached" if result.state == "cached" else ""
        finally:
            result.seconds = time.monotonic() - start
    record.version = nodes.pushed_version


def _explain(error: Exception, record: RunRecord) -> None:
    """Puts into the record why a run ended early."""
    cause = reason(error)
    if cause is None:
        with (record.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
        node = record.nodes[-1].id if record.nodes else "the start"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        record.message = f"{node} failed: {lines[-1]}\nThe log: {record.folder / LOG_FILE}"
        return
    statuses: dict[type, Status] = {NotBlessedError: "not blessed", AnomalyError: "stopped by data"}
    record.status = statuses.get(type(cause), "failed")
    record.exit_code = cause.exit_code
    record.message = str(cause)
    if isinstance(cause, AnomalyError):
        record.findings = cause.findings
