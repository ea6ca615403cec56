"""Prints docs/settings.md: every setting, from the models that read the YAML.

python scripts/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config import PipelineConfig

ROOT = Path(__file__).parents[1]
HEAD = """\
<!-- Made by scripts/settings_page.py. -->

# Settings

A YAML file holds the settings of a pipeline; `pipeline/configs/` has some to begin with. Each group
belongs to the room that obeys it, in the file named under its heading. A key that is not listed
here is an error that says which there are. What is not given has the default; where there is none,
the setting is required.

```
twotower config --config mine.yaml                            # what each is now, and its meaning
twotower run --config mine.yaml --set trainer.epochs=5        # another value for one run
```
"""
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "pattern": "`{}`",
}
NAMES = {"boolean": "true or false", "string": "text", "null": "none", "object": "mapping"}


def page() -> str:
    """Returns the page, in Markdown."""
    return "\n".join([HEAD, *_group(PipelineConfig, "", PipelineConfig.model_json_schema())])


def _group(group: type[BaseModel], key: str, schema: dict[str, Any]) -> Iterator[str]:
    if key:
        yield f"{'#' * (len(key.rstrip('.…').split('.')) + 1)} {key}\n"
        yield f"{inspect.cleandoc(group.__doc__ or '')}\n\n`{_file(group)}`\n"
    fields = group.model_fields.items()
    rows = [
        _row(name, field, schema["properties"][name], schema)
        for name, field in fields
        if not _is_group(field)
    ]
    if rows:
        yield "| setting | values | default | meaning |\n|---|---|---|---|"
        yield "\n".join(rows) + "\n"
    for name, field in fields:
        for model in _models(field.annotation):
            inner_key = f"{key}.{name}".lstrip(".") + ("" if _is_group(field) else ".…")
            yield from _group(model, inner_key, model.model_json_schema())


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a setting's type: a group, or the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _row(name: str, field: FieldInfo, schema: dict[str, Any], root: dict[str, Any]) -> str:
    default = "required" if field.is_required() else f"`{_yaml(field.default)}`"
    cells = [f"`{name}`", _values(schema, root), default, field.description or ""]
    return f"| {' | '.join(map(_escape, cells))} |"


def _escape(cell: str) -> str:
    return cell.replace("|", r"\|").replace("<", "&lt;")


def _yaml(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, default=_plain, ensure_ascii=False).strip('"')


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else str(value)


def _values(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Says in words what a JSON schema lets pass."""
    if "$ref" in schema:
        return _values(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return " or ".join(_values(option, root) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = NAMES.get(schema.get("type", ""), schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_values(schema.get('items', {}), root)}"
    if kind == "mapping" and "properties" not in schema:
        values = schema.get("additionalProperties", True)
        return f"mapping to {_values({} if values is True else values, root)}"
    if schema.get("format") == "path":
        kind = "path"
    limits = [text.format(schema[limit]) for limit, text in LIMITS.items() if limit in schema]
    return " ".join([kind, ", ".join(limits)]).strip()


def _file(group: type[BaseModel]) -> Path:
    return Path(inspect.getfile(group)).relative_to(ROOT)


if __name__ == "__main__":
    print(page(), end="")
