"""Another release there is told before anything travels; a job knows where it comes from."""

import json
import logging
import platform
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import pytest

from bigmodel import tracking
from bigmodel.cluster import versions
from bigmodel.cluster.packing import Luggage
from bigmodel.cluster.submission import submit
from bigmodel.errors import ClusterError

RAY, PYTHON = version("ray"), platform.python_version()


@pytest.fixture
def asked(monkeypatch):
    """The requests that a stand-in for a dashboard heard; `answering` starts one."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return []


@pytest.fixture
def answering(asked):
    servers = []

    def start(ray: str, python: str | None) -> str:
        said = {
            "/api/version": {
                "version": "4", "ray_version": ray, "ray_commit": "0", "session_name": "session_1",
            },
            "/api/jobs/": [],
            "/api/v0/cluster_metadata": {"data": {"rayVersion": ray, "pythonVersion": python}},
        }  # fmt: skip

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(200 if self.path in said else 404)
                self.end_headers()
                self.wfile.write(json.dumps(said.get(self.path)).encode())

            def do_POST(self) -> None:
                asked.append(self.path)
                self.send_error(500)

            do_PUT = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answering))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("ray", "python", "said"),
    [
        ("2.9.1", PYTHON, f"runs Ray 2.9.1 and this machine {RAY}; install ray==2.9.1 here"),
        (RAY, "3.9.21", f"runs Python 3.9.21 and this machine {PYTHON}; run the command with"),
    ],
)
def test_another_ray_or_python_is_told_and_nothing_is_sent(answering, asked, ray, python, said):
    with pytest.raises(ClusterError, match=said) as caught:
        submit("train", Luggage("a", (), {}), answering(ray, python), max_jobs=8)
    assert "\n" not in str(caught.value)
    assert not [path for path in asked if "package" in path or "jobs" in path]


@pytest.mark.parametrize("python", [PYTHON, f"{PYTHON.rpartition('.')[0]}.99", None])
def test_the_same_minor_release_is_fine(answering, asked, python):
    with pytest.raises(ClusterError, match="the cluster refused"):
        address = answering(f"{RAY.rpartition('.')[0]}.99", python)
        submit("train", Luggage("a", (), {}), address, max_jobs=8)
    assert any("package" in path for path in asked)


def test_the_job_has_the_commit_of_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert tracking.checkout() == {}, "no checkout"
    here = {"mlflow.source.git.commit": "4bd5ff0", "git.dirty": "true"}
    monkeypatch.setattr(versions, "checkout", lambda: here)
    for name, value in versions.variables().items():
        monkeypatch.setenv(name, value)
    assert tracking.checkout() == here


def test_another_torch_is_said_and_the_same_one_is_not(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        monkeypatch.setenv(tracking.SUBMITTED_FROM, json.dumps({"torch": version("torch")}))
        versions.check_job()
        assert not caplog.messages
        monkeypatch.setenv(tracking.SUBMITTED_FROM, json.dumps({"torch": "1.0.0"}))
        versions.check_job()
    (said,) = caplog.messages
    assert "1.0.0 is on the machine that the job came from" in said
