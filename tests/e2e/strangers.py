"""What a stranger may try at a head: the routes of its dashboard, the calls of its services."""

import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import grpc

ROUTE = re.compile(r"<ResourceRoute \[(\w+)\] <(?:Plain|Dynamic|Static)Resource\s+(\S+?)>? ")


def routes(log: Path) -> list[tuple[str, str]]:
    """(method, path) of each route that a running dashboard says it has, in its own log; parts of
    a path that may be anything are `0`."""
    found = dict.fromkeys(ROUTE.findall(log.read_text()))
    return [(method, re.sub(r"\{[^}]*\}", "0", path)) for method, path in found]


def status(
    address: str, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """(status, the first 200 bytes) of a request whose path goes there as it is written; status 0
    where what comes back is no HTTP."""
    there = urlsplit(address)
    connection = http.client.HTTPConnection(str(there.hostname), there.port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(200)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def called(address: str, method: str, token: str | None) -> str:
    """What a gRPC service says to an empty request: the name of the status, OK where it is done."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
