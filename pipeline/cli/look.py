"""Commands that show what past runs did, and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from components.errors import FAILED_A_RULE, InputError, printable
from pipeline.cli.options import (
    Models,
    Overrides,
    Run,
    RunsOf,
    folder_of_runs,
    load_settings,
    path,
    quiet,
)
from serving.server.protos_only import import_protos_only

if TYPE_CHECKING:
    from serving.monitor.history import Entry


def list_runs(config: RunsOf = None, overrides: Overrides = []) -> None:  # noqa: B006
    """List runs, with how they ended and their model's AUC."""
    from pipeline import runs

    folder = folder_of_runs(config, overrides)
    records = runs.find_runs(folder)
    if not records:
        raise InputError(f"{folder}: no runs; --config says whose runs are meant")
    Console().print(runs.list_runs(records))


def report(
    run: Run,
    config: RunsOf = None,
    anew: Annotated[bool, typer.Option("--rebuild", help="Write it anew.")] = False,
    browse: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Print where the report of a run is; write it if there is none."""
    import webbrowser

    from pipeline import runs

    file = runs.ensure_report(runs.open_run(run, folder_of_runs(config, overrides)), anew=anew)
    print(file)
    if browse:
        webbrowser.open(file.resolve().as_uri())


def compare(first: Run, second: Run, config: RunsOf = None, overrides: Overrides = []) -> None:  # noqa: B006
    """Put two runs side by side."""
    from pipeline import runs

    folder = folder_of_runs(config, overrides)
    records = [runs.open_run(run, folder) for run in (first, second)]
    Console(highlight=False).print(runs.compare_runs(*records))


def monitor(
    models: Models,
    log: Annotated[
        Path, typer.Option(parser=path, help="Impressions of a day and their clicks: CSV, Parquet.")
    ],
    out: Annotated[
        Path, typer.Option(parser=path, help="Folder of the history and its page.")
    ] = Path("monitor"),
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day of the log; else the date in its path."),
    ] = None,
    stable: Annotated[
        int | None, typer.Option(help="Version that answers; else by its label, or the newest.")
    ] = None,
    canary: Annotated[
        int | None, typer.Option(help="Version to measure beside it; else by its label.")
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(parser=path, help="Prometheus text file, for node_exporter."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(parser=path, help="Settings: monitor.rules, and how the log is read."),
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Measure the models in service by the clicks of a day; exit code 5 if a rule fails."""
    if overrides and config is None:
        raise InputError("--set overrides a setting of the file that --config names; give both")
    settings = load_settings(config, overrides) if config else None
    with quiet():
        import_protos_only()
        from pipeline.report.monitor_page import write_page
        from serving.monitor.monitor import monitor as measure
        from serving.monitor.prometheus import write_metrics

        entries, history = measure(
            models,
            log,
            out,
            day=day.date() if day else None,
            stable=stable,
            canary=canary,
            reading=settings.data.reading() if settings else None,
            settings=settings.monitor if settings else None,
        )
        page = out / "monitor.html"
        write_page(history, settings.name if settings else models.resolve().name, page)
        if metrics is not None:
            write_metrics(entries, metrics)
    for entry in entries:
        print(_told(entry))
    print(page)
    if not all(entry.verdict.blessed for entry in entries):
        raise typer.Exit(FAILED_A_RULE)


def _told(entry: Entry) -> str:
    overall, auc = entry.measures.overall, entry.measures.auc.value
    head = (
        f"{entry.day}, version {entry.version} ({entry.role}): {overall.rows:,} rows, "
        f"{overall.clicks:,} clicks, AUC {'undefined' if auc is None else f'{auc:.4f}'}"
    )
    return printable("\n".join([head, *(f"  {line}" for line in entry.verdict.lines())]))
