"""The `twotower` command.

Exit codes: 0 done (a run: pushed), 2 bad input or settings, 3 not blessed, 4 data anomalies,
1 anything else.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import InputError, TwotowerError

app = typer.Typer(
    help="From a CSV of ad impressions to click models in production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 2 bad input or settings, 3 not blessed, 4 data anomalies, "
    "1 anything else.",
)
sample = typer.Typer(help="Write sample data, as a CSV that a run reads.", no_args_is_help=True)
schema = typer.Typer(help="Draft and change the curated schema.", no_args_is_help=True)
app.add_typer(sample, name="sample")
app.add_typer(schema, name="schema")

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file of settings.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
]
Models = Annotated[Path, typer.Option("--models", help="The serving root that a run pushed to.")]


def main() -> None:
    """Runs the command; errors that a person can act on end it in one line and an exit code."""
    # What TensorFlow's C++ prints before a log is open.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except TwotowerError as error:
        print(f"twotower: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@app.command()
def run(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006  typer copies it
    """Run the pipeline: from the CSV to pushed models."""
    from pipeline.config import load_config
    from pipeline.display import Display
    from pipeline.local import run as run_locally
    from pipeline.summary import show

    settings = load_config(config, overrides)
    display = Display()
    record = run_locally(settings, display)
    show(record, display.console)
    raise typer.Exit(record.exit_code)


@app.command()
def predict(
    models: Models,
    attributes: Annotated[
        str, typer.Option(help="Of one user: att_age=25-34,att_gender=female")
    ] = "",
    text: Annotated[str | None, typer.Option(help="Of one ad.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Rows to predict, instead of one.")] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the predicted rows.")] = None,
) -> None:
    """Predict clicks with the pushed models: of one user and ad, or of every row of a CSV."""
    with _quiet():
        from serving.predict import Predictor

        predictor = Predictor(models)
        if text is not None and csv is None:
            message = f"click probability {predictor.one(_pairs(attributes), text):.4f}"
        elif csv is not None and out is not None and text is None:
            rows = predictor.csv(csv, out)
            message = f"{rows:,} rows with their click probability: {out}"
        else:
            raise InputError("give either --text and --attributes, or --csv and --out")
    print(message)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve(context: typer.Context) -> None:
    """Serve pushed models as TF Serving does, for development: gRPC on 8500, REST on 8501."""
    from serving.server.__main__ import main as serve_models

    raise typer.Exit(serve_models(context.args))


@app.command("config")
def show_config(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Print the effective settings with their meaning."""
    from rich.table import Table

    from pipeline.config import describe, load_config

    table = Table("setting", "value", "meaning", box=None, pad_edge=False)
    for key, value, meaning in describe(load_config(config, overrides)):
        table.add_row(key, str(value), meaning)
    Console().print(table)


@sample.command()
def campaign(
    out: Annotated[Path, typer.Argument(help="Folder for the CSV.")],
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 20_000,
    ads: Annotated[int, typer.Option(min=1, help="Ads.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same campaign.")] = 1,
) -> None:
    """Write an invented campaign whose true click probabilities are known."""
    from pipeline.samples.campaign import write_campaign

    facts = write_campaign(out, rows, ads, seed)
    print(
        f"{facts.impressions}: {facts.rows:,} impressions of {facts.ads:,} ads, "
        f"{facts.click_rate:.1%} clicked\n"
        f"{facts.truth}: the true click probability of each row\n"
        f"The best AUC that any model can be expected to reach is {facts.best_auc:.4f}."
    )


@sample.command()
def movielens(out: Annotated[Path, typer.Argument(help="Folder for the CSV.")]) -> None:
    """Fetch MovieLens 100K (for research use) and write it as a campaign."""
    from pipeline.samples.movielens import write_movielens

    facts = write_movielens(out)
    print(
        f"{facts.impressions}: {facts.rows:,} ratings of {facts.ads:,} films, "
        f"{facts.click_rate:.1%} clicked (rated 4 or 5)"
    )


@schema.command()
def infer(
    csv: Annotated[Path, typer.Argument(help="CSV file or folder.")],
    out: Annotated[Path | None, typer.Option(help="File for the draft; else printed.")] = None,
) -> None:
    """Draft a schema from data, for a person to curate."""
    with _quiet():
        from components.features import Columns
        from components.schema_gate.infer import infer_schema

        draft = infer_schema(csv, Columns())
    if out is None:
        print(draft)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(draft, encoding="utf-8")
        print(f"{out}: a draft; read it, and correct what the data happens to show")


def _quiet() -> AbstractContextManager[None]:
    from pipeline.quiet import output_to

    return output_to(Path(os.devnull))


def _pairs(attributes: str) -> dict[str, str]:
    pairs = {}
    for pair in filter(None, attributes.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"--attributes {pair}: expected name=value, as in att_age=25-34")
        pairs[name.strip()] = value
    return pairs
