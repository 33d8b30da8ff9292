"""Versions of models and the aliases that point at them: publish, resolve, promote, roll back."""

import json
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from bigmodel import outbox
from bigmodel.config import NAME_PATTERN
from bigmodel.connection import Away, answering, database, server
from bigmodel.errors import ModelError, RecipeError
from bigmodel.records import (
    Move,
    Record,
    append,
    lost,
    read_client,
    read_database,
    replay,
    source_of,
)
from bigmodel.storage import folder
from bigmodel.tracking import user
from bigmodel.versions import Version, published

__all__ = ["CHAMPION", "MOVES", "Registry", "Version"]

MOVES = ".moves"
"""The moves of model `x` are the versions of `x.moves`; the name of a recipe has no dot."""

CHAMPION = "champion"


class Registry:
    """The models under one storage, their versions kept by its database or an MLflow server."""

    def __init__(self, storage: str, tracking_uri: str | None = None) -> None:
        self._storage = storage
        self._uri = server(tracking_uri)

    def publish(
        self, name: str, uri: str, *, digest: str, metrics: Mapping[str, float], run_id: str
    ) -> Version:
        """Make the artefact at `uri` the next version of `name`; no alias moves.

        While the server is away it is kept, and has no number yet.
        """
        tags = {"sha256": digest, "metrics": json.dumps(dict(metrics), sort_keys=True)}
        source = source_of(folder(uri).uri, digest)
        try:
            with answering(self._storage, self._uri):
                run_id = outbox.known_run(self._client, run_id, name, self._storage)
            return self._version(name, self._append(name, source, tags=tags, run_id=run_id))
        except Away:
            version = {"source": source, "tags": tags}
            outbox.keep(self._storage, outbox.Entry(run_id, name, version=version))
            return Version(name, 0, folder(uri).uri, digest, (), dict(metrics), "", run_id)

    def published(self, name: str, *, digest: str, run_id: str) -> Version | None:
        """What the run has published already, before it was stopped; None while nobody can tell."""
        try:
            versions = [version for version in self.list() if version.name == name]
        except Away:
            return None
        return next((v for v in versions if (v.run_id, v.digest) == (run_id, digest)), None)

    def resolve(self, model: str) -> Version:
        """The version that `name@3`, `name@champion`, or an artefact folder or URI stands for."""
        name, at, which = model.rpartition("@")
        if not (at and re.fullmatch(NAME_PATTERN, name) and "/" not in which):
            return self._unpublished(model)
        if which.isdecimal():
            return self._version(name, int(which))
        versions = self.versions(name)
        for version in versions:
            if which in version.aliases:
                return version
        aliases = [f"{alias} -> {v.version}" for v in versions for alias in v.aliases]
        raise ModelError(
            f"{name} has no alias '{which}' (found: {', '.join(aliases) or 'none'}; versions "
            f"{_numbers(versions)}); set it with: bigmodel models promote {versions[-1]} {which}"
        )

    def list(self) -> tuple[Version, ...]:
        """All versions of all models, by name and number."""
        return published(self._records())

    def versions(self, name: str) -> tuple[Version, ...]:
        """All versions of a model, oldest first, at least one."""
        versions = published(self._records(name))
        if not versions:
            names = sorted({version.name for version in self.list()})
            remedy = "train one, or give the right --storage"
            raise ModelError(
                f"no model '{name}' in {self._uri or folder(self._storage).uri} "
                f"(found: {', '.join(names) or 'none'}); "
                f"{remedy if self._uri else remedy + ' or set MLFLOW_TRACKING_URI'}"
            )
        return versions

    def moves(self, name: str) -> tuple[Move, ...]:
        """Every attempt to move an alias or delete a version, oldest first, and whether it held."""
        return replay(self._records(name + MOVES))

    def current(self, name: str, alias: str) -> int | None:
        """The version an alias stands at after all moves; what `promote` should expect.

        None where it stands nowhere, or at a version that MLflow's own page deleted.
        """
        stood = self._stood(name, alias)
        return stood if stood in self._there(name) else None

    def promote(
        self,
        name: str,
        alias: str,
        *,
        to: int,
        expected: int | None,
        why: str,
        numbers: dict[str, Any],
    ) -> Version:
        """Point an alias at version `to`, unless somebody moved it away from `expected` meanwhile.

        The move is appended first; its place in the order of moves decides, on which all agree.
        """
        if not re.fullmatch(r"(?!latest$|v?\d+$)[A-Za-z0-9_-]{1,63}", alias, re.IGNORECASE):
            raise RecipeError(
                f"'{alias}' can't be an alias; take letters, digits, - and _, "
                "but not 'latest' and not a number"
            )
        self._version(name, to)  # which is there, or the name of one that is
        stood = self._stood(name, alias)
        if to == expected == stood:
            self._settle(name, alias)  # a promotion that was cut short left the alias behind
            return self._version(name, to)
        if expected is None and stood not in self._there(name):
            expected = stood  # which was deleted, so that it stands nowhere
        said = {"alias": alias, "expected": expected, "to": to, "why": why, "numbers": numbers}
        move = self._move(name, said)
        if not move.held:
            raise ModelError(lost(name, move, self.moves(name)))
        return self._version(name, to)

    def rollback(self, name: str, alias: str = CHAMPION) -> Version:
        """Point an alias at where it was last, of what is still there (twice: as it was)."""
        there = {version.version for version in self.versions(name)}
        now = self.current(name, alias)
        places = [move.expected for move in reversed(self._held(name, alias))]
        before = next((place for place in places if place in there - {now}), None)
        if before is None:
            raise ModelError(
                f"{name}: nothing to roll back, '{alias}' has stood at no other version that is "
                f"still there; move it with: bigmodel models promote {name}@N {alias}"
            )
        return self.promote(name, alias, to=before, expected=now, why="rollback", numbers={})

    def delete(self, name: str, version: int, *, force: str | None = None) -> None:
        """Take a version out of the registry; its artefact's files stay.

        ModelError where an alias stands at it. `force`, a reason, takes the aliases away first,
        only the champion's never. The deletion is a move, so that of it and a promotion at the
        same time one is told.
        """
        standing = {move.alias: move.to for move in self.moves(name) if move.held}
        aliases = {alias for alias, to in standing.items() if to == version}
        aliases.update(self._version(name, version).aliases)
        if aliases and (force is None or CHAMPION in aliases):
            raise ModelError(_stays(name, version, aliases))
        why = force or "deleted by hand"
        said: dict[str, Any] = {"expected": version, "to": None, "why": why, "numbers": {}}
        for alias in sorted(aliases):
            self._move(name, {"alias": alias, **said})
        if not self._move(name, {"alias": "", **said}).held:
            raise ModelError(_stays(name, version, self._version(name, version).aliases))
        with answering(self._storage, self._uri):
            self._client.delete_model_version(name, str(version))

    @cached_property
    def _client(self) -> Any:
        return outbox.reach(self._storage, self._uri)

    def _version(self, name: str, number: int) -> Version:
        versions = self.versions(name)
        for version in versions:
            if version.version == number:
                return version
        raise ModelError(
            f"{name} has no version {number} (found: {_numbers(versions)}); name one of these"
        )

    def _there(self, name: str) -> set[int]:
        return {record.version for record in self._records(name)}

    def _stood(self, name: str, alias: str) -> int | None:
        """Where the moves left an alias, be the version there or not."""
        held = self._held(name, alias)
        return held[-1].to if held else None

    def _move(self, name: str, said: Mapping[str, Any]) -> Move:
        """Append a move, let MLflow's alias follow, and find what became of it."""
        who = f"{user()}@{socket.gethostname()}"
        tags = {"move": json.dumps({**said, "who": who}, ensure_ascii=False)}
        place = self._append(name + MOVES, source_of("/moves"), tags=tags)
        if said["alias"]:
            self._settle(name, said["alias"])
        return next(move for move in self.moves(name) if move.place == place)

    def _held(self, name: str, alias: str) -> tuple[Move, ...]:
        return tuple(move for move in self.moves(name) if move.held and move.alias == alias)

    def _settle(self, name: str, alias: str) -> None:
        """Make MLflow's alias what the moves say.

        MLflow keeps the last write, so whoever writes looks at the moves again afterwards: the
        last writer of several leaves the right value.
        """
        with answering(self._storage, self._uri):
            while (to := self.current(name, alias)) != self._shown(name, alias):
                if to:
                    self._client.set_registered_model_alias(name, alias, str(to))
                else:
                    self._client.delete_registered_model_alias(name, alias)

    def _shown(self, name: str, alias: str) -> int | None:
        """Where MLflow has an alias."""
        found = (one.version for one in self._records(name) if alias in one.aliases)
        return next(found, None)

    def _append(self, name: str, source: str, *, tags: dict[str, str], run_id: str = "") -> int:
        with answering(self._storage, self._uri):
            return append(self._client, name, source, tags=tags, run_id=run_id)

    def _records(self, name: str | None = None) -> Sequence[Record]:
        if self._uri is None:
            return read_database(database(self._storage), name)
        with answering(self._storage, self._uri):
            return read_client(self._client, name)

    def _way_to(self, name: str) -> str:
        """The versions of a model that was given by its bare name; "" where there is no such."""
        known = re.fullmatch(NAME_PATTERN, name) and published(self._records(name))
        return f"the model {name} has the versions {_numbers(known)}: " if known else ""

    def _unpublished(self, uri: str) -> Version:
        place = folder(uri)
        try:
            digest = json.loads(place.read("manifest.json"))["sha256"]
            name = json.loads(place.read("recipe.json"))["name"]
            metrics = json.loads(place.read("metrics.json"))
        except OSError:
            raise ModelError(
                f"{uri}: no artefact there; {self._way_to(uri)}give an artefact's folder or URI, "
                "name@3 or name@champion"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{uri}: damaged artefact ({error}); train or copy it again") from None
        return Version(name, 0, place.uri, digest, (), metrics, "", "")


def _numbers(versions: Sequence[Version]) -> str:
    return ", ".join(str(version.version) for version in versions)


def _stays(name: str, version: int, aliases: Iterable[str]) -> str:
    what = ", ".join(sorted(aliases)) or "promoted meanwhile"
    remedy = "promote another version first"
    if CHAMPION not in aliases:
        remedy += f", or take it away with: bigmodel models delete {name}@{version} --force WHY"
    return f"{name}@{version} is {what} and stays; {remedy}"
