"""The validator as TFX runs it: from artifacts to a blessing that TFX's own parts read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx.components.util import model_utils
from tfx.types import channel_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model

from components.features import Columns
from components.validator import component
from components.validator.component import ModelValidator
from components.validator.settings import ValidatorSettings
from components.validator.validation import Check, Validation, read_validation

COLUMNS = Columns(user_id="who")


def artifact(kind: Any, folder: Path) -> Any:
    made = kind()
    made.uri = str(folder)
    if kind is Examples:
        made.split_names = json.dumps(["train", "eval"])
    return made


@pytest.mark.parametrize("passed", [True, False])
def test_the_blessing_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: bool
) -> None:
    check = Check(model="m", what="w", required="r", measured="n", passed=passed)
    validation = Validation(server="s", rows=2, seconds=1.5, checks=(check,))
    asked: dict[str, Any] = {}

    def read_rows(split: str, count: int, columns: Columns) -> list[str]:
        asked["rows"] = split, count, columns
        return ["rows"]

    def validate(*arguments: Any) -> Validation:
        asked["validate"] = arguments[:-1]
        arguments[-1].write_text("the server said")
        return validation

    monkeypatch.setattr(component, "read_rows", read_rows)
    monkeypatch.setattr(component, "validate", validate)
    settings = ValidatorSettings(rows=7)
    examples, model = artifact(Examples, tmp_path / "examples"), artifact(Model, tmp_path / "model")
    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    node = ModelValidator(
        examples=channel_utils.as_channel([examples]),
        model=channel_utils.as_channel([model]),
        settings=settings.model_dump_json(),
        columns=COLUMNS.model_dump_json(),
    )
    blessing = artifact(InfraBlessing, tmp_path / "blessing")
    node.executor_spec.executor_class().Do(
        {"examples": [examples], "model": [model]},
        {"blessing": [blessing]},
        node.exec_properties,
    )

    assert asked["rows"] == (str(tmp_path / "examples" / "Split-eval"), 7, COLUMNS)
    exports = tmp_path / "model" / "Format-Serving"
    assert asked["validate"] == (exports, ["rows"], COLUMNS, settings)
    assert model_utils.is_infra_validated(blessing) == passed
    assert read_validation(blessing.uri) == validation
    written = {file.name for file in (tmp_path / "blessing").iterdir()}
    marker = "INFRA_BLESSED" if passed else "INFRA_NOT_BLESSED"
    assert written == {marker, "validation.json", "server.log"}
    assert (tmp_path / "blessing" / "server.log").read_text() == "the server said"


def test_lines_are_plain_words() -> None:
    good = Check(model="a", what="size", required="at most 2 MB", measured="1 MB", passed=True)
    bad = Check(model="b", what="loading", required="it loads", measured="no file", passed=False)
    found = Validation(server="local server", rows=1, seconds=1.0, checks=(good, bad))
    assert not found.passed
    assert found.lines() == [
        "PASS  a, size: 1 MB (at most 2 MB)",
        "FAIL  b, loading: no file (it loads)",
    ]
    assert found.failures() == found.lines()[1:]
