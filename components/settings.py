"""What every group of settings has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """A group of settings: a key that is not listed here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
