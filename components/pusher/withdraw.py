"""Takes versions out of service, for good.

A withdrawal is remembered in the root, with what the models held: their number is never given
again, and the same models are not pushed again unless that is asked for. The version before is what
TF Serving finds then; it loads that one before it lets go of what it serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from components.errors import InputError
from components.features import MODELS
from components.pusher.labels import check_unlabeled
from components.pusher.work_folder import locked, remove, write_file
from components.serving_root import (
    WITHDRAWN_FOLDER,
    WORK_FOLDER,
    pushed_checksums,
    version_folders,
    versions,
    withdrawn,
)


def rollback(root: Path, to: int | None = None) -> list[int]:
    """Puts an earlier version back into service by withdrawing all that came after it.

    Args:
        root: the serving root.
        to: the version; the one before the newest where none is given.

    Returns:
        The versions that were withdrawn, and after them the one that is in service now.

    Raises:
        InputError: there is no such version to go back to, or a label names a later one.
    """
    _check(root)
    with locked(root) as work:
        whole = [version.number for version in versions(root)]
        target = to if to is not None else (whole[-2] if len(whole) > 1 else None)
        if target is None:
            raise InputError(f"{root}: {_listed(whole)}; there is no version before it")
        if target not in whole:
            raise InputError(f"{root}: version {target} cannot serve; {_listed(whole)}")
        later = sorted(number for number in _present(root) if number > target)
        check_unlabeled(root, later)
        _withdraw(root, work, later)
    return [*later, target]


def withdraw(root: Path, number: int) -> int:
    """Takes one version out of service.

    Args:
        root: the serving root.
        number: the version.

    Returns:
        The version that is in service now.

    Raises:
        InputError: there is no such version, it is the only one that can serve, or has a label.
    """
    _check(root)
    with locked(root) as work:
        whole = [version.number for version in versions(root)]
        if number in withdrawn(root):
            raise InputError(f"{root}: version {number} is withdrawn already; {_listed(whole)}")
        if number not in _present(root):
            raise InputError(f"{root}: there is no version {number}; {_listed(whole)}")
        if whole in ([], [number]):
            raise InputError(
                f"{root}: version {number} is the only one that can serve, and nothing would "
                "answer without it; push another one first"
            )
        check_unlabeled(root, [number])
        _withdraw(root, work, [number])
        return versions(root)[-1].number


def withdrawn_as(root: Path, models: dict[str, dict[str, str]]) -> int | None:
    """Returns the withdrawn version that held just these models, if one did.

    Args:
        root: the serving root.
        models: the checksums of the files of each model, but for its version.
    """
    for number in reversed(withdrawn(root)):
        held = _held(root / WORK_FOLDER / WITHDRAWN_FOLDER / f"{number}.json")
        if held and all(files.items() <= held[model].items() for model, files in models.items()):
            return number
    return None


def _check(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that `twotower run` pushed to")


def _present(root: Path) -> set[int]:
    return set().union(*(version_folders(root, model) for model in MODELS))


def _withdraw(root: Path, work: Path, numbers: Iterable[int]) -> None:
    folder = work / WITHDRAWN_FOLDER
    folder.mkdir(exist_ok=True)
    for number in numbers:
        record = {
            "version": number,
            "withdrawn": datetime.now().astimezone().isoformat(timespec="seconds"),
            "models": {model: _checksums(root, model, number) for model in MODELS},
        }
        write_file(folder / f"{number}.json", json.dumps(record, indent=1))
    # The oldest first: a server never finds one of them to be the newest that it has not loaded.
    remove(root, numbers)


def _checksums(root: Path, model: str, number: int) -> dict[str, str]:
    folder = version_folders(root, model).get(number)
    try:
        return {} if folder is None else pushed_checksums(Path(folder))
    except (OSError, ValueError):  # what is broken cannot be pushed again either
        return {}


def _held(file: Path) -> dict[str, dict[str, str]] | None:
    """Returns the checksums of a withdrawn version's models; None where they are not known."""
    try:
        models = json.loads(file.read_text(encoding="utf-8"))["models"]
        held = {model: dict(models[model]) for model in MODELS}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return held if all(held.values()) else None


def _listed(whole: list[int]) -> str:
    if not whole:
        return "no version can serve"
    return f"what can serve is {', '.join(map(str, whole))}"
