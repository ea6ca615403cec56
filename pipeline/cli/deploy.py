"""Commands that take the pipeline to Kubeflow and Vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.errors import InputError
from pipeline.cli.options import ConfigFile, Overrides, Target, load_settings, path, quiet


def compile_(
    target: Target,
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option(parser=path, help="File for the specification: .yaml or .json.")
    ],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compile the pipeline into a specification that Kubeflow or Vertex runs."""
    settings = load_settings(config, overrides)
    with quiet():
        from pipeline.compile import write_specification

        write_specification(settings, target, out)
    print(f"{out}: the pipeline {settings.name} for {target}")


def submit(
    target: Target,
    config: ConfigFile,
    schedule: Annotated[
        str | None, typer.Option(help='When to run again and again, as cron in UTC: "0 3 * * *".')
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Start the pipeline on Kubeflow or Vertex, now or on a schedule."""
    settings = load_settings(config, overrides)
    if schedule is not None and len(schedule.split()) != 5:
        raise InputError(
            f"--schedule {schedule!r}: expected minute, hour, day, month and weekday, "
            'as in "0 3 * * *"'
        )
    with quiet():
        from pipeline.submit import submit as submit_to

        where = submit_to(settings, target, schedule)
    print(f"{settings.name} {'runs' if schedule is None else 'is scheduled'} on {target}: {where}")


def encoder(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Compile the text encoder of the settings, as a run does first and an image build does."""
    settings = load_settings(config, overrides)
    with quiet():
        from pipeline.prepare import compile_encoder

        folder = compile_encoder(settings)
    print(folder)
