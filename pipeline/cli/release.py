"""Commands that decide which version answers clients, by the labels `stable` and `canary`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from components.errors import InputError
from pipeline.cli.options import ConfigFile as Settings
from pipeline.cli.options import Overrides, load_settings, path

if TYPE_CHECKING:
    from serving.release.release import Deployment, Status

ConfigFile = Annotated[
    Path, typer.Option("--model_config_file", parser=path, help="TF Serving's models.config.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--models",
        parser=path,
        help="The serving root as this machine sees it; else where the file says.",
    ),
]
Servers = Annotated[
    list[str],
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="gRPC of a server to tell and to wait for; repeatable. Others read the file.",
    ),
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds that loading a version may take.")]


def status(
    model_config_file: ConfigFile,
    models: Root = None,
    server: Servers = [],  # noqa: B006
) -> None:
    """Show the versions, who answers which label, and since when."""
    deployment = _deployment(model_config_file, models, server)
    from serving.release.release import status as status_of

    _show(status_of(deployment))


def canary(
    version: Annotated[int, typer.Argument(help="Version to try on a few clients.")],
    model_config_file: ConfigFile,
    models: Root = None,
    server: Servers = [],  # noqa: B006
    timeout: Timeout = 300.0,
) -> None:
    """Let a version answer clients that ask for `canary`, beside the stable one."""
    deployment = _deployment(model_config_file, models, server, timeout)
    from serving.release.release import canary as begin

    begin(deployment, version, print)


def promote(
    model_config_file: ConfigFile,
    version: Annotated[
        int | None, typer.Argument(help="Version to promote; else the canary.")
    ] = None,
    models: Root = None,
    server: Servers = [],  # noqa: B006
    timeout: Timeout = 300.0,
) -> None:
    """Let the canary answer all clients that ask for `stable`."""
    deployment = _deployment(model_config_file, models, server, timeout)
    from serving.release.release import promote as promote_version

    promote_version(deployment, version, print)


def rollback(
    model_config_file: ConfigFile,
    models: Root = None,
    server: Servers = [],  # noqa: B006
    timeout: Timeout = 300.0,
) -> None:
    """Take the last step back: a canary that is under way, or else the last promotion."""
    deployment = _deployment(model_config_file, models, server, timeout)
    from serving.release.release import rollback as roll_back

    for version in roll_back(deployment, print):
        print(
            f"Once no server answers with version {version}, `twotower withdraw {version}` keeps "
            "it out for good"
        )


def next_(
    config: Settings,
    monitor: Annotated[
        Path | None,
        typer.Option(
            parser=path, help="Folder of the monitor's history; else in the runs' folder."
        ),
    ] = None,
    timeout: Timeout = 300.0,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Take the next step by what the monitor found: promote or withdraw a canary, begin one."""
    from pipeline.watch import MONITOR_FOLDER

    settings = load_settings(config, overrides)
    release = settings.release
    if release.model_config_file is None:
        raise InputError(
            "release.model_config_file: missing; name the models.config that TF Serving reads"
        )
    root = settings.pusher.serving_root
    deployment = _deployment(release.model_config_file, root, [*release.servers], timeout)
    from serving.monitor.history import verdicts
    from serving.release.next_step import take_next_step

    found = verdicts(monitor or settings.folder / MONITOR_FOLDER)
    take_next_step(deployment, found, release.days, print)


def _deployment(
    model_config_file: Path, models: Path | None, server: list[str], timeout: float = 300.0
) -> Deployment:
    from serving.server.protos_only import import_protos_only

    import_protos_only()
    from serving.release.release import Deployment

    return Deployment(model_config_file, models, tuple(server), timeout)


def _show(status: Status) -> None:
    from rich.table import Table

    console = Console(highlight=False)
    versions = Table("version", "pushed", "labels", box=None, pad_edge=False)
    for target in status.health:
        versions.add_column(target)
    for version in status.versions:
        gone = f"withdrawn {_time(version.withdrawn)}"
        versions.add_row(
            str(version.number),
            _time(version.pushed) if version.withdrawn is None else gone,
            ", ".join(version.labels),
            *(version.states.get(target, "") for target in status.health),
        )
    console.print(versions)
    console.print()
    answers = Table("clients that ask for", "version", "since", box=None, pad_edge=False)
    for target in status.health:
        answers.add_column(f"{target} answers with")
    for answer in status.answers:
        answers.add_row(
            answer.label or "no label",
            "" if answer.version is None else str(answer.version),
            _time(answer.since),
            *(str(found or "none") for found in answer.servers.values()),
        )
    console.print(answers)
    console.print()
    for target, health in status.health.items():
        console.print(f"{target}: health {health or 'not switched on'}")


def _time(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M")
