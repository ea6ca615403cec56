"""What a cached push depends on beside its model: the state of the serving root."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from components.pusher.publish import Pushed
from components.pusher.work_folder import PUSHED_FILE, write_file
from components.serving_root import WORK_FOLDER, newest


def push_cache_key(serving_root: Path) -> str:
    """Returns what is to be an execution property of every node that depends on the root.

    A push leaves its key in the root (`record_push`), so a run that changes nothing is given the
    same key and its push is cached. Where the version in service is gone, or another one came
    after, the key is a new one, and the push is done again.
    """
    version, key = _read(serving_root)
    present = newest(serving_root)
    if present is not None and present.number == version:
        return key
    return uuid.uuid4().hex


def record_push(pushed: Pushed, key: str) -> None:
    """Leaves the key that a push was done under in the root.

    A key that an earlier version was pushed under would make that version's push, too, look as if
    it were in service; so it is removed instead, and the next run is given a new one.
    """
    file = pushed.root / WORK_FOLDER / PUSHED_FILE
    if pushed.new and _read(pushed.root)[1] == key:
        file.unlink(missing_ok=True)  # in containers every push has the same key, none
        return
    write_file(file, json.dumps({"version": pushed.version, "cache_key": key}))


def _read(serving_root: Path) -> tuple[int, str]:
    """Returns the version and the key of the last push; 0 and nothing where they are not known."""
    try:
        left = json.loads((serving_root / WORK_FOLDER / PUSHED_FILE).read_text(encoding="utf-8"))
        return int(left["version"]), str(left["cache_key"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0, ""
