"""Every user x every ad: scores a second, ours beside the tutorial's NumPy and pandas recipe.

    python -m benchmarks.scoring
    python -m benchmarks.scoring --users 100000 --ads 500

Both start from the same embeddings, as the towers give them, and take turns. The recipe is that of
Predictive Hacks, "Content-Based Recommender Systems in TensorFlow and BERT Embeddings": the matrix
of all dot products as a data frame, then the sigmoid unit on the whole of it. "To Parquet" is the
same with the scores written to disk; the best ads of a user are sorted out of the same matrix. Ours
never holds the whole matrix: a block of it is dropped, written or sorted before the next.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from serving.scoring import Ads, BestAds, EveryAd, Scorer, workers, write_parquet
from serving.towers import Floats

WIDTH = 32
WEIGHT, BIAS = np.float32(2.0), np.float32(-3.0)
K = 10


def main(
    users: Annotated[int, typer.Option(min=1)] = 50_000,
    ads: Annotated[int, typer.Option(min=1)] = 1_682,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Print million scores a second, the median of all repeats."""
    draw = np.random.default_rng(1)
    user, ad = unit_vectors(draw, users), unit_vectors(draw, ads)
    ids = [f"ad-{number:06}" for number in range(ads)]
    table = Table("million scores/s", "ours", "NumPy and pandas", "ratio")
    embedded = Ads(ids, logit_ads(ad))
    every, best = EveryAd(embedded), BestAds(embedded, K)
    logits = logit_users(user)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        works: dict[str, Sequence[Callable[[], object]]] = {
            "computed": (
                lambda: in_blocks(logits, every, lambda some: deque(every.probabilities(some), 0)),
                lambda: recipe(user, ad, ids),
            ),
            "to Parquet": (
                lambda: in_blocks(logits, every, lambda some: write(every.score(some), out)),
                lambda: recipe(user, ad, ids).to_parquet(out / "recipe.parquet"),
            ),
            f"best {K} of each user": (
                lambda: in_blocks(logits, best, best.score),
                lambda: best_by_recipe(user, ad, ids),
            ),
        }
        check(every.score(logits[:100]), recipe(user[:100], ad, ids))
        for name, (mine, theirs) in works.items():
            speeds = users * ads / np.array(take_turns([mine, theirs], repeats)) / 1e6
            fast, slow = np.median(speeds, axis=1)
            table.add_row(name, f"{fast:.0f}", f"{slow:.0f}", f"{fast / slow:.1f}")
    Console().print(table)


def unit_vectors(draw: np.random.Generator, count: int) -> Floats:
    """Returns embeddings [count, WIDTH] of length 1."""
    rows = draw.normal(size=(count, WIDTH)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def logit_ads(ads: Floats) -> Floats:
    """Returns the ads as the item tower gives them: v, 1, 0."""
    last = np.tile(np.array([1, 0], np.float32), (len(ads), 1))
    return np.hstack([ads, last])


def logit_users(users: Floats) -> Floats:
    """Returns the users as the user tower gives them: w u, b, w."""
    last = np.tile(np.array([BIAS, WEIGHT]), (len(users), 1))
    return np.hstack([WEIGHT * users, last])


def in_blocks(users: Floats, scorer: Scorer, work: Callable[[Floats], object]) -> None:
    """Does `work` on all users, in blocks and threads as `twotower score` does."""
    starts = range(0, len(users), scorer.users)
    with workers() as pool:
        deque(pool.map(lambda start: work(users[start : start + scorer.users]), starts), maxlen=0)


def write(scores: pa.Table, folder: Path) -> None:
    """Writes the scores of a block."""
    with (folder / f"{uuid.uuid4()}.parquet").open("wb") as file:
        write_parquet(scores, file)


def recipe(users: Floats, ads: Floats, ids: list[str]) -> pd.DataFrame:
    """Returns the matrix of probabilities, as the tutorial makes it."""
    products = pd.DataFrame(np.dot(users, ads.T), columns=ids)
    return 1 / (1 + np.exp(-(WEIGHT * products + BIAS)))


def best_by_recipe(users: Floats, ads: Floats, ids: list[str]) -> np.ndarray:
    """Returns each user's K best ads."""
    order = np.argsort(-recipe(users, ads, ids).to_numpy(), axis=1)[:, :K]
    return np.array(ids)[order]


def check(ours: pa.Table, theirs: pd.DataFrame) -> None:
    """Both compute the same, or the comparison means nothing."""
    np.testing.assert_allclose(ours.to_pandas(), theirs, atol=1e-5)


def take_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Returns the seconds that each work took, each time."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, took in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            took.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    typer.run(main)
