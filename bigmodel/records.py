"""The versions in MLflow's registry: through MLflow or, much sooner, from its local database.

The moves of aliases are kept there as the versions of a model of their own.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bigmodel.errors import ClusterError

SCHEME = "bigmodel:"
DIGEST = "#sha256="


class Record(NamedTuple):
    """A version as MLflow keeps it; `created` in milliseconds."""

    name: str
    version: int
    source: str
    run_id: str
    created: int
    tags: dict[str, str]
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """One attempt to take an alias from version `expected` to version `to`; None is nowhere.

    Without an alias, it is the version `expected` itself that was to be deleted.
    """

    alias: str
    expected: int | None
    to: int | None
    who: str
    why: str
    numbers: dict[str, Any]
    place: int
    made: str
    held: bool


RECORDS = """
    SELECT name, version, source, coalesce(run_id, ''), creation_time,
        (SELECT json_group_object(key, value) FROM model_version_tags t
            WHERE t.name = v.name AND t.version = v.version),
        (SELECT json_group_array(alias) FROM registered_model_aliases a
            WHERE a.name = v.name AND a.version = v.version)
    FROM model_versions v
    WHERE current_stage != 'Deleted_Internal' AND coalesce(name = :name, TRUE)
    ORDER BY name, version
"""


def read_database(file: Path, name: str | None = None) -> list[Record]:
    """What `read_client` reads, without importing MLflow: a model is found in milliseconds."""
    if not file.exists():
        return []
    address = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=20)) as connection:
            rows = connection.execute(RECORDS, {"name": name}).fetchall()
    except sqlite3.Error as error:
        raise ClusterError(
            f"MLflow's database {file} can't be read ({error}); is it of another version?"
        ) from None
    return [
        Record._make((*plain, json.loads(tags), tuple(sorted(json.loads(aliases)))))
        for *plain, tags, aliases in rows
    ]


def read_client(client: Any, name: str | None = None) -> list[Record]:
    """All versions of a model, or of all models, by name and number; none if it is unknown."""
    models = _pages(client.search_registered_models, name)
    records = []
    for model in models:
        for made in _pages(client.search_model_versions, model.name):
            number = int(made.version)
            aliases = tuple(a for a, at in sorted(model.aliases.items()) if int(at) == number)
            created = made.creation_timestamp
            records.append(
                Record(
                    model.name, number, made.source, made.run_id or "", created, made.tags, aliases
                )
            )
    return sorted(records)


def append(client: Any, name: str, source: str, *, tags: dict[str, str], run_id: str = "") -> int:
    """Write the next version of a registered model, which is made if need be; its number."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return int(client.create_model_version(name, source, run_id or None, tags=tags).version)


def replay(records: Iterable[Record]) -> tuple[Move, ...]:
    """Every move, oldest first, and whether it held.

    An alias must be where it was expected, and goes to no version that was deleted before; a
    version is not deleted while an alias stands at it.
    """
    standing: dict[str, int | None] = {}
    deleted: set[int] = set()
    moves = []
    for record in records:
        said = json.loads(record.tags["move"])
        alias, expected, to = said["alias"], said["expected"], said["to"]
        if alias:
            held = expected == standing.get(alias) and to not in deleted
            standing |= {alias: to} if held else {}
        else:
            held = expected not in standing.values()
            deleted |= {expected} if held else set()
        moves.append(Move(**said, place=record.version, made=time_of(record.created), held=held))
    return tuple(moves)


def lost(name: str, tried: Move, moves: Iterable[Move]) -> str:
    """Why a promotion did not hold: what was moved or deleted before it."""
    held = [move for move in moves if move.held and move.place < tried.place]
    for move in held:
        if not move.alias and move.expected == tried.to:
            return (
                f"{name}@{tried.to} was deleted by {move.who} at {move.made} ({move.why}); "
                "promote another version"
            )
    wanted = f"version {tried.expected}" if tried.expected else "unset"
    at = f"{name}@{tried.alias}"
    won = next((move for move in reversed(held) if move.alias == tried.alias), None)
    if won is None or won.to is None:
        return f"{at} is unset, not {wanted} as expected; promote {name}@{tried.to} once more"
    return (
        f"{at} is version {won.to}, not {wanted} as expected: {won.who} moved it at {won.made} "
        f"({won.why}); compare {name}@{tried.to} with {name}@{won.to} before you promote it"
    )


def source_of(uri: str, digest: str = "") -> str:
    """What stands in MLflow for an artefact's path or URI, and the SHA-256 it must have.

    A server refuses paths outside of its own folders, and what doesn't begin with a slash; by the
    scheme MLflow finds `bigmodel.pyfunc`, which hands out the artefact's files.
    """
    mark = f"{DIGEST}{digest}" if digest else ""
    return f"{SCHEME}{uri}{mark}" if uri.startswith("/") else f"{SCHEME}/{uri}{mark}"


def uri_of(source: str) -> str:
    """The path or URI that `source_of` was given; what isn't of ours stays as it is."""
    if not source.startswith(SCHEME):
        return source
    rest = source.removeprefix(SCHEME).rpartition(DIGEST)[0] or source.removeprefix(SCHEME)
    return rest.removeprefix("/") if "://" in rest else rest


def digest_of(source: str) -> str | None:
    """The SHA-256 that `source_of` was given, None where it was given none."""
    return source.rpartition(DIGEST)[2] if DIGEST in source else None


def time_of(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _pages(search: Any, name: str | None) -> Iterator[Any]:
    token = None
    while True:
        page = search(f"name = '{name}'" if name else None, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
