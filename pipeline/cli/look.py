"""Commands that show what past runs did, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from components.errors import InputError
from pipeline.cli.options import Overrides, Run, RunsOf, folder_of_runs


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
