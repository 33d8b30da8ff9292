"""What is let in: addresses, hosts, headers, bytes and seconds, and how many at a time."""

import asyncio
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from bigmodel.config import LimitsConfig
from bigmodel.errors import RecipeError
from bigmodel.loopback import is_loopback
from serve.http import Request
from serve.keyfile import Scope
from serve.problems import Problem

TIMEOUT_MS = "[1-9][0-9]{0,8}"
_ONCE = frozenset((b"host", b"origin", b"authorization", b"content-type", b"content-length"))


class Keys(Protocol):
    """Who may ask: what `serve.keys.KeyRing` does."""

    def check(self, headers: Headers, scope: Scope) -> str:
        """The id of the key that `headers` carry; a Problem without one that has the scope."""


def require_loopback(host: str) -> None:
    """RecipeError for an address that other machines can reach, of an endpoint without keys."""
    if not is_loopback(host):
        raise RecipeError(
            f"the endpoint can't listen on {host}: without access keys it answers on this machine "
            "alone; make one with `bigmodel keys add NAME`, or use --host 127.0.0.1 and a tunnel"
        )


class Hosts:
    """Names that the endpoint goes by: those of the loopback and `names`. Where one of `names` is
    every address of the machine (`0.0.0.0`, `::`), any address is: none can be made to point
    elsewhere, as a name can."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().strip("[]") for name in names)
        self._any_address = bool(self._names & {"0.0.0.0", "::"})
        self._is_ours = lru_cache(256)(self._look)

    def check(self, request: Request) -> None:
        """A web page under another name that points here must not use the reader's browser."""
        headers = request.headers
        if request.repeated & _ONCE:
            raise Problem("repeated-header", "a header came twice; send it once")
        if not self._is_ours(headers.get(b"host", b"")):
            raise Problem(
                "foreign-host",
                "the Host header is no name of this endpoint; use localhost, or its address, or "
                "name it in serve.hosts",
            )
        origin = headers.get(b"origin")
        if origin is not None and not self._is_ours(origin.partition(b"://")[2]):
            raise Problem("foreign-origin", "a page of another site asks; ask from a program")

    def _look(self, authority: bytes) -> bool:
        name = _without_port(authority.decode("latin-1")).lower()
        if name in self._names or is_loopback(name):
            return True
        return self._any_address and _is_address(name)


def check_content(request: Request, *, untyped: bool = False) -> None:
    """Plain JSON and nothing else; `untyped`: a body of no type is taken for JSON."""
    headers = request.headers
    found = headers.get(b"content-type", b"application/json" if untyped else b"")
    if found != b"application/json":
        media_type, _, parameter = found.decode("latin-1").lower().partition(";")
        charset = parameter.strip().replace('"', "")
        if media_type.strip() != "application/json" or charset not in ("", "charset=utf-8"):
            raise Problem(
                "content-type", "the content type is not application/json; send JSON in UTF-8"
            )
    if b"inference-header-content-length" in headers:
        raise Problem("content-type", "a part of the body is binary; send binary_data=False")
    if b"content-encoding" in headers:
        raise Problem("content-encoding", "the body is encoded; send it without Content-Encoding")


async def read_body(request: Request, limits: LimitsConfig) -> bytes:
    """The whole body; refused at the first byte too many, or when it takes too long."""
    declared = request.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limits.body_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
                more = message.get("more_body", False)
    except TimeoutError:
        raise Problem(
            "body-timeout",
            f"the body wasn't complete after {limits.body_timeout_s:g} s",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def deadline_s(request: Request, limits: LimitsConfig) -> float:
    """Seconds to answer; a client may ask for fewer, not for more."""
    asked = request.headers.get(b"x-request-timeout-ms")
    if asked is None:
        return limits.deadline_s
    if not re.fullmatch(TIMEOUT_MS.encode(), asked):
        raise Problem("bad-timeout", "X-Request-Timeout-Ms is not a number of milliseconds")
    return min(limits.deadline_s, int(asked) / 1000)


class Draining:
    """Whether this replica is on its way out; who sets it, waits for what is in flight."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """From now on new work is told to go elsewhere; what is in flight ends."""
        self.begun = True

    def check(self) -> None:
        if self.begun:
            raise Problem(
                "draining",
                "this replica is about to end; another one answers",
                headers={"Retry-After": "1"},
            )


class Admission:
    """`with` it, one more request is in flight; the one too many is told to come back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.in_flight = 0

    def __enter__(self) -> None:
        if self.in_flight >= self._most:
            raise Problem(
                "busy",
                f"{self._most} requests are in flight; try again in a second",
                headers={"Retry-After": "1"},
            )
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1


def _too_large(limits: LimitsConfig) -> Problem:
    return Problem(
        "body-too-large",
        f"the body is larger than {limits.body_bytes} bytes",
        headers={"Connection": "close"},
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] or host
