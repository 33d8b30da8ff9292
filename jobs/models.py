"""`bigmodel models`: list, show, promote, roll back, delete."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import RecipeError
from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.registry import Registry, Version


@click.group()
def main() -> None:
    """List, show, promote, roll back, delete."""


def _show_list(result: list[dict[str, Any]]) -> "RenderableType":
    from rich.table import Table

    if not result:
        return "no models yet; make one with: bigmodel train RECIPE"
    grid = Table("model", "aliases", "macro-F1 (valid)", "created")
    for row in result:
        score = row["metrics"].get("macro_f1")
        figure = "" if score is None else f"{score:.4f}"
        grid.add_row(row["model"], ", ".join(row["aliases"]), figure, row["created"])
    return grid


def _show_one(result: dict[str, Any]) -> "RenderableType":
    flat = {**result, **result.get("metrics", {}), "aliases": ", ".join(result["aliases"])}
    if gate := result.get("gate"):
        flat["gate"] = gate["why"]
    return table({name: flat[name] for name in flat if name not in ("metrics", "moves")})


def _show_with_moves(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    if not result["moves"]:
        return _show_one(result)
    grid = Table("moved", "alias", "from", "to", "who", "why", "", title="Moves")
    for move in result["moves"]:
        places = [str(place or "") for place in (move["expected"], move["to"] or "gone")]
        held = "" if move["held"] else "lost"
        grid.add_row(move["made"], move["alias"], *places, move["who"], move["why"], held)
    return Group(_show_one(result), grid)


def list_versions(*, storage: str) -> list[dict[str, Any]]:
    """All versions of all models."""
    from bigmodel.registry import Registry

    return [_row(version) for version in Registry(storage).list()]


@click.argument("model")
def show(*, storage: str, model: str) -> dict[str, Any]:
    """One version: where it is, its scores, its aliases; and how the model's aliases moved."""
    from bigmodel.registry import Registry

    registry = Registry(storage)
    version = registry.resolve(model)
    moves = registry.moves(version.name) if version.version else ()
    return _row(version) | {"moves": [asdict(move) for move in moves]}


@click.argument("model")
@click.argument("alias")
@click.option("--force", metavar="WHY", help="Kept with the move.")
def promote(*, storage: str, model: str, alias: str, force: str | None) -> dict[str, Any]:
    """Point an alias at a version; the champion's only if the gate lets it, or by force."""
    from bigmodel.registry import CHAMPION, Registry
    from jobs import gate

    _check_reason(force)
    registry = Registry(storage)
    version = _published(registry, model)
    if alias == CHAMPION:
        moved, said = gate.promote(version, registry, storage=storage, force=force)
        return _row(moved) | {"gate": said}
    before = registry.current(version.name, alias)  # who moves it from now on wins
    moved = registry.promote(
        version.name,
        alias,
        to=version.version,
        expected=before,
        why=force or "promoted by hand",
        numbers=dict(version.metrics),
    )
    return _row(moved)


@click.argument("name")
def rollback(*, storage: str, name: str) -> dict[str, Any]:
    """Point `champion` back at where it was before, of what is still there; twice undoes itself."""
    from bigmodel.registry import Registry

    return _row(Registry(storage).rollback(name))


@click.argument("model")
@click.option("--force", metavar="WHY", help="Though it has aliases: they go with it.")
def delete(*, storage: str, model: str, force: str | None) -> dict[str, Any]:
    """Take a version out of the registry; its files stay. One with an alias stays as well.

    By force the aliases at it are taken away first, such as `deployed` after an endpoint's end; the
    champion is never deleted.
    """
    from bigmodel.registry import Registry

    _check_reason(force)
    registry = Registry(storage)
    version = _published(registry, model)
    registry.delete(version.name, version.version, force=force)
    return _row(version)


def _check_reason(force: str | None) -> None:
    if force is not None and not force.strip():
        raise RecipeError("--force is empty; say why, as in --force 'the champion is broken'")


def _published(registry: "Registry", model: str) -> "Version":
    version = registry.resolve(model)
    if not version.version:
        raise RecipeError(f"{model} is no published version; name one, as in reviews@3")
    return version


def _row(version: "Version") -> dict[str, Any]:
    return {
        "model": str(version),
        "aliases": list(version.aliases),
        "metrics": version.metrics,
        "artifact": version.uri,
        "sha256": version.digest,
        "run_id": version.run_id,
        "created": version.created,
    }


main.add_command(verb(show=_show_list)(list_versions), "list")
main.add_command(verb(show=_show_with_moves)(show), "show")
for _function in (promote, rollback, delete):
    main.add_command(verb(show=_show_one)(_function), _function.__name__)


if __name__ == "__main__":
    main()
