"""A look at an address from the machine it belongs to; the standard library alone: quick there."""

import csv
import http.client
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterable


def obstacle(host: str, port: int) -> str:
    """Why nobody can begin to listen there, or ""; Serve's proxy would silently share the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def exchange(url: str, body: bytes | None) -> tuple[int, bytes]:
    """(status, body) of a GET, or of a POST of JSON; status 0 without an answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, http.client.HTTPException):
        return 0, b""


def behind_haproxy() -> bool:
    """Is HAProxy the way in? Of the Ray that this process belongs to."""
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def unreached(replicas: Iterable[str]) -> list[str]:
    """Of the replicas' ids those to which this machine's HAProxy sends nothing; none of them where
    it isn't the way in. Before it does, requests go round by Serve's own proxy."""
    if not behind_haproxy():
        return []
    port = os.environ.get("RAY_SERVE_HAPROXY_STATS_PORT", "8404")
    _, said = exchange(f"http://127.0.0.1:{port}/stats;csv", None)
    rows = csv.DictReader(said.decode().removeprefix("# ").splitlines())
    reached = [row["svname"] for row in rows if (row["status"] or "").startswith("UP")]
    return [each for each in replicas if not any(name.endswith(f"-{each}") for name in reached)]
