"""What the models answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import MixedVersionsError


@dataclass(frozen=True)
class Clicks:
    """Probabilities of a click.

    Attributes:
        probabilities: [B] float32.
        version: of the model that says so.
    """

    probabilities: np.ndarray
    version: int


@dataclass(frozen=True)
class Embeddings:
    """What a tower returns for B users or ads.

    Attributes:
        embedding: [B, units] float32, unit length.
        logit_embedding: [B, units + 2] float32; the inner product of a user's and an ad's is the
            logit of a click.
        version: of the tower.
    """

    embedding: np.ndarray
    logit_embedding: np.ndarray
    version: int


@dataclass(frozen=True)
class Ad:
    """An ad that is recommended to a user.

    Attributes:
        ad_id: its id in the catalogue.
        text: its text there.
        probability: that the user clicks it, between 0 and 1.
    """

    ad_id: str
    text: str
    probability: float


@dataclass(frozen=True)
class TopAds:
    """The best ads for a user.

    Attributes:
        ads: by falling probability.
        version: of the model that says so.
    """

    ads: list[Ad]
    version: int


def match(users: Embeddings, ads: Embeddings) -> np.ndarray:
    """Returns p(click) [users, ads] of every user on every ad.

    Raises:
        MixedVersionsError: the two come from towers of different versions.

    Examples:
        >>> import numpy as np
        >>> user = Embeddings(np.eye(1, 2), np.array([[1.0, 0.0]]), version=7)
        >>> ads = Embeddings(np.eye(2), np.array([[0.0, 1.0], [2.0, 0.0]]), version=7)
        >>> match(user, ads).round(3).tolist()
        [[0.5, 0.881]]
    """
    if users.version != ads.version:
        raise MixedVersionsError(
            f"The users were embedded by version {users.version} of the towers, the ads by version "
            f"{ads.version}; ask for both again, with version={max(users.version, ads.version)}"
        )
    logits = users.logit_embedding @ ads.logit_embedding.T
    return np.exp(-np.logaddexp(0.0, -logits))
