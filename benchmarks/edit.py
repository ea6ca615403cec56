"""The loop of a person who tries things: how long each command takes, from its start to its end.

    python -m benchmarks.edit
    python -m benchmarks.edit --checkout ../twotower-before

A first run of the demo, the same again with nothing changed, and again with one setting of the
model changed; then what was pushed is asked, by each command that asks it without a server that
runs already. Every command is a process of its own, in the `.venv` of its checkout. `--checkout`
does the same with another checkout of this project, in turns. Of commands that are repeated, the
median counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import fresh_folder, measure
from components.features import Columns
from pipeline.samples.campaign import write_campaign

FIRST, UNCHANGED, EDITED = "first run", "nothing changed", "model.dropout changed"

_CONFIG = "pipeline/configs/demo.yaml"
_TEXT = "Fresh pasta delivered to your door tonight"
_USER = "att_age=25-34"
_USERS = 1000


def main(
    rows: Annotated[int, typer.Option(help="Impressions.")] = 60_000,
    ads: Annotated[int, typer.Option(help="Ads.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Of each command but the first run.")] = 3,
    checkout: Annotated[Path | None, typer.Option(help="Another checkout of twotower.")] = None,
) -> None:
    """Print the seconds of each command."""
    folder = fresh_folder("edit")
    data = Data.write(folder, rows, ads)
    sides = {"ours": Side(Path(), folder / "ours", data)}
    if checkout is not None:
        sides[checkout.name] = Side(checkout, folder / "other", data)
    took = {FIRST: {name: [side.run()] for name, side in sides.items()}}
    for step in (UNCHANGED, EDITED, *QUESTIONS):
        took[step] = {name: [] for name in sides}
        for turn in range(repeats):
            for name, side in sides.items():
                took[step][name].append(side.time(step, turn))
    Console().print(table_of(f"{rows:,} impressions x {ads:,} ads", took))


@dataclass(frozen=True)
class Data:
    """A campaign, some of its users and all of its ads, as CSV files.

    Attributes:
        impressions: folder.
        users: file.
        ads: file.
    """

    impressions: Path
    users: Path
    ads: Path

    @staticmethod
    def write(folder: Path, rows: int, ads: int) -> Data:
        """Draws a campaign into `folder`."""
        data = Data(folder / "data", folder / "users.csv", folder / "ads.csv")
        written = pd.read_csv(write_campaign(data.impressions, rows, ads, seed=1).impressions)
        attributes = [name for name in written if name.startswith("att_")]
        written[attributes].head(_USERS).to_csv(data.users, index=False)
        columns = Columns()
        ad = written[[columns.ad_id, *columns.ad_texts]]
        ad.drop_duplicates(columns.ad_id).to_csv(data.ads, index=False)
        return data


# What models are asked, by what follows `--models`; {} is a folder that is not there yet.
QUESTIONS: Mapping[str, Sequence[str]] = {
    "predict": ["--attributes", _USER, "--text", _TEXT],
    "ask": ["--attributes", _USER, "--text", _TEXT, "--best", "3"],
    "preview": [_TEXT, "--users", "{users}"],
    "score": ["--users", "{users}", "--ads", "{ads}", "--out", "{out}"],
}


class Side:
    """A checkout, and what it makes of the data.

    Args:
        checkout: folder of the project, set up.
        folder: where everything goes.
        data: the campaign.
    """

    def __init__(self, checkout: Path, folder: Path, data: Data) -> None:
        folder.mkdir(parents=True)
        self._twotower = str(checkout.absolute() / ".venv/bin/twotower")
        self._config = str(checkout.absolute() / _CONFIG)
        self._folder = folder
        self._data = data

    def time(self, step: str, turn: int) -> float:
        """Returns the seconds of a step, `turn` times after its first time."""
        if step == UNCHANGED:
            return self.run()
        if step == EDITED:
            return self.run(f"model.dropout={0.3 + turn / 100}")
        names = {"users": self._data.users, "ads": self._data.ads, "out": self._folder / f"{turn}"}
        arguments = [argument.format(**names) for argument in QUESTIONS[step]]
        return self._command(step, "--models", str(self._folder / "serving"), *arguments)

    def run(self, *changed: str) -> float:
        """Runs the pipeline with some settings changed and returns the seconds."""
        settings = {
            "runs": self._folder / "runs",
            "data.input": self._data.impressions,
            "pusher.serving_root": self._folder / "serving",
        }
        fixed = (f"{name}={value}" for name, value in settings.items())
        options = (f"--set={setting}" for setting in (*fixed, *changed))
        return self._command("run", "--config", self._config, *options)

    def _command(self, *arguments: str) -> float:
        return measure([self._twotower, *arguments], self._folder / "output.log").seconds


def table_of(title: str, took: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    """Returns the medians of seconds by step and side; of two sides, how much sooner the first."""
    first = next(iter(took.values()))
    table = Table(title, *(f"{name}, s" for name in first))
    if len(first) > 1:
        table.add_column("ratio")
    for step, by_side in took.items():
        medians = [statistics.median(seconds) for seconds in by_side.values()]
        ratios = [f"{other / medians[0]:.1f}" for other in medians[1:]]
        table.add_row(step, *(f"{median:.1f}" for median in medians), *ratios)
    return table


if __name__ == "__main__":
    typer.run(main)
