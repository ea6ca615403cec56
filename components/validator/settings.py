"""What can be set of the trial serving: `validator` in the YAML."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings import Settings


class ValidatorSettings(Settings):
    """The server that the exports must run on before they are pushed."""

    rows: Annotated[int, Field(ge=2)] = Field(
        64, description="Rows of the eval split that are sent to it."
    )
    max_latency_ms: Annotated[float, Field(gt=0)] = Field(
        250.0, description="Most milliseconds for one row, the median of several requests."
    )
    max_megabytes: Annotated[float, Field(gt=0)] = Field(
        2000.0, description="Most megabytes of one model on disk."
    )
    start_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="How long it may take until every model answers."
    )
    image: str | None = Field(
        None,
        description="TF Serving image to serve with, in Docker; the local server if none.",
    )
