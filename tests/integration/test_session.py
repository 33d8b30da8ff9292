"""One Ray session for one command: its own, quiet, found by its workers, and gone at the end."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = """
import json, os, signal
from bigmodel.cluster.session import prepare_environment, ray_session
prepare_environment()
import psutil, ray
from bigmodel.errors import DataError

def look():
    import bigmodel, jobs, serve
    context = ray.get_runtime_context()
    ports = os.environ["RAY_ADDRESS"].split(":")[1], context.gcs_address.split(":")[1]
    return *ports, os.nice(0), os.environ["RAY_AUTH_MODE"]

def refuse(batch):
    raise DataError("评论.csv: no column 'label'")

def listening():
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_ = [one for process in processes for one in process.net_connections("tcp")]
    return {one.laddr.ip.removeprefix("::ffff:") for one in open_ if one.status == "LISTEN"}

signal.signal(signal.SIGTERM, signal.default_int_handler)
with ray_session(num_cpus=2):
    ours = signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    port, own, niceness, access = ray.get(ray.remote(look).remote())
    with ray_session():
        inner = ray.cluster_resources()["CPU"]
    import ray.data
    try:
        ray.data.range(4).map_batches(refuse).materialize()
    except Exception as error:
        from jobs.start import user_error
        found = type(user_error(error)).__name__, str(user_error(error)).splitlines()[0]
    still, reached_at = ray.is_initialized(), sorted(listening())
print(json.dumps({
    "found its own": port == own, "nicer": niceness - os.nice(0), "access": access,
    "inner": inner, "outlives inner": still, "SIGTERM is ours": ours,
    "reached at": reached_at,
    "ended": not ray.is_initialized(), "error": found, "address": os.environ.get("RAY_ADDRESS"),
}))
"""


@dataclass(frozen=True)
class Finished:
    pid: int
    code: int
    out: str
    err: str
    home: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    """The program above, run to its end from a folder of its own and in a session of its own."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=home,
        env=kept | {"HOME": str(home), "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = process.communicate(timeout=240)
    return Finished(process.pid, process.returncode, out, err, home)


def test_a_session_is_its_own_and_says_nothing(finished):
    assert (finished.code, finished.err) == (0, "")
    assert json.loads(finished.out) == {
        "found its own": True,
        "nicer": 0,
        "access": "token",
        "inner": 2.0,
        "outlives inner": True,
        "SIGTERM is ours": True,
        "reached at": ["127.0.0.1"],
        "ended": True,
        "error": ["DataError", "评论.csv: no column 'label'"],
        "address": None,
    }


def test_a_session_writes_nothing_into_the_home_folder(finished):
    assert not list(finished.home.iterdir())


def test_a_session_leaves_no_process_behind(finished):
    deadline = time.monotonic() + 20
    while left := processes_of(finished.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def processes_of(session: int) -> list[str]:
    """The command lines of the living processes of a (POSIX) session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = stat.read_text().rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
