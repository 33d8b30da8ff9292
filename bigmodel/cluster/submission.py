"""Jobs that are submitted: each is started once, whatever becomes of the connection meanwhile."""

import getpass
import logging
import platform
import secrets
import shlex
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import bigmodel
from bigmodel import progress
from bigmodel.cluster import uploads, versions
from bigmodel.cluster.dashboard import Away, Dashboard, NoSuchJob, connect
from bigmodel.cluster.line import after, in_line
from bigmodel.cluster.packing import Luggage, check_size, stage, travels
from bigmodel.cluster.session import RESULT_MARK
from bigmodel.errors import ClusterError
from bigmodel.steady import STEADY

log = logging.getLogger(__name__)

DRIVER_CPUS = 0.1
"""Of a job's own process, which mostly waits: more would let the processes of many jobs fill a
small cluster, and none of their work find room. None at all would put it on the head."""

SECONDS_TO_STOP = 30
"""For a job that is told to end: a training keeps a last checkpoint first. Ray gives it 3."""

SECONDS_TO_BE_SURE = 90.0
"""Longer than anybody's patience with a cluster: what may have been started isn't sent again."""

SECONDS_TO_WITHDRAW = 5.0
SECONDS_BETWEEN_TRIES = 1.0

NONCE = "nonce"

TAKEN = "already exists"
"""What Ray says of an id that somebody has."""


@dataclass(frozen=True)
class Submission:
    """A job on a cluster; `mark` begins the lines of its log that are for us."""

    id: str
    mark: str
    dashboard: Dashboard


def submit(
    verb: str, luggage: Luggage, address: str, *, max_jobs: int, insecure: bool = False
) -> Submission:
    """Start `python -m jobs.<verb>` with `luggage` on the cluster at `address`, once fewer than
    `max_jobs` of ours run there.

    RecipeError for an address that we don't send a token to, ClusterError where none answers or
    the token is refused.
    """
    dashboard = connect(address, insecure=insecure)
    versions.check_cluster(dashboard)
    mark, nonce = f"bigmodel-{secrets.token_hex(16)}:", secrets.token_hex(16)
    with (
        progress.stage("submit") as under_way,
        tempfile.TemporaryDirectory(prefix="bigmodel-") as folder,
    ):
        uploads.send(luggage.uploads, under_way)
        stage(luggage, Path(folder))
        check_size(Path(folder))
        under_way.say(f"travels: {travels(luggage, Path(folder))}")
        terms = {
            "entrypoint": shlex.join(["python", "-m", f"jobs.{verb}", *luggage.arguments]),
            "entrypoint_num_cpus": DRIVER_CPUS,
            "entrypoint_label_selector": STEADY,
            "metadata": {**_facts(verb, luggage), NONCE: nonce},
            "runtime_env": {
                "working_dir": folder,
                "env_vars": {
                    RESULT_MARK: mark,
                    "RAY_JOB_STOP_WAIT_TIME_S": str(SECONDS_TO_STOP),
                    **versions.variables(),
                },
            },
        }
        return Submission(
            in_line(dashboard, max_jobs, partial(_start, dashboard, terms)), mark, dashboard
        )


def _facts(verb: str, luggage: Luggage) -> dict[str, str]:
    """What the job table is to say of a job."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return {
        "verb": verb,
        "name": luggage.name,
        "who": f"{user}@{platform.node()}",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "bigmodel": bigmodel.__version__,
    }


def _start(dashboard: Dashboard, terms: dict[str, Any], job: str) -> str | None:
    """The id of the job that is ours now; None where somebody else was quicker.

    Where the connection breaks, the cluster may have heard us or not: the same id is asked for
    again until it is known, and no id is taken twice. Ray itself may lose its own answer as it
    writes a job down, take the id for somebody else's, and never start it: the next one is asked
    for in its place.
    """
    deadline = time.monotonic() + SECONDS_TO_BE_SURE
    heard = False
    try:
        while True:
            try:
                dashboard.client.submit_job(submission_id=job, **terms)
                return job
            except ClusterError as error:
                refusal = error
            heard |= isinstance(refusal, Away)
            try:
                if not _is_ours(dashboard, job, terms):
                    return None
                if heard or TAKEN not in str(refusal):
                    return job
                job = after(job)
            except NoSuchJob:
                if not isinstance(refusal, Away):
                    raise refusal from None
            except ClusterError:  # nor is that known yet
                heard = True
            if time.monotonic() > deadline:
                raise ClusterError(f"{refusal}; {_in_doubt(job)}")
            time.sleep(SECONDS_BETWEEN_TRIES)
    except KeyboardInterrupt:
        _withdraw(dashboard, job, terms)
        raise


def _in_doubt(job: str) -> str:
    return f"whether the job {job} was started isn't known: see bigmodel jobs status {job}"


def _is_ours(dashboard: Dashboard, job: str, terms: dict[str, Any]) -> bool:
    there: dict[str, str] = dashboard.client.get_job_info(job).metadata or {}
    ours: str = terms["metadata"][NONCE]
    return there.get(NONCE) == ours


def _withdraw(dashboard: Dashboard, job: str, terms: dict[str, Any]) -> None:
    """Stop a job that was asked for while the user thought otherwise; it may come up late."""
    deadline = time.monotonic() + SECONDS_TO_WITHDRAW
    known = False
    while time.monotonic() < deadline:
        try:
            if _is_ours(dashboard, job, terms):
                dashboard.client.stop_job(job)
            return
        except NoSuchJob:
            known = True
        except ClusterError:
            known = False
        time.sleep(SECONDS_BETWEEN_TRIES)
    if not known:
        log.warning("%s", _in_doubt(job))
