"""Which columns look as if a row had several values, and which only hold a separator."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from components.example_gen.csv_reader import check_input
from components.example_gen.multi_valued import separator_of
from components.example_gen.settings import ReadingSettings

TOPICS = ["sports", "travel", "food", "cars", "music"]


def of_topics(separator: str) -> list[str]:
    chosen = [some for size in (1, 2, 3) for some in combinations(TOPICS, size)]
    return [separator.join(some) for some in chosen]


@pytest.mark.parametrize("separator", ["|", ";", ",", ", "])
def test_parts_that_come_back_in_other_combinations_are_several_values(separator: str) -> None:
    assert separator_of(of_topics(separator)) == separator.strip()


@pytest.mark.parametrize(
    "values",
    [
        TOPICS,
        [f"{number // 10},{number % 10}" for number in range(100)],  # decimal commas
        [f"Street {number}, Town {number % 7}" for number in range(60)],
        ["a|b", "b"],
        [],
        [f"plain {number}" for number in range(200)] + of_topics("|"),
    ],
    ids=["words", "decimal commas", "addresses", "too few", "none", "a few among many"],
)
def test_a_separator_alone_does_not_make_several_values(values: list[str]) -> None:
    assert separator_of(values) is None


@pytest.mark.parametrize("rows", [100, 5000])
def test_a_check_suggests_the_setting_until_it_is_made(tmp_path, rows: int) -> None:
    draw = np.random.default_rng(0)
    names = [f"topic{number}" for number in range(20)]
    lines = ["att_topics,text,message_id,clicked"]
    for number in range(rows):
        some = "|".join(draw.choice(names, draw.integers(1, 5), replace=False))
        lines.append(f"{some},Ad,{number % 3},{number % 2}")
    file = tmp_path / "ads.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (warning,) = [
        one for one in check_input(file, ReadingSettings()).warnings if "att_topics" in one
    ]
    assert warning.endswith("data.multi_valued: {att_topics: '|'}")
    settings = ReadingSettings(multi_valued={"att_topics": "|"})
    assert not [one for one in check_input(file, settings).warnings if "att_topics" in one]
