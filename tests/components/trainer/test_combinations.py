"""Every two settings together: whatever is set, the exports are one dot product and agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.features import (
    AD_IDS,
    CLICK_MODEL,
    ITEM_TOWER,
    LOGIT_EMBEDDING,
    MODELS,
    PROBABILITIES,
    PROBABILITY,
    RAW_SIGNATURE,
    RECOMMENDER,
    USER_TOWER,
    Columns,
)
from components.settings import Settings
from components.trainer.context import leave_context_out, served_position
from components.trainer.distillation import distill
from components.trainer.export import Exporter
from components.trainer.input_data import training_data, write_compact
from components.trainer.serving_ops import unsupported_ops
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import train
from components.trainer.transform_graph import TransformGraph
from tests.analysis import write_examples

Rows = list[dict[str, Any]]
Setting = Mapping[str, Any]
Names = tuple[str, ...]

SETTINGS: dict[str, tuple[Any, ...]] = {
    "ids": (False, True),
    "ad_attributes": ((), ("ad_format", "ad_price"), ("ad_format", "ad_topics")),
    "text": ("text", ("text", "body")),
    "keep_negatives": (1.0, 0.5),
    "log": ("label", "counts", "weight"),
    "position": (None, "average", "1"),
    "training_only": ((), ("page",)),
    "normalize": (False, True),
    "center_embeddings": (False, True),
    "calibrate": (False, True),
    "label_smoothing": (0.0, 0.1),
    "schedule": ("constant", "cosine"),
    "distillation": (0.0, 0.5),
}
LOGS = {
    "label": {},
    "counts": {"impressions": "shown", "clicks": "hits"},
    "weight": {"weight": "stands_for"},
}


def pairwise(settings: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yields combinations in which any two values of two settings are together, greedily few."""
    left = {
        ((one, a), (two, b))
        for one, two in combinations(settings, 2)
        for a, b in product(settings[one], settings[two])
    }
    while left:
        chosen: dict[str, Any] = dict(min(left, key=repr))
        for name, values in settings.items():
            if name not in chosen:
                chosen[name] = max(
                    values,
                    key=lambda value, name=name: sum(
                        set(pair) <= {*chosen.items(), (name, value)} for pair in left
                    ),
                )
        left = {pair for pair in left if not set(pair) <= set(chosen.items())}
        yield {name: chosen[name] for name in settings}


@pytest.fixture(scope="module")
def log(rows: Rows) -> Rows:
    return [
        row
        | {
            "user": f"user-{number % 20}",
            "slot": f"{number % 3}",
            "page": f"page {number % 2}",
            "body": f"Body {len(row['text']) % 7}\nin two lines",
            "ad_format": (None, "video", "banner")[number % 3],
            "ad_price": None if number % 7 == 0 else float(number % 5),
            "ad_topics": ("a|b", "b", "c|a|b", None)[number % 4],
            "shown": 1 + number % 4,
            "hits": row["clicked"],
            "stands_for": 1.0 + number % 2,
        }
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def graph(analyse: Callable[..., Path], log: Rows) -> Callable[..., Path]:
    """Gives the transform graph of what it depends on, made once."""

    @cache
    def of_settings(
        ids: bool,
        position: str | None,
        training_only: Names,
        ad_attributes: Names,
        text: str | Names,
    ) -> Path:
        columns = Columns(user_id="user", position=position, text=text).model_dump()
        return analyse(
            with_ads(log, ad_attributes),
            columns=columns,
            training_only=training_only,
            user_id=ids,
            ad_id=ids,
            multi_valued={"ad_topics": "|"},
        )

    return of_settings


def with_ads(log: Rows, attributes: Names) -> Rows:
    """The log with these attributes of the ads and no others."""
    others = {"ad_format", "ad_price", "ad_topics"} - {*attributes}
    return [{name: value for name, value in row.items() if name not in others} for row in log]


def call(folder: Path, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What an exported model answers; it is given those of the inputs that it takes."""
    signature = tf.saved_model.load(str(folder)).signatures[RAW_SIGNATURE]
    specs = signature.structured_input_signature[1]
    tensors = {name: tf.constant(inputs[name], spec.dtype) for name, spec in specs.items()}
    return {name: value.numpy() for name, value in signature(**tensors).items()}


def of(group: type[Settings], setting: Setting) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name in group.model_fields}


def test_any_two_settings_are_together_in_some_combination() -> None:
    found = list(pairwise(SETTINGS))
    for one, two in combinations(SETTINGS, 2):
        together = {(each[one], each[two]) for each in found}
        assert together == set(product(SETTINGS[one], SETTINGS[two]))
    assert len(found) < 20


@pytest.mark.parametrize(
    "setting", pairwise(SETTINGS), ids=lambda each: "-".join(map(str, each.values()))
)
def test_the_exports_agree(
    setting: Setting, graph: Callable[..., Path], log: Rows, tmp_path: Path
) -> None:
    position, training_only = setting["position"], setting["training_only"]
    slot = None if position is None else "slot"
    columns = Columns(user_id="user", position=slot, text=setting["text"], **LOGS[setting["log"]])
    folder = graph(setting["ids"], slot, training_only, setting["ad_attributes"], setting["text"])
    transform = TransformGraph(str(folder), columns, training_only)
    write_examples(tmp_path / "examples.gz", with_ads(log, setting["ad_attributes"]))
    impressions, validation, ads = write_compact(
        [str(tmp_path / "examples.gz")],
        tmp_path / "compact",
        transform,
        columns,
        validation_share=0.2,
        seed=1,
        keep_negatives=setting["keep_negatives"],
        for_teacher=setting["distillation"] > 0,
    )
    data = training_data(impressions, validation, ads, transform)
    names = ("normalize", "center_embeddings")
    towers = ModelSettings(
        user_layers=(8,), item_layers=(6,), embedding=4, **{n: setting[n] for n in names}
    )
    names = ("calibrate", "label_smoothing", "schedule", "distillation")
    settings = TrainerSettings(epochs=1, batch_size=64, **{n: setting[n] for n in names})
    keras.utils.set_random_seed(1)
    if settings.distillation:
        data = distill(data, towers, settings)
    model = data.two_tower(towers)
    train(model, data, settings)
    served = (
        None if position in (None, "average") else served_position(transform, columns, position)
    )
    leave_context_out(model, data, served)
    Exporter(model, transform, columns).export(tmp_path / "models", ads.catalogue())

    strings = ("att_age", "user", "text", "body", "message_id", "ad_format", "ad_topics")
    some = {name: [row[name] or "" for row in log[:40]] for name in strings}
    for name in ("att_days", "ad_price"):
        some[name] = [np.nan if row[name] is None else row[name] for row in log[:40]]
    user, ad, click = (
        call(tmp_path / "models" / name, some) for name in (USER_TOWER, ITEM_TOWER, CLICK_MODEL)
    )
    logits = (user[LOGIT_EMBEDDING].astype(np.float64) * ad[LOGIT_EMBEDDING]).sum(1)
    np.testing.assert_allclose(click[PROBABILITY], 1 / (1 + np.exp(-logits)), atol=1e-5)

    choice = {"k": 3, "allowed_ad_ids": [], "excluded_ad_ids": ["ad-0"], "minimum_probability": 0}
    best = call(tmp_path / "models" / RECOMMENDER, some | choice)
    chosen = best[AD_IDS].ravel()
    catalogue = ads.catalogue()
    rows = [catalogue["message_id"].tolist().index(ad_id) for ad_id in chosen]
    each = {name: np.repeat(values, 3) for name, values in some.items()}
    each |= {name: values[rows] for name, values in catalogue.items()}
    again = call(tmp_path / "models" / CLICK_MODEL, each)
    np.testing.assert_allclose(best[PROBABILITIES].ravel(), again[PROBABILITY], atol=1e-5)
    assert b"ad-0" not in chosen
    assert all(unsupported_ops(tmp_path / "models" / name) == [] for name in MODELS)
