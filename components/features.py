"""The names of everything that flows through twotower: columns, features, models and tensors.

Nothing else in the project spells a column or a tensor; the rest asks this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

# The four SavedModels, in the order they are pushed: a model comes after the ones it depends on.
ITEM_TOWER = "item_tower"
USER_TOWER = "user_tower"
CLICK_MODEL = "click_model"
RECOMMENDER = "recommender"
MODELS = (ITEM_TOWER, USER_TOWER, CLICK_MODEL, RECOMMENDER)

# Signatures of the SavedModels.
RAW_SIGNATURE = "serving_default"
EXAMPLES_SIGNATURE = "tf_examples"
AS_SHOWN_SIGNATURE = "as_shown"  # of a click model that learned from columns that serving lacks

# Tensors that the SavedModels take and return, beside the columns themselves.
EXAMPLES = "examples"
K = "k"
ALLOWED_AD_IDS = "allowed_ad_ids"
EXCLUDED_AD_IDS = "excluded_ad_ids"
MINIMUM_PROBABILITY = "minimum_probability"
EMBEDDING = "embedding"
LOGIT_EMBEDDING = "logit_embedding"
PROBABILITY = "probability"
AD_IDS = "ad_ids"
TEXTS = "texts"
PROBABILITIES = "probabilities"
MODEL_VERSION = "model_version"

# What the transform graph makes of the raw columns.
USER_ONE_HOT = "user_one_hot"
USER_UNKNOWN = "user_unknown"
USER_ID_ONE_HOT = "user_id_one_hot"
AD_EMBEDDING = "ad_embedding"
AD_ONE_HOT = "ad_one_hot"
AD_UNKNOWN = "ad_unknown"
AD_ID_ONE_HOT = "ad_id_one_hot"
CONTEXT_ONE_HOT = "context_one_hot"

# In an exported model's folder, the columns that it was made for.
COLUMNS_FILE = "assets.extra/columns.json"

# The splits of the data.
TRAIN = "train"
EVAL = "eval"


_Name = Annotated[str, Field(min_length=1)]


class Columns(BaseModel):
    """What each column of the CSV is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attribute_prefix: str = Field(
        "att_", min_length=1, description="Start of every user attribute."
    )
    ad_attribute_prefix: str | None = Field(
        "ad_",
        min_length=1,
        description="Start of every attribute of an ad beside its text; none to read none.",
    )
    text: _Name | Annotated[tuple[_Name, ...], Field(min_length=2)] = Field(
        "text",
        description="The ad's text; several columns, as in [headline, body], where it has more "
        "than one.",
    )
    ad_id: str = Field("message_id", min_length=1, description="The ad's id.")
    label: str = Field("clicked", min_length=1, description="1 if the user clicked, else 0.")
    user_id: str | None = Field(None, description="The user's id, where the data has one.")
    weight: str | None = Field(
        None, description="How many rows each stands for, where the log was thinned."
    )
    impressions: str | None = Field(
        None, description="How many impressions a row stands for, where rows are counts."
    )
    clicks: str | None = Field(
        None, description="How many of these were clicked; takes the place of the label."
    )

    position: str | None = Field(
        None, description="Where the ad was shown: known in training, not when a request comes."
    )

    @model_validator(mode="after")
    def _counts_come_together(self) -> Columns:
        if (self.impressions is None) != (self.clicks is None):
            raise ValueError("impressions and clicks are columns of the same log: name both")
        return self

    @property
    def ad_texts(self) -> list[str]:
        """The columns that hold the ad's texts."""
        return [self.text] if isinstance(self.text, str) else list(self.text)

    @property
    def is_counted(self) -> bool:
        """Whether a row stands for several impressions."""
        return self.impressions is not None

    @property
    def outcome(self) -> list[str]:
        """The columns that say what came of a row: the label or counts, and the row's weight."""
        named = [self.impressions, self.clicks] if self.is_counted else [self.label]
        return [name for name in (*named, self.weight) if name is not None]

    @model_validator(mode="after")
    def _names_differ(self) -> Columns:
        named = self.required()
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice; each of them is another column")
        return self

    @staticmethod
    def of_model(folder: Path) -> Columns:
        """Reads the columns that an exported model was made for."""
        return Columns.model_validate_json((folder / COLUMNS_FILE).read_text(encoding="utf-8"))

    def split_text(self, text: str) -> dict[str, str]:
        """Returns by column what a person wrote as one text: a line each, the last has the rest.

        It is the reverse of `ad_text.joined`.
        """
        columns = self.ad_texts
        lines = text.split("\n", len(columns) - 1)
        return dict(zip_longest(columns, lines, fillvalue=""))

    def context(self, training_only: Iterable[str]) -> list[str]:
        """Returns the columns that are known in training only, in alphabetical order."""
        named = [self.position] if self.position is not None else []
        return sorted({*named, *training_only})

    def user_attributes(self, names: Iterable[str]) -> list[str]:
        """Returns those of `names` that are user attributes, in alphabetical order."""
        return sorted(name for name in names if name.startswith(self.attribute_prefix))

    def ad_attributes(self, names: Iterable[str]) -> list[str]:
        """Returns those of `names` that are attributes of the ad, in alphabetical order.

        A column with another role is none, whatever its name begins with.
        """
        if self.ad_attribute_prefix is None:
            return []
        prefix, others = self.ad_attribute_prefix, self._roles()
        found = {name for name in names if name.startswith(prefix) and name not in others}
        return sorted(found.difference(self.user_attributes(found)))

    def attributes(self, names: Iterable[str]) -> list[str]:
        """Returns those of `names` that are attributes of the user or the ad, users' first."""
        names = list(names)
        return [*self.user_attributes(names), *self.ad_attributes(names)]

    def role(self, name: str) -> str:
        """Says what a column is for."""
        roles = self._roles()
        if name in roles:
            return roles[name]
        if self.ad_attributes([name]):
            return "ad attribute"
        return "attribute" if self.user_attributes([name]) else "not used"

    def _roles(self) -> dict[str | None, str]:
        """What the columns are for that are named one by one."""
        return {
            **dict.fromkeys(self.ad_texts, "ad text"),
            self.ad_id: "ad id",
            self.label: "label",
            self.user_id: "user id",
            self.weight: "weight",
            self.impressions: "impressions",
            self.clicks: "clicks",
            self.position: "position",
        }

    def texts(self) -> list[str]:
        """Returns the columns that are names or texts, whatever they look like."""
        named = (*self.ad_texts, self.ad_id, self.user_id, self.position)
        return [name for name in named if name is not None]

    def required(self) -> list[str]:
        """Returns the columns that every file must have, beside at least one attribute."""
        named = [*self.ad_texts, self.ad_id, *self.outcome, self.user_id, self.position]
        return [name for name in named if name is not None]
