"""What can be set of the towers and their training: `model` and `trainer` in the YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import InitErrorDetails

from components.settings import Settings, Share

_Group = TypeVar("_Group", bound=Settings)
Units = Annotated[int, Field(ge=1)]


class ModelSettings(Settings):
    """The two towers."""

    user_layers: tuple[Units, ...] = Field((128,), description="Hidden layers of the user tower.")
    item_layers: tuple[Units, ...] = Field(
        (128, 64), description="Hidden layers of the item tower."
    )
    embedding: Units = Field(32, description="Units in which both towers end.")
    normalize: bool = Field(
        True, description="Give embeddings length 1, so that their product is a cosine."
    )
    center_embeddings: bool = Field(
        False, description="Subtract the mean of the training ads' text embeddings from each."
    )
    dropout: Share = Field(0.0, description="Share of the units that are dropped in training.")
    user_id: bool = Field(
        False, description="Learn an embedding and a bias of each user (data.columns.user_id)."
    )
    ad_id: bool = Field(False, description="Learn an embedding and a bias of each ad.")
    id_dropout: Share = Field(
        0.0, description="Share of the ids that are taken for unseen ones in training."
    )
    value_dropout: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.05,
        description="Share of the attributes' values that are taken for unknown ones in training: "
        "what is learned answers where a value is missing or new.",
    )
    training_only: tuple[str, ...] = Field(
        (),
        description="Columns beside data.columns.position that are known in training and not when "
        "a request comes; each value has a bias that is left out in serving.",
    )
    served_position: str | None = Field(
        None,
        description="The value of data.columns.position whose probabilities are served; none for "
        "the average over the positions of the training impressions.",
    )


class TrainerSettings(Settings):
    """How the towers are trained."""

    learning_rate: Annotated[float, Field(gt=0)] = Field(0.01, description="Adam's step size.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Step size over time; cosine falls to 0 in the last epoch."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.0, description="AdamW's decay a step, in step sizes."
    )
    label_smoothing: Share = Field(0.0, description="How far labels are moved towards 1/2.")
    keep_negatives: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Share of the impressions without a click to train on; probabilities are "
        "those of all.",
    )
    distillation: Share = Field(
        0.0,
        description="How far labels are moved towards the probabilities of a teacher: towers that "
        "know users (data.columns.user_id) and ads by ids, trained first.",
    )
    teacher: dict[str, Any] = Field(
        {},
        description="Settings of model and trainer that are other for the teacher, as "
        "`{model.dropout: 0.6}`.",
    )
    calibrate: bool = Field(
        False, description="Refit scale and bias on the validation rows (Platt)."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(1024, description="Impressions a step.")
    epochs: Annotated[int, Field(ge=1)] = Field(20, description="Most passes over the data.")
    validation_share: Share = Field(
        0.1,
        description="Share of the training rows that early stopping watches; 0 to train on all.",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        3, description="Epochs without a better validation loss before training stops."
    )
    warm_start: bool = Field(
        False, description="Begin from the weights of the last pushed model, where shapes match."
    )
    refit: bool = Field(
        False,
        description="Train once more on all rows, those for evaluation too, what has passed the "
        "gate, and push that.",
    )
    seed: int = Field(1, ge=0, description="Same seed and data give the same model.")


# What the data decides, or what makes no sense for a teacher.
_NOT_OF_A_TEACHER = {
    *("model.user_id", "model.ad_id", "model.training_only", "model.served_position"),
    *("trainer.distillation", "trainer.teacher", "trainer.keep_negatives"),
    *("trainer.validation_share", "trainer.warm_start", "trainer.refit"),
}


def teacher_settings(
    model: ModelSettings, trainer: TrainerSettings
) -> tuple[ModelSettings, TrainerSettings]:
    """Returns the settings of the teacher: those given, but for what `trainer.teacher` says.

    Raises:
        ValueError: it names what is no setting of a teacher, or gives it a value that it cannot
            have.
    """
    values = {"model": model.model_dump(), "trainer": trainer.model_dump()}
    for key, value in trainer.teacher.items():
        group, _, name = key.partition(".")
        if name not in values.get(group, {}) or key in _NOT_OF_A_TEACHER:
            left_out = ", ".join(sorted(_NOT_OF_A_TEACHER))
            raise ValueError(
                f"trainer.teacher: {key}: expected a setting of model or trainer, as model.dropout,"
                f" and none of {left_out}"
            )
        values[group][name] = value
    return (
        _of_teacher(ModelSettings, "model", values["model"]),
        _of_teacher(TrainerSettings, "trainer", values["trainer"]),
    )


def _of_teacher(group: type[_Group], key: str, values: dict[str, Any]) -> _Group:
    try:
        return group(**values)
    except ValidationError as error:
        details: list[InitErrorDetails] = [
            {
                "type": each["type"],
                "loc": ("trainer", "teacher", f"{key}.{each['loc'][0]}", *each["loc"][1:]),
                "input": each["input"],
                "ctx": each.get("ctx", {}),
            }
            for each in error.errors()
        ]
        raise ValidationError.from_exception_data(error.title, details) from None
