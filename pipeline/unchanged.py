"""Finds out, before TensorFlow is loaded, that a run would do what an earlier one did.

TFX decides node by node what is cached, and loading it takes most of the time of a run in which
everything is. Nothing a node depends on changed where the settings, the input's bytes, the schema,
the code, the installed packages and the text encoder are what they were, and what was pushed then
is in service still.
"""

from __future__ import annotations

import hashlib
import json
import sysconfig
from pathlib import Path

from components.example_gen.spans import find_input
from components.pusher.cache_key import push_cache_key
from pipeline.config import PipelineConfig
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.runs import find_runs

_PROJECT = Path(__file__).parents[1]
_CODE = ("components", "serving", "pipeline")

# Where a run is kept, tried, judged later or deployed says nothing about what its nodes do here.
_WITHOUT_EFFECT = {"runs", "tune", "watch", "monitor", "release", "deploy"}


def run_cache_key(config: PipelineConfig) -> str:
    """Returns a digest of all that the nodes depend on, but for what is in service."""
    encoder = config.text_encoder
    depends_on = {
        "settings": config.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "input": find_input(config.data.input, config.data).fingerprint(),
        "schema": _digests(config.data.schema_file),
        "encoder": _digests(encoder.encoder),
        "preprocessor": _digests(encoder.preprocessor),
        "code": [_digests(_PROJECT / folder, "*.py") for folder in _CODE],
        "packages": _installed_packages(),
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def find_unchanged(record: RunRecord, folder: Path) -> RunRecord | None:
    """Finds the newest run that pushed, under the same key, what is still in service.

    Args:
        record: A run that is about to begin, with its `cache_key`.
        folder: Where the pipeline's runs are.

    Returns:
        The earlier run; None where there is none, or where files of its nodes are gone.
    """
    in_service = push_cache_key(Path(record.config["pusher"]["serving_root"]))
    for earlier in reversed(find_runs(folder)):
        if earlier.cache_key == record.cache_key and earlier.push_cache_key == in_service:
            outputs = [output for node in earlier.nodes for output in node.outputs.values()]
            return earlier if all(Path(output).exists() for output in outputs) else None
    return None


def reuse(earlier: RunRecord, record: RunRecord, until: str | None = None) -> None:
    """Puts the outputs of an earlier run into the record of one that has nothing to do.

    Args:
        earlier: the earlier run, which pushed.
        record: the one that has nothing to do.
        until: its last node, if it is not to push.
    """
    record.nodes = [
        NodeRecord(id=node.id, state="cached", seconds=0, outputs=node.outputs)
        for node in earlier.nodes
    ]
    if until is None:
        record.version = earlier.version
        record.push_cache_key = earlier.push_cache_key
    else:
        del record.nodes[[node.id for node in record.nodes].index(until) + 1 :]


def _digests(path: str | Path | None, pattern: str = "*") -> dict[str, str]:
    """Of a file, or of those in a folder; of none where it is neither on this machine."""
    found = [Path(path), *Path(path).rglob(pattern)] if path else []
    return {str(file): _digest(file) for file in sorted(found) if file.is_file()}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _installed_packages() -> list[str]:
    """Names and versions, as the folders say in which installers keep them."""
    return sorted(info.name for info in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
