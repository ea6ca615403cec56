"""An ad of several texts as one."""

from __future__ import annotations

import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.ad_text import joined
from components.ad_text_tensors import joined_tensor, split_pair
from components.features import Columns

TEXT = Columns()
TEXTS = Columns(text=("headline", "body"))


def test_columns_say_what_they_are_for() -> None:
    assert Columns.model_validate_json(TEXTS.model_dump_json()) == TEXTS
    assert (TEXT.ad_texts, TEXTS.ad_texts) == (["text"], ["headline", "body"])
    assert TEXTS.role("body") == "ad text"
    assert TEXTS.required()[:2] == ["headline", "body"]
    with pytest.raises(ValidationError, match="message_id is named twice"):
        Columns(text=("headline", "message_id"))
    with pytest.raises(ValidationError):
        Columns(text=("headline",))


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_tables_tensors_and_people_join_alike(pairs: list[tuple[str, str]]) -> None:
    heads, bodies = map(list, zip(*pairs, strict=True))
    rows = pa.table({"headline": heads, "body": bodies})
    found = joined(rows, TEXTS.ad_texts).to_pylist()
    tensor = joined_tensor([tf.constant(heads), tf.constant(bodies)])
    assert [each.decode() for each in tensor.numpy()] == found
    first, rest = (part.numpy() for part in split_pair(tensor))
    for text, head, body in zip(found, first, rest, strict=True):
        assert TEXTS.split_text(text) == {"headline": head.decode(), "body": body.decode()}
    assert all(text.count("\n") == 1 for text in found)
    assert joined(rows, ["headline"]).to_pylist() == heads
    large = rows.cast(pa.schema([(name, pa.large_string()) for name in rows.column_names]))
    assert joined(large, TEXTS.ad_texts).to_pylist() == found


def test_what_people_write_is_a_line_for_each_text() -> None:
    assert TEXT.split_text("One\ntwo") == {"text": "One\ntwo"}
    assert TEXTS.split_text("One") == {"headline": "One", "body": ""}
    assert TEXTS.split_text("One\ntwo\nthree") == {"headline": "One", "body": "two\nthree"}
