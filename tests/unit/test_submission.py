"""Following a job: what is made of its log and its end."""

import json
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from bigmodel.cluster import dashboard, submission
from bigmodel.cluster.submission import Submission, follow
from bigmodel.errors import ClusterError, RecipeError
from jobs.submit import _outcome, own_arguments

MARK = "job-1-a1b2:"


class Cluster:
    """A job whose log grows by a part a look, and the way it ends."""

    def __init__(self, parts: list[str], code: int | None, message: str = "") -> None:
        self.parts, self.looks, self.code, self.message = parts, 0, code, message

    def get_job_info(self, job: str) -> SimpleNamespace:
        self.looks += 1
        ended = self.looks == len(self.parts)
        return SimpleNamespace(
            status=SimpleNamespace(is_terminal=lambda: ended),
            driver_exit_code=self.code if ended else None,
            message=self.message,
        )

    def get_job_logs(self, job: str) -> str:
        return "".join(self.parts[: self.looks])


def outcome(parts: list[str], code: int | None, message: str = ""):
    said: list[str] = []
    job = Submission("job-1", "http://localhost:8265", MARK, Cluster(parts, code, message))
    return follow(job, said.append), said


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS_BETWEEN_LOOKS", 0)


BEGIN = "Runtime env is setting up.\nRunning entrypoint for job job-1: python -m jobs.train\n"


def test_every_line_is_passed_on_once_and_the_result_is_taken_out():
    result = {"model": "reviews@3", "metrics": {"accuracy": 0.8412345678901234}}
    parts = ["", BEGIN + "train: epo", "ch 1 of 3\ntrain: 2", f".1 s\n{MARK}{json.dumps(result)}\n"]
    assert outcome(parts, 0) == ((0, result), ["train: epoch 1 of 3", "train: 2.1 s"])


def test_the_last_line_is_not_lost_when_it_has_no_end():
    assert outcome([BEGIN + "bigmodel: 评论.csv: empty"], 3) == (
        (3, None),
        ["bigmodel: 评论.csv: empty"],
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, "Job entrypoint command failed with exit code -9, last logs:\n..."),
        (None, "Job supervisor actor died.\nThe node was lost."),
        (0, "Job finished successfully."),
    ],
)
def test_a_job_that_ended_by_no_word_of_ours_is_lost(code, message):
    with pytest.raises(ClusterError, match="the job job-1 was lost") as caught:
        outcome([BEGIN], code, message)
    assert "\n" not in str(caught.value)


class Shaky(Cluster):
    """Doesn't answer every other look, or no look at all."""

    def __init__(self, parts: list[str], *, always: bool) -> None:
        super().__init__(parts, 3)
        self.always, self.away = always, False

    def get_job_logs(self, job: str) -> str:
        self.away = self.always or not self.away
        if self.away:
            self.looks -= 1
            raise ClusterError("http://localhost:8265: connection lost (Connection refused)")
        return super().get_job_logs(job)


def test_a_look_that_fails_is_taken_again(monkeypatch):
    said: list[str] = []
    job = Submission("job-1", "http://localhost:8265", MARK, Shaky([BEGIN, "坏\n"], always=False))
    assert follow(job, said.append) == (3, None)
    assert said == ["坏"]


def test_a_cluster_that_stays_away_ends_the_following_and_not_the_job(monkeypatch):
    monkeypatch.setattr(submission, "SECONDS_WITHOUT_A_LOOK", 0)
    job = Submission("job-1", "http://localhost:8265", MARK, Shaky([BEGIN], always=True))
    with pytest.raises(ClusterError, match="the job job-1 goes on there"):
        follow(job, print)


def test_ctrl_c_says_how_to_stop_the_job(monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(submission, "follow", interrupted)
    stop = "ray job stop job-1 --address http://localhost:8265"
    for token, said in (("", f"with: {stop}"), ("our-token", f"with: RAY_AUTH_MODE=token {stop}")):
        monkeypatch.setattr(dashboard, "read_token", lambda token=token: token)
        with pytest.raises(KeyboardInterrupt):
            _outcome(Submission("job-1", "http://localhost:8265", MARK, None))
        assert said in capsys.readouterr().err


@click.command()
@click.argument("target")
@click.argument("texts", nargs=-1)
@click.option("--until", default="deploy")
@click.option("--keep/--drop", default=False)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--storage")
@click.option("--data", type=click.Path())
@click.pass_context
def command(context: click.Context, **given: object) -> None:
    click.echo(json.dumps(own_arguments(context)))


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
    assert json.loads(done.output) == there


def test_a_file_of_this_machine_is_refused_there():
    with pytest.raises(RecipeError, match="--data a.csv is a file of this machine"):
        CliRunner().invoke(command, ["reviews@3", "--data", "a.csv"], catch_exceptions=False)
