"""What the doctor finds: each weakness by facts alone, and the facts by a look at real things."""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bigmodel.cluster import examination, floors, private
from bigmodel.cluster.diagnosis import CHECKS, diagnose
from bigmodel.cluster.facts import GIB, Door, Facts, Kept, Listener
from bigmodel.errors import ClusterError
from jobs.cli import main

HERE = {"python": "3.11.9", "ray": "2.60.0", "torch": "2.13.0+cpu", "pyarrow": "25.0.1"}
WELL = Facts(versions=HERE | {"mlflow": "3.17.2"}, storage="/数据", shared_memory=8 * GIB)
CLUSTER = replace(WELL, cluster="http://localhost:8265", token_in_environment=True)
TOKEN = Kept("/家/.ray/auth_token", 0o600)
DOOR = Door("--cluster", "http://localhost:8265", ray="2.60.0")


def wrong_with(facts: Facts) -> list[tuple[str, str, str]]:
    return [(f.check, f.state, f.found) for f in diagnose(facts) if f.state != "ok"]


def test_nothing_is_wrong_with_a_machine_that_is_well():
    assert wrong_with(WELL) == []
    assert {finding.check for finding in diagnose(WELL)} == CHECKS.keys() - {"disk"}


def test_nothing_is_wrong_with_a_cluster_that_is_well():
    assert wrong_with(replace(CLUSTER, doors=(DOOR,), token=TOKEN, auth_mode="token")) == []


@pytest.mark.parametrize(
    ("name", "version", "cve"),
    [
        ("ray", "2.55.9", "CVE-2026-41486"),
        ("torch", "2.5.1+cpu", "CVE-2025-32434"),
        ("pyarrow", "14.0.0", "CVE-2023-47248"),
        ("mlflow", "3.4.0", "CVE-2025-14279"),
        ("python", "3.10.14", "needs it"),
    ],
)
def test_a_version_below_the_floor_is_wrong_and_no_job_starts_with_it(name, version, cve):
    facts = replace(WELL, versions={**WELL.versions, name: version})
    [(check, state, found)] = wrong_with(facts)
    assert (check, state) == ("versions", "wrong")
    assert found.startswith(f"{name} {version}: below ") and cve in found
    with pytest.raises(ClusterError, match=re.escape(f"{name} {version} is installed")):
        floors.check_floors(facts.versions)


@pytest.mark.parametrize("version", ["2.56", "2.56.0", "2.56.0rc1", "2.100.1", "3.0.0.dev0"])
def test_the_floor_itself_and_what_is_above_is_safe(version):
    assert not floors.is_below(version, floors.FLOORS["ray"][0])


def test_what_is_installed_here_is_above_the_floors():
    assert all(floors.installed().values())
    floors.check_floors()


def test_a_session_does_not_start_on_versions_that_are_not_safe(monkeypatch):
    from bigmodel.cluster.session import ray_session

    monkeypatch.setattr(floors, "installed", lambda: {"ray": "2.9.3"})
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(ClusterError, match=r"ray 2\.9\.3 is installed, and below 2\.56"):
        with ray_session():
            pass


def listener(address: str, **more: Any) -> Listener:
    return Listener("raylet", 7, address, 6379, **more)


@pytest.mark.parametrize(
    ("facts", "check", "state", "said"),
    [
        (replace(CLUSTER, token_in_environment=False), "token", "wrong", "no token is set"),
        (CLUSTER, "token", "warning", "Ray's own commands don't"),
        (replace(CLUSTER, auth_mode="disabled"), "token", "wrong", "RAY_AUTH_MODE is disabled"),
        (replace(WELL, auth_mode="disabled"), "token", "warning", "RAY_AUTH_MODE is disabled"),
        (replace(WELL, token=replace(TOKEN, mode=0o644)), "token", "wrong", "has mode 0644"),
        (replace(WELL, token=replace(TOKEN, ours=False)), "token", "wrong", "another user"),
        (replace(WELL, token=replace(TOKEN, empty=True)), "token", "wrong", "is empty"),
        (replace(WELL, head=(Kept("/家/head", 0o755),)), "head", "wrong", "has mode 0755"),
        (replace(WELL, head=(Kept("/家/head/token", 0o640),)), "head", "wrong", "mode 0640"),
        (replace(WELL, doors=(replace(DOOR, without=200),)), "dashboards", "wrong", "without a t"),
        (replace(WELL, doors=(replace(DOOR, wrong=200),)), "dashboards", "wrong", "a wrong token"),
        (replace(WELL, doors=(replace(DOOR, right=403),)), "dashboards", "wrong", "refuses our"),
        (replace(WELL, doors=(replace(DOOR, without=0),)), "dashboards", "wrong", "doesn't answer"),
        (replace(WELL, doors=(replace(DOOR, without=502),)), "dashboards", "wrong", "status 502"),
        (replace(WELL, doors=(replace(DOOR, ray="2.53.0"),)), "dashboards", "wrong", "Ray 2.53.0"),
        (replace(WELL, doors=(replace(DOOR, ray="2.61.0"),)), "dashboards", "wrong", "and here is"),
        (
            replace(CLUSTER, cluster="10.0.0.7:8265", auth_mode="token"),
            "transport",
            "wrong",
            "shows the token",
        ),
        (replace(WELL, listeners=(listener("0.0.0.0"),)), "ports", "warning", "0.0.0.0:6379"),
        (replace(WELL, listeners=(listener("::"),)), "ports", "warning", "[::]:6379"),
        (
            replace(WELL, listeners=(listener("192.168.1.5", keyless=True),)),
            "ports",
            "wrong",
            "asks for no key",
        ),
        (replace(WELL, open_sockets=("/tmp/haproxy/admin.sock",)), "sockets", "wrong", "/tmp/hap"),
        (replace(WELL, keys="/数据/keys has mode 0644; mend it"), "keys", "wrong", "mode 0644"),
        (replace(WELL, storage_fault="Read-only file system"), "storage", "wrong", "/数据: Read"),
        (replace(WELL, proxy="Ray's own"), "proxy", "warning", "a tenth of the requests"),
        (replace(WELL, proxy_fault="a process may open 300; raise"), "proxy", "wrong", "300"),
        (replace(WELL, files=1_000), "open files", "wrong", "1,000 files"),
        (replace(WELL, files=2_048), "open files", "warning", "2,048 files"),
        (replace(WELL, memory_free=0.5 * GIB), "memory", "wrong", "0.5 of 16.0 GiB"),
        (replace(WELL, memory_free=1.5 * GIB), "memory", "warning", "1.5 of 16.0 GiB"),
        (replace(WELL, disk_free={"/数据": (0.1 * GIB, 99 * GIB)}), "disk", "wrong", "/数据: 0.1"),
        (replace(WELL, disk_free={"/数据": (3 * GIB, 99 * GIB)}), "disk", "warning", "95 % full"),
        (replace(WELL, shared_memory=GIB / 16), "shared memory", "warning", "0.1 GiB"),
        (replace(WELL, storage_skew_s=-400.0), "clock", "wrong", "400 s ahead of the storage's"),
        (replace(WELL, doors=(replace(DOOR, skew_s=20),)), "clock", "warning", "20 s behind"),
    ],
)
def test_each_weakness_is_found_and_can_be_mended(facts, check, state, said):
    [finding] = [one for one in diagnose(facts) if one.state != "ok"]
    assert (finding.check, finding.state) == (check, state)
    assert said in finding.found
    assert finding.mend


def test_the_head_of_this_machine_needs_no_token_of_ours():
    facts = replace(CLUSTER, token_in_environment=False, at_head=True)
    assert wrong_with(facts) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_is_nobody_elses(address):
    assert wrong_with(replace(WELL, listeners=(listener(address),))) == []


@contextmanager
def dashboard(status: Callable[[str], int]) -> Iterator[str]:
    """One that answers with what `status` makes of the token; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status(self.headers.get("Authorization", "")))
            self.send_header("Content-Length", "25")
            self.end_headers()
            self.wfile.write(b'{"ray_version": "2.60.0"}')

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + 60)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def guarded(authorization: str) -> int:
    return {"": 401, "Bearer 令牌".encode().decode("latin-1"): 200}.get(authorization, 403)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, and nothing of this machine's processes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(private.HOME, str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("RAY_", "BIGMODEL_")) and n[9:] != "HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(examination.psutil, "process_iter", list)
    return tmp_path


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (lambda _: 200, (200, 200, 200)),
        (lambda sent: 200 if sent else 401, (401, 200, 200)),
        (lambda sent: {"": 401, "Bearer " + "f" * 64: 200}.get(sent, 403), (401, 403, 200)),
        (lambda sent: 403 if sent else 401, (401, 403, 403)),
    ],
)
def test_a_dashboard_is_asked_without_with_a_wrong_and_with_our_token(status, seen):
    with dashboard(status) as address:
        door = examination._door("--cluster", address, "f" * 64)
    assert (door.without, door.wrong, door.right) == seen
    assert door.ray == "2.60.0"
    assert 58 < door.skew_s < 62


def test_the_command_says_what_is_wrong_and_ends_with_five(elsewhere, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(elsewhere / "令牌"))
    (elsewhere / "令牌").write_text("f" * 64)
    (elsewhere / "令牌").chmod(0o644)
    with dashboard(lambda _: 200) as address:
        done = CliRunner().invoke(main, ["doctor", "--cluster", address, "--json"])
    assert done.exit_code == 5, done.output
    wrong = [row for row in json.loads(done.stdout) if row["state"] == "wrong"]
    assert [row["check"] for row in wrong] == ["token", "dashboards"]
    assert wrong[0]["mend"].startswith(f"chmod 600 {elsewhere}/令牌")
    assert "answers whoever asks" in wrong[1]["found"]
    assert not (elsewhere / "storage").exists()


def test_nobody_answers_in_place_of_the_cluster(elsewhere):
    facts = examination.examine(str(elsewhere), "localhost:1")
    assert [door.without for door in facts.doors] == [0]


@pytest.mark.parametrize("cluster", ["http://localhost:82x65", "https://li:geheim@云.example"])
def test_what_is_no_address_is_refused_and_no_password_repeated(elsewhere, cluster):
    done = CliRunner().invoke(main, ["doctor", "--cluster", cluster])
    assert done.exit_code == 2 and "bigmodel: --cluster" in done.stderr
    assert "geheim" not in done.output


def test_our_token_is_not_sent_where_the_network_reads_it(monkeypatch):
    sent: list[str | None] = []
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    monkeypatch.setattr(
        examination, "_door", lambda _, address, token: sent.append(token) or address
    )
    assert examination._named("10.0.0.7:8265") == "http://10.0.0.7:8265"
    assert examination._named("https://云.example") == "https://云.example"
    assert sent == [None, "f" * 64]


def test_a_storage_that_cannot_be_written_to_is_told(elsewhere):
    (elsewhere / "文件").touch()
    assert examination._stored(str(elsewhere / "文件"))[0]
    assert examination._stored(str(elsewhere)) == ("", 0.0)
    assert [each.name for each in elsewhere.iterdir()] == ["文件"]


def test_files_of_a_head_are_looked_at_as_they_are(elsewhere):
    private.write("token", "令牌")
    (elsewhere / "own" / "head" / "token").chmod(0o604)
    assert [kept.mode for kept in examination._head_files()] == [0o700, 0o604]


def test_a_socket_is_open_to_others_only_where_its_folder_is(elsewhere):
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(elsewhere)  # a socket's path is short
        listening.bind("a")
        path = elsewhere / "a"
        path.chmod(0o666)
        elsewhere.chmod(0o700)
        assert not examination._is_open(path)
        path.chmod(0o600)
        assert not examination._is_open(path)


def test_what_takes_too_long_is_not_waited_for():
    over = threading.Event()
    try:
        assert examination._beside(over.wait)(0.05) is None
    finally:
        over.set()
    assert examination._beside(lambda: "好")(5) == "好"
