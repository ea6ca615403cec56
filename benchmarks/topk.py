"""The best ads for a user: time of a request inside the session, beside NumPy on the same numbers.

    python -m benchmarks.topk serving_models
    python -m benchmarks.topk serving_models --ads 1000000 --k 100

The pushed recommender gets a catalogue of random ads and runs as TF Serving runs it, in a session,
on one core: from raw attributes to ids, texts and probabilities. NumPy is handed the user's
embedding, and finds the rows and logits only.
"""

from __future__ import annotations

import os

# Before NumPy and TensorFlow are imported: both work on one core.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2

from components import features
from components.serving_root import in_service
from components.trainer.catalogue import Catalogue
from components.trainer.recommender import read_catalogue, replace_catalogue
from serving.server.c_api import Tensor
from serving.server.saved_model import SavedModel
from serving.towers import Floats


def main(
    models: Annotated[Path, typer.Argument(help="The serving root that a run pushed to.")],
    ads: Annotated[list[int], typer.Option(min=1, help="Size of the catalogue; repeatable.")] = [  # noqa: B006
        100_000,
        1_000_000,
    ],
    k: Annotated[int, typer.Option(min=1)] = 10,
    requests: Annotated[int, typer.Option(min=1)] = 200,
) -> None:
    """Print the median and the 99th percentile of the milliseconds of a request."""
    recommender = in_service(models).folder(features.RECOMMENDER)
    table = Table("ads", "ours p50", "ours p99", "NumPy p50", "NumPy p99")
    for size in ads:
        embeddings = random_ads(read_catalogue(recommender).embeddings, size)
        ask = recommend(recommender, embeddings, k)
        mine, theirs = take_turns(ask, partial(best, embeddings, embeddings[0], k), requests)
        row = [f"{ms:.2f}" for took in (mine, theirs) for ms in np.percentile(took, [50, 99])]
        table.add_row(f"{size:,}", *row)
    Console().print(table)


def random_ads(like: Floats, size: int) -> Floats:
    """Returns embeddings [size, D] that differ from each other, on the scale of those given."""
    draw = np.random.default_rng(1)
    noise = draw.normal(scale=0.1, size=(size, like.shape[1]))
    return (like[draw.integers(len(like), size=size)] + noise).astype(np.float32)


def recommend(recommender: Path, embeddings: Floats, k: int) -> Callable[[], object]:
    """Returns a request of the recommender over a catalogue of these ads."""
    ids = [f"ad-{number:07}".encode() for number in range(len(embeddings))]
    texts = [b"The text of " + ad for ad in ids]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, features.RECOMMENDER)
        replace_catalogue(recommender, Catalogue(ids, texts, embeddings), path)
        threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
        model = SavedModel(path, 1, session_config=config_pb2.ConfigProto(**threads))
    signature = model.signatures[features.RAW_SIGNATURE]
    given = {
        features.K: np.array(k, np.int32),
        features.ALLOWED_AD_IDS: np.array([], object),
        features.EXCLUDED_AD_IDS: np.array([], object),
        features.MINIMUM_PROBABILITY: np.array(0.0, np.float32),
    }
    feeds = {
        info.name: Tensor.of_proto(
            tf.make_tensor_proto(given.get(name, _missing(info.dtype)), info.dtype)
        )
        for name, info in signature.inputs.items()
    }
    fetches = [info.name for info in signature.outputs.values()]
    return lambda: model.run(feeds, fetches)


def best(embeddings: Floats, user: Floats, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k best rows and their logits, with NumPy."""
    logits = embeddings @ user
    rows = np.argpartition(logits, -k)[-k:]
    rows = rows[np.argsort(-logits[rows])]
    return rows, logits[rows]


def take_turns(
    mine: Callable[[], object], theirs: Callable[[], object], times: int
) -> tuple[list[float], list[float]]:
    """Returns the milliseconds of each call of the one and the other."""
    took: tuple[list[float], list[float]] = ([], [])
    for turn in range(times + 10):
        for work, into in zip((mine, theirs), took, strict=True):
            start = time.perf_counter()
            work()
            if turn >= 10:  # the first ones warm up
                into.append((time.perf_counter() - start) * 1e3)
    return took


def _missing(dtype: int) -> np.ndarray:
    """An attribute of a user of whom nothing is known."""
    is_text = dtype == types_pb2.DT_STRING
    return np.array([""], object) if is_text else np.array([np.nan], np.float32)


if __name__ == "__main__":
    typer.run(main)
