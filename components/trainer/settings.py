"""What can be set of the towers and their training: `model` and `trainer` in the YAML."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings import Settings, Share

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
