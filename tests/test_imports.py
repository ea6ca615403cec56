"""Every import goes down: pipeline, serving, components; a node, the nodes before it, the ground.

CONTRIBUTING.md has the picture.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["components", "serving", "pipeline"]  # from the ground up
NODES = [  # in the order in which data meets them
    "example_gen",
    "statistics",
    "schema_gate",
    "transform",
    "trainer",
    "evaluator",
    "validator",
    "pusher",
]


def imports(file: Path) -> Iterator[str]:
    """Yields the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, f"{file}: an import from outside of its own folder"
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(("level", "folder"), enumerate(FOLDERS))
def test_a_folder_imports_no_folder_above_it(level: int, folder: str) -> None:
    above = {*FOLDERS[level + 1 :], "benchmarks", "tests"}
    assert files(folder)
    for file in files(folder):
        upwards = {module for module in imports(file) if module.split(".")[0] in above}
        assert not upwards, f"{file.relative_to(ROOT)} imports {upwards}"


def test_every_room_of_components_is_a_node_in_the_picture() -> None:
    rooms = {file.parent.name for file in (ROOT / "components").glob("*/__init__.py")}
    assert rooms == set(NODES)


@pytest.mark.parametrize(("place", "node"), enumerate(NODES))
def test_a_node_imports_no_node_after_it(place: int, node: str) -> None:
    for file in files(f"components/{node}"):
        after = {
            module
            for module in imports(file)
            if module.startswith(tuple(f"components.{later}." for later in NODES[place + 1 :]))
        }
        assert not after, f"{file.relative_to(ROOT)} imports {after}"


def test_the_ground_floor_imports_no_node() -> None:
    nodes = tuple(f"components.{node}." for node in NODES)
    for file in (ROOT / "components").glob("*.py"):
        upwards = {module for module in imports(file) if module.startswith(nodes)}
        assert not upwards, f"{file.relative_to(ROOT)} imports {upwards}"


# Python's documentation says to assign it.
MADE_TO_BE_ASSIGNED = {"tempfile.tempdir"}


def test_no_module_of_another_package_is_assigned_to() -> None:
    """An assignment like `executor.name = ours` would change that package for everyone."""
    for folder in FOLDERS:
        for file in files(folder):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            modules = {
                (name.asname or name.name).split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in node.names
            }
            assigned = {
                ast.unparse(target)
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id in modules
            }
            assigned -= MADE_TO_BE_ASSIGNED
            assert not assigned, f"{file.relative_to(ROOT)} assigns {assigned}"
