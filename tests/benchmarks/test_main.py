"""The page of results."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.__main__ import BENCHMARKS, with_section

PAGE = "# Benchmarks\n\nHow.\n\n## growth\n\nold\n\n### detail\n\nolder\n\n## known_ad\n\nkept\n"


def test_a_section_is_replaced_and_the_others_stay() -> None:
    page = with_section(PAGE, "growth", r"new \1" + "\n")
    assert page == "# Benchmarks\n\nHow.\n\n## growth\n\nnew \\1\n\n## known_ad\n\nkept\n"


def test_the_last_section_is_replaced() -> None:
    assert with_section(PAGE, "known_ad", "new\n") == PAGE.replace("kept", "new")


def test_a_new_section_takes_its_place_in_the_order() -> None:
    page = with_section(PAGE, "example_gen", "new\n")
    assert page == PAGE.replace("## known_ad", "## example_gen\n\nnew\n\n## known_ad")


def test_a_section_that_is_no_benchmark_stays_in_front() -> None:
    page = PAGE.replace("## growth", "## What they say\n\nmuch\n\n## growth")
    assert with_section(page, "known_ad", "kept\n") == page


def test_every_benchmark_is_there() -> None:
    assert all(find_spec(f"benchmarks.{name}") for name in BENCHMARKS)
