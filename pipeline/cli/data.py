"""Commands before a run: sample data and the curated schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.errors import InputError
from pipeline.cli.options import ConfigFile, Overrides, load_settings, path, quiet


def check(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", parser=path, help="CSV or Parquet file, or a folder; else data.input."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", parser=path, help="YAML file of settings.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Read data as a run does first, in seconds, and say what it would make of it."""
    from rich.console import Console

    from components.example_gen.settings import ReadingSettings
    from pipeline.data_check import check as check_data

    settings = load_settings(config, overrides).data if config else None
    if data is None and settings is None:
        raise InputError("give the path of a file or folder, or --config with data.input")
    if overrides and settings is None:
        raise InputError("--set overrides a setting of the file that --config names; give both")
    input_path = data or settings.input if settings else data
    assert input_path is not None
    if not check_data(input_path, settings or ReadingSettings(), Console(highlight=False)):
        raise typer.Exit(InputError.exit_code)


def campaign(
    out: Annotated[Path, typer.Argument(parser=path, help="Folder for the CSV.")],
    rows: Annotated[int, typer.Option(min=1, help="Impressions; with --days, a day.")] = 20_000,
    ads: Annotated[int, typer.Option(min=1, help="Ads.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same campaign.")] = 1,
    click_rate: Annotated[
        float, typer.Option(help="Share of the impressions clicked; with --days, on the first.")
    ] = 0.12,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Write a log by day, in which tastes drift and ads come and go."),
    ] = None,
    ad_attributes: Annotated[
        bool, typer.Option("--ad-attributes", help="Ads have a format and a price, too.")
    ] = False,
) -> None:
    """Write an invented campaign whose true click probabilities are known."""
    if days is not None:
        from pipeline.samples.campaign_days import write_campaign_days

        written = write_campaign_days(
            out, days, rows, ads, seed, click_rate, ad_attributes=ad_attributes
        )
        print(
            f"{out}/day={written[0].day} to day={written[-1].day}: {days:,} days, "
            f"{sum(day.rows for day in written):,} impressions of {ads:,} ads\n"
            f"{out / '_truth' / 'days.csv'}: the best AUC that any model can be expected to reach, "
            "by day"
        )
        for day in written:
            if day.bad:
                print(f"day={day.day} is bad: half of att_device and half of the clicks are lost.")
        return
    from pipeline.samples.campaign import write_campaign

    facts = write_campaign(out, rows, ads, seed, click_rate, ad_attributes=ad_attributes)
    print(
        f"{facts.impressions}: {facts.rows:,} impressions of {facts.ads:,} ads, "
        f"{facts.click_rate:.1%} clicked\n"
        f"{facts.truth}: the true click probability of each row\n"
        f"The best AUC that any model can be expected to reach is {facts.best_auc:.4f}."
    )


def movielens(
    out: Annotated[Path, typer.Argument(parser=path, help="Folder for the CSV.")],
) -> None:
    """Fetch MovieLens 100K (for research use) and write it as a campaign."""
    from pipeline.samples.movielens import write_movielens

    facts = write_movielens(out)
    print(
        f"{facts.impressions}: {facts.rows:,} ratings of {facts.ads:,} films, "
        f"{facts.click_rate:.1%} clicked (rated 4 or 5)"
    )


def infer(
    csv: Annotated[Path, typer.Argument(parser=path, help="CSV file or folder.")],
    out: Annotated[
        Path | None, typer.Option(parser=path, help="File for the draft; else printed.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a schema that is there.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(parser=path, help="Settings with the names of the columns.")
    ] = None,
) -> None:
    """Draft a schema from data, for a person to curate."""
    from components.example_gen.settings import ReadingSettings
    from components.output_file import write_text

    if out is not None and out.exists() and not force:
        raise InputError(
            f"{out}: is there, and what a person curated in it would be lost; name another file, "
            "or give --force"
        )
    settings = load_settings(config, []).data if config else ReadingSettings()
    with quiet():
        from components.schema_gate.infer import infer_schema

        draft = infer_schema(csv, settings)
    if out is None:
        print(draft)
    else:
        write_text(out, draft)
        print(f"{out}: a draft; read it, and correct what the data happens to show")


def accept(
    config: ConfigFile,
    run: Annotated[
        str | None, typer.Option(help="A run's id; else the newest that its data stopped.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Take what the data of a stopped run showed into the schema, after review."""
    settings = load_settings(config, overrides)
    with quiet():
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
