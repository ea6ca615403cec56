"""What the model expects of a text that nobody has seen, by segment, against the running ads.

The running ads are those of the recommender. A segment's click rate is the mean probability of a
click over its users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from components.errors import InputError
from components.evaluator.slices import Slice, label, slices
from components.example_gen.csv_types import TEXT, Types
from components.features import RECOMMENDER
from components.trainer.catalogue import VARIABLES, Catalogue
from serving.raw_rows import RawRows, types_for
from serving.server.c_api import Checkpoint
from serving.server.status import ServingError
from serving.towers import Floats, Towers, sigmoid

EVERYONE = "everyone"

_MOST_USERS = 10_000
_MOST_VALUES = 12  # Segments of an attribute.
_NEAREST = 5
_ADS_TOGETHER = 1024


@dataclass(frozen=True)
class Segment:
    """What is expected of a text in a segment.

    Attributes:
        name: as in `att_age = 25-34`.
        share: of the users that are in it.
        click_rate: of the text.
        running: mean click rate of the running ads.
        lift: the text's click rate by that of the running ads.
        beaten: share of the running ads whose click rate is lower than the text's.
    """

    name: str
    share: float
    click_rate: float
    running: float
    lift: float
    beaten: float


@dataclass(frozen=True)
class NearAd:
    """A running ad that is like a text to the model.

    Attributes:
        ad_id: its id.
        text: its text.
        similarity: cosine of the two embeddings.
        click_rate: of the ad, with everyone.
    """

    ad_id: str
    text: str
    similarity: float
    click_rate: float


@dataclass(frozen=True)
class Preview:
    """What is expected of a text.

    Attributes:
        text: the text.
        version: of the models that say so.
        everyone: all users.
        segments: their parts, those with the highest lift first.
        nearest: the running ads that are most like it, most like first.
    """

    text: str
    version: int
    everyone: Segment
    segments: list[Segment]
    nearest: list[NearAd]

    def extremes(self, most: int) -> dict[str, list[Segment]]:
        """Returns the best and the worst segments under their headings; all where they are few."""
        if len(self.segments) <= 2 * most:
            return {"Segments": self.segments}
        worst_first = self.segments[: -most - 1 : -1]
        return {"Best segments": self.segments[:most], "Worst segments": worst_first}


@dataclass(frozen=True)
class Audience:
    """Users and their segments.

    Attributes:
        users: N rows, with the columns that the user tower takes.
        segments: which of the rows belong to each, by name.
    """

    users: pa.Table
    segments: list[Slice]

    @staticmethod
    def of_csv(csv: Path, towers: Towers) -> Audience:
        """Reads users from a CSV input; evenly spread ones where there are very many.

        The segments are the values of each attribute, ranges where they are many numbers.

        Raises:
            InputError: the input cannot be used.
        """
        rows = RawRows(csv, towers.columns, towers.user_tower.inputs)
        names = list(towers.user_tower.inputs)
        users = _evenly(rows, -(-rows.count // _MOST_USERS)).select(names)
        return Audience(users, list(slices(users, towers.columns, _MOST_VALUES)))

    @staticmethod
    def of_attributes(given: Sequence[Mapping[str, str]], towers: Towers) -> Audience:
        """Makes a segment of each group of attributes, of one user; other attributes are missing.

        Raises:
            InputError: an attribute that the model does not have, or that is not of its type.
        """
        inputs = towers.user_tower.inputs
        unknown = sorted({name for attributes in given for name in attributes} - set(inputs))
        if unknown:
            raise InputError(
                f"no attribute {', '.join(unknown)} in the model; it has {', '.join(inputs)}"
            )
        columns = {name: [user.get(name) for user in given] for name in inputs}
        users = _typed(columns, types_for("", inputs, inputs))
        parts = [Slice(dict(user), np.array([row])) for row, user in enumerate(given)]
        return Audience(users, parts)


class Previewer:
    """Previews texts for an audience.

    Args:
        towers: the pushed towers.
        running: the ads to compare with.
        audience: the users.
    """

    def __init__(self, towers: Towers, running: Catalogue, audience: Audience) -> None:
        self._towers = towers
        self._running = running
        self._users = towers.embed_users(audience.users)
        parts = [np.arange(len(audience.users)), *(part.rows for part in audience.segments)]
        self._names = [EVERYONE, *(label(part.where) for part in audience.segments)]
        self._shares = np.array([len(part) for part in parts]) / len(audience.users)
        # A segment's row of it times a column of probabilities is their mean.
        self._means = np.zeros((len(parts), len(audience.users)), np.float32)
        for row, part in enumerate(parts):
            self._means[row, part] = 1 / len(part)
        self._running_rates = self._rates(running.embeddings)
        self._directions = _directions(running.embeddings)

    @staticmethod
    def of_csv(serving_root: Path, users: Path) -> Previewer:
        """Makes one of the newest models of a serving root and a CSV input of users.

        Raises:
            InputError: one of them cannot be used.
        """
        towers = Towers(serving_root)
        return Previewer(towers, _running(towers), Audience.of_csv(users, towers))

    @staticmethod
    def of_attributes(serving_root: Path, given: Sequence[Mapping[str, str]]) -> Previewer:
        """Makes one of the newest models of a serving root and groups of attributes.

        Raises:
            InputError: one of them cannot be used.
        """
        towers = Towers(serving_root)
        audience = Audience.of_attributes(given, towers)
        return Previewer(towers, _running(towers), audience)

    @property
    def version(self) -> int:
        """Of the models."""
        return self._towers.version

    @property
    def ad_attributes(self) -> list[str]:
        """The columns that the models take of an ad beside its id and text."""
        columns = self._towers.columns
        return [
            name
            for name in self._towers.item_tower.inputs
            if name not in (columns.ad_id, *columns.ad_texts)
        ]

    def preview(
        self, texts: Sequence[str], attributes: Mapping[str, str] = MappingProxyType({})
    ) -> list[Preview]:
        """Returns what is expected of each text.

        Args:
            texts: the texts; those of an ad that has several, a line each.
            attributes: of the ads that have these texts; those not given are missing.

        Raises:
            InputError: an attribute that ads do not have, or that is not of its type.
        """
        unknown = sorted(set(attributes) - set(self.ad_attributes))
        if unknown:
            raise InputError(
                f"no attribute {', '.join(unknown)} of ads in the model; it has "
                f"{', '.join(self.ad_attributes) or 'none'}"
            )
        columns = self._towers.columns
        lines = [columns.split_text(text) for text in texts]
        ads: dict[str, Sequence[str | None]] = {
            name: [attributes.get(name)] * len(texts) for name in self.ad_attributes
        }
        ads |= {name: [each[name] for each in lines] for name in columns.ad_texts}
        ads |= {columns.ad_id: [None] * len(texts)}
        inputs = self._towers.item_tower.inputs
        embeddings = self._towers.embed_ads(_typed(ads, types_for("", ads, inputs)))
        rates = self._rates(embeddings)
        similarities = _directions(embeddings) @ self._directions.T
        return [
            self._preview(text, rates[:, number], similarities[number])
            for number, text in enumerate(texts)
        ]

    def _preview(self, text: str, rates: Floats, similarities: Floats) -> Preview:
        beaten = (self._running_rates < rates[:, None]).mean(axis=1)
        running = self._running_rates.mean(axis=1)
        numbers = np.stack([self._shares, rates, running, rates / running, beaten], axis=1)
        everyone, *segments = (
            Segment(name, *row) for name, row in zip(self._names, numbers.tolist(), strict=True)
        )
        segments.sort(key=lambda segment: -segment.lift)
        nearest = [self._near(row, similarities) for row in np.argsort(-similarities)[:_NEAREST]]
        return Preview(text, self.version, everyone, segments, nearest)

    def _near(self, row: int, similarities: Floats) -> NearAd:
        return NearAd(
            self._running.ad_ids[row].decode(),
            self._running.texts[row].decode(),
            float(similarities[row]),
            float(self._running_rates[0, row]),
        )

    def _rates(self, ads: Floats) -> Floats:
        """Returns the click rates [segments, n] of ads with these logit embeddings [n, D]."""
        parts = []
        for start in range(0, len(ads), _ADS_TOGETHER):
            some = ads[start : start + _ADS_TOGETHER]
            parts.append(self._means @ sigmoid(self._users @ some.T))
        return np.concatenate(parts, axis=1)


def _typed(columns: Mapping[str, Sequence[str | None]], types: Types) -> pa.Table:
    try:
        return pa.table(
            {name: pa.array(each, TEXT).cast(types[name]) for name, each in columns.items()}
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"an attribute that the model takes as a number: {error}") from None


def _running(towers: Towers) -> Catalogue:
    folder = towers.in_service.folder(RECOMMENDER)
    try:
        variables = Checkpoint(folder / VARIABLES)
        return Catalogue.of_variables(variables.names, variables.read)
    except ServingError as error:
        raise InputError(f"{folder}: {error.message}") from None


def _evenly(rows: RawRows, step: int) -> pa.Table:
    """Returns every `step`-th row."""
    kept, seen = [], 0
    for table in rows:
        kept.append(table.take(np.arange(-seen % step, len(table), step)))
        seen += len(table)
    return pa.concat_tables(kept)


def _directions(embeddings: Floats) -> Floats:
    """Returns the ads' own embeddings [n, D - 2], of length 1, without what is added for logits."""
    own = embeddings[:, :-2]
    return np.asarray(own / np.linalg.norm(own, axis=1, keepdims=True))
