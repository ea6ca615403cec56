"""What can be set of the push: `pusher` in the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.settings import Settings


class PusherSettings(Settings):
    """Where blessed models go."""

    serving_root: Path = Field(Path("serving_models"), description="TF Serving's model folder.")
    keep_versions: Annotated[int, Field(ge=1)] = Field(
        3, description="Newest versions that stay in the serving root."
    )
