"""What can be set of the checks of the data: `data_checks` in the YAML."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings import Check, Settings, Share


class DataCheckSettings(Settings):
    """What is looked for in data that fits the schema: off, a warning, or a stop."""

    drift: Check = Field(
        "warn", description="Attributes distributed otherwise than for the model in service."
    )
    skew: Check = Field("warn", description="Attributes distributed otherwise in eval than train.")
    max_distance: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1,
        description="Most L-infinity norm between texts, Jensen-Shannon divergence between "
        "numbers; a comparator in the schema comes first.",
    )
    click_rate: Check = Field(
        "warn",
        description="Another click rate in eval than train, or than for the model in service.",
    )
    max_click_rate_change: Annotated[float, Field(ge=0)] = Field(
        0.3, description="Most change, as a share of the click rate; more than chance explains."
    )
    unseen_values: Check = Field("warn", description="Values of text attributes in eval only.")
    max_unseen_values: Share = Field(0.05, description="Most rows with one, by attribute.")
    cold_ads: Check = Field("warn", description="Texts in eval only.")
    max_cold_ads: Share = Field(0.5, description="Most rows with one.")
    leaks: Check = Field(
        "warn", description="An attribute or ad id that predicts the click almost alone."
    )
    max_auc_alone: Annotated[float, Field(ge=0.5, le=1)] = Field(
        0.95, description="Most AUC that one of them may have alone."
    )
