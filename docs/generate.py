"""Write docs/recipe.md and docs/recipe.schema.json from the fields of the recipe."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bigmodel.config import Dimension, Recipe
from bigmodel.recipe import KIND_DEFAULTS

HERE = Path(__file__).parent
SIGNS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any value"}

INTRODUCTION = """\
# The recipe

<!-- made by docs/generate.py from bigmodel/config; don't edit -->

One TOML file says everything about one model. Only `name` and `data.train` are required; every
other key has a default that is a sensible start:

```toml
name = "reviews"

[data]
train = "reviews.csv"
```

- A key in the file goes before the default, and `--set section.key=value` before the file:
  `bigmodel train reviews.toml --set train.epochs=3 --set 'model.mlp.hidden_sizes=[64, 32]'`.
  The value is TOML, and what isn't is a string; lists are replaced whole.
- A few defaults depend on `model.kind`; the tables say so.
- Relative paths in the file start at the file's folder, those from `--set` and `--storage` at the
  current one.
- `storage` is the first of `--storage`, `--set storage=…`, the environment's `BIGMODEL_STORAGE`,
  the recipe's key, and `./storage` in the current folder.
- No URI holds a password: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or
  `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, in the environment.
- Unknown keys are refused, with the nearest name that exists.
- `recipe.schema.json` beside this page lets an editor complete and check a recipe: begin the file
  with `#:schema <path to recipe.schema.json>` (Even Better TOML, Taplo).
"""

SPACE = """\
Each key of `tune.space` is a dotted key of the recipe, and its value has one of these forms:

```toml
[tune.space]
"train.learning_rate" = {log = [0.0003, 0.03]}
"model.mlp.hidden_sizes" = {choice = [[64], [128, 64]]}
```
"""


def main() -> None:
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> its whole text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema |= Recipe.model_json_schema(by_alias=True)
    return {
        "recipe.md": reference(),
        "recipe.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


def reference() -> str:
    parts = [INTRODUCTION, "## At the top\n", table(Recipe, ())]
    for path, section in sections(Recipe):
        parts += [f"## `[{'.'.join(path)}]`\n", f"{section.__doc__}\n", table(section, path)]
        if path == ("tune",):
            parts += [SPACE, forms()]
    return "\n".join(parts)


def sections(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Any]:
    """(path, section) of every table below, in the order of the fields, depth first."""
    for name, field in model.model_fields.items():
        if section := section_of(field):
            yield (*path, name), section
            yield from sections(section, (*path, name))


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    for option in (field.annotation, *get_args(field.annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option if get_origin(field.annotation) not in (dict, tuple) else None
    return None


def table(section: type[BaseModel], path: tuple[str, ...]) -> str:
    rows = [
        (f"`{name}`", kind(field), default(field, (*path, name)), field.description or "")
        for name, field in section.model_fields.items()
        if section_of(field) is None
    ]
    return rendered(("key", "type", "default", "meaning"), rows)


def forms() -> str:
    rows = [
        (f"`{{{field.alias or name} = …}}`", kind(field), field.description or "")
        for name, field in Dimension.model_fields.items()
    ]
    return rendered(("form", "type", "meaning"), rows)


def rendered(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def kind(field: FieldInfo) -> str:
    """A field's type and bounds in words: `integer > 0`."""
    signs = [
        sign.format(f"{bound:g}")
        for constraint in field.metadata
        for name, sign in SIGNS.items()
        if (bound := getattr(constraint, name, None)) is not None
    ]
    given = (getattr(one, "json_schema_input_type", None) for one in field.metadata)
    annotation = next((one for one in given if one), field.annotation)
    return " ".join([words(annotation), ", ".join(signs)]).strip()


def words(annotation: Any) -> str:
    inner = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(words(option) for option in inner if option is not NoneType)
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{toml(value)}`" for value in inner)
    if get_origin(annotation) is tuple:
        return f"[{', '.join('…' if part is ... else words(part) for part in inner)}]"
    if get_origin(annotation) is dict:
        return "table of dimensions" if inner[1] is Dimension else f"table of {words(inner[1])}s"
    if issubclass(annotation, BaseModel):
        return f"`{{{', '.join(annotation.model_fields)}}}`"
    return NAMES[annotation]


def default(field: FieldInfo, path: tuple[str, ...]) -> str:
    """The field's default, and those of the kinds that change it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    said = ["none" if value is None else f"`{toml(value)}`"]
    for name, changes in KIND_DEFAULTS.items():
        changed: Any = changes
        for part in path:
            changed = changed.get(part, {}) if isinstance(changed, dict) else {}
        if changed not in ({}, value):
            said.append(f"`{name}`: `{toml(changed)}`")
    return "; ".join(said)


def toml(value: Any) -> str:
    """A value as one writes it in the recipe; TOML's simple values look like JSON's."""
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main()
