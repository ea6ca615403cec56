"""What can be set of the gate: `evaluator` in the YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings import Settings, Share


class EvaluatorSettings(Settings):
    """What a model must reach before it is pushed, and how it is looked at."""

    min_auc: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Least AUC of clicks on the eval split."
    )
    confidence: Share = Field(
        0.95,
        description="AUC and its change are judged by the bound they exceed with this certainty; "
        "0 judges the estimates.",
    )
    min_clicks: Annotated[int, Field(ge=0)] = Field(
        30, description="Fewest clicks in the eval split that a judgement may rest on."
    )
    max_auc_drop: Annotated[float, Field(ge=0, le=1)] | None = Field(
        0.01,
        description="Most AUC that may be lost against the model in service; none to not compare.",
    )
    incomparable_baseline: Literal["fail", "pass"] = Field(
        "fail", description="What a model in service that cannot score the eval split means."
    )
    min_slice_auc: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="Least AUC (the estimate) of each slice with enough clicks; none for no floor.",
    )
    min_slice_clicks: Annotated[int, Field(ge=1)] = Field(
        100, description="Clicks, and non-clicks, from which a slice's AUC is judged."
    )
    min_calibration: Annotated[float, Field(ge=0)] | None = Field(
        0.7,
        description="Least clicks predicted by clicks observed, beyond what chance explains; none "
        "for no bound.",
    )
    max_calibration: Annotated[float, Field(ge=0)] | None = Field(
        1.4,
        description="Most clicks predicted by clicks observed, beyond what chance explains; none "
        "for no bound.",
    )
    max_normalized_entropy: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Most log loss by that of predicting the click rate for every row; none for "
        "no bound.",
    )
    max_ece: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Most expected calibration error; none for no bound."
    )
    crosses: tuple[tuple[str, ...], ...] = Field(
        (), description="Attributes to slice by together, as in [[att_device, att_os]]."
    )
    max_slices: Annotated[int, Field(ge=1)] = Field(
        100, description="Most slices of an attribute or a cross, those with most rows first."
    )
    operating_point: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Probability from which a click is predicted, for precision and recall; "
        "none for that of the highest tenth of the rows.",
    )
