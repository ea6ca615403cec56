"""Pushes onto a disk that fills up."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import TwotowerError, reason
from components.features import MODELS
from components.pusher.publish import publish
from tests.chaos.roots import check_folders, check_readers, check_tidy, make_models


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """Yields a folder on a disk of its own; None where there is no right to mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(folder: Path, most: int = 40) -> Counter[str]:
    """Pushes with ever less room; what is in service stays, and room is all that a push needs."""
    seen = Counter[str]()
    with small_disk(folder / "disk", 512) as disk:
        if disk is None:
            return seen
        root, ballast = disk / "root", disk / "ballast"
        publish(make_models(folder / "0", "0"), root, 2)
        for attempt in range(most):
            before = check_readers(root)
            ballast.write_bytes(bytes(4096 * (90 - 2 * attempt)))
            models = make_models(folder / f"{attempt + 1}", f"{attempt + 1}")
            try:
                publish(models, root, 2)
                seen["pushed"] += 1
            except OSError as error:
                known = reason(error)
                assert isinstance(known, TwotowerError)
                assert "no space left on the disk" in str(known)
                assert check_readers(root) == before
                check_folders(root)
                seen["no room"] += 1
                ballast.unlink()
                publish(models, root, 2)
            check_folders(root)
            check_tidy(root)
            assert len({len(list((root / model).iterdir())) for model in MODELS}) == 1
    return seen
