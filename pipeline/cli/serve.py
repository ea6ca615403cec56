"""Commands that put the pushed models to work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.errors import InputError, printable
from pipeline.cli.options import AdAttributes, Models, pairs, path, quiet
from serving.server.protos_only import import_protos_only


def predict(
    models: Models,
    attributes: Annotated[
        str, typer.Option(help="Of one user: att_age=25-34,att_gender=female")
    ] = "",
    text: Annotated[str | None, typer.Option(help="Of one ad; several, a line each.")] = None,
    ad_attributes: AdAttributes = "",
    csv: Annotated[
        Path | None, typer.Option(parser=path, help="Rows to predict, instead of one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=path, help="CSV file for the predicted rows.")
    ] = None,
) -> None:
    """Predict clicks with the pushed models: of one user and ad, or of every row of a CSV."""
    with quiet():
        import_protos_only()
        from serving.predict import Predictor

        predictor = Predictor(models)
        if text is not None and csv is None:
            given = pairs(attributes) | pairs(ad_attributes, "--ad-attributes")
            message = f"click probability {predictor.one(given, text):.4f}"
        elif csv is not None and out is not None and text is None:
            rows = predictor.csv(csv, out)
            message = f"{rows:,} rows with their click probability: {out}"
        else:
            raise InputError("give either --text and --attributes, or --csv and --out")
    print(message)


def ask(
    models: Models,
    text: Annotated[str, typer.Option(help="Of one ad; several, a line each.")],
    attributes: Annotated[
        str, typer.Option(help="Of one user: att_age=25-34,att_gender=female")
    ] = "",
    ad_attributes: AdAttributes = "",
    best: Annotated[
        int | None, typer.Option(min=1, help="Recommend so many running ads, too.")
    ] = None,
) -> None:
    """Ask the pushed models over gRPC: starts a local server, asks it, stops it."""
    with quiet():
        import_protos_only()
        from serving.ask import ask as ask_models

        answer = ask_models(
            models, pairs(attributes), text, best, pairs(ad_attributes, "--ad-attributes")
        )
    print(f"click probability {answer.probability:.4f}, says version {answer.version}")
    if answer.best:
        print("its best running ads for this user:")
    for ad in answer.best:
        print(printable(f"{ad.probability:.4f}  {ad.ad_id}  {ad.text}"))


def serve(context: typer.Context) -> None:
    """Serve pushed models as TF Serving does, for development: gRPC on 8500, REST on 8501."""
    from serving.server.__main__ import main as serve_models

    raise typer.Exit(serve_models(context.args))


def console(
    models: Models,
    users: Annotated[
        Path, typer.Option(parser=path, help="CSV with users' attributes to preview for.")
    ],
    port: Annotated[int, typer.Option("--port", help="gRPC port.")] = 8500,
    rest_api_port: Annotated[
        int, typer.Option("--rest_api_port", help="Port of the page, and of the REST API.")
    ] = 8501,
) -> None:
    """Serve a page on this machine where a copywriter tries texts, beside the models' API."""
    with quiet():
        import_protos_only()
        from components.pusher.work_folder import finish_push
        from serving.console.app import PATH
        from serving.console.app import Console as TextConsole
        from serving.server.options import ServerOptions
        from serving.server.server import Server, serve_until_stopped

        finish_push(models)
        options = ServerOptions(models=models, port=port, rest_api_port=rest_api_port)
        server = Server(options, TextConsole(models, users).routes())
    serve_until_stopped(
        server,
        lambda: print(f"http://{options.host}:{rest_api_port}{PATH}  (Ctrl-C ends it)", flush=True),
    )


def preview(
    models: Models,
    texts: Annotated[list[str], typer.Argument(help="Ad texts that nobody has seen yet.")],
    users: Annotated[
        Path | None,
        typer.Option(parser=path, help="CSV with users' attributes, whose segments to look at."),
    ] = None,
    attributes: Annotated[
        list[str], typer.Option(help="A segment instead: att_age=25-34,att_gender=female")
    ] = [],  # noqa: B006
    ad_attributes: AdAttributes = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    page: Annotated[
        Path | None, typer.Option(parser=path, help="File for an HTML page instead.")
    ] = None,
) -> None:
    """Preview who would click a text, by segment, beside the running ads."""
    with quiet():
        import_protos_only()
        from serving import preview_output
        from serving.preview import Previewer

        if (users is None) == (not attributes):
            raise InputError("give either --users, or --attributes once for each segment")
        if users is not None:
            previewer = Previewer.of_csv(models, users)
        else:
            previewer = Previewer.of_attributes(models, [pairs(each) for each in attributes])
        previews = previewer.preview(texts, pairs(ad_attributes, "--ad-attributes"))
    if page is not None:
        preview_output.write_page(previews, page)
        print(f"{page}: what to expect")
    elif json:
        print(preview_output.as_json(previews))
    else:
        preview_output.show(previews, Console())


def score(
    models: Models,
    users: Annotated[str, typer.Option(help="CSV with users' attributes: a file or a folder.")],
    ads: Annotated[
        Path,
        typer.Option(parser=path, help="CSV of every ad: message_id, text, attributes."),
    ],
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
    with quiet():
        import_protos_only()
        if runner is None:
            from serving.scoring import score as score_here

            scored = score_here(models, path(users), ads, path(out), best)
        else:
            from pipeline.guard import guarded
            from serving.scoring_beam import score_on_beam

            arguments = [f"--runner={runner}", *beam]
            with guarded():
                scored = score_on_beam(models, users, ads, out, best, arguments=arguments)
    print(
        f"{scored.users:,} users x {scored.ads:,} ads by version {scored.version} in "
        f"{time.monotonic() - start:.1f} s: {out}"
    )


def rollback(
    models: Models,
    to: Annotated[
        int | None, typer.Option(help="Version to go back to; else the one before.")
    ] = None,
) -> None:
    """Go back to an earlier version: withdraw all that came after it, for good."""
    from components.pusher.withdraw import rollback as roll_back

    *gone, now = roll_back(models, to)
    print(f"{_withdrawn(gone)}; version {now} is in service")


def withdraw(
    version: Annotated[int, typer.Argument(help="Version to take out of service.")],
    models: Models,
) -> None:
    """Take one version out of service, for good."""
    from components.pusher.withdraw import withdraw as withdraw_version

    now = withdraw_version(models, version)
    print(f"{_withdrawn([version])}; version {now} is in service")


def _withdrawn(numbers: list[int]) -> str:
    if not numbers:
        return "Nothing to withdraw"
    versions = "version" if len(numbers) == 1 else "versions"
    return f"Withdrew {versions} {', '.join(map(str, numbers))}"


def index(
    models: Models,
    catalog: Annotated[
        Path,
        typer.Option(parser=path, help="CSV of every ad: message_id, text, attributes."),
    ],
    keep: Annotated[
        int | None, typer.Option(min=1, help="Newest versions that stay; else as a run would.")
    ] = None,
) -> None:
    """Give the recommender another catalogue, without training: pushes a new version."""
    with quiet():
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
