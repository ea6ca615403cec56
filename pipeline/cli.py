"""The `twotower` command.

Exit codes: 0 done (a run: pushed), 2 bad input or settings, 3 not blessed, 4 data anomalies,
1 anything else.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

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
Target = Annotated[
    Literal["kubeflow", "vertex"], typer.Option(help="Which of the two the file is for.")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its id.")]
RunsOf = Annotated[
    Path | None,
    typer.Option("--config", help="Settings of the pipeline whose runs are meant; else ./runs."),
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


@app.command()
def ask(
    models: Models,
    text: Annotated[str, typer.Option(help="Of one ad.")],
    attributes: Annotated[
        str, typer.Option(help="Of one user: att_age=25-34,att_gender=female")
    ] = "",
    best: Annotated[
        int | None, typer.Option(min=1, help="Recommend so many running ads, too.")
    ] = None,
) -> None:
    """Ask the pushed models over gRPC: starts a local server, asks it, stops it."""
    with _quiet():
        from serving.ask import ask as ask_models

        answer = ask_models(models, _pairs(attributes), text, best)
    print(f"click probability {answer.probability:.4f}, says version {answer.version}")
    if answer.best:
        print("its best running ads for this user:")
    for ad in answer.best:
        print(f"{ad.probability:.4f}  {ad.ad_id}  {ad.text}")


@app.command()
def score(
    models: Models,
    users: Annotated[str, typer.Option(help="CSV with users' attributes: a file or a folder.")],
    ads: Annotated[Path, typer.Option(help="CSV with message_id and text of every ad.")],
    out: Annotated[str, typer.Option(help="Empty folder for the Parquet files.")],
    best: Annotated[
        int | None, typer.Option(min=1, help="Keep so many ads a user; else a column an ad.")
    ] = None,
    runner: Annotated[
        str | None, typer.Option(help="Beam runner to score on, instead of this process.")
    ] = None,
    beam: Annotated[
        list[str], typer.Option(metavar="--KEY=VALUE", help="Option of that runner; repeatable.")
    ] = [],  # noqa: B006
) -> None:
    """Score every ad for every user, or find the best ads of each."""
    start = time.monotonic()
    with _quiet():
        if runner is None:
            from serving.scoring import score as score_here

            scored = score_here(models, Path(users), ads, Path(out), best)
        else:
            from serving.scoring_beam import score_on_beam

            arguments = [f"--runner={runner}", *beam]
            scored = score_on_beam(models, users, ads, out, best, arguments=arguments)
    print(
        f"{scored.users:,} users x {scored.ads:,} ads by version {scored.version} in "
        f"{time.monotonic() - start:.1f} s: {out}"
    )


@app.command()
def index(
    models: Models,
    catalog: Annotated[Path, typer.Option(help="CSV with message_id and text of every ad.")],
    keep: Annotated[
        int | None, typer.Option(min=1, help="Newest versions that stay; else as a run would.")
    ] = None,
) -> None:
    """Give the recommender another catalogue, without training: pushes a new version."""
    with _quiet():
        from components.pusher.settings import PusherSettings
        from serving.ad_index import index as index_catalogue

        done = index_catalogue(models, catalog, keep or PusherSettings().keep_versions)
    if done.pushed:
        print(
            f"Version {done.version} recommends {done.ads:,} ads: {done.embedded:,} new ones "
            f"were embedded, {done.gone:,} are gone"
        )
    else:
        print(f"Version {done.version} recommends these {done.ads:,} ads already")


@app.command()
def preview(
    models: Models,
    texts: Annotated[list[str], typer.Argument(help="Ad texts that nobody has seen yet.")],
    users: Annotated[
        Path | None, typer.Option(help="CSV with users' attributes, whose segments to look at.")
    ] = None,
    attributes: Annotated[
        list[str], typer.Option(help="A segment instead: att_age=25-34,att_gender=female")
    ] = [],  # noqa: B006
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    page: Annotated[Path | None, typer.Option(help="File for an HTML page instead.")] = None,
) -> None:
    """Preview who would click a text, by segment, beside the running ads."""
    with _quiet():
        from serving import preview_output
        from serving.preview import Previewer

        if (users is None) == (not attributes):
            raise InputError("give either --users, or --attributes once for each segment")
        if users is not None:
            previewer = Previewer.of_csv(models, users)
        else:
            previewer = Previewer.of_attributes(models, [_pairs(each) for each in attributes])
        previews = previewer.preview(texts)
    if page is not None:
        preview_output.write_page(previews, page)
        print(f"{page}: what to expect")
    elif json:
        print(preview_output.as_json(previews))
    else:
        preview_output.show(previews, Console())


@app.command()
def console(
    models: Models,
    users: Annotated[Path, typer.Option(help="CSV with users' attributes to preview for.")],
    port: Annotated[int, typer.Option(help="Port of the page, and of the REST API.")] = 8501,
    grpc_port: Annotated[int, typer.Option(help="Port of the gRPC API.")] = 8500,
) -> None:
    """Serve a page on this machine where a copywriter tries texts, beside the models' API."""
    with _quiet():
        from serving.console.app import PATH
        from serving.console.app import Console as TextConsole
        from serving.server.options import ServerOptions
        from serving.server.server import Server, serve_until_stopped

        options = ServerOptions(models=models, port=grpc_port, rest_api_port=port)
        server = Server(options, TextConsole(models, users).routes())
    serve_until_stopped(
        server, lambda: print(f"http://{options.host}:{port}{PATH}  (Ctrl-C ends it)", flush=True)
    )


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve(context: typer.Context) -> None:
    """Serve pushed models as TF Serving does, for development: gRPC on 8500, REST on 8501."""
    from serving.server.__main__ import main as serve_models

    raise typer.Exit(serve_models(context.args))


@app.command("runs")
def list_runs(config: RunsOf = None, overrides: Overrides = []) -> None:  # noqa: B006
    """List runs, with how they ended and their model's AUC."""
    from pipeline import runs

    folder = _folder_of_runs(config, overrides)
    records = runs.find_runs(folder)
    if not records:
        raise InputError(f"{folder}: no runs; --config says whose runs are meant")
    Console().print(runs.list_runs(records))


@app.command()
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

    file = runs.ensure_report(runs.open_run(run, _folder_of_runs(config, overrides)), anew=anew)
    print(file)
    if browse:
        webbrowser.open(file.resolve().as_uri())


@app.command()
def compare(first: Run, second: Run, config: RunsOf = None, overrides: Overrides = []) -> None:  # noqa: B006
    """Put two runs side by side."""
    from pipeline import runs

    folder = _folder_of_runs(config, overrides)
    records = [runs.open_run(run, folder) for run in (first, second)]
    Console(highlight=False).print(runs.compare_runs(*records))


@app.command("config")
def show_config(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Print the effective settings with their meaning."""
    from rich.table import Column, Table

    from pipeline.config import describe, load_config

    key, value = Column("setting", no_wrap=True), Column("value", overflow="fold")
    table = Table(key, value, "meaning", box=None, pad_edge=False)
    for name, setting, meaning in describe(load_config(config, overrides)):
        table.add_row(name, str(setting), meaning)
    Console().print(table)


@app.command("compile")
def compile_(
    target: Target,
    config: ConfigFile,
    out: Annotated[Path, typer.Option(help="File for the specification: .yaml or .json.")],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compile the pipeline into a specification that Kubeflow or Vertex runs."""
    from pipeline.config import load_config

    settings = load_config(config, overrides)
    with _quiet():
        from pipeline.compile import write_specification

        write_specification(settings, target, out)
    print(f"{out}: the pipeline {settings.name} for {target}")


@app.command()
def submit(
    target: Target,
    config: ConfigFile,
    schedule: Annotated[
        str | None, typer.Option(help='When to run again and again, as cron in UTC: "0 3 * * *".')
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Start the pipeline on Kubeflow or Vertex, now or on a schedule."""
    from pipeline.config import load_config

    settings = load_config(config, overrides)
    if schedule is not None and len(schedule.split()) != 5:
        raise InputError(
            f"--schedule {schedule!r}: expected minute, hour, day, month and weekday, "
            'as in "0 3 * * *"'
        )
    with _quiet():
        from pipeline.submit import submit as submit_to

        where = submit_to(settings, target, schedule)
    print(f"{settings.name} {'runs' if schedule is None else 'is scheduled'} on {target}: {where}")


@app.command()
def tune(
    config: ConfigFile,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 20,
    out: Annotated[
        Path | None, typer.Option(help="YAML file for the best settings; else in the runs' folder.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Look for better settings of the model, on the data of the newest run."""
    from pipeline.config import PipelineConfig, load_config
    from pipeline.display import Display
    from pipeline.tune_space import check_space

    def configure(more: list[str]) -> PipelineConfig:
        return load_config(config, [*overrides, *more])

    check_space(configure)
    file = out or configure([]).folder / "tune" / "best.yaml"
    display = Display()
    with display.step("load Keras"), _quiet():
        from pipeline import tune as tuning
    best = tuning.tune(configure, trials, display)[0]
    tuning.write_settings(best.config, file)
    print(f"Best: {best}\nSettings: {file}\nNext: twotower run --config {file}")


@app.command()
def encoder(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Compile the text encoder of the settings, as a run does first and an image build does."""
    from pipeline.config import load_config

    settings = load_config(config, overrides)
    with _quiet():
        from pipeline.prepare import compile_encoder

        folder = compile_encoder(settings)
    print(folder)


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
    config: Annotated[
        Path | None, typer.Option(help="Settings with the names of the columns.")
    ] = None,
) -> None:
    """Draft a schema from data, for a person to curate."""
    with _quiet():
        from components.features import Columns
        from components.schema_gate.infer import infer_schema
        from pipeline.config import load_config

        draft = infer_schema(csv, load_config(config).data.columns if config else Columns())
    if out is None:
        print(draft)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(draft, encoding="utf-8")
        print(f"{out}: a draft; read it, and correct what the data happens to show")


@schema.command()
def accept(
    config: ConfigFile,
    run: Annotated[
        str | None, typer.Option(help="A run's id; else the newest that its data stopped.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Take what the data of a stopped run showed into the schema, after review."""
    from pipeline.config import load_config

    settings = load_config(config, overrides)
    with _quiet():
        from pipeline.schema_review import propose

        proposal = propose(settings, run)
    diff = proposal.diff()
    if not diff:
        print(f"{proposal.file}: allows all that the data of run {proposal.run_id} shows")
        return
    print(diff)
    if yes or typer.confirm(f"Write this to {proposal.file}?"):
        proposal.write()
        print(f"{proposal.file}: written; the next run reads it")


def _folder_of_runs(config: Path | None, overrides: list[str]) -> Path:
    from pipeline.config import load_config

    return Path("runs") if config is None else load_config(config, overrides).folder


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
