"""The ads that a recommender chooses from. Without TensorFlow, so that they are read in no time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from components import signature_names
from components.features import Columns

# In the folder of a recommender: the prefix of the files of its variables.
VARIABLES = Path("variables", "variables")

# Names of variables.
_OF_TABLE = re.compile(r"table/(.+)/\.ATTRIBUTES/VARIABLE_VALUE")
_ATTRIBUTES = "attributes/"


@dataclass(frozen=True)
class Catalogue:
    """The ads that a recommender chooses from.

    Attributes:
        ad_ids: [n] ids, each once.
        texts: [n] their texts, see ad_text.joined.
        embeddings: [n, D] float32 logit embeddings, as the item tower returns them.
        attributes: [n] by column, as a request has it: what else the item tower takes of them,
            their attributes, and each text where an ad has several.
    """

    ad_ids: Sequence[bytes]
    texts: Sequence[bytes]
    embeddings: np.ndarray
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of_variables(names: Iterable[str], read: Callable[[str], np.ndarray]) -> Catalogue:
        """Returns the ads that a recommender's variables hold.

        Args:
            names: of all its variables.
            read: returns the value of one of them.
        """
        table = {
            of_table[1]: read(name)
            for name in sorted(names)
            if (of_table := _OF_TABLE.fullmatch(name))
        }
        # A recommender of an earlier release has no attributes.
        attributes = {
            signature_names.column(name.removeprefix(_ATTRIBUTES)): values
            for name, values in table.items()
            if name.startswith(_ATTRIBUTES)
        }
        return Catalogue(
            table["ad_ids"].tolist(), table["texts"].tolist(), table["embeddings"], attributes
        )

    def columns(self, columns: Columns) -> dict[str, np.ndarray]:
        """Returns the columns of the ads by their names."""
        named = {columns.ad_id: self.ad_ids}
        if isinstance(columns.text, str):
            named[columns.text] = self.texts
        return {name: np.array(each, object) for name, each in named.items()} | {**self.attributes}
