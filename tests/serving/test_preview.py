"""Previews against NumPy over what the click model says of each pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from components.errors import InputError
from components.features import (
    CLICK_MODEL,
    EMBEDDING,
    ITEM_TOWER,
    PROBABILITY,
    RAW_SIGNATURE,
)
from serving import preview, preview_output
from serving.preview import Previewer
from tests.serving import small_models
from tests.serving.small_models import AGES, CATALOGUE, push, twotower, users, write_csv

TEXT = "A <b>text</b> [nobody] has seen & read"
USERS = users(60)
ATTRIBUTES = ("att_age", "att_days")


@pytest.fixture(scope="module")
def root(
    analyse: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, request: Any
) -> Path:
    """Pushed models; parametrised with True, they use ids."""
    exports = small_models.exports(analyse, ids=getattr(request, "param", False))
    return push(exports, tmp_path_factory.mktemp("preview") / "root")


@pytest.fixture(scope="module")
def previewer(root: Path) -> Previewer:
    return Previewer.of_csv(root, write_csv(root.parent / "users.csv", USERS))


def call(root: Path, model: str, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    signature = tf.saved_model.load(str(root / model / "1")).signatures[RAW_SIGNATURE]
    inputs = {}
    for name, spec in signature.structured_input_signature[1].items():
        missing = "" if spec.dtype == tf.string else np.nan
        values = [row[name] for row in rows]
        inputs[name] = tf.constant([missing if v is None else v for v in values], spec.dtype)
    return {name: value.numpy() for name, value in signature(**inputs).items()}


def click_rates(root: Path, ads: dict[str, str], who: Callable[[dict[str, Any]], bool]) -> Any:
    """The mean over users of the probability of each ad."""
    people = [user for user in USERS if who(user)]
    rows = [{**u, "message_id": ad, "text": text} for ad, text in ads.items() for u in people]
    return call(root, CLICK_MODEL, rows)[PROBABILITY].reshape(len(ads), -1).mean(axis=1)


@pytest.mark.parametrize("age", [AGES[0], None])
def test_a_segments_click_rate_is_the_mean_over_its_users(
    root: Path, previewer: Previewer, age: str | None
) -> None:
    (found,) = previewer.preview([TEXT])
    name = f"att_age = {age or '(missing)'}"
    (segment,) = [segment for segment in found.segments if segment.name == name]

    def is_in(user: dict[str, Any]) -> bool:
        return bool(user["att_age"] == age)

    (rate,) = click_rates(root, {"": TEXT}, is_in)
    running = click_rates(root, CATALOGUE, is_in)
    assert segment.share == pytest.approx(sum(map(is_in, USERS)) / len(USERS))
    assert segment.click_rate == pytest.approx(rate, abs=1e-5)
    assert segment.running == pytest.approx(running.mean(), abs=1e-5)
    assert segment.lift == pytest.approx(rate / running.mean(), abs=1e-4)
    assert segment.beaten == pytest.approx((running < rate).mean())


def test_everyone_and_the_order_of_the_segments(root: Path, previewer: Previewer) -> None:
    other = "Another text"
    first, second = previewer.preview([TEXT, other])
    rates = click_rates(root, {"": TEXT}, lambda _: True)
    assert (first.text, second.text, first.version) == (TEXT, other, 1)
    assert first.everyone.click_rate == pytest.approx(rates[0], abs=1e-5)
    lifts = [segment.lift for segment in first.segments]
    assert lifts == sorted(lifts, reverse=True)
    attributes = {segment.name.partition(" = ")[0] for segment in first.segments}
    assert attributes == set(ATTRIBUTES)
    for attribute in ATTRIBUTES:  # the values of an attribute part all users
        shares = [s.share for s in first.segments if s.name.startswith(attribute)]
        assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("root", [False, True], ids=["content", "ids"], indirect=True)
def test_the_nearest_ads_are_those_with_the_highest_cosine(
    root: Path, previewer: Previewer
) -> None:
    (found,) = previewer.preview([TEXT])
    ads = [{"text": TEXT, "message_id": ""}]
    ads += [{"text": text, "message_id": ad} for ad, text in CATALOGUE.items()]
    text, *running = call(root, ITEM_TOWER, ads)[EMBEDDING]
    cosines = dict(zip(CATALOGUE, np.array(running) @ text, strict=True))
    for ad in found.nearest:
        assert ad.text == CATALOGUE[ad.ad_id]
        assert ad.similarity == pytest.approx(cosines[ad.ad_id], abs=1e-5)
        (rate,) = click_rates(root, {ad.ad_id: ad.text}, lambda _: True)
        assert ad.click_rate == pytest.approx(rate, abs=1e-5)
    nearest = sorted(cosines.values(), reverse=True)[: len(found.nearest)]
    assert [ad.similarity for ad in found.nearest] == pytest.approx(nearest, abs=1e-5)


def test_of_very_many_users_some_are_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_MOST_USERS", 20)
    some = write_csv(root.parent / "some.csv", USERS[::3])
    everyone = write_csv(root.parent / "everyone.csv", USERS)
    expected = Previewer.of_csv(root, some).preview([TEXT])
    assert Previewer.of_csv(root, everyone).preview([TEXT]) == expected


def test_segments_may_be_given_by_their_attributes(root: Path) -> None:
    given = [{"att_age": "old"}, {"att_age": "young", "att_days": "7"}]
    (found,) = Previewer.of_attributes(root, given).preview([TEXT])
    nobody = {"user_id": None, "att_age": None, "att_days": None, "text": TEXT, "message_id": ""}
    users = [nobody | {"att_age": "old"}, nobody | {"att_age": "young", "att_days": 7.0}]
    rates = call(root, CLICK_MODEL, users)[PROBABILITY]
    measured = {segment.name: segment.click_rate for segment in found.segments}
    names = ["att_age = old", "att_age = young, att_days = 7"]
    assert measured == pytest.approx(dict(zip(names, rates.tolist(), strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"att_size": "1"}, "no attribute att_size in the model; it has"),
        ({"att_days": "many"}, "takes as a number: Failed to parse string: 'many'"),
    ],
)
def test_attributes_that_the_model_does_not_take(
    root: Path, given: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Previewer.of_attributes(root, [given])


def test_outputs(previewer: Previewer, tmp_path: Path) -> None:
    previews = previewer.preview([TEXT])
    (read,) = json.loads(preview_output.as_json(previews))
    assert read["text"] == TEXT
    assert len(read["segments"]) == len(previews[0].segments)
    assert read["everyone"]["click_rate"] == previews[0].everyone.click_rate

    terminal = Console(file=StringIO(), width=200)
    preview_output.show(previews, terminal)
    assert isinstance(terminal.file, StringIO)
    shown = terminal.file.getvalue()
    for expected in (TEXT, previews[0].segments[0].name, previews[0].nearest[0].text):
        assert expected in shown

    preview_output.write_page(previews, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert TEXT in _text_of(page)


def test_the_command(root: Path, tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "users.csv", USERS)
    (of_users,) = json.loads(twotower("preview", "--models", root, "--users", csv, "--json", TEXT))
    assert of_users["everyone"]["share"] == 1
    given = ["--attributes", "att_age=old", "--attributes", "att_age=young,att_days=7"]
    assert "att_age = young, att" in twotower("preview", "--models", root, *given, TEXT)
    page = tmp_path / "page.html"
    twotower("preview", "--models", root, "--users", csv, "--page", page, TEXT)
    assert TEXT in _text_of(page.read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="give either --users, or --attributes"):
        twotower("preview", "--models", root, "--users", csv, *given, TEXT)


def _text_of(page: str) -> str:
    parts: list[str] = []
    parser = HTMLParser()
    parser.handle_data = parts.append  # type: ignore[method-assign]
    parser.feed(page)
    return "".join(parts)
