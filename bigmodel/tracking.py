"""Runs in MLflow: what was trained, from which recipe and data, by which code, and how well."""

import fcntl
import getpass
import importlib.metadata
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import bigmodel
from bigmodel.config import Recipe
from bigmodel.errors import ClusterError, RecipeError
from bigmodel.recipe import check_secrets
from bigmodel.storage import folder

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Set before MLflow is imported, unless the user has: quiet, and soon sure that none answers."""

LONGEST_PARAM = 6000
PARAMS_A_BATCH = 100
METRICS_A_BATCH = 1000
"""MLflow's own bounds; what is longer than the first is cut, the artefact has the whole recipe."""


class Run:
    """One run; what is logged is kept here and written at its end, in one request."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.run_id = run_id
        self._client = client
        self._metrics: list[tuple[str, float, int, int]] = []
        self._tags: dict[str, str] = {}

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep the values that belong to a step (an epoch), with the time of this call."""
        now = time.time_ns() // 1_000_000
        self._metrics += [(key, float(value), now, step) for key, value in metrics.items()]

    def tag(self, **tags: str) -> None:
        """Keep facts that were not known when the run began, such as `data_id`."""
        self._tags |= tags

    def _end(self, status: str) -> None:
        from mlflow.entities import Metric, RunTag

        tags = [RunTag(key, value) for key, value in self._tags.items()]
        self._client.log_batch(self.run_id, tags=tags)
        for start in range(0, len(self._metrics), METRICS_A_BATCH):
            batch = [Metric(*point) for point in self._metrics[start : start + METRICS_A_BATCH]]
            self._client.log_batch(self.run_id, metrics=batch)
        self._client.set_terminated(self.run_id, status=status)


@contextmanager
def run(recipe: Recipe, storage: str, *, verb: str) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED on an error, or KILLED when the user stops it."""
    uri = server(recipe.tracking.uri)
    client = open_client(storage, uri)
    with answering(storage, uri):
        current = _begin(client, recipe, storage, verb)
    try:
        yield current
    except BaseException as error:
        try:
            current._end("FAILED" if isinstance(error, Exception) else "KILLED")
        except Exception as second:  # the first error is the one to tell
            log.warning("run %s could not be closed in MLflow: %s", current.run_id, second)
        raise
    with answering(storage, uri):
        current._end("FINISHED")


def server(given: str | None) -> str | None:
    """The MLflow server: the recipe's, else MLflow's own variable; None: a database of ours."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or None
    check_secrets(uri or "")
    return uri


def check_place(recipe: Recipe) -> None:
    """RecipeError where a run has no place to be recorded; asks no server."""
    if not server(recipe.tracking.uri):
        database(recipe.storage)


def open_client(storage: str, uri: str | None) -> Any:
    """An `MlflowClient` for the server at `uri`, or for the database under a local storage.

    Two first clients of one new database would race in its migrations, hence the lock.
    """
    address = uri or f"sqlite:///{database(storage)}"
    with answering(storage, uri):
        from mlflow import MlflowClient

        if uri:
            return MlflowClient(tracking_uri=address, registry_uri=address)
        with _alone(database(storage).parent):
            client = MlflowClient(tracking_uri=address, registry_uri=address)
            client.search_registered_models(max_results=1)  # opens the registry's side as well
        return client


def database(storage: str) -> Path:
    """Where MLflow's database stands under a local storage; other storages need a server."""
    local = folder(storage).local
    if local is None:
        raise RecipeError(
            f"storage is {storage}, where MLflow can't keep its database; "
            "set tracking.uri to an MLflow server (or MLFLOW_TRACKING_URI), "
            "or storage to a local folder"
        )
    return local / "mlflow" / "mlflow.db"


@contextmanager
def answering(storage: str, uri: str | None) -> Iterator[None]:
    """Import MLflow quietly; turn what it raises inside the block into a sentence for the user."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = str(error).strip().splitlines()[0]
        where = f"MLflow at {uri}" if uri else f"MLflow's database {database(storage)}"
        remedy = "check tracking.uri" if uri else "check that it is whole and can be written"
        raise ClusterError(f"{where} can't be used ({reason}); {remedy}") from error
    except OSError as error:
        raise ClusterError(
            f"{folder(storage).uri}: can't be written ({error.strerror or error})"
        ) from error


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if need be; other processes wait here."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _begin(client: Any, recipe: Recipe, storage: str, verb: str) -> Run:
    from mlflow.entities import Param

    created = client.create_run(
        _experiment(client, recipe.name, storage), run_name=verb, tags=facts(recipe)
    )
    params = [Param(key, value) for key, value in flat(recipe).items()]
    for start in range(0, len(params), PARAMS_A_BATCH):
        client.log_batch(created.info.run_id, params=params[start : start + PARAMS_A_BATCH])
    return Run(client, created.info.run_id)


def _experiment(client: Any, name: str, storage: str) -> str:
    """The id of the model's experiment, made on first use; its files lie under the storage."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = folder(storage).child("mlflow").child("artifacts").child(name).uri
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process was quicker, or there is a reason to tell
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def flat(section: BaseModel, prefix: str = "") -> dict[str, str]:
    """A recipe as dotted keys and short values, without what is None or of another model kind."""
    plain = section.model_dump(mode="json", by_alias=True, exclude_none=True)
    params: dict[str, str] = {}
    for key, value in section:
        if isinstance(value, BaseModel):
            if prefix != "model." or key == getattr(section, "kind", None):
                params |= flat(value, f"{prefix}{key}.")
        elif key in plain:
            text = value if isinstance(value, str) else json.dumps(plain[key], ensure_ascii=False)
            cut = text[: LONGEST_PARAM - 1] + "…"
            params[prefix + key] = text if len(text) <= LONGEST_PARAM else cut
    return params


def facts(recipe: Recipe) -> dict[str, str]:
    """What else it takes to repeat a run: who, the code, the packages and the seed."""
    packages = {name: importlib.metadata.version(name) for name in ("ray", "torch", "rjieba")}
    return {
        "mlflow.user": user(),
        "bigmodel": bigmodel.__version__,
        "seed": str(recipe.seed),
        **packages,
        **_git(),
    }


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that no password file knows
        return str(os.getuid())


def _git() -> dict[str, str]:
    """The commit checked out in the current folder, and whether files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):  # no git, or not in a checkout
        return {}
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}
