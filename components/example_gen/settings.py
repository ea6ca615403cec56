"""What can be set of the input: `data` in the YAML."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.errors import InputError
from components.example_gen.csv_types import MARKS
from components.example_gen.layout import Layout
from components.features import Columns
from components.settings import Settings


class SplitSettings(Settings):
    """Which rows are for evaluation: `rows` by chance, whole groups of them, or the newest."""

    by: tuple[str, ...] = Field(
        (),
        description="Columns whose values stay together in one split: the user's id for cold "
        "users, the ad's for cold ads.",
    )
    time: str | None = Field(
        None,
        description="Column with times, of which the newest are for evaluation: ISO 8601, or "
        "seconds or milliseconds since 1970.",
    )

    @model_validator(mode="before")
    @classmethod
    def _rows(cls, value: Any) -> Any:
        return {} if value == "rows" else value

    @model_validator(mode="after")
    def _is_one_way(self) -> SplitSettings:
        if self.by and self.time is not None:
            raise ValueError("expected rows, or one of by and time")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide."""
        return self.by if self.time is None else (self.time,)


_PLACEHOLDER = "{{$."  # begins what Kubeflow and Vertex replace by a value

_LOGGER = logging.getLogger(__name__)


class ReadingSettings(Settings):
    """How rows are read and split."""

    columns: Columns = Field(Columns(), description="Names of the columns.")
    split: SplitSettings = SplitSettings()
    eval_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the rows kept for evaluation, where the input is not split."
    )
    separator: Annotated[str, Field(pattern=r"^[\x09\x20-\x21\x23-\x7e]$")] | None = Field(
        None, description="Between the fields of a CSV row; none to find it in each file's header."
    )
    absent_columns: Literal["refuse", "missing"] = Field(
        "refuse", description="Columns that some files lack: refuse the input, or missing there."
    )
    missing: tuple[str, ...] = Field(
        MARKS,
        description="What stands for a missing value in columns of numbers.",
    )
    categorical: tuple[str, ...] = Field(
        (), description="Attributes that are categories though their values look like numbers."
    )
    multi_valued: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {},
        description="Attributes with several values in a row, by what stands between them: "
        'att_interests: "|".',
    )
    bad_rows: Literal["refuse", "quarantine"] = Field(
        "refuse", description="Refuse input with bad rows, or set them aside in a file."
    )

    def for_layout(self, layout: Layout) -> ReadingSettings:
        """Returns the settings, without a split where the input comes in two."""
        return self.model_copy(update={"split": SplitSettings()}) if layout.is_split else self

    def as_text(self) -> set[str]:
        """Returns the columns that are text whatever their values look like."""
        return {*self.columns.texts(), *self.categorical, *self.multi_valued}

    def required(self) -> list[str]:
        """Returns the columns that every file of a training's input must have."""
        return [*dict.fromkeys([*self.columns.required(), *self.split.columns])]

    @model_validator(mode="after")
    def _split_knows_no_label(self) -> ReadingSettings:
        for name in self.columns.outcome:
            if name in self.split.columns:
                raise ValueError(
                    f"split: {name} says what came of a row, which must not decide its split"
                )
        return self


class WindowSettings(Settings):
    """Which spans of an input in spans are read: the older to train on, the newest to judge on."""

    window: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Spans (days) of an input in spans that are read; none for all."
    )
    eval_spans: Annotated[int, Field(ge=1)] = Field(
        1, description="The newest of them, which a model is judged on and has not seen."
    )
    label_delay_spans: Annotated[int, Field(ge=0)] = Field(
        0, description="Newer spans that are left out, since clicks may still arrive."
    )
    until: int | datetime.date | None = Field(
        None,
        union_mode="left_to_right",
        description="Read the input as if this were the newest span, a date or a number; none for "
        "the newest there is.",
    )
    skip_spans: tuple[Annotated[int | datetime.date, Field(union_mode="left_to_right")], ...] = (
        Field((), description="Spans that are never read, such as a day whose log is broken.")
    )
    missing_spans: Literal["warn", "stop"] = Field(
        "warn", description="A span that is missing in the window: say so, or refuse the input."
    )

    def as_of(self, until: str) -> WindowSettings:
        """Returns the settings with another newest span.

        Args:
            until: a date, a number, "" for the newest there is; or a time in UTC, as the schedule
                of a cluster passes it, for the day before: the last that was over by then.

        What an older Kubeflow leaves in the place of that time, with a warning, is taken for "".

        Raises:
            InputError: It is none of these.
        """
        if until.startswith(_PLACEHOLDER):
            _LOGGER.warning("until: %s: not replaced by this Kubeflow; reads all there is", until)
            until = ""
        try:
            values = {**self.model_dump(), "until": _day_before(until) or until or None}
            return WindowSettings.model_validate(values)
        except ValidationError:
            raise InputError(
                f"until: {until}: expected a date as 2026-11-24, or the number of a span"
            ) from None

    @model_validator(mode="after")
    def _leaves_spans_to_train_on(self) -> WindowSettings:
        if self.window is not None and self.window <= self.eval_spans:
            raise ValueError(
                f"window: {self.window} spans, {self.eval_spans} of them for evaluation; expected "
                "at least one more to train on"
            )
        return self


def _day_before(time: str) -> str | None:
    """Returns the day before a time as 2026-11-24T03:00:00Z; None if it is another form."""
    if "T" not in time:
        return None
    try:
        day = datetime.datetime.fromisoformat(time).date() - datetime.timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return day.isoformat()


class DataSettings(WindowSettings, ReadingSettings):
    """The CSV and what its columns mean."""

    input: Path = Field(
        description="A CSV file, a folder of them, a folder with train/ and eval/ in it, or a "
        "pattern of spans, as logs/{YYYY}-{MM}-{DD}/*.csv or logs/{SPAN}/."
    )
    schema_file: Path = Field(
        description="The curated schema; `twotower schema infer` drafts one from a CSV."
    )

    def reading(self) -> ReadingSettings:
        """Returns the settings that say how rows are read and split."""
        names = ReadingSettings.model_fields
        return ReadingSettings(**{name: getattr(self, name) for name in names})
