"""Following a job from here: every line that it writes, its result, and how it ended."""

import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bigmodel.cluster.dashboard import NoSuchJob, patiently
from bigmodel.cluster.session import run_mark
from bigmodel.cluster.submission import Submission
from bigmodel.errors import ClusterError

OUR_EXIT_CODES = (0, 1, 2, 3, 4, 5, 130)
SECONDS_BETWEEN_LOOKS = 0.5
SHARE_OF_TIME = 0.1
"""That is spent fetching the log, which comes whole each time: a long one is looked at less often,
so that following costs no more than in proportion to a job's time."""

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
        self._said = 0
        self._next = 0.0
        self.result: Any = None
        self.run = ""

    def look(self, command: str, *, last: bool = False) -> None:
        """Pass on what is new of what the `command` wrote; the beginning of a line only where it is
        the `last` look."""
        began = time.monotonic()
        if began < self._next and not last:
            return
        written = self.job.dashboard.client.get_job_logs(self.job.id)
        self._next = time.monotonic() + (time.monotonic() - began) / SHARE_OF_TIME
        announced = f"Running entrypoint for job {self.job.id}: {command}\n"
        lines = written.partition(announced)[2].split("\n")
        if not (last and lines[-1]):
            lines.pop()  # what follows the last line's end: nothing, or a line half-written
        for line in lines[self._said :]:
            self._said += 1
            self._hear(line)

    def _hear(self, line: str) -> None:
        result, run = self.job.mark, run_mark(self.job.mark)
        if line.startswith(run):
            self.run = line.removeprefix(run)
        elif line.startswith(result):
            self.result = json.loads(line.removeprefix(result))
        else:
            self.say(line)


def follow(log: Log) -> End:
    """Pass on a job's log line by line until it ended; ClusterError where the cluster is away for
    more than a while.

    Its end is known before the log is fetched for the last time: Ray's own way of following one
    loses the last lines.
    """
    info = _info(log.job)
    while not info.status.is_terminal():
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
    code = info.driver_exit_code
    if info.status.value == "STOPPED":
        return End(130, run=log.run)
    if code not in OUR_EXIT_CODES:
        return End(run=log.run, lost=_why(info))
    if code == 0 and log.result is None:
        raise ClusterError(
            f"the job {log.job.id} ended well, but its result isn't in what came of its log; see "
            f"it with: bigmodel jobs logs {log.job.id}"
        )
    return End(code, log.result, log.run)


def _why(info: Any) -> str:
    """What Ray knows of a job that ended without a word of ours, as a clause."""
    if name := signal_of(info.driver_exit_code or 0):
        return f"its process was ended by {name}"
    said = (info.message or "no reason given").partition("\n")[0]
    return re.sub(r"[\s.:]+$", "", said)


def signal_of(code: int) -> str:
    """The signal by which a process ended, as Python (-9) or a shell (137) says it; "" for none."""
    with suppress(ValueError):
        return signal.Signals(-code if code < 0 else code - 128).name
    return ""
