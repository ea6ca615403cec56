"""A new catalogue for the recommender: what it recommends then, and what it costs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import (
    CLICK_MODEL,
    MODEL_VERSION,
    MODELS,
    PROBABILITY,
    RAW_SIGNATURE,
    RECOMMENDER,
)
from components.serving_root import CHECKSUMS_FILE, versions
from components.trainer.recommender import Catalogue
from components.trainer.serving_ops import unsupported_ops
from serving import ad_index
from serving.ad_index import index
from serving.towers import Towers
from tests.serving import small_models
from tests.serving.small_models import CATALOGUE, push, twotower, write_ads

USER = {"user_id": "user-3", "att_age": "old", "att_days": 7.0}
# Some known ads, a new ad, and a known id under a new text.
NEW = {
    **{ad: CATALOGUE[ad] for ad in list(CATALOGUE)[:5]},
    "fresh": "A text that nobody has seen",
    "ad-7": "Ad number 7 in other words",
}


@pytest.fixture
def root(analyse: Callable[..., Path], tmp_path: Path, request: Any) -> Path:
    """Pushed models; parametrised with True, they use ids."""
    ids = getattr(request, "param", False)
    return push(small_models.exports(analyse, ids), tmp_path / "root")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the item tower was asked for."""
    texts: list[str] = []
    embed = Towers.embed_ads

    def watched(self: Towers, ads: pa.Table) -> np.ndarray:
        texts.extend(ads["text"].to_pylist())
        return embed(self, ads)

    monkeypatch.setattr(Towers, "embed_ads", watched)
    return texts


def numbers_in_service(root: Path) -> list[int]:
    return [version.number for version in versions(root)]


def call(root: Path, model: str, version: int, **inputs: Any) -> dict[str, np.ndarray]:
    signature = tf.saved_model.load(str(root / model / str(version))).signatures[RAW_SIGNATURE]
    specs = signature.structured_input_signature[1]
    tensors = {name: tf.constant(inputs[name], specs[name].dtype) for name in specs}
    return {name: value.numpy() for name, value in signature(**tensors).items()}


def recommend(root: Path, version: int, k: int, allowed: list[str]) -> dict[str, np.ndarray]:
    user = {name: [value] for name, value in USER.items()}
    answer = call(
        root,
        RECOMMENDER,
        version,
        **user,
        k=k,
        allowed_ad_ids=allowed,
        excluded_ad_ids=[],
        minimum_probability=0.0,
    )
    return {name: values[0] if values.ndim == 2 else values for name, values in answer.items()}


def probabilities(root: Path, version: int, ads: dict[str, str]) -> dict[str, float]:
    """What the click model says of each ad."""
    user = {name: [value] * len(ads) for name, value in USER.items()}
    shown = {"text": list(ads.values()), "message_id": list(ads)}
    return dict(
        zip(ads, call(root, CLICK_MODEL, version, **user, **shown)[PROBABILITY], strict=True)
    )


@pytest.mark.parametrize("root", [False, True], ids=["content", "ids"], indirect=True)
def test_the_new_catalogue_is_recommended(root: Path, tmp_path: Path, embedded: list[str]) -> None:
    done = index(root, write_ads(tmp_path / "ads.csv", NEW), keep_versions=3)
    assert (done.version, done.pushed, done.ads, done.embedded) == (2, True, 7, 2)
    assert done.gone == 7  # six are not in it, one has another text
    assert sorted(embedded) == [NEW["fresh"], NEW["ad-7"]]

    best = recommend(root, 2, 100, [])
    expected = probabilities(root, 2, NEW)
    ranked = sorted(NEW, key=lambda ad: -expected[ad])
    assert [ad.decode() for ad in best["ad_ids"]] == ranked
    assert [text.decode() for text in best["texts"]] == [NEW[ad] for ad in ranked]
    np.testing.assert_allclose(best["probabilities"], [expected[ad] for ad in ranked], atol=1e-5)
    some = recommend(root, 2, 2, ["fresh", "ad-11", "ad-2"])  # ad-11 is gone
    assert {ad.decode() for ad in some["ad_ids"]} == {"fresh", "ad-2"}


def test_every_model_is_pushed_under_the_new_version(root: Path, tmp_path: Path) -> None:
    before = contents(root, 1)
    index(root, write_ads(tmp_path / "ads.csv", NEW), keep_versions=3)
    assert numbers_in_service(root) == [1, 2]
    assert contents(root, 1) == before
    after = contents(root, 2)
    own = {MODEL_VERSION, Path(CHECKSUMS_FILE).name}
    same = {file for file in before if file.parts[0] != RECOMMENDER and file.name not in own}
    assert {file: after[file] for file in same} == {file: before[file] for file in same}
    for model in MODELS:
        assert (root / model / "2" / "assets" / MODEL_VERSION).read_text() == "2"
        assert unsupported_ops(root / model / "2") == []
    assert recommend(root, 2, 1, [])[MODEL_VERSION].tolist() == [2]
    extra = RECOMMENDER / Path("assets.extra", "tf_serving_warmup_requests")
    assert after[extra] == before[extra]


def contents(root: Path, version: int) -> dict[Path, str]:
    files = {}
    for model in MODELS:
        folder = root / model / str(version)
        for file in filter(Path.is_file, folder.rglob("*")):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            files[Path(model) / file.relative_to(folder)] = digest
    return files


def test_a_catalogue_that_is_there_already_is_not_pushed(root: Path, tmp_path: Path) -> None:
    ads = dict(reversed(CATALOGUE.items()))
    done = index(root, write_ads(tmp_path / "ads.csv", ads), keep_versions=3)
    assert (done.version, done.pushed, done.ads) == (1, False, len(CATALOGUE))
    assert numbers_in_service(root) == [1]


def test_an_index_can_be_indexed_again(root: Path, tmp_path: Path, embedded: list[str]) -> None:
    index(root, write_ads(tmp_path / "a.csv", NEW), keep_versions=2)
    embedded.clear()
    done = index(root, write_ads(tmp_path / "b.csv", {"fresh": NEW["fresh"]}), keep_versions=2)
    assert (done.version, done.embedded, done.gone, embedded) == (3, 0, 6, [])
    assert recommend(root, 3, 9, [])["ad_ids"].tolist() == [b"fresh"]
    assert numbers_in_service(root) == [2, 3]


def test_a_push_that_came_between_is_not_undone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analyse: Callable[..., Path]
) -> None:
    replace = ad_index.replace_catalogue

    def push_meanwhile(recommender: Path, catalogue: Catalogue, folder: Path) -> None:
        replace(recommender, catalogue, folder)
        other = small_models.exports(analyse, ids=False)
        for model in MODELS:
            (root / model / "2").symlink_to(other / model)

    monkeypatch.setattr(ad_index, "replace_catalogue", push_meanwhile)
    with pytest.raises(InputError, match=r"version 2 is in service now, .* made from version 1"):
        index(root, write_ads(tmp_path / "ads.csv", NEW), keep_versions=3)
    assert numbers_in_service(root) == [1, 2]


def test_a_catalogue_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    ads = tmp_path / "ads.csv"
    ads.write_text("message_id\na\n")
    with pytest.raises(InputError, match="no column text"):
        index(root, ads, keep_versions=3)
    assert numbers_in_service(root) == [1]


def test_the_command(root: Path, tmp_path: Path) -> None:
    ads = write_ads(tmp_path / "ads.csv", NEW)
    said = twotower("index", "--models", root, "--catalog", ads, "--keep", 1)
    assert said == "Version 2 recommends 7 ads: 2 new ones were embedded, 7 are gone\n"
    assert numbers_in_service(root) == [2]
    said = twotower("index", "--models", root, "--catalog", ads)
    assert said == "Version 2 recommends these 7 ads already\n"
