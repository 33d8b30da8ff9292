"""A Ray head on this machine that outlives the command which started it: `bigmodel up`, `down`.

It listens on the loopback alone, wants a token for everything, and keeps its files where nobody
else can read them. What was started is written down, and only that is ended.
"""

import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import bigmodel
from bigmodel.cluster import private
from bigmodel.cluster.asking import Answer, ask
from bigmodel.cluster.processes import Started, undisturbed
from bigmodel.cluster.session import LOCAL, LOOPBACK, SETTINGS
from bigmodel.errors import ClusterError

RAY_START = (sys.executable, "-m", "ray.scripts.scripts", "start")

OPTIONS = (
    "--head",
    "--block",  # stays, and ends what it started when it ends
    "--node-ip-address=127.0.0.1",
    "--dashboard-host=127.0.0.1",
    # one more than there are, for the drivers of jobs: a worker for each finds room beside its own
    f"--num-cpus={1 + (os.cpu_count() or 1)}",
    "--min-worker-port=0",  # any that is free
    "--max-worker-port=0",
    "--include-log-monitor=false",
    "--disable-usage-stats",
)

PORTS = {
    "port": 6379,
    "dashboard-port": 8265,
    "dashboard-agent-listen-port": 52365,
    "ray-client-server-port": 10001,
}
"""What Ray listens on by default; another port where that one is taken."""

PATIENT = {"RAY_agent_register_timeout_ms": "120000"}
"""After Ray's 30 s, a head on a very busy machine would end while it starts."""

TOKEN = "token"
STATE = "head.json"

APPLICATIONS = "/api/serve/applications/"

SECONDS_TO_START = 120.0
SECONDS_TO_ANSWER = 30.0


@dataclass(frozen=True)
class Head:
    """What `start` started."""

    dashboard: int
    """Its port."""
    gcs: int
    """The port that drivers join at."""
    folder: str
    """Of Ray's files and its log, gone with it."""
    version: str
    """Ours, that started it."""
    started: Started

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"


def start(variables: Callable[[Path], Mapping[str, str]]) -> tuple[Head, bool]:
    """The head that runs, and whether it was started now, with the `variables` of its folder set.

    ClusterError, and nothing left running, where it doesn't come up or lets anybody in.
    """
    with private.locked():
        if head := _recorded():
            if _goes_on(head):
                return head, False
            _end(head)
        token = secrets.token_hex(32)
        private.write(TOKEN, token)
        folder = Path(tempfile.mkdtemp(prefix="bigmodel-", dir="/tmp"))  # short: it holds sockets
        ports = {option: _port(default) for option, default in PORTS.items()}
        head = Head(
            dashboard=ports["dashboard-port"],
            gcs=ports["port"],
            folder=str(folder),
            version=bigmodel.__version__,
            started=Started(0, (), str(folder)),
        )
        try:
            wanted = variables(folder)
            with undisturbed():
                head = replace(head, started=_spawn(folder, ports, wanted))
                _record(head)
            _wait_until_up(head, token)
            head = replace(head, started=head.started.seen())
            _record(head)
        except BaseException:
            _end(replace(head, started=head.started.seen()))  # its first process may be gone
            raise
        return head, True


def stop() -> Head | None:
    """End the head that was started here: its endpoint answers what it has, then all is gone.

    None where it doesn't run any more; what it left behind is removed either way.
    """
    with private.locked():
        head = _recorded()
        if head is None:
            return None
        lived = head.started.alive
        if lived:
            _end_endpoint(head, private.read(TOKEN))
        _end(head)
        return head if lived else None


def living_head() -> tuple[Head, str] | None:
    """The head that `start` left running, and its token; None without one."""
    head = _recorded()
    if head is None or not head.started.alive:
        return None
    token = private.read(TOKEN)
    if not token:
        raise ClusterError(
            f"{private.path(TOKEN)}: the head's token isn't there; start the head anew with: "
            "bigmodel down, bigmodel up"
        )
    return head, token


def _recorded() -> Head | None:
    """The head that was written down, dead or alive; None without one."""
    try:
        fields = json.loads(private.read(STATE))
        started = Started(**{**fields["started"], "lasting": tuple(fields["started"]["lasting"])})
        return Head(**{**fields, "started": started})
    except (ValueError, TypeError, KeyError):
        return None


def _goes_on(head: Head) -> bool:
    """Will it live? One that was killed has processes for some seconds that nobody looks after; one
    that is only slow is left alone."""
    token = private.read(TOKEN)
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while head.started.led and time.monotonic() < deadline:
        if _answers(head, token):
            return True
        time.sleep(0.1)
    return head.started.led


def _record(head: Head) -> None:
    private.write(STATE, json.dumps(asdict(head)))


def _end(head: Head) -> None:
    """All of it; of one that was killed its workers and its HAProxy may be left."""
    head.started.end()
    _forget(head)


def _forget(head: Head) -> None:
    shutil.rmtree(head.folder, ignore_errors=True)
    private.remove(TOKEN)
    private.remove(STATE)


def _port(default: int) -> int:
    """The default where nobody listens on it, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", default))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _spawn(folder: Path, ports: Mapping[str, int], variables: Mapping[str, str]) -> Started:
    """`ray start` in a session of its own, its log in the head's folder."""
    _raise_file_limit()
    own = [f"--{option}={port}" for option, port in ports.items()]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*RAY_START, *OPTIONS, *own, f"--temp-dir={folder}/ray"],
            cwd=folder,
            env=_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Started(process.pid, (process.pid,), str(folder))
    while not started.alive and process.poll() is None:
        time.sleep(0.01)  # for a moment a new process has no command line
    process.returncode = 0  # it outlives us, of which Popen would warn
    return started


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Of all the head's processes: ours over the user's, and no other cluster in it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(private.path(TOKEN))}
    other = dict.fromkeys(("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN"))
    ours = {**SETTINGS, **LOCAL, **LOOPBACK, **PATIENT}
    merged = {**os.environ, **ours, **variables, **other, **token}
    own = Path(sys.executable).parent  # a job is started as `python`, and means this one
    merged["PATH"] = os.pathsep.join([str(own), os.environ.get("PATH", os.defpath)])
    root = Path(bigmodel.__file__).parents[1]
    if root.name != "site-packages":  # a checkout, which all of them must find
        merged["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return {name: value for name, value in merged.items() if value is not None}


def _raise_file_limit() -> None:
    """As `ray.init` does: what a shell has is often too little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _wait_until_up(head: Head, token: str) -> None:
    """Return once it can run something, and was seen to refuse whoever has no token."""
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        status = _ask(head, "/api/jobs/", None).status
        if status == 200:
            raise ClusterError(
                "the head answers without a token, so it was ended again; see that nothing in the "
                "environment sets RAY_AUTH_MODE"
            )
        if status == 401 and _answers(head, token):
            return
        if not head.started.alive or time.monotonic() > deadline:
            raise ClusterError(
                f"the head didn't start ({_reason(head)}); nothing of it was left running, so try "
                "again once the machine is less busy, or look at what it has left: bigmodel doctor"
            )
        time.sleep(0.1)


def _reason(head: Head) -> str:
    """Which of its processes ended, as its log has it, or else the log's last line."""
    lines = Path(head.folder, "log").read_text(errors="replace").splitlines()
    said = [line.rpartition(" -- ")[2].strip() for line in lines if line.strip()]
    ended = [line for line in said if "[exit code=" in line]
    return (ended or said or ["no reason"])[-1]


def _answers(head: Head, token: str) -> bool:
    return _ask(head, "/api/jobs/", token).status == 200 and _has_node(head, token)


def _has_node(head: Head, token: str) -> bool:
    """Is there somewhere for a job to run?"""
    nodes = _ask(head, "/nodes?view=summary", token).value("data", "summary") or []
    return any(node.get("raylet", {}).get("state") == "ALIVE" for node in nodes)


def _end_endpoint(head: Head, token: str) -> None:
    """Wait until what is in flight is answered, with the way in still open: Serve's own shutdown
    would close that first."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    if applications(head, token):
        _ask(head, APPLICATIONS, token, wanted={"applications": []})
    while applications(head, token) and time.monotonic() < deadline:
        time.sleep(0.1)


def applications(head: Head, token: str) -> dict[str, Any]:
    """What Ray Serve runs, by name; empty where nobody answers."""
    return _ask(head, APPLICATIONS, token).value("applications") or {}


def _ask(
    head: Head, path: str, token: str | None, *, wanted: dict[str, Any] | None = None
) -> Answer:
    return ask(head.address + path, token, within_s=SECONDS_TO_ANSWER, wanted=wanted)
