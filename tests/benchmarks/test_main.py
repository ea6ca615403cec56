"""The page of results."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.__main__ import BENCHMARKS, with_section

PAGE = "# Benchmarks\n\nHow.\n\n## growth\n\nold\n\n### detail\n\nolder\n\n## known_ad\n\nkept\n"


def test_a_section_is_replaced_and_the_others_stay() -> None:
    page = with_section(PAGE, "growth", r"new \1" + "\n")
    assert page == "# Benchmarks\n\nHow.\n\n## growth\n\nnew \\1\n\n## known_ad\n\nkept\n"


def test_the_last_section_is_replaced() -> None:
    page = with_section(PAGE, "known_ad", "new\n")
    assert page.endswith("older\n\n## known_ad\n\nnew\n")
    assert page.count("## known_ad") == 1


def test_a_new_section_goes_to_the_end() -> None:
    assert with_section(PAGE, "scoring", "new\n") == f"{PAGE}\n## scoring\n\nnew\n"


def test_every_benchmark_is_there() -> None:
    assert all(find_spec(f"benchmarks.{name}") for name in BENCHMARKS)
