"""A head that goes on living: closed to whoever has no token, HAProxy before its endpoint, and gone
without a trace."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import strangers
from crowd import Crowd
from waiting import wait_for

from bigmodel.artifact import Artifact
from bigmodel.cluster.session import LOOPBACK

BIN = Path(sys.executable).parent
TEXT = "手机电池不耐用"
SECONDS_TO_JOIN = 120
SECONDS_OF_REFUSAL = 40

OPEN = {"/", "/favicon.ico", "/api/authentication_mode", "/api/gcs_healthz"}
"""Of the dashboard's routes: an empty page that asks for the token, and whether it runs. The files
of that page, below /static/, are open as well."""

METHODS = (
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetSystemConfig",  # of the raylet
    "/ray.rpc.RayletDriver/ClusterInfo",  # of Ray's client server
)
"""What drivers, workers and clients call first."""

DEPLOY = """
import sys
from bigmodel.cluster.head import living_head
from bigmodel.cluster.session import attached
uri, digest, port, version, code = sys.argv[1:]
head, token = living_head()
with attached(head.gcs, token):
    from serve import rollout
    from serve.wanted import Pinned, ServeArgs
    args = ServeArgs(name="tiny", code=code)
    print(rollout.deploy(Pinned(uri=uri, digest=digest, version=version), args, port=int(port)))
"""
"""What `deploy` does there; another `code` is that of another release, and needs new processes."""


@dataclass(frozen=True)
class Up:
    """What `up` said, and where its files lie."""

    result: dict[str, Any]
    said: str
    home: Path
    environment: dict[str, str]

    @property
    def token(self) -> str:
        return Path(self.result["token"]).read_text()

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.home / "head" / "head.json").read_text())

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command(self.environment, *arguments)


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "bigmodel"), *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A head that is ended again, if a test hasn't done so."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
    environment = kept | {"HOME": str(home), "BIGMODEL_HOME": str(home / "own")}
    finished = command(environment, "up")
    try:
        assert finished.returncode == 0, finished.stderr
        said = finished.stdout + finished.stderr
        yield Up(json.loads(finished.stdout), said, home / "own", environment)
    finally:
        command(environment, "down")


@pytest.fixture(scope="module")
def url(up: Up, tiny_uri: str) -> str:
    """Of a tiny model that the head answers with."""
    return deployed(up, tiny_uri, free_port(), version="7", code="of this test")


def deployed(up: Up, uri: str, port: int, *, version: str, code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", DEPLOY, uri, Artifact.load(uri).digest, str(port), version, code],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_up_lets_nobody_in_without_its_token(up: Up) -> None:
    jobs = f"{up.result['address']}/api/jobs/"
    assert (status(jobs, None), status(jobs, "0" * 64), status(jobs, up.token)) == (401, 403, 200)
    assert Path(up.result["token"]).stat().st_mode & 0o777 == 0o600


def test_its_token_is_in_no_output_and_no_command_line(up: Up) -> None:
    lines = [" ".join(each.cmdline()) for each in processes_of(up)]
    assert lines
    assert not [line for line in [up.said, *lines] if up.token in line]


def test_every_route_of_its_dashboard_wants_the_token(up: Up) -> None:
    logs = Path(up.state["folder"], "ray", "session_latest", "logs")
    found = strangers.routes(logs / "dashboard.log")
    paths = {path for _, path in found}
    assert {"/api/jobs/", "/api/packages/0/0", "/api/serve/applications/", "/api/v0/logs/0"} < paths
    assert len(found) > 60
    let_in = {}
    for method, path in found:
        for token, refusal in ((None, 401), ("0" * 64, 403)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            said, _ = strangers.status(up.result["address"], method, path, headers)
            if said != refusal:
                let_in.setdefault(path, []).append((method, said))
    assert let_in.keys() == OPEN, let_in


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/jobs/", {"Authorization": "Bearer "}),
        ("/api/jobs/", {"Authorization": "Basic dG9rZW46"}),
        ("/api/jobs/", {"Authorization": "0"}),
        ("/api/jobs/", {"Cookie": "ray-authentication-token=0"}),
        ("/api/jobs/", {"X-Ray-Authorization": "Bearer 0"}),
        ("//api/jobs/", {}),
        ("/static/../api/jobs/", {}),
        ("/static/%2e%2e/api/jobs/", {}),
        ("/static/../../../../../../../../../../etc/passwd", {}),
        ("/api/gcs_healthz/../jobs/", {}),
        ("/api/gcs_healthz%2f..%2fjobs/", {}),
        ("http://localhost/api/jobs/", {}),
    ],
)
def test_there_is_no_way_around_it(up: Up, path: str, headers: dict[str, str]) -> None:
    said, _ = strangers.status(up.result["address"], "GET", path, headers)
    assert said in (401, 403, 404)


def test_no_service_takes_a_call_without_it(up: Up) -> None:
    """All that a driver, a worker or a Ray client begins with; `make chaos` has real ones."""
    addresses = [f"127.0.0.1:{port}" for port in ports_of(up)]
    for method in METHODS:
        said = {
            token: {strangers.called(address, method, token) for address in addresses}
            for token in (None, "0" * 64, up.token)
        }
        for stranger in (None, "0" * 64):
            assert "UNAUTHENTICATED" in said[stranger], (method, said)
            assert said[stranger] <= {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE"}, method
        assert "UNAUTHENTICATED" not in said[up.token], (method, said)


def test_what_else_answers_http_without_it_are_figures(up: Up) -> None:
    """Ray's metrics, which it has no token for; they are on the loopback, as all else."""
    answering: dict[int, dict[str, bytes]] = {}
    for port in ports_of(up):
        for path in ("/", "/metrics", "/api/job_agent/jobs/", "/logs", "/api/version"):
            said, body = strangers.status(f"http://127.0.0.1:{port}", "GET", path)
            if said == 200:
                answering.setdefault(port, {})[path] = body
    assert answering.pop(int(up.result["address"].rpartition(":")[2])).keys() == {"/"}
    for port, bodies in answering.items():
        assert all(body.startswith(b"# HELP ") for body in bodies.values()), (port, bodies)


@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://evil.example"},
        {"Referer": "http://evil.example/a"},
        {"Sec-Fetch-Site": "cross-site"},
        {"User-Agent": "Mozilla/5.0"},
    ],
)
def test_a_web_page_changes_nothing_even_with_the_token(up: Up, header: dict[str, str]) -> None:
    """With it, it may read under any name of the machine: Ray doesn't look at Host."""
    address, sent = up.result["address"], {"Authorization": f"Bearer {up.token}", **header}
    for method, path in (
        ("POST", "/api/jobs/"),
        ("PUT", "/api/packages/gcs/_ray_pkg_0.zip"),
        ("PUT", "/api/serve/applications/"),
        ("DELETE", "/api/serve/applications/"),
        ("DELETE", "/api/jobs/0"),
    ):
        assert strangers.status(address, method, path, sent)[0] == 405
    foreign = {"Host": "evil.example"}
    assert strangers.status(address, "GET", "/api/version", sent | foreign)[0] == 200
    assert strangers.status(address, "GET", "/api/version", header | foreign)[0] == 401


def client_port(up: Up) -> int:
    """That of Ray's client server, which comes up after the rest; 0 before it."""
    servers = [each for each in processes_of(up) if "client.server" in command_line(each)]
    return next((found.laddr.port for each in servers for found in listening(each)), 0)


@pytest.mark.chaos
@pytest.mark.parametrize("token", ["none", "wrong", "right"])
@pytest.mark.parametrize("client", [False, True])
def test_no_driver_joins_it_without_its_token(up: Up, client: bool, token: str) -> None:
    """By its GCS, or by Ray's client port. Ray goes on asking a GCS that refuses it."""
    port = wait_for(lambda: client_port(up), within_s=60)
    address = f"ray://127.0.0.1:{port}" if client else f"127.0.0.1:{up.state['gcs']}"
    known = {"wrong": "0" * 64, "right": up.token}
    theirs = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": known.get(token, "")}
    program = f"import ray; ray.init({address!r}); print('joined', flush=True)"
    try:
        said = subprocess.run(
            [sys.executable, "-c", program],
            env=up.environment | LOOPBACK | {"HOME": "/nonexistent"} | theirs,
            capture_output=True,
            timeout=SECONDS_TO_JOIN if token == "right" else SECONDS_OF_REFUSAL,
        ).stdout
    except subprocess.TimeoutExpired as waiting:
        said = waiting.stdout or b""
    assert (b"joined" in said) == (token == "right")


def test_it_is_found_by_the_next_command_and_not_started_twice(up: Up) -> None:
    again = up.command("up")
    assert (again.returncode, json.loads(again.stdout)) == (0, up.result | {"started": False})


def test_the_doctor_finds_nothing_wrong_with_it(up: Up) -> None:
    """But for what else is on this machine."""
    address = up.result["address"]
    given = up.environment | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": up.result["token"]}
    rows = json.loads(command(given, "doctor", "--cluster", address).stdout)
    files = [row["state"] for row in rows if row["check"] in ("token", "head")]
    doors = [row["state"] for row in rows if f"({address})" in row["found"]]
    assert files == ["ok"] * 4 and doors == ["ok"] * 2, rows
    ports = " ".join(row["found"] for row in rows if row["check"] == "ports")
    assert not [each for each in processes_of(up) if f"({each.pid})" in ports], ports


def test_its_endpoint_answers(url: str) -> None:
    body = json.dumps({"inputs": TEXT}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/classify", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = json.load(answer)
    assert (said["model"], said["version"], len(said["predictions"])) == ("tiny", "7", 1)


@pytest.mark.parametrize(
    ("header", "refusal"),
    [({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)],
)
def test_a_web_page_of_another_name_hears_nothing(url: str, header: Any, refusal: int) -> None:
    assert strangers.status(url, "GET", "/v2", header)[0] == refusal
    assert strangers.status(url, "GET", "/v2")[0] == 200


@pytest.mark.skipif(sys.platform != "linux", reason="HAProxy runs on Linux alone")
def test_a_body_too_large_is_refused_and_the_connection_closed(url: str) -> None:
    sent, said = 0, b""
    with connection(url) as client:
        client.sendall(head_of("POST /v1/classify", "Content-Length: 500000000"))
        client.settimeout(0.05)
        with suppress(ConnectionError):  # closed, and so that it is told at once
            while sent < 100_000_000:
                with suppress(TimeoutError):
                    sent += client.send(bytes(65_536))
                with suppress(TimeoutError):
                    said += client.recv(65_536)
    assert sent < 100_000_000
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in said.lower()


@pytest.mark.skipif(sys.platform != "linux", reason="HAProxy runs on Linux alone")
def test_a_header_that_trickles_in_is_given_up_after_five_seconds(url: str) -> None:
    begun = time.monotonic()
    with connection(url) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        client.settimeout(0.5)
        said = b""
        while not said and time.monotonic() < begun + 20:
            client.sendall(b"x")
            try:
                said = client.recv(65_536)
            except TimeoutError:
                continue
    assert said.startswith(b"HTTP/1.1 408 ")
    assert 4 < time.monotonic() - begun < 10


class NowAndThen(Crowd):
    """Clients that keep their connection, and ask after pauses of up to 1.5 s; none asks twice."""

    def __init__(self, url: str, *, clients: int) -> None:
        super().__init__((seed,) for seed in range(clients))
        self._url = url
        self.versions: Counter[str] = Counter()

    def _ask_on(self, seed: int) -> None:
        pauses = random.Random(seed)
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._over.wait(pauses.uniform(0, 1.5)):
                try:
                    answer = client.post("/v1/classify", json={"inputs": TEXT})
                    self.versions[answer.raise_for_status().json()["version"]] += 1
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))


@pytest.mark.chaos
def test_who_keeps_a_connection_loses_nothing_while_processes_are_replaced(
    up: Up, url: str, tiny_uri: str
) -> None:
    """HAProxy is reloaded several times on the way."""
    port = int(url.rpartition(":")[2])
    with NowAndThen(url, clients=12) as clients:
        deployed(up, tiny_uri, port, version="8", code="of another release")
        wait_for(lambda: clients.versions["8"] > 100 or clients.failed, within_s=120)
    assert clients.failed == []
    assert clients.versions["7"] and clients.versions["8"]


def test_it_listens_on_the_loopback_alone(up: Up, url: str) -> None:
    """But for one port of each replica, which Ray Serve opens for other replicas, with the token;
    it binds it to all addresses, and has no setting for that."""
    open_to_all = [
        f"{process.name()} {found.laddr}"
        for process in processes_of(up)
        for found in listening(process)
        if found.laddr.ip not in ("127.0.0.1", "::ffff:127.0.0.1", "::1")
    ]
    assert len(open_to_all) == 1, open_to_all
    assert open_to_all[0].startswith("ray::ServeRepli")


def test_its_token_is_in_no_file_but_its_own(up: Up, url: str) -> None:
    """After a job and a deploy, in all that Ray wrote and keeps of them."""
    secret = up.token.encode()
    headers = {"Authorization": f"Bearer {up.token}", "Content-Type": "application/json"}
    jobs = f"{up.result['address']}/api/jobs/"
    body = json.dumps({"entrypoint": "python -c 'print(\"好\")'"}).encode()
    with urllib.request.urlopen(urllib.request.Request(jobs, body, headers), timeout=60) as answer:
        job = jobs + json.load(answer)["submission_id"]
    kept = wait_for(lambda: what_is_kept(job, headers), within_s=60)
    assert "SUCCEEDED" in kept and "好" in kept
    holding = [up.token in kept, *(secret in file for file in files_of(Path(up.state["folder"])))]
    assert len(holding) > 20 and not any(holding)
    assert not [each for each in processes_of(up) if up.token in environment_of(each)]


def what_is_kept(job: str, headers: dict[str, str]) -> str:
    """What the head says of a job and its log, once it has ended."""
    said = ""
    for url in (job, f"{job}/logs"):
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as ok:
            said += json.dumps(json.load(ok), ensure_ascii=False)
    return said if '"end_time": null' not in said else ""


def files_of(folder: Path) -> Iterator[bytes]:
    """What is in each regular file below it."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink():
                yield path.read_bytes()


def environment_of(process: psutil.Process) -> str:
    try:
        return "\0".join(process.environ().values())
    except psutil.Error:
        return ""


def test_down_leaves_no_process_and_no_port(up: Up, url: str) -> None:
    processes = processes_of(up)
    ports = {found.laddr.port for process in processes for found in listening(process)}
    others = [each for each in psutil.process_iter() if each not in processes]
    of_others = {found.laddr.port for each in others for found in listening(each)}
    folder = Path(up.state["folder"])
    assert up.result["address"].endswith(tuple(map(str, ports)))
    assert url.endswith(tuple(map(str, ports)))

    ended = up.command("down")

    assert (ended.returncode, json.loads(ended.stdout)["ended"]) == (0, True), ended.stderr
    assert not [each for each in processes if each.is_running() and each.status() != "zombie"]
    assert not [port for port in ports - of_others if listens(port)]
    assert not folder.exists()
    assert [each.name for each in (up.home / "head").iterdir()] == ["lock"]
    again = up.command("down")
    assert (again.returncode, json.loads(again.stdout)["ended"]) == (0, False)


def processes_of(up: Up) -> list[psutil.Process]:
    """All in the session of the head: HAProxy and replicas too."""
    session = up.state["started"]["session"]
    return [each for each in psutil.process_iter() if os.getsid(each.pid) == session]


def ports_of(up: Up) -> list[int]:
    """On which its processes listen."""
    found = (port.laddr.port for each in processes_of(up) for port in listening(each))
    return sorted(set(found))


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def listening(process: psutil.Process) -> list[Any]:
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [each for each in found if each.status == psutil.CONN_LISTEN]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def status(url: str, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as ok:
            return ok.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def connection(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30)


def head_of(line: str, *headers: str) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()
