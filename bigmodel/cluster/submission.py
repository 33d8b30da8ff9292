"""Jobs on a cluster: how one is submitted, and how its end is heard of here."""

import json
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bigmodel
from bigmodel.cluster.dashboard import connect
from bigmodel.cluster.packing import Luggage, stage
from bigmodel.cluster.session import RESULT_MARK
from bigmodel.errors import ClusterError

OUR_EXIT_CODES = (0, 1, 2, 3, 4, 5, 130)
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_WITHOUT_A_LOOK = 30.0


@dataclass(frozen=True)
class Submission:
    """A job on a cluster."""

    id: str
    address: str
    mark: str
    client: Any


def submit(verb: str, luggage: Luggage, address: str, *, insecure: bool = False) -> Submission:
    """Start `python -m jobs.<verb>` with `luggage` on the cluster at `address`.

    RecipeError for an address that we don't send a token to, ClusterError where none answers or
    the token is refused.
    """
    dashboard = connect(address, insecure=insecure)
    name = f"bigmodel-{verb}-{luggage.name}-{secrets.token_hex(4)}"
    mark = f"{name}-{secrets.token_hex(16)}:"
    with tempfile.TemporaryDirectory(prefix="bigmodel-") as folder:
        stage(luggage, Path(folder))
        dashboard.client.submit_job(
            entrypoint=shlex.join(["python", "-m", f"jobs.{verb}", *luggage.arguments]),
            submission_id=name,
            entrypoint_num_cpus=1,  # else the driver would sit on the head, however full it is
            metadata={"verb": verb, "name": luggage.name, "bigmodel": bigmodel.__version__},
            runtime_env={"working_dir": folder, "env_vars": {RESULT_MARK: mark}},
        )
    return Submission(name, dashboard.address, mark, dashboard.client)


def follow(submission: Submission, say: Callable[[str], None]) -> tuple[int, Any]:
    """Pass on the job's log line by line until it ended; its exit code and its result.

    The whole log is fetched each time: Ray's own way of following one loses the last lines.
    """
    said, ended, result = 0, False, None
    while not ended:
        info, log = _look_at(submission)
        ended = info.status.is_terminal()
        lines = _own_lines(log, submission.id)
        if not (ended and lines[-1]):
            lines.pop()  # what follows the last line's end: nothing, or a line half-written
        for line in lines[said:]:
            if line.startswith(submission.mark):
                result = json.loads(line.removeprefix(submission.mark))
            else:
                say(line)
        said = len(lines)
        if not ended:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    code = info.driver_exit_code
    if code not in OUR_EXIT_CODES or (code == 0 and result is None):
        why = (info.message or "no reason given").partition("\n")[0]
        raise ClusterError(f"the job {submission.id} was lost on {submission.address}: {why}")
    return code, result


def _look_at(submission: Submission) -> tuple[Any, str]:
    """The job's state and its log; ClusterError where the cluster is away for more than a while."""
    deadline = time.monotonic() + SECONDS_WITHOUT_A_LOOK
    while True:
        try:
            info = submission.client.get_job_info(submission.id)
            return info, submission.client.get_job_logs(submission.id)
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"{error}; the job {submission.id} goes on there") from None
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _own_lines(log: str, job: str) -> list[str]:
    """What the job itself wrote, after Ray's announcement of it; never empty."""
    _, _, after = log.partition(f"Running entrypoint for job {job}:")
    return after.partition("\n")[2].split("\n")
