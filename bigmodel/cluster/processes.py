"""Processes that outlive the command which started them, told from others with their numbers."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from bigmodel.errors import ClusterError

SECONDS_TO_HEAR = 3.0
"""Ray's GCS, monitor and client server take some ten to end by themselves, with nothing to save."""
SECONDS_TO_END = 10.0


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM that come meanwhile are heard at its end: where a process is started, one
    in between would leave it with nobody who knows its number."""
    heard: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _: heard.append(number))
        for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in heard:
        signal.raise_signal(number)


@dataclass(frozen=True)
class Started:
    """A command in a POSIX session of its own, and what it started in turn."""

    session: int
    """Also the number of its first process; 0 of what wasn't started."""
    lasting: tuple[int, ...]
    """Processes that live as long as it does, each with `mark` in its command line. A start time
    would tell as much, but it moves when the machine's clock is set."""
    mark: str

    @property
    def alive(self) -> bool:
        """Does any of the lasting ones live? If so, the session's number is still its own."""
        return any(_has(pid, self.mark) for pid in self.lasting)

    @property
    def led(self) -> bool:
        """Does its first process live, which looks after the others?"""
        return _has(self.session, self.mark)

    def seen(self) -> "Started":
        """With all the lasting processes that there are by now."""
        lasting = (each.pid for each in self.processes() if _has(each.pid, self.mark))
        return Started(self.session, tuple(lasting), self.mark)

    def processes(self) -> list[psutil.Process]:
        """Those of the session and all that they started, in sessions of their own too; not the
        one that asks. Only to be trusted while `alive`, right after, or where one is `_named`."""
        if not self.session:  # as which a container sees that of everything begun from without
            return []
        found = [each for each in psutil.process_iter() if _lives(each)]
        parents = {each.pid: _parent(each) for each in found}
        own = {pid for pid in parents if _session(pid) == self.session}
        while more := {pid for pid, parent in parents.items() if parent in own} - own:
            own |= more
        return [each for each in found if each.pid in own - {os.getpid()}]

    def end(self) -> None:
        """Ask all of them to end, at once: the first one would ask one after another, and wait a
        second for each. Who stays is ended; ClusterError where something stays all the same. What
        a killed one left behind is found by its session, which nobody has while some of it lives.
        """
        known = set(self.processes())  # who started one of them may be gone before it is
        if not (self.alive or any(_named(each, self.mark) for each in known)):
            return  # another command has its number by now
        left = self._tell(signal.SIGTERM, known, SECONDS_TO_HEAR)
        left = left and self._tell(signal.SIGKILL, known, SECONDS_TO_END)
        if left:
            numbers = ", ".join(str(each.pid) for each in left)
            raise ClusterError(f"the processes {numbers} can't be ended; look at why they hang")

    def _tell(
        self, number: signal.Signals, known: set[psutil.Process], within_s: float
    ) -> list[psutil.Process]:
        """A signal to each of the `known` and those that came since; who is left after that."""
        deadline = time.monotonic() + within_s
        told: set[psutil.Process] = set()
        while True:
            known.update(self.processes())
            left = [each for each in known if _lives(each)]
            for each in set(left) - told:  # once: a second SIGTERM would cut its end short
                _send(each, number)
            told |= set(left)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)


def _has(pid: int, mark: str) -> bool:
    try:
        return mark in "\0".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _named(process: psutil.Process, mark: str) -> bool:
    """One that isn't lasting has the mark in its environment, or began in a folder of that name:
    Ray's agents and workers write a title over the other two."""
    try:
        return mark in "\0".join([*process.cmdline(), *process.environ().values(), process.cwd()])
    except psutil.Error:
        return False


def _lives(process: psutil.Process) -> bool:
    """One whose first thread is gone has its ports as long as it has other threads."""
    try:
        gone = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return process.is_running() and not gone
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _send(process: psutil.Process, number: signal.Signals) -> None:
    """psutil looks first whether the process is still the one that it found."""
    with suppress(psutil.Error):  # one that lives on is seen by who waits for its end
        process.send_signal(number)
