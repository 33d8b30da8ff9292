"""What a job keeps of itself in storage: its stages, its whole log, its end; and what it makes of a
storage that can't be written."""

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from waiting import wait_for

from bigmodel import progress
from bigmodel.cluster import job_table, recording
from bigmodel.cluster.job_records import (
    PART,
    Record,
    all_records,
    place_of,
    read_log,
    read_record,
    write_record,
)
from bigmodel.cluster.recording import Recorder, log_file
from bigmodel.cluster.session import JOB_CONFIG
from bigmodel.errors import DataError, RecipeError
from bigmodel.training.told import GO_ON
from jobs import submitted as submitted_job
from jobs.start import job

JOB = "bigmodel-3f2a-1-7"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def record(**more: object) -> Record:
    known = {
        "id": JOB,
        "verb": "train",
        "name": "reviews",
        "bigmodel": "0.1",
        "began": AT,
        "seen": AT,
    }
    return Record.model_validate(known | more)


@pytest.fixture
def storage(tmp_path) -> str:
    return str(tmp_path / "存储")


@pytest.fixture
def source(tmp_path) -> Path:
    """The log as Ray keeps it, which begins with a line of Ray's."""
    file = tmp_path / f"job-driver-{JOB}.log"
    file.write_text(f"Running entrypoint for job {JOB}: python -m jobs.train\n")
    return file


@pytest.fixture
def recorder(storage, source):
    recorder = Recorder(place_of(storage, JOB), record(source=str(source)), source)
    recorder.begin()
    yield recorder
    recorder.end(0)


def kept(storage: str) -> Record:
    found = read_record(place_of(storage, JOB))
    assert found
    return found


def test_a_record_follows_its_job_from_stage_to_stage(storage, recorder):
    assert (kept(storage).stage, kept(storage).ended) == ("", None)
    with progress.stage("prepare", total=160) as stage:
        stage.update(done=80)
    with progress.stage("train") as stage:
        stage.say(f"a checkpoint is kept; if stopped, {GO_ON.format('4f1c0de')}")
        stage.update(note="epoch 2 of 10")
        recorder.keep()
        now = kept(storage)
        assert (now.stage, now.note, now.run, now.model) == (
            "train",
            "epoch 2 of 10",
            "4f1c0de",
            None,
        )
    recorder.tell({"model": "reviews@3", "run_id": "4f1c0de", "seconds": 1.5})
    recorder.end(0)
    ended = kept(storage)
    assert (ended.model, ended.run, ended.code) == ("reviews@3", "4f1c0de", 0)
    assert ended.ended and ended.ended >= ended.began
    assert [(one.stage, one.what) for one in ended.events] == [
        ("prepare", "begins"),
        ("prepare", "ended"),
        ("train", "begins"),
        (
            "train",
            "a checkpoint is kept; if stopped, the same command with --resume 4f1c0de goes on",
        ),
        ("train", "ended"),
    ]


def test_after_its_end_a_record_hears_of_nothing_more(storage, recorder):
    recorder.end(0)
    with progress.stage("serve"):
        pass
    recorder.keep()
    assert kept(storage).stage == ""


SIZES = [1, 70_000, PART - 70_001, 1, PART, 3 * PART + 5, 0, 12]


def test_the_log_is_kept_to_the_last_byte_whatever_comes_at_once(storage, source, recorder):
    place = place_of(storage, JOB)
    for size in SIZES:
        with source.open("ab") as file:
            file.write(os.urandom(size))
        recorder.keep()
        assert b"".join(read_log(place)) == source.read_bytes()
    whole = source.read_bytes()
    assert len(place.names()) == 1 + -(-len(whole) // PART)
    for start in (
        1,
        PART - 1,
        PART,
        PART + 1,
        2 * PART,
        len(whole) - 1,
        len(whole),
        len(whole) + 9,
    ):
        assert b"".join(read_log(place, start)) == whole[start:]


def test_ten_thousand_lines_are_the_same_lines_after_the_end(storage, source, recorder):
    with source.open("a") as file:
        file.writelines(f"train: 第 {number} 行，共一万行\n" for number in range(10_000))
    recorder.end(0)
    assert b"".join(read_log(place_of(storage, JOB))) == source.read_bytes()


def test_what_is_said_as_the_process_exits_is_copied_too(storage, source, tmp_path):
    script = f"""
from bigmodel.cluster.job_records import Record, now, place_of
from bigmodel.cluster.recording import Recorder, log_file
about = dict(id={JOB!r}, verb="train", name="reviews", bigmodel="0.1", began=now(), seen=now())
recorder = Recorder(place_of({storage!r}, {JOB!r}), Record(**about), log_file({JOB!r}))
recorder.begin()
recorder.end(3)
print("bigmodel: 评论.csv: empty", flush=True)
"""
    with source.open("a") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, stderr=out, check=True)
    assert b"".join(read_log(place_of(storage, JOB))) == source.read_bytes()
    assert source.read_text().endswith("empty\n")


PRINTING = f"""
import sys, time
from bigmodel.cluster.job_records import Record, now, place_of
from bigmodel.cluster.recording import Recorder, log_file
about = dict(id={JOB!r}, verb="train", name="reviews", bigmodel="0.1", began=now(), seen=now())
Recorder(place_of(sys.argv[1], {JOB!r}), Record(**about), log_file({JOB!r})).begin()
for line in range(10_000_000):
    print("train: 第", line, "行", flush=True)
    time.sleep(0.001)
"""


def test_a_process_that_is_killed_leaves_its_log_but_for_the_last_seconds(storage, source):
    place = place_of(storage, JOB)
    with source.open("a") as out:
        started = subprocess.Popen([sys.executable, "-c", PRINTING, storage], stdout=out)
    try:
        wait_for(lambda: len(b"".join(read_log(place))) > 10_000, within_s=60)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    left, whole = b"".join(read_log(place)), source.read_bytes()
    assert len(left) > 10_000 and whole.startswith(left)
    assert kept(storage).ended is None


def test_rays_log_is_found_by_its_name_and_nothing_else_is_copied(source, tmp_path):
    script = f"import bigmodel.cluster.recording as r; print(r.log_file({JOB!r}), flush=True)"
    for out, found in ((source, str(source)), (tmp_path / "my.log", "None")):
        with out.open("a") as file:
            subprocess.run([sys.executable, "-c", script], stdout=file, stderr=file, check=True)
        assert out.read_text().splitlines()[-1] == found
    assert log_file(JOB) is None


def test_a_storage_that_cant_be_written_is_one_warning_and_no_end(storage, source, caplog):
    Path(storage).write_text("a file is in the way")
    recorder = Recorder(place_of(storage, JOB), record(source=str(source)), source)
    with caplog.at_level(logging.WARNING):
        recorder.begin()
        recorder.keep()
        with progress.stage("train"):
            pass
        Path(storage).unlink()
        recorder.end(0)
    assert [said.getMessage().partition(":")[0] for said in caplog.records] == [
        "the record of this job can't be kept for now"
    ]
    assert b"".join(read_log(place_of(storage, JOB))) == source.read_bytes()
    assert (kept(storage).stage, kept(storage).code) == ("train", 0)


def test_a_job_of_another_cluster_with_the_same_id_takes_nothing_away(
    storage, source, recorder, tmp_path
):
    with source.open("ab") as file:
        file.write(b"x" * 3 * PART)
    recorder.end(4)
    other = tmp_path / "other" / source.name
    other.parent.mkdir()
    other.write_text("short\n")
    again = Recorder(place_of(storage, JOB), record(source=str(other)), other)
    again.begin()
    again.end(0)
    assert b"".join(read_log(place_of(storage, JOB))) == b"short\n"
    before = f"{JOB}.20261122T120000"
    assert b"".join(read_log(place_of(storage, before))) == source.read_bytes()
    assert {job: one.code for job, one in all_records(storage).items()} == {JOB: 0, before: 4}


def test_a_second_command_of_the_same_job_goes_on_with_its_log(storage, source, recorder):
    recorder.end(0)
    again = Recorder(place_of(storage, JOB), record(verb="evaluate", source=str(source)), source)
    again.begin()
    assert kept(storage).ended is None
    again.end(4)
    assert b"".join(read_log(place_of(storage, JOB))) == source.read_bytes()
    assert (kept(storage).verb, kept(storage).code) == ("evaluate", 4)


def test_a_living_job_says_so_now_and_then(storage, recorder, monkeypatch):
    before = kept(storage).seen
    recorder.keep()
    assert kept(storage).seen == before
    monkeypatch.setattr(recording, "SECONDS_BETWEEN_SIGNS_OF_LIFE", 0)
    recorder.keep()
    assert kept(storage).seen > before


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ({"ended": AT, "code": 0}, "SUCCEEDED", ""),
        ({"ended": AT, "code": 3, "why": "评论.csv: empty"}, "FAILED", "评论.csv: empty"),
        ({"ended": AT, "code": 1}, "FAILED", "it ended with exit code 1"),
        ({"ended": AT, "code": 130}, "STOPPED", ""),
        ({"seen": AT + timedelta(seconds=590)}, "RUNNING", ""),
        ({}, "LOST", "nothing was heard of it since 2026-11-22 12:00:00 UTC"),
        ({"stopping": True}, "STOPPED", "it was asked to stop, and nothing was heard of it since"),
    ],
)
def test_a_record_tells_what_became_of_its_job(monkeypatch, end, state, reason):
    monkeypatch.setattr(job_table, "now", lambda: AT + timedelta(seconds=600))
    found = job_table.of_storage(record(**end), "s3://bucket")
    assert found.state == state
    assert found.reason.startswith(reason) and bool(found.reason) == bool(reason)


@pytest.mark.parametrize(
    "id", ["", ".", "..", "../models", "a/b", "a b", "-x", "任务", "a" * 101, "a\n"]
)
def test_what_is_no_id_leads_to_no_folder(storage, id):
    with pytest.raises(RecipeError, match="is no job's id"):
        place_of(storage, id)


@pytest.mark.parametrize("id", [JOB, "raysubmit_4LamXRuQpYdSMg7J", "_1", "a.b", "a" * 100])
def test_ids_of_ours_and_of_rays_are_folders(storage, id):
    assert place_of(storage, id).uri == f"{storage}/jobs/{id}"


def test_a_damaged_record_hides_no_other(storage):
    write_record(place_of(storage, JOB), record())
    place_of(storage, "broken").write("job.json", b'{"id": "br')
    place_of(storage, "empty").write("log/000000", b"x")
    assert list(all_records(storage)) == [JOB]
    assert all_records(f"{storage}/没有") == {}


@job(takes="MODEL", show=str)
@click.option("--how")
def predict_all(model: str, *, storage: str, how: str) -> dict[str, str]:
    """What is submitted."""
    with progress.stage("predict"):
        if how == "empty":
            raise DataError("评论.csv: empty")
        if how == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        if how == "bug":
            raise ZeroDivisionError
    return {"model": model}


@pytest.fixture
def submitted(monkeypatch):
    """Run the command as a job of a plain `ray job submit`, or with our metadata."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(submitted_job, "_checked", lambda work, *_: work(), raising=False)

    def run(storage: str, how: str, **metadata: str):
        about = {"metadata": {"job_submission_id": JOB, "job_name": JOB, **metadata}}
        monkeypatch.setenv(JOB_CONFIG, json.dumps(about))
        return CliRunner().invoke(predict_all, ["reviews@3", "--how", how, "--storage", storage])

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("how", "code", "model", "stopping"),
    [
        ("well", 0, "reviews@3", False),
        ("empty", 3, None, False),
        ("stop", 130, None, True),
        ("bug", 1, None, False),
    ],
)
def test_a_submitted_command_keeps_how_it_ended(submitted, storage, how, code, model, stopping):
    assert submitted(storage, how).exit_code == code
    found = kept(storage)
    assert (found.code, found.model, found.stopping) == (code, model, stopping)
    assert (found.verb, found.name, found.who) == (Path(__file__).stem, "reviews", "")
    assert found.events[0].stage == "predict" and found.ended


def test_who_submitted_it_stands_in_its_record(submitted, storage):
    assert submitted(storage, "well", name="reviews", who="li@laptop").exit_code == 0
    assert (kept(storage).name, kept(storage).who) == ("reviews", "li@laptop")


def test_no_password_stands_in_a_record(submitted, storage, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--data", "s3://li:geheim@bucket/评论.csv"])
    assert submitted(storage, "well").exit_code == 0
    assert kept(storage).argv == ("evaluate.py", "--data", "***@bucket/评论.csv")


def test_a_command_ends_as_it_would_where_no_record_can_be_kept(submitted, storage):
    Path(storage).write_text("a file is in the way")
    done = submitted(storage, "well")
    assert (done.exit_code, "reviews@3" in done.stdout) == (0, True)
    assert submitted(storage, "empty").exit_code == 3


def test_a_log_that_is_gone_is_one_warning_too(storage, source, caplog):
    recorder = Recorder(place_of(storage, JOB), record(), source.with_name("gone.log"))
    recorder.begin()
    recorder.end(0)
    assert len(caplog.records) == 1
