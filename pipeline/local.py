"""Runs the pipeline on this machine, node by node; a run that was killed is continued."""

from __future__ import annotations

import logging
import time
import traceback
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from components.errors import (
    AnomalyError,
    InputError,
    NotBlessedError,
    TwotowerError,
    WithdrawnError,
    last_cause,
    reason,
)
from components.example_gen.csv_reader import InputSummary
from components.folder_lock import hold
from components.pusher.cache_key import push_cache_key
from pipeline.config import PipelineConfig
from pipeline.display import Display
from pipeline.guard import guarded
from pipeline.interruption import Interrupted, received
from pipeline.prepare import as_of_newest_span, check_data, check_machine, prepare
from pipeline.quiet import output_to
from pipeline.run_record import REFIT, NodeRecord, RunRecord, Status
from pipeline.startup import multiply_with_onednn
from pipeline.unchanged import find_unchanged, reuse, run_cache_key
from pipeline.unused import unused_left_out

if TYPE_CHECKING:
    from pipeline.local_nodes import LocalNodes

LOG_FILE = "run.log"
_DATA_FACTS = ("rows", "impressions", "clicks", "ads", "texts", "split", "bad_rows", "warnings")


def run(
    config: PipelineConfig, display: Display, *, again: bool = False, until: str | None = None
) -> RunRecord:
    """Runs the pipeline from the CSV to the push.

    Args:
        config: the settings.
        display: shows the progress.
        again: push the model even if it was withdrawn.
        until: the node that is the last to run; None to push.

    Returns:
        The record of the run, which is also in the run's folder; its status says how it ended.

    Raises:
        InputError: the input or the settings cannot be used, or another run of this pipeline is
            under way; nothing was run.
        Interrupted: a signal asked to stop; the record says so.
    """
    config = as_of_newest_span(config)
    check_machine(config)
    with display.step("check input") as step:
        data = check_data(config)
        step.note = f"{data.impressions:,} impressions, {data.ads:,} ads"
    config.folder.mkdir(parents=True, exist_ok=True)
    with hold(config.folder) as is_first:
        if not is_first:
            raise InputError(
                f"{config.folder}: another run of this pipeline is under way; wait for its end, or "
                "give one of them another name"
            )
        record = _new_record(config, data)
        with hold(record.folder), guarded():
            _run(config, record, display, again, until)
            _report(record, display)
    return record


def _run(
    config: PipelineConfig, record: RunRecord, display: Display, again: bool, until: str | None
) -> None:
    record.write()
    logging.getLogger("components").setLevel(logging.INFO)
    try:
        with output_to(record.folder / LOG_FILE):
            _run_or_reuse(config, record, display, again, until)
        record.status, record.exit_code = "pushed", 0
        if until is not None:
            record.status, record.message = "not pushed", f"ended after {until}"
    except (Exception, Interrupted) as error:
        if number := received():
            raise _interrupted(number, record) from None
        _explain(error, record)
    finally:
        record.write()


def _interrupted(number: int, record: RunRecord) -> Interrupted:
    node = record.nodes[-1].id if record.nodes else "the start"
    interrupted = Interrupted(
        number,
        f"run {record.run_id} was interrupted in {node}: what is in service is whole and the nodes "
        "that were done are kept; the same command goes on from there",
    )
    record.status, record.exit_code = "interrupted", interrupted.exit_code
    record.message = str(interrupted)
    return interrupted


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
        status="running",
        exit_code=TwotowerError.exit_code,
        config=config.model_dump(mode="json"),
        data={name: getattr(data, name) for name in _DATA_FACTS},
        nodes=[],
    )


def _run_or_reuse(
    config: PipelineConfig, record: RunRecord, display: Display, again: bool, until: str | None
) -> None:
    """Runs the nodes, unless an earlier run did all that they would do."""
    if config.cache:
        record.cache_key = run_cache_key(config)
        earlier = find_unchanged(record, config.folder)
        if earlier is not None:
            with display.step("every node") as step:
                reuse(earlier, record, until)
                step.note = f"cached: nothing changed since run {earlier.run_id}"
            return
    _run_nodes(_load(config, display, again), record, display, until)
    if until is None:
        record.push_cache_key = push_cache_key(config.pusher.serving_root)


def _load(config: PipelineConfig, display: Display, again: bool) -> LocalNodes:
    multiply_with_onednn()
    with display.step("load TFX"), unused_left_out():
        from pipeline.local_nodes import LocalNodes
    with display.step("text encoder"):
        prepared = prepare(config, again)
    return LocalNodes(config, prepared)


def _run_nodes(nodes: LocalNodes, record: RunRecord, display: Display, until: str | None) -> None:
    ids = nodes.ids if until is None else nodes.ids[: nodes.ids.index(until) + 1]
    with ExitStack() as meanwhile:
        for node in ids:
            start = time.monotonic()
            result = NodeRecord(id=node, state="failed", seconds=0)
            record.nodes.append(result)
            try:
                with display.step(node) as step:
                    result.state, result.outputs = nodes.run(node)
                    step.note = "cached" if result.state == "cached" else ""
            finally:
                result.seconds = time.monotonic() - start
            record.write()
            is_tried = node == "trainer" and "validator" in ids and REFIT not in ids
            if is_tried and result.state == "done":
                # The exports are loaded and tried while the evaluator judges them.
                examples = record.nodes[0].outputs["examples"]
                meanwhile.enter_context(nodes.validating_early(result.outputs["model"], examples))
    record.version = nodes.pushed_version


def _explain(error: BaseException, record: RunRecord) -> None:
    """Puts into the record why a run ended early."""
    record.status = "failed"
    cause = reason(error)
    if cause is None:
        with (record.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            traceback.print_exception(error, file=log)
        node = record.nodes[-1].id if record.nodes else "the start"
        record.message = f"{node} failed: {last_cause(error)}\nThe log: {record.folder / LOG_FILE}"
        return
    statuses: dict[type, Status] = {
        NotBlessedError: "not blessed",
        WithdrawnError: "withdrawn",
        AnomalyError: "stopped by data",
    }
    record.status = statuses.get(type(cause), "failed")
    record.exit_code = cause.exit_code
    record.message = str(cause)
    if isinstance(cause, AnomalyError):
        record.findings = cause.findings
