"""All that the towers train on, without raw data and transform graph.

It stays beside a run's logs, so that `twotower tune` starts from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from components.errors import InputError
from components.trainer.impressions import Impressions
from components.trainer.settings import ModelSettings
from components.trainer.two_tower import ADS, TwoTower

FOLDER = "impressions"  # Beside the logs of the training.
_FACTS_FILE = "facts.json"
# The settings that TwoTower takes under the same name.
_ARCHITECTURE = {
    "user_layers",
    "item_layers",
    "embedding",
    "normalize",
    "center_embeddings",
    "dropout",
    "id_dropout",
    "value_dropout",
}


@dataclass(frozen=True)
class TrainingData:
    """Compact impressions, their ads, and how many of everything there are.

    Attributes:
        impressions: the rows to learn from.
        validation: the rows whose loss ends training; there may be none.
        ads: the model's inputs for the ads, by their number.
        user_width: columns of the one-hot user vector.
        user_ids: how many user ids there are, the unseen one among them; 0 where none are used.
        ad_ids: the same of ads.
        context_width: columns of the one-hot vector of what is known in training only.
        user_unknown: what takes the place of each slot of a user's positions where an attribute's
            value is not known, see transform.layout.Part.
        ad_attribute_width: columns of the one-hot vector of an ad's attributes; 0 for none.
        ad_unknown: the same of an ad's positions as `user_unknown` of a user's.
    """

    impressions: Impressions
    validation: Impressions
    ads: Mapping[str, np.ndarray]
    user_width: int
    user_ids: int
    ad_ids: int
    context_width: int = 0
    user_unknown: Sequence[int] = ()
    ad_attribute_width: int = 0
    ad_unknown: Sequence[int] = ()

    def two_tower(self, settings: ModelSettings) -> TwoTower:
        """Returns untrained towers that fit the data."""
        vectors = self.ads[ADS]
        model = TwoTower(
            self.user_width,
            vectors.shape[1],
            user_ids=self.user_ids,
            ad_ids=self.ad_ids,
            context_width=self.context_width,
            user_unknown=self.user_unknown,
            ad_attribute_width=self.ad_attribute_width,
            ad_unknown=self.ad_unknown,
            **settings.model_dump(include=_ARCHITECTURE),
        )
        model.adapt(vectors)
        # Training begins at even odds of a click among the impressions that were kept.
        model.click.bias.assign([math.log(self.impressions.kept_negatives)])
        return model

    def save(self, folder: Path) -> None:
        """Writes, beside the files of the impressions, all else that `load` needs."""
        for name, values in self.ads.items():
            np.save(folder / f"{name}.npy", values)
        facts = {
            "impressions": asdict(self.impressions) | {"file": self.impressions.file.name},
            "validation": asdict(self.validation) | {"file": self.validation.file.name},
            "ads": list(self.ads),
            "user_width": self.user_width,
            "user_unknown": list(self.user_unknown),
            "ad_attribute_width": self.ad_attribute_width,
            "ad_unknown": list(self.ad_unknown),
            "user_ids": self.user_ids,
            "ad_ids": self.ad_ids,
            "context_width": self.context_width,
        }
        (folder / _FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> TrainingData:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: there is none in the folder.
            InputError: another version of twotower wrote it, and otherwise.
        """
        facts = json.loads((folder / _FACTS_FILE).read_text(encoding="utf-8"))
        ads = {name: np.load(folder / f"{name}.npy") for name in facts["ads"]}
        try:
            for part in ("impressions", "validation"):
                facts[part] = Impressions(**facts[part] | {"file": folder / facts[part]["file"]})
            return TrainingData(**facts | {"ads": ads})
        except TypeError:
            raise InputError(
                f"{folder}: another version of twotower wrote these impressions; run once more"
            ) from None
