"""Every kind of problem there is, each by one request that meets it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from small_endpoint import CANARY, JSON, LIMITS, Endpoint, OneOfEach, check_problem

from serve.access import Draining
from serve.models import Models
from serve.problems import KINDS

CONTRACT = {
    400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 429, 500, 503, 504
}  # fmt: skip
"""The statuses that the contract's table of limits names, and those of routes and faults."""


def body(content: bytes) -> Callable[[], httpx.Response]:
    return lambda: Endpoint().classify(content)


def value(document: object) -> Callable[[], httpx.Response]:
    return lambda: Endpoint().classify(document)


def headers(**changed: str) -> Callable[[], httpx.Response]:
    sent = {name.replace("_", "-"): value for name, value in changed.items()}
    return lambda: Endpoint().classify({"inputs": CANARY}, sent)


def key(name: str) -> Callable[[], httpx.Response]:
    sent = {"Authorization": f"Bearer {name}"} if name else {}
    return lambda: Endpoint(keys=OneOfEach()).classify({"inputs": CANARY}, sent)


def path(method: str, path: str) -> Callable[[], httpx.Response]:
    return lambda: Endpoint().send(method, path)


def tensor(**changed: object) -> Callable[[], httpx.Response]:
    given = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [CANARY]} | changed
    return lambda: Endpoint().infer({"inputs": [given]})


def draining() -> httpx.Response:
    going = Draining()
    going.begin()
    return Endpoint(draining=going).classify({"inputs": CANARY})


def slow() -> httpx.Response:
    async def never() -> AsyncIterator[bytes]:
        yield b'{"inputs": '
        await asyncio.Event().wait()

    return Endpoint().send("POST", "/v1/classify", content=never(), headers=JSON)


def busy() -> httpx.Response:
    none = LIMITS.model_construct(**LIMITS.model_dump() | {"in_flight": 0})
    return Endpoint(none).classify({"inputs": CANARY})


def late() -> httpx.Response:
    none = LIMITS.model_construct(**LIMITS.model_dump() | {"deadline_s": 0.0})
    return Endpoint(none).classify({"inputs": CANARY})


PROBLEMS = {
    "not-json": body(CANARY.encode()),
    "not-utf-8": body(CANARY.encode("gb18030")),
    "lone-surrogate": body(rb'{"inputs": "\ud83d"}'),
    "not-finite": body(b'{"inputs": NaN}'),
    "duplicate-key": body(f'{{"inputs": "{CANARY}", "inputs": "{CANARY}"}}'.encode()),
    "too-deep": body(b"[" * 9 + b"]" * 9),
    "bad-timeout": headers(X_Request_Timeout_Ms="1e3"),
    "repeated-header": lambda: Endpoint().send(
        "POST", "/v1/classify", headers=[("Content-Type", "application/json")] * 2
    ),
    "no-key": key(""),
    "wrong-key": key("wrong"),
    "expired-key": key("expired"),
    "missing-scope": key("metadata"),
    "foreign-origin": headers(Origin="https://evil.example.com"),
    "not-found": path("GET", f"/{CANARY}"),
    "unknown-model": path("GET", f"/v2/models/{CANARY}"),
    "unknown-version": path("GET", f"/v2/models/reviews/versions/{CANARY}"),
    "method-not-allowed": path("PUT", "/v1/classify"),
    "body-timeout": slow,
    "body-too-large": body(b" " * 4_097),
    "content-type": headers(Content_Type="text/plain"),
    "content-encoding": headers(Content_Encoding="gzip"),
    "foreign-host": headers(Host="evil.example.com"),
    "wrong-type": value({"inputs": 5}),
    "unknown-key": value({"inputs": "好", CANARY: 1}),
    "missing-inputs": value({}),
    "too-few-items": value({"inputs": []}),
    "too-many-items": value({"inputs": [CANARY] * 5}),
    "blank-item": value({"inputs": [CANARY, "\u3000"]}),
    "item-too-long": value({"inputs": CANARY * 9}),
    "too-many-characters": value({"inputs": [CANARY * 3] * 4}),
    "top-k-out-of-range": value({"inputs": CANARY, "parameters": {"top_k": 9}}),
    "wrong-shape": tensor(shape=[2]),
    "unknown-tensor": tensor(name=CANARY),
    "rate": key("busy"),
    "internal": value({"inputs": f"{CANARY}崩溃"}),
    "busy": busy,
    "draining": draining,
    "not-ready": lambda: Endpoint(models=Models()).classify({"inputs": CANARY}),
    "deadline": late,
}
WITH_HEADER = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}


def test_every_kind_and_every_status_has_its_request() -> None:
    assert PROBLEMS.keys() == KINDS.keys()
    assert {status for status, _ in KINDS.values()} == CONTRACT


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_request_that_meets_it_gets_the_problem(kind: str) -> None:
    response = PROBLEMS[kind]()
    status, title = KINDS[kind]
    check_problem(response, status, kind)
    assert response.json()["title"] == title
    if name := WITH_HEADER.get(status):
        assert response.headers[name]
    assert (response.headers.get("connection") == "close") == (status in (408, 413))
