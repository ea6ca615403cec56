"""Any name that a column can have is the name of a signature's input."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import signature_names

NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
    | st.sampled_from(["att_a", "att_A", "self", "class", "att_ville 2", "column_0", "args", "k"]),
    min_size=1,
    max_size=6,
    unique=True,
)


def save(names: list[str], folder: Path) -> None:
    """Saves a model that returns each input by its number, multiplied by that."""
    specs = {
        name: tf.TensorSpec([None], tf.float32 if number % 2 else tf.int64)
        for number, name in enumerate(names)
    }

    def function(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            str(number): columns[name] * tf.cast(number, columns[name].dtype)
            for number, name in enumerate(names)
        }

    traced = signature_names.trace(function, specs)
    tf.saved_model.save(tf.Module(), str(folder), signatures={"one": traced, "two": traced})
    signature_names.restore(folder, names)


@given(names=NAMES)
@settings(max_examples=20)
def test_a_saved_signature_takes_the_columns_by_their_names(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(names, Path(folder))
        model = tf.saved_model.load(folder)
        for signature in ("one", "two"):
            function = model.signatures[signature]
            assert set(signature_names.inputs_of(function)) == set(names)
            values = {
                name: tf.constant([7 + number], tf.float32 if number % 2 else tf.int64)
                for number, name in enumerate(names)
            }
            called = signature_names.call(function, values)
            found = {name: value.numpy()[0] for name, value in called.items()}
            assert found == {str(n): (7 + n) * n for n in range(len(names))}
        session = tf.compat.v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        served = graph.signature_def["one"]
        assert set(served.inputs) == set(names)
        feeds = {
            served.inputs[name].name: np.array([7 + number]) for number, name in enumerate(names)
        }
        last = str(len(names) - 1)
        assert session.run(served.outputs[last].name, feeds) == (6 + len(names)) * int(last)


@pytest.mark.parametrize("name", ["b", "att_1", "att_utf8_"])
def test_names_that_can_be_arguments_stay_what_they_are(name: str) -> None:
    assert signature_names.argument(name) == name


@given(names=st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_every_name_has_an_argument_of_its_own(names: set[str]) -> None:
    arguments = [signature_names.argument(name) for name in names]
    assert {signature_names.column(name) for name in arguments} == names
    assert all(name.isidentifier() and name.isascii() for name in arguments)


@pytest.mark.parametrize(
    "name", ["att a", "1", "_a", "é", "class", "self", "a-b", "utf8_61", "att_A"]
)
def test_others_have_stand_ins(name: str) -> None:
    assert signature_names.argument(name) == f"utf8_{name.encode().hex()}"
