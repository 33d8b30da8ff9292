"""What comes back of a submitted job: its lines, its result or its exit code, and its run."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bigmodel import progress
from bigmodel.cluster.session import RESULT_MARK, run_mark
from bigmodel.errors import ClusterError
from bigmodel.training.told import GO_ON, RUN
from jobs.terminal import complain

if TYPE_CHECKING:
    from bigmodel.cluster.following import End, Log
    from bigmodel.cluster.submission import Submission

Send = Callable[[Mapping[str, str]], "Submission"]
"""Submits the job with some of its options changed."""


@contextmanager
def telling_run() -> Iterator[None]:
    """In a submitted job: say its run to who waits for it, as soon as there is something to go on
    with."""
    mark = os.environ.get(RESULT_MARK)
    if not mark:
        yield
        return

    def hear(event: progress.Event) -> None:
        if found := RUN.search(event.said):
            click.echo(run_mark(mark) + found[1])

    with progress.listening(hear):
        yield


def outcome(send: Send, *, retries: int, resumes: bool) -> Any:
    """The job's result as if it had run here; where it failed, its log has said why.

    A job that was lost is submitted again, up to `retries` times: with its run, if the verb takes
    one and there was something to go on with.
    """
    changed: dict[str, str] = {}
    submitted = send(changed)
    for left in reversed(range(retries + 1)):
        end = _followed(submitted)
        if resumes and end.run:
            changed = {"resume": end.run}
        if not (end.lost and left):
            break
        how = f"with --resume {changed['resume']}" if changed else "from its start"
        _say(f"the job {submitted.id} was lost ({end.lost}); it is submitted again {how}")
        _wait_for(submitted.dashboard.address)
        submitted = send(changed)
    return _result(submitted, end, changed.get("resume"))


def _wait_for(address: str) -> None:
    """Until the cluster answers: its head may be what was lost, and comes back. What is sent isn't
    repeated so, for it may have been heard."""
    from bigmodel.cluster.dashboard import connect, patiently

    patiently(lambda: connect(address, insecure=True))  # the first time it was allowed


def _result(submitted: "Submission", end: "End", run: str | None) -> Any:
    job = f"the job {submitted.id} at {submitted.dashboard.address}"
    if end.lost:
        go_on = GO_ON.format(run) if run else f"see bigmodel jobs status {submitted.id}"
        raise ClusterError(f"{job} was lost ({end.lost}); {go_on}")
    if end.code == 130:
        complain(f"{job} was stopped")
    if end.code:
        raise click.exceptions.Exit(end.code)
    return end.result


def _followed(submitted: "Submission") -> "End":
    """The job's end. Ctrl-C leaves the job where it is, or stops it: who sits here is asked."""
    from bigmodel.cluster.following import Log, follow

    log = Log(submitted, _say)
    try:
        return follow(log)
    except KeyboardInterrupt:
        if _wants_to_stop(submitted.id):
            _stop(submitted, log)
        else:
            _say(
                f"the job {submitted.id} goes on at {submitted.dashboard.address}; watch it with: "
                f"bigmodel jobs logs {submitted.id} --follow, stop it with: bigmodel jobs stop "
                f"{submitted.id}"
            )
        raise


def _stop(submitted: "Submission", log: "Log") -> None:
    """And pass on what it says at its end, where it has begun."""
    from bigmodel.cluster.following import follow

    job = f"the job {submitted.id} at {submitted.dashboard.address}"
    client = submitted.dashboard.client
    client.stop_job(submitted.id)
    if client.get_job_info(submitted.id).status.value == "PENDING":
        _say(f"{job} hasn't begun yet, and is stopped as soon as it does")
        return
    follow(log)
    _say(f"{job} was stopped")


def _wants_to_stop(job: str) -> bool:
    """What somebody at a terminal answers; no without one, and at a second Ctrl-C."""
    if not _at_terminal():
        return False
    choice = click.Choice(["leave", "stop"])
    question = f"leave {job} running, or stop it?"
    _say("")
    try:
        answer = click.prompt(question, type=choice, default="leave", err=True)
    except click.Abort:
        _say("")
        return False
    return bool(answer == "stop")


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _say(line: str) -> None:
    click.echo(line, err=True)
