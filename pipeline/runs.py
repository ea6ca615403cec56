"""The runs that pipelines left: found, listed, compared."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.table import Table
from rich.text import Text

from components.errors import InputError
from components.evaluator.measure import METRICS_FILE, Metrics, read_metrics
from pipeline.report.comparison import LINEAGE, SETTINGS, side_by_side
from pipeline.report.report import REPORT_FILE, write_report
from pipeline.report.run_artifacts import read_artifacts
from pipeline.run_record import RECORD_FILE, RunRecord, read_record

_SHOWN = 5

_LOGGER = logging.getLogger(__name__)


def find_runs(folder: Path) -> list[RunRecord]:
    """Reads the records of the runs in a pipeline's folder, or in a folder of several pipelines.

    Returns:
        The runs, oldest first; one whose record cannot be read is named in a warning.
    """
    files = [*folder.glob(f"*/{RECORD_FILE}"), *folder.glob(f"*/*/{RECORD_FILE}")]
    records = []
    for file in sorted(files):
        try:
            records.append(read_record(file.parent))
        except InputError as error:
            _LOGGER.warning("%s", error)
    return sorted(records, key=lambda record: record.run_id)


def open_run(run: str, folder: Path) -> RunRecord:
    """Reads the record of one run.

    Args:
        run: the run's own folder, or its id.
        folder: where a run with that id is looked for, see `find_runs`.

    Raises:
        InputError: there is no such run, or its record cannot be read.
    """
    for path in (Path(run), folder / run):
        if (path / RECORD_FILE).exists():
            return read_record(path)
    runs = find_runs(folder)
    for record in runs:
        if record.run_id == run:
            return record
    newest = ", ".join(record.run_id for record in runs[: -_SHOWN - 1 : -1]) or "none"
    raise InputError(
        f"{run}: no such run; give a run's folder, or the id of one in {folder}: {newest}"
    )


def ensure_report(record: RunRecord, *, anew: bool = False) -> Path:
    """Returns the report of a run; writes it where there is none, or if it is wanted anew."""
    file = record.folder / REPORT_FILE
    return write_report(record, run_in_service(record)) if anew or not file.exists() else file


def run_in_service(record: RunRecord) -> RunRecord | None:
    """Finds the run that made the model that a run was judged against.

    Where it was not judged, that is the newest earlier run that pushed into the same serving root.
    """
    metrics = metrics_of(record)
    earlier = [
        run
        for run in find_runs(record.folder.parent)
        if run.run_id < record.run_id
        and run.version is not None
        and run.config["pusher"]["serving_root"] == record.config["pusher"]["serving_root"]
    ]
    if metrics is not None:
        model = metrics.baseline.model
        earlier = [run for run in earlier if model and str(run.version) == Path(model).name]
    return earlier[-1] if earlier else None


def metrics_of(record: RunRecord) -> Metrics | None:
    """Reads what was measured of a run's model, if it got so far; a damaged file is named."""
    folder = record.output("evaluator", "evaluation")
    if folder is None or not (folder / METRICS_FILE).exists():
        return None
    try:
        return read_metrics(str(folder))
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        _LOGGER.warning("%s: cannot be read (%s)", folder / METRICS_FILE, line)
        return None


def list_runs(records: list[RunRecord]) -> Table:
    """Lists runs for a terminal."""
    table = Table(box=None, pad_edge=False)
    for name in ("run", "pipeline", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("version", "AUC", "rows", "seconds"):
        table.add_column(name, justify="right")
    for record in records:
        metrics = metrics_of(record)
        area = metrics.overall.auc.value if metrics else None
        table.add_row(
            record.run_id,
            record.config["name"],
            record.status,
            "" if record.version is None else str(record.version),
            "" if area is None else f"{area:.4f}",
            f"{record.data['rows']:,}",
            f"{sum(node.seconds for node in record.nodes):,.0f}",
        )
    return table


def compare_runs(first: RunRecord, second: RunRecord) -> Table:
    """Puts two runs side by side for a terminal; of settings and lineage only what differs."""
    table = Table("", first.run_id, second.run_id, box=None, pad_edge=False)
    group = None
    for pair in side_by_side(read_artifacts(first), read_artifacts(second)):
        if pair.group in (SETTINGS, LINEAGE) and not pair.differs:
            continue
        if pair.group != group:
            group = pair.group
            table.add_row(f"[bold]{group}")
        table.add_row(f"  {pair.name}", Text(pair.first), Text(pair.second))
    return table
