"""Recipes from TOML files and `--set`: kind's defaults < file < overrides, then the checks."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from bigmodel.config import ModelConfig, Recipe
from bigmodel.errors import RecipeError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_OF_WORDS: dict[str, Any] = {
    "model": {"residual": True, "vectors": "ppmi"},
    "train": {"epochs": 2, "augment": {"drop": 0.2}},
}

KIND_DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {},
    "bag": {"train": {"learning_rate": 5e-3}},
    "mlp": {"train": {"learning_rate": 3e-3}},
    **dict.fromkeys(("cnn", "rnn", "transformer"), _OF_WORDS),
}
"""What a kind changes in the other sections, so that `model.kind` alone is a good run."""

MODEL_TABLES = tuple(KIND_DEFAULTS)

PATH_KEYS = (
    ("data", "train"), ("data", "valid"), ("data", "test"), ("data", "corrections"),
    ("data", "unlabelled"),
    ("text", "user_dictionary"), ("text", "stop_words"), ("storage",),
)  # fmt: skip

PASSWORD = re.compile(r"[^:/]+://[^/@]*:(?!\d*/)[^@]*@")
"""A URI with `user:password@`, also where the password has slashes; a port is none."""

SECRETS = {
    "http": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
"""Where a password belongs instead, by what the URI is for."""


def load_recipe(
    path: str | Path, overrides: Iterable[str] = (), *, storage: str | None = None
) -> Recipe:
    """Read a recipe file, apply `section.key=value` overrides and check the whole.

    Paths written in the file start at the file's folder, all others at the current one. `storage`
    goes before its override, that before BIGMODEL_STORAGE, that before the file's key; where
    nothing names it, it is `./storage`.
    """
    file = Path(path)
    here = Path.cwd()
    tree = absolute_paths(_read_toml(file), file.resolve().parent)
    if environment := os.environ.get("BIGMODEL_STORAGE"):
        tree["storage"] = environment
    for override in overrides:
        merge(tree, absolute_paths(parse_override(override), here))
    merge(tree, absolute_paths({"storage": storage or tree.get("storage") or "./storage"}, here))
    recipe = make_recipe(tree, str(path))
    check_secrets(recipe.tracking.uri or "")
    return recipe


def make_recipe(tree: dict[str, Any], where: str) -> Recipe:
    """Put the kind's defaults under `tree` and check it; `where` begins an error's sentence."""
    model = tree.get("model")
    kind = model.get("kind", "linear") if isinstance(model, Mapping) else "linear"
    merged: dict[str, Any] = {}
    merge(merged, KIND_DEFAULTS.get(kind, {}) if isinstance(kind, str) else {})
    merge(merged, tree)
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_explain(error)}") from None
    _check_space(recipe, where)
    return recipe


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with some dotted keys changed, checked again; the kind's defaults don't return."""
    tree = tree_of(recipe)
    for key, value in values.items():
        merge(tree, nested(key, value))
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(_explain(error)) from None


def tree_of(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", by_alias=True, exclude_none=True)


def to_toml(recipe: Recipe) -> str:
    """The recipe as a file that gives it again, on this machine: its paths are absolute."""
    import tomli_w

    tree = tree_of(recipe)
    unread = {*MODEL_TABLES} - {*recipe.model.tables}
    tree["model"] = {key: value for key, value in tree["model"].items() if key not in unread}
    return tomli_w.dumps(tree)


def settings_of(section: BaseModel, prefix: str = "") -> dict[str, str]:
    """A recipe as dotted keys and values in JSON, strings as they are; without what is None, and
    without the tables of kinds that the model isn't made of."""
    plain = section.model_dump(mode="json", by_alias=True, exclude_none=True)
    found: dict[str, str] = {}
    for key, value in section:
        if isinstance(value, BaseModel):
            if not isinstance(section, ModelConfig) or key in section.tables:
                found |= settings_of(value, f"{prefix}{key}.")
        elif key in plain:
            found[prefix + key] = (
                value if isinstance(value, str) else json.dumps(plain[key], ensure_ascii=False)
            )
    return found


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}: the value is TOML, and what doesn't parse is a string."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise RecipeError(f"--set {text}: expected section.key=value, as in train.epochs=3")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    return nested(key, parsed)


def nested(key: str, value: Any) -> dict[str, Any]:
    """`tune.space` keeps the dots of what follows it; everywhere else a dot opens a table."""
    parts = [part.strip() for part in key.split(".")]
    if parts[:2] == ["tune", "space"] and len(parts) > 2:
        parts = [*parts[:2], ".".join(parts[2:]).strip("\"'")]
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def merge(base: dict[str, Any], over: Mapping[str, Any], inside: tuple[str, ...] = ()) -> None:
    """Lay `over` on `base` in place: tables are joined, but a dimension of `tune.space`, a list
    and all else is replaced whole. `inside`: the tables around both."""
    for key, value in over.items():
        if isinstance(value, Mapping) and inside != ("tune", "space"):
            if not isinstance(base.get(key), dict):
                base[key] = {}
            merge(base[key], value, (*inside, key))
        else:
            base[key] = value


def absolute_paths(tree: dict[str, Any], start: Path) -> dict[str, Any]:
    """Let the relative paths in `tree` start at `start`; URIs stay as they are."""
    for *tables, key in PATH_KEYS:
        table: Any = tree
        for name in tables:
            table = table.get(name) if isinstance(table, dict) else None
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(value, str) and value:
            table[key] = absolute_path(value, start)
        for source in value if isinstance(value, list) else ():
            if isinstance(source, dict) and isinstance(source.get("path"), str):
                source["path"] = absolute_path(source["path"], start)
    return tree


def absolute_path(written: str, start: Path) -> str:
    """The path, from `start` where it is relative; a URI as it stands."""
    if "://" in written:
        check_secrets(written)
        return written
    try:
        return os.path.normpath(start / Path(written).expanduser())
    except RuntimeError:
        raise RecipeError(
            f"{written}: this machine knows no such home folder; write the whole path"
        ) from None


def check_secrets(uri: str) -> None:
    """RecipeError for a URI with a password, which logs, artefacts and jobs would pass on."""
    if not PASSWORD.match(uri):
        return
    scheme = uri.partition("://")[0]
    service = "http" if scheme.startswith("http") else "s3"
    raise RecipeError(
        f"a {scheme}:// URI has a user's name and password in it, where logs and artefacts would "
        f"keep them; take them out, and set {SECRETS[service]} instead"
    )


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{file}: can't read the recipe ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: not a TOML file ({error})") from None


def _check_space(recipe: Recipe, where: str) -> None:
    """Try the ends of each dimension of the search, so that no trial meets a wrong key or bound."""
    for key, dimension in (recipe.tune.space if recipe.tune else {}).items():
        ends = dimension.choice or dimension.log or dimension.uniform or dimension.integer
        for value in ends or ():
            try:
                with_values(recipe, {key: value})
            except RecipeError as error:
                raise RecipeError(f"{where}: in tune.space, {error}") from None


IN_TOML = {
    "model_type": "expected a table",
    "dict_type": "expected a table",
    "tuple_type": "expected a list",
    "missing": "expected a longer list",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "expected a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "expected a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "expected true or false"),
    "string_type": "expected a text",
    "string_pattern_mismatch": "expected at most 63 letters, digits, - and _, not - or _ first",
}
"""What pydantic says in Python's terms, said in the recipe's."""


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, as one clause that names the key and the way out."""
    first, *others = error.errors()
    location = [str(part) for part in first["loc"]]
    while location[-1:] and re.fullmatch(r"int|float|bool|str|literal\[.*", location[-1]):
        location.pop()  # which branch of a union was tried; not a key
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        return _unknown_key(location)
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return f"{'.'.join(location[:-1])}: too short a list"
    if first["type"] == "missing":
        return f"no key {key}; it is required"
    if first["type"] == "value_error":
        said = str(first["ctx"]["error"])
        return f"{key}: {said}" if key else said
    stem = first["loc"][: len(location)]
    branches = [first, *(each for each in others if each["loc"][: len(stem)] == stem)]
    said = " or ".join(dict.fromkeys(map(_said, branches)))
    return f"{key} = {first['input']!r}: {said.replace(' or expected', ' or')}"


def _said(error: "ErrorDetails") -> str:
    message = error["msg"].replace("Tuple", "List").replace(" after validation", "")
    message = re.sub("^Input should be (?=greater|less)", "expected a number ", message)
    message = message.replace("Input should be", "expected")
    return IN_TOML.get(error["type"], message[0].lower() + message[1:])


def _unknown_key(location: list[str]) -> str:
    key = ".".join(location)
    if location[:2] == ["tune", "space"] and keys_of(location[2:3]) != keys_of([]):
        return f'in tune.space, write a dotted key in quotes: "{".".join(location[2:])}"'
    siblings = keys_of(location[:-1])
    near = difflib.get_close_matches(location[-1], siblings, n=1, cutoff=0.6)
    prefix = "".join(f"{part}." for part in location[:-1])
    hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(siblings)}"
    return f"unknown key {key}; {hint}"


def keys_of(location: list[str]) -> list[str]:
    """The keys of the section at `location`, in the order of the contract."""
    section: type[BaseModel] = Recipe
    for part in location:
        if part not in section.model_fields:  # a free name, such as a key of tune.space
            continue
        annotation = section.model_fields[part].annotation
        options = (annotation, *get_args(annotation))
        section = next(
            (o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), section
        )
    return [field.alias or name for name, field in section.model_fields.items()]
