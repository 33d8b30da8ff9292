"""The jobs that there are: a cluster's own table and the records in storage, as one."""

import logging
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bigmodel.cluster.dashboard import NoSuchJob
from bigmodel.cluster.job_ends import INTERRUPTED, State, state_of
from bigmodel.cluster.job_records import Record, all_records, now, place_of, read_record
from bigmodel.errors import BigModelError, ClusterError

log = logging.getLogger(__name__)

SILENT_FOR = timedelta(seconds=120)
"""A job that was not heard of for so long isn't there any more; it says something each half a
minute, and clocks differ."""

UNREAD = "%s; what the cluster itself says of its jobs is all that is shown"

VERB = re.compile(r"(?:-m\s+jobs\.|(?:^|[\s/])bigmodel\s+)([a-z]+)")


@dataclass(frozen=True)
class Job:
    """A job of ours as it stands; LOST where its process or machine died without a word of ours.

    `recipe`: the name of its recipe or model; `storage`: where its record is; `run`: what
    `--resume` takes.
    """

    id: str
    verb: str
    recipe: str
    who: str
    when: datetime | None
    state: State
    storage: str
    reason: str = ""
    stage: str = ""
    note: str = ""
    run: str | None = None
    model: str | None = None
    code: int | None = None
    ended: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.state not in ("PENDING", "RUNNING")


def jobs_there(client: Any, storage: str, *, given: bool) -> list[Job]:
    """Of a cluster (None: of none) and of the storage, the newest first.

    Unless the storage was `given`, a job of the cluster is looked up in the one that its own
    command names.
    """
    details = (
        {one.submission_id: one for one in client.list_jobs() if is_ours(one)} if client else {}
    )
    roots = {job: _storage_of(one, storage, given) for job, one in details.items()}
    records = _known({*roots.values(), storage}) if client else {storage: all_records(storage)}
    jobs = [
        of_cluster(one, records[roots[job]].get(job), roots[job]) for job, one in details.items()
    ]
    jobs += [
        of_storage(one, storage) for job, one in records[storage].items() if job not in details
    ]
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(jobs, key=lambda job: (job.when or oldest, job.id), reverse=True)


def job_there(client: Any, storage: str, job: str, *, given: bool) -> tuple[Job, Record | None]:
    """One of these, and its record where it kept one; ClusterError where nobody knows it."""
    place = place_of(storage, job)
    if client and (details := _details(client, job)):
        root = _storage_of(details, storage, given)
        record = _record(root, job)
        return of_cluster(details, record, root), record
    if record := read_record(place):
        return of_storage(record, storage), record
    where = (
        f"the cluster has no job {job}, nor has {storage}"
        if client
        else (f"{storage} has no job {job}")
    )
    raise ClusterError(f"{where}; see which there are with: bigmodel jobs list")


def is_ours(details: Any) -> bool:
    """Was it submitted by us, or does it run a verb of ours?"""
    known = details.submission_id and ("bigmodel" in _metadata(details) or _verb(details))
    return bool(known)


def named_storage(command: str) -> str:
    """The storage that a job's command names; "" where it names none."""
    with suppress(ValueError):
        words = shlex.split(command)
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, _, value = word.partition("=")
            if name == "--storage" and (value or following):
                return value or following
    return ""


def of_cluster(details: Any, record: Record | None, storage: str) -> Job:
    """A job as a cluster's table has it; the record says how far it is."""
    metadata, code = _metadata(details), details.driver_exit_code
    state, reason = state_of(str(details.status), code, details.error_type, details.message)
    known = Job(details.submission_id, _verb(details), "", "", None, state, storage)
    if record:
        known = of_storage(record, storage)
        if state == "LOST" and record.ended:  # it was Ray that died after it
            state, reason, code = known.state, known.reason, record.code
    return replace(
        known,
        verb=metadata.get("verb") or known.verb,
        recipe=metadata.get("name") or known.recipe,
        who=metadata.get("who") or known.who,
        when=_time(details.start_time) or known.when,
        state=state,
        reason=reason,
        code=code,
        ended=_time(details.end_time),
    )


def of_storage(record: Record, storage: str) -> Job:
    """A job as it left itself, or as it was last heard of."""
    state, reason = _end_of(record)
    return Job(
        record.id,
        record.verb,
        record.name,
        record.who,
        record.began,
        state,
        storage,
        reason=reason,
        stage=record.stage,
        note=record.note,
        run=record.run,
        model=record.model,
        code=record.code,
        ended=record.ended,
    )


def _end_of(record: Record) -> tuple[State, str]:
    if record.ended is None:
        if now() - record.seen < SILENT_FOR:
            return "RUNNING", ""
        last = f"nothing was heard of it since {record.seen:%Y-%m-%d %H:%M:%S} UTC"
        if record.stopping:
            return "STOPPED", f"it was asked to stop, and {last}"
        return "LOST", last
    if record.code == 0:
        return "SUCCEEDED", ""
    if record.code == INTERRUPTED:
        return "STOPPED", ""
    return "FAILED", record.why or f"it ended with exit code {record.code}"


def _details(client: Any, job: str) -> Any:
    """None where the cluster doesn't know the job."""
    with suppress(NoSuchJob):
        return client.get_job_info(job)
    return None


def _verb(details: Any) -> str:
    """Of the command line; "" where it isn't ours."""
    found = VERB.search(details.entrypoint)
    return found[1] if found else ""


def _storage_of(details: Any, storage: str, given: bool) -> str:
    """Where a job keeps its record: what its command says, unless the user knows better."""
    return ("" if given else named_storage(details.entrypoint)) or storage


def _metadata(details: Any) -> Mapping[str, str]:
    return details.metadata or {}


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _known(storages: Iterable[str]) -> dict[str, Mapping[str, Record]]:
    """By storage and by id: none of a storage that can't be read from here, which is said once."""
    found: dict[str, Mapping[str, Record]] = {}
    refused = []
    for storage in sorted(storages):
        try:
            found[storage] = all_records(storage)
        except BigModelError as error:
            found[storage] = {}
            refused.append(error)
    if refused:
        log.warning(UNREAD, refused[0])
    return found


def _record(storage: str, job: str) -> Record | None:
    """None as well of a storage that can't be read from here, which is said."""
    try:
        return read_record(place_of(storage, job))
    except BigModelError as error:
        log.warning(UNREAD, error)
        return None
