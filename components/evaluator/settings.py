"""What can be set of the gate: `evaluator` in the YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.settings import Settings, Share

Text = Annotated[str, BeforeValidator(str)]  # YAML reads some values as numbers


class MetricSettings(Settings):
    """A metric of TFMA or Keras, as TFMA's MetricConfig names it; the name alone will do."""

    class_name: str = Field(description="As in BalancedAccuracy.")
    module: str = Field("", description="Where the class is, if it is not TFMA's or Keras'.")
    config: dict[str, Any] = Field({}, description="Its options.")

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, given: Any) -> Any:
        return {"class_name": given} if isinstance(given, str) else given


class SliceSettings(Settings):
    """Slices of the eval split, as TFMA's SlicingSpec names them."""

    feature_keys: tuple[str, ...] = Field(
        (), description="Columns whose values make slices, each combination one."
    )
    feature_values: dict[str, Text] = Field({}, description="Columns that must have a value.")

    @model_validator(mode="after")
    def _names_a_column(self) -> SliceSettings:
        if not self.feature_keys and not self.feature_values:
            raise ValueError("expected feature_keys, feature_values or both")
        return self


class RuleSettings(Settings):
    """What a metric must reach."""

    metric: str = Field(description="Its name in the results, as in balanced_accuracy.")
    at_least: float | None = Field(None, description="Least that passes.")
    at_most: float | None = Field(None, description="Most that passes.")
    slice: dict[str, Text] = Field({}, description="The rows that it is measured on; {} for all.")

    @model_validator(mode="after")
    def _has_a_bound(self) -> RuleSettings:
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        return self


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
    metrics: tuple[MetricSettings, ...] = Field(
        (),
        description="More metrics of TFMA or Keras, as in [BalancedAccuracy, {class_name: "
        "SpecificityAtSensitivity, config: {sensitivity: 0.9}}].",
    )
    rules: tuple[RuleSettings, ...] = Field(
        (),
        description="What any metric must reach, as in [{metric: balanced_accuracy, at_least: 0.6, "
        "slice: {att_device: mobile}}].",
    )
    slices: tuple[SliceSettings, ...] = Field(
        (),
        description="More slices than each attribute makes, as in [{feature_keys: [att_device, "
        "message_id]}, {feature_values: {att_os: ios}}].",
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
