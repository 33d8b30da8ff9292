"""What HAProxy itself answers where no replica does, by the real HAProxy."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse

import pytest

from serve import ingress
from serve.problems import KINDS, ProblemBody

BINARY = ingress._binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="HAProxy runs on Linux alone")

WRITTEN = """global
    stats socket {folder}/socket mode 666 level admin
    maxconn 100
defaults
    mode http
    timeout client 60s
    timeout connect 1s
    timeout server 1s
    retries 0
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend prometheus
    bind :{metrics}
    mode http
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend http-bigmodel if {{ path_beg /v1 }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend http-bigmodel
    server replica 127.0.0.1:{replica}
listen stats
  bind *:{stats}
  stats enable
"""
"""As Ray 2.60 writes it, shortened; a replica has a second to answer."""

GONE = (503, "not-ready")
LATE = (504, "deadline")


@pytest.fixture(scope="module")
def replica() -> Iterator[socket.socket]:
    """It takes connections, where a test lets it; what becomes of them is the test's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        yield listening


@pytest.fixture(scope="module")
def port(replica: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of HAProxy, started as Ray does by way of our wrapper."""
    folder = tmp_path_factory.mktemp("h")
    (folder / "500.http").write_text("HTTP/1.1 500 Plain\r\nContent-Length: 0\r\n\r\n")
    port, metrics, stats = ingress._free_ports(3)
    config = folder / "haproxy.cfg"
    ports = {"port": port, "metrics": metrics, "stats": stats, "replica": replica.getsockname()[1]}
    config.write_text(WRITTEN.format(folder=folder, **ports))
    script = ingress._wrapper(folder, str(BINARY))
    process = subprocess.Popen([script, "-db", "-f", config], stderr=subprocess.DEVNULL)
    try:
        ends = threading.Event()
        while not listens(port):
            assert process.poll() is None, "HAProxy ended"
            assert not ends.wait(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, path: str = "/v1/classify", **headers: str) -> tuple[HTTPResponse, ProblemBody]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, b'{"inputs": "\xe4\xb9\xa6"}', headers)
        response = connection.getresponse()
        return response, json.loads(response.read())


def check(response: HTTPResponse, body: ProblemBody, expected: tuple[int, str]) -> None:
    status, kind = expected
    assert (response.status, body["status"], KINDS[kind][0]) == (status, status, status)
    assert body["type"] == f"urn:bigmodel:error:{kind}" and body["title"] == KINDS[kind][1]
    assert body.keys() == ProblemBody.__annotations__.keys()
    assert body["error"] == body["detail"] and body["errors"] == []
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "1"
    assert response.headers.get_all("X-Request-ID") == [body["request_id"]]
    assert body["request_id"]


def accepted(replica: socket.socket, *, close: bool, say: bytes = b"") -> threading.Thread:
    """The next connection's request is read and answered; then it is closed, or left so."""

    def accept() -> None:
        connection, _ = replica.accept()
        with connection, suppress(ConnectionError):
            connection.recv(65_536)
            connection.sendall(say)
            while not close and connection.recv(65_536):
                pass  # until HAProxy gives up

    thread = threading.Thread(target=accept)
    thread.start()
    return thread


@pytest.mark.parametrize(("close", "expected"), [(True, GONE), (False, LATE)])
def test_a_replica_that_gives_no_answer_is_a_problem_with_a_time_to_come_back(
    port: int, replica: socket.socket, close: bool, expected: tuple[int, str]
) -> None:
    thread = accepted(replica, close=close)
    check(*ask(port), expected)
    thread.join(30)


SAID = "HTTP/1.1 {} X\r\nContent-Type: {}\r\nX-Request-ID: r\r\nContent-Length: 2\r\n\r\n{{}}"


@pytest.mark.parametrize(
    ("status", "content_type", "kept"),
    [
        (404, "text/plain; charset=utf-8", False),
        (500, "text/plain", False),
        (404, "application/problem+json", True),
        (200, "text/plain", True),
    ],
)
def test_what_serves_own_proxy_refuses_in_plain_text_is_a_problem(
    port: int, replica: socket.socket, status: int, content_type: str, kept: bool
) -> None:
    thread = accepted(replica, close=True, say=SAID.format(status, content_type).encode())
    response, body = ask(port)
    thread.join(30)
    if kept:
        assert (response.status, body, response.headers["X-Request-ID"]) == (status, {}, "r")
    else:
        check(response, body, GONE)


def test_where_no_application_is_it_is_unavailable_and_not_unknown(port: int) -> None:
    check(*ask(port, "/"), GONE)


@pytest.mark.parametrize(
    ("sent", "kept"), [("reader-7", True), ("a b", False), ("x" * 65, False), ("%[src]'", False)]
)
def test_the_requests_id_is_kept_where_it_is_one(port: int, sent: str, kept: bool) -> None:
    response, body = ask(port, "/", **{"X-Request-ID": sent})
    check(response, body, GONE)
    assert (body["request_id"] == sent) is kept


def test_nobody_there_is_unavailable(port: int, replica: socket.socket) -> None:
    replica.close()
    check(*ask(port), GONE)
