"""What becomes of a command whose job is lost, refused, stopped, or left alone by Ctrl-C."""

from collections.abc import Mapping
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from bigmodel import progress
from bigmodel.cluster import dashboard, following
from bigmodel.cluster.dashboard import Dashboard
from bigmodel.cluster.following import End, Log
from bigmodel.cluster.session import RESULT_MARK
from bigmodel.cluster.submission import Submission
from bigmodel.errors import ClusterError
from bigmodel.training.told import GO_ON
from jobs.outcome import outcome, telling_run

LOST = "its process was ended by SIGKILL"


class Jobs:
    """Jobs that end as it is said, one after the other; `stopped` of them by us."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: End | type[BaseException]) -> None:
        self.ends, self.sent, self.stopped = list(ends), [], []
        self.there = Dashboard(
            "http://localhost:8265",
            SimpleNamespace(stop_job=self.stopped.append, get_job_info=self.get_job_info),
            "2.60.0",
            "session_1",
        )
        self.status = "RUNNING"
        self.away = 0
        monkeypatch.setattr(following, "follow", self.follow)
        monkeypatch.setattr(dashboard, "connect", self.connect)
        monkeypatch.setattr(dashboard, "SECONDS_BETWEEN_TRIES", 0)

    def send(self, changed: Mapping[str, str]) -> Submission:
        self.sent.append(dict(changed))
        return Submission(f"bigmodel-c0de-1-{len(self.sent)}", "mark:", self.there)

    def connect(self, address: str, **_: object) -> Dashboard:
        if self.away:
            self.away -= 1
            raise ClusterError("no Ray cluster answers there")
        return self.there

    def get_job_info(self, job: str) -> SimpleNamespace:
        return SimpleNamespace(status=SimpleNamespace(value=self.status))

    def follow(self, log: Log) -> End:
        end = self.ends.pop(0)
        if isinstance(end, End):
            return end
        raise end


def test_a_lost_job_goes_on_with_its_run_as_often_as_was_said(monkeypatch, capsys):
    ends = [End(lost=LOST), End(lost=LOST, run="bm-1"), End(lost=LOST), End(0, {"model": "a@1"})]
    jobs = Jobs(monkeypatch, *ends)
    assert outcome(jobs.send, retries=3, resumes=True) == {"model": "a@1"}
    assert jobs.sent == [{}, {}, {"resume": "bm-1"}, {"resume": "bm-1"}]
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"the job bigmodel-c0de-1-1 was lost ({LOST}); it is submitted again from its start",
        f"the job bigmodel-c0de-1-2 was lost ({LOST}); it is submitted again with --resume bm-1",
    ]


def test_a_cluster_that_comes_back_is_waited_for_and_what_is_sent_is_sent_once(monkeypatch):
    jobs = Jobs(monkeypatch, End(lost="its cluster was started anew"))
    jobs.away = 3
    send = jobs.send

    def refused_then(changed: Mapping[str, str]) -> Submission:
        submitted = send(changed)
        if len(jobs.sent) == 2:
            raise ClusterError("whether the job bigmodel-c0de-1-2 was started isn't known")
        return submitted

    with pytest.raises(ClusterError, match="isn't known"):
        outcome(refused_then, retries=3, resumes=True)
    assert len(jobs.sent) == 2 and not jobs.away


def test_a_verb_that_cannot_go_on_begins_anew(monkeypatch):
    jobs = Jobs(monkeypatch, End(lost=LOST, run="bm-1"), End(0, []))
    assert outcome(jobs.send, retries=1, resumes=False) == []
    assert jobs.sent == [{}, {}]


def test_what_is_lost_for_good_says_how_to_go_on(monkeypatch):
    jobs = Jobs(monkeypatch, End(lost=LOST, run="bm-1"))
    with pytest.raises(ClusterError) as caught:
        outcome(jobs.send, retries=0, resumes=True)
    assert str(caught.value) == (
        f"the job bigmodel-c0de-1-1 at http://localhost:8265 was lost ({LOST}); "
        "the same command with --resume bm-1 goes on"
    )


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 130])
def test_a_job_that_failed_by_itself_is_not_submitted_again(monkeypatch, code):
    jobs = Jobs(monkeypatch, End(code))
    with pytest.raises(click.exceptions.Exit) as caught:
        outcome(jobs.send, retries=3, resumes=True)
    assert caught.value.exit_code == code and len(jobs.sent) == 1


def test_ctrl_c_without_a_terminal_leaves_the_job_and_says_the_commands(monkeypatch, capsys):
    jobs = Jobs(monkeypatch, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        outcome(jobs.send, retries=3, resumes=True)
    assert capsys.readouterr().err == (
        "the job bigmodel-c0de-1-1 goes on at http://localhost:8265; watch it with: bigmodel jobs "
        "logs bigmodel-c0de-1-1 --follow, stop it with: bigmodel jobs stop bigmodel-c0de-1-1\n"
    )
    assert not jobs.stopped


@pytest.mark.parametrize(
    ("answer", "stopped"), [("stop", ["bigmodel-c0de-1-1"]), ("leave", []), (click.Abort, [])]
)
def test_ctrl_c_at_a_terminal_asks(monkeypatch, answer, stopped):
    def prompt(text: str, **_: object) -> str:
        assert text == "leave bigmodel-c0de-1-1 running, or stop it?"
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr("jobs.outcome._at_terminal", lambda: True)
    jobs = Jobs(monkeypatch, KeyboardInterrupt, End(130))
    with pytest.raises(KeyboardInterrupt):
        outcome(jobs.send, retries=3, resumes=True)
    assert jobs.stopped == stopped


def test_a_job_that_has_not_begun_is_stopped_without_waiting_for_it(monkeypatch, capsys):
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "stop")
    monkeypatch.setattr("jobs.outcome._at_terminal", lambda: True)
    jobs = Jobs(monkeypatch, KeyboardInterrupt)
    jobs.status = "PENDING"
    with pytest.raises(KeyboardInterrupt):
        outcome(jobs.send, retries=3, resumes=True)
    assert jobs.stopped == ["bigmodel-c0de-1-1"] and not jobs.ends
    assert capsys.readouterr().err.endswith("hasn't begun yet, and is stopped as soon as it does\n")


def test_a_job_says_the_run_that_it_can_go_on_with(monkeypatch):
    @click.command("run")
    def command() -> None:
        with telling_run():
            with progress.stage("tune") as stage:
                stage.say(f"if stopped, {GO_ON.format('bm-1')}")
            with progress.stage("train") as stage:
                stage.say("this is a new run; bm-0 was stopped, and --resume bm-0 goes on with it")
                stage.say(f"a checkpoint is kept; if stopped, {GO_ON.format('bm-2')}")

    assert CliRunner().invoke(command).output == ""
    monkeypatch.setenv(RESULT_MARK, "bigmodel-a1b2:")
    lines = CliRunner().invoke(command).output.splitlines()
    assert lines == [f"bigmodel-a1b2:run:{run}" for run in ("bm-1", "bm-2")]
