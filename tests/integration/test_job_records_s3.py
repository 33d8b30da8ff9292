"""The record of a job on an S3 server: its log while it goes, and after its process has ended."""

import subprocess
import sys
from datetime import UTC, datetime

from bigmodel.cluster.job_records import PART, Record, all_records, place_of, read_log
from bigmodel.cluster.recording import Recorder

JOB = "bigmodel-3f2a-1-7"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ABOUT = {"id": JOB, "verb": "train", "name": "reviews", "bigmodel": "0.1", "began": AT, "seen": AT}

PROGRAM = f"""
import sys
from bigmodel.cluster.job_records import Record, now, place_of
from bigmodel.cluster.recording import Recorder, log_file
about = dict(id={JOB!r}, verb="train", name="reviews", bigmodel="0.1", began=now(), seen=now())
recorder = Recorder(place_of(sys.argv[1], {JOB!r}), Record(**about), log_file({JOB!r}))
recorder.begin()
for line in range(10_000):
    print("train: 第", line, "行，共一万行")
sys.stdout.flush()
recorder.end(0)
print("said after its end", flush=True)
"""


def test_a_log_grows_there_in_parts_that_are_written_again(s3, tmp_path):
    source, place = tmp_path / f"job-driver-{JOB}.log", place_of(s3, JOB)
    source.write_text("train: 开始\n")
    recorder = Recorder(place, Record.model_validate(ABOUT), source)
    recorder.begin()
    for size in (10, PART, 3):
        with source.open("ab") as file:
            file.write(b"x" * size)
        recorder.keep()
        assert b"".join(read_log(place)) == source.read_bytes()
        assert b"".join(read_log(place, 12)) == source.read_bytes()[12:]
    recorder.end(3)
    assert place.names() == ["job.json", "log/000000", "log/000001"]
    assert all_records(s3)[JOB].code == 3


def test_a_whole_process_leaves_all_that_it_said(s3, tmp_path):
    source = tmp_path / f"job-driver-{JOB}.log"
    with source.open("a") as out:
        subprocess.run([sys.executable, "-c", PROGRAM, s3], stdout=out, stderr=out, check=True)
    said = b"".join(read_log(place_of(s3, JOB))).decode()
    assert said == source.read_text() and said.count("共一万行\n") == 10_000
    assert said.endswith("said after its end\n")


def test_a_server_that_nobody_reaches_ends_no_job(s3, caplog):
    place = place_of(f"{s3}?endpoint_override=http://127.0.0.1:9", JOB)
    recorder = Recorder(place, Record.model_validate(ABOUT), None)
    recorder.begin()
    recorder.end(0)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "the record of this job can't be kept for now" in warning and "nobody answers" in warning
