"""The data at a glance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from components.features import Columns
from pipeline.report.data import Split, Value, read_overview

if TYPE_CHECKING:
    from conftest import Runs
else:
    Runs = Any


def test_it_is_what_the_statistics_say(new_runs: Callable[[], Runs]) -> None:
    folder = new_runs().make("stopped by data").output("statistics", "statistics")
    assert folder is not None
    overview = read_overview(folder, Columns())
    assert overview.splits == [Split("train", 1000, 0.125), Split("eval", 1000, 0.125)]
    columns = {column.name: column for column in overview.columns}
    device = columns["att_device"]
    assert device.role == "attribute"
    assert device.missing == pytest.approx([0.01, 0.02])
    assert device.distinct == 3
    assert device.values[0] == Value("phone", [600 / 990, 550 / 980])
    days = columns["att_days"]
    assert days.range == [(0, 365, 3650), (0, 365, 3650)]
    assert days.distinct is None
    assert columns["clicked"].role == "label"


def test_columns_have_the_roles_that_the_settings_give_them(
    new_runs: Callable[[], Runs],
) -> None:
    folder = new_runs().make("stopped by data").output("statistics", "statistics")
    assert folder is not None
    columns = Columns(attribute_prefix="click", label="att_days", user_id="att_device")
    roles = {column.name: column.role for column in read_overview(folder, columns).columns}
    assert roles == {"att_days": "label", "att_device": "user id", "clicked": "attribute"}
