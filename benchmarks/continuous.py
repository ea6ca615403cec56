"""A model a day beside the first model, on a log of four weeks in which tastes drift.

    python -m benchmarks.continuous
    python -m benchmarks.continuous --days 9 --rows 1000

Each evening the log of a day arrives, and `twotower watch --once` does what it does by cron: nobody
looks on. A day is judged by the models that were in service when it began: the first that was
pushed, kept as it was, and the newest of the daily runs. Beside them is the AUC of the true
probabilities, which no model can be expected to beat. The bad day is left out of the means.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from sklearn.metrics import roc_auc_score

from benchmarks.machine import fresh_folder
from components.features import PROBABILITY, Columns
from components.serving_root import newest
from pipeline.samples.campaign_days import write_campaign_days
from serving.predict import Predictor

WINDOW = 14
MIN_AUC = 0.55  # the first models learn from one day, which is less than the demo has

_ROW = "{:10}  {:>11}  {:>12}  {:>13}  {}"
_HEAD = _ROW.format("AUC", "first model", "daily window", "best possible", "the watch's line")


def main(
    days: Annotated[int, typer.Option(min=3, help="Days of the log.")] = 28,
    rows: Annotated[int, typer.Option(min=1, help="Impressions a day.")] = 10_000,
    ads: Annotated[int, typer.Option(min=1, help="Ads over all days.")] = 200,
) -> None:
    """Print the AUC of each day."""
    folder = fresh_folder("continuous")
    write_campaign_days(folder / "arriving", days, rows, ads, seed=1)
    with (folder / "arriving/_truth/days.csv").open(encoding="utf-8") as file:
        log = list(csv.DictReader(file))
    config = _write_config(folder)
    (folder / "logs").mkdir()
    first, areas = None, []
    print(_HEAD)
    for day in log:
        arrived = folder / "arriving" / f"day={day['day']}"
        models = _in_service(folder / "serving")
        first = first or models
        cells = [""] * 3
        if first is not None and models is not None:
            area = [_auc(first, arrived), _auc(models, arrived), float(day["best_auc"])]
            areas += [area] if day["bad"] == "false" else []
            cells = [f"{value:.4f}" for value in area]
        arrived.rename(folder / "logs" / arrived.name).joinpath("_SUCCESS").touch()
        print(_ROW.format(day["day"], *cells, _watch(config)), flush=True)
    means = [f"{mean:.4f}" for mean in np.mean(areas, axis=0)] if areas else [""] * 3
    print(_ROW.format("mean", *means, f"{len(areas)} days"))


def _write_config(folder: Path) -> Path:
    """Writes the demo's settings with a window of days."""
    settings: dict[str, Any] = yaml.safe_load(Path("pipeline/configs/demo.yaml").read_text())
    settings |= {"name": "daily", "runs": str(folder / "runs")}
    settings["data"] |= {
        "input": f"{folder}/logs/day={{YYYY}}-{{MM}}-{{DD}}/*.csv",
        "window": WINDOW,
    }
    settings["trainer"]["refit"] = True
    settings["evaluator"]["min_auc"] = MIN_AUC
    settings["watch"] = {"marker": "_SUCCESS"}
    settings["pusher"] = {"serving_root": str(folder / "serving")}
    file = folder / "daily.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def _watch(config: Path) -> str:
    """Does what cron does, and returns the line that it is told."""
    command = [sys.executable, "-m", "pipeline", "watch", "--once", "--config", str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ran.stdout:
        raise SystemExit(ran.stderr)
    return ran.stdout.strip().partition(": ")[2].partition(str(config.parent))[0].rstrip("; ")


def _in_service(root: Path) -> Predictor | None:
    return Predictor(root) if newest(root) is not None else None


def _auc(models: Predictor, day: Path) -> float:
    scored = day.parent / "scored.csv"
    models.csv(day, scored)
    with scored.open(encoding="utf-8") as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    clicked = [int(row[Columns().label]) for row in rows]
    return float(roc_auc_score(clicked, [float(row[PROBABILITY]) for row in rows]))


if __name__ == "__main__":
    typer.run(main)
