"""What runs tell MLflow: sent at once, or kept under the storage until a server takes it."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bigmodel.connection import Away, answering, open_client
from bigmodel.errors import BigModelError, ClusterError
from bigmodel.records import append, read_client
from bigmodel.storage import Folder, folder

log = logging.getLogger(__name__)

OURS = "kept-"
"""Begins the id of a run that no server knows yet; later it is that run's tag `kept_as`."""

PARENT = "mlflow.parentRunId"
"""MLflow's own tag of a run below another one, which may be one of OURS."""

PARAMS_A_BATCH = 100
METRICS_A_BATCH = 1000
"""MLflow's own bounds."""


@dataclass(frozen=True)
class Entry:
    """Something that a run tells, its beginning and its end among them; sent twice, it counts once.

    `run` is MLflow's id or one of OURS; `name` is the model's; times are in milliseconds; a metric
    is key, value, time and step; a version has its `source` and `tags`.
    """

    run: str
    name: str
    verb: str = ""
    started: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    version: Mapping[str, Any] | None = None
    status: str = ""
    ended: int | None = None


def reach(storage: str, uri: str | None) -> Any:
    """An `MlflowClient`; a server gets what was kept for one first."""
    client = open_client(storage, uri)
    if uri:
        upload(client, storage, uri)
    return client


def keep(storage: str, entry: Entry) -> Folder:
    """Write an entry where `upload` finds it, behind those that stand there: in this folder."""
    text = json.dumps(asdict(entry), ensure_ascii=False)
    place = _place(storage).child(f"{time.time_ns():020d}")
    place.write("entry.json", text.encode())
    return place


def tell(client: Any, storage: str, uri: str | None, *entries: Entry) -> bool:
    """Send entries after those before them; False if a server took not all, and they are kept."""
    if uri is None:
        with answering(storage, uri):
            for entry in entries:
                send(client, entry, storage)
        return True
    kept = [keep(storage, entry) for entry in entries]
    upload(client, storage, uri)
    return not any(place.names() for place in kept)


def upload(client: Any, storage: str, uri: str) -> bool:
    """Send what was kept, oldest first; False if the server is away. What it refuses stays.

    A server that fails on one entry but answers otherwise has refused that entry.
    """
    place = _place(storage)
    if not place.names():
        return True
    with place.locked():
        for name in place.names():
            if not name.endswith("/entry.json"):
                continue
            entry = Entry(**json.loads(place.read(name)))
            try:
                with answering(storage, uri):
                    send(client, entry, storage)
            except ClusterError as refusal:
                if isinstance(refusal, Away) and not _answers(client, storage, uri):
                    return False
                log.warning("%s/%s is not taken: %s", place.uri, name, refusal)
            else:
                place.child(name.partition("/")[0]).remove()
    return True


def _answers(client: Any, storage: str, uri: str) -> bool:
    try:
        with answering(storage, uri):
            client.search_experiments(max_results=1)
    except Away:
        return False
    return True


def send(client: Any, entry: Entry, storage: str) -> str:
    """Write an entry to MLflow, which may know parts of it; MLflow's id of the run."""
    from mlflow.entities import Metric, Param, RunTag

    if parent := entry.tags.get(PARENT):
        known = known_run(client, parent, entry.name, storage)
        entry = replace(entry, tags={**entry.tags, PARENT: known})
    run_id = known_run(client, entry.run, entry.name, storage) or create(client, entry, storage)
    params = [Param(key, value) for key, value in entry.params.items()]
    for start in range(0, len(params), PARAMS_A_BATCH):
        client.log_batch(run_id, params=params[start : start + PARAMS_A_BATCH])
    if entry.tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in entry.tags.items()])
    metrics = [Metric(*point) for point in entry.metrics]
    for start in range(0, len(metrics), METRICS_A_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_BATCH])
    for name, text in entry.files.items():
        _attach(client, run_id, name, text)
    if entry.version:
        _publish(client, entry.name, run_id, **entry.version)
    if entry.status:
        client.set_terminated(run_id, status=entry.status, end_time=entry.ended)
    return run_id


def known_run(client: Any, run: str, name: str, storage: str) -> str:
    """MLflow's id of a run, "" where none came to know one of OURS."""
    if not run.startswith(OURS):
        return run
    found = client.search_runs(
        [_experiment(client, name, storage)], f"tags.kept_as = '{run}'", max_results=1
    )
    return str(found[0].info.run_id) if found else ""


def create(client: Any, entry: Entry, storage: str) -> str:
    """Make the run that an entry tells of; MLflow's id."""
    tags = dict(entry.tags) | ({"kept_as": entry.run} if entry.run.startswith(OURS) else {})
    experiment = _experiment(client, entry.name, storage)
    made = client.create_run(
        experiment, start_time=entry.started, run_name=entry.verb or None, tags=tags
    )
    return str(made.info.run_id)


def place_of(storage: str) -> str:
    """The folder of what is kept."""
    return _place(storage).uri


def _place(storage: str) -> Folder:
    return folder(storage).child("mlflow").child("kept")


def _publish(client: Any, name: str, run_id: str, source: str, tags: dict[str, str]) -> None:
    if not any(version.source == source for version in read_client(client, name)):
        append(client, name, source, tags=tags, run_id=run_id)


def _attach(client: Any, run_id: str, name: str, text: str) -> None:
    """Put a file with a run; it isn't worth a run if the place is one that only others reach."""
    place = str(client.get_run(run_id).info.artifact_uri)
    if not place.startswith(("/", "file:", "s3:", "gs:")):
        client.log_text(run_id, text, name)
        return
    try:
        folder(place).write(name, text.encode())
    except BigModelError as error:
        log.warning("%s is not kept with the run: %s", name, error)


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
