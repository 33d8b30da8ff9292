"""The way to MLflow: a server, or a database under the storage; and what is said without it."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bigmodel.errors import ClusterError, RecipeError
from bigmodel.recipe import check_secrets
from bigmodel.storage import folder

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Set before MLflow is imported, unless the user has: quiet, and soon sure that none answers."""


class Away(ClusterError):
    """Nobody answers at the server's address, or the server itself is in trouble."""


def server(given: str | None) -> str | None:
    """The MLflow server: the recipe's, else MLflow's own variable; None: a database of ours."""
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or None
    check_secrets(uri or "")
    return uri


def open_client(storage: str, uri: str | None) -> Any:
    """An `MlflowClient` for the server at `uri`, or for the database under a local storage.

    Two first clients of one new database would race in its migrations, hence the lock.
    """
    address = uri or f"sqlite:///{database(storage)}"
    with answering(storage, uri):
        from mlflow import MlflowClient

        if uri:
            logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # names each retry
            return MlflowClient(tracking_uri=address, registry_uri=address)
        with alone(database(storage).parent):
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

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # what it logs it raises
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = _reason(error)
        if uri and _is_away(error, uri):
            raise Away(f"MLflow at {uri} doesn't answer ({reason}); check tracking.uri") from error
        where = f"MLflow at {uri}" if uri else f"MLflow's database {database(storage)}"
        remedy = "check tracking.uri" if uri else "check that it is whole and can be written"
        raise ClusterError(f"{where} can't be used ({reason}); {remedy}") from error
    except OSError as error:
        raise ClusterError(
            f"{folder(storage).uri}: can't be written ({error.strerror or error})"
        ) from error


def _is_away(error: Exception, uri: str) -> bool:
    """A server's refusal has a code of its own; these are what is left over."""
    from mlflow.exceptions import InvalidUrlException

    troubles = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
    return (
        uri.startswith("http")
        and getattr(error, "error_code", None) in troubles
        and not isinstance(error, InvalidUrlException)
    )


def _reason(error: Exception) -> str:
    """What the system said at the bottom of it, else the first line of what MLflow makes of it."""
    said = str(error).strip().splitlines()[0]
    deeper: BaseException | None = error
    while deeper and (deeper := deeper.__cause__ or deeper.__context__):
        said = getattr(deeper, "strerror", None) or said
    return said


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if need be; other processes wait here."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
