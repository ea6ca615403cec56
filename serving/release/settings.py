"""What can be set of releases: `release` in the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from components.settings import Settings


class ReleaseSettings(Settings):
    """Where `twotower release next` moves labels, and when."""

    automatic: bool = Field(
        False,
        description="Let `twotower watch` measure each day with the monitor and take the next step "
        "of a release by what it says.",
    )
    model_config_file: Path | None = Field(
        None, description="TF Serving's models.config; written where it is not there yet."
    )
    servers: tuple[str, ...] = Field(
        (), description="host:port of the gRPC of each server to tell; others read the file."
    )
    days: Annotated[int, Field(ge=1)] = Field(
        2, description="Days on which the monitor passes a canary before it is promoted."
    )

    @model_validator(mode="after")
    def _file_is_named(self) -> ReleaseSettings:
        if self.automatic and self.model_config_file is None:
            raise ValueError("automatic needs model_config_file: the file that TF Serving reads")
        return self
