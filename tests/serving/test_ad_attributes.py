"""Ads that are more than a text, in whatever reads pushed models."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import CLICK_MODEL, PROBABILITY, RAW_SIGNATURE, Columns
from components.validator.settings import ValidatorSettings
from components.validator.validate import validate
from serving.ad_index import index
from serving.ask import ask
from serving.console.app import PATH, Console
from serving.predict import Predictor
from serving.preview import Previewer
from serving.server.options import ServerOptions
from serving.server.server import Server
from tests.ports import free_ports
from tests.serving import small_models
from tests.serving.small_models import CATALOGUE, FORMATS, PRICES, twotower, write_csv

TEXT = "Ad number 3 of many"
USER = {"att_age": "old", "att_days": "7"}

Ad = dict[str, Any]


@pytest.fixture(scope="module")
def models(analyse: Callable[..., Path]) -> Path:
    return small_models.exports(analyse, ad_attributes=True)


@pytest.fixture
def root(models: Path, tmp_path: Path) -> Path:
    return small_models.push(models, tmp_path / "root")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "people.csv", small_models.users(30))


def catalogue() -> list[Ad]:
    return [
        {"message_id": ad, "text": text, "ad_format": its, "ad_price": price}
        for (ad, text), its, price in zip(CATALOGUE.items(), FORMATS, PRICES, strict=True)
    ]


def click_probability(models: Path, user: dict[str, Any], ad: Ad) -> float:
    """What the click model says, loaded as anyone would."""
    signature = tf.saved_model.load(str(models / CLICK_MODEL)).signatures[RAW_SIGNATURE]
    given = {
        "att_age": user["att_age"] or "",
        "att_days": np.nan if user["att_days"] is None else float(user["att_days"]),
        "text": ad["text"],
        "ad_format": ad.get("ad_format") or "",
        "ad_price": np.nan if ad.get("ad_price") is None else float(ad["ad_price"]),
    }
    inputs = {
        name: tf.constant([given[name]], spec.dtype)
        for name, spec in signature.structured_input_signature[1].items()
    }
    return float(signature(**inputs)[PROBABILITY][0])


def test_a_prediction_takes_them(models: Path, root: Path) -> None:
    predictor = Predictor(root)
    found = []
    for ad in ({}, {"ad_format": "video"}, {"ad_format": "image", "ad_price": "2.5"}):
        expected = click_probability(models, USER, {"text": TEXT, **ad})
        assert predictor.one(USER | ad, TEXT) == pytest.approx(expected, abs=1e-6)
        assert ask(root, USER, TEXT, 2, ad).probability == pytest.approx(expected, abs=1e-6)
        found.append(expected)
    assert len(set(found)) == 3
    of_user = ["--attributes", "att_age=old,att_days=7"]
    of_ad = ["--ad-attributes", "ad_format=image,ad_price=2.5"]
    for command in ("predict", "ask"):
        said = twotower(command, "--models", root, "--text", TEXT, *of_user, *of_ad)
        assert f"click probability {found[-1]:.4f}" in said
    with pytest.raises(InputError, match="ad_hat"):
        ask(root, USER, TEXT, ad_attributes={"ad_hat": "top"})


def test_scores_are_those_of_the_click_model(
    models: Path, root: Path, people: Path, tmp_path: Path
) -> None:
    ads = write_csv(tmp_path / "ads.csv", catalogue())
    twotower("score", "--models", root, "--users", people, "--ads", ads, "--out", tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir()
    scores = pq.read_table(file).to_pylist()
    for person, row in list(zip(small_models.users(30), scores, strict=True))[::7]:
        for ad in catalogue()[::3]:
            expected = click_probability(models, person, ad)
            assert row[ad["message_id"]] == pytest.approx(expected, abs=1e-5)


def test_an_ad_of_other_attributes_is_another_ad(root: Path, tmp_path: Path) -> None:
    ads = catalogue()
    same = index(root, write_csv(tmp_path / "same.csv", ads), keep_versions=3)
    assert not same.pushed
    ads[0] = ads[0] | {"ad_format": "video"}
    ads[1] = ads[1] | {"ad_price": None}
    ads[2] = ads[2] | {"ad_format": "never seen"}
    done = index(root, write_csv(tmp_path / "ads.csv", ads), keep_versions=3)
    assert (done.pushed, done.ads, done.embedded, done.gone) == (True, 12, 3, 3)
    again = index(root, write_csv(tmp_path / "ads.csv", ads), keep_versions=3)
    assert not again.pushed

    doubtful = write_csv(tmp_path / "twice.csv", [*ads, ads[0] | {"ad_price": 99}])
    with pytest.raises(InputError, match="more than one text or ad_format or ad_price: ad-0;"):
        index(root, doubtful, keep_versions=3)
    lacking = write_csv(tmp_path / "no.csv", [{"message_id": "a", "text": "b"}])
    with pytest.raises(InputError, match="no column ad_format, ad_price; the model needs it"):
        index(root, lacking, keep_versions=3)


def test_a_preview_is_of_an_ad_with_its_attributes(models: Path, root: Path, people: Path) -> None:
    previewer = Previewer.of_csv(root, people)
    ad = {"ad_format": "image", "ad_price": "1.25"}
    (found,) = previewer.preview([TEXT], ad)
    rates = [
        click_probability(models, person, {"text": TEXT, **ad}) for person in small_models.users(30)
    ]
    assert found.everyone.click_rate == pytest.approx(np.mean(rates), abs=1e-5)
    assert previewer.preview([TEXT])[0].everyone.click_rate != found.everyone.click_rate
    with pytest.raises(InputError, match="no attribute ad_hat of ads in the model; it has ad_f"):
        previewer.preview([TEXT], {"ad_hat": "top"})
    with pytest.raises(InputError, match="takes as a number"):
        previewer.preview([TEXT], {"ad_price": "dear"})


def test_the_console_asks_for_them(root: Path, people: Path) -> None:
    port, rest_api_port = free_ports(2)
    options = ServerOptions(models=root, port=port, rest_api_port=rest_api_port)

    def get(path: str, given: dict[str, str]) -> str:
        url = f"http://127.0.0.1:{rest_api_port}{path}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(answer.read().decode())

    given = {"text": TEXT, "attribute-ad_format": "image", "attribute-ad_price": "1.25"}
    with Server(options, Console(root, people).routes()):
        page = get(PATH, given)
        assert '<input name="attribute-ad_price" value="1.25"' in page
        answers = [get(f"{PATH}/results", each) for each in (given, {"text": TEXT})]
        assert answers[0] in page
        assert answers[0] != answers[1]
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            get(f"{PATH}/results", given | {"attribute-ad_price": "dear"})
        assert "takes as a number" in refused.value.read().decode()


def test_the_validator_queries_the_exports(models: Path, tmp_path: Path) -> None:
    rows = []
    for user, ad in zip(small_models.users(12), catalogue(), strict=True):
        example = tf.train.Example()
        for name, value in {**user, **ad}.items():
            feature = example.features.feature[name]
            if isinstance(value, str):
                feature.bytes_list.value.append(value.encode())
            elif isinstance(value, int):
                feature.int64_list.value.append(value)
            elif value is not None:
                feature.float_list.value.append(value)
        rows.append(example)
    found = validate(models, rows, Columns(), ValidatorSettings(), tmp_path / "server.log")
    assert [check for check in found.checks if not check.passed] == []
    assert "difference from the click model" in {check.what for check in found.checks}
