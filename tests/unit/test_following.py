"""Following a job: what is made of its log and its end."""

import json
import sys
from types import SimpleNamespace

import pytest

from bigmodel.cluster import dashboard, following, growing_log
from bigmodel.cluster.dashboard import Away, Dashboard, NoSuchJob
from bigmodel.cluster.following import End, Log, follow
from bigmodel.cluster.job_records import name_of_part, place_of
from bigmodel.cluster.submission import Submission
from bigmodel.errors import ClusterError

MARK = "bigmodel-a1b2:"
JOB = "bigmodel-c0de-1-1"
COMMAND = "python -m jobs.predict reviews@3 -- '书很好看\n味道太差'"
BEGIN = f"Runtime env is setting up.\nRunning entrypoint for job {JOB}: {COMMAND}\n"


class Cluster:
    """A job whose log grows by a part a look, and the way it ends."""

    def __init__(
        self,
        parts: list[str],
        code: int | None,
        message: str = "",
        end: str = "FAILED",
        error: str | None = None,
    ) -> None:
        self.parts, self.looks, self.code, self.message, self.end = parts, 0, code, message, end
        self.error = error
        self.fetched = 0

    def get_job_info(self, job: str) -> SimpleNamespace:
        self.looks += 1
        ended = self.looks >= len(self.parts)
        return SimpleNamespace(
            status=SimpleNamespace(
                is_terminal=lambda: ended, value=self.end if ended else "RUNNING"
            ),
            entrypoint=COMMAND,
            driver_exit_code=self.code if ended else None,
            error_type=self.error if ended else None,
            message=self.message,
        )

    def get_job_logs(self, job: str) -> str:
        self.fetched += 1
        return "".join(self.parts[: self.looks])


def followed(cluster: Cluster) -> tuple[End, list[str]]:
    said: list[str] = []
    there = Dashboard("http://localhost:8265", cluster, "2.60.0", "session_1")
    return follow(Log(Submission(JOB, MARK, there), said.append)), said


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(following, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(growing_log, "SHARE_OF_TIME", float("inf"))
    monkeypatch.setattr(dashboard, "SECONDS_BETWEEN_TRIES", 0)


def test_every_line_is_passed_on_once_and_the_result_is_taken_out():
    result = {"model": "reviews@3", "metrics": {"accuracy": 0.8412345678901234}}
    parts = ["", BEGIN + "train: epo", "ch 1 of 3\ntrain: 2", f".1 s\n{MARK}{json.dumps(result)}\n"]
    assert followed(Cluster(parts, 0)) == (
        End(0, result),
        ["train: epoch 1 of 3", "train: 2.1 s"],
    )


def test_a_run_that_can_be_gone_on_with_is_taken_out_too():
    parts = ["", f"{BEGIN}train: begins\n{MARK}run:bm-0a1b\n", "Killed"]
    assert followed(Cluster(parts, -9)) == (
        End(run="bm-0a1b", lost="memory was short, perhaps: its process was ended by SIGKILL"),
        ["train: begins", "Killed"],
    )


def test_the_last_line_is_not_lost_when_it_has_no_end():
    assert followed(Cluster([BEGIN + "bigmodel: 评论.csv: empty"], 3)) == (
        End(3),
        ["bigmodel: 评论.csv: empty"],
    )


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (f'{MARK}{{"model": "reviews@3", "metr', '{"model": "reviews@3", "metr'),
        (
            f'{MARK}{{"model": "reviews@3"}}worker: 第 2 行\n',
            '{"model": "reviews@3"}worker: 第 2 行',
        ),
        (f"{MARK}run:bm-0", "run:bm-0"),
    ],
)
def test_a_line_for_us_that_was_torn_is_text_and_no_error_of_ours(last, said):
    end, lines = followed(Cluster([f"{BEGIN}train: begins\n{last}"], -9))
    assert lines == ["train: begins", said]
    assert (end.result, end.run) == (None, "") and "SIGKILL" in end.lost


TRACE = "Traceback (most recent call last):\n  ...\nOSError: 磁盘已满\n"


@pytest.mark.parametrize(
    ("code", "message", "error", "why"),
    [
        (
            127,
            "Job entrypoint command failed with exit code 127, last logs:\n/bin/sh: python: 没有\n",
            "JOB_ENTRYPOINT_COMMAND_ERROR",
            "it never began: /bin/sh: python: 没有",
        ),
        (
            None,
            "Job supervisor actor failed to start within 900.0 seconds.\n…",
            "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
            "it never began: Job supervisor actor failed to start within 900.0 seconds",
        ),
        (
            None,
            f"runtime_env setup failed: Failed to set up runtime environment.\n{TRACE}",
            "RUNTIME_ENV_SETUP_FAILURE",
            "it never began: OSError: 磁盘已满",
        ),
        (None, None, "RUNTIME_ENV_SETUP_FAILURE", "it never began: no reason given"),
    ],
)
def test_a_job_that_never_began_is_not_lost(code, message, error, why):
    with pytest.raises(ClusterError) as caught:
        followed(Cluster([""], code, message, error=error))
    assert str(caught.value) == (
        f"the job {JOB} at http://localhost:8265 failed ({why}); nothing of it ran, so submit it "
        "again once that is mended"
    )


@pytest.mark.parametrize(
    ("code", "message", "why"),
    [
        (-9, "Job entrypoint command failed with exit code -9, last logs:\n...", "by SIGKILL"),
        (137, "Job entrypoint command failed with exit code 137", "by SIGKILL"),
        (None, "Job supervisor actor died: The node was lost.\n...", "died: The node was lost"),
        (None, "", "no reason given"),
        (77, "Job entrypoint command failed with exit code 77, last logs:\n...", "exit code 77"),
    ],
)
def test_a_job_that_ended_by_no_word_of_ours_is_lost(code, message, why):
    end, _ = followed(Cluster([BEGIN], code, message))
    assert end.code == 5 and why in end.lost and "\n" not in end.lost


@pytest.mark.parametrize(
    ("error", "message", "why"),
    [
        (
            "JOB_SUPERVISOR_ACTOR_START_FAILURE",
            "Unexpected error occurred: failed to get job supervisor.",
            "Unexpected error occurred: failed to get job supervisor",
        ),
        ("JOB_ENTRYPOINT_COMMAND_START_ERROR", TRACE, "OSError: 磁盘已满"),
    ],
)
def test_a_job_whose_supervisor_went_away_is_lost_though_ray_says_it_did_not_start(
    error, message, why
):
    end, _ = followed(Cluster([f"{BEGIN}{MARK}run:bm-1\n"], None, message, error=error))
    assert end == End(run="bm-1", lost=why)


def test_a_job_that_somebody_stopped_is_interrupted_and_not_lost():
    cluster = Cluster([BEGIN + "bigmodel: interrupted\n"], None, end="STOPPED")
    assert followed(cluster) == (End(130), ["bigmodel: interrupted"])


def test_a_job_that_ends_well_without_its_result_is_lost():
    """So Ray says it where the driver's machine goes."""
    run = f"{MARK}run:bm-1\n"
    end, said = followed(Cluster([BEGIN + run + "train: 2.1 s\n"], 0))
    assert end == End(run="bm-1", lost="its result isn't in what came of its log")
    assert said == ["train: 2.1 s"]


def test_a_long_log_is_fetched_less_often(monkeypatch):
    monkeypatch.setattr(growing_log, "SHARE_OF_TIME", 1e-9)
    lines = [f"行 {i}\n" for i in range(1000)]
    cluster = Cluster([BEGIN, *lines], 3)
    end, said = followed(cluster)
    assert said == [line.strip() for line in lines]
    assert cluster.looks == 1001 and cluster.fetched == 2


class Shaky(Cluster):
    """Says nothing every other time that its state is asked for, or never says anything."""

    def __init__(self, parts: list[str], *, always: bool) -> None:
        super().__init__(parts, 3)
        self.always, self.away = always, False

    def get_job_info(self, job: str) -> SimpleNamespace:
        self.away = self.always or not self.away
        if self.away:
            raise Away("http://localhost:8265: connection lost (Connection refused)")
        return super().get_job_info(job)


def test_a_look_that_fails_is_taken_again():
    assert followed(Shaky([BEGIN, "坏\n"], always=False)) == (End(3), ["坏"])


def test_a_cluster_that_stays_away_ends_the_following_and_not_the_job(monkeypatch):
    monkeypatch.setattr(dashboard, "SECONDS_OF_PATIENCE", 0)
    with pytest.raises(ClusterError, match=f"may go on .*: .*bigmodel jobs status {JOB}"):
        followed(Shaky([BEGIN], always=True))


class Forgetful(Cluster):
    def get_job_info(self, job: str) -> SimpleNamespace:
        if self.looks:
            raise NoSuchJob(f"Job {job} does not exist")
        return super().get_job_info(job)


def test_a_job_that_its_cluster_has_forgotten_is_lost():
    cluster = Forgetful([f"{BEGIN}准备\n{MARK}run:bm-1\n", ""], 0)
    lost = End(run="bm-1", lost="its cluster was started anew")
    assert followed(cluster) == (lost, ["准备"])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("It may be waiting for resources (CPUs, GPUs) to become available", "waits for a CPU"),
        ("Job has not started yet. Its runtime environment is set up", "is being set up"),
    ],
)
def test_a_job_that_does_not_begin_is_told_once(monkeypatch, message, said):
    class Waiting(Cluster):
        def get_job_info(self, job: str) -> SimpleNamespace:
            info = super().get_job_info(job)
            info.status.value = "PENDING" if self.looks < 4 else info.status.value
            return info

    monkeypatch.setattr(following, "SECONDS_IN_SILENCE", -1)
    end, heard = followed(Waiting(["", "", "", BEGIN, "准备\n", ""], 3, message))
    assert (end, heard) == (End(3), [f"the job {JOB} {said}", "准备"])


class Broken(Cluster):
    """The node with the log is gone, from some look on."""

    def get_job_logs(self, job: str) -> str:
        if self.looks > 1:
            raise ClusterError("http://localhost:8265: the cluster refused (status 500: timed out)")
        return super().get_job_logs(job)


def test_of_a_log_that_went_with_its_node_the_copy_in_the_storage_is_read(monkeypatch, tmp_path):
    """Ray may even say of such a job that it ended well: its result is in there."""
    monkeypatch.setattr(following, "SECONDS_FOR_THE_REST", 0)
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", f"{COMMAND} --storage {tmp_path}")
    begin = BEGIN.replace("味道太差'", f"味道太差' --storage {tmp_path}")
    whole = f'{begin}准备\n训练\n{MARK}{{"model": "评论@1"}}\n'
    place_of(str(tmp_path), JOB).write(name_of_part(0), whole.encode())
    end, said = followed(Broken([begin + "准备\n", "训练\n"], 0, end="SUCCEEDED"))
    assert (end, said) == (End(0, {"model": "评论@1"}), ["准备", "训练"])


def test_a_log_that_went_with_its_node_hides_no_end(monkeypatch):
    monkeypatch.setattr(following, "SECONDS_FOR_THE_REST", 0)
    end, said = followed(Broken([BEGIN + "准备\n", "训练\n"], None, "Job supervisor actor died."))
    assert end.lost == "Job supervisor actor died"
    assert said[0] == "准备" and "the end of its log can't be fetched" in said[1]
