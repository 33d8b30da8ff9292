"""A look at an address from the machine it belongs to; the standard library alone: quick there."""

import http.client
import os
import socket
import urllib.error
import urllib.request


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
