"""Submitting a job: where it stands in line, that it starts once, and what is passed on to it."""

import json
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bigmodel import progress
from bigmodel.cluster import dashboard, line, submission
from bigmodel.cluster.dashboard import Away, Dashboard, NoSuchJob
from bigmodel.cluster.line import Line, in_line
from bigmodel.cluster.submission import _start
from bigmodel.errors import ClusterError, RecipeError
from jobs.cli import main
from jobs.submit import own_arguments

SESSION = "session_2026-11-22_21-40-00_000000_1"
CLUSTER = "bigmodel-0e52"


def job(name: str | None, *, ended: bool = False, **about: str) -> SimpleNamespace:
    status = SimpleNamespace(is_terminal=lambda: ended)
    return SimpleNamespace(submission_id=name, status=status, metadata=about)


def test_a_place_is_free_when_its_newest_job_has_ended():
    jobs = [
        job(f"{CLUSTER}-1-1", ended=True),
        job(f"{CLUSTER}-1-10"),
        job(f"{CLUSTER}-1-9", ended=True),
        job(f"{CLUSTER}-2-3", ended=True),
        job("bigmodel-0000-3-1"),  # of the cluster's life before
        job("raysubmit_x"),
        job(None),
    ]
    line = Line.of(jobs, SESSION)
    assert line.running == 1
    assert line.free_ids(SESSION, 3) == [f"{CLUSTER}-2-4", f"{CLUSTER}-3-1"]
    assert line.free_ids(SESSION, 1) == []


class Cluster:
    """Keeps jobs as Ray does, each id once; `breaks` says at which submissions the connection goes,
    before or after they were heard, or that it writes the job down and then takes it for another's.
    """

    def __init__(self, breaks: dict[int, str] | None = None) -> None:
        self.jobs: dict[str, SimpleNamespace] = {}
        self.breaks, self.requests, self.looks = breaks or {}, 0, 0
        self.unwell = 0

    def list_jobs(self) -> list[SimpleNamespace]:
        self.looks += 1
        return list(self.jobs.values())

    def get_job_info(self, job: str) -> SimpleNamespace:
        if self.unwell:
            self.unwell -= 1
            raise ClusterError("the cluster refused (status 500: timed out)")
        if job not in self.jobs:
            raise NoSuchJob(f"Job {job} does not exist")
        return self.jobs[job]

    def submit_job(self, *, submission_id: str, metadata: dict[str, str], **_: Any) -> None:
        self.requests += 1
        when = self.breaks.get(self.requests)
        if when == "before":
            raise Away("connection lost")
        taken = submission_id in self.jobs
        self.jobs.setdefault(submission_id, job(submission_id, **metadata))
        if taken or when == "unstarted":
            raise ClusterError("the cluster refused (status 400: it already exists)")
        if when == "after":
            raise Away("connection lost")

    def stop_job(self, job: str) -> None:
        self.jobs[job].status = SimpleNamespace(is_terminal=lambda: True)


def dashboard_of(cluster: Cluster) -> Dashboard:
    return Dashboard("http://localhost:8265", cluster, "2.60.0", SESSION)


def start(cluster: Cluster, name: str, *, nonce: str = "ours") -> str | None:
    return _start(dashboard_of(cluster), {"metadata": {"nonce": nonce}}, name)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    for module in (dashboard, submission):
        monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(line, "SECONDS_BETWEEN_LOOKS", 0)


@pytest.mark.parametrize(
    "breaks", [{}, {1: "before"}, {1: "after"}, {1: "before", 2: "before", 3: "after"}]
)
def test_a_connection_that_breaks_starts_a_job_once(breaks):
    cluster = Cluster(breaks)
    assert start(cluster, f"{CLUSTER}-1-1") == f"{CLUSTER}-1-1"
    assert list(cluster.jobs) == [f"{CLUSTER}-1-1"]


@pytest.mark.parametrize("lost", [1, 2])
def test_an_id_that_ray_took_and_never_starts_is_left_for_the_next(lost):
    cluster = Cluster(dict.fromkeys(range(1, lost + 1), "unstarted"))
    assert start(cluster, f"{CLUSTER}-1-9") == f"{CLUSTER}-1-{9 + lost}"
    assert Line.of(cluster.list_jobs(), SESSION).newest == {f"{CLUSTER}-1": (9 + lost, True)}


@pytest.mark.parametrize("breaks", [{}, {2: "before"}, {2: "before", 3: "before"}])
def test_a_place_that_another_client_took_is_not_ours(breaks):
    cluster = Cluster(breaks)
    assert start(cluster, f"{CLUSTER}-1-1", nonce="theirs")
    assert not start(cluster, f"{CLUSTER}-1-1")
    assert cluster.jobs[f"{CLUSTER}-1-1"].metadata == {"nonce": "theirs"}


def test_a_cluster_that_is_gone_leaves_in_doubt_whether_it_heard_us(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS_TO_BE_SURE", -1)
    with pytest.raises(ClusterError, match=f"isn't known: see bigmodel jobs status {CLUSTER}-1-1"):
        start(Cluster({1: "before"}), f"{CLUSTER}-1-1")


def test_a_refusal_is_passed_on_and_asked_for_once():
    class Refusing(Cluster):
        def submit_job(self, **_: Any) -> None:
            self.requests += 1
            raise ClusterError("the cluster refused (status 400: no such label)")

    cluster = Refusing()
    with pytest.raises(ClusterError, match="no such label"):
        start(cluster, f"{CLUSTER}-1-1")
    assert cluster.requests == 1


def test_a_dashboard_that_cannot_say_whose_job_it_is_is_asked_again():
    cluster = Cluster({1: "after"})
    cluster.unwell = 2
    assert start(cluster, f"{CLUSTER}-1-1") == f"{CLUSTER}-1-1"
    assert list(cluster.jobs) == [f"{CLUSTER}-1-1"] and not cluster.unwell


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_ctrl_c_while_it_is_in_doubt_whether_a_job_was_started_stops_it(monkeypatch, breaks):
    cluster = Cluster({1: breaks})
    cluster.unwell = 1
    asked = []

    def interrupted(_: float) -> None:
        asked.append(True)
        if len(asked) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    monkeypatch.setattr(submission, "SECONDS_TO_WITHDRAW", 0.1)
    with pytest.raises(KeyboardInterrupt):
        start(cluster, f"{CLUSTER}-1-1")
    assert all(one.status.is_terminal() for one in cluster.jobs.values())
    assert len(cluster.jobs) == (breaks == "after")


def test_ctrl_c_says_the_job_that_may_go_on_where_the_cluster_cannot_be_asked(monkeypatch, caplog):
    cluster = Cluster({1: "after"})
    cluster.unwell = 10**9

    def interrupted(_: float) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(submission, "SECONDS_BETWEEN_TRIES", 0.01)
        monkeypatch.setattr(submission, "SECONDS_TO_WITHDRAW", 0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(cluster, f"{CLUSTER}-1-1")
    assert f"whether the job {CLUSTER}-1-1 was started isn't known" in caplog.text


def test_ctrl_c_while_a_job_is_sent_stops_it_again(monkeypatch):
    class Interrupted(Cluster):
        def submit_job(self, **terms: Any) -> None:
            super().submit_job(**terms)
            raise KeyboardInterrupt

    cluster = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        start(cluster, f"{CLUSTER}-1-1")
    assert cluster.jobs[f"{CLUSTER}-1-1"].status.is_terminal()


def test_who_finds_no_place_free_waits_and_says_so_once():
    cluster = Cluster()
    said: list[str] = []
    for name in (f"{CLUSTER}-1-1", f"{CLUSTER}-2-7"):
        start(cluster, name, nonce="theirs")

    class Patient(Cluster):
        jobs = cluster.jobs

        def __init__(self) -> None:
            self.requests, self.looks, self.breaks = 0, 0, {}

        def list_jobs(self) -> list[SimpleNamespace]:
            if self.looks == 5:
                self.stop_job(f"{CLUSTER}-2-7")
            return super().list_jobs()

    waiting = Patient()
    there = dashboard_of(waiting)
    with progress.listening(lambda event: said.append(event.said) if event.said else None):
        terms = {"metadata": {"nonce": "ours"}}
        assert in_line(there, 2, lambda name: _start(there, terms, name)) == f"{CLUSTER}-2-8"
    assert waiting.looks == 6 and waiting.requests == 1
    assert said == [
        "2 jobs run at http://localhost:8265, as many as cluster.max_jobs lets; this one waits for "
        "one to end"
    ]


def test_ctrl_c_in_the_line_leaves_nothing_behind(monkeypatch):
    cluster = Cluster()
    start(cluster, f"{CLUSTER}-1-1", nonce="theirs")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    there = dashboard_of(cluster)
    with pytest.raises(KeyboardInterrupt):
        in_line(there, 1, lambda name: _start(there, {"metadata": {"nonce": "ours"}}, name))
    assert list(cluster.jobs) == [f"{CLUSTER}-1-1"] and cluster.requests == 1


@click.command()
@click.argument("target")
@click.argument("texts", nargs=-1)
@click.option("--until", default="deploy")
@click.option("--keep/--drop", default=False)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--resume")
@click.option("--storage")
@click.option("--data", type=click.Path())
@click.pass_context
def command(context: click.Context, **given: object) -> None:
    click.echo(json.dumps([own_arguments(context), own_arguments(context, {"resume": "bm-2"})]))


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ([], []),
        (["--until", "train"], ["--until", "train"]),
        (["--keep", "-q"], ["--keep", "-q"]),
        (["--drop", "--storage", "s3://a"], ["--drop"]),
        (["--data", "s3://a/评论 1.csv"], ["--data", "s3://a/评论 1.csv"]),
        (["--", "-好-", "坏"], ["--", "-好-", "坏"]),
    ],
)
def test_a_commands_own_options_are_given_there_as_here(given, there):
    done = CliRunner().invoke(command, ["reviews@3", *given], catch_exceptions=False)
    assert json.loads(done.output)[0] == there


def test_a_job_that_is_submitted_again_goes_on_with_its_run():
    for given in ([], ["--resume", "bm-1"]):
        arguments = ["reviews@3", *given, "--until", "train", "--", "坏"]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        before, again = json.loads(done.output)
        assert before == ["--until", "train", *given, "--", "坏"]
        assert again == ["--until", "train", "--resume", "bm-2", "--", "坏"]


def test_a_file_of_this_machine_is_refused_there():
    with pytest.raises(RecipeError, match="--data a.csv is a file of this machine"):
        CliRunner().invoke(command, ["reviews@3", "--data", "a.csv"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--cluster", "http://localhost:1", "--detach", "--retries", "1"],
            "leave one of them out",
        ),
        (["--retries", "1"], "--retries is for a job on a cluster, and this one runs here"),
        (["--detach"], "--detach is for a job on a cluster, and this one runs here"),
    ],
)
def test_retries_need_a_cluster_and_somebody_who_waits(given, said, monkeypatch):
    monkeypatch.delenv("BIGMODEL_CLUSTER", raising=False)
    done = CliRunner().invoke(main, ["train", "评论.toml", *given])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
