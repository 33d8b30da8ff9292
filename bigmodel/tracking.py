"""Runs in MLflow: what was trained, from which recipe and data, by which code, and how well."""

import fcntl
import getpass
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import bigmodel
from bigmodel import outbox
from bigmodel.config import Recipe
from bigmodel.connection import Away, alone, answering, database, open_client, server
from bigmodel.errors import ClusterError, RecipeError
from bigmodel.outbox import OURS, Entry
from bigmodel.recipe import settings_of, to_toml
from bigmodel.storage import folder, nearest

__all__ = ["Run", "answering", "check_place", "database", "open_client", "run", "server"]

log = logging.getLogger(__name__)

LONGEST_PARAM = 6000
"""MLflow's own bound; what is longer is cut, the run's `recipe.toml` has the whole."""

SUBMITTED_FROM = "BIGMODEL_SUBMITTED_FROM"
"""Set for a submitted job: JSON with the submitter's `torch`, and the tags of its checkout."""

PACKAGES = ("ray", "torch", "rjieba", "jieba", "numpy", "scikit-learn", "mlflow")


class Run:
    """One run; what is logged is kept here and told to MLflow at its end.

    `run_id` is MLflow's, or begins with "kept-" while its server is away.
    """

    def __init__(self, client: Any, storage: str, uri: str | None, entry: Entry) -> None:
        self._client, self._storage, self._uri = client, storage, uri
        self._metrics: list[tuple[str, float, int, int]] = []
        self._tags: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._name = entry.name
        self.run_id = entry.run

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep the values that belong to a step (an epoch), with the time of this call."""
        now = _now()
        self._metrics += [(key, float(value), now, step) for key, value in metrics.items()]

    def tag(self, **tags: str) -> None:
        """Keep facts that were not known when the run began, such as `data_id`."""
        self._tags |= tags

    def attach(self, name: str, text: str) -> None:
        """Keep a file of text, such as a report."""
        self._files[name] = text

    def _end(self, status: str) -> None:
        entry = Entry(
            self.run_id,
            self._name,
            tags=self._tags,
            metrics=self._metrics,
            files=self._files,
            status=status,
            ended=_now(),
        )
        if not outbox.tell(self._client, self._storage, self._uri, entry):
            log.warning(
                "MLflow at %s didn't take run %s; it is kept in %s, and is sent by the next "
                "command that reaches it",
                self._uri,
                self.run_id,
                outbox.place_of(self._storage),
            )


@contextmanager
def run(recipe: Recipe, storage: str, *, verb: str, resume: str | None = None) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED on an error, or KILLED when the user stops it.

    `resume`: the id of one that has ended otherwise, and now goes on; RecipeError where it lives.
    While the server is away the run goes on and is kept under the storage, for `outbox.upload`.
    """
    uri = server(recipe.tracking.uri)
    client = outbox.reach(storage, uri)
    _end_the_dead(client, storage, uri)
    if resume:
        entry = _again(client, recipe, storage, uri, resume)
    else:
        entry = _begin(client, recipe, storage, uri, verb)
    current = Run(client, storage, uri, entry)
    with _living(storage, uri, entry):
        try:
            yield current
        except BaseException as error:
            try:
                current._end("FAILED" if isinstance(error, Exception) else "KILLED")
            except Exception as second:  # the first error is the one to tell
                log.warning("run %s could not be closed in MLflow: %s", current.run_id, second)
            raise
        current._end("FINISHED")


def attach(
    recipe: Recipe, storage: str, run_id: str, *, files: Mapping[str, str], **metrics: float
) -> None:
    """Add files of text and scores to a run that has ended, as its evaluation does.

    A run that is gone, or MLflow's refusal, is a warning: what was found stands elsewhere too.
    """
    uri = server(recipe.tracking.uri)
    client = outbox.reach(storage, uri)
    points = [(key, float(value), _now(), 0) for key, value in metrics.items()]
    entry = Entry(run_id, recipe.name, metrics=points, files=files)
    try:
        outbox.tell(client, storage, uri, entry)
    except ClusterError as refusal:
        log.warning("nothing was added to run %s: %s", run_id, refusal)


def check_place(recipe: Recipe) -> None:
    """RecipeError where a run has no place to be recorded, or its model none; asks no server."""
    if not server(recipe.tracking.uri):
        database(recipe.storage)
    if place := folder(recipe.storage).local:
        there = nearest(place)
        if not os.access(there, os.W_OK, effective_ids=True):
            raise RecipeError(
                f"storage is {place}, and {there} can't be written; give access there, "
                "or name another place"
            )


def _begin(client: Any, recipe: Recipe, storage: str, uri: str | None, verb: str) -> Entry:
    entry = Entry(
        OURS + uuid.uuid4().hex,
        recipe.name,
        verb=verb,
        started=_now(),
        params=flat(recipe),
        tags=facts(recipe),
        files={"recipe.toml": to_toml(recipe)},
    )
    try:
        with answering(storage, uri):
            entry = replace(entry, run=outbox.create(client, replace(entry, run=""), storage))
            outbox.send(client, entry, storage)
    except Away as away:
        outbox.keep(storage, entry)
        log.warning("%s; the run goes on without it", away)
    return entry


def check_stopped(storage: str, run_id: str) -> None:
    """RecipeError where a process holds the run."""
    if is_living(storage, run_id):
        raise RecipeError(
            f"--resume {run_id}: the run is going on right now; wait for its end, or stop it first"
        )


def _again(client: Any, recipe: Recipe, storage: str, uri: str | None, run_id: str) -> Entry:
    check_stopped(storage, run_id)
    entry = Entry(run_id, recipe.name)
    try:
        with answering(storage, uri):
            if known := outbox.known_run(client, run_id, recipe.name, storage):
                client.update_run(known, status="RUNNING")
    except Away as away:
        log.warning("%s; the run goes on without it", away)
    return entry


def is_living(storage: str, run_id: str) -> bool:
    """Does a process of this machine hold the run? An object store has no locks, and never says."""
    marks = _marks(storage)
    with suppress(FileNotFoundError):
        if marks:
            with (marks / run_id).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
    return False


@contextmanager
def _living(storage: str, uri: str | None, entry: Entry) -> Iterator[None]:
    """Hold a lock while a run goes on, of which the system lets go however the process ends.

    An object store has no locks: there a run whose process was killed stays RUNNING.
    """
    marks = _marks(storage)
    if not marks:
        yield
        return
    mark = marks / entry.run
    with answering(storage, uri), alone(marks.parent):
        check_stopped(storage, entry.run)  # of two that resume it at once, one goes on
        marks.mkdir(parents=True, exist_ok=True)
        aside = marks.with_name(f"{entry.run}.starting")
        file = aside.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"uri": uri, "name": entry.name}))
        file.flush()
        aside.rename(mark)  # nobody sees one that is not yet locked and written
    with file:
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def _end_the_dead(client: Any, storage: str, uri: str | None) -> None:
    """Mark the runs as KILLED whose processes were; a mark that says nothing is only removed."""
    marks = _marks(storage)
    for mark in sorted(marks.glob("*")) if marks else ():
        with suppress(FileNotFoundError), mark.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not os.fstat(file.fileno()).st_nlink:  # the run ended just now
                continue
            said = json.loads(file.read() or "{}")
            if said and said["uri"] != uri:
                continue
            if said:
                entry = Entry(mark.name, said["name"], status="KILLED", ended=_now())
                try:
                    outbox.tell(client, storage, uri, entry)
                except ClusterError as error:  # such as a database that was deleted since
                    log.warning("run %s is not marked as killed: %s", mark.name, error)
            mark.unlink()


def _marks(storage: str) -> Path | None:
    return folder(storage).child("mlflow").child("running").local


def _now() -> int:
    return time.time_ns() // 1_000_000


def flat(recipe: Recipe) -> dict[str, str]:
    """A recipe as MLflow's parameters, long values cut."""
    return {
        key: text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 1] + "…"
        for key, text in settings_of(recipe).items()
    }


def facts(recipe: Recipe) -> dict[str, str]:
    """What else it takes to repeat a run: who, the code, the packages and the seed."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "mlflow.user": user(),
        "bigmodel": bigmodel.__version__,
        "python": platform.python_version(),
        "seed": str(recipe.seed),
        **packages,
        **checkout(),
    }


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that no password file knows
        return str(os.getuid())


def checkout() -> dict[str, str]:
    """The commit checked out in the current folder, and whether files differ from it; in a
    submitted job those of where it came from. Nothing where there is no checkout."""
    if told := os.environ.get(SUBMITTED_FROM):
        return {key: value for key, value in json.loads(told).items() if "git" in key}

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):  # no git, or not in a checkout
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}
