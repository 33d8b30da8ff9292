"""`bigmodel jobs`: list, status, logs, stop."""

import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import BigModelError, ClusterError, RecipeError
from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.cluster.dashboard import Dashboard
    from bigmodel.cluster.job_records import Record
    from bigmodel.cluster.job_table import Job

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STOP = 60.0
SECONDS_TO_BEGIN = 10.0
"""What waits for longer than this waits for a CPU; Ray stops it when it gets one."""


@click.group()
def main() -> None:
    """What was submitted to a cluster: list, status, logs, stop."""


def _at_cluster(function: Callable[..., Any]) -> Callable[..., Any]:
    cluster = click.option(
        "--cluster",
        envvar="BIGMODEL_CLUSTER",
        metavar="ADDRESS",
        help="The Ray cluster at http://HOST:8265.  [default: $BIGMODEL_CLUSTER, else what the "
        "storage tells]",
    )
    insecure = click.option(
        "--insecure", is_flag=True, help="Let the token cross a network unencrypted."
    )
    return cluster(insecure(function))


def _show_list(result: list[dict[str, Any]]) -> "RenderableType":
    from rich.table import Table

    if not result:
        return "no jobs yet; submit one with: bigmodel train RECIPE --cluster ADDRESS"
    titles = ("id\nwho", "verb\nrecipe", "when", "state\nstage", "model")
    grid = Table(*titles, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in grid.columns:
        column.overflow = "fold"  # an id is copied whole, and 80 columns hold all of this
    for row in result:
        grid.add_row(
            f"{row['id']}\n{row['who']}",
            f"{row['verb']}\n{row['recipe']}",
            _here(row["when"])[:-3],
            f"{row['state']}\n{row['reason'] if row['state'] == 'PENDING' else row['stage']}",
            row["model"],
        )
    return grid


def _show_one(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    times = {name: _here(result[name]) for name in ("when", "ended")}
    known = {name.replace("_", " "): value for name, value in (result | times).items()}
    events = known.pop("events")
    known = {name: value for name, value in known.items() if value not in (None, "")}
    if not events:
        return table(known)
    grid = Table("when", "stage", "", title="What it said", title_justify="left")
    for event in events:
        grid.add_row(_here(event["at"]), event["stage"], event["what"])
    return Group(table(known), grid)


def _here(time: str | None) -> str:
    """A time of the table in this machine's zone; "" without one."""
    return f"{datetime.fromisoformat(time).astimezone():%m-%d %H:%M:%S}" if time else ""


def _pour(result: Iterator[str]) -> "RenderableType":
    """The log as it is, whatever the width of the terminal."""
    from rich.console import Group

    for text in result:
        click.echo(text, nl=False)
    return Group()


@_at_cluster
def list_jobs(*, storage: str, cluster: str | None, insecure: bool) -> list[dict[str, Any]]:
    """All jobs that a cluster knows, or that left a record in the storage; the newest first."""
    from bigmodel.cluster.job_table import jobs_there

    there = _reached(cluster, insecure, storage)
    client = there.client if there else None
    return [_row(job) for job in jobs_there(client, storage, given=_given())]


@click.argument("id", metavar="ID")
@_at_cluster
def status(*, storage: str, id: str, cluster: str | None, insecure: bool) -> dict[str, Any]:
    """How far a job is, or how it ended, and what it said on the way."""
    return _status(_reached(cluster, insecure, storage), storage, id)


@click.argument("id", metavar="ID")
@click.option("--follow", is_flag=True, help="Until the job's end.")
@_at_cluster
def logs(*, storage: str, id: str, follow: bool, cluster: str | None, insecure: bool) -> Any:
    """What a job wrote, whole; from the cluster, or from the storage where that has it no more."""
    from bigmodel.cluster.job_logs import log_there

    there = _reached(cluster, insecure, storage)
    client = there.client if there else None
    text = log_there(client, storage, id, given=_given(), follow=follow)
    as_json = click.get_current_context().params["as_json"]
    return {"id": id, "log": "".join(text)} if as_json else text


@click.argument("id", metavar="ID")
@_at_cluster
def stop(*, storage: str, id: str, cluster: str | None, insecure: bool) -> dict[str, Any]:
    """End a job, and wait until it has ended."""
    from bigmodel.cluster.dashboard import connect
    from bigmodel.cluster.job_records import check_id

    check_id(id)
    if not cluster:
        raise RecipeError("only a cluster can stop a job; name it with --cluster")
    there = connect(cluster, insecure=insecure)
    there.client.stop_job(id)
    asked = time.monotonic()
    while (found := _status(there, storage, id))["state"] in ("PENDING", "RUNNING"):
        if found["state"] == "PENDING" and time.monotonic() > asked + SECONDS_TO_BEGIN:
            return found | {"reason": "waits for a CPU, and is stopped when it gets one"}
        if time.monotonic() > asked + SECONDS_TO_STOP:
            raise ClusterError(
                f"the job {id} was asked to stop and goes on after {SECONDS_TO_STOP:.0f} s; look "
                f"at what it does with: bigmodel jobs logs {id}"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return found


def _reached(cluster: str | None, insecure: bool, storage: str) -> "Dashboard | None":
    """None where none is named, or where one that doesn't answer left records in the storage."""
    from bigmodel.cluster.dashboard import connect
    from bigmodel.cluster.job_records import all_records

    if not cluster:
        return None
    known = False
    try:
        return connect(cluster, insecure=insecure)
    except ClusterError as error:
        with suppress(BigModelError):  # it too may be out of reach
            known = bool(all_records(storage))
        if not known:
            raise
        log.warning("%s; this is what %s knows", error, storage)
        return None


def _given() -> bool:
    """Did the user say where the records are?"""
    said = click.get_current_context().params["storage"] or os.environ.get("BIGMODEL_STORAGE")
    return bool(said)


def _status(there: "Dashboard | None", storage: str, id: str) -> dict[str, Any]:
    from bigmodel.cluster.job_table import job_there

    job, record = job_there(there.client if there else None, storage, id, given=_given())
    events = record.model_dump(mode="json")["events"] if record else []
    command = _command(record) if record else None
    more = {"note": job.note, "command": command, "go_on": _way_on(job), "events": events}
    return _row(job) | more


def _command(record: "Record") -> str | None:
    """What was called; None of a recipe that travelled, whose path there means nothing here."""
    from bigmodel.cluster.packing import FOLDER

    if record.mark and any(word.startswith(f"{FOLDER}/") for word in record.argv[1:2]):
        return None
    return shlex.join(["bigmodel", record.verb, *record.argv[1:]])


def _row(job: "Job") -> dict[str, Any]:
    times = {"when": job.when, "ended": job.ended}
    written = {name: at and at.isoformat(timespec="seconds") for name, at in times.items()}
    return {name: value for name, value in asdict(job).items() if name != "note"} | written


def _way_on(job: "Job") -> str | None:
    """How to go on with a job that was cut off; None where there is nothing to go on from."""
    from bigmodel.storage import folder
    from bigmodel.training.told import GO_ON

    if not job.run or job.state not in ("FAILED", "STOPPED", "LOST"):
        return None
    root = folder(job.storage)
    kept = root.child(f"runs/{job.run}").exists("run.json")
    searched = root.child(f"searches/{job.run}").exists("search.json")
    return GO_ON.format(job.run) if kept or searched else None


main.add_command(verb(show=_show_list)(list_jobs), "list")
main.add_command(verb(show=_pour)(logs), "logs")
for _function in (status, stop):
    main.add_command(verb(show=_show_one)(_function), _function.__name__)


if __name__ == "__main__":
    main()
