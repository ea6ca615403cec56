"""The commands: one module a group of them, in the order of a user's day."""

from __future__ import annotations

import typer

from pipeline.cli import data, deploy, look, release, run, serve

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(
    help="From a CSV of ad impressions to click models in production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 2 bad input or settings, 3 not blessed or withdrawn, "
    "4 data anomalies, 5 a model that fails monitor.rules, 130 and 143 stopped by Ctrl-C and "
    "SIGTERM, 1 anything else.",
)

app.command(rich_help_panel="Data")(data.check)

sample = typer.Typer(help="Write sample data, as a CSV that a run reads.", no_args_is_help=True)
sample.command()(data.campaign)
sample.command()(data.movielens)
app.add_typer(sample, name="sample", rich_help_panel="Data")

schema = typer.Typer(help="Draft and change the curated schema.", no_args_is_help=True)
schema.command()(data.infer)
schema.command()(data.accept)
app.add_typer(schema, name="schema", rich_help_panel="Data")

app.command(rich_help_panel="Run")(run.run)
app.command(rich_help_panel="Run")(run.watch)
app.command(rich_help_panel="Run")(run.tune)
app.command("config", rich_help_panel="Run")(run.show_config)

app.command("runs", rich_help_panel="Look")(look.list_runs)
app.command(rich_help_panel="Look")(look.report)
app.command(rich_help_panel="Look")(look.compare)
app.command(rich_help_panel="Look")(look.monitor)

app.command(rich_help_panel="Serve")(serve.predict)
app.command(rich_help_panel="Serve")(serve.ask)
app.command(rich_help_panel="Serve", add_help_option=False, context_settings=_PASS_ON)(serve.serve)
app.command(rich_help_panel="Serve")(serve.console)
app.command(rich_help_panel="Serve")(serve.preview)
app.command(rich_help_panel="Serve")(serve.score)
app.command(rich_help_panel="Serve")(serve.index)
releases = typer.Typer(
    help="Decide which version answers: status, canary, promote, rollback, next.",
    no_args_is_help=True,
)
releases.command()(release.status)
releases.command()(release.canary)
releases.command()(release.promote)
releases.command()(release.rollback)
releases.command("next")(release.next_)
app.add_typer(releases, name="release", rich_help_panel="Serve")
app.command(rich_help_panel="Serve")(serve.rollback)
app.command(rich_help_panel="Serve")(serve.withdraw)

app.command("compile", rich_help_panel="Deploy")(deploy.compile_)
app.command(rich_help_panel="Deploy")(deploy.submit)
app.command(rich_help_panel="Deploy")(deploy.encoder)
