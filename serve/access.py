"""What is let in: addresses, hosts, headers, bytes and seconds, and how many at a time."""

import asyncio
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from bigmodel.config import LimitsConfig
from bigmodel.errors import RecipeError
from serve.problems import Problem


def require_loopback(host: str) -> None:
    """RecipeError for an address that other machines can reach: there are no keys yet."""
    if not _is_loopback(host):
        raise RecipeError(
            f"the endpoint can't listen on {host}: it has no access keys yet, so it answers on "
            "this machine alone; use --host 127.0.0.1 and a tunnel"
        )


def check_host(headers: Headers) -> None:
    """A web page under another name that points here must not use the reader's browser."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_loopback(_without_port(hosts[0])):
        raise Problem(
            "foreign-host", "the Host header is not a name of this machine; use localhost"
        )


def check_content(headers: Headers) -> None:
    """Plain JSON and nothing else."""
    media_type, _, parameter = headers.get("content-type", "").lower().partition(";")
    if media_type.strip() != "application/json" or parameter.strip() not in ("", "charset=utf-8"):
        raise Problem("content-type", "the content type is not application/json; send JSON")
    if "content-encoding" in headers:
        raise Problem("content-encoding", "the body is encoded; send it without Content-Encoding")


async def read_body(receive: Receive, headers: Headers, limits: LimitsConfig) -> bytes:
    """The whole body; refused at the first byte too many, or when it takes too long."""
    too_large = Problem(
        "body-too-large",
        f"the body is larger than {limits.body_bytes} bytes",
        headers={"Connection": "close"},
    )
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > limits.body_bytes:
                    raise too_large
                more = message.get("more_body", False)
    except TimeoutError:
        raise Problem(
            "body-timeout",
            f"the body wasn't complete after {limits.body_timeout_s:g} s",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def deadline_s(headers: Headers, limits: LimitsConfig) -> float:
    """Seconds to answer; a client may ask for fewer, not for more."""
    asked = headers.get("x-request-timeout-ms")
    if asked is None:
        return limits.deadline_s
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= 9 and int(asked) > 0):
        raise Problem("bad-timeout", "X-Request-Timeout-Ms is not a number of milliseconds")
    return min(limits.deadline_s, int(asked) / 1000)


class Keys(Protocol):
    """Who may ask: what `serve.keys.KeyRing` does."""

    def check(self, headers: Headers, scope: str) -> str:
        """The id of the key that `headers` carry; a Problem without one that has the scope."""


class Draining:
    """Whether this replica is on its way out; who sets it, waits for what is in flight."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """From now on new work is told to go elsewhere; what is in flight ends."""
        self.begun = True


class Admission:
    """Counts the requests in flight; the one too many is told to come back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_flight = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        if self._in_flight >= self._most:
            raise Problem(
                "busy",
                f"{self._most} requests are in flight; try again in a second",
                headers={"Retry-After": "1"},
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host
