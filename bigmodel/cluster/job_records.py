"""What jobs keep of themselves under the storage, to be read when their cluster is gone.

`jobs/<id>/job.json` says who started what, how far it is and how it ended; `jobs/<id>/log` is its
log, in parts of the same size.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel

from bigmodel.errors import RecipeError
from bigmodel.storage import Folder, folder

ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Of a job: ours, and every one that Ray makes up."""

PART = 131_072
"""Bytes of a part of a log. The last one is written anew as it grows: a day's quiet job has a dozen
of them, and nothing of a log is ever moved or removed, so that it can be read meanwhile."""

SAID = re.compile(r"^bigmodel: (.+)$", re.MULTILINE)
"""A sentence of ours in a log, of which the last one says why a job failed."""

FOLDER = "jobs"
ABOUT = "job.json"
READERS = 16


class Happened(BaseModel, frozen=True):
    """A stage that "begins" or "ended", or a sentence that was said in it."""

    at: AwareDatetime
    stage: str
    what: str


class Record(BaseModel, frozen=True):
    """What is known of a job by itself. `name` is its recipe's or model's; `seen` when it last said
    that it lives; `why` the sentence that it failed with; `run` what `--resume` takes."""

    id: str
    verb: str
    name: str
    who: str = ""
    argv: tuple[str, ...] = ()
    bigmodel: str
    mark: str = ""
    """What the line of the log with its result begins with."""
    source: str = ""
    """The log's path on the job's machine, which another job of this id doesn't share."""
    began: AwareDatetime
    seen: AwareDatetime
    stopping: bool = False
    """It was asked to stop."""
    ended: AwareDatetime | None = None
    code: int | None = None
    why: str = ""
    stage: str = ""
    note: str = ""
    run: str | None = None
    model: str | None = None
    events: tuple[Happened, ...] = ()


def now() -> datetime:
    return datetime.now(UTC)


def check_id(job: str) -> None:
    """RecipeError for what can be no job's id, and would lead out of its folder."""
    if not ID.fullmatch(job):
        raise RecipeError(
            f"{job!r} is no job's id; take one as it stands in: bigmodel jobs list (letters, "
            "digits, and _ . - between them)"
        )


def place_of(storage: str, job: str) -> Folder:
    """The folder of a job's record; RecipeError as `check_id`."""
    check_id(job)
    return folder(storage).child(f"{FOLDER}/{job}")


def write_record(place: Folder, record: Record) -> None:
    place.write(ABOUT, record.model_dump_json(indent=1).encode())


def read_record(place: Folder) -> Record | None:
    """None where there is none, or what is there isn't one."""
    with suppress(FileNotFoundError, ValueError):
        return Record.model_validate_json(place.read(ABOUT))
    return None


def put_aside(place: Folder, record: Record) -> None:
    """Give a record another id, that of a job of another cluster: what it holds stays readable."""
    other = record.model_copy(update={"id": f"{record.id}.{record.began:%Y%m%dT%H%M%S}"})
    there = place.parent.child(other.id)
    for name in place.names():
        there.write(name, place.read(name))
    write_record(there, other)
    place.remove()


def all_records(storage: str) -> dict[str, Record]:
    """By id, of every job that kept one there; what is damaged is left out."""
    root = folder(storage).child(FOLDER)
    jobs = [name.partition("/")[0] for name in root.names() if name.endswith(f"/{ABOUT}")]
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda job: read_record(root.child(job)), jobs)
    return {record.id: record for record in found if record}


def name_of_part(number: int) -> str:
    return f"log/{number:06d}"


def read_log(place: Folder, start: int = 0) -> Iterator[bytes]:
    """The log from that byte on, as far as it is there; nothing where there is none."""
    sizes = place.sizes()
    number, skip = divmod(start, PART)
    while sizes.get(name_of_part(number), 0) > skip:
        part = place.read(name_of_part(number))
        yield part[skip:]
        if len(part) < PART:
            return
        number, skip = number + 1, 0
