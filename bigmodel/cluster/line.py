"""The line before a cluster: so many of our jobs run there at once, and who is next waits here.

Nobody keeps it. A job's id names one of the cluster's places and counts the jobs that had it, and
Ray takes an id once: of many who want the place that is free, one gets it.
"""

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bigmodel import progress
from bigmodel.cluster.dashboard import Dashboard, patiently

ID = re.compile(r"(bigmodel-[0-9a-f]{4})-([1-9][0-9]*)-([1-9][0-9]*)")
SECONDS_BETWEEN_LOOKS = 1.0
MOST_BETWEEN_LOOKS = 15.0
SHARE_OF_TIME = 0.1
"""That a client spends with the job table, which is long where there were many jobs."""


@dataclass(frozen=True)
class Line:
    """The jobs of one cluster that were submitted through here, as its job table has them."""

    newest: dict[str, tuple[int, bool]]
    """Place -> the number of its newest job, and whether that goes on."""

    @classmethod
    def of(cls, jobs: Iterable[Any], session: str) -> "Line":
        newest: dict[str, tuple[int, bool]] = {}
        for job in jobs:
            found = ID.fullmatch(job.submission_id or "")
            if found and found[1] == _cluster(session):
                place, seen = (
                    f"{found[1]}-{found[2]}",
                    (int(found[3]), not job.status.is_terminal()),
                )
                newest[place] = max(seen, newest.get(place, seen))
        return cls(newest)

    @property
    def running(self) -> int:
        return sum(goes_on for _, goes_on in self.newest.values())

    def free_ids(self, session: str, places: int) -> list[str]:
        """What a job may be called now: one id for each place that nobody has."""
        every = (f"{_cluster(session)}-{place}" for place in range(1, places + 1))
        seen = ((place, *self.newest.get(place, (0, False))) for place in every)
        return [f"{place}-{number + 1}" for place, number, goes_on in seen if not goes_on]


def _cluster(session: str) -> str:
    """How the ids of a cluster's jobs begin."""
    return f"bigmodel-{hashlib.sha256(session.encode()).hexdigest()[:4]}"


def after(job: str) -> str:
    """The id of the next job in the place of that one."""
    place, _, number = job.rpartition("-")
    return f"{place}-{int(number) + 1}"


def in_line(dashboard: Dashboard, places: int, start: Callable[[str], str | None]) -> str:
    """The id that `start` began a job with, once one of so many places was free for it.

    `start` may take a later one of the same place, and says None where the place was taken
    meanwhile. Nothing is sent while this waits, so Ctrl-C leaves nothing behind.
    """
    with ExitStack() as waiting:
        stage = None
        while True:
            began = time.monotonic()
            line = Line.of(patiently(dashboard.client.list_jobs), dashboard.session)
            took = time.monotonic() - began
            free = line.free_ids(dashboard.session, places)
            if free:
                if started := start(random.choice(free)):
                    return started
                continue
            if stage is None:
                stage = waiting.enter_context(progress.stage("line"))
                stage.say(
                    f"{line.running} jobs run at {dashboard.address}, as many as cluster.max_jobs "
                    "lets; this one waits for one to end"
                )
            pause = min(max(SECONDS_BETWEEN_LOOKS, took / SHARE_OF_TIME), MOST_BETWEEN_LOOKS)
            time.sleep(random.uniform(0.5, 1.5) * pause)
