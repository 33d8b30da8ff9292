"""Following a job from here: every line that it writes, its result, and how it ended."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bigmodel.cluster.dashboard import NoSuchJob, patiently
from bigmodel.cluster.growing_log import GrowingLog
from bigmodel.cluster.job_ends import OUR_EXIT_CODES, state_of
from bigmodel.cluster.job_records import place_of, read_log
from bigmodel.cluster.job_table import named_storage
from bigmodel.cluster.session import run_mark
from bigmodel.cluster.submission import Submission
from bigmodel.errors import BigModelError, ClusterError

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_IN_SILENCE = 10.0
"""After which it is said that a job hasn't begun: from zero, its machine takes minutes to come."""

SECONDS_FOR_THE_REST = 15.0
"""After a job's end: the node that has its log may be what was lost."""


@dataclass(frozen=True)
class End:
    """How a job ended: with an exit code of ours and perhaps a result, or `lost`, and why.

    `run`: what can be gone on with, "" where it said none.
    """

    code: int = 5
    result: Any = None
    run: str = ""
    lost: str = ""


class Log:
    """A job's log as far as it was passed on, without the lines that are for us alone."""

    def __init__(self, job: Submission, say: Callable[[str], None]) -> None:
        self.job, self.say = job, say
        self._log = GrowingLog(job.dashboard.client, job.id)
        self._said = 0
        self.result: Any = None
        self.run = ""

    def look(self, command: str, *, last: bool = False) -> None:
        """Pass on what is new of what the `command` wrote; the beginning of a line only where it is
        the `last` look, for its rest will never come: nothing in it is for us."""
        self._log.look(last=last)
        self._pass_on(self._log.text, command, last=last)

    def look_at_copy(self, storage: str, command: str) -> bool:
        """The same as the last look, in what the job kept of its log in the storage; False where
        there is nothing."""
        copy = b""
        with suppress(BigModelError):  # it may be out of reach from here
            copy = b"".join(read_log(place_of(storage, self.job.id)))
        self._pass_on(copy.decode(errors="replace"), command, last=True)
        return bool(copy)

    def _pass_on(self, text: str, command: str, *, last: bool) -> None:
        announced = f"Running entrypoint for job {self.job.id}: {command}\n"
        *lines, rest = text.partition(announced)[2].split("\n")
        for line in lines[self._said :]:
            self._said += 1
            self._hear(line)
        if last and rest:
            self.say(rest.removeprefix(self.job.mark))

    def _hear(self, line: str) -> None:
        ours, run = self.job.mark, run_mark(self.job.mark)
        if line.startswith(run):
            self.run = line.removeprefix(run)
            return
        if line.startswith(ours):
            with suppress(ValueError):  # another process may have written into the same line
                self.result = json.loads(line.removeprefix(ours))
                return
        self.say(line.removeprefix(ours))


def follow(log: Log) -> End:
    """Pass on a job's log line by line until it ended; ClusterError where the cluster is away for
    more than a while.

    Its end is known before the log is fetched for the last time: Ray's own way of following one
    loses the last lines.
    """
    info = _info(log.job)
    began, silent = time.monotonic(), True
    while not info.status.is_terminal():
        state, why = state_of(info.status.value, None, None, info.message)
        if silent and state == "PENDING" and time.monotonic() > began + SECONDS_IN_SILENCE:
            silent = False
            log.say(f"the job {log.job.id} {why}")
        with suppress(ClusterError):  # the state says whether the cluster is away
            log.look(info.entrypoint)
        time.sleep(SECONDS_BETWEEN_LOOKS)
        try:
            info = _info(log.job)
        except NoSuchJob:
            return End(run=log.run, lost="its cluster was started anew")
    try:
        patiently(lambda: log.look(info.entrypoint, last=True), seconds=SECONDS_FOR_THE_REST)
    except ClusterError as error:
        storage = named_storage(info.entrypoint)
        if not (storage and log.look_at_copy(storage, info.entrypoint)):
            log.say(f"the end of its log can't be fetched ({error})")
    return _end(log, info)


def _info(job: Submission) -> Any:
    try:
        return patiently(lambda: job.dashboard.client.get_job_info(job.id))
    except NoSuchJob:
        raise
    except ClusterError as error:
        raise ClusterError(
            f"{error}; the job {job.id} may go on there: see what became of it with: bigmodel jobs "
            f"status {job.id}"
        ) from None


def _end(log: Log, info: Any) -> End:
    code, job = info.driver_exit_code, log.job
    state, why = state_of(info.status.value, code, info.error_type, info.message)
    if state == "STOPPED":
        return End(130, run=log.run)
    if state == "LOST":
        return End(run=log.run, lost=why)
    if code not in OUR_EXIT_CODES:
        raise ClusterError(
            f"the job {job.id} at {job.dashboard.address} failed ({why}); nothing of it ran, so "
            "submit it again once that is mended"
        )
    if code == 0 and log.result is None:
        return End(run=log.run, lost="its result isn't in what came of its log")
    return End(code, log.result, log.run)
