"""`bigmodel keys`: add, list, revoke."""

from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import RecipeError
from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from serve.keyfile import Key, Scope

URL = "http://127.0.0.1:8000"


@click.group()
def main() -> None:
    """Who may use the endpoint: add, list, revoke."""


def _show_new(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group

    said = {name: value for name, value in _readable(result).items() if name != "curl"}
    note = "The key is shown this once, and kept nowhere: give it to its owner. To try it:"
    return Group(table(said, title="Added"), note, result["curl"])


def _show_list(result: list[dict[str, Any]]) -> "RenderableType":
    from rich.table import Table

    if not result:
        return "no keys yet; make one with: bigmodel keys add NAME"
    grid = Table("id", "name", "scopes", "requests/s", "created", "expires")
    for row in result:
        days = {name: row[name] and row[name][:10] for name in ("created", "expires")}
        grid.add_row(*_readable({**row, **days}).values())
    return grid


def _show_revoked(result: dict[str, Any]) -> "RenderableType":
    return table(_readable(result), title="Revoked; no endpoint takes it after 5 seconds")


@click.argument("name")
@click.option(
    "--scope",
    default="predict,metadata",
    show_default=True,
    help="What it may do: predict, metadata, or both with a comma.",
)
@click.option("--rate", type=float, metavar="N", help="Requests a second.  [default: any]")
@click.option("--days", type=click.IntRange(1, 36_500), help="It expires then.  [default: never]")
def add(
    *, storage: str, name: str, scope: str, rate: float | None, days: int | None
) -> dict[str, Any]:
    """Make a key; it is shown once."""
    from serve.keyfile import add_key

    if not name.isprintable() or not name.strip():
        raise RecipeError("the name is blank or has control characters; say whose key it is")
    made = add_key(storage, name, scopes=_scopes(scope), rate=rate, days=days)
    row = _row(made.id, made.key)
    return {"id": made.id, "key": made.written, **row, "curl": _curl(made.written, made.key)}


def list_keys(*, storage: str) -> list[dict[str, Any]]:
    """All keys, without their secrets, the oldest first."""
    from serve.keyfile import read_keys

    keys = read_keys(storage)
    return [_row(one, keys[one]) for one in sorted(keys, key=lambda one: keys[one].created)]


@click.argument("id", metavar="ID")
def revoke(*, storage: str, id: str) -> dict[str, Any]:
    """Take a key away, given its id or the whole key."""
    from serve.keyfile import revoke_key

    key_id = id.split("_")[1] if id.startswith("bmk_") else id
    return _row(key_id, revoke_key(storage, key_id))


def _scopes(written: str) -> "tuple[Scope, ...]":
    from serve.keyfile import SCOPES

    asked = {part.strip() for part in written.split(",")}
    if unknown := asked - set(SCOPES):
        raise RecipeError(
            f"--scope {written}: no scope '{min(unknown)}'; give {' or '.join(SCOPES)}, "
            "or both with a comma"
        )
    return tuple(scope for scope in SCOPES if scope in asked)


def _row(key_id: str, key: "Key") -> dict[str, Any]:
    return {"id": key_id, **key.model_dump(mode="json", exclude={"sha256"})}


def _readable(row: dict[str, Any]) -> dict[str, str]:
    rate = "any" if row["rate"] is None else f"{row['rate']:g}"
    scopes = ", ".join(row["scopes"])
    return {**row, "scopes": scopes, "rate": rate, "expires": row["expires"] or "never"}


def _curl(written: str, key: "Key") -> str:
    """A line that a shell takes as it is, for an endpoint on this machine."""
    authorization = f"-H 'Authorization: Bearer {written}'"
    if "predict" not in key.scopes:
        return f"curl {URL}/v2 \\\n  {authorization}"
    return (
        f"curl {URL}/v1/classify \\\n  {authorization} \\\n"
        """  -H 'Content-Type: application/json' -d '{"inputs": "手机很好用"}'"""
    )


main.add_command(verb(show=_show_new)(add), "add")
main.add_command(verb(show=_show_list)(list_keys), "list")
main.add_command(verb(show=_show_revoked)(revoke), "revoke")


if __name__ == "__main__":
    main()
