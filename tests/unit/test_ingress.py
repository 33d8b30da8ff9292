"""What is set before Ray starts, and what becomes of the configuration that Ray writes HAProxy."""

import asyncio
import resource
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from bigmodel.errors import ClusterError, RecipeError
from serve import haproxy, ingress
from serve.access import Draining
from serve.middlewares import HealthCheck

WRITTEN = """global
    stats socket /tmp/x/a mode 666 level admin expose-fd listeners
    maxconn 4096
defaults
    mode http
    timeout client 60s
    timeout http-keep-alive 90s
    timeout connect 5s
    timeout server 60s
    errorfile 502 /tmp/x/500.http
    errorfile 503 /tmp/x/500.http
    errorfile 504 /tmp/x/500.http
    log global
    log 127.0.0.1:514 local0 info
frontend prometheus
    bind :39101
    mode http
    no log
frontend http_frontend
    bind 127.0.0.1:38000
    acl healthcheck path -i /-/healthz
    http-request set-log-level debug if healthcheck
    acl is_http-bigmodel path_beg /
    use_backend http-bigmodel if is_http-bigmodel
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain string "nothing"
backend http-bigmodel
    http-reuse always
    server SERVE_REPLICA__1 127.0.0.1:30000 check observe layer4 error-limit 3 on-error mark-down
listen stats
  bind *:38404
  stats enable
"""
"""As Ray 2.60 writes it, shortened."""

NODE = "2" * 56


@pytest.mark.parametrize(
    ("files", "most"), [(20_000, 4_096), (1_024, 369), (350, 100), (resource.RLIM_INFINITY, 4_096)]
)
def test_connections_follow_from_the_files_a_process_may_open(files: int, most: int) -> None:
    assert ingress.connections(files) == most


@given(st.integers(0, 100_000))
def test_haproxy_never_needs_more_files_than_there_are(files: int) -> None:
    try:
        most = ingress.connections(files)
    except ClusterError as error:
        assert files < 350
        assert "ulimit -n 4096" in str(error)
    else:
        assert 2.5 * most + ingress.OTHER_FILES <= files


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 1), (16, 2), (64, 4)])
def test_a_small_machine_gives_haproxy_one_thread(cores: int, threads: int) -> None:
    assert ingress.threads(cores) == threads


def test_our_lines_are_added_and_nothing_else_changes() -> None:
    added = [line for line in haproxy.edited(WRITTEN).splitlines() if line not in WRITTEN]
    assert [line.partition(" content-type ")[0] for line in added] == [
        "# edited by bigmodel",
        "    timeout http-request 5s",
        "    http-error status 502",
        "    http-error status 503",
        "    http-error status 504",
        "    bind 127.0.0.1:39101",
        "    unique-id-format %[uuid()]",
        "    http-request set-var(txn.id) unique-id",
        "    http-request set-var(txn.id) req.hdr(X-Request-ID)"
        " if { req.hdr(X-Request-ID) -m reg ^[A-Za-z0-9._-]{1,64}$ }",
        "    http-request set-log-level silent",
        "    http-request set-header X-Forwarded-For %[src]",
        "    http-response return status 503",
        "    http-after-response set-status 503 if { status 502 }",
        "    http-after-response set-header X-Request-ID %[var(txn.id)]"
        " unless { res.hdr(X-Request-ID) -m found }",
        "    http-after-response set-header connection close if { status 408 413 }",
        "    http-request return status 503",
        "  bind 127.0.0.1:38404",
    ]
    kept = [line.strip() for line in WRITTEN.splitlines() if line not in haproxy.edited(WRITTEN)]
    assert kept == [
        *(f"errorfile {status} /tmp/x/500.http" for status in (502, 503, 504)),
        "bind :39101",
        'http-request return status 404 content-type text/plain string "nothing"',
        "bind *:38404",
    ]


def test_edited_twice_is_edited_once() -> None:
    once = haproxy.edited(WRITTEN)
    assert haproxy.edited(once) == once


@pytest.mark.parametrize(
    "line", ["defaults", "frontend http_frontend", "    bind :39101", "  bind *:38404"]
)
def test_a_configuration_without_a_place_for_our_lines_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected one"):
        haproxy.edited(WRITTEN.replace(f"{line}\n", ""))
    with pytest.raises(ValueError, match="2 lines, expected one"):
        haproxy.edited(WRITTEN.replace(f"{line}\n", f"{line}\n{line}\n"))


def test_the_installed_ray_has_a_place_for_each_of_our_lines() -> None:
    ingress._check_template()


def test_another_ray_is_told_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingress, "find_spec", lambda _: type("Spec", (), {"origin": __file__}))
    with pytest.raises(ClusterError, match=r"otherwise than Ray 2\.60.*BIGMODEL_PROXY=default"):
        ingress._check_template()


def wrapped(config: Path) -> subprocess.CompletedProcess[str]:
    """The wrapper, with `echo` in the place of HAProxy."""
    return subprocess.run(
        [sys.executable, "-IS", haproxy.__file__, "/bin/echo", "-db", "-f", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_wrapper_edits_the_file_and_becomes_haproxy(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(WRITTEN)
    finished = wrapped(config)
    assert (finished.returncode, finished.stdout) == (0, f"-db -f {config}\n")
    assert config.read_text() == haproxy.edited(WRITTEN)


def test_the_wrapper_starts_no_haproxy_with_a_configuration_it_does_not_know(
    tmp_path: Path,
) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text("defaults\n    mode http\n")
    finished = wrapped(config)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "isn't as Ray 2.60 writes it" in finished.stderr
    assert "\n" not in finished.stderr.strip()


def test_haproxy_accepts_our_lines(tmp_path: Path) -> None:
    if (binary := ingress._binary()) is None:
        pytest.skip("no HAProxy here")
    config = tmp_path / "haproxy.cfg"
    config.write_text(haproxy.edited(WRITTEN))
    finished = subprocess.run([binary, "-c", "-f", config], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has HAProxy, whichever this is."""
    monkeypatch.delenv(ingress.PROXY, raising=False)
    monkeypatch.setattr(ingress, "_binary", lambda: "/opt/ray's/haproxy")


def test_each_cluster_has_files_and_ports_of_its_own(found: None) -> None:
    with ingress.embedded() as one, ingress.embedded() as other:
        assert all(one[name] != other[name] for name in ingress.PORTS)
        assert len({one[name] for name in ingress.PORTS}) == len(ingress.PORTS)
        folders = {Path(each["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent for each in (one, other)}
        assert len(folders) == 2
        for folder in folders:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not any(folder.exists() for folder in folders)


def test_haproxy_is_started_by_way_of_the_wrapper(found: None) -> None:
    with ingress.embedded() as variables:
        script = Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"])
        assert stat.S_IMODE(script.stat().st_mode) == 0o700
        assert haproxy.__file__ in script.read_text()
        assert """'/opt/ray'"'"'s/haproxy' "$@\"""" in script.read_text()


def test_the_path_of_haproxys_socket_is_one_that_the_system_takes(found: None) -> None:
    with ingress.embedded() as variables:
        folder, name = variables["RAY_SERVE_HAPROXY_SOCKET_PATH"].rsplit("/", 1)
        assert len(f"{folder}/{NODE}/{name}") <= 97
    with pytest.raises(ClusterError, match="too long for a socket"):
        ingress.environment(Path("/tmp") / ("x" * 40))


def test_a_machine_with_few_files_is_told_so(
    found: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(ClusterError, match="open 256 files here, and the endpoint needs 350"):
        with ingress.embedded():
            pass


def test_the_proxy_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ingress.PROXY, "default")
    chosen = ingress.environment(tmp_path)
    assert chosen["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    assert chosen["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].startswith("serve.middlewares:")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(ingress.PROXY, "nginx")
    with pytest.raises(RecipeError, match="'nginx', expected haproxy or default"):
        ingress.environment(tmp_path)


def test_where_haproxy_does_not_run_serves_own_proxy_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delenv(ingress.PROXY, raising=False)
    assert ingress.environment(tmp_path)["RAY_SERVE_ENABLE_HA_PROXY"] == "0"
    monkeypatch.setenv(ingress.PROXY, "haproxy")
    with pytest.raises(ClusterError, match="BIGMODEL_PROXY is haproxy, which isn't here"):
        ingress.environment(tmp_path)


def test_a_draining_replica_fails_the_health_check_and_nothing_else() -> None:
    draining = Draining()

    async def statuses() -> list[int]:
        transport = httpx.ASGITransport(HealthCheck(Starlette(), draining))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            paths = ("/-/healthz", "/v2/health/ready")
            return [(await client.get(path)).status_code for path in paths]

    before = asyncio.run(statuses())
    draining.begin()
    assert (before, asyncio.run(statuses())) == ([404, 404], [503, 404])
