"""Runs benchmarks at their full size and puts what they print into docs/benchmarks.md.

    python -m benchmarks                 # all, in half an hour or more
    python -m benchmarks growth known_ad

For another size, run one by itself: python -m benchmarks.growth --help.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import FOLDER, describe

PAGE = Path("docs/benchmarks.md")

_MODELS = str(FOLDER / "known_ad" / "memo" / "serving")  # what known_ad leaves behind
BENCHMARKS: dict[str, list[str]] = {
    "edit": [],
    "pipeline_vs_stock_tfx": [],
    "growth": [],
    "limits": [],
    "memory": [],
    "window": [],
    "example_gen": [],
    "known_ad": [],
    "scoring": [],
    "topk": [_MODELS],
    "serving_load": [_MODELS],
    "quality": [],
    "settings": [],
    "ad_logs": [],
    "continuous": [],
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=", ".join(BENCHMARKS))] = None,
) -> None:
    """Run benchmarks, all or those that are named, and write their sections of the page."""
    for name in names or BENCHMARKS:
        if name not in BENCHMARKS:
            raise typer.BadParameter(f"{name}: expected one of {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        PAGE.write_text(with_section(PAGE.read_text(), name, _run(name)))


def _run(name: str) -> str:
    """Runs a benchmark and returns its section of the page."""
    command = ["python", "-m", f"benchmarks.{name}", *BENCHMARKS[name]]
    print(f"$ {' '.join(command)}", flush=True)
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, *command[1:]], stdout=subprocess.PIPE, text=True, check=False
    )
    print(ran.stdout, flush=True)
    if ran.returncode:
        raise typer.Exit(ran.returncode)
    return (
        f"{_about(name)}\n\nOn {date.today()}, in {time.perf_counter() - start:.0f} s, "
        f"on {describe()}:\n\n```\n$ {' '.join(command)}\n{ran.stdout}```\n"
    )


def _about(name: str) -> str:
    """Returns the docstring of a benchmark, without the commands in it."""
    source = Path(__file__).with_name(f"{name}.py").read_text()
    paragraphs = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    return "\n\n".join(text for text in paragraphs if not text.startswith("    "))


def with_section(page: str, name: str, text: str) -> str:
    """Returns the page with the section of `name` replaced or added, in the order of BENCHMARKS."""
    start, *parts = re.split(r"^## ", page, flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: part for part in parts}
    sections[name] = f"{name}\n\n{text}"
    order = {name: place for place, name in enumerate(BENCHMARKS)}
    names = sorted(sections, key=lambda name: order.get(name, -1))
    return "\n\n## ".join([start.strip(), *(sections[name].strip() for name in names)]) + "\n"


if __name__ == "__main__":
    typer.run(main)
