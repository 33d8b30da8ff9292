"""A recipe with a model of another kind, for a search across kinds."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bigmodel.config import Recipe
from bigmodel.recipe import KIND_DEFAULTS, make_recipe, tree_of


def as_kind(recipe: Recipe, kind: str) -> Recipe:
    """The recipe with a model of another kind. What stands in its other sections by its own kind's
    defaults becomes what the new kind has there; what differs from them was meant, and stays."""
    if kind == recipe.model.kind:
        return recipe
    tree = tree_of(recipe)
    data = tree["data"]
    before, after = (
        tree_of(make_recipe({"name": "any", "data": data, "model": {"kind": each}}, "the defaults"))
        for each in (recipe.model.kind, kind)
    )
    for path in {*_leaves(KIND_DEFAULTS[recipe.model.kind]), *_leaves(KIND_DEFAULTS[kind])}:
        if _value_at(tree, path) == _value_at(before, path):
            _put(tree, path, _value_at(after, path))
    tree["model"]["kind"] = kind
    return Recipe.model_validate(tree)


def _leaves(tree: Mapping[str, Any], inside: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*inside, key))
        else:
            yield (*inside, key)


def _value_at(tree: Mapping[str, Any], path: Iterable[str]) -> Any:
    """None where there is none."""
    found: Any = tree
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *tables, key = path
    for table in tables:
        tree = tree.setdefault(table, {})
    if value is None:
        tree.pop(key, None)
    else:
        tree[key] = value
