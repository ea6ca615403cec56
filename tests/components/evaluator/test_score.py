from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.errors import InputError
from components.evaluator.score import ClickModel, row_schema, to_table, typed
from components.evaluator.survey import count_texts
from components.example_blocks import read_blocks
from components.features import Columns
from components.value_counts import COUNT, VALUE


def read_rows(split, columns, model):
    """Reads a split as the node does, block by block."""
    blocks = [to_table(block) for block in read_blocks(sorted(map(str, Path(split).glob("*"))))]
    types = {
        field.name: field.type
        for block in blocks
        for field in block.schema
        if not pa.types.is_null(field.type)
    }
    schema = row_schema(types, columns, model.inputs)
    return pa.concat_tables([typed(block, schema) for block in blocks])


@pytest.fixture(scope="module")
def rows(campaign):
    rows = campaign.rows(500, seed=4, texts=("Fly to Lisbon", "Buy a bike", "Café au lait ☕"))
    rows["att_device"][0] = "a device never seen"
    return rows


@pytest.fixture(scope="module")
def split(campaign, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "Split-eval"
    campaign.write_split(folder, rows)
    return str(folder)


@pytest.fixture(scope="module")
def model(model_folder):
    return ClickModel(str(model_folder))


def test_rows_are_read_as_they_were_written(split, rows, model):
    table = read_rows(split, Columns(user_id="user"), model)
    assert table.to_pydict() == rows
    assert {name: str(table.schema.field(name).type) for name in rows} == {
        "att_age": "float",
        "att_device": "string",
        "message_id": "string",
        "text": "string",
        "user": "string",
        "clicked": "int64",
    }


def test_scores_are_the_models_for_missing_and_unseen_values_too(campaign, split, rows, model):
    scores = model.score(read_rows(split, Columns(), model))
    np.testing.assert_allclose(scores, campaign.probabilities(rows), atol=1e-6)


def test_scores_do_not_depend_on_batches(campaign, split, rows, model, monkeypatch):
    monkeypatch.setattr("components.evaluator.score._BATCH", 7)
    monkeypatch.setattr("components.example_blocks.ROWS", 7)
    table = read_rows(split, Columns(), model)
    assert len(table) == len(rows["text"])
    np.testing.assert_allclose(model.score(table), campaign.probabilities(rows), atol=1e-6)


def test_a_column_that_is_missing_in_every_row_is_all_null(campaign, rows, model, tmp_path):
    gone = rows | {"att_age": [None] * 500, "att_device": [None] * 500}
    campaign.write_split(tmp_path / "Split-eval", gone)
    table = read_rows(str(tmp_path / "Split-eval"), Columns(), model)
    assert model.misfit(table.schema) is None
    np.testing.assert_allclose(model.score(table), campaign.probabilities(gone), atol=1e-6)


def test_texts_are_counted(split, rows):
    table = count_texts([str(file) for file in Path(split).glob("*")], ["text"]).table()
    counted = dict(zip(table[VALUE].to_pylist(), table[COUNT].to_pylist(), strict=True))
    assert counted == Counter(rows["text"])


def test_a_model_says_why_it_does_not_fit(campaign, split, model, tmp_path):
    table = read_rows(split, Columns(), model)
    campaign.save_model(tmp_path / "other", renamed={"att_age": "att_years"})
    other = ClickModel(str(tmp_path / "other"))
    assert other.misfit(table.schema) == "it needs att_years, which the data does not have"
    swapped = table.set_column(table.column_names.index("att_age"), "att_age", table["att_device"])
    assert model.misfit(swapped.schema) == "att_age was text and is a number now, or the reverse"


def test_whole_numbers_in_the_data_fit_a_number_of_the_model(campaign, split, model):
    table = read_rows(split, Columns(), model)
    position = table.column_names.index("att_age")
    whole = table.set_column(position, "att_age", table["att_age"].cast("int64"))
    assert model.misfit(whole.schema) is None
    np.testing.assert_array_equal(model.score(whole), model.score(table))


def test_a_split_without_a_column_is_refused(campaign, rows, model, tmp_path):
    unnamed = {name: values for name, values in rows.items() if name != "message_id"}
    campaign.write_split(tmp_path / "Split-eval", unnamed)
    with pytest.raises(InputError, match="no column message_id"):
        read_rows(str(tmp_path / "Split-eval"), Columns(), model)
