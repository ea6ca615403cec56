from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.utils.shared import Shared

from components.evaluator.baseline import find_baseline
from tests.serving_roots import complete


@pytest.fixture(scope="module")
def rows(campaign):
    return campaign.rows(50, seed=5)


@pytest.fixture
def table(campaign, rows):
    return campaign.table(rows)


def test_an_empty_serving_root_has_none_to_compare_with(table, tmp_path):
    for root in (tmp_path / "absent", tmp_path):
        baseline = find_baseline(str(root), table.schema, Shared())
        assert baseline.folder is None
        assert baseline.model is None
        assert baseline.problem == f"none to compare with: {root} has no click_model yet"


def test_the_model_in_service_scores_the_same_rows(campaign, rows, table, tmp_path):
    campaign.save_model(tmp_path / "click_model" / "1", sharpness=0.1)
    complete(tmp_path / "click_model" / "1")
    campaign.save_model(tmp_path / "click_model" / "2", sharpness=0.5)
    complete(tmp_path / "click_model" / "2")
    baseline = find_baseline(str(tmp_path), table.schema, Shared())
    assert baseline.folder == f"{tmp_path}/click_model/2"
    assert baseline.problem == ""
    np.testing.assert_allclose(
        baseline.model.load().score(table), campaign.probabilities(rows, 0.5), atol=1e-6
    )


def test_a_model_whose_column_is_gone_is_a_problem(campaign, table, tmp_path):
    campaign.save_model(tmp_path / "click_model" / "1", renamed={"att_age": "att_years"})
    complete(tmp_path / "click_model" / "1")
    baseline = find_baseline(str(tmp_path), table.schema, Shared())
    assert baseline.folder == f"{tmp_path}/click_model/1"
    assert baseline.problem == "it needs att_years, which the data does not have"


def test_a_column_that_changed_its_type_is_a_problem(campaign, table, tmp_path):
    campaign.save_model(tmp_path / "click_model" / "1")
    complete(tmp_path / "click_model" / "1")
    text = table.set_column(
        table.column_names.index("att_age"), "att_age", pa.array(["old"] * len(table))
    )
    assert "att_age was text" in find_baseline(str(tmp_path), text.schema, Shared()).problem


def test_a_model_that_cannot_be_loaded_is_a_problem(campaign, table, tmp_path):
    model = tmp_path / "click_model" / "1"
    campaign.save_model(model)
    complete(model)
    (model / "variables" / "variables.index").unlink()
    baseline = find_baseline(str(tmp_path), table.schema, Shared())
    assert baseline.model is None
    assert baseline.problem.startswith("it cannot be used: ")
