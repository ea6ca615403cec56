"""What every group of settings has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

# YAML reads a bare off as false.
Check = Annotated[Literal["off", "warn", "stop"], BeforeValidator(lambda value: value or "off")]

Share = Annotated[float, Field(ge=0, lt=1)]


class Settings(BaseModel):
    """A group of settings: a key that is not listed here is an error, and so is an infinite number.

    A path may begin with `~`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        if isinstance(value, Path):
            return value.expanduser()
        if isinstance(value, str) and value.startswith("~/"):
            return str(Path(value).expanduser())
        return value
