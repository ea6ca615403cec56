"""What can be set of the input: `data` in the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from components.features import Columns
from components.settings import Settings


class DataSettings(Settings):
    """The CSV and what its columns mean."""

    input: Path = Field(
        description="A CSV file, a folder of them, or a folder with train/ and eval/ in it."
    )
    schema_file: Path = Field(
        description="The curated schema; `twotower schema infer` drafts one from a CSV."
    )
    columns: Columns = Field(Columns(), description="Names of the columns.")
    eval_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the rows kept for evaluation, where the input is not split."
    )
    bad_rows: Literal["refuse", "quarantine"] = Field(
        "refuse", description="Refuse input with bad rows, or set them aside in a file."
    )
