"""`bigmodel jobs`: what it says of the jobs of a cluster and of those that left a record."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from bigmodel.cluster import dashboard, job_logs, job_records, job_table
from bigmodel.cluster.dashboard import Dashboard, NoSuchJob
from bigmodel.cluster.job_records import Happened, Record, now, place_of, write_record
from bigmodel.errors import ClusterError
from jobs import jobs
from jobs.cli import main

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ENTRY = "python -m jobs.train recipe/评论.toml --set name=reviews --storage {}"
WAITS = "Job has not started yet. It may be waiting for resources (CPUs, …) to become available."
NO_CPUS = "Job supervisor actor failed to start within 900.0 seconds. This timeout can be …"
NODE_LOST = "Job supervisor actor died: The actor died because its node has died.\nMore of it."
KILLED = "memory was short, perhaps: its process was ended by SIGKILL"
NO_PYTHON = "Job entrypoint command failed with exit code 127, …:\n/bin/sh: 1: python: not found\n"
LAST_LINES = """Job entrypoint command failed with exit code 3, last available logs (…):
prepare: begins
bigmodel: 评论.csv: no column '标签' (found: text, label)
"""


def details(id: str, status: str = "RUNNING", **more: object) -> SimpleNamespace:
    """A row of a cluster's table, as Ray's client gives it."""
    known = {
        "submission_id": id,
        "status": Status(status),
        "entrypoint": ENTRY.format("s3://nowhere"),
        "message": None,
        "error_type": None,
        "start_time": AT.timestamp() * 1000,
        "end_time": None,
        "metadata": {"verb": "train", "name": "reviews", "who": "li@laptop", "bigmodel": "0.1"},
        "driver_exit_code": None,
    }
    return SimpleNamespace(**known | more)


class Status(str):
    def is_terminal(self) -> bool:
        return self in ("SUCCEEDED", "FAILED", "STOPPED")


class Cluster:
    """A cluster's jobs API: a table, and logs that grow by a part a look."""

    def __init__(self, *rows: SimpleNamespace) -> None:
        self.rows = {row.submission_id: row for row in rows}
        self.logs: dict[str, list[str]] = {}
        self.stopped: list[str] = []
        self.looks = 0

    def list_jobs(self) -> list[SimpleNamespace]:
        return list(self.rows.values())

    def get_job_info(self, job: str) -> SimpleNamespace:
        if job not in self.rows:
            raise NoSuchJob(f"Job {job} does not exist")
        if job in self.stopped:
            self.rows[job].status = Status("STOPPED")
        if self.logs.get(job) and self.looks >= len(self.logs[job]) - 1:
            self.rows[job].status = Status("SUCCEEDED")
        return self.rows[job]

    def get_job_logs(self, job: str) -> str:
        self.looks += 1
        return "".join(self.logs.get(job, [])[: self.looks])

    def stop_job(self, job: str) -> bool:
        self.stopped.append(job)
        return True


@pytest.fixture
def storage(tmp_path) -> str:
    return str(tmp_path / "存储")


@pytest.fixture
def there(monkeypatch):
    """Put a cluster, or a refusal, at every address."""
    monkeypatch.setattr(jobs, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(job_logs, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.delenv("BIGMODEL_STORAGE", raising=False)
    monkeypatch.delenv("BIGMODEL_CLUSTER", raising=False)

    def put(found: Cluster | ClusterError) -> None:
        def connect(address: str, *, insecure: bool = False) -> Dashboard:
            if isinstance(found, ClusterError):
                raise found
            return Dashboard(address, found, "2.60.0", "session_1")

        monkeypatch.setattr(dashboard, "connect", connect)

    return put


def run(*arguments: str):
    return CliRunner().invoke(main, ["jobs", *arguments])


CLUSTER = ("--cluster", "http://localhost:8265")


def keep(storage: str, id: str, log: bytes = b"", **more: object) -> Record:
    known = {
        "id": id,
        "verb": "train",
        "name": "reviews",
        "bigmodel": "0.1",
        "began": AT,
        "seen": AT,
    }
    record = Record.model_validate(known | {"who": "li@laptop"} | more)
    write_record(place_of(storage, id), record)
    place_of(storage, id).write("log/000000", log)
    return record


ENDED = {"ended": AT + timedelta(seconds=90), "code": 0}


def listed(storage: str, *more: str) -> list[dict[str, object]]:
    done = run("list", "--storage", storage, "--json", *more)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_without_a_cluster_the_storage_tells_all_the_newest_first(storage):
    keep(storage, "bigmodel-3f2a-1-1", **ENDED, stage="seal", model="reviews@3", run="4f1c")
    keep(
        storage,
        "raysubmit_4LamXRuQpYdSMg7J",
        began=AT + timedelta(hours=1),
        seen=now(),
        stage="tune",
    )
    newer, older = listed(storage)
    assert (newer["id"], newer["state"], newer["stage"]) == (
        "raysubmit_4LamXRuQpYdSMg7J",
        "RUNNING",
        "tune",
    )
    assert older == {
        "id": "bigmodel-3f2a-1-1",
        "verb": "train",
        "recipe": "reviews",
        "who": "li@laptop",
        "when": "2026-11-22T12:00:00+00:00",
        "state": "SUCCEEDED",
        "reason": "",
        "stage": "seal",
        "run": "4f1c",
        "model": "reviews@3",
        "code": 0,
        "ended": "2026-11-22T12:01:30+00:00",
        "storage": storage,
    }


def test_no_jobs_are_a_sentence_and_an_empty_list(storage):
    assert "no jobs yet" in run("list", "--storage", storage).stdout
    assert listed(storage) == []


def test_a_cluster_and_the_storage_are_one_table(storage, there):
    keep(storage, "both", seen=AT, stage="train", run="4f1c")
    keep(storage, "gone", **ENDED, model="reviews@2")
    plain = {"metadata": {}, "entrypoint": "python3 -m jobs.check recipe.toml --storage /x"}
    there(
        Cluster(
            details("both"),
            details("plain", **plain),
            details("others", metadata={}, entrypoint="python train.py -m jobs"),
            details("waits", "PENDING", message=WAITS),
            SimpleNamespace(submission_id=None, metadata={}, entrypoint="driver"),
        )
    )
    rows = {row["id"]: row for row in listed(storage, *CLUSTER)}
    assert set(rows) == {"both", "gone", "plain", "waits"}
    assert (rows["both"]["state"], rows["both"]["stage"], rows["both"]["run"]) == (
        "RUNNING",
        "train",
        "4f1c",
    )
    assert (rows["gone"]["state"], rows["gone"]["model"]) == ("SUCCEEDED", "reviews@2")
    assert (rows["plain"]["verb"], rows["plain"]["who"]) == ("check", "")
    assert (rows["waits"]["state"], rows["waits"]["reason"]) == ("PENDING", "waits for a CPU")


@pytest.mark.parametrize("between", [" ", "="])
def test_a_jobs_own_command_says_where_its_record_is(
    storage, there, monkeypatch, tmp_path, between
):
    monkeypatch.chdir(tmp_path)
    keep(storage, "job-1", stage="train", model="reviews@3")
    entrypoint = ENTRY.format(storage).replace("--storage ", f"--storage{between}")
    there(Cluster(details("job-1", entrypoint=entrypoint)))
    for arguments in (["list"], ["status", "job-1"]):
        done = run(*arguments, *CLUSTER, "--json")
        found = json.loads(done.stdout)
        row = found[0] if isinstance(found, list) else found
        assert (row["stage"], row["model"], row["storage"]) == ("train", "reviews@3", storage)


@pytest.mark.parametrize(
    ("ray", "state", "reason"),
    [
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, "SUCCEEDED", ""),
        ({"status": "STOPPED"}, "STOPPED", ""),
        ({"status": "FAILED", "driver_exit_code": 130}, "STOPPED", ""),
        (
            {"status": "FAILED", "driver_exit_code": 3, "message": LAST_LINES},
            "FAILED",
            "评论.csv: no column '标签' (found: text, label)",
        ),
        ({"status": "FAILED", "driver_exit_code": 1}, "FAILED", "it ended with exit code 1"),
        ({"status": "FAILED", "driver_exit_code": -9}, "LOST", KILLED),
        ({"status": "FAILED", "driver_exit_code": 137}, "LOST", KILLED),
        (
            {"status": "FAILED", "driver_exit_code": 77},
            "LOST",
            "its process ended with exit code 77",
        ),
        (
            {"status": "FAILED", "driver_exit_code": 127, "message": NO_PYTHON},
            "FAILED",
            "it never began: /bin/sh: 1: python: not found",
        ),
        (
            {"status": "FAILED", "message": NODE_LOST, "error_type": "JOB_SUPERVISOR_ACTOR_DIED"},
            "LOST",
            "Job supervisor actor died: The actor died because its node has died",
        ),
        (
            {
                "status": "FAILED",
                "message": NO_CPUS,
                "error_type": "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
            },
            "FAILED",
            "it never began: Job supervisor actor failed to start within 900.0 seconds",
        ),
    ],
)
def test_rays_word_of_an_end_is_told_from_a_job_that_was_lost(there, storage, ray, state, reason):
    there(Cluster(details("job-1", **ray)))
    (row,) = listed(storage, *CLUSTER)
    assert row["state"] == state
    assert row["reason"].startswith(reason) and bool(row["reason"]) == bool(reason)


def test_a_job_that_said_its_end_is_not_lost_with_its_node(there, storage):
    keep(storage, "job-1", **ENDED, model="reviews@3")
    there(Cluster(details("job-1", "FAILED", message=NODE_LOST)))
    (row,) = listed(storage, *CLUSTER)
    assert (row["state"], row["code"], row["model"]) == ("SUCCEEDED", 0, "reviews@3")


def test_status_says_how_to_go_on_with_what_was_cut_off(storage, tmp_path):
    events = [Happened(at=AT, stage="train", what="begins")]
    more = {"events": events, "note": "epoch 2 of 10"}
    keep(storage, "job-1", run="4f1c", stage="train", **more)
    (tmp_path / "存储/runs/4f1c").mkdir(parents=True)
    (tmp_path / "存储/runs/4f1c/run.json").write_text("{}")
    found = json.loads(run("status", "job-1", "--storage", storage, "--json").stdout)
    assert (found["state"], found["note"]) == ("LOST", "epoch 2 of 10")
    assert found["go_on"] == "the same command with --resume 4f1c goes on"
    assert [event["what"] for event in found["events"]] == ["begins"]
    shown = run("status", "job-1", "--storage", storage).stdout
    assert "--resume 4f1c" in shown and "epoch 2 of 10" in shown
    keep(storage, "job-1", run="4f1c", **ENDED)
    assert (
        json.loads(run("status", "job-1", "--storage", storage, "--json").stdout)["go_on"] is None
    )


@pytest.mark.parametrize(
    ("mark", "argv", "command"),
    [
        ("", ("train.py", "配方/评论.toml", "--set", "name=评论 1"),
         "bigmodel train '配方/评论.toml' --set 'name=评论 1'"),
        ("bigmodel-a1b2:", ("train.py", "reviews@3", "--storage", "s3://my-bucket/a"),
         "bigmodel train reviews@3 --storage s3://my-bucket/a"),
        ("bigmodel-a1b2:", ("train.py", "recipe/评论.toml", "--storage", "s3://my-bucket/a"), None),
    ],
)  # fmt: skip
def test_status_says_the_command_where_it_means_the_same_here(storage, mark, argv, command):
    keep(storage, "job-1", **ENDED, mark=mark, argv=("/tmp/x/jobs/" + argv[0], *argv[1:]))
    found = json.loads(run("status", "job-1", "--storage", storage, "--json").stdout)
    assert found["command"] == command
    shown = " ".join(run("status", "job-1", "--storage", storage).stdout.split())
    assert ("│ command" in shown) == bool(command)


LOG = "Runtime env is setting up.\ntrain: 第 1 轮，共 10 轮" + "，很长的一行" * 40 + "\n"


def test_logs_are_whole_lines_whatever_the_width(storage):
    keep(storage, "job-1", LOG.encode(), **ENDED)
    assert run("logs", "job-1", "--storage", storage).stdout == LOG
    as_json = run("logs", "job-1", "--storage", storage, "--json").stdout
    assert json.loads(as_json) == {"id": "job-1", "log": LOG}


def test_the_result_stands_in_a_log_without_its_mark(storage):
    mark = "bigmodel-a1b2:"
    said = f"{LOG}{mark}run:4f1c\ntrain: 2 s\n{mark}" + '{"model": "reviews@3"}\n'
    keep(storage, "job-1", said.encode(), **ENDED, mark=mark)
    shown = run("logs", "job-1", "--storage", storage).stdout
    assert shown == f'{LOG}train: 2 s\n{{"model": "reviews@3"}}\n'


def test_a_followed_log_comes_line_by_line_until_the_end(there, storage):
    cluster = Cluster(details("job-1"))
    cluster.logs["job-1"] = [LOG, "train: epo", "ch 1 of 3\ntrain: 2", ".1 s\n", "坏了"]
    there(cluster)
    done = run("logs", "job-1", "--follow", "--storage", storage, *CLUSTER)
    assert done.stdout == f"{LOG}train: epoch 1 of 3\ntrain: 2.1 s\n坏了"
    assert cluster.looks == 5


class Shaky(Cluster):
    """Doesn't answer every other time."""

    away = False

    def get_job_logs(self, job: str) -> str:
        self.away = not self.away
        if not self.away and self.looks:
            raise ClusterError("connection lost")
        return super().get_job_logs(job)


def test_a_cluster_that_comes_back_is_followed_on(there, storage, monkeypatch):
    monkeypatch.setattr(dashboard, "SECONDS_BETWEEN_TRIES", 0)
    cluster = Shaky(details("job-1"))
    cluster.logs["job-1"] = [LOG, "坏", "了\n"]
    there(cluster)
    done = run("logs", "job-1", "--follow", "--storage", storage, *CLUSTER)
    assert (done.exit_code, done.stdout) == (0, f"{LOG}坏了\n")


def test_a_record_is_followed_as_well(storage, monkeypatch):
    parts = [LOG.encode()[:-5], LOG.encode(), LOG.encode() + "好了".encode()]
    keep(storage, "job-1", parts[0], seen=now())
    looks = iter([*parts[1:], parts[-1]])

    def job_goes_on(seconds: float) -> None:
        ended = {"seen": now()} if (log := next(looks)) == parts[1] else ENDED
        keep(storage, "job-1", log, **ended)

    monkeypatch.setattr(job_logs.time, "sleep", job_goes_on)
    assert run("logs", "job-1", "--follow", "--storage", storage).stdout == f"{LOG}好了"


@pytest.mark.parametrize("lost", ["", ClusterError("its node is gone")])
def test_where_a_cluster_has_a_log_no_more_the_storage_has_it(there, storage, monkeypatch, lost):
    def get_job_logs(self: Cluster, job: str) -> str:
        if lost:
            raise lost
        return ""

    monkeypatch.setattr(Cluster, "get_job_logs", get_job_logs)
    there(Cluster(details("job-1", "FAILED", message=NODE_LOST)))
    keep(storage, "job-1", LOG.encode())
    assert run("logs", "job-1", "--storage", storage, *CLUSTER).stdout == LOG


def test_a_storage_that_cannot_be_read_from_here_hides_no_job_of_the_cluster(
    storage, there, tmp_path, monkeypatch, caplog
):
    """As an s3:// one where there are no credentials."""
    refusal = "s3://my-bucket/{}: can't look there (access is denied); check the credentials"

    def denied(where: object, *_: object) -> None:
        raise ClusterError(refusal.format(where))

    monkeypatch.setattr(job_table, "all_records", denied)
    monkeypatch.setattr(job_table, "read_record", denied)
    there(Cluster(details("job-1"), details("job-2", entrypoint=ENTRY.format("s3://其他"))))
    monkeypatch.chdir(tmp_path)
    done = run("list", *CLUSTER, "--json")
    assert done.exit_code == 0, done.stderr
    assert {row["id"] for row in json.loads(done.stdout)} == {"job-1", "job-2"}
    assert [said.getMessage().partition(";")[2] for said in caplog.records] == [
        " check the credentials; what the cluster itself says of its jobs is all that is shown"
    ]
    done = run("status", "job-1", *CLUSTER, "--json")
    assert (done.exit_code, json.loads(done.stdout)["verb"]) == (0, "train")
    assert len(caplog.records) == 2
    assert run("list", "--storage", storage).exit_code == 5


AWAY = ClusterError("http://localhost:8265: no Ray cluster answers there")


def test_where_neither_can_be_read_it_is_the_cluster_that_was_asked_for(there, monkeypatch):
    def denied(_: str) -> None:
        raise ClusterError("s3://my-bucket: can't look there (access is denied)")

    monkeypatch.setattr(job_records, "all_records", denied)
    there(AWAY)
    done = run("list", "--storage", "s3://my-bucket", *CLUSTER)
    assert (done.exit_code, done.stderr) == (5, f"bigmodel: {AWAY}\n")


def test_a_cluster_that_is_gone_leaves_what_the_storage_tells(there, storage):
    there(AWAY)
    for arguments in (["list"], ["status", "job-1"], ["logs", "job-1"]):
        done = run(*arguments, "--storage", storage, *CLUSTER)
        assert (done.exit_code, "no Ray cluster answers there" in done.stderr) == (5, True)
    keep(storage, "job-1", LOG.encode(), **ENDED)
    for arguments in (["list"], ["status", "job-1"], ["logs", "job-1"]):
        done = run(*arguments, "--storage", storage, *CLUSTER)
        assert done.exit_code == 0, done.stderr
    assert run("stop", "job-1", "--storage", storage, *CLUSTER).exit_code == 5


@pytest.mark.parametrize("verb", ["status", "logs", "stop"])
def test_an_unknown_job_is_one_sentence_and_5(there, storage, verb):
    there(Cluster(details("job-1")))
    done = run(verb, "job-2", "--storage", storage, *CLUSTER)
    assert done.exit_code == 5
    assert "job-2" in done.stderr and "bigmodel jobs list" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["status", "logs", "stop"])
def test_what_can_be_no_id_is_asked_of_nobody(there, storage, verb):
    there(AWAY)
    done = run(verb, "../models", "--storage", storage)
    assert done.exit_code == 2 and "is no job's id" in done.stderr


def test_a_job_is_stopped_and_its_end_waited_for(there, storage):
    cluster = Cluster(details("job-1"), details("job-2"))
    there(cluster)
    done = run("stop", "job-1", "--storage", storage, *CLUSTER, "--json")
    assert json.loads(done.stdout)["state"] == "STOPPED"
    assert cluster.stopped == ["job-1"]


def test_only_a_cluster_can_stop_a_job(storage, there):
    keep(storage, "job-1")
    done = run("stop", "job-1", "--storage", storage)
    assert done.exit_code == 2 and "--cluster" in done.stderr


class Busy(Cluster):
    """Stops nothing."""

    def stop_job(self, job: str) -> bool:
        return True


def test_a_job_that_waits_is_stopped_when_it_gets_a_cpu(there, storage, monkeypatch):
    there(Busy(details("job-1", "PENDING", message=WAITS)))
    monkeypatch.setattr(jobs, "SECONDS_TO_BEGIN", 0)
    done = run("stop", "job-1", "--storage", storage, *CLUSTER, "--json")
    assert "is stopped when it gets one" in json.loads(done.stdout)["reason"]


def test_a_job_that_never_stops_is_5(there, storage, monkeypatch):
    there(Busy(details("job-1")))
    monkeypatch.setattr(jobs, "SECONDS_TO_STOP", 0)
    done = run("stop", "job-1", "--storage", storage, *CLUSTER)
    assert done.exit_code == 5 and "goes on after 0 s" in done.stderr


def test_a_table_of_jobs_keeps_ids_whole_on_a_narrow_terminal(there, storage, monkeypatch):
    keep(storage, "bigmodel-3f2a-1-12", **ENDED, stage="cross-validate", model="reviews@13")
    keep(storage, "raysubmit_4LamXRuQpYdSMg7J", seen=now(), who="wang@gpu-box-7.example.com")
    there(Cluster(details("bigmodel-3f2a-2-1", "PENDING", message=WAITS)))
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("list", "--storage", storage, *CLUSTER).stdout
    for id in ("bigmodel-3f2a-1-12", "raysubmit_4LamXRuQpYdSMg7J", "bigmodel-3f2a-2-1"):
        assert id in shown
    for value in ("wang@gpu-box-7.example.com", "cross-validate", "reviews@13", "waits for a CPU"):
        assert value in shown
    assert max(map(cell_len, shown.splitlines())) <= 80


def test_a_lost_jobs_silence_is_measured_from_its_last_sign(monkeypatch, storage):
    record = keep(storage, "job-1")
    monkeypatch.setattr(job_table, "now", lambda: AT + timedelta(seconds=119))
    assert job_table.of_storage(record, storage).state == "RUNNING"
    monkeypatch.setattr(job_table, "now", lambda: AT + timedelta(seconds=121))
    assert job_table.of_storage(record, storage).state == "LOST"
