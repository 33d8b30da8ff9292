"""The way to a dashboard: which addresses, which token, and what is no cluster of ours."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer
from types import SimpleNamespace

import pytest
from requests.utils import get_environ_proxies

from bigmodel.cluster import dashboard, private
from bigmodel.cluster.dashboard import (
    Away,
    NoSuchJob,
    checked_address,
    connect,
    read_token,
    talking_to,
    token_for,
)
from bigmodel.errors import ClusterError, RecipeError


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8265", "http://localhost:8265"),
        ("http://localhost:8265/", "http://localhost:8265"),
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
        ("https://head.example:8265", "https://head.example:8265"),
    ],
)
def test_loopback_and_https_are_fine(given, url):
    assert checked_address(given, insecure=False) == url


@pytest.mark.parametrize("address", ["http://head:8265", "head:8265", "http://10.0.0.7:8265"])
def test_plain_http_over_a_network_must_be_wanted(address):
    with pytest.raises(RecipeError, match="would show the token to the network"):
        checked_address(address, insecure=False)
    assert checked_address(address, insecure=True).startswith("http://")


@pytest.mark.parametrize(
    "address",
    [
        "ray://head:10001",
        "http://",
        "/tmp/ray",
        "http://localhost:82x65",
        "localhost:826500",
        "http://local host:8265",
        "http://[::1",
        "http://百度℀.com",
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(RecipeError, match="expected the dashboard"):
        checked_address(address, insecure=True)


@pytest.mark.parametrize(
    "address",
    ["https://li:geheim@head.example", "li:geheim@localhost:8265", "https://li:ge/heim@head:82x"],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(RecipeError, match="a user's name or password in it") as caught:
        checked_address(address, insecure=True)
    assert "heim" not in str(caught.value)


@pytest.fixture
def no_token(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("RAY_AUTH")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def kept(file: Path, token: bytes, mode: int = 0o600) -> Path:
    """A file with a token, which nobody else can read unless its mode says so."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(token)
    file.chmod(mode)
    return file


def test_the_token_is_found_where_ray_looks_for_it(no_token, monkeypatch):
    assert read_token() is None
    kept(no_token / ".ray" / "auth_token", b"from-home\n")
    assert read_token() == "from-home"
    named = kept(no_token / "named", b"from-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert read_token() == "from-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert read_token() == "from-variable"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert read_token() is None


def test_a_named_token_file_must_be_there(no_token, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(no_token / "missing"))
    with pytest.raises(ClusterError, match="can't read the cluster's token"):
        read_token()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_can_read_is_refused_with_the_remedy(no_token, monkeypatch, mode):
    """Ray's own `ray get-auth-token --generate` leaves 0644."""
    file = kept(no_token / ".ray" / "auth_token", b"from-home", mode)
    for _ in range(2):
        with pytest.raises(ClusterError, match=f"make it yours alone with: chmod 600 {file}"):
            connect("http://localhost:8265")
        file = kept(no_token / "named", b"from-path", mode)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert read_token() == "from-variable"


def test_a_token_that_belongs_to_another_user_is_refused(no_token, monkeypatch):
    file = kept(no_token / ".ray" / "auth_token", b"from-home")
    monkeypatch.setattr(private.os, "getuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(ClusterError, match="it belongs to another user"):
        read_token()


@pytest.mark.parametrize("token", ["秘密的令牌", "secret\nmore", "secret more", "\xff"])
def test_what_can_be_no_token_is_told_and_not_repeated(no_token, monkeypatch, token):
    kept(no_token / ".ray" / "auth_token", token.encode("latin-1", "ignore") or token.encode())
    with pytest.raises(ClusterError, match="auth_token: expected a token in one line") as of:
        read_token()
    assert token not in str(of.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN: expected a token in one line") as of:
        connect("http://localhost:8265")
    assert token not in str(of.value)


def test_the_head_of_this_machine_is_asked_with_its_own_token(no_token, monkeypatch):
    kept(no_token / ".ray" / "auth_token", b"of-another")
    here, elsewhere = "http://127.0.0.1:8265", "http://127.0.0.1:8266"
    monkeypatch.setattr(dashboard, "living_head", lambda: (SimpleNamespace(dashboard=8265), "own"))
    assert token_for(here) == "of-another"  # nothing was ever started here
    (no_token / ".bigmodel" / "head").mkdir(parents=True)
    assert (token_for(here), token_for(elsewhere)) == ("own", "of-another")
    assert token_for("https://head.example:8265") == "of-another"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert token_for(here) == "from-variable"


class Refusing(BaseHTTPRequestHandler):
    status = 200
    body = b"<html>"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (401, None, "the cluster wants a token and none is set"),
        (403, "wrong-token", "the cluster refuses our token"),
        (404, None, "answers with status 404"),
        (200, None, "no Ray cluster answers there"),
    ],
)
def test_what_is_no_cluster_of_ours_is_one_sentence(no_token, monkeypatch, status, token, said):
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    handler = type("Handler", (Refusing,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ClusterError, match=said) as caught:
            connect(f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert "wrong-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6"),
        (b"", "Remote end closed connection without response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "what answers says no version of Ray"),
    ],
)
def test_a_port_of_something_else_is_one_sentence(no_token, said, reason):
    class Other(StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(said)

    with TCPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        port = server.server_address[1]
        with pytest.raises(ClusterError, match=f"no Ray cluster answers there .*{reason}"):
            connect(f"http://localhost:{port}")
        thread.join()


def test_the_token_goes_to_the_cluster_and_nowhere_else(no_token, monkeypatch):
    asked: list[str] = []

    class Elsewhere(Refusing):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    monkeypatch.setenv("RAY_AUTH_TOKEN", "our-token")
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{other.server_port}"
        monkeypatch.setenv("http_proxy", there)

        class Redirecting(Refusing):
            status = 302

            def end_headers(self) -> None:
                self.send_header("Location", there)
                super().end_headers()

        with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            with pytest.raises(ClusterError, match="answers with status 302"):
                connect(f"http://localhost:{server.server_port}")
            thread.join()
        other.shutdown()
    assert asked == []


def test_rays_own_client_uses_no_proxy_either(monkeypatch):
    address = "http://localhost:8265"
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "example.com")
    assert get_environ_proxies(address)
    with talking_to(address):
        assert not get_environ_proxies(address)


VERSION = {"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": "session_1"}


TRACE = "Traceback (most recent call last):\n  ...\n"
SAID: dict[str, tuple[int, str | bytes]] = {
    "/api/version": (200, json.dumps(VERSION)),
    "/api/jobs/": (500, f"{TRACE}KeyError: 'node'\n"),
    "/api/jobs/bigmodel-3": (500, "No available agent to submit job, please try again later."),
    "/api/jobs/bigmodel-2/logs": (
        500,
        f"{TRACE}RuntimeError: Request failed with status code 500: 500 Internal Server Error\n\n"
        "Server got itself in trouble.\n",
    ),
    "/api/jobs/bigmodel-2": (
        200,
        json.dumps(
            {"type": "SUBMISSION", "status": "RUNNING", "entrypoint": "", "driver_node_id": "c0de"}
        ),
    ),
    "/api/v0/logs/file?node_id=c0de&submission_id=bigmodel-2&lines=-1": (
        200,
        "好\n".encode() + b"\xff\n",
    ),
}


class Answering(BaseHTTPRequestHandler):
    """A dashboard with no jobs, whose newest trace ends as Ray's do."""

    def do_GET(self) -> None:
        status, body = SAID.get(self.path, (404, "Job bigmodel-1 does not exist"))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def answering(no_token) -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_what_a_cluster_says_of_itself_and_how_its_client_fails(answering, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")  # of another cluster
    address = f"http://127.0.0.1:{answering.server_port}"
    dashboard = connect(address)
    assert (dashboard.address, dashboard.ray_version) == (address, "2.60.0")
    assert dashboard.session == "session_1"
    with pytest.raises(NoSuchJob, match="Job bigmodel-1 does not exist"):
        dashboard.client.get_job_info("bigmodel-1")
    with pytest.raises(ClusterError, match=r"refused \(status 500: KeyError: 'node'\)"):
        dashboard.client.list_jobs()
    with pytest.raises(Away, match="No available agent"):
        dashboard.client.get_job_info("bigmodel-3")
    assert dashboard.client.get_job_logs("bigmodel-2") == "好\n\ufffd\n"
    answering.shutdown()
    answering.server_close()
    with pytest.raises(ClusterError, match=r"connection lost \(\[Errno 111\] Connection refused\)"):
        dashboard.client.get_job_info("bigmodel-1")
