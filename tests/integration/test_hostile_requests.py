"""Requests that two readers could read differently, and bodies without end, through HAProxy."""

import os
import re
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

import psutil
import pytest
from asking import Load
from faulty_endpoint import HAPROXY, REPLICA, Faulty, faulty_endpoint

pytestmark = pytest.mark.chaos
MIB = 2**20
BODY = '{"inputs": "手机电池不耐用"}'.encode()
SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def endpoint(tiny_uri: str) -> Iterator[Faulty]:
    with faulty_endpoint(tiny_uri, max_replicas=1) as started:
        yield started


def post(*headers: str, line: str = "POST /v1/classify HTTP/1.1", host: str = "localhost") -> bytes:
    lines = [line, *([f"Host: {host}"] if host else []), "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def both(*headers: str) -> bytes:
    """A body in chunks that ends before what its length says."""
    rest = CHUNKED + SMUGGLED
    return post(*(each.format(n=len(rest)) for each in headers)) + rest


LENGTH = f"Content-Length: {len(BODY)}"
CASES = {
    "length and chunks": both("Content-Length: {n}", "Transfer-Encoding: chunked"),
    "chunks and length": both("Transfer-Encoding: chunked", "Content-Length: {n}"),
    "chunks and a shorter length": both("Content-Length: 4", "Transfer-Encoding: chunked"),
    "two lengths": post(LENGTH, "Content-Length: 0") + BODY,
    "a list of lengths": post(f"Content-Length: {len(BODY)}, 0") + BODY,
    "a signed length": post(f"Content-Length: +{len(BODY)}") + BODY,
    "a negative length": post("Content-Length: -1") + SMUGGLED,
    "a length in hex": post("Content-Length: 0x10") + BODY,
    "a length without end": post("Content-Length: 99999999999999999999") + BODY,
    "almost chunked": post("Transfer-Encoding: xchunked") + CHUNKED,
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + CHUNKED,
    "chunked but not last": post("Transfer-Encoding: chunked, identity") + CHUNKED,
    "a blank before the colon": post("Transfer-Encoding : chunked", LENGTH) + BODY,
    "a tab before the value": both("Transfer-Encoding:\tchunked", "Content-Length: {n}"),
    "a folded header": post("X-Folded: a", " Transfer-Encoding: chunked", LENGTH) + BODY,
    "a vertical tab": both("Transfer-Encoding:\x0bchunked", "Content-Length: {n}"),
    "a carriage return within": post("X-A: b\rTransfer-Encoding: chunked", LENGTH) + BODY,
    "a NUL": post("X-A: b\0c", LENGTH) + BODY,
    "lines without carriage return": post(LENGTH).replace(b"\r\n", b"\n") + BODY,
    "a chunk without end": post("Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n" + BODY,
    "a chunk's size in words": post("Transfer-Encoding: chunked") + b"zz\r\n" + BODY,
    "chunks in HTTP/1.0": post("Transfer-Encoding: chunked", line="POST /v1/classify HTTP/1.0")
    + CHUNKED,
    "no host": post(LENGTH, host="") + BODY,
    "two hosts": post("Host: evil.example", LENGTH) + BODY,
    "a user in the host": post(LENGTH, host="localhost@evil.example") + BODY,
    "another host in the line": post(LENGTH, line="POST http://evil.example/v1/classify HTTP/1.1")
    + BODY,
    "a blank in the line": post(LENGTH, line="POST /v1/classify /v2 HTTP/1.1") + BODY,
    "HTTP/0.9": b"GET /v2/health/live\r\n\r\n",
}


def said(url: str, sent: bytes, *, quiet_s: float = 0.5) -> bytes:
    """All that comes until the connection is closed, or nothing has come for a while."""
    heard = b""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as client:
        with suppress(ConnectionError):
            client.sendall(sent)
            while more := client.recv(65_536):
                heard += more
                client.settimeout(quiet_s)
    return heard


def answered(url: str, sent: bytes) -> list[int]:
    """The statuses of what was said."""
    try:
        heard = said(url, sent)
    except TimeoutError:
        return []
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", heard)]


@pytest.mark.parametrize("sent", CASES.values(), ids=CASES)
def test_no_request_is_read_as_two(sent: bytes, endpoint: Faulty) -> None:
    statuses = answered(endpoint.url, sent)
    assert len(statuses) <= 1 and set(statuses) <= {200, 400, 411, 413, 421, 501}, statuses
    for number in range(3):  # nor was anything left for those who ask next
        name = f"next-{number}"
        request = post(LENGTH, f"X-Request-ID: {name}", "Connection: close") + BODY
        heard = said(endpoint.url, request)
        assert heard.startswith(b"HTTP/1.1 200 ") and heard.count(b"HTTP/1.1") == 1
        assert f"x-request-id: {name}".encode() in heard.lower()


def with_length(size: int) -> Iterator[bytes]:
    yield post(f"Content-Length: {size}")
    yield from (b"x" * 65_536 for _ in range(size // 65_536))


def in_chunks(size: int, chunk: int) -> Iterator[bytes]:
    yield post("Transfer-Encoding: chunked")
    together = b"%x\r\n%s\r\n" % (chunk, b"x" * chunk) * max(1, 65_536 // chunk)
    yield from (together for _ in range(size // chunk // max(1, 65_536 // chunk)))
    yield b"0\r\n\r\n"


def bomb() -> Iterator[bytes]:
    packed = zlib.compress(bytes(100 * MIB), wbits=31)
    yield post("Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed


LARGE = {
    "10 MB": (with_length(10 * MIB), 413),
    "100 MB": (with_length(100 * MIB), 413),
    "10 MB in chunks": (in_chunks(10 * MIB, 65_536), 413),
    "100 MB in chunks": (in_chunks(100 * MIB, 65_536), 413),
    "65,537 chunks": (in_chunks(65_537 * 32, 32), 413),
    "a gzip bomb": (bomb(), 415),
}


def refused_after(url: str, parts: Iterable[bytes]) -> tuple[int, float]:
    """The status, and the seconds since the first MiB was sent (or all of it)."""
    sent, crossed = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as client:
        client.setblocking(False)
        heard, pending, waiting = b"", b"", iter(parts)
        deadline = time.monotonic() + 20
        while b" " not in heard[9:] and time.monotonic() < deadline:
            pending = pending or next(waiting, b"")
            with suppress(BlockingIOError, ConnectionError):
                done = client.send(pending)
                pending, sent = pending[done:], sent + done
                if sent <= MIB:
                    crossed = time.monotonic()
            with suppress(BlockingIOError, ConnectionError):
                heard += client.recv(65_536)
    return int(heard[9:12] or b"0"), time.monotonic() - crossed


def resident_mib(endpoint: Faulty) -> float:
    found = [*endpoint.processes(REPLICA), *endpoint.processes(HAPROXY)]
    return sum(psutil.Process(each.pid).memory_info().rss for each in found) / MIB


def test_large_bodies_are_refused_at_once_and_held_by_nobody(endpoint: Faulty) -> None:
    with Load(endpoint.url, ["手机电池不耐用"], clients=1) as others:
        others.wait_for_more(200)
        before = resident_mib(endpoint)
        for name, (parts, status) in LARGE.items():
            found, seconds = refused_after(endpoint.url, parts)
            print(f"{name}: {found} after {seconds * 1e3:.0f} ms; load {os.getloadavg()[0]:.1f}")
            assert found == status
            assert seconds < 0.3
        others.wait_for_more(200)
        grown = resident_mib(endpoint) - before
    print(f"{grown:+.1f} MiB; others waited {others.longest_silence_s * 1e3:.0f} ms at most")
    assert others.failed == []
    assert grown <= 20
