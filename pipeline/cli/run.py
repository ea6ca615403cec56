"""Commands that run the pipeline and search for better settings."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from components.errors import InputError, printable
from pipeline.cli.options import ConfigFile, Overrides, load_settings, path, quiet

# By name here: the graph itself imports TFX.
Until = Literal["example_gen", "schema_gate", "transform", "trainer", "evaluator", "validator"]


def run(
    config: ConfigFile,
    overrides: Overrides = [],  # noqa: B006  typer copies it
    again: Annotated[
        bool, typer.Option("--again", help="Push the model even if it was withdrawn.")
    ] = False,
    until: Annotated[
        Until | None, typer.Option(help="End after this node, and push nothing.")
    ] = None,
) -> None:
    """Run the pipeline: from the CSV to pushed models."""
    from pipeline.display import Display
    from pipeline.local import run as run_locally
    from pipeline.summary import show

    settings = load_settings(config, overrides)
    display = Display()
    record = run_locally(settings, display, again=again, until=until)
    show(record, display.console)
    raise typer.Exit(record.exit_code)


def watch(
    config: ConfigFile,
    once: Annotated[
        bool, typer.Option("--once", help="Run the days that are complete, then end: for cron.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(help="First day to run; else the one after those that were run."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Last day to run; else there is no end.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Run the pipeline for each new day of the log, one after another."""
    from pipeline.watch import Watch

    load_settings(config, overrides)
    watched = Watch(config, overrides, _day("--since", since), _day("--until", until), _say)
    raise typer.Exit(watched.once() if once else watched.forever())


def _day(option: str, text: str | None) -> date | int | None:
    try:
        return None if text is None else int(text) if text.isdigit() else date.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{option} {text}: expected a day, as 2026-11-24, or the number of a span"
        ) from None


def _say(line: str) -> None:
    print(printable(line), flush=True)


def tune(
    config: ConfigFile,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=path, help="YAML file for the best settings; else in the runs' folder."
        ),
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Look for better settings of the model, on the data of the newest run."""
    from pipeline.config import PipelineConfig, load_config
    from pipeline.display import Display
    from pipeline.tune_space import check_space

    def configure(more: list[str]) -> PipelineConfig:
        return load_config(config, [*overrides, *more])

    settings = load_settings(config, overrides)
    check_space(configure)
    file = out or settings.folder / "tune" / "best.yaml"
    display = Display()
    with display.step("load Keras"), quiet():
        from pipeline import tune as tuning
    best = tuning.tune(configure, trials, display)[0]
    tuning.write_settings(best.config, file)
    print(f"Best: {best}\nSettings: {file}\nNext: twotower run --config {file}")


def show_config(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Print the effective settings with their meaning."""
    from rich.table import Column, Table

    from pipeline.config import describe

    key, value = Column("setting", no_wrap=True), Column("value", overflow="fold")
    table = Table(key, value, "meaning", box=None, pad_edge=False)
    for name, setting, meaning in describe(load_settings(config, overrides)):
        table.add_row(name, str(setting), meaning)
    Console().print(table)
