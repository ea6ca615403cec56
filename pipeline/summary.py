"""What a run says at its end."""

from __future__ import annotations

from rich.console import Console

from components.errors import printable
from components.evaluator.verdict import VERDICT_FILE, read_verdict
from components.features import EVAL
from pipeline.run_record import REFIT_NOTE, RunRecord

_HEADLINES = {
    "pushed": "[bold green]Pushed[/] as version {version}",
    "not pushed": "[bold]Not pushed[/], as asked: {message}",
    "not blessed": "[bold red]Not blessed[/], nothing was pushed",
    "stopped by data": "[bold red]Stopped by the data[/], nothing was pushed",
    "withdrawn": "[bold red]Withdrawn before[/], nothing was pushed",
    "failed": "[bold red]Failed[/]",
}

_AS_ASKED = ("pushed", "not pushed")


def show(record: RunRecord, console: Console) -> None:
    """Prints how a run ended, why, where everything is and what to do next."""
    console.print()
    headline = _HEADLINES[record.status]
    console.print(headline.format(version=record.version, message=record.message))
    if record.is_refit and record.status == "pushed":
        console.print(f"{REFIT_NOTE}.")
    if record.status in _AS_ASKED and all(node.state == "cached" for node in record.nodes):
        console.print("Nothing changed since an earlier run: every node came from the cache.")
    data = record.data
    impressions = data.get("impressions", data["rows"])  # an old record has rows alone
    console.print(
        f"{impressions:,} impressions, {data['clicks']:,} clicks, {data['ads']:,} ads"
        + (f", {data['bad_rows']:,} bad rows set aside" if data["bad_rows"] else "")
    )
    if "split" in data:
        console.print(f"Split: {data['split']}", markup=False)
    for warning in [*data["warnings"], *_notes(record)]:
        console.print(printable(f"Warning: {warning}"), markup=False)
    for line in _verdict(record):
        console.print(line, markup=False)
    refused_by_gate = any(line.startswith("FAIL") for line in _verdict(record))
    said = record.status in _AS_ASKED or (record.status == "not blessed" and refused_by_gate)
    if not said:
        console.print(printable(record.message), markup=False)
    models = record.config["pusher"]["serving_root"]
    if record.status == "pushed":
        console.print(f"Models: {models}")
        console.print(
            f'Next: twotower predict --models {models} --text "An ad that nobody has seen"',
            markup=False,
        )
    console.print(f"Record and log: {record.folder}")


def _notes(record: RunRecord) -> list[str]:
    return [str(finding) for finding in record.notes() or []]


def _verdict(record: RunRecord) -> list[str]:
    blessing = record.output("evaluator", "blessing")
    if blessing is None or not (blessing / VERDICT_FILE).exists():
        return []
    return [f"Verdict on the {EVAL} split:", *read_verdict(str(blessing)).lines()]
