"""A job's own record, written under the storage by the job itself as it goes."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from bigmodel import progress
from bigmodel.cluster.job_records import (
    PART,
    SAID,
    Happened,
    Record,
    name_of_part,
    now,
    put_aside,
    read_record,
    write_record,
)
from bigmodel.errors import BigModelError
from bigmodel.repeating import repeating
from bigmodel.storage import Folder
from bigmodel.training.told import RUN

log = logging.getLogger(__name__)

SECONDS_BETWEEN_COPIES = 2.0
SECONDS_BETWEEN_SIGNS_OF_LIFE = 30.0
MOST_EVENTS = 1000
"""Of a record; older ones stand in the log."""


class Recorder:
    """Keeps `record` in `place` up to date, and a copy of the log file `source` there.

    A storage that can't be written ends no job: it is said once, and tried again.
    """

    def __init__(self, place: Folder, record: Record, source: Path | None) -> None:
        self._place, self._record, self._source = place, record, source
        self._open: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._changed, self._written = True, 0.0
        self._parts, self._tail = 0, b""
        self._warned = False
        self._beside = ExitStack()

    def begin(self) -> None:
        """Write it down, and from now on what happens."""
        self._make_room()
        self.keep()
        self._beside.enter_context(progress.listening(self.hear))
        self._beside.enter_context(
            repeating(self.keep, every_s=SECONDS_BETWEEN_COPIES, in_vain=BigModelError)
        )

    def hear(self, event: progress.Event) -> None:
        """Of a stage: that it begins or has ended, its note, and what it says."""
        with self._lock:
            happened = [] if event.stage in self._open else ["begins"]
            happened += [event.said] if event.said else []
            happened += ["ended"] if event.ended else []
            self._open.add(event.stage)
            if event.ended:
                self._open.remove(event.stage)
            if happened or event.note != self._record.note:
                self._note(event, happened)

    def tell(self, result: object) -> None:
        """What the job has come to: its model, its run."""
        if isinstance(result, Mapping):
            found = {"model": result.get("model"), "run": result.get("run_id")}
            with self._lock:
                self._change(**{name: str(value) for name, value in found.items() if value})

    def stopping(self) -> None:
        """It was asked to stop, and may be killed before it can say more."""
        self._stopping = self._changed = True  # no lock: a signal comes at any time

    def end(self, code: int) -> None:
        """Nothing more happens; the log is copied to its last byte.

        What the process says after that, as it ends, is copied when it exits.
        """
        self._beside.close()
        self._change(ended=now(), code=code, why=_said_last(self._source) if code else "")
        self.keep()
        atexit.register(self.keep)

    def keep(self) -> None:
        """Write what has changed."""
        try:
            self._copy()
            silent = time.monotonic() - self._written > SECONDS_BETWEEN_SIGNS_OF_LIFE
            if self._changed or (silent and not self._record.ended):
                self._changed = False
                news = {"seen": now(), "stopping": self._stopping}
                write_record(self._place, self._record.model_copy(update=news))
                self._written = time.monotonic()
        except (BigModelError, OSError) as error:
            self._changed = True
            if not self._warned:
                self._warned = True
                log.warning("the record of this job can't be kept for now: %s", error)

    def _make_room(self) -> None:
        """For a job of another cluster that had this id: ids count anew on each."""
        with suppress(BigModelError):  # the first writing will say it
            before = read_record(self._place)
            if before and before.source != self._record.source:
                put_aside(self._place, before)

    def _note(self, event: progress.Event, happened: Iterable[str]) -> None:
        at, before = now(), self._record
        events = [Happened(at=at, stage=event.stage, what=what) for what in happened]
        run = RUN.search(event.said)
        self._change(
            stage=event.stage,
            note=event.note,
            events=(*before.events, *events)[-MOST_EVENTS:],
            run=run[1] if run else before.run,
        )

    def _change(self, **values: Any) -> None:
        self._record = self._record.model_copy(update=values)
        self._changed = True

    def _copy(self) -> None:
        """What was added to the log since the last time, into its last part and new ones."""
        if self._source is None:
            return
        with self._source.open("rb") as file:
            file.seek(self._parts * PART + len(self._tail))
            while new := file.read(PART - len(self._tail)):
                part = self._tail + new
                self._place.write(name_of_part(self._parts), part)
                full = len(part) == PART
                self._parts, self._tail = self._parts + full, b"" if full else part


def log_file(job: str) -> Path | None:
    """The file to which Ray writes what this process says; None where that goes elsewhere."""
    for output in (1, 2):
        with suppress(OSError):
            path = Path(os.readlink(f"/proc/self/fd/{output}"))
            if path.name == f"job-driver-{job}.log":
                return path
    return None


def _said_last(source: Path | None) -> str:
    """The sentence of ours with which a log ends; "" without one."""
    if source is None:
        return ""
    with suppress(OSError), source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - 10_000))
        said = SAID.findall(file.read().decode(errors="replace"))
        return said[-1] if said else ""
    return ""
