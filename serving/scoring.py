"""Every ad for every user: one matrix product of logit embeddings, the sigmoid fused with it.

The product is cut into blocks of users, so that memory does not grow with them; a block becomes one
Parquet file. With `best`, only the best ads of each user are kept.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from components.errors import InputError
from components.features import AD_IDS, MODEL_VERSION, PROBABILITIES
from components.output_file import output_folder
from serving.raw_rows import RawRows, read_ads, typed
from serving.towers import Floats, Towers, sigmoid

_USERS = 8192  # Most users of a block.
_BLOCK = 1 << 24  # Most scores of a block, 64 MiB.
_TILE = 1 << 21  # Scores that are computed in one call: what the caches of a core can hold.
_WORKERS = min(8, os.cpu_count() or 1)  # Each holds a block.

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Ads:
    """The ads of a catalogue.

    Attributes:
        ids: [n], each once.
        embeddings: [n, D] logit embeddings, as the item tower returns them.
    """

    ids: list[str]
    embeddings: Floats

    @staticmethod
    def of(csv: Path, towers: Towers) -> Ads:
        """Reads a catalogue and embeds it.

        Raises:
            InputError: the catalogue cannot be used.
        """
        ads = read_ads(csv, towers.columns, towers.item_tower.inputs)
        return Ads(ads[towers.columns.ad_id].to_pylist(), towers.embed_ads(ads))


class Scorer(Protocol):
    """What is kept of the scores of a user."""

    users: int
    """How many users to score in one call."""

    def score(self, users: Floats) -> pa.Table:
        """Returns a row a user, from their logit embeddings [n, D], n at most `users`."""

    def check(self, names: Iterable[str]) -> None:
        """Raises InputError if columns of the users cannot stand beside the scores."""


class EveryAd:
    """The probabilities of all ads, a column an ad, named by its id.

    Args:
        ads: the catalogue.
    """

    def __init__(self, ads: Ads) -> None:
        self._ids = ads.ids
        self._embeddings = ads.embeddings
        self.users = max(1, min(_USERS, _BLOCK // len(ads.ids)))

    def probabilities(self, users: Floats) -> Iterator[Floats]:
        """Yields arrays [ads, n], the ads in their order, for the n users."""
        tile = max(1, _TILE // len(users))
        for start in range(0, len(self._ids), tile):
            yield sigmoid(self._embeddings[start : start + tile] @ users.T)

    def score(self, users: Floats) -> pa.Table:
        columns: list[pa.Array] = []
        for tile in self.probabilities(users):
            flat = pa.array(tile.ravel())
            columns += [flat.slice(start, len(users)) for start in range(0, len(flat), len(users))]
        return pa.Table.from_arrays(columns, self._ids)

    def check(self, names: Iterable[str]) -> None:
        both = sorted(set(names) & set(self._ids))
        if both:
            raise InputError(
                f"{', '.join(both[:5])}: the id of an ad and a column of the users; "
                "the scores have a column for each, so rename the users' column"
            )


class BestAds:
    """The ids and probabilities of each user's best ads, best first.

    Args:
        ads: the catalogue.
        k: how many ads to keep; all if there are fewer.
    """

    def __init__(self, ads: Ads, k: int) -> None:
        self.users = _USERS
        self._ids = pa.array(ads.ids, pa.string())
        self._embeddings = ads.embeddings
        self._k = min(k, len(ads.ids))

    def score(self, users: Floats) -> pa.Table:
        tile = max(1, _TILE // len(self._ids))
        starts = range(0, len(users), tile)
        best = [self._best(users[start : start + tile]) for start in starts]
        probabilities = np.concatenate([part for part, _ in best]).ravel()
        ads = self._ids.take(pa.array(np.concatenate([part for _, part in best]).ravel()))
        offsets = pa.array(np.arange(len(users) + 1, dtype=np.int32) * self._k)
        return pa.table(
            {
                AD_IDS: pa.ListArray.from_arrays(offsets, ads),
                PROBABILITIES: pa.ListArray.from_arrays(offsets, pa.array(probabilities)),
            }
        )

    def _best(self, users: Floats) -> tuple[Floats, Integers]:
        """Returns the k highest probabilities [n, k], best first, and whose they are [n, k]."""
        logits: Floats = users @ self._embeddings.T
        rest = len(self._ids) - self._k
        ads = np.argpartition(logits, rest, axis=1)[:, rest:]
        ads.sort(axis=1)  # of equal ones, the first in the catalogue is the better
        chosen = np.take_along_axis(logits, ads, axis=1)
        order = np.argsort(-chosen, axis=1, kind="stable")
        best = np.take_along_axis(chosen, order, axis=1)
        return sigmoid(best), np.take_along_axis(ads, order, axis=1)

    def check(self, names: Iterable[str]) -> None:
        both = sorted(set(names) & {AD_IDS, PROBABILITIES})
        if both:
            raise InputError(f"{', '.join(both)}: a column of the scores; rename the users' column")


@dataclass(frozen=True)
class Scored:
    """What was scored.

    Attributes:
        users: how many.
        ads: how many, for each of them.
        version: of the towers.
    """

    users: int
    ads: int
    version: int


def score(serving_root: Path, users: Path, ads: Path, out: Path, best: int | None = None) -> Scored:
    """Scores every ad for every user, with the newest towers of a serving root.

    Args:
        serving_root: the folder that a run pushed to.
        users: CSV input with the users' attributes; all its columns go into the result, as texts.
        ads: CSV input with ad ids and texts.
        out: folder for Parquet files, one a block of users; it is there once all are.
        best: keep so many ads a user, best first; a column for every ad if unset.

    Raises:
        InputError: an input cannot be used, or `out` is not empty.
    """
    with output_folder(out) as folder:
        return _score(serving_root, users, ads, folder, best)


def _score(serving_root: Path, users: Path, ads: Path, folder: Path, best: int | None) -> Scored:
    towers = Towers(serving_root)
    rows = RawRows(users, towers.columns, towers.user_tower.inputs)
    catalogue = Ads.of(ads, towers)
    scorer = make_scorer(catalogue, best)
    scorer.check(rows.types)

    def write(number: int, block: pa.Table) -> None:
        scores = scorer.score(towers.embed_users(typed(block, rows.types, users)))
        with (folder / f"part-{number:05}.parquet").open("wb") as file:
            write_parquet(with_scores(block, scores, towers.version), file)

    pending: deque[Future[None]] = deque()
    with workers() as pool:
        for number, block in enumerate(in_blocks(rows.texts(), scorer.users)):
            if len(pending) == _WORKERS:
                pending.popleft().result()
            pending.append(pool.submit(write, number, block))
    for future in pending:
        future.result()
    return Scored(rows.count, len(catalogue.ids), towers.version)


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Threads that score blocks of users, of which each has a core for itself."""
    # A product's own threads would wait for those of the other workers.
    with threadpool_limits(1), ThreadPoolExecutor(_WORKERS) as pool:
        yield pool


def make_scorer(ads: Ads, best: int | None) -> Scorer:
    """Returns a scorer that keeps the best ads of each user, or all of them."""
    return EveryAd(ads) if best is None else BestAds(ads, best)


def with_scores(users: pa.Table, scores: pa.Table, version: int) -> pa.Table:
    """Returns the users' columns, then their scores, with the version of the towers as metadata."""
    return pa.Table.from_arrays(
        [*users.columns, *scores.columns],
        [*users.column_names, *scores.column_names],
        metadata={MODEL_VERSION: str(version)},
    )


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Writes users with their scores."""
    texts = [field.name for field in table.schema if field.type == pa.string()]
    # Probabilities hardly compress, and there may be thousands of columns.
    pq.write_table(table, file, compression="none", use_dictionary=texts, write_statistics=False)


def in_blocks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yields the rows of `tables`, so many at a time."""
    rest: pa.Table | None = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while len(rest) >= rows:
            yield rest.slice(0, rows)
            rest = rest.slice(rows)
    if rest is not None and len(rest):
        yield rest
