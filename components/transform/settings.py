"""What can be set of Transform: `text_encoder` and `transform` in the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from components.settings import Check, Settings


class TextEncoderSettings(Settings):
    """The BERT that embeds the ads' texts."""

    encoder: str = Field(
        "minilm", description="minilm (installed with twotower), or a TF Hub handle or folder."
    )
    preprocessor: str | None = Field(
        None, description="TF Hub handle or folder of the encoder's preprocessor; none for minilm."
    )
    max_tokens: Annotated[int, Field(ge=8, le=512)] = Field(
        128, description="Longer texts are cut."
    )
    pair: bool = Field(
        False,
        description="Embed an ad's two texts (data.columns.text) as BERT's pair of sentences, and "
        "not as one text.",
    )
    cache: Path = Field(
        Path("~/.cache/twotower/encoders"), description="Where compiled encoders are kept."
    )


class TransformSettings(Settings):
    """From raw columns to a one-hot user and an embedded ad."""

    buckets: Annotated[int, Field(ge=2, le=1000)] = Field(
        10,
        description="Buckets of a numeric attribute, beside those that frequent values have alone.",
    )
    max_categories: Annotated[int, Field(ge=1)] = Field(
        1000,
        description="Most values of a string attribute with a column each, most frequent first.",
    )
    ad_memo: bool = Field(True, description="Embed each distinct text once in the whole run.")
    max_ads: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Most texts in the memo, most frequent first; the rest meet BERT."
    )
    same_embedding: Check = Field(
        "warn", description="Ads in the memo that the text encoder cannot tell apart."
    )
    max_ids: Annotated[int, Field(ge=1)] = Field(
        1_000_000, description="Most user ids, and ad ids, that a model which uses them learns."
    )
