"""What commands have in common: options, and where the output of libraries goes."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from components.errors import InputError
from pipeline.unused import unused_left_out

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig


def path(value: str) -> Path:
    """Reads a path as it is written on the command line; `~` is the home folder."""
    return Path(value).expanduser()


ConfigFile = Annotated[Path, typer.Option("--config", parser=path, help="YAML file of settings.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Target = Annotated[
    Literal["kubeflow", "vertex"], typer.Option(help="Which of the two the file is for.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its id.")]
RunsOf = Annotated[
    Path | None,
    typer.Option(
        "--config", parser=path, help="Settings of the pipeline whose runs are meant; else ./runs."
    ),
]
Models = Annotated[
    Path, typer.Option("--models", parser=path, help="The serving root that a run pushed to.")
]

AdAttributes = Annotated[
    str, typer.Option(help="Of the ad, where it has any: ad_format=video,ad_price=9.99")
]


def load_settings(config: Path, overrides: list[str]) -> PipelineConfig:
    """Reads the settings of a command, and prints what is to be known of them."""
    from pipeline.config import load_config

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        settings = load_config(config, overrides)
    for warning in caught:
        print(f"Warning: {warning.message}", file=sys.stderr)
    return settings


def folder_of_runs(config: Path | None, overrides: list[str]) -> Path:
    """Returns the folder of the runs that a command is about."""
    return Path("runs") if config is None else load_settings(config, overrides).folder


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what libraries print from the terminal, and what they need not import out."""
    from pipeline.quiet import output_to

    with output_to(Path(os.devnull)), unused_left_out():
        yield


def pairs(attributes: str, option: str = "--attributes") -> dict[str, str]:
    """Reads attributes as they are written on the command line: name=value,name=value.

    A value that holds a comma stands in double quotes: name="Paris, Texas".

    Raises:
        InputError: a part of it is no pair, or an attribute is there twice.
    """
    lexer = shlex.shlex(attributes, posix=True)
    lexer.whitespace, lexer.whitespace_split = ",", True
    lexer.quotes, lexer.escape, lexer.commenters = '"', "", ""
    pairs: dict[str, str] = {}
    try:
        parts = list(lexer)
    except ValueError:
        raise InputError(f"{option} {attributes}: a quote is not closed") from None
    for pair in parts:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(
                f"{option} {pair}: expected name=value, as in att_age=25-34; a value that "
                'holds a comma stands in quotes, as in att_city="Paris, Texas"'
            )
        if name.strip() in pairs:
            raise InputError(f"{option} {attributes}: {name.strip()} is there twice")
        pairs[name.strip()] = value
    return pairs
