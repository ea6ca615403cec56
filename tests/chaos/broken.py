"""Serving roots that are broken in every way we could think of, one to four at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from components.errors import InputError
from components.features import MODELS
from components.pusher.publish import publish
from components.pusher.work_folder import recover
from components.serving_root import CHECKSUMS_FILE
from tests.chaos.roots import (
    FILES,
    KEEP,
    check_readers,
    check_tidy,
    make_models,
    numbers,
    training_of,
)

Break = Callable[[Path, random.Random], object]


def _version(root: Path, draw: random.Random) -> Path:
    return root / draw.choice(MODELS) / draw.choice("23")


def _next(root: Path, draw: random.Random) -> Path:
    return root / draw.choice(MODELS) / draw.choice("456")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _file_of(folder: Path, draw: random.Random) -> Path:
    return folder / draw.choice(FILES)


def _cut(file: Path) -> None:
    if file.exists():
        file.write_bytes(file.read_bytes()[:-1])


def _flip(file: Path) -> None:
    if file.exists() and (content := bytearray(file.read_bytes())):
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def _write(path: Path, content: str = "?") -> None:
    if any(parent.is_file() for parent in path.parents) or os.path.lexists(path):
        return  # another break stands in the way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _link(path: Path) -> None:
    if not (os.path.lexists(path) or path.parent.is_file()):
        path.parent.mkdir(exist_ok=True)
        path.symlink_to("nowhere")


def _copy(root: Path, draw: random.Random, name: str) -> None:
    source, target = _version(root, draw), root / draw.choice(MODELS) / name
    if source.is_dir() and not os.path.lexists(target):
        shutil.copytree(source, target)


def _remake(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    elif os.path.lexists(folder):
        folder.unlink()
    folder.mkdir(parents=True)


BREAKS: dict[str, Break] = {
    "an empty version": lambda root, draw: _empty(_version(root, draw)),
    "an empty newer version": lambda root, draw: _empty(_next(root, draw)),
    "a version that is gone": lambda root, draw: shutil.rmtree(_version(root, draw), True),
    "a file cut off": lambda root, draw: _cut(_file_of(_version(root, draw), draw)),
    "a bit flipped": lambda root, draw: _flip(_file_of(_version(root, draw), draw)),
    "a file that is gone": lambda root, draw: _file_of(_version(root, draw), draw).unlink(True),
    "a file where the next version goes": lambda root, draw: _write(_next(root, draw)),
    "a dangling link there": lambda root, draw: _link(_next(root, draw)),
    "a version only some models have": lambda root, draw: _copy(root, draw, "7"),
    "leading zeros": lambda root, draw: _copy(root, draw, "0008"),
    "broken checksums": lambda root, draw: _cut(_version(root, draw) / CHECKSUMS_FILE),
    "a name that is no number": lambda root, draw: _copy(root, draw, "3.bak"),
    "a model's folder that is gone": lambda root, draw: shutil.rmtree(
        root / draw.choice(MODELS), True
    ),
    "a file in .push": lambda root, draw: _write(root / ".push" / "notes.txt"),
    "a push without a number": lambda root, draw: _write(root / ".push/ready-x/item_tower/a"),
    "a file for a push": lambda root, draw: _write(root / ".push/ready-9"),
    "a push cut off": lambda root, draw: _write(root / ".push/ready-9/item_tower/saved_model.pb"),
    "an empty push": lambda root, draw: (root / ".push/ready-11").mkdir(
        parents=True, exist_ok=True
    ),
    "a file for the staging": lambda root, draw: _write(root / ".push/staging"),
    "a file for the pruned": lambda root, draw: _write(root / ".push/pruned"),
    "a file for the withdrawn": lambda root, draw: _write(root / ".push/withdrawn"),
    "a withdrawal of nothing": lambda root, draw: _write(root / ".push/withdrawn/x.json"),
    "an empty pushed.json": lambda root, draw: _write(root / ".push/pushed.json", ""),
    "a broken pushed.json": lambda root, draw: _write(root / ".push/pushed.json", '{"version":'),
    "a folder for pushed.json": lambda root, draw: _write(root / ".push/pushed.json/a"),
    "a folder for the lock": lambda root, draw: _remake(root / ".push/lock"),
    "a file for what is set aside": lambda root, draw: _write(root / ".push/set-aside"),
    "no .push": lambda root, draw: shutil.rmtree(root / ".push", True),
    "a file for a model": lambda root, draw: (
        shutil.rmtree(root / MODELS[0], True),
        _write(root / MODELS[0]),
    ),
}


def break_roots(folder: Path, roots: int, seed: int = 1) -> Counter[str]:
    """Breaks roots and checks that all readers agree, and that the next push heals what it can.

    Returns:
        How many roots there were, and how they did.
    """
    draw, seen = random.Random(seed), Counter[str]()
    good = folder / "good"
    for name in ("a", "b", "c"):
        publish(make_models(folder / name, name), good, KEEP)
    following = [make_models(folder / name, name) for name in ("d", "e")]
    order = list(BREAKS)
    for number in range(roots):
        root = folder / f"root-{number}"
        shutil.copytree(good, root)
        chosen = [order[number % len(order)], *draw.choices(order, k=draw.randrange(4))]
        try:
            for name in chosen:
                with contextlib.suppress(NotADirectoryError, FileExistsError):  # of an earlier one
                    BREAKS[name](root, draw)
            seen.update(_check(root, following))
        except (AssertionError, OSError, ValueError) as error:
            raise AssertionError(f"root {number}, {', '.join(chosen)}: {error!r}") from error
        seen["roots"] += 1
        shutil.rmtree(root)
    return seen


def _check(root: Path, following: list[Path]) -> Counter[str]:
    seen = Counter[str]()
    withdrawn = {int(f.stem) for f in root.glob(".push/withdrawn/*.json") if f.stem.isdigit()}
    before = check_readers(root)
    assert before == _expected(root, withdrawn), f"{before} is in service"
    seen["nothing in service"] += before is None
    taken = max((n for model in MODELS for n in numbers(root, model)), default=0)
    try:
        pushed = publish(following[0], root, KEEP)
    except InputError as error:
        if not ((root / MODELS[0]).is_file() and f"{MODELS[0]}: expected a fold" in str(error)):
            raise
        assert check_readers(root) == before, "a push that could not be changed what is in service"
        seen["pushes that said what to move away"] += 1
        (root / MODELS[0]).unlink()
        pushed = publish(following[0], root, KEEP)
    assert pushed.version > taken
    assert check_readers(root) == pushed.version
    seen["set aside"] += any((root / ".push").glob("set-aside/*"))
    with _Told() as told:
        recover(root)
    assert not told.messages, f"told again: {told.messages}"
    again = publish(following[1], root, KEEP, after=pushed.version)  # as the index does
    assert check_readers(root) == again.version
    check_tidy(root)
    return seen


def _expected(root: Path, withdrawn: set[int]) -> int | None:
    """Returns what should be in service, from the bytes alone."""
    wholes = [
        {int(f.name) for f in _folders(root / model) if training_of(f) and _ends(f)}
        for model in MODELS
    ]
    candidates = sorted(set.intersection(*wholes) - withdrawn, reverse=True)
    return candidates[0] if candidates else None


def _ends(folder: Path) -> bool:
    return (folder / CHECKSUMS_FILE).read_text().endswith("}")


def _folders(home: Path) -> list[Path]:
    return [f for f in home.iterdir() if f.name.isdigit()] if home.is_dir() else []


class _Told(logging.Handler):
    """Collects warnings."""

    def __enter__(self) -> _Told:
        self.messages: list[str] = []
        logging.getLogger("components").addHandler(self)
        return self

    def __exit__(self, *_error: object) -> None:
        logging.getLogger("components").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
