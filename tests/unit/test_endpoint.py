"""The endpoint without Ray: every bad input and its answer, and what no answer may hold."""

import asyncio
import itertools
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_endpoint import (
    CANARY,
    JSON,
    LIMITS,
    Endpoint,
    Lengths,
    Prediction,
    check_problem,
    served,
)

from bigmodel.config import LimitsConfig
from serve.batching import MicroBatch
from serve.models import Models
from serve.request_id import RequestId

classify = Endpoint().classify
send = Endpoint().send


def test_a_text_gets_its_labels() -> None:
    response = classify(
        {"inputs": "手机电池不耐用", "parameters": {"top_k": 2}}, {"X-Request-ID": "read-1"}
    )
    assert response.status_code == 200
    assert response.json() == {
        "model": "reviews",
        "version": "7",
        "request_id": "read-1",
        "predictions": [
            {
                "labels": [{"label": "正面", "score": 0.07}, {"label": "负面", "score": 0.07}],
                "abstained": False,
                "truncated": False,
            }
        ],
        "usage": {"items": 1, "characters": 7},
    }
    assert response.headers["x-model-version"] == "7"
    assert re.fullmatch(r"read;dur=[\d.]+, predict;dur=[\d.]+", response.headers["server-timing"])


@pytest.mark.parametrize(
    "text",
    ["我喜欢读书😀", "مرحبا", "書很好看", "ＡＢＣ　１２３", "好\u0000书", "👨‍👩‍👧", '"[[[[[[[[[['],
)
def test_all_kinds_of_text_are_normal(text: str) -> None:
    assert classify({"inputs": [text, "好"]}).json()["usage"]["items"] == 2


def test_the_documented_defaults_can_be_sent() -> None:
    parameters = {"top_k": 1, "explain": False, "truncate": False}
    assert classify({"inputs": "好", "parameters": parameters}).status_code == 200


BAD_BODIES = [
    (b"", 400, "not-json"),
    (b"{", 400, "not-json"),
    (f"{CANARY}".encode(), 400, "not-json"),
    (b"\xef\xbb\xbf{}", 400, "not-json"),
    (b'{"inputs": "a", }', 400, "not-json"),
    (b'{"inputs": ' + b"9" * 4_000 + b"}", 422, "wrong-type"),
    (b'{"inputs": "\xff\xfe"}', 400, "not-utf-8"),
    (CANARY.encode("gb18030"), 400, "not-utf-8"),
    (rb'{"inputs": "\ud83d"}', 400, "lone-surrogate"),
    (rb'{"\uDe00": 1}', 400, "lone-surrogate"),
    (b'{"inputs": NaN}', 400, "not-finite"),
    (b'{"inputs": [-Infinity]}', 400, "not-finite"),
    (b'{"inputs": "a", "x": 1e999}', 400, "not-finite"),
    (f'{{"inputs": "{CANARY}", "inputs": "b"}}'.encode(), 400, "duplicate-key"),
    (b'{"inputs": "a", "parameters": {"top_k": 1, "top_k": 2}}', 400, "duplicate-key"),
    (b"[" * 9 + b"]" * 9, 400, "too-deep"),
    (b'{"a": [' * 5 + b'"]"' + b"]}" * 5, 400, "too-deep"),
    (b"[" * 2_000 + b"]" * 2_000, 400, "too-deep"),
    (b"[" * 4_000, 400, "too-deep"),
    (b"[" * 8 + b"]" * 8, 422, "wrong-type"),
    (b"null", 422, "wrong-type"),
    ([CANARY], 422, "wrong-type"),
    ({}, 422, "missing-inputs"),
    ({"inputs": None}, 422, "wrong-type"),
    ({"inputs": 5}, 422, "wrong-type"),
    ({"inputs": {"text": CANARY}}, 422, "wrong-type"),
    ({"inputs": ["好", 5]}, 422, "wrong-type"),
    ({"inputs": [True]}, 422, "wrong-type"),
    ({"inputs": []}, 422, "too-few-items"),
    ({"inputs": ["好"] * 5}, 422, "too-many-items"),
    ({"inputs": ""}, 422, "blank-item"),
    ({"inputs": [CANARY, " \t\u3000\u200b\u0000"]}, 422, "blank-item"),
    ({"inputs": CANARY * 4}, 422, "item-too-long"),
    ({"inputs": [CANARY * 3] * 4}, 422, "too-many-characters"),
    ({"inputs": "好", CANARY: 1}, 422, "unknown-key"),
    ({"inputs": "好", "parameters": None}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"topk": 1}}, 422, "unknown-key"),
    ({"inputs": "好", "parameters": {"explain": 0}}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"explain": None}}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"top_k": "1"}}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"top_k": 1.5}}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"top_k": True}}, 422, "wrong-type"),
    ({"inputs": "好", "parameters": {"top_k": 0}}, 422, "top-k-out-of-range"),
    ({"inputs": "好", "parameters": {"top_k": 4}}, 422, "top-k-out-of-range"),
    (b'{"inputs": "' + b"a" * 4_096 + b'"}', 413, "body-too-large"),
]


@pytest.mark.parametrize(("body", "status", "kind"), BAD_BODIES)
def test_a_bad_body_is_a_problem(body: Any, status: int, kind: str) -> None:
    check_problem(classify(body), status, kind)


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Content-Type": "text/plain"}, 415, "content-type"),
        ({"Content-Type": "application/json; charset=gbk"}, 415, "content-type"),
        ({"Content-Encoding": "gzip"}, 415, "content-encoding"),
        ({"Content-Length": "5000"}, 413, "body-too-large"),
        ({"Content-Length": "9" * 5_000}, 413, "body-too-large"),
        ({"X-Request-Timeout-Ms": "soon"}, 400, "bad-timeout"),
        ({"X-Request-Timeout-Ms": "0"}, 400, "bad-timeout"),
        ({"Host": "example.com"}, 421, "foreign-host"),
        ({"Host": "localhost.example.com:8000"}, 421, "foreign-host"),
        ({"Host": ""}, 421, "foreign-host"),
    ],
)
def test_a_bad_header_is_a_problem(headers: dict[str, str], status: int, kind: str) -> None:
    check_problem(classify({"inputs": CANARY}, headers), status, kind)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "Application/JSON; charset=UTF-8"},
        {"Content-Type": 'application/json; charset="utf-8"'},
        {"Host": "127.0.0.1:8000"},
        {"Host": "[::1]:8000"},
        {"Host": "LocalHost"},
        {"X-Request-Timeout-Ms": "100"},
    ],
)
def test_a_good_header_passes(headers: dict[str, str]) -> None:
    assert classify({"inputs": "好"}, headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", f"/{CANARY}", 404, "not-found"),
        ("POST", "/v1/classify/", 404, "not-found"),
        ("GET", "//v1/classify", 404, "not-found"),
        ("GET", "/v1/classify", 405, "method-not-allowed"),
        ("OPTIONS", "/v1/classify", 405, "method-not-allowed"),
        ("PURGE", "/v1/classify", 405, "method-not-allowed"),
        ("POST", "/v2/health/ready", 405, "method-not-allowed"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem(
    method: str, path: str, status: int, kind: str
) -> None:
    response = send(method, path)
    check_problem(response, status, kind)
    assert ("allow" in response.headers) == (status == 405)


def test_every_fault_of_a_body_is_named() -> None:
    body = {"inputs": ["好", 5, ""], "parameters": {"top_k": 9}, "x": 1}
    assert classify(body).json()["errors"] == [
        {"loc": "", "code": "unknown_key"},
        {"loc": "/inputs/1", "code": "string_type"},
        {"loc": "/inputs/2", "code": "blank"},
        {"loc": "/parameters/top_k", "code": "out_of_range"},
    ]


def test_health_answers() -> None:
    assert send("GET", "/v2/health/live").json() == {"live": True}
    ready = send("GET", "/v2/health/ready")
    assert ready.json() == {"ready": True}
    assert re.fullmatch(r"total;dur=[\d.]+", ready.headers["server-timing"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a.B_c-9", True), ("x" * 64, True), ("x" * 65, False), ("evil id", False), ("", False)],
)
def test_a_request_id_comes_back_once_and_checked(sent: str, kept: bool) -> None:
    found = send("GET", "/v2/health/live", headers={"X-Request-ID": sent}).headers.get_list(
        "x-request-id"
    )
    assert len(found) == 1
    assert (found[0] == sent) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", found[0])


@pytest.mark.parametrize(
    ("sent", "kept"), [(["a-1"], True), ([], False), (["evil id"], False), (["a-1", "a-2"], False)]
)
def test_around_serve_there_is_one_checked_id_in_both_directions(
    sent: list[str], kept: bool
) -> None:
    seen: list[Any] = []

    async def serves_own(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])
        doubled = [(b"X-Request-ID", b"of the app"), (b"x-request-id", b"of Serve")]
        await send({"type": "http.response.start", "status": 200, "headers": doubled})
        await send({"type": "http.response.body"})

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(RequestId(serves_own))
        headers = [("X-Request-ID", each) for each in sent]
        headers += [("X-Request-Timeout-Seconds", "1e-9"), ("x_session_id", "a")]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.get("/", headers=headers)

    found = asyncio.run(once()).headers.get_list("x-request-id")
    passed = [value.decode() for name, value in seen if name == b"x-request-id"]
    assert found == passed and len(found) == 1
    assert (found == sent) is kept
    assert not {b"x-request-timeout-seconds", b"x_session_id"} & {name for name, _ in seen}


def test_a_failure_shows_neither_the_text_nor_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        response = classify({"inputs": f"{CANARY}崩溃"})
    check_problem(response, 500, "internal")
    assert "ValueError" in caplog.text and "Traceback" not in response.text
    assert CANARY not in caplog.text


def test_a_slow_body_ends_with_408() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b'{"inputs": '
        await asyncio.Event().wait()

    async def slow() -> httpx.Response:
        async with Endpoint().client() as http:
            return await http.post("/v1/classify", content=never(), headers=JSON)

    check_problem(asyncio.run(slow()), 408, "body-timeout")


def test_a_body_without_a_length_is_counted_as_it_comes() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1_024
            yield b"a" * 1_024

    async def post() -> httpx.Response:
        async with Endpoint().client() as http:
            return await http.post("/v1/classify", content=endless(), headers=JSON)

    response = asyncio.run(post())
    check_problem(response, 413, "body-too-large")
    assert response.headers["connection"] == "close"
    assert read <= LIMITS.body_bytes + 2 * 1_024


def test_one_too_many_is_told_to_come_back() -> None:
    async def crowd() -> list[httpx.Response]:
        gate, full = asyncio.Event(), asyncio.Event()
        held_back = itertools.count(1)

        async def held() -> AsyncIterator[bytes]:
            if next(held_back) == LIMITS.in_flight:
                full.set()
            await gate.wait()
            yield b'{"inputs": "\xe5\xa5\xbd"}'

        limits = LIMITS.model_copy(update={"body_timeout_s": 10})
        async with Endpoint(limits).client() as http:

            async def post() -> httpx.Response:
                return await http.post("/v1/classify", content=held(), headers=JSON)

            inside = [asyncio.create_task(post()) for _ in range(LIMITS.in_flight)]
            await full.wait()
            refused = await post()
            gate.set()
            return [refused, *await asyncio.gather(*inside), await post()]

    refused, *answered = asyncio.run(crowd())
    check_problem(refused, 503, "busy")
    assert refused.headers["retry-after"] == "1"
    assert [response.status_code for response in answered] == [200, 200, 200]


def test_an_answer_that_comes_too_late_is_a_504(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stuck(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("serve.batching.MicroBatch.predict", stuck)
    check_problem(classify({"inputs": "好"}, {"X-Request-Timeout-Ms": "10"}), 504, "deadline")


def test_waiting_requests_share_a_call_and_keep_their_answers() -> None:
    predictor = Lengths()
    limits = LimitsConfig(items=200)
    sizes = [1, 130, 1, 3]  # 130 texts are three pieces

    async def together() -> list[httpx.Response]:
        async with Endpoint(limits, Models([served(predictor)])).client() as http:
            return await asyncio.gather(
                *(
                    http.post(
                        "/v1/classify",
                        json={
                            "inputs": ["好" * (size + n % 5) for n in range(size)],
                            "parameters": {"top_k": 1 + size % 3},
                        },
                    )
                    for size in sizes
                )
            )

    for size, response in zip(sizes, asyncio.run(together()), strict=True):
        labels = [prediction["labels"] for prediction in response.json()["predictions"]]
        assert [found[0]["score"] for found in labels] == [
            (size + n % 5) / 100 for n in range(size)
        ]
        assert {len(found) for found in labels} == {1 + size % 3}
    assert sum(predictor.calls) == sum(sizes)
    assert len(predictor.calls) < 6 and max(predictor.calls) <= 64


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ([[1] * 64, [1]], [64, 1]),
        ([[100_000, 31_072]], [2]),
        ([[100_000, 31_073]], [1, 1]),
        ([[8_192] * 16, [8_192] * 16], [16, 16]),
        ([[1, 200_000, 1]], [1, 1, 1]),
        ([[60_000], [60_000], [60_000]], [2, 1]),
    ],
)
def test_a_batch_has_few_texts_and_few_characters(
    lengths: list[list[int]], calls: list[int]
) -> None:
    predictor = Lengths()

    async def together() -> list[list[Prediction]]:
        batch = MicroBatch(predictor)
        requests = [["好" * length for length in each] for each in lengths]
        return await asyncio.gather(*(batch.predict(texts, top_k=1) for texts in requests))

    answered = asyncio.run(together())
    assert [[round(a.labels[0][1] * 100) for a in answers] for answers in answered] == lengths
    assert predictor.calls == calls


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(
            st.sampled_from(["inputs", "parameters", "top_k", "explain"]) | st.text(max_size=5),
            inner,
        )
    ),
    max_leaves=20,
)


@given(body=st.binary(max_size=200) | VALUES)
def test_no_body_makes_it_fail(body: Any) -> None:
    assert classify(body).status_code in (200, 400, 413, 422)
