"""Starts compiled pipelines on Vertex AI Pipelines, once or on a schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import aiplatform

from components.errors import InputError, TwotowerError
from pipeline.config import PipelineConfig, require


def submit(config: PipelineConfig, specification: Path, schedule: str | None) -> str:
    """Starts a run, or has one started by a schedule.

    Args:
        config: the settings.
        specification: what `compile_pipeline` made for Vertex.
        schedule: when to run, as five fields of cron in UTC; once and now if None.

    Returns:
        Where to look at the run or the schedule.

    Raises:
        InputError: no credentials, or a project or region that they do not open.
    """
    require(config, "--target vertex", "deploy.project", "deploy.location")
    account = config.deploy.service_account
    with _explained(config):
        job = aiplatform.PipelineJob(
            display_name=config.name,
            template_path=str(specification),
            project=config.deploy.project,
            location=config.deploy.location,
            labels=json.loads(specification.read_text(encoding="utf-8"))["labels"],
        )
        if schedule is None:
            job.submit(service_account=account)
            return str(job._dashboard_uri())
        scheduled = job.create_schedule(
            cron=schedule, display_name=config.name, service_account=account
        )
        return str(scheduled._dashboard_uri())


@contextmanager
def _explained(config: PipelineConfig) -> Iterator[None]:
    """Says in a line what was refused and what to do, in place of the SDK's exceptions."""
    deploy = config.deploy
    place = f"deploy.project={deploy.project}, deploy.location={deploy.location}"
    try:
        yield
    except auth.GoogleAuthError as error:
        raise InputError(
            f"no Google Cloud credentials that work ({_first_line(error)}); "
            "`gcloud auth application-default login` makes some"
        ) from None
    except (api.Forbidden, api.NotFound, api.Unauthorized) as error:
        raise InputError(
            f"{place}: refused ({_first_line(error)}); check both, that the Vertex AI API is "
            "enabled there, and that the account has the role roles/aiplatform.user"
        ) from None
    except api.BadRequest as error:
        raise InputError(f"{place}: Vertex refused the job ({_first_line(error)})") from None
    except api.GoogleAPICallError as error:
        raise TwotowerError(
            f"{place}: Vertex did not answer as expected ({_first_line(error)}); try again later"
        ) from None
    except ValueError as error:
        raise InputError(f"{place}: the job cannot be made: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
