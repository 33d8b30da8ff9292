"""The log of a job as text, whole or as it grows: from its cluster, or from its record."""

import codecs
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from bigmodel.cluster.dashboard import patiently
from bigmodel.cluster.growing_log import GrowingLog
from bigmodel.cluster.job_records import place_of, read_log, read_record
from bigmodel.cluster.job_table import job_there, of_storage
from bigmodel.cluster.session import run_mark
from bigmodel.errors import ClusterError
from bigmodel.storage import Folder

SECONDS_BETWEEN_LOOKS = 1.0


def log_there(
    client: Any, storage: str, job: str, *, given: bool, follow: bool = False
) -> Iterator[str]:
    """What the job wrote, or to `follow` until its end; ClusterError where nobody knows the job.

    The storage is asked where there is no cluster (None), or it hasn't the log any more: its node
    is gone. `given`: as for `job_there`.
    """
    found, record = job_there(client, storage, job, given=given)
    log = GrowingLog(client, job)
    text = _begin(log, needed=record is None) if client else ""
    if text or record is None:
        return _without(record.mark if record else "", _growing(client, job, log, follow))
    return _without(record.mark, _kept(place_of(found.storage, job), found.storage, follow))


def _begin(log: GrowingLog, *, needed: bool) -> str:
    try:
        return log.look()
    except ClusterError:
        if needed:
            raise
        return ""


def _growing(client: Any, job: str, log: GrowingLog, follow: bool) -> Iterator[str]:
    yield log.text
    over = not follow
    while not over:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        info = patiently(lambda: client.get_job_info(job))  # before the log, which then is whole
        over = info.status.is_terminal()
        yield patiently(partial(log.look, last=over))


def _kept(place: Folder, storage: str, follow: bool) -> Iterator[str]:
    decode, read = codecs.getincrementaldecoder("utf-8")(errors="replace").decode, 0
    over = False
    while not over:
        record = read_record(place)  # before the log, which then is whole
        over = not follow or record is None or of_storage(record, storage).is_over
        for part in read_log(place, read):
            read += len(part)
            yield decode(part)
        if not over:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    yield decode(b"", True)


def _without(mark: str, chunks: Iterator[str]) -> Iterator[str]:
    """Whole lines of what comes; of those that are for us the result, without its mark."""
    rest = ""
    for chunk in chunks:
        whole, newline, rest = (rest + chunk).rpartition("\n")
        yield "".join(map(partial(_shown, mark), whole.split("\n") if newline else ()))
    if rest:
        yield _shown(mark, rest).removesuffix("\n")


def _shown(mark: str, line: str) -> str:
    ours = mark and line.startswith(mark)
    if ours and line.startswith(run_mark(mark)):
        return ""
    return f"{line.removeprefix(mark)}\n"
