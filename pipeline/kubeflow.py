"""Starts compiled pipelines on Kubeflow Pipelines, once or on a schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kfp_server_api
from kfp.client import Client
from urllib3.exceptions import HTTPError

from components.errors import InputError, TwotowerError
from pipeline.config import PipelineConfig, require

_NO_ACCESS = (401, 403)


def submit(config: PipelineConfig, specification: Path, schedule: str | None) -> str:
    """Starts a run, or has one started by a schedule.

    Args:
        config: the settings.
        specification: what `compile_pipeline` made for Kubeflow.
        schedule: when to run, as five fields of cron in UTC; once and now if None.

    Returns:
        Where to look at the run or the schedule.

    Raises:
        InputError: no access, or a host or namespace where Kubeflow Pipelines is not.
    """
    require(config, "--target kubeflow", "deploy.kubeflow.host")
    kubeflow = config.deploy.kubeflow
    account = config.deploy.service_account
    with _explained(config):
        client = Client(
            host=kubeflow.host, namespace=kubeflow.namespace, existing_token=_token(config)
        )
        experiment = client.create_experiment(kubeflow.experiment, namespace=kubeflow.namespace)
        if schedule is None:
            run = client.run_pipeline(
                experiment_id=experiment.experiment_id,
                job_name=config.name,
                pipeline_package_path=str(specification),
                service_account=account,
            )
            return f"{kubeflow.host}/#/runs/details/{run.run_id}"
        recurring = client.create_recurring_run(
            experiment_id=experiment.experiment_id,
            job_name=config.name,
            cron_expression=f"0 {schedule}",  # Kubeflow's cron begins with seconds
            no_catchup=True,
            pipeline_package_path=str(specification),
            service_account=account,
        )
        return f"{kubeflow.host}/#/recurringrun/details/{recurring.recurring_run_id}"


def _token(config: PipelineConfig) -> str | None:
    file = config.deploy.kubeflow.token_file
    if file is None:
        return None
    try:
        return file.expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"deploy.kubeflow.token_file: {file}: cannot be read ({error.strerror}); "
            "`kubectl create token` prints a token"
        ) from None


@contextmanager
def _explained(config: PipelineConfig) -> Iterator[None]:
    """Says in a line what was refused and what to do, in place of the SDK's exceptions."""
    kubeflow = config.deploy.kubeflow
    place = f"deploy.kubeflow.host={kubeflow.host}"
    try:
        yield
    except kfp_server_api.ApiException as error:
        what = f"{place}: HTTP {error.status} {_message(error)}"
        if error.status in _NO_ACCESS:
            raise InputError(
                f"{what}; deploy.kubeflow.token_file names a file with a token that has access to "
                f"the namespace {kubeflow.namespace}"
            ) from None
        if error.status < 500:
            raise InputError(f"{what}; check it, and the namespace {kubeflow.namespace}") from None
        raise TwotowerError(f"{what}; try again later") from None
    except HTTPError as error:
        raise InputError(
            f"{place}: does not answer ({type(error).__name__}); give the URL of the Kubeflow "
            "Pipelines API, such as http://localhost:8080 beside `kubectl port-forward`"
        ) from None


def _message(error: kfp_server_api.ApiException) -> str:
    """Returns what the server says was wrong, in one line."""
    try:
        return str(json.loads(error.body)["message"]).partition("\n")[0]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
